"""What all have that respond to browsers by pages, and take the forms of these.

What it is: `BrowserPages`, which they are made of.

What it may know: what such pages need. Not which pages there are, nor what is done by them.
"""

from __future__ import annotations

from cometd_chat.chat.chat import Chat
from cometd_chat.web.auth import Auth
from cometd_chat.web.peers import Peers
from cometd_chat.web.submissions import Submissions
from cometd_chat.web.views import Views


class BrowserPages:
    """Responds to browsers."""

    def __init__(
        self, chat: Chat, auth: Auth, peers: Peers, views: Views, submissions: Submissions
    ) -> None:
        self._chat = chat
        self._auth = auth
        self._peers = peers
        self._views = views
        self._submissions = submissions
