"""The servers that are measured: how each is started, subscribed to and published to."""
