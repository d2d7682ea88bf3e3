"""``make faults``: a run of its own, as long as one likes. ``FAULTS=500 SEED=n make faults``.

It prints how far it is, and the checker's summary with its seed; its status is 1 if anything that
must not be was found, with an account of the first of it.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

from tests.cluster.faults import FAULTS
from tests.cluster.people import Numbers
from tests.cluster.run import Size, run_of_faults


def main() -> int:
    """Run it; the exit status."""
    faults = int(os.environ.get("FAULTS") or 500)
    seed = os.environ.get("SEED") or str(random.randrange(2**32))
    names = tuple(filter(None, os.environ.get("KINDS", "").split(",")))
    unknown = set(names) - set(FAULTS)
    if unknown:
        print(f"KINDS: {', '.join(sorted(unknown))}: there are {', '.join(FAULTS)}")
        return 2
    size = Size(faults=faults, names=names, numbers=Numbers(readers=12, bayeux=4, posters=4))
    with tempfile.TemporaryDirectory(prefix="comet-chat-faults-") as directory:
        verdict = run_of_faults(Path(directory), seed, size, lambda text: print(text, flush=True))
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
