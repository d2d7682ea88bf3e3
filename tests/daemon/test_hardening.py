"""What the unit of ``deploy/`` forbids the daemon it does without, TLS included."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.daemon.tls import certificate
from tests.support import PATIENCE, ROOT, Daemon, free_port

#: Denies memory that is written and executed from now on (PR_SET_MDWE), as MemoryDenyWriteExecute
#: does, and becomes another program.
DENY = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit("no PR_SET_MDWE")
os.execvp(sys.argv[1], sys.argv[1:])
"""

#: Leaves of /proc only what belongs to processes, as ProcSubset=pid and ProtectProc=invisible do.
SUBSET = 'mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec "$@"'


def denied(*command: str) -> list[str]:
    return [sys.executable, "-c", DENY, *command]


@pytest.fixture
def endpoint(tmp_path: Path) -> tuple[int, str]:
    """A port that speaks TLS."""
    certificate(tmp_path)
    port, pem = free_port(), tmp_path / "both.pem"
    return port, f"ssl:{port}:interface=127.0.0.1:privateKey={pem}:certKey={pem}"


def serves(directory: Path, daemon: Daemon, tls_port: int) -> bool:
    """Whether it answers both ways."""
    context = ssl.create_default_context(cafile=str(directory / "both.pem"))
    with (
        urllib.request.urlopen(f"{daemon.url}/rooms/lobby", timeout=PATIENCE) as plain,
        urllib.request.urlopen(
            f"https://localhost:{tls_port}/metrics", timeout=PATIENCE, context=context
        ) as tls,
    ):
        return b"lobby" in plain.read() and b"process_resident_memory_bytes" in tls.read()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root")
def test_it_needs_no_memory_that_is_written_and_executed_and_of_proc_but_itself(
    tmp_path: Path, endpoint: tuple[int, str]
) -> None:
    write_and_execute = "import mmap; mmap.mmap(-1, 4096, prot=7)"
    probe = subprocess.run(
        denied(sys.executable, "-c", write_and_execute), capture_output=True, text=True
    )
    if "no PR_SET_MDWE" in probe.stderr:
        pytest.skip("this kernel can't deny it")
    assert "PermissionError" in probe.stderr, "it is denied"
    port, listen = endpoint
    plain = f"--listen=tcp:{free_port()}:interface=127.0.0.1"
    # One start for both: either of them would be in the way by itself, too.
    prefix = ["unshare", "--mount", "sh", "-c", SUBSET, "sh", *denied()]
    with Daemon(tmp_path, plain, f"--listen={listen}", prefix=prefix) as daemon:
        daemon.url = f"http://127.0.0.1:{plain.split(':')[1]}"
        assert serves(tmp_path, daemon, port)
    assert "Traceback" not in daemon.log


def test_the_unit_forbids_it() -> None:
    unit = (ROOT / "deploy" / "comet-chat.service").read_text().splitlines()
    for line in (
        *("MemoryDenyWriteExecute=yes", "ProcSubset=pid", "PrivateUsers=yes"),
        *("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="),
    ):
        assert line in unit
    assert any(line.startswith("MemoryMax=") for line in unit)
