"""A worker does what its supervisor says, and ends well when nobody says anything any more."""

from __future__ import annotations

import os
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

import lbproxy.service
from lbproxy import __version__
from lbproxy.config.model import Configuration
from lbproxy.workers.board import Board
from lbproxy.workers.link import Link
from lbproxy.workers.messages import (
    Abandon,
    Begin,
    Certificates,
    Commit,
    Drain,
    Farewell,
    Leaving,
    Prepare,
    Refused,
    Report,
    Socket,
    Tell,
)
from lbproxy.workers.state import packed, worker_configuration
from lbproxy.workers.worker import Worker
from lbproxy.workers.worker_role import WorkerRole

from ..sites import configuration
from ..tls.fake_store import Threads
from .fakes import START, HeldEndpoint, linked


class _Upper(Link):
    """The supervisor's end, which knows what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    @Leaving.responder
    def leaving(self) -> Any:
        self.heard.append("Leaving")
        return {}

    @Farewell.responder
    def farewell(self, sheet: Any) -> Any:
        self.heard.append("Farewell")
        return {}

    @Tell.responder
    def tell(self, calls: Any) -> Any:
        self.heard.append("Tell")
        return {}


class _Reactor(MemoryReactorClock):
    """Knows whether it was stopped."""

    stops = 0

    def stop(self) -> None:
        """End."""
        self.stops += 1


class WorkerCase(SynchronousTestCase):
    """Has a worker, and its link."""

    def setUp(self) -> None:
        self.reactor = _Reactor()
        self.reactor.running = True
        self.reactor.advance(START)
        self.threads = Threads()
        self.patch(lbproxy.service, "in_thread_of", lambda reactor, job: self.threads(job))
        self.ports: list[Any] = []
        self.patch(HeldEndpoint, "ports", self.ports)
        self.patch(WorkerRole, "endpoint", lambda role, reactor, description: self.endpoint(description))
        self.upper = _Upper()
        self.worker = Worker(self.reactor, Board())
        self.link = linked(self.upper, self.worker)

    def endpoint(self, description: str) -> Any:
        """One that takes the sockets which were given for it."""
        for fd, _ in self.worker.sockets_for(description):
            os.close(fd)
        return HeldEndpoint(description)

    def occupy(self) -> None:
        """Nothing can be listened on from now on."""
        error = CannotListenError("", 80, OSError(98, "Address already in use"))
        self.patch(HeldEndpoint, "listen", lambda endpoint, factory: fail(error))

    def configured(self, *listen: str, **settings: Any) -> bytes:
        """What a worker is given."""
        given: Configuration = attrs.evolve(configuration("10.0.0.1:80", **settings), listen=listen or ("tcp:80",), workers=2)
        return packed(worker_configuration(given, 2))

    def say(self, command: Any, **arguments: Any) -> Deferred[Any]:
        """Say something to it."""
        answer: Deferred[Any] = Deferred()  # of AMP's own, a failure is taken at once by whoever does not wait for it
        said: Any = self.upper.callRemote(command, **arguments)
        if said is not None:
            said.addBoth(answer.callback)
        self.link.flush()
        return answer

    def begin(self, version: str = __version__, **settings: Any) -> Deferred[Any]:
        """Have it serve."""
        data = self.configured(**settings)
        return self.say(Begin, number=0, row=0, version=version, configuration=data, state=self.state())

    def state(self) -> dict[str, Any]:
        """What is not in a configuration."""
        return {"workers": 2, "random_key": "00" * 32, "backends": {}, "calls": [], "files": {}}

    def prepare(self, data: bytes) -> Deferred[Any]:
        """Have it prepare."""
        return self.say(Prepare, configuration=data, state=self.state())

    def pass_time(self, seconds: float) -> None:
        """In small steps, with what is said meanwhile."""
        for _ in range(int(seconds / 0.125) + 1):
            self.reactor.advance(0.125)
            self.link.flush()

    @property
    def listens(self) -> list[str]:
        """Where it does."""
        return [listener.description for listener in self.worker.service.listeners.clients]


class BeginTests(WorkerCase):
    """Promises on how it begins."""

    def test_it_serves_what_it_is_given(self) -> None:
        """And answers when it listens."""
        self.successResultOf(self.begin())
        self.assertTrue(self.worker.service.running)
        self.assertEqual(self.listens, ["tcp:80"])

    def test_another_version_is_refused(self) -> None:
        """It says what to do."""
        why = self.failureResultOf(self.begin("0.0"), Refused).getErrorMessage()
        self.assertIn("0.0 runs; upgrade it (SIGUSR2)", why)

    def test_a_mistake_is_refused_with_its_reason(self) -> None:
        """One of the operator's."""
        self.occupy()
        self.assertIn("cannot listen on tcp:80", self.failureResultOf(self.begin(), Refused).getErrorMessage())

    def test_a_mistake_of_a_plugin_is_refused_too(self) -> None:
        """With its traceback in the log, where the supervisor's operator sees it."""

        def broken(*_: Any, **__: Any) -> None:
            raise KeyError("of all things")

        self.patch(lbproxy.service.LoadBalancerService, "startService", broken)
        why = self.failureResultOf(self.begin(), Refused).getErrorMessage()
        self.assertIn("KeyError: 'of all things'", why)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_what_is_said_before_it_began_is_no_error(self) -> None:
        """It could not, and is about to be replaced."""
        self.failureResultOf(self.begin("0.0"), Refused)
        self.successResultOf(self.prepare(self.configured()))
        self.successResultOf(self.say(Certificates, files={}))
        for command in (Commit, Abandon, Report):
            self.successResultOf(self.say(command))
        self.say(Tell, calls=[["default", "wish", {}]])
        self.say(Drain, last=True, now=False)
        self.assertEqual(self.reactor.stops, 1)


