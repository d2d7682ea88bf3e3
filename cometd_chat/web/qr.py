"""QR codes of addresses, for whoever has a phone in the hand.

What it is: from an address to an SVG that is part of a page.

What it may know: text. Nothing of what is behind an address.

Invariant: it is dark on light with a quiet zone around it, whatever the page's colours are: many
readers need both.
"""

from __future__ import annotations

import io

import segno
from markupsafe import Markup


def qr_svg(address: str) -> Markup:
    """The QR code of an address, as an element of a page. It has no size of its own, and what is in
    it is said by the text beside it.

    :param address: at most a few hundred characters.
    """
    # Of four levels the second: 15 % of it may be hidden, and it stays coarse.
    code = segno.make(address, error="m", micro=False)
    drawn = io.BytesIO()
    code.save(
        drawn,
        kind="svg",
        xmldecl=False,
        svgns=False,
        omitsize=True,
        svgclass="qr",
        lineclass=None,
        dark="#000",
        light="#fff",
        border=4,
        nl=False,
    )
    svg = drawn.getvalue().decode("ascii")
    return Markup(svg.replace("<svg ", '<svg aria-hidden="true" ', 1))  # noqa: S704 - our own
