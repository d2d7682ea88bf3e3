"""What the machine gives this process.

What it is: how much memory there is for it, by the machine and by its control groups, and how much
of that may be held for connections.

What it may know: Linux's /proc and /sys; what the options say.

Invariant: what can't be read is as if it were not there; there is always an answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cometd_chat.daemon.option_values import Percent
from cometd_chat.daemon.settings import Settings

#: A share of the memory is never less, in bytes.
LEAST_MEMORY = 16 * 2**20

#: Where a hierarchy of control groups is mounted, and the limits in each of its directories: of
#: version 2 (and what is below it in a mixed system), and of version 1.
_V2 = (("", "unified"), ("memory.max", "memory.high"))
_V1 = (("memory",), ("memory.limit_in_bytes",))


def memory_ceiling(settings: Settings) -> int:
    """Bytes that may be held for all connections together."""
    ceiling = settings.memory_ceiling
    if isinstance(ceiling, Percent):
        return max(LEAST_MEMORY, int(memory_limit() * ceiling.value / 100))
    return ceiling


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes of memory that the process can have: the machine's, or as many as the least of its
    control groups allows. (cgroups(7); a group's limit holds for all that are below it.)

    :param root: of the file system, for tests.
    """
    return min([_physical(), *_of_groups(root)])


def _physical() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_groups(root: Path) -> Iterator[int]:
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and "memory" not in controllers.split(","):
            continue
        mounts, names = _V2 if number == "0" else _V1
        for mount in mounts:
            yield from _along(root / "sys/fs/cgroup" / mount, path, names)


def _along(mount: Path, path: str, names: tuple[str, ...]) -> Iterator[int]:
    """The limits of a group and of all above it. In a container the group itself may be what is
    mounted, so that its path leads nowhere, and the first one is the one that counts."""
    group = PurePosixPath("/", path.lstrip("/"))
    for each in (group, *group.parents):
        directory = mount / str(each).lstrip("/")
        for name in names:
            text = _read(directory / name).strip()
            # "max" is no limit; version 1 writes a number that is more than any memory.
            if text.isascii() and text.isdigit() and int(text) > 0:
                yield int(text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
