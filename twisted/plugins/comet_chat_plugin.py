"""How twistd finds the daemon: a name and where to look. It imports nothing of the daemon."""

from twisted.application.service import ServiceMaker

comet_chat = ServiceMaker(
    "Comet Chat",
    "cometd_chat.plugin",
    "A chat whose messages are pushed to any browser over plain HTTP.",
    "comet-chat",
)
