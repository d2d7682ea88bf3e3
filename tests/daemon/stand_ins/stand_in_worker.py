"""A worker that fails when it is told to; see ``stand_in_supervisor.py``."""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

worker: Any = import_module("cometd_chat.worker")
link: Any = import_module("cometd_chat.daemon.worker")

ORDERS = json.loads(os.environ[link.VARIABLE])

#: A file whose words are numbers of workers that can't start.
FAILS = Path(os.environ.get("STAND_IN_FAILS", "/nowhere"))

link.PULSE = 0.2


if FAILS.exists() and str(ORDERS["number"]) in FAILS.read_text().split():
    print("comet-chat: this worker was told to fail; tell it otherwise")
    sys.exit(1)
worker.main()
