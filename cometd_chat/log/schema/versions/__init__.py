"""One module a step; the newest step and `cometd_chat.log.tables` describe the same tables."""
