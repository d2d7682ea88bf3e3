"""The clients that the documents show survive what they say that they survive."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.documents import OPERATIONS, PROTOCOL, README
from tests.shown.programs import (
    LINES,
    block,
    browser_page,
    call,
    end,
    poll,
    reading,
    run_shown,
    say,
    script,
    texts,
)
from tests.support import PATIENCE, Daemon


@pytest.mark.slow
def test_a_backup_that_was_restored(daemon: Daemon, tmp_path: Path) -> None:
    """What was said after it is gone; who had heard that is told, and nobody else."""
    token = str(call(daemon, "/api/v1/session", {"name": "ann"})["token"])
    before = [say(daemon, token, line) for line in LINES[:3]]
    run_shown(OPERATIONS, "backup.sh", daemon)
    after = say(daemon, token, LINES[3])
    daemon.kill()
    run_shown(OPERATIONS, "restore.sh", daemon)
    daemon.start()
    assert texts(daemon) == LINES[:3]
    assert oct((daemon.data / "chat.sqlite").stat().st_mode)[-3:] == "600"
    assert [each["type"] for each in poll(daemon, after)] == ["reset"]
    assert [each["text"] for each in poll(daemon, before[0])] == LINES[1:3]
    again = say(daemon, token, LINES[4])
    assert [each["id"] for each in poll(daemon, before[2])] == [again["id"]]


HOW = pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "restart"])


@pytest.mark.slow
@HOW
def test_the_python_client_survives(how: signal.Signals, daemon: Daemon, tmp_path: Path) -> None:
    path = script(tmp_path, PROTOCOL, "talk.py", daemon)
    with reading(tmp_path, "python3", path, daemon.url, "ann") as client:
        client.type(LINES[:5])
        client.wait_for(LINES[2])
        end(daemon, how)
        client.type(LINES[5:])
        daemon.start()
        client.wait_for(LINES[-1])
        said = [line for line in client.output.splitlines() if line.startswith("[ann] ")]
    assert said == [f"[ann] {line}" for line in LINES]
    assert texts(daemon) == LINES


@pytest.mark.slow
@HOW
def test_the_curl_clients_survive(how: signal.Signals, daemon: Daemon, tmp_path: Path) -> None:
    follow = script(tmp_path, PROTOCOL, "follow.sh", daemon)
    say = script(tmp_path, PROTOCOL, "say.sh", daemon)
    with (
        reading(tmp_path, "sh", follow, daemon.url) as reader,
        reading(tmp_path, "sh", say, daemon.url, "ann") as writer,
    ):
        writer.type(LINES[:5])
        reader.wait_for("line 3 ")
        end(daemon, how)
        writer.type(LINES[5:])
        daemon.start()
        reader.wait_for("line 10 ")
        heard = [
            event["text"]
            for line in reader.output.splitlines()
            for event in json.loads(line)["events"]
            if event["type"] == "message"
        ]
    assert heard == LINES
    assert texts(daemon) == LINES


@pytest.mark.slow
@HOW
def test_the_javascript_client_survives(
    how: signal.Signals, daemon: Daemon, chromium: Browser
) -> None:
    with browser_page(chromium, daemon.url) as page:
        page.add_script_tag(content=block(PROTOCOL, "talk.js", daemon))
        page.evaluate(
            """async () => {
                globalThis.heard = [];
                const show = (event) => event.type === "message" && heard.push(event.text);
                globalThis.post = await talk("ann", show);
                globalThis.last = Promise.resolve();
                globalThis.type = (lines) => {
                    for (const line of lines) last = last.then(() => post(line));
                };
            }"""
        )
        page.evaluate("(lines) => type(lines)", LINES[:5])
        page.wait_for_function("heard.length >= 3", timeout=PATIENCE * 1000)
        end(daemon, how)
        page.evaluate("(lines) => type(lines)", LINES[5:])
        daemon.start()
        page.wait_for_function(f"heard.length >= {len(LINES)}", timeout=PATIENCE * 1000)
        page.evaluate("last")
        assert page.evaluate("heard") == LINES
    assert texts(daemon) == LINES


@pytest.mark.slow
def test_the_python_reader_hears_what_curl_writes(daemon: Daemon, tmp_path: Path) -> None:
    with reading(tmp_path, "python3", script(tmp_path, README, "read.py", daemon)) as reader:
        printed = run_shown(README, "write.sh", daemon)
        reader.wait_for("alice says hello\n")
    assert json.loads(printed)["text"] == "hello"


@pytest.mark.slow
def test_the_javascript_reader_comes_back(daemon: Daemon, chromium: Browser) -> None:
    token = str(call(daemon, "/api/v1/session", {"name": "ann"})["token"])
    with browser_page(chromium, daemon.url) as page:
        heard: list[str] = []
        page.on("console", lambda message: heard.append(message.text))
        with page.expect_console_message(lambda message: message.text == "ann says one"):
            page.add_script_tag(content=block(README, "read.js", daemon))
            say(daemon, token, "one")
        daemon.kill()
        daemon.start()
        say(daemon, token, "two")
        page.wait_for_function("source.readyState === EventSource.OPEN")
        with page.expect_console_message(lambda message: message.text == "ann says three"):
            say(daemon, token, "three")
        assert [text for text in heard if "says" in text] == [
            "ann says one",
            "ann says two",
            "ann says three",
        ]
