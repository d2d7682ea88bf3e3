"""Every form of every page, filled in and sent once by a browser that runs no script: Chromium, and
lynx with its own keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.lynx import Lynx
from tests.browser.page_forms import form_with
from tests.browser.test_accounts import owner_link
from tests.daemon.talk import ask, connect
from tests.support import Daemon

pytestmark = pytest.mark.slow

PASSWORD = "four words of mine"
OTHER = "four other words"
TEMPLATES = Path(__file__).parents[2] / "cometd_chat/web/templates"


@attrs.frozen
class Sent:
    """A form that somebody sends.

    :param path: of its page; what stands in braces is known only then, see `Truth`.
    :param button: what stands on it.
    :param then: what is read after it.
    :param about: which of several forms with that button; see `form_with`.
    """

    who: str
    path: str
    button: str
    then: str
    fields: Mapping[str, str] = {}
    about: str = ""


def person(who: str, room: str = "lobby") -> str:
    return f"/rooms/{room}/people/{who}"


#: In this order: each finds what the ones before it have left.
WALK = [
    Sent(
        "Ada",
        "{claim}",
        "Take it over",
        "owner of this chat",
        {"name": "Ada", "password": PASSWORD},
    ),
    Sent(
        "Ada",
        "/rooms/lobby?first=steps",
        "Save",
        "Who may come in",
        {"guests": "approve"},
        "/admin/first/guests",
    ),
    Sent("Ada", "/rooms/lobby?first=steps", "Another link", "3 · Invite"),
    Sent("Eve", "/rooms/lobby/plain", "Enter", "Eve", {"name": "Eve"}),
    Sent("Ada", "/admin/waiting", "Let in", "Eve is in.", {}, "Eve"),
    Sent("Zed", "/rooms/lobby/plain", "Enter", "Zed", {"name": "Zed"}),
    Sent("Ada", "/admin/waiting", "Turn away", "Zed was turned away.", {}, "Zed"),
    Sent(
        "Ada",
        "/admin/policies",
        "Save",
        "It is so from now on.",
        {"guests": "open", "hold": "casino"},
    ),
    Sent("Bob", "/", "Enter", "#lobby", {"name": "Bob"}),
    Sent("Bob", "/rooms/lobby", "Take this name", "Bobby", {"name": "Bobby"}),
    Sent("Bob", "/rooms/lobby", "Send", "said on the page", {"text": "said on the page"}),
    Sent("Bob", "/chat?action=form", "Send", "Send", {"message": "said in frames"}),
    Sent("Bob", "/rooms/lobby/plain", "Send", "said in frames", {"text": "said in plain"}),
    Sent("Bob", "/rooms/lobby/plain", "Send", "A moderator looks at this", {"text": "casino"}),
    Sent("Bob", "/rooms/lobby/plain", "Send", "A moderator looks at this", {"text": "a casino"}),
    Sent("Ada", "/admin/reports", "Let it be said", "It is said now."),
    Sent("Ada", "/admin/reports", "Drop it", "It is dropped"),
    Sent(
        "Bob",
        "/account",
        "Become a member",
        "your name is yours",
        {"password": PASSWORD, "invite": "{invite}"},
    ),
    Sent("Bob", "/account", "Show a log-in code", "let its camera read the code"),
    Sent("Phone", "{link}", "Log in on this device", "#lobby"),
    Sent("Bob", "/account", "End it", "That device is logged out."),
    Sent(
        "Bob",
        "/account",
        "Change it",
        "The password is changed",
        {"password": PASSWORD, "new_password": OTHER},
    ),
    Sent("Phone", "/", "Enter", "#lobby", {"name": "Bobby", "password": OTHER}),
    Sent("Phone", "/rooms/lobby", "Log out", "Choose a name"),
    Sent("Phone", "/chat", "Enter", "Bobby", {"username": "Bobby", "password": OTHER}),
    Sent("Ada", "/account", "Make an invitation", "Show it to others", {"uses": "3", "days": "2"}),
    Sent("Ada", "/account", "Revoke", "The invitation is good no longer."),
    Sent("Cora", "/invite/{invite}", "Come in", "#lobby", {"name": "Cora", "password": PASSWORD}),
    Sent("Cora", "/invite/{invite}", "Go to #lobby", "#lobby"),
    Sent(
        "Tablet",
        "/invite/{invite}",
        "Log in",
        "#lobby",
        {"name": "Cora", "password": PASSWORD},
        "yes",
    ),
    Sent(
        "Ada",
        "/rooms/lobby",
        "Make the room",
        "#den",
        {"name": "den", "topic": "Ours", "private": "yes"},
    ),
    Sent("Ada", "/rooms/den/members", "Add", "Cora belongs to #den.", {"who": "Cora"}),
    Sent("Ada", "/rooms/den/members", "Make a moderator", "Cora moderates #den."),
    Sent("Ada", "/rooms/den/members", "Moderates no longer", "Cora does not moderate #den"),
    Sent("Cora", "/rooms/den/members", "Leave for good", "#lobby"),
    Sent("Ada", "/rooms/den/members", "Add", "Bobby belongs to #den.", {"who": "Bobby"}),
    Sent("Ada", "/rooms/den/members", "Put out", "Bobby does not belong to #den"),
    Sent(
        "Ada",
        "/rooms/den/members",
        "Change the room",
        "It is changed.",
        {"private": "", "slow": "5", "locked": "yes"},
    ),
    Sent("Cora", "/rooms/den/members", "Join", "You belong to #den."),
    Sent("Ada", "/rooms/den/members", "Remove it", "#lobby", {"sure": "den"}),
    Sent("Ada", "/rooms/lobby", "Make the room", "#dev", {"name": "dev"}),
    Sent("Cora", "/rooms/lobby/plain", "Make it", "#attic", {"name": "attic", "private": "yes"}),
    Sent("Ada", "/admin/rooms", "Change", "#dev is changed.", {"topic": "Builds"}, "dev"),
    Sent("Ada", "/admin/rooms", "Remove", "#dev is gone", {"sure": "yes"}, "dev"),
    Sent("Cora", person("Bobby"), "Ignore", "You ignore Bobby"),
    Sent("Cora", person("Bobby"), "Hear them again", "You hear and see Bobby again."),
    Sent(
        "Ada",
        person("Eve"),
        "Silence",
        "Eve is silenced in the room lobby, for 7 min more: loud",
        {"where": "here", "minutes": "7", "reason": "loud"},
    ),
    Sent("Ada", person("Eve"), "Lift", "It is lifted."),
    Sent("Ada", person("Eve"), "Kick", "Eve was sent away, for 10 min more"),
    Sent("Ada", "/admin/sanctions", "Lift", "It is lifted."),
    Sent("Ada", person("Eve"), "Ban their network", "private network", {"minutes": "5"}),
    Sent(
        "Cora",
        "/rooms/lobby/messages/{said}",
        "Report it to the moderators",
        "The moderators are told.",
        {"reason": "unkind"},
    ),
    Sent("Ada", "/admin/reports", "It may stay", "It is settled"),
    Sent(
        "Cora",
        "/rooms/lobby/messages/{said}",
        "Report it to the moderators",
        "The moderators are told.",
    ),
    Sent("Ada", "/admin/reports", "Delete the message", "The message is deleted."),
    Sent("Cora", "/rooms/lobby", "Send", "a slip", {"text": "a slip"}),
    Sent("Cora", "/rooms/lobby/messages/{said}", "Delete it", "It is deleted."),
    Sent("Eve", "/rooms/lobby/plain", "Send", "buy pills", {"text": "buy pills"}),
    Sent(
        "Ada", "/rooms/lobby/messages/{said}", "Purge all of Eve in this room", "All that Eve said"
    ),
    Sent("Ada", "/rooms/lobby/messages/{said}", "Bring back what was purged last here", "is back."),
    Sent(
        "Ada",
        "/rooms/lobby/messages/{said}",
        "Ban the networks of guests",
        "It is not known of any of them",
    ),
    Sent(
        "Ada",
        "/rooms/lobby/messages/{said}",
        "Purge what guests said",
        "What guests said",
        {"minutes": "5"},
    ),
    Sent("Ada", person("Eve"), "Ban", "Eve is banned"),
    Sent("Ada", "/admin/people", "Search", "Cora", {"name": "co"}),
    Sent(
        "Ada",
        "/admin/people",
        "Change",
        "Cora is moderator from now.",
        {"role": "moderator"},
        "Cora",
    ),
    Sent("Cora", "/admin/audit", "members only", "members only", {}, "/admin/calm"),
    Sent(
        "Ada",
        "/admin/people",
        "Log out everywhere",
        "Cora was logged out of 2 devices.",
        {},
        "Cora",
    ),
    Sent(
        "Bob",
        "/account",
        "Delete my account",
        "Choose a name",
        {"password": OTHER, "messages": "delete"},
    ),
]


class Without(Protocol):
    """Somebody's browser without script."""

    page: str

    def send(self, url: str, button: str, fields: Mapping[str, str], about: str, then: str) -> None:
        """Fill in a form, and send it; see `Lynx.send`."""


