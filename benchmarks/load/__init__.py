"""Load clients: raw epoll, a process each, bytes in and counts out."""
