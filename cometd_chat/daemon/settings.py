"""Options, from the command line and the environment, to values that are known to be good.

What it is: one table of options, the `Options` that twistd parses and the frozen `Settings` that
come out. A flag wins over its variable ``COMET_CHAT_...``, which wins over the default.

What it may know: how values are written. It opens and makes nothing.

Invariant: a `Settings` that came out of `Options` is consistent; a value that can't be right is
one sentence on the real stderr, naming option, value and remedy, and exit status 1.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal, get_args

import attrs
import idna
from twisted.internet.endpoints import serverFromString
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from cometd_chat import __version__
from cometd_chat.bayeux.channels import InvalidChannel, intersects, parse_pattern
from cometd_chat.transports import twisted_internals

ShowAddresses = Literal["full", "network", "none"]
LogLevelName = Literal["debug", "info", "warn", "error", "critical"]

ENVIRONMENT_PREFIX = "COMET_CHAT_"

_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_MAX_SECONDS = 30 * 24 * 3600

#: Bytes of the path of a Unix socket (unix(7)).
MAX_SOCKET_PATH = 107


@attrs.frozen
class Percent:
    """So much of the memory that the process can have; see `machine.memory_limit`."""

    value: float


@attrs.frozen(kw_only=True)
class Settings:
    """What the daemon was told.

    :param listen: endpoint descriptions, see `twisted.internet.endpoints.serverFromString`.
    :param hosts: host names served, lower case, as they stand in a ``Host`` header.
    :param data: the directory of everything that is kept.
    :param heartbeat: seconds of silence after which a held stream gets a heartbeat.
    :param expiration_delay: seconds without progress after which a held connection is closed.
    :param poll_timeout: seconds that a long poll is held.
    :param reader_budget: bytes that a held connection may be behind.
    :param guest_timeout: seconds after which an idle guest's name is free again.
    :param public_reading: whether rooms can be read without a session.
    :param show_addresses: what others see of a visitor's address.
    :param limits: whether the rate limits are on.
    :param max_log: bytes past which the log takes no more.
    :param connections_per_address: how many connections one address may have.
    :param metrics: endpoint of a port for the metrics alone; without it they are on the main port,
        for this machine.
    :param log_level: the least level of what is written to the log.
    :param memory_ceiling: bytes that may be held for all connections together.
    :param trusted_proxy: proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.
    :param allow_origin: foreign origins whose pages may use the API and transports with a token.
    :param bayeux_channels: trees of Bayeux channels that are free for other programs.
    :param direct_write: whether streams are written past Twisted's buffers.
    :param fast_lane: whether the hottest requests take a way of their own.
    """

    listen: tuple[str, ...] = ("tcp:8080:interface=127.0.0.1",)
    hosts: tuple[str, ...] = ()
    data: Path = Path("comet-chat-data")
    heartbeat: float = 15.0
    expiration_delay: float = 60.0
    poll_timeout: float = 25.0
    reader_budget: int = 256 * 2**10
    guest_timeout: float = 900.0
    public_reading: bool = True
    show_addresses: ShowAddresses = "none"
    limits: bool = True
    max_log: int = 8 * 2**30
    connections_per_address: int = 256
    metrics: str | None = None
    log_level: LogLevelName = "info"
    memory_ceiling: int | Percent = Percent(25)
    trusted_proxy: tuple[IPv4Network | IPv6Network, ...] = ()
    allow_origin: tuple[str, ...] = ()
    bayeux_channels: tuple[str, ...] = ()
    direct_write: bool = True
    fast_lane: bool = True


def parse_seconds(text: str) -> float:
    """A positive number of seconds, up to thirty days."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= _MAX_SECONDS:
        raise ValueError(f"give a number of seconds from 0.1 to {_MAX_SECONDS}, such as 15")
    return seconds


