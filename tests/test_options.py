"""Options become settings, or one sentence that helps."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from pathlib import Path

import attrs
import pytest

from cometd_chat.daemon.option_values import DatabaseUrl, Percent, parse_database
from cometd_chat.daemon.settings import OPTIONS, Options, Settings

#: A URL without a password, and one of a server on this machine.
URL = "postgresql://chat@one.example:5432,two.example/chat?target_session_attrs=read-write"
LOCAL = "postgresql:///chat"

#: A good value of each option at least, and the setting that it becomes.
GOOD: list[tuple[str, str, object]] = [
    ("--listen=tcp:0", "listen", ("tcp:0",)),
    ("--listen=unix:/tmp/a.sock", "listen", ("unix:/tmp/a.sock",)),
    ("--metrics=tcp:9100:interface=127.0.0.1", "metrics", "tcp:9100:interface=127.0.0.1"),
    ("--host=Chat.Example.ORG.", "hosts", ("chat.example.org",)),
    ("--host=bücher.example", "hosts", ("xn--bcher-kva.example",)),
    ("--data=/var/lib/x", "data", Path("/var/lib/x")),
    ("--database=sqlite:", "database", DatabaseUrl("sqlite:")),
    (f"--database={URL}", "database", DatabaseUrl(URL, URL)),
    ("--database=postgres:///chat", "database", DatabaseUrl(LOCAL, LOCAL)),
    ("--workers=1", "workers", 1),
    ("--node=chat-1.example", "node", "chat-1.example"),
    ("--peer=tcp:8090:interface=10.0.0.1", "peer", "tcp:8090:interface=10.0.0.1"),
    ("--peer=tcp6:8090:interface=fd00\\:\\:1", "peer", "tcp6:8090:interface=fd00\\:\\:1"),
    ("--peer-address=Node.Example:8090", "peer_address", "node.example:8090"),
    ("--peer-address=[FD00::1]:8090", "peer_address", "[fd00::1]:8090"),
    ("--heartbeat=0.5", "heartbeat", 0.5),
    ("--expiration-delay=90", "expiration_delay", 90.0),
    ("--poll-timeout=30", "poll_timeout", 30.0),
    ("--reader-budget=64KiB", "reader_budget", 65536),
    ("--allow-origin=https://WWW.x.org:443", "allow_origin", ("https://www.x.org",)),
    ("--allow-origin=http://x.org:80", "allow_origin", ("http://x.org",)),
    ("--allow-origin=http://x.org:443", "allow_origin", ("http://x.org:443",)),
    ("--reader-budget=65536", "reader_budget", 65536),
    ("--reader-budget=1.5mib", "reader_budget", 1572864),
    ("--guest-timeout=60", "guest_timeout", 60.0),
    ("--public-reading=no", "public_reading", False),
    ("--public-reading=Yes", "public_reading", True),
    ("--title= The   Circle", "title", "The Circle"),
    ("--welcome=Be kind.", "welcome", "Be kind."),
    ("--guests=Approve", "guests", "approve"),
    ("--registration=off", "registration", "off"),
    ("--rooms=member", "rooms", "member"),
    ("--show-addresses=network", "show_addresses", "network"),
    ("--limits=off", "limits", False),
    ("--bayeux-channels=/app/**", "bayeux_channels", ("/app/**",)),
    ("--bayeux-channels=/one", "bayeux_channels", ("/one",)),
    ("--direct-write=off", "direct_write", False),
    ("--fast-lane=off", "fast_lane", False),
    ("--max-log=2TiB", "max_log", 2 * 2**40),
    ("--connections-per-address=1", "connections_per_address", 1),
    ("--memory-ceiling=64MiB", "memory_ceiling", 64 * 2**20),
    ("--memory-ceiling=12.5%", "memory_ceiling", Percent(12.5)),
    ("--memory-ceiling=100 %", "memory_ceiling", Percent(100)),
    ("--log-level=debug", "log_level", "debug"),
    ("--trusted-proxy=10.0.0.0/8", "trusted_proxy", (ip_network("10.0.0.0/8"),)),
    ("--trust-user-header=", "trust_user_header", None),
]

#: What some options mean nothing without.
BESIDE = {
    "node": (f"--database={URL}",),
    "peer": (f"--database={URL}",),
    "peer_address": (f"--database={URL}", "--peer=tcp:8090:interface=10.0.0.1"),
}

#: A wrong one of each, and the remedy that is told.
WRONG = [
    ("--listen=nonsense", "tcp:8080:interface=127.0.0.1"),
    ("--listen=", "tcp:8080:interface=127.0.0.1"),
    ("--metrics=9100", "tcp:8080:interface=127.0.0.1"),
    ("--listen=tcp:http", "tcp:8080:interface=127.0.0.1"),
    ("--listen=tcp:65536", "from 0 to 65535"),
    ("--listen=tcp:8080:interfase=127.0.0.1", "tcp:8080:interface=127.0.0.1"),
    ("--listen=ssl:8443:privateKey=/nowhere/key.pem", "/nowhere/key.pem"),
    ("--listen=ssl:8443:privateKey=/dev/null", "PEM"),
    ("--listen=unix:", "such as unix:/run/comet-chat.sock"),
    ("--listen=unix::mode=660", "such as unix:/run/comet-chat.sock"),
    ("--listen=unix:address=", "such as unix:/run/comet-chat.sock"),
    ("--listen=unix:/nowhere/chat.sock", "no directory /nowhere"),
    ("--listen=unix:/dev/null", "is no socket"),
    ("--listen=unix:.", "is no socket"),
    ("--listen=unix:" + "x" * 108, "107 bytes"),
    ("--listen=unix:" + "茶" * 36, "107 bytes"),
    ("--metrics=unix:", "such as unix:/run/comet-chat.sock"),
    ("--listen=systemd:domain=INET:index=7", ".socket unit"),
    ("--host=http://chat.example.org", "such as chat.example.org"),
    ("--host=chat.example.org:8080", "such as chat.example.org"),
    ("--host=", "such as chat.example.org"),
    ("--host=a..b", "such as chat.example.org"),
    ("--host=*.example.org", "such as chat.example.org"),
    ("--data=", "./comet-chat-data"),
    ("--bayeux-channels=", "such as /app/**"),
    ("--bayeux-channels=app/**", "such as /app/**"),
    ("--bayeux-channels=/**", "such as /app/**"),
    ("--bayeux-channels=/chat/x", "such as /app/**"),
    ("--bayeux-channels=/members/**", "such as /app/**"),
    ("--bayeux-channels=/meta/*", "such as /app/**"),
    ("--bayeux-channels=/service/x", "such as /app/**"),
    ("--bayeux-channels=/a/*/b", "such as /app/**"),
    ("--database=", "postgresql://chat@db.example.org/chat"),
    ("--database=mysql://db.example.org/chat", "postgresql://chat@db.example.org/chat"),
    ("--database=postgresql+psycopg://db.example.org/chat", "postgresql://chat@"),
    ("--database=postgresql:chat", "postgresql://chat@"),
    ("--database=host=db.example.org", "postgresql://chat@"),
    ("--database=sqlite:///chat.sqlite", "sqlite: alone"),
    ("--database=postgresql://a:b@c@db.example.org/chat", "%40 for @"),
    ("--database=postgresql://a:b/c@db.example.org/chat", "%2F for /"),
    ("--database=postgresql://a:b#c@db.example.org/chat", "%23 for #"),
    ("--database=postgresql://a:b%c@db.example.org/chat", "%25 for %"),
    ("--database=postgresql://db.example.org:65536/chat", "db.example.org:5432"),
    ("--database=postgresql://db.example.org:port/chat", "db.example.org:5432"),
    ("--database=postgresql://db.example.org/chat?sslmode", "?sslmode=require"),
    ("--workers=0", "from 1 to 256"),
    ("--workers=257", "from 1 to 256"),
    ("--workers=auto", "from 1 to 256"),
    ("--workers=2", "--database postgresql://"),
    ("--node=chat/1", "such as chat-1"),
    ("--peer=unix:/tmp/peer", "such as tcp:8090:interface=10.0.0.1"),
    ("--peer=8090", "tcp:8080:interface=127.0.0.1"),
    ("--peer-address=10.0.0.1", "HOST:PORT"),
    ("--peer-address=10.0.0.1:0", "HOST:PORT"),
    ("--peer-address=fd00::1:8090", "HOST:PORT"),
    ("--heartbeat=soon", "such as 15"),
    ("--heartbeat=0", "such as 15"),
    ("--heartbeat=-3", "such as 15"),
    ("--heartbeat=nan", "such as 15"),
    ("--expiration-delay=inf", "such as 15"),
    ("--guest-timeout=1e99", "such as 15"),
    ("--reader-budget=256 parsecs", "such as 256KiB"),
    ("--reader-budget=", "such as 256KiB"),
    ("--reader-budget=256KB", "such as 256KiB"),
    ("--reader-budget=١٢KiB", "such as 256KiB"),
    ("--reader-budget=1", "from 4KiB"),
    ("--max-log=9999999TiB", "to 1048576TiB"),
    ("--connections-per-address=0", "from 1 to 9999999"),
    ("--connections-per-address=many", "such as 256"),
    ("--memory-ceiling=1KiB", "from 16MiB"),
    ("--memory-ceiling=0%", "such as 25%"),
    ("--memory-ceiling=101%", "such as 25%"),
    ("--memory-ceiling=much", "in KiB, MiB, GiB or TiB"),
    ("--public-reading=maybe", "yes or no"),
    ("--title= ", "'The Reading Circle'"),
    ("--title=" + "x" * 61, "1 to 60 characters"),
    ("--welcome=" + "x" * 1001, "at most 1000 characters"),
    ("--guests=some", "open, approve or off"),
    ("--registration=yes", "open, invite or off"),
    ("--rooms=nobody", "guest, member or moderator"),
    ("--limits=yes", "on or off"),
    ("--show-addresses=all", "full, network or none"),
    ("--poll-timeout=soon", "such as 15"),
    ("--log-level=loud", "debug, info, warn, error or critical"),
    ("--trusted-proxy=everybody", "such as 127.0.0.1 or 10.0.0.0/8"),
    ("--trust-user-header=Remote User", "such as Remote-User"),
    ("--trust-user-header=Cookie", "such as Remote-User"),
    ("--trust-user-header=X-Forwarded-For", "such as Remote-User"),
    ("--trust-user-header=Remote-User", "give --trusted-proxy"),
    ("--allow-origin=x.org", "such as https://www.example.org"),
    ("--direct-write=yes", "on or off"),
    ("--fast-lane=maybe", "on or off"),
]


def parse(*arguments: str, **environ: str) -> Settings:
    options = Options(environ)
    options.parseOptions(arguments)
    return options.settings


def refused(capfd: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> str:
    """What is said about wrong options; stdout stays empty and the status is 1."""
    with pytest.raises(SystemExit) as exit_info:
        parse(*arguments, **environ)
    assert exit_info.value.code == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("comet-chat: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


def test_defaults_are_those_of_the_contract() -> None:
    settings = parse()
    assert settings == Settings()
    assert settings.listen == ("tcp:8080:interface=127.0.0.1",)
    assert settings.data == Path("comet-chat-data")
    assert settings.reader_budget == 262144
    assert settings.max_log == 8589934592


def test_postgresql_without_its_driver_is_a_sentence(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cometd_chat.daemon.settings.find_spec", lambda name: None)
    said = refused(capfd, "--database=postgresql://chat:s3cret@db/chat")
    assert "pip install 'cometd-chat[postgresql]'" in said
    assert "s3cret" not in said
    assert parse() == Settings()


@pytest.mark.parametrize(("argument", "field", "value"), GOOD)
def test_values(argument: str, field: str, value: object) -> None:
    beside = BESIDE.get(field, ())
    settings = parse(argument, *beside)
    assert getattr(settings, field) == value
    assert attrs.evolve(settings, **{field: getattr(Settings(), field)}) == parse(*beside)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://chat:s3cret@db/chat", "postgresql://chat:***@db/chat"),
        ("postgresql://chat:s3cret%40@/chat", "postgresql://chat:***@/chat"),
        ("postgresql://:s3cret@[::1]:5432/", "postgresql://:***@[::1]:5432/"),
        ("postgresql://db/chat?password=s3cret", "postgresql://db/chat?password=***"),
        (
            "postgres:///chat?host=/run/postgresql&sslpassword=s3cret",
            "postgresql:///chat?host=/run/postgresql&sslpassword=***",
        ),
    ],
)
def test_the_password_of_a_database_is_never_shown(url: str, shown: str) -> None:
    settings = parse(f"--database={url}")
    assert str(settings.database) == shown
    assert "s3cret" in settings.database.conninfo
    for text in (repr(settings), f"{settings.database}", repr(parse_database(url))):
        assert shown in text
        assert "s3cret" not in text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://chat:s3cret@@db/chat",
        "postgresql://chat:s3cret/@db/chat",
        "postgresql://chat:s3cret#@db/chat",
        "mysql://chat:s3cret@db/chat",
        "host=db password=s3cret",
    ],
)
def test_nor_that_of_a_wrong_url(capfd: pytest.CaptureFixture[str], url: str) -> None:
    assert "s3cret" not in refused(capfd, f"--database={url}")
    error = refused(capfd, COMET_CHAT_DATABASE=url)
    assert error.startswith("comet-chat: COMET_CHAT_DATABASE: ")
    assert "s3cret" not in error


def test_workers_share_a_database() -> None:
    assert parse("--workers=2", f"--database={URL}").workers == 2
    assert parse(COMET_CHAT_WORKERS="256", COMET_CHAT_DATABASE=URL).workers == 256


def test_other_daemons_must_know_where_this_one_is(capfd: pytest.CaptureFixture[str]) -> None:
    for wide in ("tcp:8090", "tcp:8090:interface=0.0.0.0", r"tcp6:8090:interface=\:\:"):
        error = refused(capfd, f"--database={URL}", f"--peer={wide}")
        assert "--peer-address 10.0.0.1:8090" in error
        given = parse(f"--database={URL}", f"--peer={wide}", "--peer-address=10.0.0.1:8090")
        assert given.peer == wide


def test_what_others_would_need_is_nothing_without_them(capfd: pytest.CaptureFixture[str]) -> None:
    for option, value in (
        ("node", "chat-1"),
        ("peer", "tcp:8090:interface=10.0.0.1"),
        ("peer-address", "10.0.0.1:8090"),
    ):
        variable = "COMET_CHAT_" + option.replace("-", "_").upper()
        for error in (
            refused(capfd, f"--{option}={value}"),
            refused(capfd, "--database=sqlite:", **{variable: value}),
        ):
            assert value in error
            assert "give --database postgresql://... as well, or leave it out" in error
        assert variable in error
    assert parse("--workers=1").workers == 1


def test_an_address_for_others_is_that_of_a_port(capfd: pytest.CaptureFixture[str]) -> None:
    """Else they would look for this daemon where it does not listen."""
    address = "--peer-address=10.0.0.1:8090"
    for given in ([], ["--peer=tcp:0"], ["--peer=tcp:port=0:interface=10.0.0.1"]):
        error = refused(capfd, f"--database={URL}", address, *given)
        assert error.startswith("comet-chat: --peer-address '10.0.0.1:8090': ")
        assert "--peer tcp:8090:interface=10.0.0.1" in error
    assert parse(f"--database={URL}", address, "--peer=tcp:9000").peer == "tcp:9000"


def test_a_bound_that_is_lifted_is_not_given(capfd: pytest.CaptureFixture[str]) -> None:
    error = refused(capfd, "--connections-per-address=9", "--limits=off")
    assert "--limits off lifts that bound" in error
    assert parse("--limits=off").limits is False
    assert parse("--limits=on", "--connections-per-address=9").connections_per_address == 9


def test_each_worker_needs_a_port_for_others(capfd: pytest.CaptureFixture[str]) -> None:
    for argument in ("--peer=tcp:65534:interface=10.0.0.1", "--peer-address=[fd00::1]:65534"):
        error = refused(capfd, argument, "--workers=4", f"--database={URL}")
        assert "give one of 65527 at most" in error


def test_what_a_process_of_ours_is_told() -> None:
    options = Options({"COMET_CHAT_DATABASE": "postgresql:///elsewhere"})
    given = ["--host=a.example", "--listen=tcp:1", "--host=b.example", f"--database={URL}"]
    options.parseOptions([*given, "--workers=2"])
    arguments, variables = options.handed_on({"listen", "workers"})
    assert arguments == ["--host=a.example", "--host=b.example"]
    # Where nobody sees it.
    assert variables == {"COMET_CHAT_DATABASE": URL}


def test_who_is_logged_in_a_trusted_proxy_says() -> None:
    settings = parse("--trust-user-header=Remote-User", "--trusted-proxy=127.0.0.1")
    assert settings.trust_user_header == "Remote-User"


def test_repeatable_options_gather() -> None:
    settings = parse("--listen=tcp:1", "--host=a.example", "--listen=tcp:2", "--host=b.example")
    assert settings.listen == ("tcp:1", "tcp:2")
    assert settings.hosts == ("a.example", "b.example")


def test_of_what_is_given_again_the_last_counts() -> None:
    assert parse("--heartbeat=2", "--heartbeat=3").heartbeat == 3


def test_variables() -> None:
    settings = parse(
        COMET_CHAT_LISTEN="tcp:1 unix:/tmp/a.sock",
        COMET_CHAT_HOST=" a.example  b.example ",
        COMET_CHAT_EXPIRATION_DELAY="80",
        COMET_CHAT_LIMITS="off",
    )
    assert settings.listen == ("tcp:1", "unix:/tmp/a.sock")
    assert settings.hosts == ("a.example", "b.example")
    assert settings.expiration_delay == 80
    assert settings.limits is False


def test_a_flag_wins_over_its_variable() -> None:
    settings = parse(
        "--heartbeat=2",
        "--listen=tcp:9",
        COMET_CHAT_HEARTBEAT="nonsense",
        COMET_CHAT_LISTEN="tcp:1 tcp:2",
    )
    assert settings.heartbeat == 2
    assert settings.listen == ("tcp:9",)


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert parse(COMET_CHAT_HEARTBEAT="", COMET_CHAT_LISTEN=" ") == Settings()


@pytest.mark.parametrize(("argument", "remedy"), WRONG)
def test_a_wrong_value_is_named_with_its_remedy(
    capfd: pytest.CaptureFixture[str], argument: str, remedy: str
) -> None:
    name, _, value = argument.partition("=")
    sentence = refused(capfd, argument)
    is_secret = next(option.secret for option in OPTIONS if f"--{option.name}" == name)
    assert (f"{name}: " if is_secret else f"{name} {value!r}: ") in sentence
    assert remedy in sentence


@pytest.mark.parametrize("value", ["unix:chat.sock", "unix:" + "x" * 107, "unix:a\\:b:mode=660"])
def test_paths_of_unix_sockets(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse(f"--listen={value}").listen == (value,)
    assert list(tmp_path.iterdir()) == []


def test_a_socket_that_was_left_can_be_taken_again(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    assert parse(f"--listen=unix:{tmp_path / 's'}").listen


def test_a_wrong_variable_is_named_as_such(capfd: pytest.CaptureFixture[str]) -> None:
    sentence = refused(capfd, COMET_CHAT_LIMITS="perhaps")
    assert "COMET_CHAT_LIMITS 'perhaps': give on or off" in sentence


def test_newlines_in_a_value_stay_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    refused(capfd, "--heartbeat=1\n2\r3")
    refused(capfd, "--\n\nheart\n=3")


def test_a_value_that_is_no_unicode(capfd: pytest.CaptureFixture[str]) -> None:
    refused(capfd, "--host=\udcff")
    refused(capfd, "--\udcff")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--heartbeet=3"], "did you mean --heartbeat?"),
        (["--frobnicate"], "--help lists them all"),
        (["-x"], "--help lists all options"),
        (["--heartbeat"], "such as --heartbeat 15"),
        (["--host"], "such as --host chat.example.org"),
        (["lobby"], "'lobby' is not an option"),
        (["--p=3"], "--help lists all options"),
    ],
)
def test_what_is_no_option(
    capfd: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in refused(capfd, *arguments)


@pytest.mark.parametrize(
    ("arguments", "named", "said"),
    [
        (["--heartbeat=31"], "--heartbeat '31'", "give 30 or less"),
        (["--poll-timeout=40"], "--poll-timeout '40'", "set --expiration-delay to 80"),
        (["--expiration-delay=20"], "--expiration-delay '20'", "give 30 or more"),
        (["--expiration-delay=40"], "--expiration-delay '40'", "set --poll-timeout to 20"),
    ],
)
def test_heartbeat_and_poll_come_round_before_the_reaper(
    capfd: pytest.CaptureFixture[str], arguments: list[str], named: str, said: str
) -> None:
    sentence = refused(capfd, *arguments)
    assert named in sentence
    assert said in sentence


def test_exactly_half_is_good() -> None:
    assert parse("--expiration-delay=4", "--heartbeat=2", "--poll-timeout=2").heartbeat == 2


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse("--help")
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    for option in OPTIONS:
        assert f"--{option.name}=" in text
    assert "COMET_CHAT_LISTEN" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse("--version")
    assert exit_info.value.code == 0
    assert capsys.readouterr().out.startswith("Comet Chat ")
