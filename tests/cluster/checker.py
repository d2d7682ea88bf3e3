"""The history checker: whether a run was one conversation, whatever was done to the cluster.

What it is: pure functions from a `History` to what is wrong with it, and an account of that which a
person can read.

What it may know: `tests.cluster.history`, and `tests.faults.verdict` for one reader's order. No
clock, no process, no network.

Invariant: it never forgives. What may be missing is only what a fault that puts the log back has
taken, and then each who was told of it has to be told `reset`, and nobody else.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf

import attrs

from tests.cluster.history import (
    Acknowledged,
    Closed,
    Happened,
    History,
    InDoubt,
    Joined,
    Left,
    LeftOut,
    Opened,
    Posted,
    PutBack,
    Reads,
    ReadToTheEnd,
    Refused,
    Told,
    WasReset,
)
from tests.decoders import Seen, for_people
from tests.faults.verdict import differences

#: Seconds after a restore in which a node may still tell of what it had heard before: so long may
#: it have been frozen, and then it looks for its database once a second.
AWARE = 30.0

#: Seconds of a history before a violation that its account shows, and how many lines at most.
BEFORE, LINES = 10.0, 60


@attrs.frozen(kw_only=True)
class Violation:
    """Something that must not be.

    :param rule: which of `RULES` is broken.
    :param who: by whose history it shows.
    :param at: when, if that is known.
    """

    rule: str
    who: str
    what: str
    at: float | None = None

    def __str__(self) -> str:
        return f"{self.rule}: {self.who}: {self.what}"


@attrs.frozen(kw_only=True)
class Verdict:
    """What a run has shown."""

    summary: str
    violations: tuple[Violation, ...]
    account: str
    counts: Mapping[str, int]

    def __str__(self) -> str:
        return "\n".join([self.summary, *map(str, self.violations[:20]), self.account])


@attrs.define
class _Run:
    """A history, and what can be looked up in it."""

    history: History
    by_text: dict[str, Seen] = attrs.field(init=False)
    by_client_id: dict[str, Seen] = attrs.field(init=False)
    said: dict[str, float] = attrs.field(init=False)
    #: The place of each epoch among all that anybody was told of, by when that was.
    epochs: dict[str, int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        log = self.history.log
        self.by_text = {for_people(event["text"]): event for event in log}
        self.by_client_id = {e["client_id"]: e for e in log if "client_id" in e}
        # What is said again counts from the first time.
        posted = reversed(self.history.all(Posted))
        self.said = {for_people(each.text): each.at for each in posted}
        told = sorted(self.history.all(Told), key=lambda each: each.at)
        self.epochs = {}
        for cursor in [*(each.cursor for each in told), *(event["cursor"] for event in log)]:
            if cursor:
                self.epochs.setdefault(_epoch(cursor), len(self.epochs))

    def kept(self, each: Told | Acknowledged) -> Seen | None:
        """What an event that was told is in the log."""
        found = self.by_text.get(for_people(str(each.event["text"])))
        # What was lost may have been said again since, and has another id then, or is of an epoch
        # that had not begun when it was told.
        if found is None or each.event.get("id", found["id"]) != found["id"]:
            return None
        # By what a poster is answered, that is not known: it may come with their own cursor.
        if isinstance(each, Told) and each.cursor:
            when, stored = (self.epochs[_epoch(c)] for c in (each.cursor, found["cursor"]))
            return found if stored <= when else None
        return found

    def taken_by(self, at: float, id: int | None, text: str) -> PutBack | None:
        """The fault that took something of this id which was there at a time, and had been said
        before the fault was over; by an id that isn't shown, any that may have."""
        said = self.said.get(for_people(text), inf)
        return next(
            (
                each
                for each in self.history.put_back
                if said <= each.ended
                and at <= each.ended + AWARE
                and (id is None or id > each.kept)
            ),
            None,
        )


# -- the log


def the_log_is_one_order(run: _Run) -> Iterator[Violation]:
    """Ids grow, and nothing is there twice; every node shows the same."""
    log = run.history.log
    for before, event in pairwise(log):
        if event["id"] <= before["id"]:
            yield _of_log(f"{event} follows on {before}")
    texts = Counter(event["text"] for event in log)
    twice = [text for text, count in texts.items() if count > 1]
    keys = Counter((event["from"], event["client_id"]) for event in log if "client_id" in event)
    twice += [str(key) for key, count in keys.items() if count > 1]
    for each in twice:
        yield _of_log(f"it is there twice: {each[:100]!r}")
    for node, view in run.history.views.items():
        if list(view) != list(log):
            other = next(
                (pair for pair in zip(view, log, strict=False) if pair[0] != pair[1]),
                (len(view), len(log)),
            )
            yield _of_log(f"{node} shows another history: {other}")


