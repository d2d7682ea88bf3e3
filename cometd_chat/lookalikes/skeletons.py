"""Skeletons: texts that look the same have the same one.

What it is: one pure function, the skeleton of UTS #39, section 4.

What it may know: Unicode.

Invariant: it is for comparing only; nobody is ever shown one.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from cometd_chat.lookalikes.data_files import lines


@cache
def _prototypes() -> dict[int, str]:
    """What stands for each character that looks like another."""
    return {
        point: "".join(chr(int(each, 16)) for each in said.split())
        for point, _, said in lines("confusables.txt")
    }


def skeleton(text: str) -> str:
    """What a text looks like (UTS #39, section 4, ``internalSkeleton``).

    That of a text that runs in both directions is not looked at in the order in which it is shown;
    no name is one (see `scripts`).
    """
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFD", decomposed.translate(_prototypes()))
