"""What a user gets from ``pip install .``: tried in a virtual environment, from other directories.

When the running Python has a normal install, as under ``make test``, that one is looked at. Else
one is made that borrows the running Python's libraries, so that nothing has to be downloaded.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

import cometd_chat
from tests.support import PATIENCE, ROOT, environment

INSTALL_PATIENCE = 120.0

#: Parts of the checkout that an install is made of.
SOURCES = ("cometd_chat", "twisted", "setup.py", "pyproject.toml", "README.md", "MANIFEST.in")

#: The twistd command, for an environment that has Twisted but not its commands.
TWISTD = "from twisted.scripts.twistd import run; run()"


def installed_normally() -> bool:
    """Whether the running Python took the package from site-packages, and not as editable."""
    if ROOT / "cometd_chat" in Path(cometd_chat.__file__).parents:
        return False
    try:
        origin = metadata.distribution("cometd-chat").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return False
    return not (origin and json.loads(origin).get("dir_info", {}).get("editable", False))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has the package the way users have it."""
    if installed_normally():
        return sys.executable
    directory = tmp_path_factory.mktemp("install")
    source = directory / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    call(sys.executable, "-m", "venv", "--without-pip", str(directory / "venv"))
    python = str(directory / "venv" / "bin" / "python")
    where = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(where, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    call(*pip, "install", "--quiet", "--no-deps", "--no-build-isolation", str(source))
    return python


def call(*command: str) -> str:
    """Run a command away from the checkout; what it prints."""
    environ = environment()
    environ.pop("PYTHONPATH", None)
    done = subprocess.run(
        command, cwd="/", env=environ, capture_output=True, text=True, timeout=INSTALL_PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_twistd_finds_the_daemon_from_any_directory(python: str) -> None:
    listed = call(python, "-c", TWISTD, "--help")
    assert re.search(r"^ +comet-chat +A chat ", listed, re.MULTILINE)
    assert "--expiration-delay=" in call(python, "-c", TWISTD, "comet-chat", "--help")


def test_the_console_script(python: str, tmp_path: Path) -> None:
    script = str(Path(python).parent / "comet-chat")
    assert "--expiration-delay=" in call(script, "--help")
    assert "--expiration-delay=" in call(python, "-m", "cometd_chat", "--help")
    environ = environment()
    environ.pop("PYTHONPATH", None)
    done = subprocess.run(
        [script, "--limits=perhaps"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "comet-chat: --limits 'perhaps': give on or off\n"
    assert list(tmp_path.iterdir()) == []


def test_every_file_of_the_package_is_installed(python: str) -> None:
    where = call(python, "-c", "import cometd_chat; print(cometd_chat.__path__[0])").strip()
    assert not Path(where).is_relative_to(ROOT / "cometd_chat")
    assert files(Path(where)) == files(ROOT / "cometd_chat")


def files(package: Path) -> set[str]:
    return {
        str(path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_version_is_the_packages(python: str) -> None:
    script = "from importlib.metadata import version; print(version('cometd-chat'))"
    said = call(python, "-c", script)
    assert said.strip() == cometd_chat.__version__


def test_every_requirement_is_pinned() -> None:
    """What ``make run`` and ``make test`` install next year is what was tested today."""
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert len(set(lines)) == len(lines)
    pinned = {normal(line.split("==")[0]) for line in lines}
    wanted = re.findall(r'^ +"([a-z][a-z0-9-]*)(?:\[\w+\])?(?:>=[\d.]+)?",$', setup_text(), re.M)
    assert len(wanted) > 15
    assert {normal(name) for name in wanted} <= pinned


def setup_text() -> str:
    return (ROOT / "setup.py").read_text()


def normal(name: str) -> str:
    """PyPA's normal form of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_project_names_no_path_of_a_developers_machine() -> None:
    """Somebody's home or build directory in a file works there only."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, timeout=PATIENCE
    )
    names = [name for name in tracked.stdout.decode().split("\0") if name]
    private = re.compile(rb"/(?:home/[a-z]+|root)/|" + re.escape(os.fsencode(Path.home())) + rb"/")
    for name in names:
        path = ROOT / name
        if path.is_file() and path.suffix not in {".png", ".jpg"}:
            assert not private.search(path.read_bytes()), name
