"""The pages: what people write is never markup, forms have their fields, lines are grouped."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import cometd_chat.web
from cometd_chat.events.event import Event
from cometd_chat.web.forms import Form
from cometd_chat.web.pages.accounts import (
    AccountPage,
    ClaimPage,
    DeviceLinkPage,
    DeviceView,
    InvitePage,
    InviteView,
    LinkPage,
)
from cometd_chat.web.pages.admin import (
    AdminAuditPage,
    AdminFrame,
    AdminNowPage,
    AdminPage,
    AdminPeoplePage,
    AdminPoliciesPage,
    AdminReportsPage,
    AdminRoomsPage,
    AdminRoomView,
    AdminSanctionsPage,
    AdminWaitingPage,
    ReportView,
)
from cometd_chat.web.pages.classic import (
    ClassicFormPage,
    ClassicFramesetPage,
    ClassicFramesPage,
    ClassicLogInPage,
    ClassicSidePage,
    ClassicStreamHead,
    ClassicStreamTail,
)
from cometd_chat.web.pages.page import Page, content_security_policy
from cometd_chat.web.pages.people import MessagePage, PersonPage, SanctionView
from cometd_chat.web.pages.problems import ProblemKindPage, ProblemPage
from cometd_chat.web.pages.rooms import (
    FirstStepsView,
    LogInPage,
    MembersPage,
    PersonView,
    PlainPage,
    RoomPage,
    RoomsPage,
    RoomView,
    Scene,
)
from cometd_chat.web.qr import qr_svg
from cometd_chat.web.transcript import colour_of, initials_of, linkify, transcript
from tests.growth import growth

NOW = datetime(2026, 11, 21, 19, 30, tzinfo=timezone.utc)
HOSTILE = "</script></textarea><img src=x onerror=alert(1)>\"'&\u2028{{7*7}}"
TEMPLATES = Path(cometd_chat.web.__file__).parent / "templates"
STATIC = Path(cometd_chat.web.__file__).parent / "static"
LINKS = json.loads((Path(__file__).parent / "links.json").read_text("utf-8"))


def message(id: int, author: str, text: str, at: str) -> Event:
    fields = {
        "id": id,
        "cursor": f"{id}.x",
        "room": "lobby",
        "type": "message",
        "from": author,
        "text": text,
        "at": at,
    }
    return Event(fields, id)


HI = message(17, "bob", "hi", "2026-11-21T19:23:00.123Z")


class Document(HTMLParser):
    """What a browser would make of a page, as far as the tests ask."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.forms: dict[str, dict[str, str]] = {}
        self._form: dict[str, str] | None = None
        self._area = ""
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append((tag, values))
        if tag == "form":
            self._form = self.forms.setdefault(values["action"], {})
        if values.get("type") == "checkbox" and "checked" not in values:
            # As a browser sends the form, who has touched nothing.
            return
        if tag in ("input", "textarea") and self._form is not None and "name" in values:
            self._form[values["name"]] = values.get("value", "")
            self._area = values["name"] if tag == "textarea" else ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._area and self._form is not None:
            # HTML drops the first newline of a textarea.
            self._form[self._area] = data[1:] if data.startswith("\n") else data

    def named(self, tag: str) -> list[dict[str, str]]:
        return [values for name, values in self.tags if name == tag]


SCENE = Scene(
    room=RoomView("lobby", "Be kind", 2, 17),
    people=[PersonView("alice"), PersonView("bob")],
    rooms=[RoomView("lobby"), RoomView("茶水間", last_id=4)],
)


def room_page(*messages: Event, **changes: Any) -> str:
    """A page of the chat; by default bob has said hi."""
    values: dict[str, Any] = {
        "scene": SCENE,
        "lines": transcript(messages or [HI], NOW),
        "me": "alice",
        "more": False,
        "cursor": "17.x",
        "heartbeat": 15.0,
        "base_url": "http://chat.example",
        "form_token": "T",
        "form": Form(client_id="C"),
    }
    return RoomPage(**(values | changes)).draw("N")


