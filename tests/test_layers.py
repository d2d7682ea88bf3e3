"""The shape of the house, kept by reading every import: they only go down, without circles.

service > daemon | web > gateways > bayeux, chat > transports, log > events, comet, lookalikes >
errors. The test shows that it
can fail, on trees with one planted fault each.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import attrs
import pytest

from tests.sources import PACKAGE, nodes_of, tree_of
from tests.support import ROOT

NAME = "cometd_chat"

#: What each room may import of ours, besides itself and the ground floor.
ROOMS = {
    "events": set[str](),
    "comet": set[str](),
    "lookalikes": set[str](),
    "log": {"events", "comet", "lookalikes"},
    "transports": {"events", "comet"},
    "fastlane": {"events", "comet", "transports"},
    "chat": {"events", "comet", "log", "lookalikes"},
    "bayeux": {"events", "comet", "log", "transports"},
    "gateways": {"events", "comet", "log", "transports", "chat", "bayeux"},
    "web": {"events", "comet", "log", "transports", "fastlane", "chat", "bayeux", "gateways"},
    "daemon": {"transports", "bayeux"},
}

#: The modules beside the rooms that join things; they may import everything, and each other.
ROOF = {
    "service",
    "plugin",
    "shell_alone",
    "shell_command",
    "shell_table",
    "copy_command",
    "storage",
    "chat_parts",
    "site_parts",
    "peering",
    "worker",
    "__main__",
}

# Every other module beside the rooms (errors, say) is ground floor: all may import it, and it may
# import nothing of ours that isn't ground floor, too.
GROUND = "the ground floor"

#: Libraries that have one place, and the rooms, or packages in a room, that are such a place.
ONLY_IN = {
    # And, in the chat, for what is changed in one transaction; see `cometd_chat.log.changes`.
    "sqlalchemy": {"log", "chat"},
    "alembic": {"log"},
    "psycopg": {"log.postgresql"},
    "klein": {"web"},
}

#: What the engine may not know.
NOT_IN_COMET = ("twisted.web", "json", "msgspec")

FORBIDDEN_NAMES = {"utils", "util", "manager", "base", "constants", "misc", "helpers", "common"}

REACTOR = "twisted.internet.reactor"

#: Imports that are part of a circle; those for annotations alone count, too. The list is exact: it
#: gets shorter when a circle is broken, and never longer.
KNOWN_CIRCLES = {
    "comet.context": {"comet.events", "comet.handler"},
    "comet.events": {"comet.context"},
    "comet.handler": {"comet.events"},
}


@attrs.frozen
class Import:
    """One imported name, as in ``from twisted.internet import reactor``."""

    name: str
    line: int
    at_module_level: bool


def imports(path: Path, package: str) -> Sequence[Import]:
    """Everything that a module imports, anywhere in it.

    :param package: the dotted name of the package in which the module is.
    """
    return _imports(path.read_bytes(), package)


#: What imports may stand in: they are statements, so that no expression is looked into.
BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")


@cache
def _imports(source: bytes, package: str) -> Sequence[Import]:
    def visit(node: ast.AST, at_module_level: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_module_level)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            relative = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*relative, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(f"{module}.{alias.name}", node.lineno, at_module_level)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for block in BLOCKS:
            for child in getattr(node, block, ()):
                yield from visit(child, at_module_level and not inside)

    return tuple(visit(tree_of(source), True))


def is_in(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def storey(part: str) -> str:
    """Where a module or package directly below ours belongs."""
    return part if part in ROOMS or part in ROOF else GROUND


def faults(package: Path) -> list[str]:
    """Every breach of the house's rules, as ``path:line: what is wrong``."""
    found = []
    for path in sorted(package.rglob("*.py")):
        inner = path.relative_to(package)
        parts = inner.with_suffix("").parts
        for part in parts:
            if part in FORBIDDEN_NAMES:
                found.append(f"{inner}: {part} is a name that says nothing")
        home = storey(parts[0])
        for each in imports(path, ".".join([NAME, *inner.parent.parts])):
            texts = faults_of(each, home, ".".join(parts))
            found.extend(f"{inner}:{each.line}: {text}" for text in texts)
    return found


