"""The grammar of channels and their matching, against a naive oracle.

Covers ChannelIdTest (depth, wilds, matches, invalid) and Faye's grammar cases.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.bayeux.channels import (
    MAX_DEPTH,
    MAX_LENGTH,
    InvalidChannel,
    SubscriptionIndex,
    intersects,
    is_meta,
    is_service,
    matches,
    parse_channel,
    parse_pattern,
    patterns_of,
)

segments = st.sampled_from(["a", "b", "c"])
channels = st.lists(segments, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
patterns = st.one_of(
    channels,
    st.tuples(st.one_of(st.just(""), channels), st.sampled_from(["/*", "/**"])).map("".join),
)


def naive(pattern: str, channel: str) -> bool:
    """Bayeux 1.0, section 2.1, segment by segment."""
    wanted, there = pattern.split("/")[1:], channel.split("/")[1:]
    if wanted[-1] == "**":
        return len(there) >= len(wanted) and there[: len(wanted) - 1] == wanted[:-1]
    if wanted[-1] == "*":
        return len(there) == len(wanted) and there[:-1] == wanted[:-1]
    return wanted == there


@given(patterns, channels)
def test_matching_is_that_of_the_specification(pattern: str, channel: str) -> None:
    assert matches(pattern, channel) is naive(pattern, channel)


def every_channel(depth: int) -> list[str]:
    found, level = [], [""]
    for _ in range(depth):
        level = [f"{parent}/{each}" for parent in level for each in "abc"]
        found += level
    return found


# Patterns are at most 5 deep here, so whatever two have in common has a witness that deep.
WITNESSES = every_channel(5)


@given(patterns, patterns)
def test_patterns_intersect_when_there_is_a_channel_in_both(one: str, other: str) -> None:
    expected = any(naive(one, each) and naive(other, each) for each in WITNESSES)
    assert intersects(one, other) is expected
    assert intersects(other, one) is expected


@given(st.lists(st.tuples(patterns, st.sampled_from("xyz"))), channels)
def test_the_index_finds_everybody_once(pairs: list[tuple[str, str]], channel: str) -> None:
    index: SubscriptionIndex[str] = SubscriptionIndex()
    for pattern, subscriber in pairs:
        index.add(pattern, subscriber)
    found = index.matching(channel)
    assert len(found) == len(set(found))
    assert set(found) == {who for pattern, who in pairs if naive(pattern, channel)}
    for pattern, subscriber in pairs:
        index.remove(pattern, subscriber)
        index.remove(pattern, subscriber)
    assert list(index) == []
    assert index.matching(channel) == []


@given(st.lists(patterns, min_size=1))
def test_the_index_hears_in_the_order_of_subscription(names: list[str]) -> None:
    index: SubscriptionIndex[int] = SubscriptionIndex()
    for number, _ in enumerate(names):
        index.add(names[0], number)
    assert index.of(names[0]) == list(range(len(names)))
    assert names[0] in index


@given(channels)
def test_what_is_a_channel_is_a_pattern_too(channel: str) -> None:
    assert parse_channel(channel) == parse_pattern(channel) == channel
    assert parse_channel(channel + "/") == channel


@given(patterns)
def test_patterns_are_patterns(pattern: str) -> None:
    assert parse_pattern(pattern) == pattern


@given(st.text(st.sampled_from("/*a.é \n"), max_size=8))
def test_whatever_is_no_channel_is_refused_and_nothing_else_is_raised(text: str) -> None:
    try:
        name = parse_pattern(text)
    except InvalidChannel:
        return
    assert name == (text[:-1] if text.endswith("/") else text)
    assert all(parts and (set(parts) <= set("a. ")) for parts in name.rstrip("*").split("/")[1:-1])


@pytest.mark.parametrize(
    "name",
    ["/a", "/a/b", "/A-1_!~()$@", "/a b", "/a.b", "/a#b", "/a+b", "/a{b}", "/" + "x" * 254],
)
def test_takes_what_cometd_takes(name: str) -> None:
    assert parse_channel(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "//", "a", "a/b", "/a//b", "/a//", "//a", "/é", "/a\n", "/a\x00", "/a\x7f"),
        *("/a,b", "/a:b", "/a%20", "/a?b", "/" + "x" * MAX_LENGTH, "/a" * (MAX_DEPTH + 1)),
        *(None, 7, True, ["/a"], {"a": 1}, b"/a"),
    ],
)
def test_refuses_what_is_no_channel(name: object) -> None:
    with pytest.raises(InvalidChannel):
        parse_channel(name)
    with pytest.raises(InvalidChannel):
        parse_pattern(name)


@pytest.mark.parametrize("name", ["/*/a", "/a/**/b", "/a/***", "/a*", "/a/*b", "/a/* *", "/a/b*"])
def test_a_star_is_a_whole_segment_at_the_end(name: str) -> None:
    with pytest.raises(InvalidChannel):
        parse_pattern(name)


@pytest.mark.parametrize("name", ["/*", "/**", "/a/*", "/a/**", "/a/b/**"])
def test_a_pattern_is_no_channel(name: str) -> None:
    assert parse_pattern(name) == name
    assert parse_pattern(name + "/") == name
    with pytest.raises(InvalidChannel):
        parse_channel(name)


def test_the_deepest_channel_is_in_as_many_patterns_as_it_is_deep() -> None:
    assert patterns_of("/a/b/c") == ("/a/b/c", "/a/b/*", "/a/b/**", "/a/**", "/**")
    assert patterns_of("/a") == ("/a", "/*", "/**")
    assert len(patterns_of("/a" * MAX_DEPTH)) == MAX_DEPTH + 2


def test_meta_and_service_go_by_the_first_segment() -> None:
    assert is_meta("/meta/connect")
    assert is_meta("/meta/subscribe/x")
    assert is_meta("/meta/**")
    assert is_meta("/meta")
    assert not is_meta("/metal/x")
    assert is_service("/service/*")
    assert is_service("/service")
    assert not is_service("/services/x")
