"""How an entrant of the comparison is described."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import find_program

# Connections to one backend that a balancer may keep idle: more than all clients of a scenario could use at
# once.
IDLE_A_BACKEND = 256

# Seconds that idle connections are kept, on both sides: longer than any measurement.
KEEP_ALIVE = 600

# Client connections a balancer must be able to hold, with some to spare over the 5,000 idle ones.
MOST_CONNECTIONS = 8000


@dataclass(frozen=True)
class Order:
    """What a balancer is told to do.

    :ivar port: where it listens.
    :ivar admin_port: for its metrics or its own pages, where they need a port.
    :ivar backends: HOST:PORT of each.
    :ivar directory: for its files.
    :ivar access_log: where to write one, or None.
    :ivar policy: lbproxy's ``--policy``; empty: its default.
    :ivar upgrades: whether WebSockets are to pass; some must be told.
    :ivar certificate: a file with key and chain, to speak TLS with clients and nothing else; None: without TLS. lbproxy
        takes a folder of such files as well.
    :ivar workers: processes, or threads, that are to carry the traffic.
    """

    port: int
    admin_port: int
    backends: Sequence[str]
    directory: Path
    access_log: Path | None = None
    policy: str = ""
    upgrades: bool = False
    certificate: Path | None = None
    workers: int = 1

    def write(self, name: str, text: str) -> str:
        """Put a file into the directory; return its path."""
        path = self.directory / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Launch:
    """A command line and what its environment has beyond ours."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Balancer:
    """One entrant.

    :ivar launch: writes its configuration and returns how to start it.
    :ivar missing: why it cannot be started, empty when it can.
    :ivar version: which one this is.
    :ivar one_backend: it can forward to a single backend only.
    :ivar server: it is a server of its own, and no resource of ``twisted.web``.
    """

    name: str
    what: str
    launch: Callable[[Order], Launch]
    missing: Callable[[], str]
    version: Callable[[], str]
    one_backend: bool = False
    server: bool = True


def installed(program: str) -> str:
    """Return the path of a program that is there (:func:`missing_program` was asked before)."""
    path = find_program(program)
    if path is None:
        raise LookupError(f"{program} is not installed")
    return path


def missing_program(program: str, package: str) -> Callable[[], str]:
    """Make the question whether ``program`` is missing; the answer says in which package it comes."""

    def missing() -> str:
        return "" if find_program(program) else f"no {program} on the PATH ({package})"

    return missing


def program_version(program: str, option: str) -> Callable[[], str]:
    """Make the question for a program's version: the first one in what ``option`` makes it print."""

    def version() -> str:
        result = subprocess.run([installed(program), option], capture_output=True, text=True, timeout=30)
        return first_version(result.stdout + result.stderr)

    return version


def first_version(text: str) -> str:
    """Return the first thing in ``text`` that looks like a version, or "unknown"."""
    found = re.search(r"\b\d+\.\d+(\.\d+)*", text.replace("v", " "))
    return found[0] if found else "unknown"
