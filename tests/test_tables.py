"""What the code has tables of, tests and documents have wholly: transports, errors, metrics,
options.

Each table is asked of the code, so that a new row fails here until it is tested and told of. That
options, errors, events and metrics are in the documents is a matter of `tests.test_docs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from cometd_chat import errors
from cometd_chat.daemon.settings import OPTIONS
from tests import transport_paths as transports
from tests.documents import PROTOCOL, TRANSPORTS, code, rows
from tests.memory import MemorySite
from tests.support import ROOT
from tests.test_options import GOOD, WRONG


def transport_names() -> list[str]:
    """All transports, as whoever asks for another one is told."""
    with MemorySite() as site:
        detail = site.get("/api/v1/events/trapdoor").json()["detail"]
    return re.findall(r"[\w-]+", detail.partition("are ")[2].rpartition("are ")[2])


def metric_names() -> list[str]:
    with MemorySite() as site:
        return re.findall(r"^# TYPE (comet_chat_\w+) ", site.metrics, re.M)


@cache
def sources() -> str:
    """All tests but those of the documents, which name everything that is documented."""
    files: Iterable[Path] = (ROOT / "tests").rglob("*.py")
    left_out = {"node_modules", "test_docs.py", Path(__file__).name}
    return "".join(path.read_text() for path in files if left_out.isdisjoint(path.parts))


def test_the_tests_know_every_transport() -> None:
    assert sorted(transports.NAMES) == sorted(transport_names())


def test_the_documents_tell_of_every_transport() -> None:
    short = [code(row[0])[0] for row in rows(PROTOCOL, "transport")]
    long = [re.findall(r"\[(\w+)\]", row[0])[0] for row in rows(TRANSPORTS, "transport")]
    assert sorted(short) == sorted(long) == sorted(transport_names())


def test_every_option_is_given_and_given_wrong() -> None:
    names = {f"--{option.name}" for option in OPTIONS}
    assert {argument.partition("=")[0] for argument, *_ in GOOD} == names
    # Any text names a directory.
    assert {argument.partition("=")[0] for argument, *_ in WRONG} == names


@pytest.mark.parametrize("slug", sorted(errors.by_slug()))
def test_every_error_is_expected_somewhere(slug: str) -> None:
    kind = errors.by_slug()[slug].__name__
    assert re.search(rf'["/]{slug}"|\b{kind}\b', sources())


@pytest.mark.parametrize("name", metric_names())
def test_every_metric_is_read_somewhere(name: str) -> None:
    assert re.search(rf"\b{name.removesuffix('_created')}(_count)?\b", sources())
