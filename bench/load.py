"""Load from `wrk`: run it, and read its report."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Invalid, find_program

MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}
BYTES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}

# A request that takes longer than this counts as an error. Seconds; the slowest entrant's p99 is below one.
REQUEST_TIMEOUT = 10

_PERCENTILE = re.compile(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s|m|h)\s*$", re.MULTILINE)
_TOTAL = re.compile(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h), ([\d.]+)([KMGT]?B) read")
_SOCKET_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_BAD_STATUS = re.compile(r"Non-2xx or 3xx responses: (\d+)")


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw.

    :ivar requests: completed exchanges.
    :ivar seconds: how long it took.
    :ivar read: response bytes, heads included, to three figures.
    :ivar p50: median latency in microseconds.
    :ivar p99: 99th percentile in microseconds.
    :ivar errors: one entry a kind of failure, as "3 timeout"; empty when all went well.
    """

    requests: int
    seconds: float
    read: float
    p50: float
    p99: float
    errors: tuple[str, ...] = ()


def parse_report(text: str) -> Load:
    """Read what ``wrk --latency`` prints; raise :class:`Invalid` when it is not such a report."""
    total = _TOTAL.search(text)
    percentiles = {
        int(percent): float(value) * MICROSECONDS[unit] for percent, value, unit in _PERCENTILE.findall(text)
    }
    if total is None or not {50, 99} <= percentiles.keys():
        raise Invalid(f"wrk gave no usable report: {text.strip()[-300:]!r}")
    requests, seconds, second_unit, read, read_unit = total.groups()
    return Load(
        int(requests),
        float(seconds) * MICROSECONDS[second_unit] / 1e6,
        float(read) * BYTES[read_unit],
        percentiles[50],
        percentiles[99],
        parse_errors(text),
    )


def parse_errors(text: str) -> tuple[str, ...]:
    """Return the failures that a report of wrk names, empty when it names none."""
    found = []
    sockets = _SOCKET_ERRORS.search(text)
    if sockets is not None:
        kinds = ("connect", "read", "write", "timeout")
        found += [
            f"{count} {kind}" for count, kind in zip(sockets.groups(), kinds, strict=True) if count != "0"
        ]
    status = _BAD_STATUS.search(text)
    if status is not None:
        found.append(f"{status[1]} responses that were neither 2xx nor 3xx")
    return tuple(found)


def run_load(
    url: str,
    connections: int,
    seconds: int,
    environment: Mapping[str, str] | None = None,
    script: Path | None = None,
) -> Load:
    """Send requests for ``seconds`` over kept-alive connections: one thread, on this process's cores.

    :param environment: what wrk has beyond ours.
    :param script: in Lua, says what is asked for; None: the URL.
    """
    wrk = find_program("wrk")
    assert wrk is not None, "checked before anything is started"
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--latency"]
    if script is not None:
        options += ["--script", str(script)]
    command = [wrk, *options, "--timeout", f"{REQUEST_TIMEOUT}s", url]
    try:
        result = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=seconds + 3 * REQUEST_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise Invalid(f"wrk did not end within {seconds + 3 * REQUEST_TIMEOUT} s") from None
    return parse_report(result.stdout + result.stderr)
