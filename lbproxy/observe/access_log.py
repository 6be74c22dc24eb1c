"""The access log: a line for each exchange, written in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import ConfigurationError
from ..http1.fields import field_value
from ..interfaces import IExchangeObserver
from ..proxy.explain import explain
from .formats import FORMATS, combined_line, format_json
from .log_file import STANDARD_OUTPUT, LogFile
from .outcome import Outcome
from .times import combined_time

if TYPE_CHECKING:
    from ..proxy.exchange import Exchange

__all__ = ["FLUSH_BYTES", "FLUSH_SECONDS", "FLUSH_SECONDS_STDOUT", "AccessLog"]

#: Lines are written when there are this many bytes of them (nginx's ``buffer=64k`` is what its manual shows) …
FLUSH_BYTES = 64 * 1024
#: … and at the latest after this many seconds: a ``tail -f`` is followed by programs,
FLUSH_SECONDS = 1.0
#: standard output by people.
FLUSH_SECONDS_STDOUT = 0.2

_log = Logger()


@implementer(IExchangeObserver)
class AccessLog:
    """Writes a line for each finished exchange.

    Measured for a request with six fields, escaping and writing included: 2.7 µs a line for ``combined`` (up to 5.5 while the
    machine had other work), 14 µs (up to 25) for ``json``. Lines are collected and written by one call, 20 µs for 64 KiB.

    :param path: the file to append to; ``-`` is standard output.
    :param format: ``combined`` or ``json`` (:mod:`lbproxy.observe.formats`).
    :param clock: when to write.
    :param explain: whether each JSON line also says what there was to decide (:mod:`lbproxy.proxy.explain`).
    :ivar path: as it was given.
    :ivar explains: the same, for the balancer.
    :raises ConfigurationError: for another format.
    """

    def __init__(self, path: str, format: str, clock: IReactorTime, *, explain: bool = False) -> None:
        if format not in FORMATS:
            raise ConfigurationError(f"--access-log-format: {format!r} was given; allowed are {' and '.join(FORMATS)}")
        self.explains = explain
        self.path = path
        self._file = LogFile(path)
        self._dropped_elsewhere = 0
        self._combined = format == "combined"
        self._lines: list[str] = []
        self._size = 0
        self._second = -1
        self._date = ""
        self._interval = FLUSH_SECONDS_STDOUT if path == STANDARD_OUTPUT else FLUSH_SECONDS
        self._loop = LoopingCall(self.flush)
        self._loop.clock = clock

    @property
    def dropped(self) -> int:
        """Lines lost so far because they could not be written, here or, by what other processes say, there."""
        return self._file.dropped + self._dropped_elsewhere

    @dropped.setter
    def dropped(self, lines: int) -> None:
        self._dropped_elsewhere = lines - self._file.dropped

    def lend(self) -> tuple[str, int] | None:
        """The file's path, whatever directory one is in, and its descriptor; None where another process needs neither: it is not
        open, or is standard output."""
        return self._file.lend()

    def share(self, path: str, fd: int = -1) -> None:
        """Let other processes write to the same file.

        :param path: of the file, whatever directory one is in.
        :param fd: the file, open for whoever may not open it; -1: it is not.
        """
        self._file.share(path, fd)

    def open(self) -> None:
        """Open the file, while there is still the privilege to.

        :raises ConfigurationError: names the option, the file and the cause.
        """
        self._file.open()

    def start(self) -> None:
        """Write what there is from now on, at short intervals."""
        if not self._loop.running:
            done: Deferred[LoopingCall] = self._loop.start(self._interval, now=False)
            done.addErrback(lambda failure: _log.failure("the access log stopped", failure))

    def close(self) -> None:
        """Write what is left, and close the file."""
        if self._loop.running:
            self._loop.stop()
        self.flush()
        self._file.close()

    def exchange_finished(self, exchange: Exchange) -> None:
        """Take an exchange down."""
        line = self._combined_line(exchange) if self._combined else self._json_line(exchange)
        self._lines.append(line)
        self._size += len(line)  # a line is ASCII
        if self._size >= FLUSH_BYTES:
            self.flush()

    def _json_line(self, exchange: Exchange) -> str:
        return format_json(Outcome.of(exchange), explain(exchange) if self.explains else None)

    def _combined_line(self, exchange: Exchange) -> str:
        """What format_combined gives, straight from the exchange: an Outcome would cost more than the line."""
        second = int(exchange.finished)
        if second != self._second:
            self._second, self._date = second, combined_time(second)
        request = exchange.request
        referer = field_value(request.fields, b"referer")
        agent = field_value(request.fields, b"user-agent")
        return combined_line(
            self._date,
            exchange.client.address,
            request.method.decode("latin-1"),
            request.target.decode("latin-1"),
            request.minor,
            exchange.status,
            exchange.end,
            exchange.response_bytes,
            "-" if referer is None else referer.decode("latin-1"),
            "-" if agent is None else agent.decode("latin-1"),
        )

    def flush(self) -> None:
        """Write what has been taken down; never raises."""
        if self._lines:
            data = "".join(self._lines).encode("ascii")
            self._lines.clear()
            self._size = 0
            self._file.write(data)
