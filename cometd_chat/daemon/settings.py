"""Options, from the command line and the environment, to values that are known to be good.

What it is: `Settings`, whose fields are the one table of options, and the `Options` that twistd
parses. A flag wins over its variable ``COMET_CHAT_...``, which wins over the default.

What it may know: what options are for. It opens and makes nothing.

Invariant: a `Settings` that came out of `Options` is consistent; a value that can't be right is
one sentence on the real stderr, naming option, value and remedy, and exit status 1.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import attrs
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from cometd_chat import __version__
from cometd_chat.daemon.option_values import (
    DatabaseUrl,
    Percent,
    choice_parser,
    parse_channels,
    parse_count,
    parse_data,
    parse_database,
    parse_host,
    parse_listen,
    parse_metrics,
    parse_network,
    parse_node,
    parse_origin,
    parse_peer,
    parse_peer_address,
    parse_seconds,
    parse_title,
    parse_user_header,
    parse_welcome,
    parse_workers,
    share_parser,
    size_parser,
    unless_given,
)
from cometd_chat.daemon.stderr import print_error

ShowAddresses = Literal["full", "network", "none"]
LogLevelName = Literal["debug", "info", "warn", "error", "critical"]

ENVIRONMENT_PREFIX = "COMET_CHAT_"

Value = TypeVar("Value")


@attrs.frozen
class Option:
    """A row of the table of options.

    :param field: of `Settings`.
    :param name: as on the command line, without the dashes.
    :param default: as it would be written there.
    :param parse: text to value; its ValueError says what to give instead.
    :param help: one line.
    :param repeatable: can be given several times; spaces separate the values of the variable.
    :param secret: its value is not shown, whatever is wrong with it.
    """

    field: str
    name: str
    default: str
    parse: Callable[[str], Any]
    help: str
    repeatable: bool = False
    secret: bool = False

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.replace("-", "_").upper()

    @property
    def help_text(self) -> str:
        more = ["repeatable"] * self.repeatable + [f"default: {self.default or 'none'}"]
        return f"{self.help} [{', '.join(more)}]"


def option(
    default: str, parse: Callable[[str], Value], help: str, *, secret: bool = False
) -> Value:
    """A field of `Settings` that is an option of the same name; see `Option`."""
    # Not before it is needed: some parsers want a reactor, which twistd chooses.
    value = cache(lambda: parse(default))
    row = {"default": default, "parse": parse, "help": help, "secret": secret}
    return attrs.field(factory=value, metadata=row)


def repeatable(
    default: str, parse: Callable[[str], Value], help: str, *, name: str = ""
) -> tuple[Value, ...]:
    """The same of one that can be given several times.

    :param name: for where the field is called by many what the option is by one.
    """
    values = cache(lambda: tuple(map(parse, default.split())))
    row = {"default": default, "parse": parse, "help": help, "repeatable": True}
    return attrs.field(factory=values, metadata=row | ({"name": name} if name else {}))


_YES_NO = choice_parser({"yes": True, "no": False})
_ON_OFF = choice_parser({"on": True, "off": False})
_GUESTS = choice_parser({word: word for word in ("open", "approve", "off")})
_REGISTRATION = choice_parser({word: word for word in ("open", "invite", "off")})
_ROOMS = choice_parser({word: word for word in ("guest", "member", "moderator")})
_LEVELS = choice_parser({name: name for name in get_args(LogLevelName)})
_ADDRESSES = choice_parser({name: name for name in get_args(ShowAddresses)})


@attrs.frozen(kw_only=True)
class Settings:
    """What the daemon was told: a field is an option, and this the one place that says so.

    Times are in seconds, sizes in bytes.
    """

    listen: tuple[str, ...] = repeatable(
        "tcp:8080:interface=127.0.0.1",
        parse_listen,
        "Endpoint to listen on: tcp:, ssl:, unix: or systemd:",
    )
    hosts: tuple[str, ...] = repeatable(
        "", parse_host, "Host name served, besides IP addresses and localhost", name="host"
    )
    data: Path = option(
        "./comet-chat-data", parse_data, "Directory that holds everything; made when missing"
    )
    database: DatabaseUrl = option(
        "sqlite:",
        parse_database,
        "Where the conversation is kept: sqlite:, a file in --data, or postgresql://...",
        secret=True,
    )
    workers: int = option(
        "1", parse_workers, "Processes that share the ports; more than 1 need PostgreSQL"
    )
    node: str = option(
        "", parse_node, "Name of this daemon among those of one database, else the machine's"
    )
    peer: str = option(
        "tcp:0:interface=127.0.0.1",
        parse_peer,
        "Endpoint for other daemons of the same database, never for the world",
    )
    peer_address: str = option(
        "", parse_peer_address, "HOST:PORT at which they reach it, else that of --peer"
    )
    heartbeat: float = option(
        "15", parse_seconds, "Seconds of silence after which a stream gets a heartbeat"
    )
    expiration_delay: float = option(
        "60", parse_seconds, "Seconds without progress after which a held connection is closed"
    )
    poll_timeout: float = option("25", parse_seconds, "Seconds a long poll is held")
    reader_budget: int = option(
        "256KiB", size_parser("4KiB"), "How far a held connection may be behind"
    )
    guest_timeout: float = option(
        "900", parse_seconds, "Seconds after which the name of an idle guest is free again"
    )
    # Policies that are pinned: what is not given is as it is kept, see `cometd_chat.chat.policies`.
    title: str | None = option("", unless_given(parse_title), "What the chat is called")
    welcome: str | None = option("", unless_given(parse_welcome), "What is said to who comes in")
    guests: str | None = option(
        "", unless_given(_GUESTS), "Who comes without an account: open, approve or off"
    )
    registration: str | None = option(
        "", unless_given(_REGISTRATION), "Who may have an account: open, invite or off"
    )
    rooms: str | None = option(
        "", unless_given(_ROOMS), "From whom on rooms are made: guest, member or moderator"
    )
    public_reading: bool | None = option(
        "", unless_given(_YES_NO), "Whether rooms can be read without a session: yes or no"
    )
    show_addresses: ShowAddresses = option(
        "none",
        _ADDRESSES,
        "What others see of a visitor's address: full, network or none",
    )
    limits: bool = option("on", _ON_OFF, "Rate limits: on or off")
    max_log: int = option(
        "8GiB", size_parser("64KiB"), "Size of the log past which posts are refused"
    )
    connections_per_address: int = option(
        "256", parse_count, "Connections that one address, of IPv6 one /64, may have"
    )
    metrics: str | None = option(
        "",
        parse_metrics,
        "Endpoint of a port for /metrics alone, which the main port then lacks",
    )
    log_level: LogLevelName = option(
        "info",
        _LEVELS,
        "Least level of what is logged: debug (a line a request), info, warn, error or critical",
    )
    memory_ceiling: int | Percent = option(
        "25%",
        share_parser("16MiB"),
        "Memory that all connections may hold, a size or a share of it",
    )
    # And whose X-Forwarded-Proto.
    trusted_proxy: tuple[IPv4Network | IPv6Network, ...] = repeatable(
        "",
        parse_network,
        "Address or network of a proxy whose X-Forwarded-For is believed",
    )
    trust_user_header: str | None = option(
        "",
        parse_user_header,
        "Header by which a proxy of --trusted-proxy says who is logged in, such as Remote-User",
    )
    allow_origin: tuple[str, ...] = repeatable(
        "",
        parse_origin,
        "Foreign origin that may use the API and transports with a token",
    )
    bayeux_channels: tuple[str, ...] = repeatable(
        "",
        parse_channels,
        "Tree of Bayeux channels for other programs, such as /app/**",
    )
    direct_write: bool = option("on", _ON_OFF, "Writing streams straight to the kernel: on or off")
    fast_lane: bool = option("on", _ON_OFF, "The short way of polls, streams and posts: on or off")


def _row(field: attrs.Attribute[Any]) -> Option:
    return Option(**{"field": field.name, "name": field.name.replace("_", "-"), **field.metadata})


OPTIONS = tuple(_row(field) for field in attrs.fields(Settings))

_BY_NAME = {option.name: option for option in OPTIONS}


class Options(UsageOptions):
    """The options of ``twistd comet-chat``; after parsing, `settings` holds their values.

    :param environ: where the variables are looked up.
    """

    longdesc = (
        "Every option can also be set by an environment variable, such as "
        f"{_BY_NAME['listen'].variable}; spaces separate several values. A flag wins."
    )

    settings: Settings

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environ = environ
        #: What was given on the command line, by the names of options.
        self._given: dict[str, list[str]] = {}

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(f"Comet Chat {__version__}")
        raise SystemExit(0)

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise UsageError(f"{arguments[0]!r} is not an option; options start with --")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse; what is wrong is told in one line on the real stderr.

        :raises SystemExit: with status 1; twistd would print a usage page for a UsageError.
        """
        try:
            super().parseOptions(options)
        except UsageError as error:
            print_error(_mend_getopt(str(error)))
            raise SystemExit(1) from None

    def postOptions(self) -> None:
        values: dict[str, Any] = {}
        given: dict[str, str] = {}
        for option in OPTIONS:
            origin, texts = self._texts(option)
            if texts is None:
                continue
            parsed = [_parse(option, origin, text) for text in texts]
            values[option.field] = tuple(parsed) if option.repeatable else parsed[-1]
            given[option.field] = origin
        self.settings = Settings(**values)
        _check_expiration(self.settings, given)
        _check_unused(self.settings, given)
        _check_workers(self.settings, given)
        _check_driver(self.settings, given)
        _check_peer(self.settings, given)
        _check_user_header(self.settings, given)

    def handed_on(self, but: Collection[str]) -> tuple[list[str], dict[str, str]]:
        """What was given on the command line, for a process of ours, which has our variables:
        its arguments, and more variables for what nobody may see there.

        :param but: names of options that are left out.
        """
        arguments: list[str] = []
        variables: dict[str, str] = {}
        for option in OPTIONS:
            texts = self._given.get(option.name, ())
            if option.name in but:
                continue
            if option.secret and texts:
                variables[option.variable] = texts[-1]
            else:
                arguments += [f"--{option.name}={text}" for text in texts]
        return arguments, variables

    def _texts(self, option: Option) -> tuple[str, list[str] | None]:
        """Where an option was set, and to what; None when it was not. An empty variable is not."""
        flag = "--" + option.name
        if option.name in self._given:
            return flag, self._given[option.name]
        text = self._environ.get(option.variable, "").strip()
        if not text:
            return flag, None
        return option.variable, text.split() if option.repeatable else [text]


