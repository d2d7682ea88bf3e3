"""The files that pages load: scripts, styles, pictures.

What it is: the package's ``static`` folder, read once.

What it may know: files of the package. Not requests from anybody in particular.

Invariant: only what is in the package is ever served, by exact name.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files

import attrs

_KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


@attrs.frozen
class StaticFile:
    """A file.

    :param etag: its entity tag, of its content.
    """

    kind: str
    body: bytes
    etag: bytes


def static_files() -> dict[str, StaticFile]:
    """All static files, by name."""
    found: dict[str, StaticFile] = {}
    for each in files("cometd_chat.web").joinpath("static").iterdir():
        suffix = "." + each.name.rpartition(".")[2]
        if suffix in _KINDS:
            body = each.read_bytes()
            etag = b'"%s"' % sha256(body).hexdigest()[:20].encode()
            found[each.name] = StaticFile(_KINDS[suffix], body, etag)
    return found
