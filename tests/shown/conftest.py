"""Daemons for what the documents show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def transports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all clients of a few lines: each of them only reads along."""
    with Daemon(tmp_path_factory.mktemp("transports")) as running:
        yield running
