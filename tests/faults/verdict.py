"""What a fault run has shown, or not.

What it is: the log as the history request has it, and what each reader has accepted, held against
each other.

What it may know: events as plain dicts. Not how they came.

Invariant: nothing is forgiven: what is missing without a gap that says exactly so, what is there
twice and what is in another order are each found, with the visit in which it happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.decoders import Seen, for_people


def shown(event: Seen, like: Seen) -> Seen:
    """As much of an event as a transport showed of it; a line for people has no id."""
    seen = {field: event.get(field) for field in like}
    return seen if "id" in like else {**seen, "text": for_people(event["text"])}


def differences(expected: Sequence[Seen], accepted: Sequence[Seen]) -> list[str]:
    """What is wrong with what somebody accepted, in words; nothing, if nothing is.

    :param expected: all that there was for her, oldest first.
    :param accepted: messages, and gaps that were declared.
    """
    wrong: list[str] = []
    place = {for_people(event["text"]): index for index, event in enumerate(expected)}
    at = 0
    gaps: list[Seen] = []
    for number, event in enumerate(accepted):
        if event["type"] == "gap":
            gaps.append(event)
            continue
        found = place.get(for_people(event["text"]))
        if found is None or shown(expected[found], event) != event:
            wrong.append(f"number {number} was never said like that: {event}")
            continue
        if found < at:
            wrong.append(f"number {number} is doubled or out of order: {event}")
            continue
        wrong += _missing(expected[at:found], gaps, expected[found], number)
        gaps = []
        at = found + 1
    if at < len(expected) or gaps:
        wrong.append(f"lost at the end: {len(expected) - at}, from {expected[at : at + 1]}; {gaps}")
    return wrong


def _missing(left_out: Sequence[Seen], gaps: Sequence[Seen], then: Seen, number: int) -> list[str]:
    """What was left out has to be what gaps said."""
    declared = {gap.get("room", then["room"]): int(gap["missing"]) for gap in gaps}
    exact = declared == dict(Counter(event["room"] for event in left_out))
    if exact and all(gap.get("before", then["id"]) == then["id"] for gap in gaps):
        return []
    return [
        f"lost before number {number}: {len(left_out)}, from {left_out[:1]}; declared: {declared}"
    ]
