"""A whole balancer in memory whose only route has filters, and threads that run when the test says so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from lbproxy.routing.filter import FilterContext

from ...support import OK, Peer
from ..support import RoutedRig

__all__ = ["FilteredRig", "Threads", "context"]


def context(reactor: Any = None) -> tuple[FilterContext, Counter[str]]:
    """What a live filter is made with, and what it counts."""
    counted: Counter[str] = Counter()
    reactor = MemoryReactorClock() if reactor is None else reactor

    def count(what: str) -> None:
        counted[what] += 1

    return FilterContext(reactor=reactor, clock=reactor, random=Random(1), count=count), counted


class Threads:
    """A reactor's threads: what is to run there waits until :meth:`run`.

    :ivar waiting: what does.
    :ivar identities: of the threads that have run something.
    """

    def __init__(self, reactor: Any) -> None:
        self.waiting: list[tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = []
        self.identities: set[int] = set()
        reactor.getThreadPool = lambda: self
        reactor.callFromThread = lambda what, *args: what(*args)

    def callInThreadWithCallback(self, done: Callable[..., Any], what: Callable[..., Any], *args: Any) -> None:
        """As Twisted's thread pool has it."""
        self.waiting.append((done, what, args))

    def run(self) -> None:
        """Run what waits, in threads of its own; what it gives comes back in this one."""
        waiting, self.waiting = self.waiting, []
        for done, what, args in waiting:
            outcome: list[Any] = []

            def work(what: Any = what, args: Any = args, outcome: list[Any] = outcome) -> None:
                self.identities.add(threading.get_ident())
                try:
                    outcome.append((True, what(*args)))
                except Exception:
                    outcome.append((False, Failure()))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            done(*outcome[0])


class FilteredRig(RoutedRig):
    """The same, for tests that look at more than what comes out.

    :ivar live: the filters as they run.
    :ivar threads: the reactor's.
    """

    def __init__(self, *specs: Any, **settings: Any) -> None:
        super().__init__(*specs, **settings)
        self.threads = Threads(self.reactor)
        self.live: Any = self.resource.site.router.live["everything"].filters

    @property
    def counts(self) -> Counter[str]:
        """How often they counted what."""
        return Counter(self.counted)

    def begin(self, data: bytes, address: str = "192.0.2.7") -> Peer:
        """A client that has sent this."""
        client = self.client(address)
        client.send(data)
        return client

    def answered(self, client: Peer, answer: bytes = OK) -> tuple[bytes, bytes]:
        """The backend answers; gives what it and the client got."""
        backend = self.accept()
        asked = backend.received()
        backend.send(answer)
        return asked, client.received()