def _of_log(what: str) -> Violation:
    return Violation(rule="the log is one order", who="the log", what=what)


def only_what_was_said(run: _Run) -> Iterator[Violation]:
    """Each message of the log was said by somebody, like that and there."""
    said = {(each.client_id, for_people(each.text)): each.room for each in run.history.all(Posted)}
    for event in run.history.log:
        room = said.get((event.get("client_id"), for_people(event["text"])))
        if room != event["room"]:
            yield Violation(
                rule="only what was said",
                who="the log",
                what=f"nobody said it, or not there: {_short(event)}",
            )


def acknowledged_is_kept(run: _Run) -> Iterator[Violation]:
    """What was acknowledged is in the log, once, with that id."""
    first: dict[str, Acknowledged] = {}
    for each in run.history.all(Acknowledged):
        kept = run.by_client_id.get(each.client_id)
        taken = _taken(run, each)
        former = first.setdefault(each.client_id, each)
        other = former.event["id"] != each.event["id"]
        if other and _taken(run, former) is None:
            yield _of_ack(each, f"it was acknowledged first as {_short(former.event)}")
        elif kept is None:
            if taken is None:
                yield _of_ack(each, "it is not in the log")
        elif not _same(kept, each.event) and taken is None:
            yield _of_ack(each, f"the log has {_short(kept)}")


def _same(kept: Seen, event: object) -> bool:
    """Whether they are the same but for the cursor: what is repeated to a poster by a transport has
    that of its reader."""
    assert isinstance(event, dict)
    return all(kept.get(field) == value for field, value in event.items() if field != "cursor")


def _of_ack(each: Acknowledged, what: str) -> Violation:
    return Violation(
        rule="acknowledged is kept",
        who=each.who,
        at=each.at,
        what=f"{each.client_id} was acknowledged as {_short(each.event)}: {what}",
    )


# -- readers


def readers_miss_nothing(run: _Run) -> Iterator[Violation]:
    """Each reader's order is a part of the one order, without a hole, none twice."""
    for begun in run.history.all(Reads):
        pieces = _pieces(begun, run.history.of(begun.who))
        for number, (after, piece) in enumerate(pieces, 1):
            yield from _piece(run, begun, after, piece, is_last=number == len(pieces))


#: What a reader was told in one go, and the id after which; None if nobody told them that.
_Piece = tuple[int | None, list[Happened]]


def _pieces(begun: Reads, happened: Sequence[Happened]) -> list[_Piece]:
    """What came between one `reset` and the next."""
    pieces: list[_Piece] = [(begun.after, [])]
    for each in happened:
        if isinstance(each, WasReset):
            pieces.append((each.after, []))
        else:
            pieces[-1][1].append(each)
    return pieces


def _piece(
    run: _Run, begun: Reads, after: int | None, piece: Sequence[Happened], *, is_last: bool
) -> Iterator[Violation]:
    """One of those pieces."""
    told = [each for each in piece if isinstance(each, Told | LeftOut)]
    yield from _without_what_is_gone(run, begun, told)
    # Who was told what is gone now was told before it all that is not.
    upto = [fault.kept for each in told if (fault := _gone(run, each)) is not None]
    kept = [each for each in told if isinstance(each, LeftOut) or run.kept(each) is not None]
    log = [event for event in run.history.log if event["room"] in begun.rooms]
    ids = [
        event["id"]
        for each in kept
        if isinstance(each, Told) and (event := run.kept(each)) is not None
    ]
    to_the_end = is_last and any(isinstance(each, ReadToTheEnd) for each in piece)
    last = log[-1]["id"] if to_the_end and log else max([*ids, *upto], default=0)
    # Where it begins without a word of it, what is told first says so.
    first = min(ids, default=last + 1) if after is None else after + 1
    expected = [event for event in log if first <= event["id"] <= last]
    for wrong, number in _differences(expected, [dict(each.event) for each in kept]):
        yield Violation(
            rule="readers miss nothing",
            who=begun.who,
            at=kept[number].at if kept and number < len(kept) else None,
            what=wrong,
        )