def plain_page(*messages: Event, **changes: Any) -> str:
    """The plain page; by default bob has said hi."""
    values: dict[str, Any] = {
        "scene": SCENE,
        "lines": transcript(messages or [HI], NOW),
        "me": "alice",
        "older": True,
        "form_token": "T",
        "form": Form(client_id="C"),
    }
    return PlainPage(**(values | changes)).draw("N")


def all_pages(word: str) -> dict[str, str]:
    """Every page with ``word`` in every place that takes a person's text."""
    spoken = message(17, word, word, "2026-11-21T19:23:00.123Z")
    form = Form(word, word, word, word, word, word)
    around: dict[str, Any] = {
        "me": word,
        "scene": Scene(RoomView(word, word), [PersonView(word)], [RoomView(word, word)], True),
        "form": form,
    }
    refused = {"new_room": form, "rename": form}
    shown = {
        "log_in": LogInPage(room=word, form=form),
        "classic_log_in": ClassicLogInPage(room=word, form=form),
        "classic_frames": ClassicFramesPage(
            me=word,
            form_token="T",
            room=word,
            stream_url="/chat?action=openchat&room=lobby",
            form_url="/chat?action=form",
            side_url="/chat?action=side",
            frameset_url="/chat?view=frameset",
        ),
        "classic_side": ClassicSidePage(scene=around["scene"], framed=False),
        "classic_frameset": ClassicFramesetPage(room=word, stream_url="/a", form_url="/b"),
        "classic_form": ClassicFormPage(room=word, form_token="T", form=form),
        "rooms": RoomsPage(rooms=[RoomView(word, word)], more=True, first=False, total=9),
        "members": MembersPage(
            room=RoomView(word, word),
            me="alice",
            is_lobby=False,
            belongs=True,
            members=[PersonView(word), PersonView(word, "moderator")],
            rights=["change-members", "change-room", "remove-room", "leave", "invite"],
            form_token="T",
            form=form,
        ),
        "person": PersonPage(
            room=word,
            person=PersonView(word),
            is_me=False,
            ignores=True,
            sanctions=[SanctionView(id="1", text=word, by=word)],
            may_sanction=True,
            everywhere=True,
            form_token="T",
            form=form,
        ),
        "message": MessagePage(
            room=word,
            line=transcript([spoken], NOW)[0],
            may_delete=True,
            may_report=True,
            may_purge=True,
            form_token="T",
            form=form,
        ),
        "problem": ProblemPage(
            status=409, title=word, detail=word, typed={"text": word}, back_url="/"
        ),
        "problem_kind": ProblemKindPage(slug="no-session", title="T", status=401),
        **account_pages(word, form),
        **admin_pages(word, form),
    }
    stream = (
        ClassicStreamHead(room=word, heartbeat=15),
        ClassicStreamTail(next_url="/chat?action=openchat&cursor=17.x"),
    )
    return {
        **{name: page.draw("N") for name, page in shown.items()},
        "classic_stream": "".join(part.draw("N") for part in stream),
        "room": room_page(spoken, **around),
        "room with refused forms": room_page(spoken, **around, **refused),
        "room with first steps": room_page(spoken, **around, runs=True, first=FIRST_STEPS),
        "room without a session": room_page(spoken, **(around | {"me": ""})),
        "empty room": room_page(**around, lines=[]),
        "plain": plain_page(spoken, **around),
        "plain without a session": plain_page(spoken, **(around | {"me": ""})),
    }


FIRST_STEPS = FirstStepsView(
    role="owner",
    guests="approve",
    pinned="",
    address="https://chat.example.org/invite/C",
    qr=qr_svg("https://chat.example.org/invite/C"),
    only_here=True,
)


