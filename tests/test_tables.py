"""What the code has tables of, tests and documents have wholly: transports, errors, metrics,
options.

Each table is asked of the code, so that a new row fails here until it is tested and told of. That
options, errors, events and metrics are in the documents is a matter of `tests.test_docs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from cometd_chat import errors
from cometd_chat.daemon.settings import OPTIONS
from cometd_chat.transports.table import BAYEUX, CLASSIC, TABLE, FramingRequest, Framings
from cometd_chat.web.parameters import Parameters
from tests import transport_paths as transports
from tests.documents import OPERATIONS, PROTOCOL, TRANSPORTS, code, rows
from tests.faults import decoding
from tests.memory import MemorySite
from tests.node_site import NodeSite
from tests.support import ROOT
from tests.test_options import GOOD, WRONG
from tests.web.transports import ANSWERS, DECODERS

PACKAGE = ROOT / "cometd_chat"


def metric_names() -> list[str]:
    with NodeSite() as site:
        return re.findall(r"^# TYPE (comet_chat_\w+) ", site.metrics, re.M)


def sources() -> Iterator[str]:
    """All tests but those of the documents, which name everything that is documented."""
    left_out = {"node_modules", "test_docs.py", Path(__file__).name}
    for path in (ROOT / "tests").iterdir():
        if path.name not in left_out:
            for each in [path] if path.suffix == ".py" else path.rglob("*.py"):
                yield each.read_text()


@cache
def found(pattern: str) -> frozenset[str]:
    """All that is like this in them."""
    return frozenset(each for text in sources() for each in re.findall(pattern, text))


class TestTransports:
    """Each is a row of the one table, and nothing leaves a row out."""

    def test_are_told_to_whoever_asks_for_another(self) -> None:
        with MemorySite() as site:
            detail = site.get("/api/v1/events/trapdoor").json()["detail"]
        told = re.findall(r"[\w-]+", detail.partition("are ")[2].rpartition("are ")[2])
        assert told == [row.name for row in TABLE]

    def test_are_read_by_the_tests(self) -> None:
        """The batteries go over all; a row without a decoder fails in each of them, and here."""
        assert DECODERS.keys() == {*transports.STREAMS, CLASSIC.name}
        assert ANSWERS.keys() == {*transports.POLLS}
        # `ws` is no body.
        assert {"ws", *decoding.BODIES, *decoding.ANSWERS} == {*transports.NAMES}

    def test_are_in_the_documents(self) -> None:
        short = [code(row[0])[0] for row in rows(PROTOCOL, "transport")]
        assert sorted(short) == sorted(transports.NAMES)
        long = {re.findall(r"\[(\w+)\]", row[0])[0]: row for row in rows(TRANSPORTS, "transport")}
        assert sorted(long) == sorted(transports.NAMES)
        sections = re.findall(r"^## (\w+)$", TRANSPORTS.read_text(), re.M)
        for row in TABLE:
            _, request, direction, ends, *_ = long[row.name]
            assert re.findall(r"\b[A-Z]{3,4}\b", request) == list(row.methods)
            assert ("upgrade" in request) is row.upgrade
            assert direction.startswith("both") is (row.upgrade or row.reads_early)
            assert (ends == "with each answer") is row.one_shot
            assert row.name in sections

    def test_are_opened_by_the_library_of_the_page(self) -> None:
        script = (PACKAGE / "web" / "static" / "transports.js").read_text()
        entries = script.partition("export const TRANSPORTS = {")[2].partition("\n};")[0]
        names = re.findall(r"^  (\w+): \{", entries, re.M)
        assert sorted(names) == sorted(name for row in TABLE for name in row.library)

    def test_are_framed_as_they_are_held(self) -> None:
        """A response that ends with its first events is framed as a whole, and no other is."""
        framings = Framings(nonce="n", boundary="b", origins=(), retry=lambda: 1500)
        query = Parameters([("callback", "heard")])
        for row in TABLE:
            assert row.framing is not None
            framing = row.framing(framings, FramingRequest(query, lambda name: None))
            assert framing.one_shot is row.one_shot

    def test_have_a_route_each_and_a_hot_one_where_it_is_plain(self) -> None:
        with MemorySite() as site:
            for row in TABLE:
                allowed = site.request("DELETE", row.path).header("allow") or ""
                expected = {*row.methods, "GET", "HEAD"}
                assert set(allowed.split(", ")) == expected, row.name

    def test_are_what_the_metrics_have_labels_of(self) -> None:
        names = [row.name for row in (*TABLE, CLASSIC, *BAYEUX.values())]
        assert len(set(names)) == len(names)
        row = next(each for each in rows(OPERATIONS, "metric") if "held_requests" in each[0])
        elsewhere = sorted(set(code(row[2])) & set(names))
        assert elsewhere == sorted({*names} - {each.name for each in TABLE})


def test_every_option_is_given_and_given_wrong() -> None:
    names = {f"--{option.name}" for option in OPTIONS}
    assert {argument.partition("=")[0] for argument, *_ in GOOD} == names
    # Any text names a directory.
    assert {argument.partition("=")[0] for argument, *_ in WRONG} == names


@pytest.mark.parametrize("slug", sorted(errors.by_slug()))
def test_every_error_is_expected_somewhere(slug: str) -> None:
    kind = errors.by_slug()[slug].__name__
    assert kind in found(r"\w+") or slug in found(r'(?<=["/])[\w-]+(?=")')


@pytest.mark.parametrize("name", metric_names())
def test_every_metric_is_read_somewhere(name: str) -> None:
    bare = name.removesuffix("_created")
    assert {bare, f"{bare}_count"} & found(r"\w+")
