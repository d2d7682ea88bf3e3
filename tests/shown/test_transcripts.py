"""Typed again, the commands that the documents show print what they show."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.documents import OPERATIONS, PROTOCOL, TRANSPORTS, blocks
from tests.shown.programs import SHOWN_DATA, SHOWN_URL, call, documented_environment
from tests.support import PATIENCE, Daemon

#: What differs from run to run, and what stands for it in comparisons.
CHANGING = [
    (re.compile(r"\b([0-9]+)\.[a-z0-9]{6}\b"), r"\1.EPOCH"),
    (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z"), "TIME"),
    (re.compile(r'"token":"[^"]+"'), '"token":"TOKEN"'),
    (re.compile(r"comet_session_[a-z0-9]+=[\w-]+"), "comet_session_ID=TOKEN"),
    (re.compile(r"nonce([=-])(\"?)[\w-]+"), r"nonce\1\2NONCE"),
    (re.compile(r"comet-chat/[0-9][\w.]*"), "comet-chat/VERSION"),
    (re.compile(r"(?m)^Date: .*$"), "Date: TIME"),
    (re.compile(r"(?m)^retry: [0-9]+$"), "retry: MILLISECONDS"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "BOUNDARY"),
    (re.compile(r"\.{9,} -->"), "... -->"),
]


@pytest.mark.slow
@pytest.mark.parametrize("document", [PROTOCOL, OPERATIONS, TRANSPORTS], ids=lambda path: path.stem)
def test_transcripts(document: Path, daemon: Daemon) -> None:
    """Typed again, each command prints the lines that are shown, in their order."""
    if document == TRANSPORTS:
        token = str(call(daemon, "/api/v1/session", {"name": "bob"})["token"])
        post = "/api/v1/rooms/lobby/messages"
        call(daemon, post, {"text": "hi", "client_id": "b1"}, token)
        call(daemon, post, {"text": "two\nlines"}, token)
        call(daemon, "/api/v1/rooms", {"name": "dev"}, token)
    for command, shown, printed in transcript(document, daemon):
        rest = iter(comparable(printed))
        for line in comparable(shown):
            assert line in rest, (
                f"$ {command}\n{printed}\n--- does not have, in this place:\n{line}"
            )


def transcript(document: Path, daemon: Daemon) -> list[tuple[str, str, str]]:
    """Each command of a document's transcripts, what is shown of its output, and that output."""
    consoles = "".join(each.body for each in blocks(document) if each.language == "console")
    parts = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", consoles, re.M)
    mark = "-- the next command --"
    commands = "".join(f"{command}\necho; echo '{mark}'\n" for command, _ in parts)
    done = subprocess.run(
        ["bash"],
        input=commands.replace(SHOWN_URL, daemon.url).replace(SHOWN_DATA, str(daemon.data)),
        capture_output=True,
        text=True,
        cwd=daemon.directory,
        env=documented_environment(),
        timeout=2 * PATIENCE,
    )
    printed = done.stdout.replace(daemon.url, SHOWN_URL).split(mark)[:-1]
    assert len(printed) == len(parts), done.stderr
    return [
        (command, shown, output) for (command, shown), output in zip(parts, printed, strict=True)
    ]


def comparable(output: str) -> list[str]:
    for changing, stand_in in CHANGING:
        output = changing.sub(stand_in, output)
    return [line.rstrip() for line in output.splitlines() if line.strip()]