def _handler(option: Option) -> Callable[[Options, str], None]:
    """What twistd's parser calls for an option, and shows as its help."""

    def given(self: Options, value: str) -> None:
        self._given.setdefault(option.name, []).append(value)

    given.__doc__ = option.help_text
    return given


for _option in OPTIONS:
    # It looks for methods of this form.
    setattr(Options, f"opt_{_option.name.replace('-', '_')}", _handler(_option))


def _parse(option: Option, origin: str, text: str) -> Any:
    try:
        return option.parse(text)
    except ValueError as error:
        shown = origin if option.secret else f"{origin} {text!r}"
        raise UsageError(f"{shown}: {error}") from (None if option.secret else error)


def _check_expiration(settings: Settings, given: Mapping[str, str]) -> None:
    """A heartbeat and a poll have to come round before the reaper does."""
    delay = settings.expiration_delay
    for name, field in (("heartbeat", "heartbeat"), ("poll-timeout", "poll_timeout")):
        seconds = getattr(settings, field)
        if seconds <= delay / 2:
            continue
        if field in given:
            raise UsageError(
                f"{given[field]} '{seconds:g}': at most half of --expiration-delay ({delay:g}); "
                f"give {delay / 2:g} or less, or set --expiration-delay to {seconds * 2:g}"
            )
        raise UsageError(
            f"{given['expiration_delay']} '{delay:g}': at least twice --{name} ({seconds:g}); "
            f"give {seconds * 2:g} or more, or set --{name} to {delay / 2:g}"
        )


