"""Programs that run as processes of their own: the floor, the bare commit, peers in Python."""