#: Fill in a form, all of it unfolded, where somebody would see it; where its button is, which is
#: what is hit there.
FILL = """([index, fields, text]) => {
  const form = document.forms[index];
  for (const closed of [form, ...form.querySelectorAll("details")]) {
    for (let each = closed; each; each = each.parentElement.closest("details")) {
      if (each.tagName === "DETAILS") each.open = true;
    }
  }
  for (const [name, value] of Object.entries(fields)) {
    const those = [...form.querySelectorAll(`[name="${name}"]`)];
    const one = those.length > 1 ? those.find((each) => each.value === value) : those[0];
    if (!one.checkVisibility() || one.disabled) throw new Error(`${name} can't be filled in`);
    if (one.type === "radio") one.checked = true;
    else if (one.type === "checkbox") one.checked = value !== "";
    else one.value = value;
    if (one.type !== "checkbox" && one.value !== value) throw new Error(`${name} is no ${value}`);
  }
  const words = (each) => each.textContent.trim().replace(/\\s+/g, " ");
  const button = [...form.querySelectorAll("button")].find((each) => words(each) === text);
  button.scrollIntoView({ block: "center" });
  const { left, top, width, height } = button.getBoundingClientRect();
  const [x, y] = [left + width / 2, top + height / 2];
  if (!button.contains(document.elementFromPoint(x, y))) throw new Error(`${text} is covered`);
  return [x, y];
}"""


