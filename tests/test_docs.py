"""What the documents show works, and what their tables say is so.

Marked blocks are run against a real daemon, transcripts are typed again, tables are compared with
the code, links are followed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import attrs
import pytest
from playwright.sync_api import Browser, Page

from cometd_chat import errors
from cometd_chat.chat import events, limits
from cometd_chat.log.log import Record
from cometd_chat.settings import OPTIONS
from tests.support import PATIENCE, ROOT, Daemon, environment

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
README, PROTOCOL, OPERATIONS, TRANSPORTS = (
    ROOT / name
    for name in ("README.md", "docs/protocol.md", "docs/operations.md", "docs/transports.md")
)

#: Where the documents' daemon is, and its directory.
SHOWN_URL = "http://127.0.0.1:8080"
SHOWN_DATA = "comet-chat-data"

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


@attrs.frozen
class Block:
    """A fenced block of a document.

    :param name: what the document says it runs as, or empty.
    """

    language: str
    name: str
    body: str


def blocks(document: Path) -> list[Block]:
    found = re.finditer(
        r"^(?:<!-- runs as: (\S+) -->\n)?```(\w*)\n(.*?)^```$", document.read_text(), re.M | re.S
    )
    return [Block(each[2], each[1] or "", each[3]) for each in found]


def block(document: Path, name: str, daemon: Daemon) -> str:
    """The body of a block that is to be run, for this daemon instead of the shown one."""
    (body,) = [each.body for each in blocks(document) if each.name == name]
    # Without the scheme, which is another one for WebSockets.
    shown, real = SHOWN_URL.partition(":")[2], daemon.url.partition(":")[2]
    return body.replace(shown, real).replace(SHOWN_DATA, str(daemon.data))


def rows(document: Path, heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    lines = document.read_text().splitlines()
    (start,) = [n for n, line in enumerate(lines) if line.startswith(f"| {heading} |")]
    table: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip().strip("|").split(" | ")])
    return table


def code(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]*)`", cell)


# -- running what is shown


class Reading:
    """A program that runs until it is stopped, and what it prints.

    :param command: the program.
    """

    def __init__(self, directory: Path, *command: str) -> None:
        self._path = directory / f"{Path(command[1]).name}.out"
        with self._path.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                env=documented_environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._path.read_text()

    def type(self, lines: Sequence[str]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.process.stdin.flush()

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.output, lambda: f"{text!r} in {self.output!r}")


def documented_environment() -> dict[str, str]:
    """Ours, with ``python3`` being the Python of the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return environment({"PATH": path, "PYTHONUNBUFFERED": "1"})


