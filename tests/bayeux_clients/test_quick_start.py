"""The programs of docs/bayeux.md, run as they are there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.daemon.talk import Running, log_in, say
from tests.support import NODE_MODULES, ROOT, Daemon

pytestmark = pytest.mark.slow

SHOWN_URL = "http://127.0.0.1:8080"


def program(language: str, daemon: Daemon) -> str:
    """The first block in a language, for this daemon instead of the shown one."""
    page = (ROOT / "docs" / "bayeux.md").read_text()
    found = re.search(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)
    assert found is not None
    assert SHOWN_URL in found[1]
    return found[1].replace(SHOWN_URL, daemon.url)


def talks(program: Running, language: str, daemon: Daemon) -> None:
    """It hears itself and others."""
    program.until(f"says hello from {language}")
    say(daemon.port, log_in(daemon.port, f"friend-of-{language}"), f"hello, {language}")
    program.until(f"friend-of-{language} says hello, {language}")


def test_in_javascript(tmp_path: Path, daemon: Daemon) -> None:
    # Packages are looked for beside the program.
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    path = tmp_path / "quick-start.cjs"
    path.write_text(program("js", daemon))
    with Running("node", str(path)) as node:
        talks(node, "JavaScript", daemon)


def test_in_python(tmp_path: Path, daemon: Daemon) -> None:
    path = tmp_path / "quick_start.py"
    path.write_text(program("python", daemon))
    with Running(sys.executable, str(path)) as python:
        talks(python, "Python", daemon)


def test_in_ruby(tmp_path: Path, daemon: Daemon) -> None:
    path = tmp_path / "quick_start.rb"
    path.write_text(program("ruby", daemon))
    with Running("ruby", str(path)) as ruby:
        talks(ruby, "Ruby", daemon)


def test_in_python_the_listener_is_there_first(tmp_path: Path, daemon: Daemon) -> None:
    """The library reads no replies while too many messages wait for whoever listens."""
    path = tmp_path / "quick_start.py"
    late = program("python", daemon).replace(
        '        await client.publish("/chat/lobby"',
        '        print("ready", flush=True)\n'
        "        await asyncio.to_thread(input)\n"
        '        await client.publish("/chat/lobby"',
    )
    path.write_text(late)
    bob = log_in(daemon.port, "somebody-with-much-to-say")
    with Running(sys.executable, "-u", str(path), keyboard=True) as python:
        python.until("ready")
        for number in range(150):
            say(daemon.port, bob, f"line {number}")
        python.write("")
        python.until("says hello from Python")
