"""What was done, to whom and why: noted with it, shown page by page, kept for a year."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from cometd_chat.chat.audit import KEPT, LOOK_EVERY, Audit, note, undo
from cometd_chat.comet.reaper import Reaper
from cometd_chat.log.changes import LocalChanges
from cometd_chat.log.memory_store import MemoryStore
from tests.chat.parts import now


class CountedChanges(LocalChanges):
    """Counts them."""

    made = 0

    def make(self, change: Any, tell: Any, **options: Any) -> Any:
        self.made += 1
        return super().make(change, tell, **options)


class Noted:
    """An audit log in memory."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore()
        self.changes = CountedChanges(self.store, lambda control: None)
        self.at = 1000
        self.audit = Audit(self.changes, Reaper(self.clock), lambda: self.at)
        self.audit.start()

    def note(self, what: str, **fields: Any) -> None:
        fields = {"at": self.at, "who": "a" * 24, "who_name": "alice", **fields}
        now(self.changes.make(lambda c: note(c, what=what, **fields), lambda _: ()))

    def whats(
        self, after: int | None = None, limit: int = 10, room: str | None = None
    ) -> list[str]:
        return [each.what for each in now(self.audit.page("", after, limit, room))]


def test_the_newest_comes_first_page_by_page() -> None:
    noted = Noted()
    for number in range(5):
        noted.note(f"act {number}")
    assert noted.whats() == ["act 4", "act 3", "act 2", "act 1", "act 0"]
    first = now(noted.audit.page("", None, 2))
    assert [each.what for each in first] == ["act 4", "act 3"]
    assert noted.whats(first[-1].id, 2) == ["act 2", "act 1"]
    assert noted.whats(1) == []


def test_what_was_done_in_one_room_is_shown_alone() -> None:
    noted = Noted()
    noted.note("ban", room="dev")
    noted.note("kick")
    assert noted.whats(room="dev") == ["ban"]


def test_it_says_all_there_is_and_no_identity() -> None:
    noted = Noted()
    noted.note("ban", whom="bob", room="dev", reason="spam", about="x")
    (deed,) = now(noted.audit.page("", None, 10))
    assert deed.json == {
        "id": 1,
        "at": "1970-01-01T00:00:01.000Z",
        "who": "alice",
        "what": "ban",
        "whom": "bob",
        "room": "dev",
        "reason": "spam",
        "undone": None,
    }


def test_what_is_undone_says_when_and_only_once() -> None:
    noted = Noted()
    noted.note("ban", about="one")
    noted.note("ban", about="two")
    for at in (2000, 3000):
        now(noted.changes.make(lambda c, at=at: undo(c, "one", at), lambda _: ()))
    second, first = now(noted.audit.page("", None, 10))
    assert second.json["undone"] is None
    assert first.json["undone"] == "1970-01-01T00:00:02.000Z"


def test_what_is_older_than_a_year_goes() -> None:
    noted = Noted()
    noted.note("old")
    noted.at += KEPT
    noted.note("new")
    noted.clock.pump([LOOK_EVERY + 1])
    assert noted.whats() == ["new", "old"]
    noted.at += 1
    noted.clock.pump([LOOK_EVERY + 1])
    assert noted.whats() == ["new"]


def test_looking_changes_nothing_where_nobody_did_anything() -> None:
    """So a release that knows nothing of all this may come back."""
    noted = Noted()
    noted.clock.pump([LOOK_EVERY + 1])
    assert noted.changes.made == 0
    noted.note("old")
    noted.at += KEPT + 1
    noted.clock.pump([LOOK_EVERY + 1])
    assert noted.changes.made == 2