#: What means nothing to a daemon that has its database for itself.
_AMONG_OTHERS = ("node", "peer", "peer_address")


def _check_unused(settings: Settings, given: Mapping[str, str]) -> None:
    """What was given is not ignored without a word: whoever gave it believes that it does
    something."""
    if not settings.database.is_postgresql:
        for field in _AMONG_OTHERS:
            if field in given:
                raise UsageError(
                    f"{given[field]} {getattr(settings, field)!r}: only daemons that share a "
                    "PostgreSQL know others; give --database postgresql://... as well, or leave "
                    "it out"
                )
    if not settings.limits and "connections_per_address" in given:
        raise UsageError(
            f"{given['connections_per_address']} '{settings.connections_per_address}': "
            f"{given['limits']} off lifts that bound, too; leave out one of them"
        )


def _check_workers(settings: Settings, given: Mapping[str, str]) -> None:
    """Several processes need what they can share."""
    if settings.workers > 1 and not settings.database.is_postgresql:
        raise UsageError(
            f"{given['workers']} '{settings.workers}': several processes share a PostgreSQL; give "
            "--database postgresql://... as well, or --workers 1"
        )


def _check_driver(settings: Settings, given: Mapping[str, str]) -> None:
    """What PostgreSQL needs is an extra of this package."""
    if settings.database.is_postgresql and find_spec("psycopg") is None:
        raise UsageError(
            f"{given['database']} '{settings.database}': its driver is not installed; run: "
            "pip install 'cometd-chat[postgresql]'"
        )


