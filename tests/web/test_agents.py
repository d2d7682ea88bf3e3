"""What devices are called in the list of them."""

from __future__ import annotations

import pytest

from cometd_chat.web.agents import MOST, called

LINUX = "Mozilla/5.0 (X11; Linux x86_64"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (f"{LINUX}; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            f"{LINUX}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
            "Chrome on Linux",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 (KHTML, like "
            "Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        (
            "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 "
            "Mobile Safari/537.36",
            "Chrome on Android",
        ),
        ("Lynx/2.9.2 libwww-FM/2.14", "lynx"),
        ("curl/8.14.1", "curl"),
        ("my-bot/1.0 (+https://example.org)", "my-bot"),
        ("x" * 500, "x" * MOST),
        ("evil\x1b[31m\u202e", "evil[31m"),
        ("", ""),
    ],
)
def test_a_device_is_called_what_its_owner_knows(said: str, name: str) -> None:
    assert called(said) == name
