"""Servers that are measured where their tools are: those in Java where there is Maven, those
in Go where there is Go.

What it is: which there are, which take part in a case, and why others do not.

What it may know: the classes of these servers.

Invariant: what can't be measured here is left out and said, never a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from benchmarks.servers.centrifugo import Centrifugo
from benchmarks.servers.java import CometD, Grizzly, Tomcat


class Optional(Protocol):
    """Such a server; it starts and is asked as the cases want in which it takes part."""

    #: What it is called on the page.
    title: ClassVar[str]
    #: The cases in which it takes part.
    cases: ClassVar[Sequence[str]]
    #: Whether it compiles while it runs, and so has to be warmed up.
    compiles: ClassVar[bool]
    #: What it is called in results.
    name: str

    @staticmethod
    def missing() -> str:
        """Why it can't be measured here, or nothing."""

    @staticmethod
    def version() -> str:
        """Which one it is."""


KINDS: tuple[type[Optional], ...] = (CometD, Grizzly, Tomcat, Centrifugo)


def taking_part(case: str) -> list[Any]:
    """The servers that take part in a case here."""
    return [kind() for kind in KINDS if case in kind.cases and not kind.missing()]


def versions() -> dict[str, str]:
    """Which version each one is, or why it is left out."""
    return {
        kind.title: f"left out: {reason}" if (reason := kind.missing()) else kind.version()
        for kind in KINDS
    }