def admin_pages(word: str, form: Form) -> dict[str, Page]:
    """Those of who runs the house."""

    def frame(name: str) -> AdminFrame:
        return AdminFrame(
            sections=[("now", "Now"), (name, "This")],
            name=name,
            title="This",
            house=word,
            calm="slow",
            calms=["off", "slow", "members", "closed"],
            calm_pinned="",
            form_token="T",
        )

    now = {
        "held": {"frame": 3},
        "posts": 1,
        "deliveries": 2,
        "rooms": [{"name": word, "people": 2}],
        "memory": {"streams": 2048},
        "memory_ceiling": 2**28,
        "slow_readers_cut": 0,
        "slow_readers": [
            {"name": word, "rooms": [word, None], "transport": word, "behind": 300_000}
        ],
        "shed": 0,
        "expired": 0,
        "refused": 1,
        "sessions": 4,
        "log": {"size": 2**20, "limit": 2**33},
    }
    report = ReportView(
        id="1", room=word, message=17, author=word, text=word, by=word, reason=word, at="now"
    )
    room = AdminRoomView(
        name=word, topic=word, kind="public", people=1, slow=10, locked=True, archived=False
    )
    deed = {"at": "2026-11-28T10:00:00.000Z", "who": word, "what": "ban", "whom": word}
    deed |= {"room": word, "reason": word, "undone": ""}
    values = {"title": word, "welcome": word, "guests": "open", "registration": "invite"}
    policies = {**values, "rooms": "guest", "public_reading": True}

    def shown(name: str) -> dict[str, Any]:
        return {"frame": frame(name), "form": form}

    return {
        "admin_now": AdminNowPage(now=now, **shown("now")),
        "admin_waiting": AdminWaitingPage(
            guests="approve", waiting=[(word, "now")], more=True, **shown("waiting")
        ),
        "admin_reports": AdminReportsPage(
            reports=[report], held=[("1", word, word, word)], **shown("reports")
        ),
        "admin_sanctions": AdminSanctionsPage(
            sanctions=[SanctionView(id="1", text=word, by=word)],
            total=300,
            following=100,
            **shown("sanctions"),
        ),
        "admin_rooms": AdminRoomsPage(rooms=[room], may_remove=True, more=True, **shown("rooms")),
        "admin_people": AdminPeoplePage(
            wanted=word,
            people=[(word, "member", "now")],
            roles=["member", "owner"],
            more=True,
            **shown("people"),
        ),
        "admin_policies": AdminPoliciesPage(
            values=policies, pins={"title": "--title"}, refuse=word, hold=word, **shown("policies")
        ),
        "admin_audit": AdminAuditPage(deeds=[deed], following=1, **shown("audit")),
    }


def account_pages(word: str, form: Form) -> dict[str, Page]:
    """Those about accounts; codes are ours."""
    qr = qr_svg("https://chat.example.org/")
    shown: dict[str, Any] = {"form": form, "form_token": "T"}
    invite = InviteView(code="C", room=word, role="member", good_for="Good for one more")
    device = DeviceView(id="a1", agent=word, began="now", seen="now", current=False)
    invited: dict[str, Any] = {
        "code": "C",
        "room": word,
        "role": "moderator",
        "by": word,
        "good_for": "Good for one more",
        "me": word,
        "guests": True,
        "address": f"https://chat.example.org/{word}",
        "qr": qr,
        **shown,
    }
    account: dict[str, Any] = {
        "me": word,
        "role": "owner",
        "has_password": True,
        "registration": "invite",
        "devices": [device],
        "may_invite": True,
        "invites": [invite],
        "roles": ["member"],
        "done": word,
        **shown,
    }
    return {
        "claim": ClaimPage(code="C", until="now", **shown),
        "invite": InvitePage(member=False, **invited),
        "invite to be shown": InvitePage(member=True, **invited),
        "link": LinkPage(code="C", name=word, me=word, **shown),
        "device_link": DeviceLinkPage(address=f"https://x/{word}", qr=qr),
        "account": AccountPage(member=True, section="invites", **account),
        "account of a guest": AccountPage(member=False, section="member", **account),
    }


def test_every_template_is_a_page_that_is_tried_here() -> None:
    templates = {path.stem for path in TEMPLATES.glob("*.html")}
    kinds = [*Page.__subclasses__(), *AdminPage.__subclasses__()]
    drawn = [kind.template.removesuffix(".html") for kind in kinds if "template" in vars(kind)]
    around = ["layout", "parts", "admin", "admin_parts"]
    assert sorted([*drawn, *around]) == sorted(templates)
    # The endless page is two.
    ends = {"classic_stream_head", "classic_stream_tail"}
    assert set(drawn) - ends < set(all_pages("x"))


