"""Passwords: which can be one, and that to look at one is one hash, whoever it is of."""

from __future__ import annotations

import pytest

from cometd_chat.chat.passwords import Passwords, Verified, new_password
from cometd_chat.errors import InvalidRequest
from tests.chat.parts import now
from tests.hashing import AtOnce, CountingHasher, weak

RIGHT = "four words of mine"


@pytest.fixture
def hasher() -> CountingHasher:
    return weak()


@pytest.fixture
def passwords(hasher: CountingHasher) -> Passwords:
    return Passwords(AtOnce(), hasher)


def test_what_is_kept_is_argon2id() -> None:
    kept = now(Passwords(AtOnce()).hash(RIGHT))
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert RIGHT not in kept


def test_who_knows_it(passwords: Passwords) -> None:
    kept = now(passwords.hash(RIGHT))
    assert kept != now(passwords.hash(RIGHT)), "each has its salt"
    assert now(passwords.verify(kept, RIGHT)) == Verified(good=True)
    assert now(passwords.verify(kept, RIGHT + "x")) == Verified(good=False)


@pytest.mark.parametrize("typed", [RIGHT, "wrong, but long", "", "x" * 2000, "a\nb", "\ud800"])
@pytest.mark.parametrize("there", [True, False])
def test_each_look_is_one_hash(
    passwords: Passwords, hasher: CountingHasher, typed: str, there: bool
) -> None:
    """Nobody learns from the time who has an account."""
    kept = now(passwords.hash(RIGHT)) if there else None
    before = hasher.worked
    verified = now(passwords.verify(kept, typed))
    assert verified.good == (there and typed == RIGHT)
    assert hasher.worked == before + 1


def test_a_hash_that_is_none(passwords: Passwords) -> None:
    assert now(passwords.verify("$2b$not argon2", RIGHT)) == Verified(good=False)


def test_parameters_are_renewed(passwords: Passwords) -> None:
    kept = now(passwords.hash(RIGHT))
    later = Passwords(AtOnce(), weak(time_cost=2))
    assert now(later.verify(kept, "wrong, but long")) == Verified(good=False)
    renewed = now(later.verify(kept, RIGHT)).renewed
    assert renewed is not None
    assert "t=2" in renewed
    assert now(later.verify(renewed, RIGHT)) == Verified(good=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pässword one", "pa\u0308ssword one"),
        ("some words here", "some\u00a0words\u3000here"),
    ],
)
def test_what_looks_the_same_is_the_same(passwords: Passwords, one: str, other: str) -> None:
    """As OpaqueString of RFC 8265 has it: keyboards write one thing in several ways."""
    assert new_password(one) == new_password(other)
    kept = now(passwords.hash(new_password(one)))
    assert now(passwords.verify(kept, other)).good


@pytest.mark.parametrize("password", ["x" * 8, "x" * 1024, "ж" * 8, "  spaces  "])
def test_what_can_be_one(password: str) -> None:
    assert new_password(password) == password


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("", "at least 8"),
        ("seven..", "at least 8"),
        ("x" * 1025, "at most 1024"),
        ("one line\nand another", "control characters"),
        ("half a pair \ud800", "control characters"),
    ],
)
def test_what_can_not(password: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        new_password(password, "new_password")
    assert said in refused.value.detail
    assert [each.field for each in refused.value.fields] == ["new_password"]
    assert password[:8] == "" or password not in refused.value.detail