class Shared:
    """Chromium's one tab for all who are in the table: a context for each costs as much as two
    pages. Who runs no script leaves nothing in it but cookies, and each has her own."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._page = context.new_page()
        self._jars: dict[str, list[Any]] = {}
        self._who = ""

    def of(self, who: str) -> Page:
        """The tab as somebody's."""
        if who != self._who:
            self._jars[self._who] = self._context.cookies()
            self._context.clear_cookies()
            self._context.add_cookies(self._jars.get(who, []))
            self._who = who
        return self._page


@attrs.define
class Still:
    """Somebody at Chromium, with its scripts switched off. It is asked in few words: what
    Playwright brings along to find something on a page takes longer than the page. To type is
    lynx's part."""

    who: str
    tab: Shared
    page: str = ""

    def send(self, url: str, button: str, fields: Mapping[str, str], about: str, then: str) -> None:
        page = self.tab.of(self.who)
        answer = page.goto(url)
        assert answer is not None
        found = form_with(answer.text(), button, about)
        x, y = page.evaluate(FILL, [found.index, dict(fields), button])
        with page.expect_navigation(wait_until="domcontentloaded"):
            page.mouse.click(x, y)
        shown, self.page = page.evaluate("[document.body.textContent, document.body.outerHTML]")
        assert then in " ".join(shown.split()), shown