class ReloadTests(WorkerCase):
    """Promises on going from one configuration to another."""

    def setUp(self) -> None:
        super().setUp()
        self.successResultOf(self.begin())

    def test_it_goes_by_it_when_it_is_told(self) -> None:
        """Not sooner."""
        self.successResultOf(self.prepare(self.configured("tcp:80", "tcp:81")))
        self.assertEqual(self.listens, ["tcp:80"])
        self.successResultOf(self.say(Commit))
        self.assertEqual(self.listens, ["tcp:80", "tcp:81"])

    def test_it_stays_as_it_is_when_it_is_told(self) -> None:
        """And can be asked again."""
        self.successResultOf(self.prepare(self.configured("tcp:80", "tcp:81")))
        self.successResultOf(self.say(Abandon))
        self.assertEqual(self.listens, ["tcp:80"])
        self.assertEqual([port.open for port in self.ports], [True, False])
        self.successResultOf(self.prepare(self.configured("tcp:82")))
        self.successResultOf(self.say(Commit))
        self.assertEqual(self.listens, ["tcp:82"])

    def test_a_mistake_is_refused(self) -> None:
        """It stays as it is, whatever is decided."""
        self.occupy()
        why = self.failureResultOf(self.prepare(self.configured("tcp:81")), Refused).getErrorMessage()
        self.assertIn("cannot listen on tcp:81", why)
        self.successResultOf(self.say(Abandon))
        self.assertEqual(self.listens, ["tcp:80"])

    def test_sockets_for_what_is_not_to_be_are_closed(self) -> None:
        """They would be taken for those of a later listener."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.say(Socket, listener=1, description="tcp:99", family=2, fd=writing)
        os.close(writing)  # it has another one of the same
        self.occupy()
        self.failureResultOf(self.prepare(self.configured("tcp:81")), Refused)
        os.set_blocking(reading, False)
        self.assertEqual(os.read(reading, 1), b"")
        self.assertEqual(self.worker.sockets_for("tcp:99"), [])

    def test_where_it_cannot_after_all_it_says_so(self) -> None:
        """The supervisor replaces it."""

        def broken(*_: Any) -> None:
            raise RuntimeError("of all things")

        self.patch(self.worker.service.site, "apply", broken)
        self.successResultOf(self.prepare(self.configured("tcp:81")))
        self.assertIn("of all things", self.failureResultOf(self.say(Commit), Refused).getErrorMessage())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_certificates_are_read_when_it_is_told(self) -> None:
        """Its own files are not watched."""
        asked: list[None] = []
        self.patch(self.worker.service, "reload_certificates", lambda: asked.append(None))
        self.successResultOf(self.say(Certificates, files={}))
        self.assertEqual(len(asked), 1)


class EndTests(WorkerCase):
    """Promises on its end."""

    def begin_with_exchange(self, **settings: Any) -> Any:
        """It serves, and something runs that only ends when it is dropped."""
        self.successResultOf(self.begin(**settings))
        running = _Running()
        running.among = self.worker.service.factory.connections
        self.worker.service.factory.connections.add(running)  # type: ignore[arg-type]
        return running

    def test_told_to_it_drains_reports_and_ends(self) -> None:
        """In this order."""
        running = self.begin_with_exchange()
        self.successResultOf(self.say(Drain, last=True, now=False))
        self.pass_time(5.0)
        self.assertEqual((self.reactor.stops, self.upper.heard), (0, []))
        self.assertEqual([port.open for port in self.ports], [False])
        running.end()
        self.pass_time(1.0)
        self.assertEqual((self.reactor.stops, self.upper.heard), (1, ["Farewell"]))

    def test_told_again_it_drops_what_runs(self) -> None:
        """Nothing is waited for."""
        running = self.begin_with_exchange()
        self.say(Drain, last=True, now=False)
        self.say(Drain, last=True, now=True)
        self.pass_time(0.5)
        self.assertTrue(running.dropped)
        self.assertEqual(self.reactor.stops, 1)

    def test_told_at_once_to_end_now_it_does(self) -> None:
        """Though nothing was said before."""
        running = self.begin_with_exchange(drain_delay=5.0)
        self.say(Drain, last=True, now=True)
        self.pass_time(0.5)
        self.assertTrue(running.dropped)
        self.assertEqual(self.reactor.stops, 1)

    def test_by_a_signal_it_says_that_it_leaves(self) -> None:
        """Once, and drains; its successor begins meanwhile."""
        running = self.begin_with_exchange()
        self.worker.leave()
        self.worker.leave()
        self.pass_time(1.0)
        self.assertEqual((self.reactor.stops, self.upper.heard), (0, ["Leaving"]))
        running.end()
        self.pass_time(1.0)
        self.assertEqual((self.reactor.stops, self.upper.heard), (1, ["Leaving", "Farewell"]))

    def test_left_alone_it_finishes_what_runs_and_ends(self) -> None:
        """As long as a drain may last."""
        running = self.begin_with_exchange(drain=10.0)
        self.link.cut()
        self.pass_time(9.0)
        self.assertEqual((self.reactor.stops, running.dropped), (0, False))
        self.assertEqual([port.open for port in self.ports], [False])
        self.pass_time(2.0)
        self.assertEqual((self.reactor.stops, running.dropped), (1, True))

    def test_left_alone_while_it_drains_it_goes_on_with_that(self) -> None:
        """Nothing is dropped for it."""
        running = self.begin_with_exchange()
        self.say(Drain, last=True, now=False)
        self.link.cut()
        self.pass_time(5.0)
        self.assertFalse(running.dropped)
        running.end()
        self.pass_time(1.0)
        self.assertEqual(self.reactor.stops, 1)

    def test_left_alone_before_it_began_it_ends(self) -> None:
        """There is nothing to finish."""
        self.link.cut()
        self.assertEqual(self.reactor.stops, 1)


class _Running:
    """A client's connection with an exchange on it."""

    requests = 1

    def __init__(self) -> None:
        self.dropped = False
        self.among: Any = set()

    def close_if_idle(self) -> None:
        """It is not."""

    def drop(self) -> None:
        """It was to end."""
        self.dropped = True
        self.end()

    def end(self) -> None:
        """It is over."""
        self.among.discard(self)
