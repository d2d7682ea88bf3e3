"""Private names of Twisted's: all in one table, looked at once, and touched in one package."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import cast

import attrs
import pytest
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.web.http import HTTPChannel

import cometd_chat
from cometd_chat.daemon import self_check
from cometd_chat.daemon.lifecycle import CannotStart
from cometd_chat.daemon.settings import Settings
from cometd_chat.transports.twisted_internals import Feature, Name, missing
from cometd_chat.transports.twisted_internals.names import NAMES, used_by
from tests.memory import MemorySite
from tests.sources import PACKAGE, nodes_of
from tests.support import PATIENCE, ROOT

HOME = "cometd_chat.transports.twisted_internals"


class Bare:
    """A class of a Twisted that has renamed everything."""


def gone(name: Name) -> Name:
    """The same row, of a Twisted that no longer has it."""
    return attrs.evolve(name, owner=Bare)


class TestTable:
    def test_this_twisted_has_all_of_it(self) -> None:
        assert missing() == []

    @pytest.mark.parametrize("name", NAMES, ids=str)
    def test_what_is_gone_is_found(self, name: Name) -> None:
        assert missing([gone(each) if each is name else each for each in NAMES]) == [gone(name)]

    def test_each_row_is_there_once(self) -> None:
        assert len(set(NAMES)) == len({str(name) for name in NAMES}) == len(NAMES)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines of the log."""
    lines: list[str] = []

    def hear(event: LogEvent) -> None:
        if event.get("log_namespace") == "cometd_chat.daemon.self_check":
            lines.append(str(event["log_format"]).format(**event))

    observer = cast(ILogObserver, hear)
    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)


ASKED = Settings()


@pytest.mark.parametrize("name", [each for each in NAMES if Feature.HTTP in each.features], ids=str)
def test_without_its_bounds_no_daemon_starts(name: Name) -> None:
    with pytest.raises(CannotStart, match=rf"Bare\.{name.name}, without.*constraints\.txt"):
        self_check.report(ASKED, [gone(name)])


@pytest.mark.parametrize(
    "name", [each for each in NAMES if Feature.HTTP not in each.features], ids=str
)
def test_a_daemon_serves_without_what_can_be_left_out(name: Name, said: list[str]) -> None:
    self_check.report(ASKED, [gone(name)])
    settings = self_check.reduce(ASKED, [gone(name)])
    assert len(said) == len(name.features)
    assert settings.fast_lane == (Feature.FAST_LANE not in name.features)
    assert settings.direct_write == (Feature.DIRECT_WRITE not in name.features)
    assert ("--fast-lane is off" in "".join(said)) != settings.fast_lane
    assert ("--direct-write is off" in "".join(said)) != settings.direct_write
    with MemorySite(fast_lane=settings.fast_lane, direct_write=settings.direct_write) as site:
        stream = site.get("/api/v1/events/stream?rooms=lobby")
        site.say("hello")
        assert b"hello" in stream.body


def test_what_is_off_already_is_not_spoken_of(said: list[str]) -> None:
    off = attrs.evolve(ASKED, fast_lane=False, direct_write=False)
    names = [name for name in NAMES if {Feature.FAST_LANE, Feature.DIRECT_WRITE} & {*name.features}]
    self_check.report(off, [gone(name) for name in names if Feature.EXTRA not in name.features])
    assert said == []


#: A Twisted that has renamed some of what is in the table, wherever it stands in its source. What a
#: site needs besides takes as long to import, so that it is there before, for all that are tried.
#: It is what is installed, which is compiled; only the tests are the checkout's.
RENAMED = """
import json, os, re, sys
from importlib import import_module
from importlib.machinery import PathFinder, SourceFileLoader

for name in ("alembic.command", "argon2", "h11", "jinja2", "msgspec", "OpenSSL.SSL", "precis_i18n",
             "prometheus_client", "pytest", "segno", "service_identity.pyopenssl",
             "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite", "werkzeug.routing",
             "wsproto", "zope.interface"):
    import_module(name)
assert "twisted" not in sys.modules

done = []
for old in sys.argv[1:]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        break
    os.close(writing)
    with open(reading) as output:
        said = output.read()
    done.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said])
else:
    print(json.dumps(done))
    sys.exit()

PATTERN = re.compile(r"\\b(" + "|".join(old.split(",")) + r")\\b")

class Renaming(SourceFileLoader):
    def get_code(self, fullname):
        source = self.get_data(self.path).decode()
        if not PATTERN.search(source):
            return super().get_code(fullname)
        return compile(PATTERN.sub(r"\\1_of_late", source), self.path, "exec")

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target) if name.startswith("twisted.") else None
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = Renaming(spec.loader.name, spec.loader.path)
            return spec

sys.meta_path.insert(0, Finder)

from cometd_chat.daemon import self_check
from cometd_chat.daemon.settings import Settings
from cometd_chat.transports.twisted_internals import missing

gone = missing()
assert gone, "nothing is missing"
self_check.report(Settings(), gone)
settings = self_check.reduce(Settings(), gone)

# Not before: who is refused needs none of it.
from tests.memory import MemorySite

print("fast lane", settings.fast_lane, "direct write", settings.direct_write)
with MemorySite(fast_lane=settings.fast_lane, direct_write=settings.direct_write) as site:
    stream = site.get("/api/v1/events/stream?rooms=lobby")
    token = site.log_in("bob")
    connection = site.connect()
    path = "/api/v1/rooms/lobby/messages"
    for text in ("one", "two"):
        posted = connection.request("POST", path, json={"text": text}, token=token)
        assert posted.status == 201, posted.text
    heard = [text for text in ("one", "two") if text.encode() in stream.body]
print("heard", *heard)
"""


