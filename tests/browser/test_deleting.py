"""A message that is deleted goes from every page, and stays gone."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.visits import Room, Visits

pytestmark = pytest.mark.slow


def test_a_message_that_is_deleted_goes_from_the_page(visits: Visits, room: Room) -> None:
    room.say("Grace", "before")
    secret = room.say("Grace", "xyzzy https://example.org/ the secret")
    ada = visits.enter("Ada")
    ada.hears("before")
    room.delete("Grace", secret["id"])
    line = ada.page.locator(f"#m{secret['id']}")
    expect(line.locator(".text")).to_have_text("(deleted by its author)")
    expect(line.locator(".text a")).to_have_count(0)
    assert "xyzzy" not in ada.page.content()
    # And on a page that is loaded then, with and without the script.
    ada.page.reload()
    ada.is_live("frame")
    expect(line.locator(".text")).to_have_text("(deleted by its author)")
    assert "xyzzy" not in ada.page.content()
