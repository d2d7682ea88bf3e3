"""What becomes of bytes: messages, or a refusal that an edge can translate; never anything else.

Covers BadJSONTest, MaxMessageSizeTest (the core's half), and of Faye's node adapter malformed and
primitive JSON.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.bayeux import faults
from cometd_chat.bayeux.faults import Fault
from cometd_chat.bayeux.messages import (
    BadMessage,
    Bounds,
    Message,
    array,
    decode,
    encode,
    extension_fields,
    milliseconds,
)
from cometd_chat.errors import BodyTooLarge, InvalidRequest, NameTaken, TooMany

BOUNDS = Bounds()

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=5), values, max_size=4), max_size=4))
def test_gives_the_objects_of_an_array(messages: list[dict[str, Any]]) -> None:
    cleaned = [
        {key: value for key, value in each.items() if key not in ("successful", "error")}
        for each in messages
    ]
    assert decode(json.dumps(messages), BOUNDS) == cleaned
    assert json.loads(array([encode(each) for each in messages])) == messages


@given(st.one_of(st.binary(), st.text(), values.map(json.dumps)))
def test_raises_nothing_but_what_edges_know(body: bytes | str) -> None:
    try:
        messages = decode(body, Bounds(max_bytes=200))
    except (InvalidRequest, BodyTooLarge):
        return
    assert all(isinstance(each, dict) for each in messages)
    encode(messages)


def test_takes_a_bare_object() -> None:
    assert decode(b'{"channel": "/a"}', BOUNDS) == [{"channel": "/a"}]


@pytest.mark.parametrize("body", [b"[]", b"\xef\xbb\xbf[]", "\ufeff[]"])
def test_an_empty_array_is_no_mistake(body: bytes | str) -> None:
    assert decode(body, BOUNDS) == []


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"7", b'"x"', b"true", b"[1]", b"[[]]", b"[null]", b"{", b"[{}", b"\xff"),
        *(b"[{}] x", '["\ud800"]', b"[]\xef\xbb\xbf", b"[{}, NaN]", b'[{}, {"a": "\xff"}]'),
    ],
)
def test_refuses_what_is_no_request(body: bytes | str) -> None:
    with pytest.raises(InvalidRequest):
        decode(body, BOUNDS)


def test_refuses_too_much() -> None:
    with pytest.raises(BodyTooLarge):
        decode(b"[" + b" " * 10 + b"]", Bounds(max_bytes=11))
    with pytest.raises(BodyTooLarge):
        decode(b"[{},{},{}]", Bounds(max_messages=2))


GOOD: Message = {"channel": "/a", "id": "1"}


@pytest.mark.parametrize(
    ("bad", "left"),
    [
        ("7", {}),
        ("null", {}),
        ('["channel", "/b"]', {}),
        ('{"channel": "/b", "id": "2", "data": "\\ud83d"}', {"channel": "/b", "id": "2"}),
        ('{"channel": "/\\udc00", "id": 3}', {"id": 3}),
        ('{"channel": "/b", "data": {"\\ud83d": 1}}', {"channel": "/b"}),
        ('{"channel": "/b", "id": {}, "data": 1e999}', {"channel": "/b"}),
        ('{"id": "4", "data": ' + "[" * 64 + "]" * 64 + "}", {"id": "4"}),
    ],
)
def test_one_that_is_no_message_leaves_the_others_alone(bad: str, left: Message) -> None:
    good = json.dumps(GOOD)
    first, second, third = decode(f"[{good},{bad},{good}]".encode(), BOUNDS)
    assert first == third == GOOD
    assert not isinstance(first, BadMessage)
    assert not isinstance(third, BadMessage)
    assert isinstance(second, BadMessage)
    assert second == left
    assert second.reason


@pytest.mark.parametrize("depth", [64, 300])
def test_what_is_too_deep_is_no_message(depth: int) -> None:
    (message,) = decode(b'[{"data":' + b"[" * depth + b"]" * depth + b"}]", BOUNDS)
    assert isinstance(message, BadMessage)


def test_what_is_too_deep_for_anybody_is_no_request() -> None:
    with pytest.raises(InvalidRequest, match="deep"):
        decode(b'[{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", BOUNDS)


def test_counts_depth_and_not_brackets() -> None:
    wide: list[dict[str, Any]] = [{"data": [[] for _ in range(1000)]}]
    assert decode(json.dumps(wide), Bounds(max_depth=4)) == wide
    (message,) = decode(json.dumps(wide), Bounds(max_depth=3))
    assert isinstance(message, BadMessage)


def test_what_only_a_server_says_does_not_count() -> None:
    assert decode(b'[{"successful": true, "error": "x", "id": 1}]', BOUNDS) == [{"id": 1}]


def test_ext_is_an_object_or_nothing() -> None:
    assert extension_fields({"ext": {"ack": True}}) == {"ack": True}
    for other in (None, 1, "x", [1]):
        assert extension_fields({"ext": other}) == {}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *((0, 0.0), (1500, 1.5), (2.5, 0.0025), (10**400, 86400.0)),
        *((-1, None), (True, None), ("5", None), (None, None), ([], None)),
    ],
)
def test_times_of_advice(value: object, seconds: float | None) -> None:
    assert milliseconds({"timeout": value}, "timeout") == seconds


def test_advice_that_is_none() -> None:
    assert milliseconds("x", "timeout") is None
    assert milliseconds({}, "timeout") is None


def test_the_form_of_an_error() -> None:
    assert faults.session_unknown().error == "402::session_unknown"
    assert faults.connection_types_unsupported(["a", "b"]).error == (
        "301:a,b:Connection types not supported"
    )
    assert faults.parameter_missing("data").error == "402:data:Missing required parameter"


@given(st.lists(st.text()), st.integers(300, 599))
def test_an_argument_can_not_break_the_form(arguments: list[str], code: int) -> None:
    error = Fault(code, "text", arguments).error
    first, middle, last = error.split(":")
    assert (first, last) == (str(code), "text")
    assert len(middle.split(",")) == max(1, len(arguments))


def test_the_daemons_own_refusals() -> None:
    fault = faults.from_chat(NameTaken("Somebody has it: choose another, please."))
    assert fault.error == "409:Somebody has it - choose another; please.:name_taken"
    assert fault.reconnect is None
    assert faults.from_handshake(NameTaken("x")).reconnect == "none"
    later = faults.from_handshake(TooMany("x", retry_after=3))
    assert (later.reconnect, later.interval) == ("handshake", 3)
