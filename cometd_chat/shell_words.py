"""Commands from the shell: what is typed for each.

What it is: `SHELL`, a row for each command: its words, and what may be given with them.

What it may know: nothing. Whoever types a command while the daemon runs waits for what is imported
here and in `shell_command`, and for no more.

Invariant: for each row there is what it does, in `shell_table`.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class Row:
    """A command.

    :param words: such as ``ban add``.
    :param takes: the names of what it needs, in order.
    :param options: and of what may be given, with what that is.
    """

    words: str
    help: str
    takes: tuple[str, ...] = ()
    options: Mapping[str, type] = attrs.field(factory=dict)


_ROWS = (
    Row("owner-link", "makes a link for whoever is to be the owner"),
    Row(
        "invite make",
        "makes an invitation",
        options={"room": str, "uses": int, "days": int, "role": str},
    ),
    Row("invite list", "shows the invitations that are good"),
    Row("invite revoke", "takes an invitation back", ("code",)),
    Row("user list", "shows who has an account", options={"after": str}),
    Row("user role", "gives somebody a role", ("name", "role")),
    Row("user remove", "removes an account", ("name",)),
    Row("policy list", "shows the policies"),
    Row("policy set", "changes a policy", ("name", "value")),
    Row("ban list", "shows who is silenced or kept out"),
    Row(
        "ban add",
        "keeps somebody out, or silences them",
        ("name",),
        {"kind": str, "room": str, "minutes": int, "reason": str},
    ),
    Row("ban lift", "ends what keeps somebody out", ("who",)),
    Row("room list", "shows all rooms"),
    Row("room remove", "removes a room, with all that was said there", ("name",)),
    Row("room make", "makes a room", ("name",), {"topic": str}),
)

#: The commands by their words.
SHELL: Mapping[str, Row] = {row.words: row for row in _ROWS}

#: Their first words.
GROUPS = frozenset(words.partition(" ")[0] for words in SHELL)
