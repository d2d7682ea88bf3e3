"""QR codes: they say what they should, and need nothing that our pages forbid."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import segno

from cometd_chat.web.qr import qr_svg

ADDRESS = "https://chat.example.org/invite/7Kq2mf9xAbCd"


def test_an_element_of_a_page() -> None:
    svg = qr_svg(ADDRESS)
    root = ElementTree.fromstring(svg)
    assert root.tag == "svg"
    assert root.get("aria-hidden") == "true"
    assert re.fullmatch(r"0 0 (\d+) \1", root.get("viewBox", ""))
    for attribute in ("style", "on", "href", "width"):
        assert f" {attribute}" not in svg


def test_dark_on_light_with_a_quiet_zone() -> None:
    """As drawn, module by module: it is that of the address."""
    root = ElementTree.fromstring(qr_svg(ADDRESS))
    light, dark = root.findall("path")
    assert light.get("fill") == "#fff"
    assert dark.get("stroke") == "#000"
    size = int((root.get("viewBox") or "").split()[2])
    grid = [[0] * size for _ in range(size)]
    x, y = 0.0, 0.0
    for letter, numbers in re.findall(r"([Mmh])([^Mmh]*)", dark.get("d") or ""):
        values = [float(each) for each in re.findall(r"-?[\d.]+", numbers)]
        if letter == "M":
            x, y = values
        elif letter == "m":
            x, y = x + values[0], y + values[1]
        else:
            for column in range(int(x), int(x + values[0])):
                grid[int(y)][column] = 1
            x += values[0]
    expected = segno.make(ADDRESS, error="m", micro=False).matrix_iter(border=4)
    assert grid == [[int(bool(each)) for each in row] for row in expected]