def _check_peer(settings: Settings, given: Mapping[str, str]) -> None:
    """Where others find this daemon has to be one place, and another one for each worker."""
    if not settings.database.is_postgresql:
        return
    for option, value in (("peer", settings.peer), ("peer_address", settings.peer_address)):
        port = re.search(r"(?::|port=)([0-9]+)(?=:|$)", value)
        if port is not None and int(port[1]) + 2 * settings.workers > 65535:
            raise UsageError(
                f"{given[option]} {value!r}: each worker needs a port of its own from that one on; "
                f"give one of {65535 - 2 * settings.workers} at most"
            )
    if settings.peer_address:
        if re.match(r"tcp6?:(?:port=)?0(?=:|$)", settings.peer):
            raise UsageError(
                f"{given['peer_address']} {settings.peer_address!r}: this daemon does not listen "
                "there, --peer takes a free port of this machine; give the port as well, as in "
                "--peer tcp:8090:interface=10.0.0.1"
            )
        return
    interface = re.search(r":interface=((?:\\:|[^:])+)", settings.peer)
    if interface is None or interface[1].replace("\\", "") in ("0.0.0.0", "::"):  # noqa: S104
        raise UsageError(
            f"{given['peer']} {settings.peer!r}: others can't tell at which address that is; add "
            "interface=, as in tcp:8090:interface=10.0.0.1, or give --peer-address 10.0.0.1:8090"
        )


def _check_user_header(settings: Settings, given: Mapping[str, str]) -> None:
    """Whoever may write that header is whoever they like."""
    if settings.trust_user_header is not None and not settings.trusted_proxy:
        raise UsageError(
            f"{given['trust_user_header']} {settings.trust_user_header!r}: anybody could write "
            "that header and be whoever they like; give --trusted-proxy, the address of the proxy "
            "that writes it, as well"
        )


def _mend_getopt(message: str) -> str:
    """Add the remedy to what getopt says about options that it can't read."""
    unknown = re.fullmatch(r"option --(\S*) not recognized", message)
    if unknown is not None:
        close = difflib.get_close_matches(unknown[1], _BY_NAME, n=1)
        hint = f"did you mean --{close[0]}?" if close else "--help lists them all"
        return f"--{unknown[1]}: there is no such option; {hint}"
    missing = re.fullmatch(r"option --(\S*) requires argument", message)
    if missing is not None and missing[1] in _BY_NAME:
        example = _BY_NAME[missing[1]].default or "chat.example.org"
        return f"--{missing[1]}: its value is missing; give one, such as --{missing[1]} {example}"
    if message.startswith("option "):
        return f"{message}; --help lists all options"
    return message
