"""Files, and what is sent compressed: small, kept by browsers, and never what is held."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cometd_chat.web import compression, modules
from cometd_chat.web.modules import CannotJoin
from cometd_chat.web.static_files import static_files
from tests.memory import MakeSite, MemorySite
from tests.wire import Response

FILES = static_files()
GZIP = {"Accept-Encoding": "gzip, deflate, br"}
HTML = {"Accept": "text/html"}


def vary(response: Response) -> set[str]:
    """The headers on which an answer depends."""
    values = ",".join(response.headers.get("vary", []))
    return {each.strip().lower() for each in values.split(",")}


# -- joining scripts

SOURCES = {
    "page": """/** @file Joined. */
import { one, Two } from "./parts.js";
import {
  three,
} from "./more.js";

// Said once.
const SECOND = 3;
window.result = [one(), new Two().value, three, SECOND];
""",
    "parts": """const SECOND = 1;
/**
 * Each has a SECOND of its own.
 */
export function one() {
  return SECOND;
}
export class Two {
  value = /** @type {number} */ (2); // Beside code.
}
""",
    "more": """export { one } from "./parts.js";
export const three = 3;
export async function later() {}
""",
    "round": 'import { about } from "./about.js";\n',
    "about": 'import { round } from "./round.js";\nexport const about = 1;\n',
    "lost": 'import { x } from "./nowhere.js";\n',
    "defaults": "export default 1;\n",
    "lines": "export const text = `one\n  two`;\n",
    "star": 'import * as all from "./parts.js";\n',
}


def run(program: str, tmp_path: Path) -> str:
    """What a module prints in Node.js."""
    node = shutil.which("node")
    assert node, "This test needs Node.js: apt-get install nodejs."
    path = tmp_path / "joined.mjs"
    path.write_text(program)
    done = subprocess.run([node, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_joined_scripts_do_the_same_as_apart(tmp_path: Path) -> None:
    joined = "globalThis.window = {};\n" + modules.join("page", SOURCES)
    assert run(joined + "console.log(window.result.join());\n", tmp_path) == "1,2,3,3\n"
    # Each module is in it once, and so is no comment of theirs that has a line of its own.
    assert joined.count("class Two") == 1
    assert "Said once" not in joined
    assert "a SECOND of its own" not in joined
    assert "// Beside code." in joined


def test_a_joined_module_has_its_exports(tmp_path: Path) -> None:
    joined = modules.join("more", SOURCES)
    assert joined.endswith("export const { three, later, one } = $more;\n")
    run(joined, tmp_path)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("round", "round > about > round: these import each other"),
        ("lost", "lost.js imports nowhere.js, which is not there"),
        ("defaults", "defaults.js: export default 1;"),
        ("star", "star.js: import \\* as all"),
        ("lines", "lines.js: a text of several lines"),
    ],
)
def test_what_cannot_be_joined_is_refused(entry: str, why: str) -> None:
    with pytest.raises(CannotJoin, match=why):
        modules.join(entry, SOURCES)


def test_the_joined_library_can_be_loaded(tmp_path: Path) -> None:
    joined = FILES.joined["comet.js"].body.data.decode()
    assert 'from "./' not in joined
    assert not re.search(r"^[ \t]", joined, re.M), "what is only for the eye is left out"
    assert re.search(r"^export const \{ connect, .*TRANSPORTS.* \} = \$comet;$", joined, re.M)
    run(joined, tmp_path)


# -- files


@pytest.mark.reads
@pytest.mark.parametrize("folder", ["", f"{FILES.version}/", "of-another-time/"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", sorted(FILES.named))
def test_files(site: MemorySite, name: str, folder: str, packed: bool) -> None:
    path, asks = f"/static/{folder}{name}", GZIP if packed else {}
    response = site.get(path, headers=asks)
    assert response.status == 200
    kinds = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
    assert response.header("content-type") == kinds.get(name.rpartition(".")[2], "image/svg+xml")
    assert response.header("x-content-type-options") == "nosniff"
    assert response.header("content-length") == str(len(response.body))
    lasts = response.header("cache-control")
    assert lasts == (
        "public, max-age=31536000, immutable" if folder == f"{FILES.version}/" else "no-cache"
    )
    assert "accept-encoding" in vary(response)
    known = (FILES.joined if folder else FILES.named)[name].body.data
    if packed:
        assert response.header("content-encoding") == "gzip"
        assert gzip.decompress(response.body) == known
        assert len(response.body) < len(known)
    else:
        assert response.header("content-encoding") is None
        assert response.body == known
    etag = response.header("etag") or ""
    assert re.fullmatch('"[0-9a-f]{20}"', etag)
    assert etag != site.get(path, headers={} if packed else GZIP).header("etag")
    weak = f"W/{etag}"
    for tags in (etag, f'"other", {etag}', "*", " * ", weak, f'W/"other",{weak}', f'"a b",{weak}'):
        unchanged = site.get(path, headers={"If-None-Match": tags, **asks})
        assert (unchanged.status, unchanged.body) == (304, b"")
        assert unchanged.header("etag") == etag
        assert unchanged.header("cache-control") == response.header("cache-control")
        for name in ("content-type", "content-encoding", "content-length"):
            assert unchanged.header(name) is None, "there is no content"
    for tags in ('"other"', "", etag.strip('"'), f'"{etag}"', etag[:-1], '"*"', 'W/"*"'):
        changed = site.get(path, headers={"If-None-Match": tags, **asks})
        assert (changed.status, changed.body) == (200, response.body), tags


def test_the_client_library_stays_where_it_is(site: MemorySite) -> None:
    library = site.get("/static/comet.js")
    assert library.status == 200
    for name in re.findall(r'from "\./(.*?)"', library.text):
        assert site.get(f"/static/{name}").status == 200
    assert site.get(f"/static/{FILES.version}/none.js").status == 404


# -- pages


@pytest.mark.parametrize(
    ("accepts", "packed"),
    [
        ("gzip", True),
        ("GZIP;q=0.5, br", True),
        ("*", True),
        ("deflate, gzip;q=1.0", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("gzip;q=much", False),
        ("", False),
        (None, False),
    ],
)
def test_a_page_is_compressed_for_who_takes_that(
    site: MemorySite, accepts: str | None, packed: bool
) -> None:
    site.fill(60)
    plain = site.get("/rooms/lobby")
    headers = {} if accepts is None else {"Accept-Encoding": accepts}
    page = site.get("/rooms/lobby", headers=headers)
    assert page.header("content-length") == str(len(page.body))
    assert "accept-encoding" in vary(page)
    assert (page.header("content-encoding") == "gzip") is packed
    body = gzip.decompress(page.body) if packed else page.body
    assert len(body) == len(plain.body)
    assert b"said 60<" in body
    if packed:
        assert len(page.body) < len(body) / 4


def test_a_short_page_stays_as_it_is(site: MemorySite) -> None:
    page = site.get("/rooms/nowhere", headers=GZIP | HTML)
    assert len(page.body) < compression.WORTH_IT
    assert page.header("content-encoding") is None
    assert "accept-encoding" in vary(page)


def test_an_error_page_is_compressed_too(site: MemorySite) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    text = b"text=" + b"word+" * 1000
    page = site.request("POST", "/rooms/nowhere", body=text, headers=GZIP | HTML | form)
    assert (page.status, page.header("content-encoding")) == (404, "gzip")
    assert b"There is no such room" in gzip.decompress(page.body)


def test_what_differs_by_origin_still_says_so(make_site: MakeSite) -> None:
    site = make_site(allow_origin=("https://pages.example",))
    for path in ("/rooms/lobby", "/static/comet.js"):
        assert vary(site.get(path, headers=GZIP)) == {"origin", "accept-encoding"}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/events/stream",
        "/api/v1/events/sse",
        "/api/v1/events/frame",
        "/api/v1/events/text",
        "/api/v1/events/multipart",
        "/api/v1/events/poll",
        "/rooms/lobby.txt",
        "/chat?action=openchat",
    ],
)
def test_what_is_held_is_never_compressed(site: MemorySite, path: str) -> None:
    token = site.log_in("alice")
    site.fill(60)
    response = site.get(f"{path}{'&' if '?' in path else '?'}backlog=60", token=token, headers=GZIP)
    assert response.header("content-encoding") is None
    assert b"said 60" in response.body


def test_forms_tokens_are_written_in_another_way_each_time(site: MemorySite) -> None:
    """Or they could be guessed by the length of compressed pages (BREACH)."""
    cookie = {"Cookie": f"comet_session_memory={site.log_in('alice')}"}
    field = re.compile(r'name="form_token" value="([0-9a-f]{64})"')
    tokens = [field.findall(site.get("/rooms/lobby", headers=cookie).text)[0] for _ in range(20)]
    for at in range(0, 64, 8):
        assert len({token[at : at + 8] for token in tokens}) == 20
    form = {"Content-Type": "application/x-www-form-urlencoded", **cookie}
    for token in tokens[:2]:
        body = f"text=hi&form_token={token}".encode()
        assert site.request("POST", "/rooms/lobby", body=body, headers=form).status == 303
    for wrong in (tokens[0][:-2], tokens[0] + "00", tokens[0][32:] * 2, "zz" * 32, tokens[0][:32]):
        body = f"text=hi&form_token={wrong}".encode()
        assert site.request("POST", "/rooms/lobby", body=body, headers=form).status == 403


def test_a_page_that_the_fast_lane_refuses(site: MemorySite) -> None:
    """It is short, but may be in a cache beside a long one."""
    page = site.get("/rooms/nowhere.txt", headers=GZIP | HTML)
    assert (page.status, page.header("content-encoding")) == (404, None)
    assert page.header("vary") == "Accept-Encoding"
