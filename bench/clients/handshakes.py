"""Opens connections with TLS, several at once, for one small request each; prints as JSON how many, and how many resumed."""

from __future__ import annotations

import json
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.certificates import NAME, SUITE, VERSION
from bench.clients.bounds import client_parser, end_in_time
from bench.clients.paced import percentile
from bench.connecting import Secure, connect
from bench.idle import LONGEST_ANSWER, REQUEST, ask

LAST_REQUEST = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

# Of all of them together, whatever the time: a port is taken for a while after each.
MOST_CONNECTIONS = 200_000


class Shaker:
    """Opens one connection after the other.

    :ivar shaken: how many handshakes there were.
    :ivar resumed: how many of them resumed a session.
    """

    def __init__(self, port: int, name: str, resume: bool) -> None:
        """Begin without a session.

        The certificate is not looked at, which would cost this process more than it costs the balancer to show it.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.port, self.secure, self.resume = port, Secure(context, name), resume
        self.session: ssl.SSLSession | None = None
        self.shaken = self.resumed = 0

    def __call__(self) -> None:
        """Connect, ask, read to the end; remember the newest ticket for the next time, as RFC 8446 appendix C.4 advises.

        :raises OSError: where any of it fails, or something else was negotiated than was to be.
        """
        with connect(self.port, LONGEST_ANSWER, self.secure, self.session) as connection:
            assert isinstance(connection, ssl.SSLSocket)
            check_negotiated(connection.version(), connection.cipher())
            ask(connection, LAST_REQUEST)
            if connection.recv(1):
                raise ConnectionError("more came than one answer")
            self.shaken += 1
            self.resumed += bool(connection.session_reused)
            if self.resume:
                self.session = connection.session


def check_negotiated(version: str | None, cipher: tuple[str, str, int] | None) -> None:
    """Raise ConnectionError unless it is the version and the suite that all balancers are measured with."""
    suite = cipher[0] if cipher else None
    if (version, suite) != (VERSION, SUITE):
        raise ConnectionError(f"negotiated {version} and {suite} instead of {VERSION} and {SUITE}")


def again_and_again(
    act: Callable[[], None], end: float, most: int, now: Callable[[], float] = time.monotonic
) -> Iterator[float]:
    """Act until the clock says ``end``, ``most`` times at most; yield how long each took, in seconds."""
    for _ in range(most):
        began = now()
        if began >= end:
            return
        act()
        yield now() - began


def run(port: int, name: str, connections: int, seconds: float, resume: bool) -> dict[str, float]:
    """Open so many connections at once, again and again; return ``handshakes``, ``resumed``, ``seconds`` and percentiles."""
    shakers = [Shaker(port, name, resume) for _ in range(connections)]
    started = time.monotonic()
    most = MOST_CONNECTIONS // connections

    def work(shaker: Shaker) -> Sequence[float]:
        return list(again_and_again(shaker, started + seconds, most))

    with ThreadPoolExecutor(connections) as pool:
        took = [latency for one in pool.map(work, shakers) for latency in one]
    return {
        "handshakes": float(sum(shaker.shaken for shaker in shakers)),
        "resumed": float(sum(shaker.resumed for shaker in shakers)),
        "seconds": time.monotonic() - started,
        "p50_us": percentile(took, 50) * 1e6,
        "p99_us": percentile(took, 99) * 1e6,
    }


def main() -> int:
    """Do what the command line asks; return the exit status."""
    parser = client_parser()
    parser.add_argument("--name", default=NAME)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    end_in_time(options.seconds)
    try:
        print(json.dumps(run(options.port, options.name, options.connections, options.seconds, options.resume)))
    except OSError as error:
        print(f"did not shake hands and answer: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
