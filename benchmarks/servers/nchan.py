"""Nchan, a module of nginx written in C: https://nchan.io/.

What it is: `Nchan`, a `Server`: nginx with one worker and a configuration of its own.

What it may know: Debian's packages nginx and libnginx-mod-nchan, and their documentation.

Invariant: it listens on loopback only; one worker, to be compared with one process of ours.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from benchmarks.processes import PATIENCE, BenchmarkFailed, Running, children, free_port, start
from benchmarks.servers.server import scratch
from benchmarks.wire import get, post

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

CONFIGURATION = """\
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 19000; use epoll; multi_accept on; }}
http {{
  access_log off;
  default_type text/plain;
  client_body_temp_path tmp/body;
  proxy_temp_path tmp/proxy;
  fastcgi_temp_path tmp/fastcgi;
  uwsgi_temp_path tmp/uwsgi;
  scgi_temp_path tmp/scgi;
  tcp_nodelay on;
  keepalive_timeout 75;
  keepalive_requests 1000000;
  nchan_shared_memory_size 256M;
  nchan_message_buffer_length 1000;
  nchan_message_timeout 10m;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
{tls}    location ~ ^/publish/(\\w+)$ {{
      nchan_publisher http;
      nchan_channel_id $1;
    }}
    location ~ ^/subscribe/(\\w+)$ {{
      nchan_subscriber eventsource longpoll websocket;
      nchan_subscriber_first_message newest;
      nchan_eventsource_ping_interval {ping};
      nchan_channel_id $1;
    }}
  }}
}}
"""


#: More of it, for a port that speaks TLS.
TLS = """\
    listen 127.0.0.1:{port} ssl backlog=4096;
    ssl_certificate {file};
    ssl_certificate_key {file};
"""


def missing() -> str:
    """What has to be installed first, or nothing."""
    if not shutil.which("nginx") or not MODULE.exists():
        return "nginx with Nchan is not installed: run benchmarks/install"
    return ""


class Nchan:
    """nginx with Nchan.

    :param ping: seconds between its heartbeats; 0 for none, its default.
    :param tls: another port, which speaks TLS, and the file of its key and certificate.
    """

    name = "nchan"
    ready = b": hi"

    def __init__(self, ping: int = 0, tls: tuple[int, Path] | None = None) -> None:
        self._ping = ping
        self._tls = TLS.format(port=tls[0], file=tls[1]) if tls else ""

    def start(self) -> Running:
        """Start; the worker is what is measured."""
        directory, port = scratch(self.name), free_port()
        (directory / "tmp").mkdir()
        text = CONFIGURATION.format(module=MODULE, port=port, ping=self._ping, tls=self._tls)
        (directory / "nginx.conf").write_text(text)
        command = ["nginx", "-p", str(directory), "-c", "nginx.conf"]
        running = start(self.name, command, directory, port)
        deadline = time.monotonic() + PATIENCE
        while not (workers := children(running.process.pid)):
            if time.monotonic() > deadline:
                raise BenchmarkFailed("nginx has no worker")
            time.sleep(0.01)
        running.pids = workers
        return running

    def subscribe(self) -> bytes:
        """Server-sent events."""
        return get("/subscribe/lobby", accept="text/event-stream")

    def publish(self, payload: bytes) -> bytes:
        """The payload as it is; Nchan frames it."""
        return post("/publish/lobby", payload, kind="text/plain")

    def publish_to_nobody(self, payload: bytes) -> bytes:
        """To another channel."""
        return post("/publish/quiet", payload, kind="text/plain")
