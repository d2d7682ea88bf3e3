"""What the house is like: the policies, which are changed while it runs.

What it is: `POLICIES`, the table of them; and `Policies`, their values now, by what is kept and by
what options of the daemon have pinned.

What it may know: rights, which follow from some of them; changes of what is kept.

Invariant: a policy that an option pins is what the option says, whatever is kept. All nodes have
the same others: they change by what the log tells, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import msgspec
from sqlalchemy import Connection

from cometd_chat.chat.audit import note
from cometd_chat.chat.mandate import Mandate
from cometd_chat.chat.matrix import Act, Calm, Guests, Terms
from cometd_chat.chat.rights import Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.word_filter import Words
from cometd_chat.comet.listeners import Listeners
from cometd_chat.errors import ChatError, InvalidRequest, Pinned
from cometd_chat.events.texts import message_text, refused
from cometd_chat.log.changes import Changes, Condition, always
from cometd_chat.log.control import Control, LetIn, PolicyChanged
from cometd_chat.log.policies import kept_policies, let_all_in, put_policies

MAX_TITLE = 60
MAX_WELCOME = 1000

Value = TypeVar("Value")


def _read(before: Any, after: Any) -> str:
    """A value as people read it."""
    if isinstance(after, bool):
        return "yes" if after else "no"
    return str(after)


@attrs.frozen
class Policy:
    """A row of the table of policies.

    :param name: as on the wire.
    :param default: what holds where nobody has changed it, as JSON.
    :param parsed: from what somebody asks for to the same as JSON; raises InvalidRequest.
    :param act: the right to change it.
    :param noted: what the audit log says of a change from one value to another.
    """

    name: str
    default: Any
    parsed: Callable[[object], Any]
    act: Act = Act.SET_POLICY
    noted: Callable[[Any, Any], str] = _read


@attrs.frozen
class Pin:
    """What an option says of a policy.

    :param option: such as ``--title``.
    """

    option: str
    value: Any


def _one_of(name: str, *words: str) -> Callable[[object], str]:
    def parsed(asked: object) -> str:
        if not isinstance(asked, str) or asked not in words:
            raise refused(name, f"one of these is needed: {', '.join(words)}")
        return asked

    return parsed


def _title(asked: object) -> str:
    title = " ".join(asked.split()) if isinstance(asked, str) else ""
    if not 1 <= len(title) <= MAX_TITLE or not title.isprintable():
        raise refused("title", f"1 to {MAX_TITLE} characters are needed, in one line")
    return title


def _welcome(asked: object) -> str:
    if asked == "":
        return ""
    try:
        text = message_text(asked)
    except InvalidRequest as error:
        raise refused("welcome", error.fields[0].detail) from None
    if len(text) > MAX_WELCOME:
        raise refused("welcome", f"at most {MAX_WELCOME} characters are possible")
    return text


def _public_reading(asked: object) -> bool:
    if not isinstance(asked, bool):
        raise refused("public_reading", "true or false is needed")
    return asked


def _words(asked: object) -> Any:
    return Words.parsed(asked).json


def _words_noted(before: Any, after: Any) -> str:
    return Words.parsed(after).since(Words.parsed(before))


#: The table of policies. Whoever starts the daemon on one machine has all of them at their
#: defaults, by which nothing is different from a house without them.
POLICIES: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("title", "Comet Chat", _title),
        Policy("welcome", "", _welcome),
        Policy("guests", "open", _one_of("guests", *(each.value for each in Guests))),
        Policy("registration", "invite", _one_of("registration", "open", "invite", "off")),
        Policy("rooms", "guest", _one_of("rooms", "guest", "member", "moderator")),
        Policy("public_reading", True, _public_reading),
        Policy("words", Words().json, _words, noted=_words_noted),
        Policy("calm", "off", _one_of("calm", *(each.word for each in Calm)), Act.CALM),
    )
}


#: What all read.
_SAID = frozenset({"title", "welcome"})


class Policies:
    """The policies now.

    :param pins: what options say, by the names of policies.
    :param now: milliseconds since 1970-01-01T00:00Z.
    """

    def __init__(
        self,
        changes: Changes,
        rights: Rights,
        pins: Mapping[str, Pin],
        now: Callable[[], int],
    ) -> None:
        self._changes = changes
        self._rights = rights
        self._now = now
        self.pins = pins
        self._values = {name: policy.default for name, policy in POLICIES.items()}
        self._values.update({name: pin.value for name, pin in pins.items()})
        #: Told of the name of each that has changed, after the rights have followed.
        self.changed: Listeners[[str]] = Listeners("policies")
        rights.begin_with(self._terms())

    def start(self) -> None:
        """Take up what is kept. Blocks."""
        for name, value in self._changes.read_now(kept_policies).items():
            self._set(name, value)
        self._rights.begin_with(self._terms())

    @property
    def values(self) -> Mapping[str, Any]:
        """All of them, as JSON."""
        return self._values

    @property
    def title(self) -> str:
        """What the house is called."""
        return self._text("title")

    @property
    def welcome(self) -> str:
        """What is said to whoever comes in; empty for nothing."""
        return self._text("welcome")

    @property
    def registration(self) -> str:
        """Who may have an account: ``open``, ``invite`` or ``off``."""
        return self._text("registration")

    @property
    def calm(self) -> Calm:
        """How calm it is."""
        return self._rights.terms.calm

    @property
    def words(self) -> Words:
        """What is not said, or waits for a moderator."""
        return Words.parsed(self._values["words"])

    def _text(self, name: str) -> str:
        value: str = self._values[name]
        return value

    async def change(self, actor: Session, asked: Mapping[str, object]) -> None:
        """Change some of them, or none.

        :param actor: who does; the right to each of them is looked at.
        :param asked: by their names, as JSON.
        :raises InvalidRequest: there is no such policy, or that can't be its value.
        :raises Pinned: an option says what it is.
        :raises ChatError: they may not.
        """
        for name in asked or ("",):
            self._rights.require(actor, POLICIES[name].act if name in POLICIES else Act.CALM)
        if asked.keys() & _SAID:
            self._rights.require(actor, Act.SPEAK)
        acts = {POLICIES[name].act for name in asked if name in POLICIES}
        mandate = Mandate(self._rights, actor, None, self._now)
        await self.set(
            asked,
            who=actor.identity,
            who_name=actor.name,
            provided=lambda connection: mandate.require(connection, *acts),
        )

    async def set(
        self,
        asked: Mapping[str, object],
        *,
        who: str,
        who_name: str,
        provided: Condition = always,
    ) -> None:
        """The same for somebody of whom is known that they may, as from the shell.

        :param who: their identity, for the audit log; and what they are called.
        :param provided: see `Changes.make`.
        """
        wanted = {name: self._wanted(name, value) for name, value in asked.items()}
        changed = {name: value for name, value in wanted.items() if self._values[name] != value}
        texts = {name: msgspec.json.encode(value).decode() for name, value in changed.items()}
        if not texts:
            return
        noted = {
            name: POLICIES[name].noted(self._values[name], value) for name, value in changed.items()
        }
        opened = changed.get("guests") == Guests.OPEN.value

        def change(connection: Connection) -> None:
            put_policies(connection, texts)
            for name, why in noted.items():
                what = "calm" if name == "calm" else "policy"
                note(
                    connection,
                    at=self._now(),
                    who=who,
                    who_name=who_name,
                    what=what,
                    whom=name,
                    reason=why,
                )

            if opened:
                let_all_in(connection)

        def tell(_: None) -> list[Control]:
            told: list[Control] = [PolicyChanged(name, text) for name, text in texts.items()]
            # Nobody waits where nobody has to.
            return [*told, LetIn()] if opened else told

        await self._changes.make(change, tell, provided=provided)

    def _wanted(self, name: str, value: object) -> Any:
        policy = POLICIES.get(name)
        if policy is None:
            raise refused(name, f"there is no such policy, but {', '.join(POLICIES)}")
        parsed, pin = policy.parsed(value), self.pins.get(name)
        if pin is not None:
            raise Pinned(
                f"The option {pin.option} of the daemon says what this is: it can only be changed "
                "there.",
                extra={"policy": name, "option": pin.option},
            )
        return parsed

    def told(self, control: Control) -> None:
        """What the log tells the house; see `Feed.control`."""
        if isinstance(control, PolicyChanged) and self._set(control.name, control.value):
            self._follow(control.name)

    def _set(self, name: str, text: str) -> bool:
        """Have a value that was kept; False when it is the same, or none that this release has."""
        policy = POLICIES.get(name)
        if policy is None or name in self.pins:
            return False
        try:
            value = policy.parsed(msgspec.json.decode(text))
        except (ChatError, msgspec.DecodeError):
            # Another release may know more of it.
            return False
        if self._values[name] == value:
            return False
        self._values[name] = value
        return True

    def _follow(self, name: str) -> None:
        terms = self._terms()
        if terms != self._rights.terms:
            self._rights.set_terms(terms)
        self.changed.tell(name)

    def _terms(self) -> Terms:
        values = self._values
        return Terms(
            public_reading=values["public_reading"],
            guests=Guests(values["guests"]),
            rooms=Role.of(values["rooms"]) or Role.GUEST,
            calm=Calm[values["calm"].upper()],
        )
