"""Commands from the composer: what came of one is shown to whoever typed it; nothing is said."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.visits import Room, Visits

pytestmark = pytest.mark.slow


def test_a_command_is_run_and_its_answer_shown(visits: Visits, room: Room) -> None:
    ada = visits.enter("Ada")
    box, answer, problem = (ada.page.locator(each) for each in ("#text", "#answer", "#problem"))
    box.fill("/help")
    box.press("Enter")
    expect(answer).to_contain_text("/nick NAME: gives you another name.")
    expect(box).to_have_value("")
    box.fill("//help is a command")
    box.press("Enter")
    ada.hears("/help is a command")
    expect(answer).to_be_hidden()
    assert ada.lines() == ["/help is a command"]
    # One that is not there stays in the box, to be mended.
    box.fill("/hlep")
    box.press("Enter")
    expect(problem).to_have_text("There is no /hlep; /help lists them.")
    expect(box).to_have_value("/hlep")
    assert ada.lines() == ["/help is a command"]

    ada.forgive_all()
