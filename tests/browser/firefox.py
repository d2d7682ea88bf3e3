"""Debian's Firefox, driven by its own WebDriver BiDi: no geckodriver, no add-on.

What it is: `Firefox` starts one without a window and opens pages in it; `FirefoxPage` looks at one,
and acts in it as a person would.

What it may know: the WebDriver BiDi specification. Nothing of the chat.

Invariant: whatever is waited for has a limit, and what was started is stopped; errors of a page's
scripts are kept, so that a test can say that there were none.
"""

from __future__ import annotations

import json
import re
import selectors
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.browser.scripted import ScriptedPage
from tests.support import PATIENCE

_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")

#: Nothing on its own account: no updates, no first pages, no telling home, no lists of bad sites,
#: no suggestions, no process that waits for a tab to come. It takes a fifth of what a start costs.
_PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.newtab.preload": False,
    "browser.newtabpage.enabled": False,
    "browser.pagethumbnails.capturing_disabled": True,
    "browser.region.update.enabled": False,
    "browser.safebrowsing.blockedURIs.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.update": False,
    "browser.sessionstore.interval": 3_600_000,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "browser.topsites.contile.enabled": False,
    "browser.translations.enable": False,
    "browser.uitour.enabled": False,
    "browser.urlbar.quicksuggest.enabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    # Several tabs of a site in each of two processes; by itself four.
    "dom.ipc.processCount.webIsolated": 2,
    "dom.ipc.processPrelaunch.enabled": False,
    # Nothing that it brings along and adds to itself.
    "extensions.enabledScopes": 0,
    "extensions.formautofill.addresses.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "extensions.webextensions.remote": False,
    # It draws what changes ten times a second, not sixty.
    "layout.frame_rate": 10,
    "media.gmp-manager.updateEnabled": False,
    "media.gmp-provider.enabled": False,
    "media.rdd-process.enabled": False,
    "media.utility-process.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "places.history.enabled": False,
    "reader.parse-on-load.enabled": False,
    "services.settings.server": "http://127.0.0.1:1",
    "signon.rememberSignons": False,
    "toolkit.telemetry.archive.enabled": False,
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "",
}


class Firefox:
    """A browser: ``with Firefox(tmp_path) as firefox: page = firefox.open(url)``.

    :param directory: of the test; the profile is in it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        self._socket: ClientConnection | None = None
        self._calls = 0
        #: What scripts of its pages failed with.
        self.errors: list[str] = []

    def open(self, url: str) -> FirefoxPage:
        """A new tab with a page that has loaded."""
        context = self.call("browsingContext.create", type="tab")["context"]
        page = FirefoxPage(self, context)
        page.go(url)
        return page

    def call(self, method: str, **parameters: Any) -> Any:
        """A command of WebDriver BiDi (section 3.4), and its result."""
        assert self._socket is not None
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE))
            if answer["type"] == "event":
                self._note(answer["params"])
            elif answer["id"] == self._calls:
                assert answer["type"] == "success", f"{method}: {answer}"
                return answer["result"]

    def _note(self, entry: dict[str, Any]) -> None:
        if entry.get("type") == "javascript" and entry.get("level") == "error":
            self.errors.append(str(entry["text"]))

    def __enter__(self) -> Firefox:
        profile = self._directory / "firefox"
        profile.mkdir()
        lines = [f'user_pref("{key}", {json.dumps(value)});' for key, value in _PREFERENCES.items()]
        (profile / "user.js").write_text("\n".join(lines))
        command = ["firefox-esr", "--headless", "--no-remote", "--profile", str(profile)]
        self._process = subprocess.Popen(
            [*command, "--remote-debugging-port", "0", "about:blank"],
            env={"HOME": str(profile), "PATH": "/usr/bin:/bin", "MOZ_CRASHREPORTER_DISABLE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._socket = connect(f"{self._address()}/session", legacy=True, max_size=None)
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        return self

    def _address(self) -> str:
        assert self._process is not None
        assert self._process.stderr is not None
        said = ""
        deadline = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stderr, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                line = self._process.stderr.readline()
                found = _LISTENING.search(line)
                if found:
                    return found[1]
                said += line
                assert line, f"Firefox did not start:\n{said}"
        raise AssertionError(f"Firefox did not say where it listens:\n{said}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(PATIENCE)
            assert self._process.stderr is not None
            self._process.stderr.close()


class FirefoxPage(ScriptedPage):
    """A tab.

    :param context: its browsing context.
    """

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    def go(self, url: str) -> None:
        self._firefox.call(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    def back(self) -> None:
        self._go_by(-1)

    def forward(self) -> None:
        self._go_by(1)

    def _go_by(self, pages: int) -> None:
        self._firefox.call("browsingContext.traverseHistory", context=self._context, delta=pages)

    def close(self) -> None:
        self._firefox.call("browsingContext.close", context=self._context)

    def evaluate(self, expression: str, *arguments: str) -> Any:
        result = self._firefox.call(
            "script.callFunction",
            functionDeclaration=f"async (...args) => JSON.stringify(await ({expression}) ?? null)",
            arguments=[{"type": "string", "value": each} for each in arguments],
            target={"context": self._context},
            awaitPromise=True,
        )
        assert result["type"] == "success", result
        return json.loads(result["result"]["value"])

    def press(self, selector: str) -> None:
        node = self._node(selector)
        origin = {"type": "element", "element": {"sharedId": node}}
        steps: list[dict[str, Any]] = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._perform({"type": "pointer", "id": "mouse", "actions": steps})

    def write(self, text: str) -> None:
        steps: list[dict[str, Any]] = []
        for key in text:
            steps += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._perform({"type": "key", "id": "keyboard", "actions": steps})

    def _perform(self, source: dict[str, Any]) -> None:
        self._firefox.call("input.performActions", context=self._context, actions=[source])

    def _node(self, selector: str) -> str:
        locator = {"type": "css", "value": selector}
        found = self._firefox.call(
            "browsingContext.locateNodes", context=self._context, locator=locator
        )
        (node,) = found["nodes"]
        return str(node["sharedId"])
