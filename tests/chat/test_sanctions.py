"""Sanctions as they are asked for at each request: which is in force, for whom, where, until when;
and the networks that they can be of."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from cometd_chat.chat.networks import HASH_BYTES, NetworkHashes, network_of, require_bannable
from cometd_chat.chat.sanctions import (
    BAN,
    BAN_NETWORK,
    KICK,
    MOST_MINUTES,
    MOST_REASON,
    SILENCE,
    Sanction,
    SanctionIndex,
    kind_named,
    minutes_of,
    reason_of,
    require_other,
)
from cometd_chat.errors import ChatError, InvalidRequest, NotAllowed

ALICE, BOB = "a" * 24, "b" * 24

_PLAIN = Sanction("1", SILENCE, BOB, b"", "bob", None, None, ALICE, "alice", "", 0)


def sanction(id: int, **fields: Any) -> Sanction:
    return attrs.evolve(_PLAIN, id=f"{id}", **fields)


def index_of(*sanctions: Sanction) -> SanctionIndex:
    index = SanctionIndex()
    for each in sanctions:
        index.put(each)
    return index


class TestIndex:
    def test_everywhere_holds_in_each_room(self) -> None:
        index = index_of(sanction(1))
        for room in (None, "lobby", "dev"):
            found = index.of(BOB, SILENCE, room, 0)
            assert found is not None
            assert found.id == "1"
        assert index.of(ALICE, SILENCE, "lobby", 0) is None
        assert index.of(BOB, BAN, "lobby", 0) is None

    def test_in_a_room_holds_there_only(self) -> None:
        index = index_of(sanction(1, room="dev"))
        assert index.of(BOB, SILENCE, "dev", 0) is not None
        assert index.of(BOB, SILENCE, "lobby", 0) is None
        assert index.of(BOB, SILENCE, None, 0) is None

    def test_what_is_over_holds_no_longer_though_nobody_has_looked(self) -> None:
        index = index_of(sanction(1, until=1000), sanction(2, room="dev", until=2000))
        assert index.of(BOB, SILENCE, "dev", 999) is not None
        assert index.of(BOB, SILENCE, "lobby", 1000) is None
        found = index.of(BOB, SILENCE, "dev", 1000)
        assert found is not None
        assert found.id == "2"

    def test_what_ends_first_is_taken_first(self) -> None:
        index = index_of(
            sanction(1, until=3000),
            sanction(2, kind=BAN),
            sanction(3, room="dev", until=1000),
            sanction(4, kind=KICK, until=2000),
        )
        assert index.next_end == 1000
        assert [each.id for each in index.take_over(2500, 1)] == ["3"]
        assert [each.id for each in index.take_over(2500, 10)] == ["4"]
        assert index.take_over(2500, 10) == []
        assert [each.id for each in index] == ["1", "2"]
        assert index.next_end == 3000
        index.remove("1")
        assert index.next_end is None

    def test_removing_leaves_the_others(self) -> None:
        index = index_of(sanction(1), sanction(2, kind=BAN), sanction(3, room="dev"))
        removed = index.remove("1")
        assert removed is not None
        assert index.remove("1") is None
        assert index.of(BOB, SILENCE, "lobby", 0) is None
        assert index.of(BOB, SILENCE, "dev", 0) is not None
        assert index.of(BOB, BAN, None, 0) is not None
        index.remove("2")
        index.remove("3")
        assert len(index) == 0
        assert not index.identities

    def test_of_a_network(self) -> None:
        index = index_of(
            sanction(1, kind=BAN_NETWORK, identity="", network=b"one"),
            sanction(2, kind=BAN_NETWORK, identity="", network=b"two", room="dev", until=5),
        )
        assert index.networks
        assert not index.identities
        assert index.of_network(b"one", "lobby", 0) is not None
        assert index.of_network(b"two", "dev", 0) is not None
        assert index.of_network(b"two", "dev", 5) is None
        assert index.of_network(b"two", "lobby", 0) is None
        assert index.of_network(b"three", None, 0) is None
        index.remove("1")
        index.remove("2")
        assert not index.networks

    def test_one_that_is_put_again_takes_its_own_place(self) -> None:
        index = index_of(sanction(1, until=5), sanction(1, room="dev", until=9))
        assert len(index) == 1
        assert index.of(BOB, SILENCE, "lobby", 0) is None
        assert [each.room for each in index.take_over(10, 9)] == ["dev"]

    def test_of_two_alike_the_longer_one_counts_and_stays_when_the_other_goes(self) -> None:
        index = index_of(sanction(1, until=5), sanction(2, until=9), sanction(3, until=7))
        for id, left in (("2", "3"), ("3", "1")):
            found = index.of(BOB, SILENCE, None, 0)
            assert found is not None
            assert found.id == id
            index.remove(id)
            found = index.of(BOB, SILENCE, None, 0)
            assert found is not None
            assert found.id == left

    def test_many_that_come_and_go_leave_nothing(self) -> None:
        index = SanctionIndex()
        for id in range(5000):
            index.put(sanction(id, identity=f"{id % 7}", until=10**9 + id))
            index.remove(f"{id}")
        assert len(index) == 0
        assert not index.identities
        assert len(index._ends) <= 64


class CountingDict(dict[Any, Any]):
    """Counts how often it is looked into."""

    looks = 0

    def get(self, key: Any, default: Any = None) -> Any:
        CountingDict.looks += 1
        return super().get(key, default)


@pytest.mark.parametrize("count", [10, 10_000])
def test_asking_costs_the_same_however_many_there_are(count: int) -> None:
    index = index_of(*(sanction(id, identity=f"{id}") for id in range(count)))
    index._of = CountingDict(index._of)
    CountingDict.looks = 0
    assert index.of(ALICE, SILENCE, "lobby", 0) is None
    assert index.of("7", SILENCE, "lobby", 0) is not None
    assert CountingDict.looks == 2


class TestWhatIsAskedFor:
    def test_kinds(self) -> None:
        assert [kind_named(kind.value) for kind in (SILENCE, KICK, BAN, BAN_NETWORK)] == [
            SILENCE,
            KICK,
            BAN,
            BAN_NETWORK,
        ]
        for wrong in (None, 7, "", "Ban", ["ban"]):
            with pytest.raises(InvalidRequest, match=r"silence, kick, ban, ban-network"):
                kind_named(wrong)

    def test_minutes(self) -> None:
        assert minutes_of(KICK, None) == 10
        assert minutes_of(BAN, None) is None
        assert minutes_of(BAN, 1) == 1
        assert minutes_of(SILENCE, MOST_MINUTES) == MOST_MINUTES
        wrong: object
        for wrong in (0, -1, MOST_MINUTES + 1, 10**9, 1.5, "5", True, [], float("inf")):
            with pytest.raises(InvalidRequest, match="A whole number from 1 to"):
                minutes_of(BAN, wrong)

    def test_reasons(self) -> None:
        assert reason_of(None) == ""
        assert reason_of("  spam,\n spam ") == "spam, spam"
        assert reason_of("x" * MOST_REASON)
        for wrong in (7, "x" * (MOST_REASON + 1), "a\x00b", "a\N{RIGHT-TO-LEFT OVERRIDE}b"):
            with pytest.raises(InvalidRequest):
                reason_of(wrong)

    def test_not_oneself(self) -> None:
        require_other(BOB, ALICE)
        with pytest.raises(InvalidRequest, match="yourself"):
            require_other(ALICE, ALICE)


class TestNetworks:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("8.8.8.1", "8.8.8.254"),
            ("8.8.8.1", "::ffff:8.8.8.9"),
            ("8.8.8.1", "64:ff9b::808:809"),
            ("2a00:1450:4001::1", "2a00:1450:4001:ffff::9"),
            ("2a00:1450:4001::1%eth0", "2a00:1450:4001::2"),
        ],
    )
    def test_addresses_of_one_network(self, one: str, other: str) -> None:
        assert network_of(one) == network_of(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [("8.8.8.1", "8.8.9.1"), ("2a00:1450:4001::1", "2a00:1450:4002::1")],
    )
    def test_addresses_of_two(self, one: str, other: str) -> None:
        assert network_of(one) != network_of(other)

    def test_a_hash_depends_on_the_key_and_shows_nothing(self) -> None:
        keys = [b"1" * 32]
        hashes = NetworkHashes(lambda: keys[0])
        first = hashes.of("8.8.8.1")
        assert first is not None
        assert len(first) == HASH_BYTES
        assert hashes.of("8.8.8.200") == first
        assert hashes.of("8.8.9.1") != first
        assert hashes.of("") is None
        assert NetworkHashes(lambda: keys[0]).of("8.8.8.77") == first
        assert bytes((8, 8, 8)) not in first
        keys[0] = b"2" * 32
        hashes.forget()
        assert hashes.of("8.8.8.1") != first

    def test_it_keeps_no_more_than_so_many(self) -> None:
        hashes = NetworkHashes(lambda: b"1" * 32)
        for number in range(20_000):
            hashes.of(f"8.{number % 200}.{number // 200}.1")
        assert len(hashes._known) <= 16_384

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.9",
            "100.64.0.1",
            "169.254.1.1",
            "::1",
            "fe80::1%eth0",
            "fc00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
        ],
    )
    def test_a_private_network_is_refused(self, address: str) -> None:
        with pytest.raises(NotAllowed, match="private network"):
            require_bannable(address, lambda each: False)

    def test_a_trusted_proxy_is_refused(self) -> None:
        with pytest.raises(NotAllowed, match="proxy"):
            require_bannable("8.8.8.8", lambda each: each == "8.8.8.8")

    def test_an_address_that_is_not_known_is_refused(self) -> None:
        with pytest.raises(ChatError, match="not known"):
            require_bannable("", lambda each: False)

    def test_any_other_may_be_banned(self) -> None:
        for address in ("8.8.8.8", "2a00:1450:4001::1"):
            require_bannable(address, lambda each: False)
