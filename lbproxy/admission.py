"""How many client connections there may be: beyond that the listening ports pause, and whoever comes then waits in the system's
queue (``backlog=``) instead of being turned away."""

from __future__ import annotations

import resource
from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .proxy.counters import ListenerCounters

__all__ = ["RESERVED_FILES", "ConnectionLimit", "connections_for"]

#: Open files that are not clients' connections or their exchanges': the log, the listeners, the admin listener's connections,
#: the reactor's own, probes, and a burst of connections that is accepted before the ports have paused.
RESERVED_FILES = 100
#: Room below which the ports' bursts are held to it. Above it, Twisted's ports may accept as many at once as they like: they
#: begin with 100, and take 20 more each time that this was not enough.
NEAR = 512
#: Seconds between two lines in the log on connections that wait.
QUIET = 60.0

_log = Logger()


def connections_for(files: int) -> int:
    """How many client connections a process may have that may open so many *files*: an exchange takes two, one to the client and
    one to the backend, and :data:`RESERVED_FILES` are for other things. At least 1; 0 (no limit) where files have none."""
    return 0 if files == resource.RLIM_INFINITY else max(1, (files - RESERVED_FILES) // 2)


class ConnectionLimit:
    """One limit for all listeners of a service: a factory's ``gate``.

    It is kept to the connection, but for a burst of more than :data:`NEAR`: one call of a port's ``doRead`` accepts
    ``numberAccepts`` connections (``twisted.internet.tcp.Port``) and cannot be stopped in the middle. So that number is set to
    the room that is left as soon as this gets scarce. When a service stops, what waits in its ports' queues is accepted whatever
    the limit: it would be reset otherwise.

    :param counters: ``limited["connections"]`` counts how often the ports paused; ``connections_limit`` is the limit in force.
    :param ports: gives the ports that listen now.
    :param processes: that keep to the limit together, each of which may open as many files.
    :ivar open: connections now.
    """

    def __init__(
        self, counters: ListenerCounters, ports: Callable[[], list[Any]], clock: IReactorTime, *, processes: int = 1
    ) -> None:
        self.open = 0
        self.paused = False
        self._counters = counters
        self._ports = ports
        self._clock = clock
        self._processes = processes
        self._narrowing = False
        self._told = -inf
        self._complained = False

    def start(self, limit: int) -> None:
        """Keep to *limit* from now on, also at ports that are new; 0 takes it from the files that the process may open."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        possible = connections_for(files) * self._processes
        self._counters.connections_limit = limit or possible
        if 0 < possible < limit:
            self._warn(limit, files, possible)
        self._resume()
        self._check()

    def _warn(self, limit: int, files: int, possible: int) -> None:
        _log.warn(
            "--max-connections is {limit}, but {who} may open {files} files, which is enough for {possible} connections with an "
            "exchange on each; raise the limit of files (ulimit -n, LimitNOFILE=) or lower --max-connections",
            limit=limit,
            who="the process" if self._processes == 1 else f"each of the {self._processes} workers",
            files=files,
            possible=possible,
        )

    def opened(self) -> None:
        """A client has connected."""
        self.open += 1
        if self.room < NEAR:
            self._check()

    def closed(self) -> None:
        """A client's connection has ended."""
        self.open -= 1
        if self.paused and self.room > 0:
            self._resume()

    def _resume(self) -> None:
        if self.paused:
            self.paused = False
            self._narrow()
            for port in self._ports():
                resume = getattr(port, "resumeProducing", None)
                if resume is not None:
                    resume()

    @property
    def room(self) -> float:
        """How many more connections there may be."""
        limit = self._counters.connections_limit
        return limit - self.open if limit else inf

    @property
    def at_once(self) -> float:
        """How many a port may accept in one call."""
        return max(1, self.room)

    def _check(self) -> None:
        if self.room <= 0:
            self._pause()
        elif self.room < NEAR:
            self._narrow()
            if not self._narrowing:  # the port that accepts just now sets its own number when it has done so
                self._narrowing = True
                self._clock.callLater(0, self._narrow)

    def _narrow(self) -> None:
        """Let no port accept more at once than there is room for."""
        self._narrowing = False
        most = self.at_once
        for port in self._ports():
            if getattr(port, "numberAccepts", 0) > most:
                port.numberAccepts = most

    def _pause(self) -> None:
        if not self.paused:
            self.paused = True
            limited = self._counters.limited
            limited["connections"] = limited.get("connections", 0) + 1
            self._tell()
        for port in self._ports():
            pause = getattr(port, "pauseProducing", None)
            if pause is not None:
                pause()
            elif not self._complained:
                self._complained = True
                _log.warn("{port!r} cannot pause: --max-connections does not hold for it", port=port)

    def _tell(self) -> None:
        now = self._clock.seconds()
        if now - self._told >= QUIET:
            self._told = now
            _log.warn(
                "{limit} client connections are open, as many as --max-connections allows; others wait until there is room",
                limit=self._counters.connections_limit,
            )
