"""Every pair of colours that text is shown in meets WCAG 2.2 AA (4.5 to 1), light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cometd_chat.web
from cometd_chat.web.transcript import PALETTE_SIZE

CSS = (Path(cometd_chat.web.__file__).parent / "static" / "comet.css").read_text("utf-8")
THEMES = {"light": 0, "dark": 1}
ON_PANELS = [
    (text, ground)
    for text in ("ink", "soft", "comet", "warm", "ok")
    for ground in ("paper", "ground")
]
PAIRS = [*ON_PANELS, ("ink", "tail"), ("comet", "tail"), ("on-comet", "comet")]


def tokens() -> dict[str, tuple[str, str]]:
    """Each token's colour in light and in dark."""
    found: dict[str, tuple[str, str]] = {}
    pattern = r"--([\w-]+):\s*(?:light-dark\((#\w{6}), (#\w{6})\)|(#\w{6}));"
    for name, light, dark, both in re.findall(pattern, CSS):
        found[name] = (light or both, dark or both)
    return found


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4
        for each in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_is_legible(text: str, ground: str, theme: str) -> None:
    colours = tokens()
    index = THEMES[theme]
    assert contrast(colours[text][index], colours[ground][index]) >= 4.5


@pytest.mark.parametrize("colour", range(PALETTE_SIZE))
def test_letters_on_the_colour_of_a_name_are_legible(colour: int) -> None:
    colours = tokens()
    assert contrast(colours["on-colour"][0], colours[f"colour-{colour}"][0]) >= 4.5
    assert f".colour-{colour} " in CSS


def test_colours_are_written_nowhere_but_in_the_tokens() -> None:
    after_tokens = CSS.split(":root[data-theme", 1)[1]
    assert not re.search(r"#[0-9a-f]{3,8}\b(?=[;, )])", after_tokens)
