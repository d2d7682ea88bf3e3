"""The log: one battery over every implementation, and what only the durable one must stand."""
