"""nginx, HAProxy and Caddy as the files of ``deploy/`` set them up, and curl in front of them.

What it is: each proxy as a process on loopback, with the shipped file; only addresses, paths and
times are other ones.

What it may know: the files of ``deploy/``, the proxies' command lines.

Invariant: a file that no longer has what is replaced here fails; what was started is stopped.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from http.client import HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.daemon.talk import Answer, Running, ask, wait_until
from tests.support import PATIENCE, ROOT, end, environment, free_port

#: The name in the files of ``deploy/``.
HOST = "chat.example.org"

#: What the files allow a connection to be silent, and what they allow it here.
SILENCE, SHORT_SILENCE = "75s", "3s"


class Certificate:
    """A key and a certificate for the name, signed by itself.

    :param directory: where the files go.
    """

    def __init__(self, directory: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.chain = directory / "chain.pem"
        self.chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key = directory / "key.pem"
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.both = directory / "both.pem"
        self.both.write_bytes(self.chain.read_bytes() + self.key.read_bytes())


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """A file with some parts replaced, all of which must be there."""
    for old, new in changes.items():
        assert old in text, f"the file has no {old!r} any more"
        text = text.replace(old, new)
    return text


class Connection(HTTPSConnection):
    """A connection to the name, wherever that is said to be: a proxy has it on loopback.

    :param port: of 127.0.0.1.
    """

    def __init__(self, port: int, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(HOST, port, timeout=timeout, context=context)
        self._own_context = context

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self.sock = self._own_context.wrap_socket(plain, server_hostname=HOST)


class Proxy:
    """One proxy in front of the daemon: ``with Nginx(...) as proxy: ... proxy.curl(path) ...``.

    :param directory: for its files.
    :param daemon_port: of the daemon, on 127.0.0.1; None where the file has other ones.
    """

    name = ""
    file = ""

    #: What curl needs for a full-duplex request over HTTP/1.1.
    without_expect: tuple[str, ...] = ()

    def __init__(self, directory: Path, daemon_port: int | None) -> None:
        self.port, self.plain_port = free_port(), free_port()
        self.access_log = directory / "access.log"
        self.directory = directory
        self.certificate = Certificate(directory)
        self._process: subprocess.Popen[bytes] | None = None
        shipped = (ROOT / "deploy" / self.file).read_text()
        daemon = {} if daemon_port is None else {"127.0.0.1:8080": f"127.0.0.1:{daemon_port}"}
        text = replaced(shipped, daemon)
        self.configuration = directory / self.file
        self.configuration.write_text(self.adapt(text))

    def adapt(self, text: str) -> str:
        """The file with ports and paths of this test."""
        raise NotImplementedError

    @property
    def command(self) -> Sequence[str]:
        """What starts it in the foreground."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """What it says while it runs."""
        return self.directory / f"{self.name}.log"

    def curl(self, path: str, *options: str) -> list[str]:
        """The command that asks for a path."""
        resolve = f"{HOST}:{self.port}:127.0.0.1"
        ours = ["--cacert", str(self.certificate.chain), "--resolve", resolve]
        return ["curl", "-sN", *ours, *options, self.url + path]

    def duplex(self, room: str, name: str, version: str) -> list[str]:
        """The command that talks in a room."""
        more = self.without_expect if version == "--http1.1" else ()
        return self.curl(f"/rooms/{room}.txt?name={name}", version, "-T.", *more)

    def once(self, method: str, path: str, timeout: float = PATIENCE, **request: Any) -> Answer:
        """One request on a connection of its own; see `ask`. It takes a fifth of what a curl does,
        for what is not curl's."""
        connection = Connection(self.port, self.tls, timeout)
        try:
            return ask(connection, method, path, **request)
        finally:
            connection.close()

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """A client's context that trusts its certificate."""
        return ssl.create_default_context(cafile=str(self.certificate.chain))

    def start(self) -> None:
        executable = shutil.which(self.command[0])
        assert executable, f"{self.command[0]}: make test installs it; or apt-get install it"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [executable, *self.command[1:]],
                cwd=self.directory,
                env=environment({"HOME": str(self.directory), "XDG_DATA_HOME": "", "TMPDIR": ""}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._answers, f"{self.name} listens")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended:\n{self.log.read_text()}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            end(process, self.name, self.log.read_text)

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if error is not None:
            print(f"--- {self.name} said:\n{self.log.read_text()}")


