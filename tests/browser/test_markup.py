"""Every page is valid HTML, in words of a validator that knows the living standard."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.support import NODE_MODULES, PATIENCE, ROOT

pytestmark = pytest.mark.slow

#: The frameset is none of the living standard, and is written by that of HTML 4.01.
PAGES = (
    "/",
    "/rooms",
    "/rooms/lobby",
    "/rooms/dev",
    "/rooms/lobby/plain",
    "/rooms/lobby/plain?before=3",
    "/chat",
    "/chat?action=form",
    "/chat?action=side",
    "/chat?action=openchat&backlog=40",
    "/problems/not-found",
    "/nothing/here",
)


def test_every_page_is_valid() -> None:
    from tests.memory import MemorySite, cookie_of

    pages: dict[str, str] = {}
    with MemorySite() as site:
        alice = cookie_of(site.post("/api/v1/session", {"name": "alice"}))
        site.fill(50)
        site.say("see https://example.org/?a=1&b=2 <b>\n\u202egnp.exe\nזה")
        for who, cookie in (("alice", alice), ("nobody", {})):
            for path in PAGES:
                page = site.get(path, headers={"Accept": "text/html", **cookie})
                # The endless one is finished here.
                rest = "" if "</html>" in page.text else "</div></div></body></html>"
                pages[f"{path} for {who}"] = page.text + rest
    node = shutil.which("node")
    assert node, "This test needs Node.js: apt-get install nodejs."
    done = subprocess.run(
        [node, str(ROOT / "tests/browser/validate.mjs")],
        input=json.dumps(pages),
        cwd=NODE_MODULES.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
