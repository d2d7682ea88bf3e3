"""The migrations, oldest first in ``versions/``; a released one is never changed again."""