def wait_until(happened: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"did not happen: {what()}"
        time.sleep(0.05)


@contextmanager
def reading(directory: Path, *command: str) -> Iterator[Reading]:
    program = Reading(directory, *command)
    try:
        yield program
    finally:
        # With whatever it has started: a shell would leave its curl behind.
        os.killpg(program.process.pid, signal.SIGKILL)
        program.process.communicate()


def script(directory: Path, document: Path, name: str, daemon: Daemon) -> str:
    path = directory / name
    path.write_text(block(document, name, daemon))
    return str(path)


@contextmanager
def browser_page(chromium: Browser, url: str) -> Iterator[Page]:
    """A page of the daemon in Chromium, without any script of its own."""
    with chromium.new_page() as page:
        page.goto(f"{url}/healthz")
        yield page


def call(daemon: Daemon, path: str, body: object = None, token: str = "") -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(daemon.url + path, data, headers), timeout=PATIENCE) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def texts(daemon: Daemon) -> list[str]:
    """All messages of the lobby."""
    messages = call(daemon, "/api/v1/rooms/lobby/messages?limit=200")["messages"]
    return [message["text"] for message in messages]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all clients of a few lines: each of them only reads along."""
    with Daemon(tmp_path_factory.mktemp("doors")) as running:
        yield running


LINES = [f'line {n} "quoted" \\ {{}} ü 🙂' for n in range(1, 11)]


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


def say(daemon: Daemon, token: str, text: str) -> dict[str, Any]:
    return call(daemon, "/api/v1/rooms/lobby/messages", {"text": text}, token)


def poll(daemon: Daemon, event: dict[str, Any]) -> list[dict[str, Any]]:
    """What comes after an event, of what is kept and of what a client is told about that."""
    answer = call(daemon, f"/api/v1/events/poll?wait=0&cursor={event['cursor']}")
    kept: list[dict[str, Any]] = answer["events"]
    return [each for each in kept if each["type"] not in ("join", "leave")]


def run_shown(document: Path, name: str, daemon: Daemon) -> str:
    """Run a block of shell commands; what they print."""
    done = subprocess.run(
        ["sh", "-e", "-c", block(document, name, daemon)],
        cwd=daemon.directory,
        env=documented_environment(),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )
    return done.stdout


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["stream.py", "ws.py", "poll.py", "multipart.py", "text.sh", "duplex.sh"]
)
def test_a_door_by_a_program(name: str, doors: Daemon, tmp_path: Path) -> None:
    """The few lines that the page shows for a door hear what others say."""
    token = str(call(doors, "/api/v1/session", {"name": f"by-{name}"})["token"])
    runner = "sh" if name.endswith(".sh") else "python3"
    with reading(tmp_path, runner, script(tmp_path, TRANSPORTS, name, doors)) as reader:
        wait_until(lambda: holds(doors) or name == "poll.py", lambda: f"{name} is held")
        wait_until(lambda: say_until_heard(doors, token, reader), lambda: reader.output)
        if name == "duplex.sh":
            reader.type(["typed by hand"])
            reader.wait_for("[alice] typed by hand")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["frame.js", "sse.js", "jsonp.js"])
def test_a_door_by_a_page(name: str, doors: Daemon, chromium: Browser) -> None:
    """The few lines that the page shows for a door hear what others say."""
    token = str(call(doors, "/api/v1/session", {"name": f"by-{name}"})["token"])
    wait_until(lambda: not holds(doors), lambda: "nobody else is held")
    with (
        browser_page(chromium, doors.url) as page,
        page.expect_console_message(lambda message: "hello page" in message.text),
    ):
        page.add_script_tag(content=block(TRANSPORTS, name, doors))
        wait_until(lambda: holds(doors), lambda: f"{name} is held")
        say(doors, token, "hello page")


@pytest.mark.slow
def test_the_client_library(doors: Daemon, chromium: Browser) -> None:
    token = str(call(doors, "/api/v1/session", {"name": "by-library"})["token"])
    wait_until(lambda: not holds(doors), lambda: "nobody else is held")
    with (
        browser_page(chromium, doors.url) as page,
        page.expect_console_message(lambda message: message.text == "by-library hello library"),
    ):
        page.add_script_tag(content=block(TRANSPORTS, "client.js", doors), type="module")
        wait_until(lambda: holds(doors), lambda: "the library holds a request")
        say(doors, token, "hello library")


def holds(daemon: Daemon) -> bool:
    """Whether the daemon holds any request."""
    with urlopen(f"{daemon.url}/metrics", timeout=PATIENCE) as answer:
        held = re.findall(r"^comet_chat_held_requests\{.*\} (\S+)$", answer.read().decode(), re.M)
    return any(float(count) for count in held)


def say_until_heard(daemon: Daemon, token: str, reader: Reading) -> bool:
    """Between two polls nothing is held: what is said then comes with the next one."""
    if "hello program" not in reader.output:
        say(daemon, token, "hello program")
    return "hello program" in reader.output


def end(daemon: Daemon, how: signal.Signals) -> None:
    if how == signal.SIGKILL:
        daemon.kill()
    else:
        daemon.terminate()


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


# -- tables


def test_all_marked_blocks_are_run() -> None:
    names = {each.name for path in DOCUMENTS for each in blocks(path)} - {""}
    source = Path(__file__).read_text()
    assert names
    assert [name for name in sorted(names) if f'"{name}"' not in source] == []


def test_the_table_of_errors() -> None:
    told = [(code(slug)[0], status, title) for slug, status, title, _ in rows(PROTOCOL, "slug")]
    there = [(slug, str(kind.status), kind.title) for slug, kind in errors.by_slug().items()]
    assert sorted(told) == sorted(there)


def test_the_table_of_events() -> None:
    record = Record(1, "e", "/chat/lobby", "message", "s", "ann", "hi", "c", 0)
    made = [
        events.recorded(record),
        events.join("lobby", "ann", 0, "192.0.2.0/24"),
        events.leave("lobby", "ann", 0),
        events.typing("lobby", "ann", 0),
        events.people("lobby", 60),
        events.hello("0.e", 15, "comet-chat"),
        events.heartbeat("0.e"),
        events.reset("0.e"),
        events.gap("lobby", 1, 2, at_least=True),
        events.reopen("0.e", 0),
        events.bye("logged out"),
        events.error(429, "Too many."),
    ]
    told = {code(type)[0]: set(code(fields)) for type, fields, _ in rows(PROTOCOL, "type")}
    assert told == {event.type: set(event.fields) - {"type"} for event in made}


def told_rate(rate: limits.Rate | None) -> list[str]:
    """A rate as the table has it: what at once, and what then."""
    if rate is None:
        return ["-", "-"]
    unit, size = (" KiB", 1024) if rate.burst > 1024 else ("", 1)
    whole = rate.each_second >= 1 and not unit
    then = rate.each_second * (1 if whole else 60) / size
    span = "second" if whole else "minute"
    return [f"{rate.burst / size:g}{unit}", f"{then:g}{unit} a {span}"]


def test_the_table_of_rates() -> None:
    told = [row[1:] for row in rows(PROTOCOL, "rate of")]
    there = [
        limits.MESSAGES,
        limits.TEXT,
        limits.TYPING,
        limits.ROOMS,
        limits.NAMES,
        limits.SESSIONS,
        limits.HANDSHAKES,
    ]
    assert told == [[*told_rate(each.session), *told_rate(each.address)] for each in there]


def test_the_table_of_numbers() -> None:
    told = [row[2] for row in rows(PROTOCOL, "number of")]
    there = [limits.HELD, limits.IN_USE, limits.MADE]
    assert told == [f"{quota.most:,}" for quota in there]


def test_the_table_of_options() -> None:
    told = [(code(each[0])[0], code(each[1])[0], each[2]) for each in rows(OPERATIONS, "option")]
    assert told == [
        (f"--{option.name}", option.variable, f"`{option.default}`" if option.default else "none")
        for option in OPTIONS
    ]


@pytest.mark.slow
def test_the_table_of_metrics(daemon: Daemon) -> None:
    call(daemon, "/api/v1/events/poll")
    with urlopen(f"{daemon.url}/metrics", timeout=PATIENCE) as answer:
        found = re.findall(r"^# TYPE (\w+) (\w+)$", answer.read().decode(), re.M)
    there = {name: kind for name, kind in found if not name.endswith("_created")}
    told = {code(name)[0].partition("{")[0]: kind for name, kind, _ in rows(OPERATIONS, "metric")}
    assert told == there


def test_the_page_of_performance() -> None:
    """Its figures are those of the results that are committed with it."""
    command = [sys.executable, "-m", "benchmarks.report", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


# -- links


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(document: Path) -> None:
    text = re.sub(r"<!--.*?-->|^```.*?^```$", "", document.read_text(), flags=re.S | re.M)
    text = re.sub(r"`[^`\n]*`", "`code`", text)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def anchors(document: Path) -> set[str]:
    """The anchors that a document's headings get."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}
