"""Rooms for tests that share a daemon."""

from __future__ import annotations

import pytest

from tests.daemon.talk import make_room
from tests.support import Daemon


@pytest.fixture
def room(daemon: Daemon) -> str:
    """A room of the test's own."""
    return make_room(daemon.port)