def private(feature: Feature) -> list[str]:
    """Names that no daemon needs to serve, as they stand in Twisted's source."""
    needed = {name.name for name in NAMES if Feature.HTTP in name.features}
    names = {name.name for name in NAMES if feature in name.features} - needed
    return sorted(each.removeprefix("_HTTPChannel") for each in names if each.startswith("_"))


#: What bounds rest on.
NEEDED = ["_tempDataLen", "_dataBuffer"]

RunWithout = Callable[[Sequence[str]], tuple[int, str]]


@pytest.fixture(scope="module")
def run_without(tmp_path_factory: pytest.TempPathFactory) -> RunWithout:
    """How a daemon in memory ends, and what it says, on a Twisted that has renamed some names."""
    tried = [private(Feature.FAST_LANE), private(Feature.EXTRA), NEEDED]
    run = subprocess.run(
        [sys.executable, "-c", RENAMED, *map(",".join, tried)],
        cwd=tmp_path_factory.mktemp("nothing"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(ROOT)])},
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    ends = json.loads(run.stdout)
    return lambda names: tuple(ends[tried.index(list(names))])


@pytest.mark.parametrize("feature", [Feature.FAST_LANE, Feature.EXTRA])
def test_a_twisted_that_has_renamed_them_is_served_by(
    feature: Feature, run_without: RunWithout
) -> None:
    """Its source is rewritten while it is imported, so that nothing of the old name is left."""
    status, said = run_without(private(feature))
    assert status == 0, said
    assert "heard one two" in said
    # Both need to know when a head begins.
    assert "fast lane False direct write True" in said


def test_a_twisted_that_has_renamed_what_bounds_rest_on_is_refused(run_without: RunWithout) -> None:
    status, said = run_without(NEEDED)
    assert status != 0
    assert "has no HTTPChannel._dataBuffer, FileDescriptor._tempDataLen, without" in said


# -- nothing of the kind stands anywhere else


def modules() -> Iterator[ModuleType]:
    """All modules of ours, but those in which private names have their place."""
    for each in walk_packages(cometd_chat.__path__, "cometd_chat."):
        if not each.name.startswith(HOME) and "schema" not in each.name:
            yield import_module(each.name)


@cache
def own_names() -> set[str]:
    """Private names that classes and modules of ours define themselves."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if "twisted_internals" in path.parts:
            continue
        for node in nodes_of(path.read_bytes()):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                    found.add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return found


def private_uses(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str, bool]]:
    """Private names that are used: the line, the name, and whether it is one of `self`'s."""
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            # What `super()` has is Twisted's as much as what an object of Twisted's has.
            yield node.lineno, node.attr, own
        elif isinstance(node, ast.FunctionDef):
            yield node.lineno, node.name, True


def faults_in(
    nodes: Iterable[ast.AST], twisted_names: set[str], ours: set[str], where: str
) -> list[str]:
    """Uses of Twisted's private names.

    :param twisted_names: those that the table has of the Twisted classes that are subclassed here.
    """
    table = {name.name for name in NAMES if name.name.startswith("_")}
    return [
        f"{where}:{line}: {name}"
        for line, name, own in private_uses(nodes)
        if (name in twisted_names if own else name in table and name not in ours)
    ]


def inherited(kind: type) -> set[str]:
    """Private names that a class has or uses, as far as they are Twisted's."""
    owners = [each for each in kind.__mro__ if each.__module__.startswith("twisted.")]
    return set().union(*map(private_names, owners))


@cache
def private_names(owner: type) -> set[str]:
    """Those that a class of Twisted's has or uses."""
    found = {name for name in dir(owner) if name.startswith("_") and not name.endswith("__")}
    return found | {name for name in used_by(owner) if name.startswith("_") and name[:2] != "__"}


def test_no_private_name_of_twisteds_is_used_elsewhere() -> None:
    ours = own_names()
    faults: list[str] = []
    looked_at = 0
    for module in modules():
        path = Path(inspect.getfile(module))
        nodes = nodes_of(path.read_bytes())
        faults += faults_in(nodes, set(), ours, path.name)
        classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == module.__name__:
                names = inherited(kind)
                if names:
                    looked_at += 1
                    inside = ast.walk(classes[kind.__name__])
                    faults += faults_in(inside, names, ours, kind.__name__)
    assert faults == []
    assert looked_at > 5


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(channel):\n    return channel._dataBuffer", "x:2: _dataBuffer"),
        ("class C(HTTPChannel):\n    def f(self):\n        self._command", "x:3: _command"),
        ("class C(HTTPChannel):\n    def _busyReceiving(self): ...", "x:2: _busyReceiving"),
        (
            "class C(HTTPChannel):\n    def f(self):\n        super()._failChooseTransferDecoder()",
            "x:3: _failChooseTransferDecoder",
        ),
        ("setting = endpoint._sslContextFactory._cipherString", "x:1: _cipherString"),
    ],
)
def test_a_planted_use_is_found(source: str, fault: str) -> None:
    assert fault in faults_in(nodes_of(source.encode()), inherited(HTTPChannel), own_names(), "x")


def test_what_a_class_of_ours_calls_its_own_is_no_fault() -> None:
    source = "class C:\n    def f(self):\n        self._dataBuffer = self._command"
    assert faults_in(nodes_of(source.encode()), inherited(object), own_names(), "x") == []
