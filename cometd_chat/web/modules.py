"""ES modules, joined to one file.

What it is: from the scripts as they are written to one script that holds a page's module and all
that it imports, each in a scope of its own. A page then costs one request for its scripts, and
there still is no build step: the daemon joins them when it starts.

What it may know: the forms of ``import`` and ``export`` that our scripts use, which are named
imports, named exports and re-exports, each at the beginning of a line. Not HTTP.

Invariant: joined or not, the scripts do the same. What can't be joined is refused, not guessed:
a text of several lines among it, whose indentation would be left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+)\.js";$', re.MULTILINE)
_RE_EXPORT = re.compile(r'^export \{([^}]*)\} from "\./([\w-]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function|class|const) ([\w$]+)", re.MULTILINE)
_UNKNOWN = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)

#: Comments that are lines of their own; what stands beside code stays.
_BLOCK = re.compile(r"^[ \t]*/\*(?:(?!\*/).)*\*/[ \t]*\n", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^[ \t]*//.*\n", re.MULTILINE)

#: How far a line is indented, which means something only within a text of several lines.
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)


class CannotJoin(Exception):
    """A script has a form that isn't joined here."""


def join(entry: str, sources: Mapping[str, str]) -> str:
    """A module and all that it imports, as one module with the same exports.

    :param entry: its name, without ``.js``.
    :param sources: all modules, by such names.
    :raises CannotJoin: one of them has another form, or they import each other in a circle.
    """
    order: dict[str, None] = {}
    _visit(entry, sources, order, ())
    parts = [_wrapped(name, sources[name]) for name in order]
    exported = list(_exports(sources[entry]))
    if exported:
        parts.append(f"export const {{ {', '.join(exported)} }} = ${entry};\n")
    return "".join(parts)


def _visit(
    name: str, sources: Mapping[str, str], order: dict[str, None], above: tuple[str, ...]
) -> None:
    """Note a module after all that it imports."""
    if name in above:
        raise CannotJoin(f"{' > '.join((*above, name))}: these import each other")
    if name in order:
        return
    if name not in sources:
        raise CannotJoin(f"{above[-1]}.js imports {name}.js, which is not there")
    for pattern in (_IMPORT, _RE_EXPORT):
        for _, needed in pattern.findall(sources[name]):
            _visit(needed, sources, order, (*above, name))
    order[name] = None


def _wrapped(name: str, source: str) -> str:
    """A module as a constant that has its exports."""
    shown = [*_exports_of_its_own(source)]
    passed_on = [f"{each}: ${of}.{each}" for each, of in _passed_on(source)]
    text = _RE_EXPORT.sub("", source)
    text = _IMPORT.sub(lambda found: f"const {{{found[1]}}} = ${found[2]};", text)
    text = _EXPORT.sub(r"\1 \2", text)
    text = _LINE.sub("", _BLOCK.sub("", text))
    unknown = _UNKNOWN.search(text)
    if unknown is not None:
        raise CannotJoin(f"{name}.js: {unknown[0]}")
    for line in text.splitlines():
        if line.count("`") % 2:
            raise CannotJoin(f"{name}.js: a text of several lines: {line}")
    text = _INDENT.sub("", text)
    exports = ", ".join([*shown, *passed_on])
    return f"const ${name} = (() => {{\n{text.strip()}\nreturn {{ {exports} }};\n}})();\n"


def _exports(source: str) -> Iterator[str]:
    yield from _exports_of_its_own(source)
    for name, _ in _passed_on(source):
        yield name


def _exports_of_its_own(source: str) -> list[str]:
    return [name for _, name in _EXPORT.findall(source)]


def _passed_on(source: str) -> Iterator[tuple[str, str]]:
    """What a module exports of others: its name, and the module."""
    for those, of in _RE_EXPORT.findall(source):
        for each in those.split(","):
            if each.strip():
                yield each.strip(), of
