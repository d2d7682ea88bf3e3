"""A worker that keeps its conversation to itself; see ``stand_in_supervisor.py``."""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs

from cometd_chat.daemon import settings

worker: Any = import_module("cometd_chat.worker")
link: Any = import_module("cometd_chat.daemon.worker")

ORDERS = json.loads(os.environ[link.VARIABLE])

#: A file whose words are numbers of workers that can't start.
FAILS = Path(os.environ.get("STAND_IN_FAILS", "/nowhere"))

link.PULSE = 0.2


class Options(settings.Options):
    """With a directory for this process."""

    def postOptions(self) -> None:
        super().postOptions()
        data = self.settings.data / f"slot-{ORDERS['slot']}"
        data.mkdir(mode=0o700, exist_ok=True)
        self.settings = attrs.evolve(self.settings, data=data)


if FAILS.exists() and str(ORDERS["number"]) in FAILS.read_text().split():
    print("comet-chat: this worker was told to fail; tell it otherwise")
    sys.exit(1)
worker.Options = Options
worker.main()