def faults_of(each: Import, home: str, module: str) -> Iterator[str]:
    if is_in(each.name, REACTOR) and each.at_module_level and module != "service":
        yield "imports the reactor at module level; let it come in by the constructor"
    for library, homes in ONLY_IN.items():
        if is_in(each.name, library) and not any(is_in(module, place) for place in homes):
            yield f"imports {library}, whose place is {' and '.join(sorted(homes))}"
    for library in NOT_IN_COMET:
        if home == "comet" and is_in(each.name, library):
            yield f"imports {library}, which the engine may not know"
    if not is_in(each.name, NAME) or home in ROOF:
        return
    # A name of the package itself, such as its version, is ground floor.
    _, *inner = each.name.split(".")
    target = storey(inner[0]) if inner else GROUND
    if target not in ({GROUND, home} | ROOMS.get(home, set())):
        yield f"{home} imports {each.name}, which is not below it"


def graph(package: Path) -> dict[str, set[str]]:
    """Which modules each module imports, by their names below the package."""
    found: dict[str, set[str]] = {}
    names = {module(path.relative_to(package)): path for path in package.rglob("*.py")}
    for name, path in names.items():
        inside = ".".join([NAME, *path.relative_to(package).parent.parts])
        found[name] = set()
        for each in imports(path, inside):
            target = each.name.removeprefix(NAME + ".") if is_in(each.name, NAME) else ""
            while target and target not in names:
                target = target.rpartition(".")[0]
            if target and target != name:
                found[name].add(target)
    return found


def module(inner: Path) -> str:
    parts = inner.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)


