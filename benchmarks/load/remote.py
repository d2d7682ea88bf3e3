"""A load client in a process of its own, and how it is told what to do.

What it is: `Remote` makes an object in another process and calls its methods.

What it may know: pipes. Nothing of what it carries.

Invariant: every call has a limit; what goes wrong over there is raised here with its text.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.processes import BenchmarkFailed, raise_open_file_limit

#: Seconds that a call may take unless it says otherwise.
LIMIT = 180.0


class Remote:
    """An object in another process.

    :param make: what makes it, over there; a class of a module.
    :param arguments: for it.
    """

    def __init__(self, make: Callable[..., object], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, method: str, *arguments: Any, limit: float = LIMIT) -> Any:
        """Call a method over there and wait for its result."""
        self.begin(method, *arguments)
        return self.finish(limit)

    def begin(self, method: str, *arguments: Any) -> None:
        """Call a method over there without waiting."""
        self._pipe.send((method, arguments))

    def finish(self, limit: float = LIMIT) -> Any:
        """The result of the call that was begun.

        :raises BenchmarkFailed: it failed, or it took longer than the limit, in seconds.
        """
        if not self._pipe.poll(limit):
            raise BenchmarkFailed(f"a load client did not answer within {limit:g} s")
        good, result = self._pipe.recv()
        if not good:
            raise BenchmarkFailed(result)
        return result

    def tell(self, word: str) -> None:
        """A word for a method that is running and looks for one."""
        self._pipe.send(word)

    def stop(self) -> None:
        """End the process, and with it all its connections."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _serve(pipe: Connection, make: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    raise_open_file_limit()
    load, failure = None, ""
    try:
        load = make(*arguments)
    except Exception as error:
        failure = _text_of(error)
    if hasattr(load, "told"):
        load.told = pipe
    # Closing the pipe is how the other side says that it is over.
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            method, given = pipe.recv()
            result: tuple[bool, Any] = (False, failure)
            if not failure:
                try:
                    result = (True, getattr(load, method)(*given))
                except Exception as error:
                    result = (False, _text_of(error))
            pipe.send(result)


def _text_of(error: Exception) -> str:
    """What went wrong, as much as has to be known of it."""
    return str(error) if isinstance(error, BenchmarkFailed) else traceback.format_exc()
