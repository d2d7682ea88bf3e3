"""Sessions: one owner a name at a time, tokens that outlive the process, guests who are gone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import LogEvent

from cometd_chat.chat.cluster_sessions import ClusterSessions
from cometd_chat.chat.lasting import MOST_AWAY
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import TOKEN_LIFETIME, Session, Sessions, require_active
from cometd_chat.errors import (
    ChatError,
    InvalidRequest,
    InvalidToken,
    NameTaken,
    StorageUnavailable,
)
from cometd_chat.log.directory import SessionRow
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.log.memory_directory import MemoryDirectory, MemorySharedDirectory
from tests.chat.cluster import Cluster, Node
from tests.chat.parts import House, begun, now
from tests.chat.test_passing_guests import Held
from tests.directories import kept_sessions


class Slow:
    """A directory that answers when it is told to, in order, as the one writer of a database."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.holding = False
        self.failure: ChatError | None = None
        self._held: list[Callable[[], None]] = []

    def _later(self, change: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()

        def do() -> None:
            if self.failure is not None:
                answer.errback(self.failure)
            else:
                change().addCallbacks(answer.callback, answer.errback)

        self._held.append(do)
        if not self.holding:
            self.let_go()
        return answer

    def let_go(self, count: int | None = None) -> None:
        """Answer what waits, or the oldest of it."""
        ready = self._held[:count]
        del self._held[: len(ready)]
        for do in ready:
            do()


def later(name: str) -> Any:
    """A method of a directory that answers later."""

    def do(self: Any, *options: Any) -> Deferred[Any]:
        change = getattr(super(type(self), self), name)
        answer: Deferred[Any] = self._later(lambda: change(*options))
        return answer

    return do


class SlowDirectory(Slow, MemoryDirectory):
    """That of one process."""

    add_session = later("add_session")
    session_by_token = later("session_by_token")
    rename_session = later("rename_session")
    end_session = later("end_session")
    free_name = later("free_name")


class SlowSharedDirectory(Slow, MemorySharedDirectory):
    """That of a node."""

    add_session = later("add_session")
    session_by_token = later("session_by_token")
    rename_session = later("rename_session")
    end_session = later("end_session")
    free_name = later("free_name")
    claim = later("claim")
    release = later("release")


class SlowCluster(Cluster):
    """A cluster whose directory is slow."""

    def make_directory(self, log: MemoryEventLog, beside: Any) -> MemorySharedDirectory:
        return SlowSharedDirectory([], log, self.calendar, beside)


#: Seconds after which the name of a guest who is gone is free, at the latest.
FREED = {"one": 902, "many": 1200}


def until_free(house: House) -> float:
    """See `FREED`."""
    return FREED["many" if isinstance(house, Node) else "one"]


@pytest.fixture(params=FREED)
def house(request: pytest.FixtureRequest, failures: list[LogEvent]) -> House:
    """The house of a process that is alone, or of one of many."""
    if request.param == "one":
        return House(directory=SlowDirectory())
    return SlowCluster(1).nodes[0]


#: What is only so where no other node can have changed anything.
ALONE = pytest.mark.parametrize("house", ["one"], indirect=True)


@pytest.fixture
def directory(house: House) -> Any:
    return house.directory


@pytest.fixture
def sessions(house: House) -> Sessions:
    return house.sessions


def rows(directory: MemoryDirectory) -> list[SessionRow]:
    return list(kept_sessions(directory).values())


def outcome(waiting: Deferred[Any]) -> list[Any]:
    """Where the result of something will be once it is there."""
    found: list[Any] = []
    waiting.addBoth(found.append)
    return found


def restarted(house: House) -> Sessions:
    again = house.make_sessions()
    if isinstance(again, ClusterSessions):
        house.feed.control.add(again.told)
    again.start()
    return again


# -- starting one


def test_a_guest(sessions: Sessions) -> None:
    session, token = now(sessions.start_guest(" Alice "))
    assert (session.name, session.name_key, session.role) == ("Alice", "alice", Role.GUEST)
    assert len(token) == 32
    assert now(sessions.by_token(token)) is session
    assert len(sessions) == 1


def test_only_a_hash_of_the_token_is_kept(sessions: Sessions, directory: SlowDirectory) -> None:
    session, token = now(sessions.start_guest("alice"))
    (row,) = rows(directory)
    assert row.token_hash == hashlib.sha256(token.encode()).digest()
    assert token not in repr(row)
    assert token not in repr(session)
    assert token not in repr(vars(sessions))


def test_each_session_has_an_id_of_its_own(sessions: Sessions) -> None:
    first, _ = now(sessions.start_guest("alice"))
    now(sessions.end(first))
    second, _ = now(sessions.start_guest("alice"))
    assert first.id != second.id


def test_a_name_that_is_none(sessions: Sessions, directory: SlowDirectory) -> None:
    with pytest.raises(InvalidRequest):
        now(sessions.start_guest("a/b"))
    assert not rows(directory)
    assert len(sessions) == 0


@pytest.mark.parametrize("other", ["alice", "ALICE", "ａｌｉｃｅ"])
def test_a_name_in_use(sessions: Sessions, other: str) -> None:
    now(sessions.start_guest("Alice"))
    with pytest.raises(NameTaken):
        now(sessions.start_guest(other))
    assert len(sessions) == 1


def test_two_who_want_a_name_at_once(sessions: Sessions, directory: SlowDirectory) -> None:
    directory.holding = True
    first = outcome(begun(sessions.start_guest("alice")))
    second = outcome(begun(sessions.start_guest("Alice")))
    directory.let_go()
    assert second[0].check(NameTaken)
    assert first[0][0].name == "alice"


def test_a_name_is_free_again_when_it_could_not_be_kept(
    sessions: Sessions, directory: SlowDirectory
) -> None:
    directory.failure = StorageUnavailable("The disk is full.", retry_after=1)
    with pytest.raises(StorageUnavailable):
        now(sessions.start_guest("alice"))
    assert len(sessions) == 0
    directory.failure = None
    now(sessions.start_guest("alice"))


@pytest.mark.parametrize("token", ["", "x", "\ud800", "é" * 1000])
def test_a_token_that_is_none(sessions: Sessions, token: str) -> None:
    now(sessions.start_guest("alice"))
    with pytest.raises(InvalidToken):
        now(sessions.by_token(token))


# -- renaming


def test_renaming(sessions: Sessions, directory: SlowDirectory) -> None:
    session, token = now(sessions.start_guest("alice"))
    id = session.id
    assert now(sessions.rename(session, "bob")) == "alice"
    assert (session.name, session.name_key, session.id) == ("bob", "bob", id)
    assert now(sessions.by_token(token)) is session
    assert [(row.name, row.name_key) for row in rows(directory)] == [("bob", "bob")]
    now(sessions.start_guest("alice"))
    with pytest.raises(NameTaken):
        now(sessions.start_guest("bob"))


def test_only_the_case_changes(sessions: Sessions) -> None:
    session, _ = now(sessions.start_guest("alice"))
    assert now(sessions.rename(session, "ALICE")) == "alice"
    assert session.name == "ALICE"
    with pytest.raises(NameTaken):
        now(sessions.start_guest("alice"))


def test_a_name_that_somebody_else_has(sessions: Sessions) -> None:
    session, _ = now(sessions.start_guest("alice"))
    now(sessions.start_guest("bob"))
    with pytest.raises(NameTaken):
        now(sessions.rename(session, "BOB"))
    assert session.name == "alice"
    with pytest.raises(NameTaken):
        now(sessions.start_guest("alice"))


def test_two_who_rename_to_one_name_at_once(sessions: Sessions, directory: SlowDirectory) -> None:
    alice, _ = now(sessions.start_guest("alice"))
    bob, _ = now(sessions.start_guest("bob"))
    directory.holding = True
    first = outcome(begun(sessions.rename(alice, "carol")))
    second = outcome(begun(sessions.rename(bob, "carol")))
    third = outcome(begun(sessions.start_guest("carol")))
    directory.let_go()
    assert second[0].check(NameTaken)
    assert third[0].check(NameTaken)
    assert first == ["alice"]
    assert (alice.name, bob.name) == ("carol", "bob")


def test_the_old_name_is_not_free_before_the_new_one_is_kept(
    sessions: Sessions, directory: SlowDirectory
) -> None:
    alice, _ = now(sessions.start_guest("alice"))
    directory.holding = True
    renaming = outcome(begun(sessions.rename(alice, "carol")))
    other = outcome(begun(sessions.start_guest("alice")))
    directory.failure = StorageUnavailable("The disk is full.", retry_after=1)
    directory.let_go()
    assert renaming[0].check(StorageUnavailable)
    assert other[0].check(NameTaken, StorageUnavailable)
    assert alice.name == "alice"
    directory.failure = None
    directory.holding = False
    now(sessions.start_guest("carol"))
    with pytest.raises(NameTaken):
        now(sessions.start_guest("alice"))


def test_a_session_that_ends_while_it_is_renamed_keeps_no_name(
    sessions: Sessions, directory: SlowDirectory
) -> None:
    alice, token = now(sessions.start_guest("alice"))
    directory.holding = True
    outcome(begun(sessions.rename(alice, "carol")))
    outcome(begun(sessions.end(alice)))
    directory.holding = False
    directory.let_go()
    assert not rows(directory)
    now(sessions.start_guest("alice"))
    now(sessions.start_guest("carol"))
    with pytest.raises(InvalidToken):
        now(sessions.by_token(token))


def test_a_session_that_is_renamed_while_it_ends(
    sessions: Sessions, directory: SlowDirectory
) -> None:
    alice, _ = now(sessions.start_guest("alice"))
    directory.holding = True
    outcome(begun(sessions.end(alice)))
    renaming = outcome(begun(sessions.rename(alice, "carol")))
    directory.holding = False
    directory.let_go()
    assert renaming[0].check(InvalidToken)
    now(sessions.start_guest("alice"))
    now(sessions.start_guest("carol"))


# -- over a restart


def test_a_restart_keeps_names_and_tokens(house: House, sessions: Sessions) -> None:
    session, token = now(sessions.start_guest("Alice"))
    again = restarted(house)
    with pytest.raises(NameTaken):
        now(again.start_guest("alice"))
    found = now(again.by_token(token))
    assert (found.id, found.name, found.role) == (session.id, "Alice", Role.GUEST)


def test_a_restart_frees_a_name_later_as_well(house: House, sessions: Sessions) -> None:
    now(sessions.start_guest("alice"))
    again = restarted(house)
    house.advance(until_free(house))
    now(again.start_guest("alice"))


# -- guests who are gone


def test_the_name_of_a_guest_who_is_gone_is_free(
    house: House, sessions: Sessions, directory: SlowDirectory
) -> None:
    now(sessions.start_guest("alice"))
    house.advance(899)
    with pytest.raises(NameTaken):
        now(sessions.start_guest("alice"))
    house.advance(until_free(house) - 899)
    assert len(sessions) == 0
    assert [row.name_key for row in rows(directory)] == [None]
    now(sessions.start_guest("alice"))


def test_who_asks_for_something_keeps_her_name(house: House, sessions: Sessions) -> None:
    session, token = now(sessions.start_guest("alice"))
    for _ in range(3):
        house.advance(600)
        assert now(sessions.by_token(token)) is session
    assert session.name_key == "alice"


def test_who_holds_something_keeps_her_name(house: House, sessions: Sessions) -> None:
    session, _ = now(sessions.start_guest("alice"))
    holding: Any = object()
    session.readers = (holding,)
    house.advance(5000)
    assert session.name_key == "alice"
    session.readers = ()
    house.advance(1900)
    assert session.name_key is None


def test_the_token_takes_the_name_back(
    house: House, sessions: Sessions, directory: SlowDirectory
) -> None:
    session, token = now(sessions.start_guest("alice"))
    house.advance(until_free(house))
    found = now(sessions.by_token(token))
    assert (found.id, found.name, found.name_key) == (session.id, "alice", "alice")
    assert [row.name_key for row in rows(directory)] == ["alice"]
    with pytest.raises(NameTaken):
        now(sessions.start_guest("alice"))


def freed_and_taken(house: House, sessions: Sessions) -> tuple[str, Session]:
    """The token of a session without name, and the session that has its name now."""
    _, token = now(sessions.start_guest("alice"))
    house.advance(until_free(house))
    other, _ = now(sessions.start_guest("Alice"))
    return token, other


def test_a_name_that_somebody_took_is_gone(house: House, sessions: Sessions) -> None:
    token, other = freed_and_taken(house, sessions)
    found = now(sessions.by_token(token))
    assert found.name_key is None
    assert found is not other
    assert now(sessions.rename(found, "carol")) == "alice"
    assert now(sessions.by_token(token)).name_key == "carol"
    with pytest.raises(NameTaken):
        now(sessions.start_guest("alice"))


def test_a_name_that_looks_like_one_in_use(house: House, sessions: Sessions) -> None:
    first, token = now(sessions.start_guest("Ivan"))
    for other in ("ivan", "lvan", "1VAN", "IVAN"):
        with pytest.raises(NameTaken, match="looks like it"):
            now(sessions.start_guest(other))
    bob, _ = now(sessions.start_guest("bob"))
    with pytest.raises(NameTaken):
        now(sessions.rename(bob, "lvan"))
    # Either key is free with the name.
    now(sessions.rename(first, "carol"))
    now(sessions.rename(bob, "lvan"))
    with pytest.raises(NameTaken):
        now(sessions.rename(first, "Ivan"))
    now(sessions.end(bob))
    now(sessions.rename(first, "Ivan"))
    house.advance(until_free(house))
    now(sessions.start_guest("lvan"))
    assert now(sessions.by_token(token)).name_key is None


def test_a_rename_that_fails_takes_nothing(sessions: Sessions, directory: SlowDirectory) -> None:
    bob, _ = now(sessions.start_guest("bob"))
    directory.failure = StorageUnavailable("The disk is full.")
    with pytest.raises(StorageUnavailable):
        now(sessions.rename(bob, "Ivan"))
    directory.failure = None
    now(sessions.start_guest("lvan"))
    now(sessions.start_guest("ivan"))


def kept_before(name: str) -> SessionRow:
    """A session from a release that allowed the name, which has been away since."""
    token_hash = hashlib.sha256(b"old").digest()
    return SessionRow("0a" * 12, token_hash, name, None, "guest", 0, 10**15)


def test_a_name_from_before_is_taken_back(sessions: Sessions, directory: SlowDirectory) -> None:
    """Though it mixes scripts as no new name may."""
    name = "\u044e\u0437\u0435\u0440-x"
    now(directory.add_session(kept_before(name)))
    assert now(sessions.by_token("old")).name_key is not None
    with pytest.raises(InvalidRequest):
        now(sessions.start_guest(name))


def test_a_name_from_before_that_is_reserved_now_is_not(
    sessions: Sessions, directory: SlowDirectory
) -> None:
    now(directory.add_session(kept_before("Admin")))
    session = now(sessions.by_token("old"))
    assert session.name_key is None
    with pytest.raises(NameTaken, match="choose another one"):
        require_active(session)
    now(sessions.rename(session, "carol"))
    assert now(sessions.by_token("old")).name_key == "carol"


def test_a_nameless_session_takes_its_name_back_as_soon_as_it_is_free(
    house: House, sessions: Sessions
) -> None:
    token, other = freed_and_taken(house, sessions)
    nameless = now(sessions.by_token(token))
    now(sessions.end(other))
    again = now(sessions.by_token(token))
    assert again is nameless
    assert again.name_key == "alice"
    with pytest.raises(NameTaken):
        now(sessions.start_guest("alice"))


def test_two_requests_that_take_the_name_back_at_once(
    house: House, sessions: Sessions, directory: SlowDirectory
) -> None:
    _, token = now(sessions.start_guest("alice"))
    house.advance(until_free(house))
    directory.holding = True
    first = outcome(begun(sessions.by_token(token)))
    second = outcome(begun(sessions.by_token(token)))
    directory.let_go()
    directory.let_go()
    assert first[0] is second[0]
    assert first[0].name_key == "alice"


def test_nobody_gets_a_name_that_is_being_taken_back(
    house: House, sessions: Sessions, directory: SlowDirectory
) -> None:
    _, token = now(sessions.start_guest("alice"))
    house.advance(until_free(house))
    directory.holding = True
    back = outcome(begun(sessions.by_token(token)))
    directory.let_go(1)  # its row is read, its name is on the way
    other = outcome(begun(sessions.start_guest("alice", ephemeral=True)))
    directory.let_go()
    assert other[0].check(NameTaken)
    assert back[0].name_key == "alice"


def test_who_leaves_while_her_name_is_taken_back_has_it(
    house: House, sessions: Sessions, directory: SlowDirectory
) -> None:
    """Else it would be hers in the directory and free here: for ever taken, by nobody."""
    _, token = now(sessions.start_guest("alice"))
    house.advance(until_free(house))
    directory.holding = True
    asked = begun(sessions.by_token(token))
    left = outcome(asked)
    directory.let_go(1)
    asked.cancel()
    assert left[0].check(CancelledError)
    directory.let_go()
    directory.holding = False
    with pytest.raises(NameTaken):
        now(sessions.start_guest("alice"))
    house.advance(until_free(house))
    now(sessions.start_guest("alice"))


@ALONE
def test_a_row_that_is_read_too_early_gives_no_name_that_another_has(
    house: House,
    sessions: Sessions,
    directory: SlowDirectory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reads don't wait for the writer: this one sees the name that is just being freed."""
    _, token = now(sessions.start_guest("alice"))
    (stale,) = rows(directory)
    house.advance(until_free(house))
    now(sessions.start_guest("alice"))
    monkeypatch.setattr(directory, "session_by_token", lambda token: succeed(stale))
    late = now(sessions.by_token(token))
    assert late.name_key is None
    with pytest.raises(NameTaken):
        now(sessions.start_guest("alice"))


def test_a_name_that_can_not_be_taken_back_is_free(
    house: House, sessions: Sessions, directory: SlowDirectory
) -> None:
    _, token = now(sessions.start_guest("alice"))
    house.advance(until_free(house))
    directory.holding = True
    back = outcome(begun(sessions.by_token(token)))
    directory.let_go(1)
    directory.failure = StorageUnavailable("The disk is full.", retry_after=1)
    directory.let_go()
    assert back[0].check(StorageUnavailable)
    directory.failure = None
    directory.holding = False
    now(sessions.start_guest("alice"))


# -- how long a token is good


def test_a_token_is_good_for_thirty_days(house: House, sessions: Sessions) -> None:
    assert TOKEN_LIFETIME == 30 * 86400
    _, token = now(sessions.start_guest("alice"))
    house.clock.advance(TOKEN_LIFETIME - 10)
    again = restarted(house)
    assert now(again.by_token(token)).name == "alice"


def test_a_token_that_is_too_old(
    house: House, sessions: Sessions, directory: SlowDirectory
) -> None:
    _, token = now(sessions.start_guest("alice"))
    house.clock.advance(TOKEN_LIFETIME)
    with pytest.raises(InvalidToken):
        now(sessions.by_token(token))
    assert not rows(directory)


@ALONE
def test_one_that_expires_in_memory(house: House, sessions: Sessions) -> None:
    session, token = now(sessions.start_guest("alice"))
    session.expires_at = house.calendar()
    with pytest.raises(InvalidToken):
        now(sessions.by_token(token))
    now(sessions.start_guest("alice"))


def test_use_makes_a_token_last_longer(
    house: House, sessions: Sessions, directory: SlowDirectory
) -> None:
    _, token = now(sessions.start_guest("alice"))
    (first,) = rows(directory)
    house.clock.advance(3600)
    assert not sessions.extend(now(sessions.by_token(token)))
    assert rows(directory)[0].expires_at == first.expires_at, "not each request is written down"
    house.clock.advance(86400)
    assert sessions.extend(now(sessions.by_token(token)))
    later = (3600 + 86400) * 1000
    assert rows(directory)[0].expires_at == first.expires_at + later


def test_a_start_drops_what_has_expired(
    house: House, sessions: Sessions, directory: SlowDirectory
) -> None:
    now(sessions.start_guest("alice"))
    house.clock.advance(TOKEN_LIFETIME - MOST_AWAY / 2)
    now(sessions.start_guest("bob"))
    house.clock.advance(MOST_AWAY / 2)
    again = restarted(house)
    assert [row.name for row in rows(directory)] == ["bob"]
    now(again.start_guest("alice"))


def test_what_expires_leaves_the_disk_while_the_daemon_runs(
    house: House, sessions: Sessions, directory: SlowDirectory
) -> None:
    sessions.start()
    _, token = now(sessions.start_guest("alice"))
    house.clock.advance(86400)
    now(sessions.start_guest("bob"))
    house.clock.advance(TOKEN_LIFETIME - 86400 - 5)
    house.advance(2)
    assert {row.name for row in rows(directory)} == {"alice", "bob"}
    house.clock.advance(3600)
    house.advance(2)
    assert [row.name for row in rows(directory)] == ["bob"]
    with pytest.raises(InvalidToken):
        now(sessions.by_token(token))
    now(sessions.start_guest("alice"))


def test_who_holds_something_never_expires(
    house: House, sessions: Sessions, directory: SlowDirectory
) -> None:
    sessions.start()
    alice, token = now(sessions.start_guest("alice"))
    alice.readers = (Held(),)
    for _ in range(40):
        house.clock.advance(86400)
        house.advance(2)
    assert now(sessions.by_token(token)) is alice
    assert [row.name for row in rows(directory)] == ["alice"]


# -- the system's clock is set


@pytest.mark.parametrize("days", [400, -400])
def test_no_session_ends_when_the_clock_is_set(
    house: House, sessions: Sessions, directory: SlowDirectory, days: int
) -> None:
    _, token = now(sessions.start_guest("alice"))
    house.set_by += days * 86400
    alice = now(sessions.by_token(token))
    assert sessions.use_again(alice)
    assert not sessions.extend(alice), "not a second has gone by"


@pytest.mark.parametrize("days", [400, -400])
def test_none_ends_when_it_is_set_while_the_daemon_is_away(
    house: House, sessions: Sessions, directory: SlowDirectory, days: int
) -> None:
    _, token = now(sessions.start_guest("alice"))
    house.set_by += days * 86400
    again = restarted(house)
    alice = now(again.by_token(token))
    assert again.use_again(alice) or again.extend(alice)
    # And it may be set right.
    house.set_by = 0
    third = restarted(house)
    alice = now(third.by_token(token))
    # It ends in the end.
    house.clock.advance(TOKEN_LIFETIME + 1)
    with pytest.raises(InvalidToken):
        now(third.by_token(token))


# -- the end


def test_the_end(sessions: Sessions, directory: SlowDirectory) -> None:
    session, token = now(sessions.start_guest("alice"))
    now(sessions.end(session))
    assert session.ended
    assert not rows(directory)
    with pytest.raises(InvalidToken):
        now(sessions.by_token(token))
    now(sessions.start_guest("alice"))


def test_an_end_that_is_not_kept_is_none(sessions: Sessions, directory: SlowDirectory) -> None:
    """Else the token would be good again after a restart, and the session a second one."""
    session, token = now(sessions.start_guest("alice"))
    directory.failure = StorageUnavailable("The disk is full.", retry_after=1)
    with pytest.raises(StorageUnavailable):
        now(sessions.end(session))
    directory.failure = None
    assert now(sessions.by_token(token)) is session
    assert not session.ended


# -- as long as a request


def test_a_brief_session_is_kept_nowhere(sessions: Sessions, directory: SlowDirectory) -> None:
    session, _ = now(sessions.start_guest("alice", ephemeral=True))
    assert not rows(directory)
    with pytest.raises(NameTaken):
        now(sessions.start_guest("alice"))
    now(sessions.end(session))
    now(sessions.start_guest("alice"))


def test_a_brief_session_can_be_renamed(sessions: Sessions, directory: SlowDirectory) -> None:
    session, _ = now(sessions.start_guest("alice", ephemeral=True))
    now(sessions.rename(session, "bob"))
    assert attrs.evolve(session).name == "bob"
    assert not rows(directory)