class Nginx(Proxy):
    """nginx, with a main file that compresses and buffers whatever it may."""

    name, file = "nginx", "nginx.conf"

    def adapt(self, text: str) -> str:
        self._write_main()
        text = re.sub(r"/etc/letsencrypt/\S+/fullchain.pem", str(self.certificate.chain), text)
        text = re.sub(r"/etc/letsencrypt/\S+/privkey.pem", str(self.certificate.key), text)
        return replaced(
            text,
            {
                "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
                "listen 443 ": f"listen 127.0.0.1:{self.port} ",
                "/var/log/nginx/comet-chat.log": str(self.access_log),
                SILENCE: SHORT_SILENCE,
            },
        )

    def _write_main(self) -> None:
        temporary = "".join(
            f"{kind}_temp_path {self.directory / kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # Run as root, its workers would be somebody who may not look into the test's directory.
        user = "user root root;\n" if os.geteuid() == 0 else ""
        (self.directory / "main.conf").write_text(
            f"{user}daemon off; pid {self.directory / 'nginx.pid'};\n"
            "events { worker_connections 2048; }\nhttp {\n"
            f"{temporary}access_log off; gzip on; gzip_min_length 1; gzip_types *;\n"
            f"include {self.directory / self.file};\n}}\n"
        )

    @property
    def command(self) -> Sequence[str]:
        main = str(self.directory / "main.conf")
        return ["nginx", "-e", "stderr", "-p", str(self.directory), "-c", main]


class Haproxy(Proxy):
    """HAProxy, whose file says why a full-duplex request must not expect anything."""

    name, file = "haproxy", "haproxy.cfg"
    without_expect = ("-H", "Expect:")

    def adapt(self, text: str) -> str:
        return replaced(
            text,
            {
                "bind :80\n": f"bind 127.0.0.1:{self.plain_port}\n",
                "bind :443 ": f"bind 127.0.0.1:{self.port} ",
                "/etc/haproxy/chat.example.org.pem": str(self.certificate.both),
                SILENCE: SHORT_SILENCE,
            },
        )

    @property
    def command(self) -> Sequence[str]:
        return ["haproxy", "-db", "-f", str(self.configuration)]


class Caddy(Proxy):
    """Caddy, with a certificate of ours, since it can't get one here."""

    name, file = "caddy", "Caddyfile"

    def adapt(self, text: str) -> str:
        own = (
            f"{{\n\tbind 127.0.0.1\n\ttls {self.certificate.chain} {self.certificate.key} "
            "# < the name\n"
        )
        ports = f"admin off\n\thttp_port {self.plain_port}\n\thttps_port {self.port}"
        return replaced(
            text,
            {
                f"{HOST} {{ # < the name\n": f"{HOST} {own}",
                "grace_period 10s": f"{ports}\n\tgrace_period 100ms",
            },
        )

    @property
    def command(self) -> Sequence[str]:
        return ["caddy", "run", "--config", str(self.configuration), "--adapter", "caddyfile"]


PROXIES = {kind.name: kind for kind in (Nginx, Haproxy, Caddy)}


class Typing(Running):
    """A program that is typed to while its output is read.

    curl that uploads while it downloads (``-T.``) looks for what is typed without a pause, which is
    a third of a processor or more; `pause` has it rest until it is read from again.
    """

    def __init__(self, *arguments: str) -> None:
        super().__init__(*arguments, keyboard=True)
        self._paused = False

    def __enter__(self) -> Typing:
        return self

    def pause(self) -> None:
        """Have it stand still; what comes for it and what is typed waits, except while `until`
        reads."""
        self._paused = True
        self.process.send_signal(signal.SIGSTOP)

    def until(self, wanted: str, timeout: float = PATIENCE) -> str:
        self.process.send_signal(signal.SIGCONT)
        try:
            return super().until(wanted, timeout)
        finally:
            if self._paused:
                self.process.send_signal(signal.SIGSTOP)

    def end(self) -> str:
        """Close its input and wait for its end, which has to be a success; all that was read."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None
        return self.to_end()
