"""Accounts without a script: owner link, invitation, log-in link, the page of one's own account."""

from __future__ import annotations

from html import unescape
from urllib.parse import urlencode

import pytest

from cometd_chat.web.first_screen import FIRST
from tests.memory import CLEARED, MakeSite, MemorySite, cookie_of
from tests.web.people import PASSWORD, SESSION, invitation, log_in, member, owner, owner_code
from tests.web.refusals import HTML
from tests.web.test_pages_routes import Document
from tests.wire import Response

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


class Browser:
    """Somebody who looks at pages and sends their forms."""

    def __init__(self, site: MemorySite, token: str = "") -> None:
        self.site = site
        self.cookie = {"Cookie": f"comet_session_memory={token}"} if token else {}
        self.page = Response  # What it shows.

    def get(self, path: str, status: int = 200) -> str:
        response = self.site.get(path, headers={"Accept": "text/html", **self.cookie})
        assert response.status == status, response.text
        assert response.header("content-type") == HTML
        self.shown = response.text
        return unescape(response.text)

    def send(self, path: str, **typed: str) -> Response:
        """Send the form of the page that goes there, with what was typed."""
        forms = Document(self.shown).forms
        hidden = next(fields for _, action, fields in forms if action == path)
        body = urlencode({**hidden, **typed}).encode()
        response = self.site.request("POST", path, body=body, headers={**FORM, **self.cookie})
        if "set-cookie" in response.headers:
            said = response.header("set-cookie") or ""
            self.cookie = {} if said.startswith(CLEARED) else cookie_of(response)
        self.shown = response.text
        return response

    @property
    def me(self) -> tuple[str, str]:
        told = self.site.get(SESSION, headers=self.cookie).json()
        return told["name"], told["role"]


def went(response: Response, where: str) -> None:
    assert (response.status, response.header("location")) == (303, where), response.text


def test_the_owner_link_on_a_page(site: MemorySite) -> None:
    path = f"/claim/{owner_code(site)}"
    ada = Browser(site)
    for _ in range(2):
        assert "This chat is yours" in ada.get(path), "to look at it uses nothing up"
    refused = ada.send(path, name="Ada", password="short")
    assert refused.status == 400
    assert "at least 8" in refused.text
    assert 'value="Ada"' in refused.text
    assert "short" not in refused.text.replace("shorter", "")
    went(ada.send(path, name="Ada", password=PASSWORD), FIRST)
    assert ada.me == ("Ada", "owner")
    assert "good no longer" in Browser(site).get(path, 410)


def test_a_guest_takes_it_over(site: MemorySite) -> None:
    path = f"/claim/{owner_code(site)}"
    bob = Browser(site, site.log_in("bob"))
    assert 'value="bob"' in bob.get(path)
    went(bob.send(path, password=PASSWORD), FIRST)
    assert bob.me == ("bob", "owner")


def test_log_in_by_password_on_every_page_that_asks(site: MemorySite) -> None:
    owner(site, "ada")
    for page, path, field in (
        ("/", "/log-in", "name"),
        ("/chat", "/chat", "username"),
        ("/rooms/lobby/plain", "/log-in", "name"),
    ):
        visitor = Browser(site)
        visitor.get(page)
        refused = visitor.send(path, **{field: "ada"})
        assert refused.status == 409
        assert "I have an account here" in refused.text
        assert 'details class="account" open' in refused.text
        wrong = visitor.send(path, **{field: "ada", "password": "wrong words"})
        assert wrong.status == 401
        assert "wrong words" not in wrong.text
        assert visitor.send(path, **{field: "ada", "password": PASSWORD}).status == 303
        assert visitor.me == ("ada", "owner")


def test_an_invitation_makes_a_member(site: MemorySite) -> None:
    path = f"/invite/{invitation(site, owner(site, 'Ada'), room='dev')}"
    bob = Browser(site)
    shown = bob.get(path)
    assert 'Ada</b> invites you to <b dir="auto">#dev' in shown
    went(bob.send(path, name="bob", password=PASSWORD), "/rooms/dev")
    assert bob.me == ("bob", "member")
    assert "<svg" in bob.get(path), "who has come can show it to others"
    went(bob.send(path), "/rooms/dev")


def test_an_invitation_lets_a_guest_in(site: MemorySite) -> None:
    path = f"/invite/{invitation(site, owner(site), uses=1)}"
    bob = Browser(site)
    bob.get(path)
    went(bob.send(path, name="bob"), "/rooms/lobby")
    assert bob.me == ("bob", "guest")
    Browser(site).get(path, 410)


def test_an_invitation_for_who_has_an_account(site: MemorySite) -> None:
    ada = owner(site, "ada")
    member(site, "bob", invitation(site, ada))
    path = f"/invite/{invitation(site, ada, room='dev')}"
    bob = Browser(site)
    bob.get(path)
    wrong = bob.send(path, name="bob", password="wrong words", account="yes")
    assert wrong.status == 401
    assert "wrong words" not in wrong.text
    went(bob.send(path, name="bob", password=PASSWORD, account="yes"), "/rooms/dev")
    assert bob.me == ("bob", "member")


def test_an_invitation_gives_a_member_a_higher_role(site: MemorySite) -> None:
    ada = owner(site, "ada")
    bob = Browser(site, member(site, "bob", invitation(site, ada)))
    path = f"/invite/{invitation(site, ada, role='moderator', uses=1)}"
    bob.get(path)
    went(bob.send(path), "/rooms/lobby")
    assert bob.me == ("bob", "moderator")
    bob.get(path, 410)


