"""Values of options, from text.

What it is: a parser of each kind of value; its ValueError says what to give instead.

What it may know: how values are written. It opens and makes nothing.

Invariant: what a parser lets through is good by itself.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import attrs
import idna
from twisted.internet.endpoints import serverFromString

from cometd_chat.bayeux.channels import InvalidChannel, intersects, parse_pattern
from cometd_chat.transports import twisted_internals

_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_MAX_SECONDS = 30 * 24 * 3600

#: Processes of one machine; each takes connections of the database and the memory of a daemon.
MAX_WORKERS = 256

#: Bytes of the path of a Unix socket (unix(7)).
MAX_SOCKET_PATH = 107

#: Characters of a policy's text.
MAX_TITLE = 60
MAX_WELCOME = 1000

Value = TypeVar("Value")


@attrs.frozen
class Percent:
    """So much of the memory that the process can have; see `machine.memory_limit`."""

    value: float


@attrs.frozen
class DatabaseUrl:
    """Where the conversation is kept. What is shown of it, as ``str`` or ``repr``, has no password.

    :param shown: the URL with stars where its password is.
    :param conninfo: the URL as libpq reads it ("Connection URIs" of its manual), its password
        included: never to be shown. Empty for the file in `--data`.
    """

    shown: str
    conninfo: str = attrs.field(default="", repr=False)

    @property
    def is_postgresql(self) -> bool:
        """Whether it is a server, which many processes can share."""
        return bool(self.conninfo)

    def __str__(self) -> str:
        return self.shown


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


def parse_database(text: str) -> DatabaseUrl:
    """The URL of a database; nothing is connected to. What is wrong is told without the value."""
    if text == "sqlite:":
        return DatabaseUrl(text)
    if text.startswith("sqlite:"):
        raise ValueError("give sqlite: alone, which is chat.sqlite in --data, or postgresql://...")
    scheme, separator, rest = text.partition("://")
    if scheme not in ("postgresql", "postgres") or not separator:
        raise ValueError("give sqlite: or a URL such as postgresql://chat@db.example.org/chat")
    conninfo = f"postgresql://{rest}"
    if not (text.isascii() and text.isprintable()) or re.search(r"[ #]|%(?![0-9A-Fa-f]{2})", text):
        raise ValueError(_ENCODE)
    where = urlsplit(conninfo)
    user, at, hosts = where.netloc.rpartition("@")
    if "@" in user or not all(map(_is_host, hosts.split(","))):
        raise ValueError(_ENCODE)
    name, colon, password = user.partition(":")
    netloc = f"{name}{':***' if colon and password else colon}{at}{hosts}"
    try:
        parameters = parse_qsl(
            where.query, keep_blank_values=True, strict_parsing=bool(where.query)
        )
    except ValueError as error:
        raise ValueError(
            "after ? give name=value, joined by &, such as ?sslmode=require"
        ) from error
    query = urlencode(
        [(key, "***" if key in _SECRET_PARAMETERS else value) for key, value in parameters],
        safe="*/:,",
        quote_via=quote,
    )
    shown = f"postgresql://{netloc}{where.path}{'?' if query else ''}{query}"
    return DatabaseUrl(shown, conninfo)


#: Of a URL of PostgreSQL ("Parameter Key Words" of libpq's manual).
_SECRET_PARAMETERS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key"}
)

_ENCODE = (
    "give a URL such as postgresql://chat@db.example.org:5432/chat; in its user and password write "
    "%40 for @, %3A for :, %2F for /, %23 for #, %25 for %"
)


def _is_host(text: str) -> bool:
    """Whether it is a host with or without a port, as in a URL of PostgreSQL; may be empty."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@]*)(?::([0-9]{0,5}))?", text)
    return match is not None and int(match[2] or 1) in range(1, 65536)


def parse_workers(text: str) -> int:
    """How many processes."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_WORKERS):
        raise ValueError(f"give a whole number from 1 to {MAX_WORKERS}, such as one per processor")
    return int(text)


def parse_node(text: str) -> str:
    """The name of a daemon among others; none for that of the machine."""
    if text and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", text):
        raise ValueError("give up to 63 letters, digits, dots, dashes or _, such as chat-1")
    return text


#: Headers that browsers send, or that mean something to who speaks HTTP: no proxy says by one who
#: is logged in.
_TAKEN_HEADERS = re.compile(
    "accept.*|access-control-.*|authorization|cache-control|connection|content-.*|cookie|date"
    "|expect|forwarded|host|if-.*|keep-alive|last-event-id|origin|pragma|proxy-.*|range|referer"
    "|sec-.*|te|trailer|transfer-encoding|upgrade|user-agent|via|x-forwarded-(for|proto|host|port)"
    "|x-real-ip",
    re.IGNORECASE,
)


def parse_user_header(text: str) -> str | None:
    """The name of the header by which a proxy says who is logged in; none for no such header."""
    if not text:
        return None
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", text):
        raise ValueError("give the name of a header, such as Remote-User")
    if _TAKEN_HEADERS.fullmatch(text):
        raise ValueError("that header means something else; give another one, such as Remote-User")
    return text


def parse_peer(text: str) -> str:
    """An endpoint for other daemons, which has a host and a port."""
    parse_listen(text)
    if not text.startswith(("tcp:", "tcp6:")):
        raise ValueError("give a port of TCP, such as tcp:8090:interface=10.0.0.1")
    return text


def parse_peer_address(text: str) -> str:
    """Host and port at which others find this one; none for those of the port itself."""
    if not text:
        return text
    host, _, port = text.rpartition(":")
    literal = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\]", host)
    try:
        host = parse_host(host) if literal is None else f"[{ip_address(literal[1])}]"
    except ValueError:
        host = ""
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError("give HOST:PORT, such as 10.0.0.1:8090 or [fd00::1]:8090")
    return f"{host}:{int(port)}"


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


def parse_title(text: str) -> str:
    """What a house is called."""
    title = " ".join(text.split())
    if not 1 <= len(title) <= MAX_TITLE or not title.isprintable():
        raise ValueError(f"give 1 to {MAX_TITLE} characters, such as 'The Reading Circle'")
    return title


def parse_welcome(text: str) -> str:
    """What is said to whoever comes in."""
    if len(text) > MAX_WELCOME or not text.isprintable():
        raise ValueError(f"give at most {MAX_WELCOME} characters in one line")
    return text.strip()


def unless_given(parse: Callable[[str], Value]) -> Callable[[str], Value | None]:
    """The same parser for what an option leaves as it is while it is not given."""
    return lambda text: parse(text) if text else None


def choice_parser(choices: Mapping[str, Value]) -> Callable[[str], Value]:
    """A parser of one word out of a few."""
    *most, last = choices
    remedy = f"give {', '.join(most)} or {last}"

    def parse_choice(text: str) -> Value:
        if text.lower() not in choices:
            raise ValueError(remedy)
        return choices[text.lower()]

    return parse_choice
