"""The log in PostgreSQL, which any number of daemons append to and follow."""
