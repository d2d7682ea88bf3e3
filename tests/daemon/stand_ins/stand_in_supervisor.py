"""A supervisor whose workers are real daemons that can be told to fail.

What it is: what its process runs first. Variables of the environment ask for limits that a test can
wait for, and for workers that fail.

What it may know: the names that it replaces.

Invariant: all else is what a user starts.
"""

import os
from functools import partial
from importlib import import_module
from typing import Any

SILENCE = os.environ.get("STAND_IN_SILENCE")

service: Any = import_module("cometd_chat.service")
supervisor: Any = import_module("cometd_chat.daemon.supervisor")
if SILENCE is not None:
    supervisor._LIMITS[supervisor.State.SERVING] = float(SILENCE)
service.Launcher = partial(service.Launcher, module="stand_in_worker")
