"""The servers behind the balancers: one nginx with as many ports as the largest pool has backends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.connecting import HOST
from bench.processes import find_program, running, wait_until_answers

SMALL_BODY = b"hello, world\n"
LARGE_BODY_BYTES = 1024 * 1024
LARGE_BODY_PATH = "/body"

# On: keep-alive without end, a short answer to everything, a 1 MiB file at /body. Off: access log.
CONFIG = """\
{user}
daemon off;
worker_processes {workers};
pid {directory}/backend.pid;
error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=10;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  default_type text/plain;
  client_body_temp_path {directory}/client_body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen {host}:{first}-{last} backlog=1024;
    location / {{ return 200 "hello, world\\n"; }}
    location = {large_path} {{ root {directory}; }}
  }}
}}
"""


@dataclass(frozen=True)
class Backends:
    """The ports of the running backends."""

    ports: range

    def addresses(self, count: int) -> list[str]:
        """Return the first ``count`` of them as HOST:PORT."""
        return [f"{HOST}:{port}" for port in self.ports[:count]]


def nginx_user() -> str:
    """Return the ``user`` line for an nginx.

    Started by root its workers would be ``nobody`` otherwise, shut out of the temporary folder.
    """
    return "user root root;" if os.geteuid() == 0 else ""


@contextmanager
def running_backends(ports: range, directory: Path, cores: frozenset[int]) -> Iterator[Backends]:
    """Run a backend on each of ``ports`` for the length of a ``with`` block.

    :param directory: for its files.
    :param cores: those it may use, with one worker each.
    """
    nginx = find_program("nginx")
    assert nginx is not None, "checked before anything is started"
    config, log = directory / "backend.conf", directory / "backend.log"
    (directory / LARGE_BODY_PATH.lstrip("/")).write_bytes(b"x" * LARGE_BODY_BYTES)
    config.write_text(
        CONFIG.format(
            user=nginx_user(),
            workers=len(cores),
            directory=directory,
            host=HOST,
            first=ports[0],
            last=ports[-1],
            large_path=LARGE_BODY_PATH,
        )
    )
    command = [nginx, "-p", str(directory), "-e", "stderr", "-c", str(config)]
    with running(command, log, cores) as process:
        wait_until_answers(process, ports[0], log)
        yield Backends(ports)
