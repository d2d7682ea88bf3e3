"""Networks that tests make are seen by nobody else: a browser would give up what it fetches."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.networks import joined_networks, may_make_networks


@pytest.mark.skipif(not may_make_networks(), reason="needs root")
def test_nothing_changes_in_the_network_that_all_share() -> None:
    with ThreadPoolExecutor(1) as other_tests:
        # Its thread has to be there before, as a browser is.
        other_tests.submit(threading.get_ident).result()
        before = socket.if_nameindex()
        with joined_networks() as place:
            assert {name for _, name in socket.if_nameindex()} >= {"lo", place.here}
            assert other_tests.submit(socket.if_nameindex).result() == before
        assert socket.if_nameindex() == before
