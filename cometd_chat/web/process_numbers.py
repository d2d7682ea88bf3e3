"""The numbers of this process, by the names that Prometheus' own clients give them.

What it is: a collector of processor time, memory and open files.

What it may know: ``/proc/self`` and what the standard library tells. Nothing of the daemon.

Invariant: where a number can't be known it is left out. (The library's own collector tells nothing
at all where ``/proc/stat`` is hidden, as by ``ProcSubset=pid`` in our unit.)
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


class ProcessNumbers(Collector):
    """Processor time, memory, open files and start of this process.

    :param proc: where the kernel tells of processes.
    :param wall_clock: seconds since 1970; its first answer is taken for the start.
    """

    def __init__(
        self, proc: Path = Path("/proc/self"), wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._proc = proc
        self._started = wall_clock()

    def collect(self) -> Iterator[Any]:
        """The numbers as they are now; called by the registry."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        yield CounterMetricFamily(
            "process_cpu_seconds", "Processor time used", value=used.ru_utime + used.ru_stime
        )
        yield GaugeMetricFamily(
            "process_start_time_seconds", "Start, in seconds since 1970", value=self._started
        )
        yield GaugeMetricFamily(
            "process_max_fds",
            "Files that may be open",
            value=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )
        with suppress(OSError):
            yield GaugeMetricFamily(
                "process_open_fds",
                "Files that are open",
                value=len(list((self._proc / "fd").iterdir())),
            )
        with suppress(OSError, IndexError, ValueError):
            # proc_pid_statm(5): the second number is resident memory in pages.
            pages = int((self._proc / "statm").read_text().split()[1])
            yield GaugeMetricFamily(
                "process_resident_memory_bytes",
                "Memory in use",
                value=pages * resource.getpagesize(),
            )
