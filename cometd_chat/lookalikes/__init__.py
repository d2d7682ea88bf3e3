"""What looks like what, by Unicode's own data (UTS #39), which is in ``data/``."""
