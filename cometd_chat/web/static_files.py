"""The files that pages load: scripts, styles, pictures.

What it is: the package's ``static`` folder, read once in a process, each file also compressed, and
each script also joined with all that it imports.

What it may know: files of the package. Not requests from anybody in particular.

Invariant: only what is in the package is ever served, by exact name. An address with the version in
it always means the same bytes, so that a browser need not ask again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files

import attrs

from cometd_chat.web import compression, modules

_KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}

#: Scripts that are no modules.
_CLASSIC = frozenset({"theme.js"})


@attrs.frozen
class Body:
    """A file's bytes as they are sent.

    :param etag: their entity tag, of their content.
    """

    data: bytes
    etag: bytes


@attrs.frozen
class StaticFile:
    """A file.

    :param packed: the same compressed, where that is smaller.
    """

    kind: str
    body: Body
    packed: Body | None


@attrs.frozen
class StaticFiles:
    """All files.

    :param version: changes with whatever is in any of them.
    :param named: as they were written, by name.
    :param joined: scripts with all that they import in them, and all else as it is, by name.
    """

    version: str
    named: Mapping[str, StaticFile]
    joined: Mapping[str, StaticFile]

    @property
    def folder(self) -> str:
        """The path below which the joined ones are."""
        return f"/static/{self.version}"


@cache
def static_files() -> StaticFiles:
    """All static files."""
    found: dict[str, bytes] = {}
    for each in files("cometd_chat.web").joinpath("static").iterdir():
        if _suffix(each.name) in _KINDS:
            found[each.name] = each.read_bytes()
    sources = {
        name.removesuffix(".js"): data.decode()
        for name, data in found.items()
        if name.endswith(".js") and name not in _CLASSIC
    }
    scripts = {f"{name}.js": modules.join(name, sources).encode() for name in sources}
    joined = found | scripts
    version = _digest(b"".join(joined[name] for name in sorted(joined)))
    return StaticFiles(version, _prepare(found), _prepare(joined))


def _prepare(contents: Mapping[str, bytes]) -> dict[str, StaticFile]:
    return {name: _file(name, data) for name, data in contents.items()}


def _file(name: str, data: bytes) -> StaticFile:
    packed = compression.packed(data)
    smaller = _body(packed) if len(packed) < len(data) else None
    return StaticFile(_KINDS[_suffix(name)], _body(data), smaller)


def _body(data: bytes) -> Body:
    return Body(data, b'"%s"' % _digest(data).encode())


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:20]


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]
