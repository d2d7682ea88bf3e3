"""Who says that she leaves is gone soon, whichever comes first: her word or her stream's end."""

from __future__ import annotations

import pytest

from cometd_chat.chat.presence import GRACE, LEAVING_GRACE
from tests.memory import MemorySite
from tests.web.transports import Client


def leave(site: MemorySite, token: str) -> None:
    assert site.post("/api/v1/rooms/lobby/leave", token=token).status == 204


def left(client: Client) -> list[str]:
    return [each["from"] for each in client.of("leave")]


@pytest.mark.parametrize("word_first", [True, False])
def test_leaving_is_soon_over(site: MemorySite, word_first: bool) -> None:
    bystander = Client(site, "stream")
    token = site.log_in("alice")
    alice = Client(site, "stream", token=token)
    if word_first:
        leave(site, token)
    alice.leave()
    if not word_first:
        leave(site, token)
    site.advance(LEAVING_GRACE - 1)
    assert left(bystander) == []
    site.advance(3)
    assert left(bystander) == ["alice"]


def test_a_word_from_one_of_two_windows_is_soon_forgotten(site: MemorySite) -> None:
    bystander = Client(site, "stream")
    token = site.log_in("alice")
    alice = Client(site, "stream", token=token)
    leave(site, token)
    site.advance(LEAVING_GRACE + 1)
    # The other window's stream breaks: she has the time to come back.
    alice.leave()
    site.advance(GRACE - 2)
    assert left(bystander) == []
    site.advance(4)
    assert left(bystander) == ["alice"]