def circles(edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The imports by which a module leads back to itself."""
    leads_to = {name: reachable(edges, name) for name in edges}
    parts = {
        name: {target for target in targets if name in leads_to[target]}
        for name, targets in edges.items()
    }
    return {name: targets for name, targets in parts.items() if targets}


def reachable(edges: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = edges[ahead.pop()] - found
        found |= new
        ahead.extend(new)
    return found


def test_imports_only_go_down() -> None:
    assert faults(PACKAGE) == []


def test_imports_do_not_go_round() -> None:
    assert circles(graph(PACKAGE)) == KNOWN_CIRCLES


def python_files(pattern: str) -> list[Path]:
    """Ours: those of the packages of npm, thousands of folders, are not even looked for."""
    tests = ROOT / "tests"
    folders = [each for each in tests.iterdir() if each.is_dir() and each.name != "node_modules"]
    below = (path for folder in folders for path in folder.rglob(pattern))
    return sorted([*tests.glob(pattern), *below])


def real_tests() -> list[Path]:
    """The files and folders that the Makefile calls real."""
    makefile = (ROOT / "Makefile").read_text()
    (line,) = re.findall(r"^REAL := (.*)$", makefile, re.M)
    found = [ROOT / name for name in line.split()]
    assert all(path.exists() for path in found)
    return found


def test_real_tests_are_collected_without_a_site() -> None:
    """Each of the workers collects all of them: with what a site imports, in twice the time. Who
    needs that imports it where it is needed."""
    real = real_tests()
    tests = [
        path
        for path in python_files("test_*.py")
        if any(path.is_relative_to(each) for each in real)
    ]
    assert [f"{path.relative_to(ROOT)}: {each}" for path in tests for each in dear(path)] == []


#: What takes long to import, of what only a site, or its log, needs.
DEAR = {"alembic", "jinja2", "klein", "sqlalchemy"}


@cache
def dear(path: Path) -> frozenset[str]:
    """Which of `DEAR` are imported when a file is."""
    found: set[str] = set()
    seen: set[Path] = set()
    ahead = [path]
    while ahead:
        path = ahead.pop()
        if path in seen:
            continue
        seen.add(path)
        root = PACKAGE.parent if path.is_relative_to(PACKAGE) else ROOT
        for each in imports(path, ".".join(path.relative_to(root).parent.parts)):
            if each.at_module_level:
                found |= DEAR.intersection(each.name.split(".")[:1])
                ahead += files_of(each.name)
    return frozenset(found)


def files_of(name: str) -> Iterator[Path]:
    """The files of ours that are run when something is imported."""
    parts = name.split(".")
    root = {NAME: PACKAGE.parent, "tests": ROOT}.get(parts[0])
    if root is None:
        return
    for count in range(1, len(parts) + 1):
        path = root.joinpath(*parts[:count])
        yield from (
            each for each in (path / "__init__.py", path.with_suffix(".py")) if each.exists()
        )


def test_tests_in_memory_start_no_daemon_and_no_browser() -> None:
    """``make check`` runs all but those that the Makefile calls real."""
    real = real_tests()
    starts = [
        f"{path.relative_to(ROOT)}: {each.name}"
        for path in python_files("test_*.py")
        if not any(path.is_relative_to(each) for each in real)
        # Most do not so much as name what is looked for.
        if re.search(rb"\bplaywright\b|\bDaemon\b", path.read_bytes())
        for each in imports(path, ".".join(path.relative_to(ROOT).parent.parts))
        if is_in(each.name, "playwright") or each.name == "tests.support.Daemon"
    ]
    assert starts == []


def test_no_client_for_threads_speaks_tls() -> None:
    """`tests.daemon.tls_websocket` says why, and does it by another."""
    for_threads = [
        path
        for path in python_files("*.py")
        if any(is_in(each.name, "websockets.sync") for each in imports(path, ""))
    ]
    assert for_threads
    assert [str(path.relative_to(ROOT)) for path in for_threads if speaks_tls(path)] == []


def speaks_tls(path: Path) -> bool:
    """Whether it says so, by a URL or the context that a connection is opened with."""
    return any(
        (isinstance(node, ast.keyword) and node.arg in ("ssl", "ssl_context"))
        or (isinstance(node, ast.Constant) and "wss:" in str(node.value))
        for node in nodes_of(path.read_bytes())
    )


def test_the_plugin_imports_nothing_of_ours() -> None:
    plugin = PACKAGE.parent / "twisted" / "plugins" / "comet_chat_plugin.py"
    assert [each.name for each in imports(plugin, "") if is_in(each.name, NAME)] == []


GOOD = {
    "__init__.py": "",
    "errors.py": "import attrs",
    "comet/engine.py": "from ..errors import NotFound\nfrom .reaper import Reaper",
    "log/sql.py": "import sqlalchemy\nfrom alembic import command\nfrom cometd_chat import errors",
    "log/postgresql/ears.py": "from psycopg import pq",
    "chat/rooms.py": "from cometd_chat.log.log import Draft\nfrom ..comet import CometEngine",
    "web/app.py": "from klein import Klein\nfrom cometd_chat.chat import rooms",
    "service.py": "from twisted.internet import reactor\nfrom .web import app",
    "__main__.py": "def main():\n    from twisted.internet import reactor\nfrom . import service",
}

FAULTY = [
    ("comet/engine.py", "from cometd_chat.chat import rooms", "comet imports cometd_chat.chat"),
    ("comet/engine.py", "from cometd_chat import log", "comet imports cometd_chat.log"),
    ("comet/engine.py", "import cometd_chat.log.log", "comet imports cometd_chat.log"),
    ("comet/engine.py", "from .. import log", "comet imports cometd_chat.log"),
    ("comet/engine.py", "from ..log import log", "comet imports cometd_chat.log"),
    ("comet/__init__.py", "from ..log import log", "comet imports cometd_chat.log"),
    ("log/schema/env.py", "from ...chat import rooms", "log imports cometd_chat.chat"),
    (
        "comet/engine.py",
        "def f():\n    from cometd_chat import chat",
        "comet imports cometd_chat.c",
    ),
    ("comet/engine.py", "from twisted.web import server", "may not know"),
    ("comet/engine.py", "import twisted.web.server", "may not know"),
    ("comet/engine.py", "import json", "may not know"),
    ("comet/engine.py", "import msgspec", "may not know"),
    ("transports/held.py", "from cometd_chat.log import log", "transports imports"),
    ("log/sql.py", "from cometd_chat.transports import held", "log imports"),
    ("chat/rooms.py", "from cometd_chat.web import app", "chat imports"),
    ("chat/rooms.py", "from cometd_chat.bayeux import meta", "chat imports"),
    ("bayeux/meta.py", "from cometd_chat.chat import rooms", "bayeux imports"),
    ("web/app.py", "from cometd_chat.service import Settings", "web imports"),
    ("web/app.py", "from cometd_chat.daemon.settings import Settings", "web imports"),
    ("errors.py", "from cometd_chat.comet import CometEngine", "ground floor imports"),
    ("__init__.py", "from .service import makeService", "ground floor imports"),
    ("web/api.py", "import sqlalchemy.orm", "whose place is chat and log"),
    ("service.py", "from alembic.config import Config", "whose place is log"),
    ("log/sql.py", "import psycopg.errors", "whose place is log.postgresql"),
    ("service.py", "from klein import Klein", "whose place is web"),
    ("web/app.py", "from twisted.internet import reactor", "the reactor at module level"),
    ("web/app.py", "import twisted.internet.reactor", "the reactor at module level"),
    ("log/sql.py", "class C:\n    from twisted.internet import reactor", "the reactor at module"),
    ("log/sql.py", "try:\n    from twisted.internet.reactor import run\nfinally: pass", "reactor"),
    (
        "log/sql.py",
        "try:\n    pass\nexcept ImportError:\n    from twisted.internet import reactor",
        "the reactor at module",
    ),
    ("log/sql.py", "if 1:\n    pass\nelse:\n    import twisted.internet.reactor", "reactor"),
    ("log/sql.py", "match 1:\n    case 1:\n        import twisted.internet.reactor", "reactor"),
    ("log/sql.py", "with a:\n    for b in c:\n        import twisted.internet.reactor", "reactor"),
    ("web/service.py", "from twisted.internet import reactor", "the reactor at module level"),
    ("chat/utils.py", "", "says nothing"),
    ("base/rooms.py", "", "says nothing"),
    ("manager.py", "", "says nothing"),
]


def plant(root: Path, tree: dict[str, str]) -> Path:
    package = root / NAME
    for name, text in tree.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


def test_a_good_house_has_no_fault(tmp_path: Path) -> None:
    assert faults(plant(tmp_path, GOOD)) == []


@pytest.mark.parametrize(("name", "text", "fault"), FAULTY)
def test_each_planted_fault_is_found(tmp_path: Path, name: str, text: str, fault: str) -> None:
    found = faults(plant(tmp_path, {**GOOD, name: text}))
    assert len(found) == 1
    assert fault in found[0]
    assert found[0].startswith(name)


CIRCLES = [
    ({"chat/a.py": "from .b import B", "chat/b.py": "from cometd_chat.chat.a import A"}, "chat.b"),
    ({"chat/a.py": "from . import b", "chat/b.py": "def f():\n    from . import a"}, "chat.b"),
    ({"chat/a.py": "import cometd_chat.chat.b", "chat/b.py": "from .a import A"}, "chat.b"),
    (
        {
            "chat/a.py": "from .c import C",
            "chat/b.py": "from .a import A",
            "chat/c.py": "if TYPE_CHECKING:\n    from .b import B",
        },
        "chat.c",
    ),
    ({"chat/__init__.py": "from .a import A", "chat/a.py": "from .. import chat"}, "chat"),
]


@pytest.mark.parametrize(("tree", "target"), CIRCLES)
def test_a_planted_circle_is_found(tmp_path: Path, tree: dict[str, str], target: str) -> None:
    assert circles(graph(plant(tmp_path, {**GOOD, "chat/d.py": "from .a import A"}))) == {}
    found = circles(graph(plant(tmp_path, {**GOOD, **tree, "chat/d.py": "from .a import A"})))
    assert found["chat.a"] == {target}
    assert found.keys() <= {name.removesuffix(".py").replace("/", ".") for name in tree} | {"chat"}
