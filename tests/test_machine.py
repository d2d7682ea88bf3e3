"""How much memory there is: what the machine has, and what its control groups leave of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cometd_chat.daemon.machine import memory_limit

MIB = 2**20
PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

#: What stands in /proc/self/cgroup, in which file below /sys/fs/cgroup a limit is, and the limit.
GROUPS = {
    "version 2": ("0::/a/b\n", {"a/b/memory.max": "1048576\n"}, MIB),
    "the least of all above": (
        "0::/a/b\n",
        {"a/b/memory.max": "max\n", "a/memory.max": "3145728\n", "memory.max": "4194304\n"},
        3 * MIB,
    ),
    "what makes it wait is a limit": (
        "0::/a\n",
        {"a/memory.max": "2097152\n", "a/memory.high": "1048576\n"},
        MIB,
    ),
    "version 1": (
        "5:cpu,cpuacct:/x\n4:memory:/a\n1:name=systemd:/a\n0::/\n",
        {"memory/a/memory.limit_in_bytes": "1048576\n", "memory/x/memory.limit_in_bytes": "1\n"},
        MIB,
    ),
    "a container that sees only its own group": (
        "4:memory:/docker/0123\n",
        {"memory/memory.limit_in_bytes": "1048576\n"},
        MIB,
    ),
    "no limit of version 1": (
        "4:memory:/\n",
        {"memory/memory.limit_in_bytes": "9223372036854771712\n"},
        PHYSICAL,
    ),
    "none of version 2": ("0::/a\n", {"a/memory.max": "max\n"}, PHYSICAL),
    "nothing that could be read": ("", {}, PHYSICAL),
    "nonsense": ("nonsense\n0::\n7:memory\n", {"memory.max": "\xff\n"}, PHYSICAL),
}


@pytest.mark.parametrize("name", GROUPS)
def test_the_least_of_all_limits(name: str, tmp_path: Path) -> None:
    said, files, limit = GROUPS[name]
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(said)
    for path, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert memory_limit(tmp_path) == limit


def test_of_this_machine() -> None:
    assert 64 * MIB < memory_limit() <= PHYSICAL
