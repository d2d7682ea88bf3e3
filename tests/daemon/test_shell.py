"""Commands from the shell: to a daemon that runs, and on the database of one that does not."""

from __future__ import annotations

import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cometd_chat.daemon.shell_asking import SOCKET, Asked, ask
from cometd_chat.shell_words import SHELL
from tests.daemon.talk import log_in, once, say
from tests.support import Daemon, command, run

pytestmark = pytest.mark.slow


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path, "--limits=off") as running:
        yield running


def typed(data: Path, *words: str) -> tuple[int, str, str]:
    """What comes of a command, as its user types it."""
    return run(command("comet-chat"), *words, "--data", str(data))


def forked(data: Path, *words: str) -> tuple[int, str, str]:
    """The same where no daemon runs, without the imports."""
    return Daemon.forked(data.parent, "comet-chat", *words, "--data", str(data))


def test_it_is_one_conversation_with_and_without_a_daemon(daemon: Daemon) -> None:
    token = log_in(daemon.port, "dan")
    assert say(daemon.port, token, "hi").status == 201
    assert typed(daemon.data, "policy", "set", "title", "The House")[:2] == (
        0,
        "title: The House\n",
    )
    status, told, _ = typed(daemon.data, "ban", "add", "dan", "--kind=silence", "--reason=loud")
    assert (status, "silence  dan everywhere, by the shell: loud" in told) == (0, True)
    # It holds at once, and after a restart.
    assert say(daemon.port, token, "hi again").status == 403
    path = daemon.data / SOCKET
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    daemon.terminate()
    assert typed(daemon.data, "ban", "list")[1] == told
    assert forked(daemon.data, "ban", "lift", "dan")[0] == 0
    assert forked(daemon.data, "room", "make", "dev", "--topic=work")[:2] == (
        0,
        "dev  public: work\n",
    )
    daemon.start()
    assert say(daemon.port, token, "hi again").status == 201
    assert once(daemon.port, "GET", "/api/v1/rooms/dev").status == 200
    assert "The House" in typed(daemon.data, "policy", "list")[1]


def test_people_come_by_what_the_shell_gives(daemon: Daemon) -> None:
    status, said, _ = typed(daemon.data, "owner-link")
    code = said.splitlines()[0].removeprefix("/claim/")
    claim = {"code": code, "name": "ada", "password": "four words of mine"}
    made = once(daemon.port, "POST", "/api/v1/claim", body=claim)
    assert (status, made.status, made.json["role"]) == (0, 201, "owner")
    status, said, _ = typed(daemon.data, "invite", "make", "--uses=1", "--role=moderator")
    code = said.strip().removeprefix("/invite/")
    assert (status, code in typed(daemon.data, "invite", "list")[1]) == (0, True)
    dan = log_in(daemon.port, "dan")
    asked = {"password": "four words of mine", "invite": code}
    assert once(daemon.port, "POST", "/api/v1/account", body=asked, token=dan).status == 201
    assert typed(daemon.data, "user", "role", "Dan", "member")[:2] == (0, "dan  member\n")
    assert typed(daemon.data, "invite", "revoke", "none")[0] == 1
    daemon.terminate()
    status, said, _ = forked(daemon.data, "user", "list")
    assert [line.partition(",")[0] for line in said.splitlines()] == ["ada  owner", "dan  member"]
    assert forked(daemon.data, "user", "role", "ada", "member")[0] == 1, "the last owner"


def test_what_is_wrong_is_said_in_a_line(daemon: Daemon, tmp_path: Path) -> None:
    status, _, said = typed(daemon.data, "ban", "add", "nobody")
    assert (status, said.startswith("comet-chat: There is nobody called nobody")) == (1, True)
    status, _, said = typed(daemon.data, "policy", "set", "calm", "down")
    assert (status, "off, slow, members, closed" in said) == (1, True)
    status, _, said = typed(tmp_path / "elsewhere", "ban", "list")
    assert (status, "there is no chat.sqlite in it" in said) == (1, True)
    assert typed(daemon.data, "ban", "dance")[0] == 2


def test_what_is_no_command_harms_nobody(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(daemon.data / SOCKET))
        connection.sendall(b"\xff{]\n")
        assert b"no command of this release" in connection.makefile("rb").readline()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(daemon.data / SOCKET))
        with suppress(OSError):
            connection.sendall(b"x" * 2**22)
        assert connection.recv(1) == b""
    answer = ask(daemon.data, Asked("no such", {}))
    assert answer is not None
    assert answer.failed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_nobody_else_is_listened_to(daemon: Daemon) -> None:
    """Though the modes of directory and socket were changed."""
    path = daemon.data / SOCKET
    above = [each for each in path.parents if each.is_relative_to(tempfile.gettempdir())]
    for each in (*above, path):
        each.chmod(each.stat().st_mode | 0o777)
    child = os.fork()
    if not child:
        try:
            os.setuid(65534)
            answer = ask(daemon.data, Asked("policy list", {}))
            os._exit(0 if answer is not None and answer.failed else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_who_asks_a_daemon_waits_for_no_more_than_that() -> None:
    shown = "import sys, cometd_chat.__main__, cometd_chat.shell_command; print(*sys.modules)"
    status, loaded, _ = run(sys.executable, "-c", shown)
    assert status == 0
    dear = {"twisted", "sqlalchemy", "klein", "cometd_chat.chat", "cometd_chat.daemon.settings"}
    assert dear.isdisjoint(loaded.split())


def test_there_is_something_to_do_for_each_command() -> None:
    from cometd_chat.shell_table import DOES

    assert set(DOES) == set(SHELL)
