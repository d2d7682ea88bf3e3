"""What ``setup.py`` asks for is what the package imports, and ``constraints.txt`` pins it."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions

from tests.sources import PACKAGE, nodes_of
from tests.support import ROOT


def normal(name: str) -> str:
    """The name of a distribution, spelt in one way (the packaging user guide's)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> dict[str, str]:
    """What ``setup.py`` asks for, with what its extra for another database asks for: the versions
    by the name."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    found = {
        keyword.arg: ast.literal_eval(keyword.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg in ("install_requires", "extras_require")
    }
    asked: dict[str, str] = {}
    for each in [*found["install_requires"], *found["extras_require"]["postgresql"]]:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[\w+\])?(.*)", each)
        assert match is not None, each
        asked[normal(match[1])] = match[2]
    return asked


def imported() -> set[str]:
    """The distributions whose modules the package imports, anywhere in it."""
    modules: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in nodes_of(path.read_bytes()):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                modules.add(node.module)
    foreign = {name.partition(".")[0] for name in modules} - {"cometd_chat"}
    foreign -= set(sys.stdlib_module_names)
    by_module = packages_distributions()
    found = {normal(name) for module in foreign for name in by_module[module]}
    # Our plugin stands in Twisted's own package. Several distributions share the name `zope`; what
    # is imported of it is in one of them.
    return {name for name in found - {"cometd-chat"} if not name.startswith("zope-")} | {
        normal(".".join(name.split(".")[:2])) for name in modules if name.startswith("zope.")
    }


def pinned() -> dict[str, str]:
    """The versions of ``constraints.txt``, the last one of each name."""
    lines = re.findall(
        r"^([A-Za-z0-9._-]+)==([^;\s]+)", (ROOT / "constraints.txt").read_text(), re.M
    )
    return {normal(name): version for name, version in lines}


def test_what_is_imported_is_asked_for_and_nothing_else() -> None:
    assert imported() == set(requirements())


def test_all_of_it_is_pinned() -> None:
    assert set(requirements()) <= set(pinned())


def test_twisteds_next_major_is_kept_out() -> None:
    """What it is inside (`transports.twisted_internals`) may be another one there."""
    major = int(pinned()["twisted"].partition(".")[0])
    assert requirements()["twisted"].endswith(f",<{major + 1}")
