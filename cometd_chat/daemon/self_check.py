"""Whether the installed Twisted is one that we know our way about in.

What it is: what is switched off without a name of Twisted's that is missing, and what is said.

What it may know: settings, the table in `twisted_internals.names`.

Invariant: a daemon that starts can serve. What it is faster or smaller with may be left out, its
bounds may not.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from twisted.logger import Logger

import twisted
from cometd_chat.daemon.lifecycle import CannotStart
from cometd_chat.daemon.settings import Settings
from cometd_chat.transports.twisted_internals import Feature, Name, needed_by

_log = Logger()

_REMEDY = "install the Twisted that constraints.txt names, or a newer comet-chat"


def reduce(settings: Settings, missing: Sequence[Name]) -> Settings:
    """The settings, without what can't be had."""
    return attrs.evolve(
        settings,
        direct_write=settings.direct_write and not needed_by(Feature.DIRECT_WRITE, missing),
        fast_lane=settings.fast_lane and not needed_by(Feature.FAST_LANE, missing),
    )


def report(settings: Settings, missing: Sequence[Name]) -> None:
    """Say what is missing, a line for each feature.

    :param settings: what was asked for.
    :raises CannotStart: nothing can be served.
    """
    needed = needed_by(Feature.HTTP, missing)
    if needed:
        raise CannotStart(
            f"Twisted {twisted.__version__} has no {_names(needed)}, without which requests have "
            f"no bounds; {_REMEDY}"
        )
    asked = {Feature.DIRECT_WRITE: settings.direct_write, Feature.FAST_LANE: settings.fast_lane}
    for feature, is_on in asked.items():
        needed = needed_by(feature, missing)
        if needed and is_on:
            _tell(f"{feature.value} is off", needed)
    needed = needed_by(Feature.EXTRA, missing)
    if needed:
        what = ", ".join(dict.fromkeys(name.what for name in needed))
        _tell(f"left out: {what}", needed)


def _tell(what: str, needed: Sequence[Name]) -> None:
    _log.warn(
        "{what}, since Twisted {version} has no {names}; {remedy}",
        what=what,
        version=twisted.__version__,
        names=_names(needed),
        remedy=_REMEDY,
    )


def _names(names: Sequence[Name]) -> str:
    return ", ".join(map(str, names))
