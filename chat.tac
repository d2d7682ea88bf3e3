"""The daemon as an application file: ``twistd -ny chat.tac``. Set its options by COMET_CHAT_..."""

from twisted.application.service import Application

from cometd_chat.plugin import Options, makeService

options = Options()
options.parseOptions([])
application = Application("comet-chat")
makeService(options).setServiceParent(application)