@pytest.mark.parametrize("name", all_pages("x"))
def test_what_people_write_is_never_markup(name: str) -> None:
    tame, hostile = Document(all_pages("x")[name]), Document(all_pages(HOSTILE)[name])
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in tame.tags]
    assert [set(values) for _, values in hostile.tags] == [set(values) for _, values in tame.tags]
    assert "49" not in hostile.text


@pytest.mark.parametrize("name", all_pages("x"))
def test_the_policy_can_forbid_everything_inline(name: str) -> None:
    page = all_pages("x")[name]
    for tag, values in Document(page).tags:
        assert "style" not in values
        assert not [each for each in values if each.startswith("on")]
        if tag in ("script", "style"):
            assert values["nonce"] == "N"
        for link in ("src", "href"):
            assert not values.get(link, "/").startswith(("http:", "https:", "//"))
    assert page.count('charset="utf-8"') == 1


def test_policy_names_the_nonce_and_forbids_the_rest() -> None:
    policy = content_security_policy("abc")
    assert policy.startswith("default-src 'none'; script-src 'nonce-abc';")
    assert "unsafe" not in policy
    assert "base-uri 'none'" in policy


def test_policy_lets_scripts_in_from_their_folder_alone() -> None:
    policy = content_security_policy("abc", "chat.example.org:8080")
    assert "script-src 'nonce-abc' chat.example.org:8080/static/;" in policy
    # No policy can name an IPv6 literal.
    assert "script-src 'nonce-abc';" in content_security_policy("abc", "[::1]:8080")


def test_every_static_file_that_is_named_exists() -> None:
    named = {
        name
        for template in TEMPLATES.glob("*.html")
        for name in re.findall(r"{{ static }}/([\w.]+)", template.read_text("utf-8"))
    }
    assert {"comet.css", "logo.svg", "room.js", "theme.js"} <= named
    assert named <= {path.name for path in STATIC.iterdir()}


@pytest.mark.parametrize(("text", "pieces"), LINKS, ids=range(len(LINKS)))
def test_links(text: str, pieces: list[list[str]]) -> None:
    found = linkify(text)
    assert [[piece.text, piece.href] for piece in found] == pieces
    assert "".join(piece.text for piece in found) == text


@pytest.mark.parametrize("end", [")", ").", "}])", "!", "(", "\uff09"])
def test_finding_links_takes_as_long_as_the_text(end: str) -> None:
    """Counted anew for each bracket that is left out, this was the square of the length."""
    texts = {size: "http://a" + end * size for size in (4_000, 40_000)}
    assert growth(lambda: linkify(texts[4_000]), lambda: linkify(texts[40_000])) < 30


def test_links_are_harmless() -> None:
    page = room_page(
        message(1, "bob", "at https://a.example/?q=<b> ok", "2026-11-21T19:23:00.123Z")
    )
    link = next(each for each in Document(page).named("a") if "rel" in each)
    assert link["href"] == "https://a.example/?q="
    assert link["rel"] == "noopener noreferrer nofollow"


def test_line_breaks_of_a_text_are_kept() -> None:
    page = room_page(message(1, "bob", "a\n  b\n\nc", "2026-11-21T19:23:00.123Z"))
    assert '<p class="text" dir="auto">a\n  b\n\nc</p>' in page


def test_lines_of_one_author_are_one_group_for_five_minutes() -> None:
    lines = transcript(
        [
            message(1, "ada", "a", "2026-11-21T10:00:00.000Z"),
            message(2, "ada", "b", "2026-11-21T10:05:00.000Z"),
            message(3, "ada", "c", "2026-11-21T10:10:00.001Z"),
            message(4, "bob", "d", "2026-11-21T10:10:01.000Z"),
            message(5, "ada", "e", "2026-11-21T10:10:02.000Z"),
        ],
        NOW,
    )
    assert [line.first for line in lines] == [True, False, True, True, True]
    assert [line.clock for line in lines] == ["10:00", "10:05", "10:10", "10:10", "10:10"]


def test_what_was_said_after_the_clock_was_set_back_is_a_group_of_its_own() -> None:
    lines = transcript(
        [
            message(1, "ada", "a", "2026-11-21T10:00:00.000Z"),
            message(2, "ada", "b", "2026-11-21T08:00:00.000Z"),
            message(3, "ada", "c", "2026-11-21T07:59:00.000Z"),
        ],
        NOW,
    )
    assert [line.first for line in lines] == [True, True, False]


