"""Invitations whose makers have lost the right to them: nobody gets by one what its maker could not
give any more, and nobody comes back by their own."""

from __future__ import annotations

from typing import Any

import pytest

from cometd_chat.chat.invites import InviteRequest, Invites
from cometd_chat.daemon.shell_asking import Asked
from cometd_chat.errors import InvalidRequest
from cometd_chat.shell_table import run, somebody
from tests.chat.parts import now
from tests.memory import MemorySite
from tests.web.moderators import sanctioned
from tests.web.people import ACCOUNT, INVITES, PASSWORD, invitation, member, owner
from tests.web.refusals import problem

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def ada(site: MemorySite) -> str:
    """The owner's token."""
    return owner(site, "ada")


def role(site: MemorySite, ada: str, who: str, word: str) -> None:
    path, headers = f"/api/v1/users/{who}", {"Authorization": f"Bearer {ada}"}
    body = f'{{"role": "{word}"}}'.encode()
    headers["Content-Type"] = "application/json"
    assert site.request("PATCH", path, body=body, headers=headers).status == 200


def become(site: MemorySite, name: str, code: str) -> Any:
    """Somebody new asks for an account."""
    asked = {"password": PASSWORD, "invite": code}
    return site.post(ACCOUNT, asked, token=site.log_in(name))


def take(site: MemorySite, token: str, code: str) -> Any:
    """A member comes by an invitation."""
    headers = {**FORM, "Authorization": f"Bearer {token}"}
    return site.request("POST", f"/invite/{code}", body=b"", headers=headers)


def test_an_admin_who_is_one_no_longer_makes_no_moderators(site: MemorySite, ada: str) -> None:
    bob = member(site, "bob", invitation(site, ada, role="admin"))
    code = invitation(site, bob, role="moderator")
    plain = invitation(site, bob)
    role(site, ada, "bob", "member")
    problem(site, become(site, "carol", code), 410)
    assert site.get(f"/invite/{code}").status == 410
    assert take(site, bob, code).status == 410
    assert site.get("/api/v1/session", token=bob).json()["role"] == "member"
    assert become(site, "dora", plain).status == 201, "a member invites members"
    role(site, ada, "bob", "admin")
    assert become(site, "eve", code).status == 201


def test_the_shell_sees_what_leads_to_private_rooms_too(site: MemorySite, ada: str) -> None:
    """It has the database: what it is not shown it could not take back."""
    bob = member(site, "bob", invitation(site, ada))
    made = site.post("/api/v1/rooms", {"name": "attic", "kind": "private"}, token=bob)
    assert made.status == 201
    code = invitation(site, bob, room="attic")
    assert code not in site.get(INVITES, token=ada).text

    def shell(command: str, **values: Any) -> str:
        return now(run(site.chat, Asked(command, values))).text

    assert f"{code}  member  to attic" in shell("invite list")
    mine = shell("invite make", room="attic").rpartition("/")[2]
    assert f"{mine}  member  to attic" in shell("invite list")
    assert become(site, "carol", mine).status == 201
    for option in ("uses", "days"):
        with pytest.raises(InvalidRequest, match=f"{option}: a whole number from 1"):
            shell("invite make", **{option: 0})
    assert "carol is silenced" not in shell("ban list")
    assert "carol in attic" in shell("ban add", name="carol", room="attic", kind="silence")
    shell("invite revoke", code=code)
    assert code not in shell("invite list")


def test_who_was_put_out_of_a_room_does_not_come_back(site: MemorySite, ada: str) -> None:
    assert site.post("/api/v1/rooms", {"name": "attic", "kind": "private"}, token=ada).status == 201
    bob = member(site, "bob", invitation(site, ada, room="attic"))
    code = invitation(site, bob, room="attic")
    headers = {"Authorization": f"Bearer {ada}"}
    path = "/api/v1/rooms/attic/members/bob"
    assert site.request("DELETE", path, headers=headers).status == 204
    assert take(site, bob, code).status == 410
    problem(site, become(site, "mallory", code), 410)
    problem(site, site.get("/api/v1/rooms/attic", token=bob), 404)


def test_one_to_a_public_room_does_not_lead_into_the_private_one(
    site: MemorySite, ada: str
) -> None:
    assert site.post("/api/v1/rooms", {"name": "hall"}, token=ada).status == 201
    bob = member(site, "bob", invitation(site, ada))
    code = invitation(site, bob, room="hall")
    headers = {"Authorization": f"Bearer {ada}", "Content-Type": "application/json"}
    body = b'{"kind": "private"}'
    assert site.request("PATCH", "/api/v1/rooms/hall", body=body, headers=headers).status == 200
    assert take(site, bob, code).status == 410
    problem(site, site.get("/api/v1/rooms/hall", token=bob), 404)


@pytest.mark.parametrize("where", [None, "hall"])
def test_who_is_banned_lets_nobody_in(site: MemorySite, ada: str, where: str | None) -> None:
    assert site.post("/api/v1/rooms", {"name": "hall"}, token=ada).status == 201
    bob = member(site, "bob", invitation(site, ada))
    code = invitation(site, bob, room="hall")
    asked = {} if where is None else {"room": where}
    made = sanctioned(site, ada, "ban", "bob", **asked)
    problem(site, become(site, "carol", code), 410)
    headers = {"Authorization": f"Bearer {ada}"}
    path = f"/api/v1/sanctions/{made['id']}"
    assert site.request("DELETE", path, headers=headers).status == 204
    assert become(site, "dora", code).status == 201


def test_a_guest_who_moderates_a_room_gives_nobody_an_account(site: MemorySite, ada: str) -> None:
    bob = site.log_in("bob")
    assert site.post("/api/v1/rooms", {"name": "hall"}, token=bob).status == 201
    refused = problem(site, site.post(INVITES, {"room": "hall"}, token=bob), 403)
    assert refused["needed"] == "member"


def test_one_from_the_shell_is_good(site: MemorySite, ada: str) -> None:
    invites = Invites(
        site.chat.changes,
        site.chat.rights,
        wall_clock=lambda: 1.8e9,
        random_bytes=lambda size: b"x" * size,
    )
    row = now(invites.make(somebody(), InviteRequest(days=None)))
    assert become(site, "carol", row.code).status == 201