@pytest.mark.parametrize("path", ["/invite/none", "/claim/none", "/link/none", "/invite/%00"])
def test_a_link_that_is_none(site: MemorySite, path: str) -> None:
    assert "no longer" in Browser(site).get(path, 410)


def test_another_device(site: MemorySite) -> None:
    ada = Browser(site, owner(site, "ada"))
    ada.get("/account")
    shown = ada.send("/account/link")
    assert shown.status == 200
    assert "<svg" in shown.text
    address = Document(shown.text).tags
    path = next(
        values["value"] for tag, values in address if "/link/" in values.get("value", "")
    ).removeprefix("http://127.0.0.1:8080")
    phone = Browser(site, site.log_in("on the phone"))
    for _ in range(2):
        assert "ada" in phone.get(path)
    went(phone.send(path), "/rooms/lobby")
    assert phone.me == ("ada", "owner")
    assert "good no longer" in phone.get(path, 410)
    assert site.post(SESSION, {"name": "on the phone"}).status == 201, "nobody has that name"
    assert ada.get("/account").count("End it") == 1
    went(ada.send("/account/sessions", id=_id_of_other(ada)), "/account?done=ended#devices")
    assert site.get(SESSION, headers=phone.cookie).status == 401
    assert "Choose a name" in phone.get("/account")
    assert ada.me == ("ada", "owner")


def _id_of_other(browser: Browser) -> str:
    forms = [fields for _, action, fields in Document(browser.shown).forms if "id" in fields]
    assert len(forms) == 2
    own = browser.shown.index("this one") < browser.shown.index("End it")
    return forms[1 if own else 0]["id"]


def test_a_guest_becomes_a_member_on_the_page(site: MemorySite) -> None:
    code = invitation(site, owner(site))
    bob = Browser(site, site.log_in("bob"))
    assert "Keep your name" in bob.get("/account")
    refused = bob.send("/account", password=PASSWORD, invite="nonsense")
    assert refused.status == 410
    assert 'value="nonsense"' in refused.text
    went(bob.send("/account", password=PASSWORD, invite=code), "/account?done=member")
    assert bob.me == ("bob", "member")
    assert "your name is yours" in bob.get("/account?done=member")


def test_invitations_on_the_page(site: MemorySite) -> None:
    ada = Browser(site, owner(site, "ada"))
    ada.get("/account")
    refused = ada.send("/account/invites", room="attic", uses="5", days="1")
    assert refused.status == 404
    assert 'value="attic"' in refused.text
    made = ada.send("/account/invites", room="#dev", uses="5", days="1", role="moderator")
    path = made.header("location") or ""
    assert path.startswith("/invite/")
    shown = ada.get(path)
    assert "http://127.0.0.1:8080" + path in shown
    assert "Good for 5 more" in shown
    assert "#dev" in ada.get("/account")
    went(ada.send("/account/invites/revoke"), "/account?done=revoked#invites")
    assert "taken back" in Browser(site).get(path, 410)


def test_another_password_on_the_page(site: MemorySite) -> None:
    ada = Browser(site, owner(site, "ada"))
    before = dict(ada.cookie)
    ada.get("/account")
    refused = ada.send("/account/password", password="wrong", new_password="another four words")
    assert refused.status == 401
    typed = {"password": PASSWORD, "new_password": "another four words"}
    went(ada.send("/account/password", **typed), "/account?done=password")
    assert ada.cookie != before
    assert ada.me == ("ada", "owner")
    assert log_in(site, "ada", "another four words").status == 201


def test_leaving_for_good(site: MemorySite) -> None:
    ada = owner(site, "ada")
    bob = Browser(site, member(site, "bob", invitation(site, ada)))
    bob.get("/account")
    refused = bob.send("/account/delete", password="wrong", messages="keep")
    assert refused.status == 401
    assert "<details open" in refused.text
    went(bob.send("/account/delete", password=PASSWORD, messages="keep"), "/")
    assert bob.cookie == {}
    assert log_in(site, "bob").status == 401


def test_who_is_nobody_is_asked_to_log_in(site: MemorySite) -> None:
    assert "Choose a name" in Browser(site).get("/account")


@pytest.mark.parametrize(
    "path",
    ["/account", "/account/link", "/account/password", "/account/delete", "/account/invites"],
)
def test_a_form_of_another_site_does_nothing(site: MemorySite, path: str) -> None:
    ada = owner(site, "ada")
    body = urlencode({"password": PASSWORD, "new_password": "x" * 9, "messages": "keep"}).encode()
    headers = {**FORM, "Cookie": f"comet_session_memory={ada}"}
    for more in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        refused = site.request("POST", path, body=body, headers={**headers, **more})
        assert refused.status == 403
    assert log_in(site, "ada").status == 201


def test_over_tls_the_cookie_is_bound_to_the_host(make_site: MakeSite) -> None:
    from ipaddress import ip_network

    site = make_site(trusted_proxy=(ip_network("192.0.2.7/32"),))
    asked = {"code": owner_code(site), "name": "ada", "password": PASSWORD}
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.3"}
    response = site.post("/api/v1/claim", asked, headers=headers)
    said = response.header("set-cookie") or ""
    assert said.startswith("__Host-comet_session_memory=")
    assert "; Secure" in said