def test_days_have_a_line_and_end_a_group() -> None:
    lines = transcript(
        [
            message(1, "ada", "a", "2025-01-02T23:59:59.999Z"),
            message(2, "ada", "b", "2026-11-20T23:59:59.999Z"),
            message(3, "ada", "c", "2026-11-21T00:00:00.000Z"),
            message(4, "ada", "d", "2026-11-21T00:00:01.000Z"),
        ],
        NOW,
    )
    assert [line.day for line in lines] == ["Thursday 2 January 2025", "Yesterday", "Today", ""]
    assert [line.first for line in lines] == [True, True, True, False]
    assert lines[0].moment == "Thursday 2 January 2025, 23:59 UTC"


def test_colour_and_letters_of_a_name() -> None:
    # The browser computes the same: static/avatar.js.
    assert [colour_of(name) for name in ("ada", "Grace", "茶水", "")] == [5, 10, 9, 0]
    assert [initials_of(name) for name in ("ada", "-x_y", "茶水間")] == ["AD", "XY", "茶水"]


def test_the_room_has_its_forms() -> None:
    forms = Document(room_page(form=Form(text="\nkept <b>", client_id="C"))).forms
    assert forms["/rooms/lobby"] == {"form_token": "T", "client_id": "C", "text": "\nkept <b>"}
    assert forms["/log-out"] == {"form_token": "T"}
    assert forms["/rename"] == {"form_token": "T", "room": "lobby", "name": "alice"}
    assert forms["/rooms"] == {"form_token": "T", "room": "lobby", "name": "", "topic": ""}


def test_a_reader_gets_the_log_in_where_the_composer_would_be() -> None:
    forms = Document(room_page(me="", form=Form(text="kept"))).forms
    assert forms == {"/log-in": {"room": "lobby", "text": "kept", "form_token": "T", "name": ""}}


def test_the_room_tells_its_script_where_the_page_ends() -> None:
    page = room_page()
    data = re.search(r'id="page-data" nonce="N">(.*?)</script>', page)
    assert data is not None
    assert json.loads(data.group(1)) == {
        "room": "lobby",
        "me": "alice",
        "cursor": "17.x",
        "heartbeat": 15.0,
        "more": False,
        "draft": "",
        "slow": 0,
        "quiet": {"slow": 0, "locked": False, "archived": False, "calm": "off"},
    }


def test_an_empty_room_says_what_to_do() -> None:
    page = room_page(lines=[])
    assert "http://chat.example/rooms/lobby" in page
    assert "curl -N" in page
    assert 'id="empty"' not in room_page()


def test_room_names_of_any_script_are_addresses() -> None:
    hrefs = [each["href"] for each in Document(room_page()).named("a")]
    assert "/rooms/%E8%8C%B6%E6%B0%B4%E9%96%93" in hrefs


def test_older_messages_are_a_link_without_script() -> None:
    hrefs = [each["href"] for each in Document(room_page(more=True)).named("a")]
    assert "/rooms/lobby/plain?before=17" in hrefs


def test_plain_has_its_form_on_top_and_its_links() -> None:
    page = plain_page()
    assert page.index("<form") < page.index('id="m17"')
    document = Document(page)
    assert document.forms["/rooms/lobby/plain"] == {"form_token": "T", "client_id": "C", "text": ""}
    hrefs = [each["href"] for each in document.named("a")]
    assert hrefs[:3] == [
        "/rooms/lobby/plain?n=C",
        "/rooms/lobby/plain?after=17",
        "/rooms/lobby/plain?before=17",
    ]


def test_plain_keeps_its_place_when_nothing_is_newer() -> None:
    page = plain_page(lines=[], after=17, older=True)
    assert "/rooms/lobby/plain?after=17" in page
    assert "Nothing newer." in page


def test_plain_leads_on_when_there_are_newer_ones() -> None:
    assert "There is more" in plain_page(newer=True, after=3)


def test_plain_lets_a_reader_log_in_and_come_back() -> None:
    forms = Document(plain_page(me="", form=Form(text="kept"))).forms
    fields = {"room": "lobby", "view": "plain", "form_token": "T", "text": "kept", "name": ""}
    assert forms == {"/log-in": fields}


