"""Forms: what stands in them.

What it is: from a form that was sent, or an error, to what a page's form holds: what was typed, why
it was refused, and what would do instead.

What it may know: the table of errors, names of fields. Not requests.

Invariant: nobody loses what they typed, and each refusal is a sentence in the form itself.
"""

from __future__ import annotations

import attrs

from cometd_chat.errors import ChatError, ClientIdReused
from cometd_chat.web.parameters import Parameters

#: Why somebody sees the log-in form, who had a session.
SESSION_OVER = "Your session is over. Log in again."
MESSAGE_KEPT = "Your session is over. Log in again: your message is kept."


@attrs.frozen
class Form:
    """What stands in a form.

    :param name: of a person or a room.
    :param text: a message.
    :param topic: of a room.
    :param client_id: makes a message that is sent twice one; empty for a new one.
    :param problem: why it was refused, a sentence; empty where it was not.
    :param instead: a name that would do; empty where none is near.
    :param notice: what came of what was typed before; empty for nothing.
    :param status: of the response that shows it.
    """

    name: str = ""
    text: str = ""
    topic: str = ""
    client_id: str = ""
    problem: str = ""
    instead: str = ""
    notice: str = ""
    status: int = 200

    @classmethod
    def sent(cls, fields: Parameters) -> Form:
        """What somebody typed."""
        return cls(
            name=fields.text("name"),
            text=fields.text("text"),
            topic=fields.text("topic"),
            client_id=fields.text("client_id"),
        )

    @classmethod
    def sent_to_servlet(cls, fields: Parameters) -> Form:
        """The same of the classic servlet, which has names of its own for the fields."""
        return cls(
            name=fields.text("username"),
            text=fields.text("message"),
            client_id=fields.text("client_id"),
        )

    def refused(self, error: ChatError) -> Form:
        """What becomes of it by an error; nothing is left of what was taken, and waits."""
        if error.status < 400:
            return Form(notice=error.detail, status=error.status)
        return attrs.evolve(
            self,
            problem=error.detail,
            instead=next((each.instead for each in error.fields if each.instead), ""),
            status=error.status,
            # The same id: sending it again must not say it twice. Unless it was used up, as by
            # somebody who went back to a form that she had sent.
            client_id="" if isinstance(error, ClientIdReused) else self.client_id,
        )

    def without_session(self, problem: str) -> Form:
        """What becomes of it where the session is over: it waits in the log-in form.

        :param problem: says so.
        """
        return attrs.evolve(self, problem=problem, status=401)


def typed_room(name: str) -> str:
    """The name of a room that somebody typed as pages show it, with a # before it."""
    return name.strip().removeprefix("#")