@attrs.define
class Truth:
    """What the pages are about, as the daemon has it."""

    daemon: Daemon
    token: str = ""

    def __getitem__(self, name: str) -> str:
        """The owner link, an invitation, or the id of what was said last."""
        if name == "claim":
            return owner_link(self.daemon).removeprefix(self.daemon.url)
        if name == "invite":
            return str(self._get("/invites")["invites"][0]["code"])
        assert name == "said"
        (last,) = self._get("/rooms/lobby/messages?limit=1")["messages"]
        return str(last["id"])

    def _get(self, path: str) -> Any:
        connection = connect(self.daemon.port)
        if not self.token:
            body = {"name": "Ada", "password": PASSWORD}
            self.token = ask(connection, "POST", "/api/v1/session", body=body).json["token"]
        answer = ask(connection, "GET", f"/api/v1{path}", token=self.token).json
        connection.close()
        return answer


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path, "--limits=off") as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(params=["chromium", "lynx"])
def browsers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Without]]:
    """A browser for each who is in the table."""
    names = {each.who for each in WALK}
    if request.param == "lynx":
        for name in names:
            (tmp_path / name).mkdir()
        yield {name: Lynx(tmp_path / name) for name in names}
        return
    chromium: Browser = request.getfixturevalue("chromium")
    context = chromium.new_context(java_script_enabled=False)
    tab = Shared(context)
    yield {name: Still(name, tab) for name in names}
    context.close()


def test_every_form_is_sent_without_script(daemon: Daemon, browsers: dict[str, Without]) -> None:
    truth = Truth(daemon)
    link = ""
    for each in WALK:
        path = each.path
        fields = dict(each.fields)
        for name in re.findall(r"{(\w+)}", path + "".join(fields.values())):
            known = link if name == "link" else truth[name]
            path = path.replace(f"{{{name}}}", known)
            fields = {key: value.replace(f"{{{name}}}", known) for key, value in fields.items()}
        browser = browsers[each.who]
        browser.send(f"{daemon.url}{path}", each.button, fields, each.about, each.then)
        link = "".join(re.findall(r"/link/[\w-]{24}", browser.page)[:1]) or link


def test_the_table_has_every_form() -> None:
    from cometd_chat.web.app import ROUTES

    buttons = {each.button for each in WALK}
    there: set[str] = set()
    for template in TEMPLATES.glob("*.html"):
        page = template.read_text("utf-8")
        there |= set(re.findall(r'deed\(frame, "[a-z-]+", "([^"]+)"', page))
        there |= set(re.findall(r'name="act" value="[a-z-]+"[^>]*>([^<{]+)<', page))
    assert len(there) > 25
    assert there - buttons == set()
    posted = {path for methods, path, _, _ in ROUTES if "POST" in methods}
    forms = {path for path in posted if not path.startswith(("/api", "/cometd"))} - {
        "/rooms/<name>.txt"
    }
    # Where a form goes to is not where it stands.
    elsewhere = {
        "/log-in", "/log-out", "/rename", "/rooms", "/account/link", "/account/sessions",
        "/account/invites", "/account/invites/revoke", "/account/password", "/account/delete",
        "/admin/first/guests", "/admin/first/invite", "/admin/calm",
    }  # fmt: skip
    walked = {re.sub(r"\?.*", "", each.path) for each in WALK}
    like = [re.compile(re.sub(r"<\w+>", "[^/]+", path)) for path in forms - elsewhere]
    # These two have no form of their own that is a POST.
    still = {"/admin/now", "/admin/audit", "/claim/[^/]+", "/link/[^/]+"}
    missing = {each.pattern for each in like if not any(map(each.fullmatch, walked))} - still
    assert missing == set()