def test_log_in_keeps_what_was_typed() -> None:
    form = Form(name="al", text="a\nb", problem="That name is taken.")
    page = LogInPage(room="dev", form=form).draw("N")
    # What is in `noscript` counts for who has none: it leads to the page that is live without.
    fields = {"room": "dev", "text": "a\nb", "name": "al", "view": "live", "password": ""}
    assert Document(page).forms == {"/log-in": fields}
    assert '<noscript><input type="hidden" name="view" value="live"></noscript>' in page
    assert "That name is taken." in page


def test_the_classic_forms() -> None:
    log_in = ClassicLogInPage(room="lobby", form=Form(name="al"))
    assert Document(log_in.draw("N")).forms == {
        "/chat": {
            "action": "login",
            "room": "lobby",
            "view": "frames",
            "username": "al",
            "password": "",
        }
    }
    typed = Form(text="too long", client_id="C", problem="Shorten it.")
    form = ClassicFormPage(room="lobby", form_token="T", form=typed, view="frameset")
    page = form.draw("N")
    assert Document(page).forms == {
        "/chat": {
            "action": "post",
            "form_token": "T",
            "client_id": "C",
            "room": "lobby",
            "view": "frameset",
            "message": "too long",
        }
    }
    assert 'target="_top"' in page


def test_who_has_no_frames_finds_other_pages_first() -> None:
    document = Document(all_pages("x")["classic_frames"])
    assert [each["href"] for each in document.named("a")] == [
        "/rooms/x/plain",
        "/chat?view=frameset",
        "/chat?action=side&room=x",
    ]
    assert [each["name"] for each in document.named("iframe")] == ["stream", "side", "form"]


def test_the_side_of_the_classic_page_leads_on() -> None:
    page = ClassicSidePage(scene=SCENE, framed=True).draw("N")
    links = Document(page).named("a")
    assert [each["href"] for each in links] == [
        "/chat?room=%E8%8C%B6%E6%B0%B4%E9%96%93",
        "/rooms/lobby/plain",
        "/rooms/lobby",
        "/account",
    ]
    assert {each["target"] for each in links} == {"_top"}
    assert '<meta http-equiv="refresh" content="30">' in page
    assert "alice" in page
    assert "Be kind" in page


def test_the_newest_stands_first_on_the_plain_page_and_line_ends_are_kept() -> None:
    spoken = [
        message(1, "bob", "a day before", "2026-11-20T23:59:59.123Z"),
        message(2, "bob", "first\n  line\n\nlast", "2026-11-21T19:22:00.123Z"),
        message(3, "bob", "\u202egnp.exe\u202c", "2026-11-21T19:23:00.123Z"),
    ]
    page = plain_page(*spoken)
    places = [page.index(each) for each in ("Today", 'id="m3"', 'id="m2"', "Yesterday", 'id="m1"')]
    assert places == sorted(places)
    # Indented, or they could look like lines of somebody else.
    assert "first<br>&#160;&#160;  line<br>&#160;&#160;<br>&#160;&#160;last" in page
    assert "<bdi>\u202e</bdi>gnp.exe" in page


def test_no_page_without_script_says_what_only_a_script_knows() -> None:
    for name, page in all_pages("x").items():
        assert "onnecting" not in page, name
        assert "hidden iframe" not in page, name


def test_the_endless_page_is_one_wrapper_in_a_scroller_and_goes_on_by_itself() -> None:
    page = all_pages("x")["classic_stream"]
    assert '<div class="scroller">\n<div class="lines">\n' in page
    assert 'content="0; url=/chat?action=openchat&amp;cursor=17.x"' in page
    assert "animation-delay: 40s" in page


def test_a_problem_hands_back_what_was_typed() -> None:
    page = ProblemPage(
        status=429,
        title="Too much at once",
        detail="Wait 3 seconds.",
        typed={"text": "my words", "topic": ""},
        back_url="/rooms/lobby",
    ).draw("N")
    assert "my words</textarea>" in page
    assert "topic" not in page
    assert 'href="/rooms/lobby"' in page