def _differences(expected: list[Seen], accepted: list[Seen]) -> Iterator[tuple[str, int]]:
    """What is wrong, and the number of what shows it."""
    for wrong in differences(expected, accepted):
        found = re.search(r"number (\d+)", wrong)
        yield wrong[:600], len(accepted) - 1 if found is None else int(found[1])


def _without_what_is_gone(
    run: _Run, begun: Reads, told: Sequence[Told | LeftOut]
) -> Iterator[Violation]:
    """What is in the log no more was taken by a fault, and who was told of it goes on only after a
    `reset`."""
    gone: PutBack | None = None
    for each in told:
        if isinstance(each, LeftOut):
            continue
        kept = run.kept(each)
        if kept is None:
            gone = _gone(run, each)
            if gone is None:
                yield _of_reader(begun, each, f"it is not in the log: {_short(each.event)}")
        elif gone is not None and kept["id"] > gone.kept:
            yield _of_reader(
                begun, each, f"no reset before {_short(kept)}, after what was taken by {gone.kind}"
            )
            gone = None


def _gone(run: _Run, each: Told | LeftOut) -> PutBack | None:
    """The fault that took what somebody was told."""
    if isinstance(each, LeftOut) or run.kept(each) is not None:
        return None
    return _taken(run, each)


def _taken(run: _Run, each: Told | Acknowledged) -> PutBack | None:
    return run.taken_by(each.at, _id(each.event), str(each.event["text"]))


def _of_reader(begun: Reads, each: Told, what: str) -> Violation:
    return Violation(rule="readers miss nothing", who=begun.who, at=each.at, what=what)


def the_lost_were_one_order(run: _Run) -> Iterator[Violation]:
    """What a fault took had one order, too: one text an id."""
    seen: dict[tuple[float, int], tuple[str, str]] = {}
    told: list[Told | Acknowledged] = [*run.history.all(Told), *run.history.all(Acknowledged)]
    for each in told:
        id, text = _id(each.event), for_people(str(each.event["text"]))
        fault = run.taken_by(each.at, id, text)
        if id is None or fault is None or run.kept(each) is not None:
            continue
        other = seen.setdefault((fault.began, id), (text, each.who))
        if other[0] != text:
            yield Violation(
                rule="the lost were one order",
                who=each.who,
                at=each.at,
                what=f"{id} is {text[:80]!r} here and {other[0][:80]!r} at {other[1]}",
            )


# -- who is told to begin anew, or that something isn't there


def nobody_begins_anew(run: _Run) -> Iterator[Violation]:
    """No `reset`, no 404 and no 401 but after the log was put back; one `reset` for each time."""
    resets: Counter[str] = Counter()
    for each in run.history.happened:
        if not isinstance(each, WasReset | Refused):
            continue
        causes = sum(fault.began <= each.at for fault in run.history.put_back)
        if isinstance(each, WasReset):
            resets[each.who] += 1
            if resets[each.who] > causes:
                yield _anew(each, f"reset number {resets[each.who]}: {each.reason}")
        elif not causes or each.status == 0:
            yield _anew(each, f"{each.status} {each.what[:300]}")


def _anew(each: Happened, what: str) -> Violation:
    return Violation(rule="nobody begins anew", who=each.who, at=each.at, what=what)


# -- who is present


def each_join_has_its_leave(run: _Run) -> Iterator[Violation]:
    """Whoever hears all of it hears, of each name, joins and leaves in turn; at its end those are
    there who came and didn't go."""
    observers = dict.fromkeys(each.who for each in run.history.all(Opened))
    for who in observers:
        there: dict[str, set[str]] = {}
        open = False
        for each in run.history.of(who):
            if isinstance(each, Opened):
                there = {room: set(names) for room, names in each.present.items()}
                open = True
            elif open and isinstance(each, Joined | Left):
                yield from _moved(there.setdefault(each.room, set()), each)
            elif open and isinstance(each, Closed):
                open = False
                yield from _at_the_end(there, each)


def _moved(there: set[str], each: Joined | Left) -> Iterator[Violation]:
    came = isinstance(each, Joined)
    if came == (each.name in there):
        what = "came, and was there" if came else "went, and was not there"
        yield _of_observer(each, f"{each.name} {what}, in {each.room}")
    (there.add if came else there.discard)(each.name)


