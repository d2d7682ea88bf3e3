"""What the documents say is so: their tables are compared with the code, their links followed.

What they show is run by the tests in ``tests/shown``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cometd_chat import errors
from cometd_chat.chat import limits
from cometd_chat.daemon.settings import OPTIONS
from cometd_chat.events.kinds import KINDS
from cometd_chat.log import schema
from cometd_chat.log.log import Usage
from tests.documents import DOCUMENTS, OPERATIONS, PROTOCOL, blocks, code, rows
from tests.node_site import NodeSite
from tests.support import PATIENCE, ROOT

# -- tables


def test_all_marked_blocks_are_run() -> None:
    names = {each.name for path in DOCUMENTS for each in blocks(path)} - {""}
    source = "".join(path.read_text() for path in (ROOT / "tests" / "shown").glob("test_*.py"))
    assert names
    assert [name for name in sorted(names) if f'"{name}"' not in source] == []


def test_each_step_of_the_schema_is_named() -> None:
    steps = {path.stem for path in Path(schema.__file__).parent.glob("versions/r*.py")}
    named = re.findall("`(r[0-9]{4}_[a-z]+)`", (ROOT / "docs" / "architecture.md").read_text())
    assert steps == set(named)


def test_each_module_is_named() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    unnamed = [
        str(path)
        for path in (ROOT / "cometd_chat").rglob("*.py")
        # Steps of the schema are named without their ending.
        if path.name not in ("__init__.py", "env.py")
        and path.parent.name != "versions"
        and path.name not in page
    ]
    assert unnamed == []


def test_the_table_of_errors() -> None:
    told = [(code(slug)[0], status, title) for slug, status, title, _ in rows(PROTOCOL, "slug")]
    there = [(slug, str(kind.status), kind.title) for slug, kind in errors.by_slug().items()]
    assert sorted(told) == sorted(there)


def test_the_table_of_events() -> None:
    told = {code(type)[0]: set(code(fields)) for type, fields, _ in rows(PROTOCOL, "type")}
    assert told == {name: set(kind.fields) for name, kind in KINDS.items()}


def told_rate(rate: limits.Rate | None) -> list[str]:
    """A rate as the table has it: what at once, and what then."""
    if rate is None:
        return ["-", "-"]
    unit, size = (" KiB", 1024) if rate.burst > 1024 else ("", 1)
    whole = rate.each_second >= 1 and not unit
    then = rate.each_second * (1 if whole else 60) / size
    span = "second" if whole else "minute"
    return [f"{rate.burst / size:g}{unit}", f"{then:g}{unit} a {span}"]


def test_the_table_of_rates() -> None:
    told = [row[1:] for row in rows(PROTOCOL, "rate of")]
    there = [
        limits.MESSAGES,
        limits.TEXT,
        limits.TYPING,
        limits.ROOMS,
        limits.NAMES,
        limits.IGNORES,
        limits.MEMBERS,
        limits.DIRECTS,
        limits.INVITATIONS,
        limits.REPORTS,
        limits.EXPORTS,
        limits.MODERATION,
        limits.SESSIONS,
        limits.CALMED_GUESTS,
        limits.KNOCKS,
        limits.HANDSHAKES,
    ]
    assert told == [[*told_rate(each.session), *told_rate(each.address)] for each in there]
    assert there == [each for each in vars(limits).values() if isinstance(each, limits.Limit)]


def test_the_table_of_numbers() -> None:
    told = [row[2] for row in rows(PROTOCOL, "number of")]
    there = [limits.HELD, limits.IN_USE, limits.MADE]
    assert told == [f"{quota.most:,}" for quota in there]


def test_the_table_of_options() -> None:
    told = [(code(each[0])[0], code(each[1])[0], each[2]) for each in rows(OPERATIONS, "option")]
    assert told == [
        (f"--{option.name}", option.variable, f"`{option.default}`" if option.default else "none")
        for option in OPTIONS
    ]


@pytest.fixture(scope="module")
def metrics() -> dict[str, str]:
    """All metrics there are, and of what kind they are."""
    with NodeSite() as site:
        site.log.usage = Usage(1, 2)
        found = re.findall(r"^# TYPE (\w+) (\w+)$", site.metrics, re.M)
    return {name: kind for name, kind in found if not name.endswith("_created")}


def test_the_table_of_metrics(metrics: dict[str, str]) -> None:
    told = {code(name)[0].partition("{")[0]: kind for name, kind, _ in rows(OPERATIONS, "metric")}
    assert told == metrics


def test_metrics_that_are_named_are_there(metrics: dict[str, str]) -> None:
    named = {
        (path.name, name)
        for path in DOCUMENTS
        for name in re.findall(r"\bcomet_chat_\w+", path.read_text())
    }
    parts = ("", "_bucket", "_count", "_sum")
    there = {name + part for name in metrics for part in parts}
    assert {(path, name) for path, name in named if name not in there} == set()


def test_the_page_of_performance() -> None:
    """Its figures are those of the results that are committed with it."""
    command = [sys.executable, "-m", "benchmarks.report", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


# -- links


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(document: Path) -> None:
    text = re.sub(r"<!--.*?-->|^```.*?^```$", "", document.read_text(), flags=re.S | re.M)
    text = re.sub(r"`[^`\n]*`", "`code`", text)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def anchors(document: Path) -> set[str]:
    """The anchors that a document's headings get."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}