def parse_size(text: str) -> int:
    """Bytes, plain or with a unit."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([a-z]*)", text.lower())
    if match is None or match[2] not in _UNITS or len(match[1]) > 20:
        raise ValueError("give bytes, or a size in KiB, MiB, GiB or TiB, such as 256KiB")
    return int(float(match[1]) * _UNITS[match[2]])


def size_parser(least: str) -> Callable[[str], int]:
    """A parser of sizes.

    :param least: the smallest size that makes sense, as it would be written.
    """
    smallest = parse_size(least)

    def parse(text: str) -> int:
        size = parse_size(text)
        if not smallest <= size <= 2**60:
            raise ValueError(f"give a size from {least} to 1048576TiB")
        return size

    return parse


def share_parser(least: str) -> Callable[[str], int | Percent]:
    """A parser of amounts of memory: a size, or a share of what there is.

    :param least: the smallest size that makes sense, as it would be written.
    """
    parse_absolute = size_parser(least)

    def parse(text: str) -> int | Percent:
        match = re.fullmatch(r"([0-9]{1,2}(?:\.[0-9]{1,3})?|100) ?%", text)
        if match is not None and float(match[1]) > 0:
            return Percent(float(match[1]))
        try:
            return parse_absolute(text)
        except ValueError as error:
            raise ValueError(f"{error}, or a share of the memory, such as 25%") from error

    return parse


def parse_count(text: str) -> int:
    """How many of something, at least one."""
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text)):
        raise ValueError("give a whole number from 1 to 9999999, such as 256")
    return int(text)


def parse_data(text: str) -> Path:
    """A directory; that it can be used is found out when the daemon starts."""
    if not text:
        raise ValueError("give a directory, such as ./comet-chat-data")
    return Path(text)


def parse_host(text: str) -> str:
    """A host name as browsers send it: lower case, international names in their ASCII form."""
    name = text.lower().rstrip(".")
    try:
        ascii_name = name if name.isascii() else idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        ascii_name = ""
    labels = ascii_name.split(".")
    fits = len(ascii_name) <= 253 and all(
        re.fullmatch(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", label) for label in labels
    )
    if not fits:
        raise ValueError("give a bare host name without scheme or port, such as chat.example.org")
    return ascii_name


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """An address, or a network of them."""
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(
            "give an IP address or a network, such as 127.0.0.1 or 10.0.0.0/8"
        ) from error


def parse_origin(text: str) -> str:
    """An origin as browsers send it (RFC 6454, section 6.2)."""
    if not re.fullmatch(
        r"https?://[a-z0-9._-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?", text.lower()
    ):
        raise ValueError("give scheme and host without a path, such as https://www.example.org")
    # Browsers leave out the port that goes without saying.
    return re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", text.lower())


def parse_channels(text: str) -> str:
    """A tree of free Bayeux channels."""
    try:
        pattern = parse_pattern(text)
    except InvalidChannel:
        pattern = "/**"
    # Those have owners, and what is not the protocol's is the chat's.
    owned = ("/meta/**", "/service/**", "/chat/**", "/members/**")
    if any(intersects(pattern, each) for each in owned):
        raise ValueError("give a tree of channels of its own, such as /app/**")
    return pattern


def parse_listen(text: str) -> str:
    """An endpoint description that Twisted understands; nothing is bound."""
    # Endpoints are made again by the service; some parsers want a reactor even to look at one.
    from twisted.internet import reactor

    port = re.match(r"(?:tcp6?|ssl):(?:port=)?([0-9]+)(?=:|$)", text)
    if port is not None and int(port[1]) > 65535:
        raise ValueError("give a port from 0 to 65535, such as tcp:8080:interface=127.0.0.1")
    try:
        endpoint = serverFromString(reactor, text)
    except OSError as error:
        file = os.fsdecode(error.filename or "the file")
        raise ValueError(f"can't read {file} ({error.strerror}); name one that can be") from error
    except Exception as error:
        if text.startswith("systemd:"):
            raise ValueError(
                "systemd handed over no such socket; start the .socket unit and count from "
                "index=0, as in systemd:domain=INET:index=0"
            ) from error
        if text.startswith("ssl:"):
            raise ValueError(
                "not a usable TLS endpoint; write it like "
                "ssl:8443:privateKey=key.pem:certKey=certificate.pem, both files in PEM form"
            ) from error
        raise ValueError(
            "not an endpoint description; write it like tcp:8080:interface=127.0.0.1 or "
            "unix:/run/comet-chat.sock"
        ) from error
    path = twisted_internals.socket_path(endpoint)
    if path is not None:
        _check_socket_path(path)
    return text


def _check_socket_path(name: str) -> None:
    """Refuse what no Unix socket can be made at: Twisted finds out when it has left a lock there.

    :raises ValueError: it is one.
    """
    if not name:
        raise ValueError("give a path, such as unix:/run/comet-chat.sock")
    if len(os.fsencode(name)) > MAX_SOCKET_PATH:
        raise ValueError(
            f"a path of {MAX_SOCKET_PATH} bytes at most is needed, such as "
            "unix:/run/comet-chat.sock"
        )
    path = Path(name)
    if not path.parent.is_dir():
        raise ValueError(f"there is no directory {path.parent}; make it, or choose another")
    if path.exists() and not path.is_socket():
        raise ValueError("that is there and is no socket; choose another path")


def parse_metrics(text: str) -> str | None:
    """An endpoint description of a port for the metrics; none without one."""
    return parse_listen(text) if text else None


def choice_parser(choices: Mapping[str, Any]) -> Callable[[str], Any]:
    """A parser of one word out of a few."""
    *most, last = choices
    remedy = f"give {', '.join(most)} or {last}"

    def parse_choice(text: str) -> Any:
        if text.lower() not in choices:
            raise ValueError(remedy)
        return choices[text.lower()]

    return parse_choice


@attrs.frozen
class Option:
    """A row of the table of options.

    :param name: as on the command line, without the dashes.
    :param default: as it would be written there.
    :param parse: text to value; its ValueError says what to give instead.
    :param help: one line.
    :param field: of `Settings`.
    :param repeatable: can be given several times; spaces separate the values of the variable.
    """

    name: str
    default: str
    parse: Callable[[str], Any]
    help: str
    field: str
    repeatable: bool = False

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.replace("-", "_").upper()

    @property
    def help_text(self) -> str:
        more = ["repeatable"] * self.repeatable + [f"default: {self.default or 'none'}"]
        return f"{self.help} [{', '.join(more)}]"


_YES_NO = choice_parser({"yes": True, "no": False})
_ON_OFF = choice_parser({"on": True, "off": False})
_LEVELS = choice_parser({name: name for name in get_args(LogLevelName)})
_ADDRESSES = choice_parser({"full": "full", "network": "network", "none": "none"})

OPTIONS = (
    Option("listen", "tcp:8080:interface=127.0.0.1", parse_listen,
           "Endpoint to listen on: tcp:, ssl:, unix: or systemd:", "listen", repeatable=True),
    Option("host", "", parse_host,
           "Host name served, besides IP addresses and localhost", "hosts", repeatable=True),
    Option("data", "./comet-chat-data", parse_data,
           "Directory that holds everything; made when missing", "data"),
    Option("heartbeat", "15", parse_seconds,
           "Seconds of silence after which a stream gets a heartbeat", "heartbeat"),
    Option("expiration-delay", "60", parse_seconds,
           "Seconds without progress after which a held connection is closed", "expiration_delay"),
    Option("poll-timeout", "25", parse_seconds,
           "Seconds a long poll is held", "poll_timeout"),
    Option("reader-budget", "256KiB", size_parser("4KiB"),
           "How far a held connection may be behind", "reader_budget"),
    Option("guest-timeout", "900", parse_seconds,
           "Seconds after which the name of an idle guest is free again", "guest_timeout"),
    Option("public-reading", "yes", _YES_NO,
           "Whether rooms can be read without a session: yes or no", "public_reading"),
    Option("show-addresses", "none", _ADDRESSES,
           "What others see of a visitor's address: full, network or none", "show_addresses"),
    Option("limits", "on", _ON_OFF, "Rate limits: on or off", "limits"),
    Option("max-log", "8GiB", size_parser("64KiB"),
           "Size of the log past which posts are refused", "max_log"),
    Option("connections-per-address", "256", parse_count,
           "Connections that one address, of IPv6 one /64, may have", "connections_per_address"),
    Option("metrics", "", parse_metrics,
           "Endpoint of a port for /metrics alone, which the main port then lacks", "metrics"),
    Option("log-level", "info", _LEVELS,
           "Least level of what is logged: debug (a line a request), info, warn, error or critical",
           "log_level"),
    Option("memory-ceiling", "25%", share_parser("16MiB"),
           "Memory that all connections may hold, a size or a share of it", "memory_ceiling"),
    Option("trusted-proxy", "", parse_network,
           "Address or network of a proxy whose X-Forwarded-For is believed", "trusted_proxy",
           repeatable=True),
    Option("allow-origin", "", parse_origin,
           "Foreign origin that may use the API and transports with a token", "allow_origin",
           repeatable=True),
    Option("bayeux-channels", "", parse_channels,
           "Tree of Bayeux channels for other programs, such as /app/**", "bayeux_channels",
           repeatable=True),
    Option("direct-write", "on", _ON_OFF,
           "Writing streams straight to the kernel: on or off", "direct_write"),
    Option("fast-lane", "on", _ON_OFF,
           "The short way of polls, streams and posts: on or off", "fast_lane"),
)  # fmt: skip

_BY_NAME = {option.name: option for option in OPTIONS}


class Options(UsageOptions):
    """The options of ``twistd comet-chat``; after parsing, `settings` holds their values.

    :param environ: where the variables are looked up.
    """

    optParameters = [
        [option.name, None, None, option.help_text] for option in OPTIONS if not option.repeatable
    ]
    longdesc = (
        "Every option can also be set by an environment variable, such as "
        f"{_BY_NAME['listen'].variable}; spaces separate several values. A flag wins."
    )

    settings: Settings

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environ = environ
        self._repeated: dict[str, list[str]] = {}

    def opt_listen(self, endpoint: str) -> None:
        self._repeated.setdefault("listen", []).append(endpoint)

    def opt_host(self, name: str) -> None:
        self._repeated.setdefault("host", []).append(name)

    def opt_trusted_proxy(self, network: str) -> None:
        self._repeated.setdefault("trusted-proxy", []).append(network)

    def opt_allow_origin(self, origin: str) -> None:
        self._repeated.setdefault("allow-origin", []).append(origin)

    def opt_bayeux_channels(self, pattern: str) -> None:
        self._repeated.setdefault("bayeux-channels", []).append(pattern)

    opt_listen.__doc__ = _BY_NAME["listen"].help_text
    opt_host.__doc__ = _BY_NAME["host"].help_text
    opt_trusted_proxy.__doc__ = _BY_NAME["trusted-proxy"].help_text
    opt_allow_origin.__doc__ = _BY_NAME["allow-origin"].help_text
    opt_bayeux_channels.__doc__ = _BY_NAME["bayeux-channels"].help_text

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
            values[option.field] = tuple(parsed) if option.repeatable else parsed[0]
            given[option.field] = origin
        self.settings = Settings(**values)
        _check_expiration(self.settings, given)

    def _texts(self, option: Option) -> tuple[str, list[str] | None]:
        """Where an option was set, and to what; None when it was not. An empty variable is not."""
        flag = "--" + option.name
        if option.repeatable and option.name in self._repeated:
            return flag, self._repeated[option.name]
        if not option.repeatable and self[option.name] is not None:
            return flag, [self[option.name]]
        text = self._environ.get(option.variable, "").strip()
        if not text:
            return flag, None
        return option.variable, text.split() if option.repeatable else [text]


def _parse(option: Option, origin: str, text: str) -> Any:
    try:
        return option.parse(text)
    except ValueError as error:
        raise UsageError(f"{origin} {text!r}: {error}") from error


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


def print_error(sentence: str) -> None:
    """One line on the real stderr: under twistd ``sys.stderr`` may be the log."""
    if sys.__stderr__ is not None:
        print(f"comet-chat: {' '.join(sentence.split())}", file=sys.__stderr__, flush=True)
