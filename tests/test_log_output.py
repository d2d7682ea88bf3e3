"""Which lines are logged, and how journald is told their level."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

import pytest
from twisted.logger import (
    FileLogObserver,
    Logger,
    LogLevel,
    LogPublisher,
    eventAsText,
    textFileLogObserver,
)
from twisted.python.failure import Failure

from cometd_chat.daemon.log_output import LogOutput, as_journal_lines, reaches_journal


class Log:
    """A log that is written to a stream, as twistd's is."""

    def __init__(self, level: str, *, journal: bool = False, to_stdout: bool = True) -> None:
        self.stdout = StringIO()
        self.file = StringIO()
        self.observer = textFileLogObserver(self.stdout if to_stdout else self.file)
        self.publisher = LogPublisher(self.observer)
        self.log = Logger(namespace="test", observer=self.publisher)
        self.output = LogOutput(level, self.publisher, journal=journal, stdout=self.stdout)

    def say_all(self) -> None:
        for level in LogLevel.iterconstants():
            self.log.emit(level, "{name}", name=level.name)


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warn", "error", "critical"]),
        ("info", ["info", "warn", "error", "critical"]),
        ("error", ["error", "critical"]),
        ("critical", ["critical"]),
    ],
)
def test_what_is_below_the_level_is_not_written(level: str, written: list[str]) -> None:
    log = Log(level)
    log.output.startService()
    log.say_all()
    assert [line.split()[-1] for line in log.stdout.getvalue().splitlines()] == written


def test_after_its_stop_the_log_is_as_it_was() -> None:
    log = Log("critical")
    log.output.startService()
    log.output.stopService()
    log.say_all()
    assert len(log.stdout.getvalue().splitlines()) == 5
    log.publisher.removeObserver(log.observer)
    log.say_all()
    assert len(log.stdout.getvalue().splitlines()) == 5, "twistd could take its observer back"


def test_for_journald_each_line_begins_with_its_level() -> None:
    log = Log("debug", journal=True)
    log.output.startService()
    log.say_all()
    assert log.stdout.getvalue().splitlines() == [
        "<7>[test#debug] debug",
        "<6>[test#info] info",
        "<4>[test#warn] warn",
        "<3>[test#error] error",
        "<2>[test#critical] critical",
    ]


def test_a_log_that_goes_to_a_file_has_no_prefixes() -> None:
    log = Log("info", journal=True, to_stdout=False)
    log.output.startService()
    log.log.info("hello")
    assert log.stdout.getvalue() == ""
    assert log.file.getvalue().endswith("[test#info] hello\n")
    assert "<6>" not in log.file.getvalue()


def test_every_line_of_a_traceback_has_the_level() -> None:
    events: list[str] = []
    stream = StringIO()
    publisher = LogPublisher(FileLogObserver(stream, as_journal_lines))
    try:
        raise ValueError("broken")
    except ValueError:
        Logger(observer=publisher).failure("it failed", Failure())
    events = stream.getvalue().splitlines()
    assert len(events) > 2
    assert all(line.startswith("<2>") for line in events)
    assert any("ValueError: broken" in line for line in events)


def test_an_event_without_a_level_is_information() -> None:
    event = {"log_format": "hello"}
    assert eventAsText(event, includeTimestamp=False, includeSystem=False) == "hello"
    assert (as_journal_lines(event) or "").startswith("<6>")


def test_an_event_without_a_text_is_no_line() -> None:
    assert as_journal_lines({"log_format": ""}) is None


def test_what_reaches_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream:
        status = os.fstat(stream.fileno())
        here = f"{status.st_dev}:{status.st_ino}"
        assert reaches_journal(stream, {"JOURNAL_STREAM": here})
        assert not reaches_journal(stream, {"JOURNAL_STREAM": "8:1"})
        assert not reaches_journal(stream, {})
    assert not reaches_journal(None, {"JOURNAL_STREAM": here})
    assert not reaches_journal(StringIO(), {"JOURNAL_STREAM": here})
