"""Names and texts of every script stand where they belong, and none reaches into another."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.visits import Room, Visits

pytestmark = pytest.mark.slow

ZALGO = "Z" + "".join(chr(0x300 + n % 70) for n in range(300)) + "algo"


#: Where the letters of a text begin, but for what turns them round.
LETTERS = """each => {
    const places = [];
    const walker = document.createTreeWalker(each, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        for (let at = 0; at < node.length; at++) {
            if (/[\u202d\u202e]/.test(node.data[at])) continue;
            const range = document.createRange();
            range.setStart(node, at);
            range.setEnd(node, at + 1);
            places.push(range.getBoundingClientRect().left);
        }
    }
    return places;
}"""


def left(place: Locator) -> float:
    box = place.bounding_box()
    assert box
    return box["x"]


def ink(page: Page, place: Locator) -> bytes:
    """How something looks."""
    box = place.bounding_box()
    assert box
    return page.screenshot(clip=box)


def test_every_line_begins_where_the_others_do(visits: Visits, room: Room) -> None:
    said = {"Grace": "hello", "דוד": "שלום לכולם", "فاطمة": "مرحبا", "小林": "你好"}
    for name, text in said.items():
        room.say(name, text)
    room.say("דוד", "זה טקסט ארוך " * 30)
    ada = visits.borrow("Ada")
    lines = ada.page.locator(".message.first")
    expect(lines).to_have_count(5)
    places = {
        round(left(line.locator(part))) for line in lines.all() for part in (".name", ".text")
    }
    # The text has room for a ring around a link, 3 px, and no more.
    assert max(places) - min(places) <= 3
    # Of several lines, each begins at its own side.
    long = ada.page.locator(".message .text").last
    expect(long).to_have_css("direction", "rtl")
    expect(long).to_have_css("text-align", "start")


def test_heaped_marks_stay_in_their_own_lines(visits: Visits, room: Room) -> None:
    room.say("Grace", "quite normal")
    room.say("Linus", ZALGO)
    room.say("Grace", "below")
    ada = visits.borrow("Ada")
    hidden = """() => { for (const each of document.querySelectorAll(".text"))
        if (each.textContent.startsWith("Z")) each.style.visibility = "hidden"; }"""
    others = [ada.page.get_by_text(text, exact=True) for text in ("quite normal", "below")]
    before = [ink(ada.page, each) for each in others]
    ada.page.evaluate(hidden)
    assert [ink(ada.page, each) for each in others] == before


@pytest.mark.parametrize("script", [True, False])
def test_no_letters_are_turned_round(visits: Visits, room: Room, script: bool) -> None:
    said = ["\u202egnp.exe", "\u202dgnp.exe", "gnp.exe"]
    for text in said:
        room.say("Grace", text)
    ada = visits.borrow("Ada") if script else visits.come("Ada", java_script_enabled=False)
    for path in (room.url, f"{room.url}/plain"):
        if ada.page.url != path:
            ada.go(path)
        texts = ada.page.locator(".text")
        expect(texts).to_have_count(len(said))
        for each in texts.all():
            places = each.evaluate(LETTERS)
            assert len(places) == len("gnp.exe")
            assert places == sorted(places)
