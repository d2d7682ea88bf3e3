"""Debian's WebKitGTK, the engine of Safari, driven by its own WebDriver under a screen of its own.

What it is: `WebKit` starts one and opens pages in it; `WebKitPage` looks at one, and acts in it as
a person would.

What it may know: the WebDriver specification. Nothing of the chat.

Invariant: whatever is waited for has a limit, and what was started is stopped, with all that it
started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.browser.scripted import ScriptedPage
from tests.support import PATIENCE, free_port

_BROWSERS = "webkit2gtk-4.*/MiniBrowser"

#: It draws in memory, and is not kept from what the tests' own user may do.
_SETTINGS = {
    "GDK_BACKEND": "x11",
    "LIBGL_ALWAYS_SOFTWARE": "1",
    "NO_AT_BRIDGE": "1",
    "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
    "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
}

#: Keeps what scripts fail with from now on; WebDriver has no way to ask for it.
_NOTE = """
if (!window.problems) {
  window.problems = [];
  addEventListener("error", ({ message }) => problems.push(message));
  addEventListener("unhandledrejection", ({ reason }) => problems.push(String(reason)));
}
return problems;
"""

#: Where an element is in the answer to a search for it (section 12.1).
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class WebKit:
    """A browser: ``with WebKit(tmp_path) as webkit: page = webkit.open(url)``.

    :param directory: of the test; what the browser keeps is in it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port = 0
        self._session = ""
        self._open = ""
        #: What the browser says of itself.
        self.version = ""

    def open(self, url: str) -> WebKitPage:
        """A new tab with a page that has loaded."""
        tab = self.call("POST", "/window/new", type="tab")["handle"]
        page = WebKitPage(self, tab)
        page.go(url)
        return page

    def call(self, method: str, path: str, **parameters: Any) -> Any:
        """A command of the session, and its value (WebDriver, section 6.3)."""
        return self._ask(method, f"/session/{self._session}{path}", parameters)

    def look_at(self, tab: str) -> None:
        """Commands are for this tab from now on."""
        if tab != self._open:
            self.call("POST", "/window", handle=tab)
            self._open = tab

    def end(self, tab: str) -> None:
        """Close a tab."""
        self.look_at(tab)
        self._open = ""
        self.call("DELETE", "/window")

    def _ask(self, method: str, path: str, parameters: dict[str, Any] | None = None) -> Any:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            body = None if method == "GET" else json.dumps(parameters or {})
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            connection.close()
        assert answer.status == 200, f"{method} {path} {parameters}: {value}"
        return value

    def __enter__(self) -> WebKit:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.call("DELETE", "")
        finally:
            self._stop()

    def _start(self) -> None:
        home = self._directory / "webkit"
        home.mkdir()
        own = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": "/usr/bin:/bin"}
        display = self._start_screen(own)
        self._port = free_port()
        driver = ["WebKitWebDriver", "--host=127.0.0.1", f"--port={self._port}"]
        self._spawn(driver, {**own, **_SETTINGS, "DISPLAY": display}, stdout=subprocess.DEVNULL)
        self._wait_for_driver()
        (browser,) = Path("/usr/lib").glob(f"*/{_BROWSERS}")
        options = {"binary": str(browser), "args": ["--automation"]}
        wanted = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        session = self._ask("POST", "/session", {"capabilities": wanted})
        self._session = session["sessionId"]
        self.version = session["capabilities"]["browserVersion"]

    def _start_screen(self, environment: dict[str, str]) -> str:
        """The name of a display with nothing on it."""
        reader, writer = os.pipe()
        screen = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1100x800x24"]
        options = ["-nolisten", "tcp", "-noreset"]
        self._spawn([*screen, *options], environment, stdout=subprocess.DEVNULL, pass_fds=(writer,))
        os.close(writer)
        with os.fdopen(reader) as said:
            return f":{said.readline().strip()}"

    def _spawn(self, command: list[str], environment: dict[str, str], **options: Any) -> None:
        # A session of its own: the driver starts the browser, and that its processes.
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )
        self._processes.append(process)

    def _wait_for_driver(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if self._ask("GET", "/status")["ready"]:
                    return
            except OSError:
                assert time.monotonic() < deadline, "WebKitWebDriver does not answer"
            time.sleep(0.02)

    def _stop(self) -> None:
        # It may be gone already; what it started need not be.
        while self._processes:
            process = self._processes.pop()
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


class WebKitPage(ScriptedPage):
    """A tab.

    :param tab: its window handle.
    """

    def __init__(self, webkit: WebKit, tab: str) -> None:
        self._webkit = webkit
        self._tab = tab

    def _call(self, method: str, path: str, **parameters: Any) -> Any:
        self._webkit.look_at(self._tab)
        return self._webkit.call(method, path, **parameters)

    def go(self, url: str) -> None:
        self._call("POST", "/url", url=url)
        assert self.problems == []

    @property
    def problems(self) -> list[str]:
        """What scripts of the page have failed with since it had loaded."""
        found: list[str] = self._call("POST", "/execute/sync", script=_NOTE, args=[])
        return found

    def back(self) -> None:
        self._call("POST", "/back")

    def forward(self) -> None:
        self._call("POST", "/forward")

    def close(self) -> None:
        self._webkit.end(self._tab)

    def evaluate(self, expression: str, *arguments: str) -> Any:
        script = (
            "const args = [...arguments], done = args.pop();"
            f"(async () => ({expression}) ?? null)()"
            ".then((value) => done({ value }), (problem) => done({ problem: String(problem) }))"
        )
        result = self._call("POST", "/execute/async", script=script, args=[*arguments])
        assert "problem" not in result, result
        return result["value"]

    def press(self, selector: str) -> None:
        self._call("POST", f"/element/{self._element(selector)}/click")

    def write(self, text: str) -> None:
        steps = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": steps}
        self._call("POST", "/actions", actions=[keyboard])

    def _element(self, selector: str) -> str:
        found = {"using": "css selector", "value": selector}
        return str(self._call("POST", "/element", **found)[_ELEMENT])
