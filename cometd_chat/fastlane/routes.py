"""The routes that the lane takes.

What it is: `HotRoute`, a row of their table, and `HotRoutes`, which finds the one of a path.

What it may know: paths. Not what is at them.

Invariant: what is remembered of paths is bounded, whatever clients ask for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs
from twisted.internet.defer import Deferred

from cometd_chat.transports.request import HttpRequest

#: So many paths are remembered with their routes, and of so many bytes at most.
MAX_MATCHES = 1024
MAX_PATH = 512

#: What a route gives: a body, or what is held and goes on by itself.
Answer = Coroutine[Deferred[Any], Any, object]


@attrs.frozen
class HotRoute:
    """A route that the lane takes.

    :param method: such as ``GET``.
    :param path: pattern of the whole path; its one group, a name, is what the endpoint gets.
    :param endpoint: of request and name.
    :param writes: whether it goes on when its client leaves in the middle.
    """

    method: bytes
    path: bytes
    endpoint: Callable[[HttpRequest, str], Answer]
    writes: bool = False


@attrs.frozen
class RouteMatch:
    """The hot route of a path, and the name in it.

    :param path: one object for all requests of the same path.
    """

    route: HotRoute
    name: str
    path: bytes


class HotRoutes:
    """All of them."""

    def __init__(self, routes: Sequence[HotRoute]) -> None:
        self._routes = [(route.method, re.compile(route.path), route) for route in routes]
        self._matches: dict[tuple[bytes, bytes], RouteMatch] = {}

    def find(self, method: bytes, path: bytes) -> RouteMatch | None:
        """The hot route of a request; None when it has none."""
        match = self._matches.get((method, path))
        if match is None:
            match = self._look_for(method, path)
            remember = len(path) <= MAX_PATH and len(self._matches) < MAX_MATCHES
            if match is not None and remember:
                self._matches[method, path] = match
        return match

    def _look_for(self, method: bytes, path: bytes) -> RouteMatch | None:
        for route_method, pattern, route in self._routes:
            match = pattern.fullmatch(path) if method == route_method else None
            if match is not None:
                try:
                    name = unquote_to_bytes(match[1]).decode("utf-8")
                    return RouteMatch(route, name, path)
                except UnicodeDecodeError:
                    return None
        return None
