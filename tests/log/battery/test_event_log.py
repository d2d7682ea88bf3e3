"""What every `EventLog` must do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from msgspec.structs import replace
from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs

from cometd_chat.errors import InvalidCursor
from cometd_chat.events.record import Record
from cometd_chat.log import reading
from cometd_chat.log.control import CONTROL, NodeGone, control_draft
from cometd_chat.log.log import COUNT_OF_OTHERS, EVERY, Count, EventLog
from tests.log.support import DEV, LOBBY, block, draft, heard, in_reactor, refused, wait, wait_all


@in_reactor
async def test_a_draft_comes_back_with_its_place(log: EventLog) -> None:
    record = await wait(log.append(draft("hi", client_id="c1")))
    assert record == Record(
        1, "e001", LOBBY, "message", "s1", "alice", {"text": "hi"}, None, "c1", record.at
    )
    assert log.last_id == 1
    assert await wait(log.read([LOBBY], limit=10)) == [record]


@in_reactor
async def test_ids_follow_the_order_of_appends_and_of_what_followers_hear(log: EventLog) -> None:
    told = heard(log)
    records = await wait_all([log.append(draft(f"{n}", [LOBBY, DEV][n % 2])) for n in range(300)])
    assert [record.id for record in records] == list(range(1, 301))
    assert told == records
    assert log.last_id == 300


@in_reactor
async def test_followers_are_told_before_the_sender(log: EventLog) -> None:
    order: list[str] = []
    log.follow(lambda batch: order.append("follower"))
    answer = log.append(draft())
    answer.addCallback(lambda record: order.append("sender"))
    await wait(answer)
    assert order == ["follower", "sender"]


@in_reactor
async def test_a_client_id_is_appended_once(log: EventLog) -> None:
    told = heard(log)
    answers = [log.append(draft("first", client_id="c1")) for _ in range(3)]
    answers.append(log.append(draft("another text", client_id="c1")))
    first, *others = await wait_all(answers)
    assert not first.repeated
    assert others == [replace(first, repeated=True)] * 3
    assert await wait(log.append(draft("later", client_id="c1"))) == others[0]
    assert told == [first]


@in_reactor
async def test_a_repeat_uses_up_no_id(log: EventLog) -> None:
    await wait(log.append(draft(client_id="c1")))
    drafts = [draft("a"), draft(client_id="c1"), draft("b"), draft("c", client_id="c2")]
    records = await wait_all([log.append(each) for each in drafts])
    assert [record.id for record in records] == [2, 1, 3, 4]
    assert [record.data["text"] for record in await wait(log.read([LOBBY], after=1, limit=9))] == [
        "a",
        "b",
        "c",
    ]


@in_reactor
async def test_a_client_id_is_one_senders_own(log: EventLog) -> None:
    answers = [log.append(draft(sender=sender, client_id="c1")) for sender in ("s1", "s2")]
    assert [record.repeated for record in await wait_all(answers)] == [False, False]


@in_reactor
async def test_text_comes_back_as_it_went_in(log: EventLog) -> None:
    texts = ["</script>", "\u2028", "a\nb\tc", "\U0001f600", "' OR 1=1; --", "\x00", ""]
    await wait_all([log.append(draft(text)) for text in texts])
    assert [record.data["text"] for record in await wait(log.read([LOBBY], limit=10))] == texts


@in_reactor
async def test_lone_surrogates_are_refused_and_the_neighbours_are_not(log: EventLog) -> None:
    answers = [log.append(draft("before")), log.append(draft("\ud800")), log.append(draft("after"))]
    assert await refused(answers[1], ValueError)
    assert [record.id for record in await wait_all([answers[0], answers[2]])] == [1, 2]


@in_reactor
async def test_cancelling_does_not_stop_an_append(log: EventLog) -> None:
    told = heard(log)
    answer = log.append(draft("still said"))
    failed = answer.addErrback(lambda failure: failure.trap(CancelledError))
    answer.cancel()
    await wait(failed)
    await wait(log.append(draft("next")))
    assert [record.data["text"] for record in told] == ["still said", "next"]


@in_reactor
async def test_one_failing_follower_stops_nobody(log: EventLog) -> None:
    def fail(batch: Sequence[Record]) -> None:
        raise RuntimeError("this one fails")

    log.follow(fail)
    told = heard(log)
    with capturedLogs() as logged:
        await wait(log.append(draft()))
        await wait(log.append(draft()))
    assert len(told) == 2
    assert [str(event["log_failure"].value) for event in logged if "log_failure" in event] == [
        "this one fails"
    ] * 2


@in_reactor
async def test_who_stops_following_hears_no_more(log: EventLog) -> None:
    told: list[Record] = []
    stop = log.follow(told.extend)
    await wait(log.append(draft("one")))
    stop()
    stop()
    await wait(log.append(draft("two")))
    assert [record.data["text"] for record in told] == ["one"]


@in_reactor
async def test_what_a_follower_appends_comes_after_for_all(log: EventLog) -> None:
    echoes = []

    def echo(batch: Sequence[Record]) -> None:
        if batch[0].data["text"] == "ping":
            echoes.append(log.append(draft("pong")))

    log.follow(echo)
    told = heard(log)
    await wait(log.append(draft("ping")))
    await wait(echoes[0])
    assert [record.data["text"] for record in told] == ["ping", "pong"]


class TestReading:
    @pytest.fixture(autouse=True)
    def said(self, log: EventLog) -> None:
        """Ten in the lobby (odd ids) and ten in dev (even ids)."""
        for n in range(20):
            block(log.append(draft(context=[LOBBY, DEV][n % 2])))

    @pytest.mark.parametrize(
        ("contexts", "bounds", "ids"),
        [
            ([LOBBY], {"limit": 3}, [1, 3, 5]),
            ([LOBBY], {"limit": 3, "newest": True}, [15, 17, 19]),
            ([LOBBY], {"limit": 9, "after": 13}, [15, 17, 19]),
            ([LOBBY], {"limit": 2, "after": 3, "before": 11}, [5, 7]),
            ([LOBBY], {"limit": 2, "after": 3, "before": 11, "newest": True}, [7, 9]),
            ([DEV, LOBBY, DEV], {"limit": 4, "after": 7}, [8, 9, 10, 11]),
            ((LOBBY, DEV), {"limit": 3, "newest": True}, [18, 19, 20]),
            ([LOBBY, "/chat/unknown"], {"limit": 2}, [1, 3]),
            ([], {"limit": 2}, []),
            ([LOBBY], {"limit": 2, "after": 10**30}, []),
            ([LOBBY], {"limit": 2, "before": 10**30}, [1, 3]),
            ([LOBBY], {"limit": 2, "before": 0}, []),
            ([LOBBY], {"limit": 5, "after": 9, "before": 4}, []),
            # Each text has two bytes.
            ([LOBBY], {"limit": 5, "max_bytes": 1}, [1]),
            ([LOBBY], {"limit": 5, "max_bytes": 4}, [1, 3]),
            ([LOBBY], {"limit": 5, "max_bytes": 5}, [1, 3, 5]),
            ([LOBBY], {"limit": 2, "max_bytes": 99}, [1, 3]),
            ([LOBBY, DEV], {"limit": 5, "max_bytes": 5, "newest": True}, [18, 19, 20]),
            ([LOBBY, DEV], {"limit": 5, "max_bytes": 5, "after": 10}, [11, 12, 13]),
        ],
    )
    @in_reactor
    async def test_read(
        self, log: EventLog, contexts: list[str], bounds: dict[str, int], ids: list[int]
    ) -> None:
        found = await wait(log.read(contexts, **bounds))  # type: ignore[arg-type]
        assert [record.id for record in found] == ids

    @in_reactor
    async def test_count(self, log: EventLog) -> None:
        unknown = "/chat/unknown"
        found = await wait(log.count([LOBBY, DEV, unknown], after=5, most=99))
        assert found == {LOBBY: Count(7), DEV: Count(8)}
        assert await wait(log.count([DEV], after=5, before=8, most=99)) == {DEV: Count(1)}
        assert await wait(log.count([], after=0, most=99)) == {}
        assert await wait(log.count(None, after=5, most=99)) == {EVERY: Count(15)}
        assert await wait(log.count(None, after=20, most=99)) == {}

    @in_reactor
    async def test_what_is_too_many_to_be_counted_is_so_many_at_least(self, log: EventLog) -> None:
        await wait_all([log.append(draft(context=LOBBY)) for _ in range(3 * COUNT_OF_OTHERS)])
        most = COUNT_OF_OTHERS + 10
        found = await wait(log.count([LOBBY, DEV], after=0, most=most))
        assert found == {LOBBY: Count(most, at_least=True), DEV: Count(10)}
        assert await wait(log.count([LOBBY], after=0, most=most)) == {LOBBY: Count(most, True)}
        assert await wait(log.count(None, after=0, most=most)) == {EVERY: Count(most, True)}
        # Of another context there are so many still, however little is left to be counted.
        await wait_all([log.append(draft(context=DEV)) for _ in range(2 * COUNT_OF_OTHERS)])
        found = await wait(log.count([LOBBY, DEV], after=0, most=most))
        assert found == {LOBBY: Count(most, True), DEV: Count(COUNT_OF_OTHERS, True)}

    @in_reactor
    async def test_all_contexts_are_read_together(self, log: EventLog) -> None:
        found = await wait(log.read(None, after=3, before=9, limit=3))
        assert [record.id for record in found] == [4, 5, 6]
        found = await wait(log.read(None, limit=2, newest=True))
        assert [record.context for record in found] == [LOBBY, DEV]

    @in_reactor
    async def test_newest(self, log: EventLog) -> None:
        assert await wait(log.newest()) == {LOBBY: 19, DEV: 20}


class TestTypes:
    @pytest.fixture(autouse=True)
    def said(self, log: EventLog) -> None:
        """Six in the lobby, of which 2, 4 and 6 are reactions; in dev only one, 7."""
        for n in range(6):
            block(log.append(draft(type=["message", "reaction"][n % 2])))
        block(log.append(draft(context=DEV, type="reaction")))

    @pytest.mark.parametrize(
        ("contexts", "bounds", "ids"),
        [
            ([LOBBY], {"limit": 9}, [1, 3, 5]),
            ([LOBBY], {"limit": 2, "newest": True}, [3, 5]),
            ([LOBBY, DEV], {"limit": 2, "after": 1}, [3, 5]),
            (None, {"limit": 9, "before": 5}, [1, 3]),
            ([DEV], {"limit": 9}, []),
        ],
    )
    @in_reactor
    async def test_some_are_read(
        self, log: EventLog, contexts: list[str] | None, bounds: dict[str, int], ids: list[int]
    ) -> None:
        found = await wait(log.read(contexts, types=["message", "x"], **bounds))  # type: ignore[arg-type]
        assert [record.id for record in found] == ids

    @in_reactor
    async def test_some_are_counted(self, log: EventLog) -> None:
        found = await wait(log.count([LOBBY, DEV], after=1, most=99, types=["message"]))
        assert found == {LOBBY: Count(2)}
        found = await wait(log.count(None, after=1, most=99, types=["reaction"]))
        assert found == {EVERY: Count(4)}

    @in_reactor
    async def test_the_newest_of_some(self, log: EventLog) -> None:
        assert await wait(log.newest(["message"])) == {LOBBY: 5}
        assert await wait(log.newest(["message", "reaction"])) == {LOBBY: 6, DEV: 7}
        assert await wait(log.newest([])) == {}


@pytest.mark.parametrize("seed", range(3))
@in_reactor
async def test_many_contexts_are_read_as_if_each_record_were_looked_at(
    log: EventLog, seed: int
) -> None:
    """Some say much, and most little, or nothing for long."""
    chance = Random(seed)
    names = [f"/chat/{n}" for n in range(40)]
    weights = [3.0**-n if n < 6 else 0.002 for n in range(40)]
    spoken = [*names[10:14], *chance.choices(names, weights, k=800), *names[:5] * 3]
    types = chance.choices(["message", "reaction"], [3, 1], k=len(spoken))
    said = [draft(context=each, type=type) for each, type in zip(spoken, types, strict=True)]
    outcomes = await wait(log.append_all(said))
    for _ in range(40):
        some = chance.sample(names, chance.randint(0, 40))
        after, before = chance.choice([0, 700, 815]), chance.choice([None, 820, 300])
        limit, newest = chance.choice([1, 2, 20, 200, 2000]), chance.random() < 0.5
        kinds = chance.choice([None, ["message"], []])
        whole = [
            record
            for record in outcomes
            if isinstance(record, Record)
            and record.context in some
            and after < record.id < (before or 10_000)
            and (kinds is None or record.type in kinds)
        ]
        wanted = whole[-limit:] if newest else whole[:limit]
        among = {"after": after, "before": before, "types": kinds}
        found = await wait(log.read(some, limit=limit, newest=newest, **among))  # type: ignore[arg-type]
        assert [record.id for record in found] == [record.id for record in wanted]
        counts = Counter(record.context for record in whole)
        counted = await wait(log.count(some, most=10_000, **among))  # type: ignore[arg-type]
        assert counted == {name: Count(number) for name, number in counts.items()}


@in_reactor
async def test_what_is_said_is_any_json_object(log: EventLog) -> None:
    data = {"text": "hi", "of": [1, {"a": None}, 2.5, True], "\u00e9": ""}
    record = await wait(log.append(draft(data=data, refers=7)))
    assert record.size == len("hi") + len('[1,{"a":null},2.5,true]')
    (found,) = await wait(log.read([LOBBY], limit=1))
    assert found == record
    assert (found.data, found.refers) == (data, 7)
    await refused(log.append(draft(data={"of": object()})), TypeError)
    await refused(log.append(draft(data={"of": ["\ud800"]})), ValueError)


@in_reactor
async def test_an_empty_log_can_be_read(log: EventLog) -> None:
    assert log.last_id == 0
    assert await wait(log.newest()) == {}
    assert await wait(log.read([LOBBY], limit=5)) == []
    assert log.position(log.cursor(0)) == 0


class TestRecent:
    @pytest.mark.parametrize("page", [1, 2, 3, 4, 500])
    @pytest.mark.parametrize(
        ("limit", "max_bytes", "ids"),
        [
            (100, 10**6, [1, 2, 3, 4]),
            (2, 10**6, [3, 4]),
            (100, 8, [3, 4]),
            (100, 11, [3, 4]),
            (100, 1, [4]),
        ],
    )
    @in_reactor
    async def test_it_is_bounded(
        self,
        log: EventLog,
        monkeypatch: pytest.MonkeyPatch,
        limit: int,
        max_bytes: int,
        ids: list[int],
        page: int,
    ) -> None:
        """By bytes, of which each of these texts has four; however many are read at once."""
        monkeypatch.setattr(reading, "_PAGE", page)
        await wait_all([log.append(draft("\U0001f600")) for _ in range(4)])
        assert [record.id for record in log.recent(limit, max_bytes)] == ids

    def test_of_an_empty_log_it_is_nothing(self, log: EventLog) -> None:
        assert log.recent(10, 10) == []


@in_reactor
async def test_it_has_the_name_of_its_first_epoch(log: EventLog) -> None:
    await wait(log.append(draft()))
    assert log.origin == log.cursor(0).partition(".")[2] == "e001"


@in_reactor
async def test_a_cursor_leads_back_to_its_place(log: EventLog) -> None:
    await wait_all([log.append(draft()) for _ in range(3)])
    assert [log.position(log.cursor(id)) for id in range(4)] == [0, 1, 2, 3]
    assert log.cursor(2) == "2.e001"


@in_reactor
async def test_a_cursor_may_be_ahead_of_what_this_process_was_told(log: EventLog) -> None:
    """Another one may have given it out; whether it did shows when this one gets there."""
    await wait_all([log.append(draft()) for _ in range(3)])
    assert log.position("4.e001") == 4 > log.last_id
    assert (await wait(log.append(draft()))).id == 4
    assert log.position("4.e001") == log.last_id


@pytest.mark.parametrize(
    "cursor",
    ["1.zzzz", "0.zzzz", f"{10**19}.e001", f"{10**20}.e001", "1", "1.", ".e001", "01.e001",
     "-1.e001", "1.E001", "1.e01", "1.e001.e001", "_", "lobby~1.e001", "a" * 512],
)  # fmt: skip
@in_reactor
async def test_a_foreign_cursor_has_no_place(log: EventLog, cursor: str) -> None:
    await wait_all([log.append(draft()) for _ in range(3)])
    assert log.position(cursor) is None


@pytest.mark.parametrize(
    "cursor",
    ["", "+1.e001", "1 .e001", "1.e001\n", "\u0661.e001", "1.e00\u00e9", "1.e0;1", "1,2", "/",
     "a" * 513, "1.e001" + "1" * 507],
)  # fmt: skip
def test_what_can_not_be_a_cursor_is_refused(log: EventLog, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        log.position(cursor)


class TestAppendAll:
    @in_reactor
    async def test_all_are_told_in_their_order_as_one_batch(self, log: EventLog) -> None:
        batches: list[Sequence[Record]] = []
        log.follow(batches.append)
        drafts = [draft(f"{n}", [LOBBY, DEV][n % 2]) for n in range(50)]
        outcomes = await wait(log.append_all(drafts))
        assert [outcome.id for outcome in records_of(outcomes)] == list(range(1, 51))
        assert list(map(list, batches)) == [list(outcomes)]
        assert await wait(log.read(None, limit=100)) == list(outcomes)

    @in_reactor
    async def test_a_client_id_is_appended_once_of_all(self, log: EventLog) -> None:
        drafts = [draft("a", client_id="c1"), draft("b"), draft("c", client_id="c1")]
        outcomes: Sequence[Record | Exception] = await wait(log.append_all(drafts))
        first, other, again = outcomes
        assert again == replace(first, repeated=True)  # type: ignore[type-var]
        assert records_of([first, other])[1].id == 2
        assert log.last_id == 2

    @in_reactor
    async def test_one_that_can_not_be_stored_fails_alone(self, log: EventLog) -> None:
        bad = draft("\ud800")
        outcomes = await wait(log.append_all([bad, draft("a"), bad, draft("b"), bad]))
        assert [isinstance(each, ValueError) for each in outcomes] == [True, False] * 2 + [True]
        assert [record.id for record in records_of(outcomes[1::2])] == [1, 2]
        assert all(isinstance(each, ValueError) for each in await wait(log.append_all([bad])))
        assert log.last_id == 2

    @in_reactor
    async def test_none_are_answered_too(self, log: EventLog) -> None:
        outcomes = await wait(log.append_all([]))
        assert not outcomes


def records_of(outcomes: Sequence[Record | Exception]) -> list[Record]:
    """What became of drafts that were all stored."""
    found = [outcome for outcome in outcomes if isinstance(outcome, Record)]
    assert len(found) == len(outcomes)
    return found


class TestControlRecords:
    """What the log tells the house; see `cometd_chat.log.control`."""

    @in_reactor
    async def test_followers_are_told_and_nobody_reads_them(self, log: EventLog) -> None:
        told = heard(log)
        drafts = [control_draft(NodeGone(1)), draft("hi"), control_draft(NodeGone(2))]
        await wait(log.append_all(drafts))
        assert [record.context for record in told] == [CONTROL, LOBBY, CONTROL]
        assert log.last_id == 3
        for newest in (True, False):
            found = await wait(log.read(None, limit=10, newest=newest))
            assert [record.id for record in found] == [2]
        assert await wait(log.count(None, after=0, most=9)) == {EVERY: Count(1)}
        assert await wait(log.newest()) == {LOBBY: 2}

    @in_reactor
    async def test_they_are_in_what_a_tail_is_filled_with(self, log: EventLog) -> None:
        """Else there would be a hole in it."""
        for each in (draft("hi"), control_draft(NodeGone(1))):
            await wait(log.append(each))
        assert [record.id for record in log.recent(9, 9999)] == [1, 2]


@in_reactor
async def test_what_was_committed_was_told_after_catching_up(log: EventLog) -> None:
    told = heard(log)
    record = await wait(log.append(draft("hi")))
    await wait(log.catch_up())
    assert told == [record]
    assert log.position(log.cursor(1)) == 1


@in_reactor
async def test_what_is_cleared_is_in_no_context_and_its_ids_stay(log: EventLog) -> None:
    told = heard(log)
    await wait_all(
        [log.append(draft(f"{n}", [LOBBY, DEV][n % 2], client_id=f"c{n}")) for n in range(7)]
    )
    kept = await wait(log.read([LOBBY], limit=10))
    assert await wait(log.clear(DEV, 2)) == 2
    assert await wait(log.clear(DEV, 2)) == 1
    assert await wait(log.clear(DEV, 2)) == 0
    assert await wait(log.read([DEV], limit=10)) == []
    assert await wait(log.read([LOBBY], limit=10)) == kept
    assert await wait(log.newest()) == {LOBBY: kept[-1].id}
    assert len(told) == 7, "nobody is told"
    # What was said under that key is nowhere, so that it can be said.
    again = await wait(log.append(draft("again", DEV, client_id="c1")))
    assert (again.id, again.repeated) == (8, False)
