"""Packages of npm for tests, exactly as a ``package-lock.json`` says, in a cache that is kept.

What it is: `install` makes a folder with a ``node_modules`` and the programs that use it.

What it may know: npm's command line.

Invariant: a folder of the cache belongs to one lock file for ever, and one process fills it while
others wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest


def install(programs: Path) -> Path:
    """A folder with the packages of a lock file, and a copy of the programs beside it.

    :param programs: has ``package.json``, ``package-lock.json`` and modules named ``*.mjs``.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("This test needs Node.js and npm: apt-get install nodejs npm.")
    lock = (programs / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "comet-chat" / f"node-{hashlib.sha256(lock).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        if not (folder / "node_modules" / ".package-lock.json").exists():
            _fill(folder, programs, npm)
        # Modules are looked for beside the program. One that is being read is left alone.
        for program in programs.glob("*.mjs"):
            copy, content = folder / program.name, program.read_bytes()
            if not copy.exists() or copy.read_bytes() != content:
                copy.write_bytes(content)
    return folder


def _fill(folder: Path, programs: Path, npm: str) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(programs / name, folder)
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
