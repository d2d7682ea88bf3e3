"""Forms that were refused, as the page shows them again.

What it is: from an error to what stands in a form: what was typed, why it was refused, and what
would do instead.

What it may know: the table of errors, names of fields. Not requests.

Invariant: nobody loses what they typed, and each refusal is a sentence in the form itself.
"""

from __future__ import annotations

import attrs

from cometd_chat.errors import ChatError


@attrs.frozen
class RefusedForm:
    """A form that was refused.

    :param name: what was typed as a name.
    :param problem: why it was refused, a sentence.
    :param topic: what was typed as a topic.
    :param instead: a name that would do; empty when there is none near.
    """

    name: str
    problem: str
    topic: str = ""
    instead: str = ""

    @classmethod
    def of(cls, error: ChatError, name: str, topic: str = "") -> RefusedForm:
        """What becomes of a form by an error."""
        instead = next((each.instead for each in error.fields if each.instead), "")
        return cls(name, error.detail, topic, instead)


def typed_room(name: str) -> str:
    """The name of a room that somebody typed as pages show it, with a # before it."""
    return name.strip().removeprefix("#")