def _at_the_end(there: dict[str, set[str]], each: Closed) -> Iterator[Violation]:
    if each.present is None:
        return
    for room, names in each.present.items():
        heard = there.get(room, set())
        if heard - names:
            yield _of_observer(each, f"no leave of {sorted(heard - names)} in {room}")
        if names - heard:
            yield _of_observer(each, f"no join of {sorted(names - heard)} in {room}")


def _of_observer(each: Happened, what: str) -> Violation:
    return Violation(rule="each join has its leave", who=each.who, at=each.at, what=what)


#: Everything that is looked at, in this order.
RULES: tuple[Callable[[_Run], Iterator[Violation]], ...] = (
    the_log_is_one_order,
    only_what_was_said,
    acknowledged_is_kept,
    readers_miss_nothing,
    the_lost_were_one_order,
    nobody_begins_anew,
    each_join_has_its_leave,
)


def check(history: History) -> Verdict:
    """Judge a run."""
    run = _Run(history)
    violations = tuple(each for rule in RULES for each in rule(run))
    first = min(
        (each for each in violations if each.at is not None),
        key=lambda each: each.at or 0.0,
        default=None,
    )
    return Verdict(
        summary=_summary(history, violations),
        violations=violations,
        account="" if first is None else account(history, first),
        counts=_counts(history),
    )


def _counts(history: History) -> Mapping[str, int]:
    """What there was of everything, to be added up over runs."""
    return {
        "faults": len(history.caused),
        "restores": len(history.put_back),
        "messages": len(history.log),
        "acknowledged": len({each.client_id for each in history.all(Acknowledged)}),
        "doubts": len(history.all(InDoubt)),
        "told": len(history.all(Told)),
        "resets": len(history.all(WasReset)),
    }


# -- for people


def _summary(history: History, violations: Sequence[Violation]) -> str:
    """What a run was, in one paragraph."""
    told = Counter(each.by for each in history.all(Told))
    acknowledged = {each.client_id for each in history.all(Acknowledged)}
    doubts = Counter(each.why.split(":")[0] for each in history.all(InDoubt))
    faults = Counter(each.kind for each in history.caused)
    joins, leaves = len(history.all(Joined)), len(history.all(Left))
    broken = Counter(each.rule for each in violations)
    wrong = f"VIOLATIONS {dict(broken)}" if broken else "lost 0, doubled 0, no violation"
    return (
        f"history of seed {history.seed}: {sum(faults.values())} faults "
        f"{dict(sorted(faults.items()))}; {len(history.log)} messages kept, "
        f"{len(acknowledged)} acknowledged after {sum(doubts.values())} doubts {dict(doubts)}; "
        f"{len({each.who for each in history.all(Reads)})} readers were told {told.total()}, by "
        f"transport {dict(sorted(told.items()))}; {len(history.all(WasReset))} resets after "
        f"{len(history.put_back)} restores; {joins} joins and {leaves} leaves heard; {wrong}"
    )


def account(history: History, violation: Violation) -> str:
    """What happened before a violation, to whom it concerns."""
    assert violation.at is not None
    until = violation.at
    near = defaultdict(list)
    for each in history.happened:
        if each.who == violation.who and until - BEFORE <= each.at <= until:
            near[each.at].append(_line(each))
    for fault in history.caused:
        for moment, word in ((fault.began, "begins"), (fault.ended, "is over")):
            if until - BEFORE <= moment <= until:
                near[moment].append(f"FAULT {word}: {fault.kind} {fault.what}")
    lines = [f"{at - until:8.3f} s  {line}" for at in sorted(near) for line in near[at]]
    still = [each for each in history.caused if each.began <= until < each.ended]
    lines += [f"          still: {each.kind} {each.what}" for each in still]
    return "\n".join([f"The first violation: {violation}", *lines[-LINES:]])


def _line(each: Happened) -> str:
    fields = attrs.asdict(each, filter=lambda field, _: field.name not in ("who", "at"))
    shown = ", ".join(f"{name}={str(value)[:120]!r}" for name, value in fields.items())
    return f"{type(each).__name__}: {shown}"


def _epoch(cursor: str) -> str:
    """The epoch of a cursor, which is otherwise opaque."""
    return cursor.partition(".")[2]


def _short(event: object) -> str:
    return str(event)[:160]


def _id(event: object) -> int | None:
    assert isinstance(event, dict)
    id = event.get("id")
    return None if id is None else int(id)
