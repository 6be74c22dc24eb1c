"""The end of a listener's connections, such that nothing is lost that can be brought to its end in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .http1.factory import ServerFactory
from .proxy.counters import ListenerCounters
from .settings import Settings

__all__ = ["ABORT_GRACE", "DRAIN_LOOK", "FIRST_REQUEST", "NEXT_REQUEST", "PROGRESS", "Drain", "Draining", "Running"]

#: Seconds between two looks at what still runs. The first one comes after the reactor has read what had arrived before.
DRAIN_LOOK = 0.05
#: Seconds that a connection gets for its first request: whoever was accepted last has connected to be served.
FIRST_REQUEST = 1.0
#: Seconds that an idle connection gets for one more request, whose answer says that the connection ends, where there is somebody
#: to connect to then: a client that sends a request just when its connection is closed cannot know what became of that.
NEXT_REQUEST = 5.0
#: Seconds for which connections are waited for that were dropped. It takes them a turn of the reactor.
ABORT_GRACE = 1.0
#: Seconds between two lines in the log on what is still waited for.
PROGRESS = 5.0

_log = Logger()


class Running(Protocol):
    """Who knows what runs (:class:`lbproxy.proxy.counters.BalancerCounters`)."""

    @property
    def in_flight(self) -> int:
        """Exchanges."""

    @property
    def tunnels(self) -> int:
        """Those of them that are tunnels."""


class Draining(Protocol):
    """What brings the clients' connections to their end, in this process (:class:`Drain`) or in others.

    :ivar over: fires when no connection is left, or with :meth:`cancel`.
    """

    over: Deferred[None]

    def start(self) -> None:
        """Begin."""

    def end_now(self) -> None:
        """Wait no longer."""

    def cancel(self) -> None:
        """Leave the connections that there are to whoever serves them from now on."""


class Drain:
    """One drain. After ``settings.drain_delay`` it closes the listeners; then idle connections are closed, running exchanges and
    tunnels have ``settings.drain`` seconds in all to end, and what remains is dropped.

    :param factory: whose connections are to end.
    :param running: what is said in the log of exchanges and tunnels.
    :param listener: ``limited["drain"]`` counts the connections dropped.
    :param close_listeners: closes the ports; its Deferred fires when they are closed.
    :param patience: seconds for which idle connections may wait for one more request.
    :ivar over: fires when no connection is left, or with :meth:`cancel`.
    """

    def __init__(
        self,
        factory: ServerFactory,
        running: Running,
        listener: ListenerCounters,
        settings: Settings,
        clock: Any,
        close_listeners: Callable[[], Deferred[Any]],
        patience: float = 0.0,
    ) -> None:
        self.over: Deferred[None] = Deferred()
        self._factory = factory
        self._running = running
        self._listener = listener
        self._settings = settings
        self._clock = clock
        self._close_listeners = close_listeners
        self._patience = patience
        self._delaying: Any = None
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._deadline = self._first_requests = self._next_requests = self._progress = 0.0
        self._hurried = self._dropped = False

    def start(self) -> None:
        """Begin."""
        delay = self._settings.drain_delay
        if delay:
            _log.info("draining: /healthz fails from now on, and the listeners close in {delay:g} s", delay=delay)
            self._delaying = self._clock.callLater(delay, self._close)
        else:
            self._close()

    def end_now(self) -> None:
        """Wait no longer: close the listeners, unless they are closed, and drop what is left."""
        if self._hurried or self._dropped:
            return
        self._hurried = True
        self._deadline = self._clock.seconds()
        if self._delaying is not None:
            self._delaying.cancel()
            self._close()
        elif self._looking.running:
            self._look()
        # Otherwise the ports are closing, and the first look follows at once.

    def cancel(self) -> None:
        """Leave the connections that there are to whoever serves them from now on."""
        if self._delaying is not None:
            self._delaying.cancel()
        self._finish()

    def _close(self) -> None:
        self._delaying = None
        self._factory.draining = True
        now = self._clock.seconds()
        self._deadline = now if self._hurried else now + self._settings.drain
        self._first_requests = now + max(FIRST_REQUEST, self._patience)
        self._next_requests = now + self._patience
        self._progress = now + PROGRESS
        self._close_listeners().addBoth(self._closed)

    def _closed(self, _: object) -> None:
        if self.over.called:
            return
        if not self._factory.connections:
            self._finish()
            return
        self._tell("draining")
        self._looking.start(DRAIN_LOOK, now=self._hurried).addErrback(self._failed)

    def _look(self) -> None:
        now = self._clock.seconds()
        late = now - self._deadline
        if late >= 0:
            self._drop()
        else:
            self._close_idle(now)
        if not self._factory.connections or late >= ABORT_GRACE:
            self._finish()
        elif now >= self._progress:
            self._progress += PROGRESS
            self._tell("still draining")

    def _close_idle(self, now: float) -> None:
        for connection in list(self._factory.connections):
            if now >= (self._next_requests if connection.requests else self._first_requests):
                connection.close_if_idle()

    def _drop(self) -> None:
        if self._dropped:
            return
        self._dropped = True
        connections = list(self._factory.connections)
        limited = self._listener.limited
        limited["drain"] = limited.get("drain", 0) + len(connections)
        for connection in connections:
            connection.drop()
        why = "at once, as it was told again to stop" if self._hurried else f"after {self._settings.drain:g} s (--drain)"
        _log.warn("dropped {connections} {why}", connections=_count(len(connections), "connection"), why=why)

    def _finish(self) -> None:
        if self._looking.running:
            self._looking.stop()
        if not self.over.called:
            self.over.callback(None)

    def _failed(self, failure: Failure) -> None:
        """Something here is wrong; whoever waits for the end must not wait for ever."""
        _log.failure("the drain stopped", failure)
        self._finish()

    def _tell(self, what: str) -> None:
        _log.info(
            "{what}: {exchanges} running, {tunnels} among them, {connections} open; {left:.3g} s left at most",
            what=what,
            exchanges=_count(self._running.in_flight, "exchange"),
            tunnels=_count(self._running.tunnels, "tunnel"),
            connections=_count(len(self._factory.connections), "connection"),
            left=max(0.0, self._deadline - self._clock.seconds()),
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
