"""A supervisor's surroundings in memory: a reactor that starts processes which are none, and links without sockets."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost, ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump
from zope.interface import implementer

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
    Share,
    Socket,
    Tell,
)

__all__ = ["START", "FakeProcess", "FakeWorker", "HeldEndpoint", "Linked", "Reactor", "linked"]

#: The time at which tests begin.
START = 1000.0


class _Transport(FakeTransport):
    """Carries descriptors too, which come before the bytes that are written after them."""

    def __init__(self, protocol: Any, *, isServer: bool) -> None:
        super().__init__(protocol, isServer=isServer)
        self.to: Any = None

    def sendFileDescriptor(self, fd: int) -> None:
        """Another one of the same arrives."""
        self.to.fileDescriptorReceived(os.dup(fd))


class Linked:
    """Two ends of a link."""

    def __init__(self, upper: Any, lower: Any) -> None:
        above, below = _Transport(upper, isServer=True), _Transport(lower, isServer=False)
        above.to, below.to = lower, upper
        self._pump = IOPump(lower, upper, below, above, debug=False)
        self._ends = [(upper, above), (lower, below)]
        for protocol, transport in self._ends:
            protocol.makeConnection(transport)

    def flush(self) -> None:
        """Carry all that was written, either way."""
        self._pump.flush()

    def cut(self) -> None:
        """One end is gone: both hear it."""
        for protocol, transport in self._ends:
            if not transport.disconnected:
                transport.disconnected = True
                protocol.connectionLost(Failure(ConnectionLost()))


def linked(upper: Any, lower: Any) -> Linked:
    """Connect them."""
    return Linked(upper, lower)


class FakeWorker(Link):
    """A worker's end that does as the test says, and knows what it was told.

    :ivar said: names of commands, in order.
    :ivar holds: names of commands that are not answered before :meth:`answer`.
    :ivar refuses: why it refuses a command, by its name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.told: list[Any] = []
        self.holds: set[str] = set()
        self.refuses: dict[str, str] = {}
        self.sheet: Any = {}
        self.begun: dict[str, Any] = {}
        self._held: list[tuple[str, Deferred[Any]]] = []

    def _do(self, name: str, **answer: Any) -> Any:
        self.said.append(name)
        if name in self.holds:
            held: Deferred[Any] = Deferred()
            self._held.append((name, held))
            return held.addCallback(lambda _: self._end(name, answer))
        return self._end(name, answer)

    def _end(self, name: str, answer: dict[str, Any]) -> dict[str, Any]:
        if name in self.refuses:
            raise Refused(self.refuses[name])
        return answer

    def answer(self) -> None:
        """Answer what was held."""
        held, self._held = self._held, []
        for _, waiting in held:
            waiting.callback(None)

    @property
    def words(self) -> list[str]:
        """What it was told that is not said all the time."""
        return [word for word in self.said if word != "Report" and not word.startswith("Socket")]

    @Begin.responder
    def begin(self, **said: Any) -> Any:
        self.begun = said
        return self._do("Begin")

    @Prepare.responder
    def prepare(self, configuration: bytes, state: Any) -> Any:
        return self._do("Prepare")

    @Commit.responder
    def commit(self) -> Any:
        return self._do("Commit")

    @Abandon.responder
    def abandon(self) -> Any:
        return self._do("Abandon")

    @Certificates.responder
    def certificates(self, files: Any) -> Any:
        return self._do("Certificates")

    @Report.responder
    def report(self) -> Any:
        return self._do("Report", sheet=self.sheet)

    @Drain.responder
    def drain(self, last: bool, now: bool) -> Any:
        return self._do("Drain now" if now else "Drain")

    @Socket.responder
    def socket(self, listener: int, description: str, family: int, fd: int) -> Any:
        os.close(fd)
        return self._do(f"Socket {description}")

    @Tell.responder
    def tell(self, calls: Any) -> Any:
        self.told += calls
        return {}

    @Share.responder
    def share(self, given: Any) -> Any:
        return {}

    def leave(self) -> None:
        """It was told by a signal to end."""
        self.callRemote(Leaving)

    def farewell(self, sheet: Any) -> None:
        """Its last report."""
        self.callRemote(Farewell, sheet=sheet)


class FakeProcess:
    """A process: the supervisor's handle of it, and what the test makes of it.

    :ivar signals: those that it was sent.
    :ivar fds: what it inherits.
    """

    def __init__(self, reactor: Reactor, protocol: Any, pid: int, fds: dict[int, Any]) -> None:
        self.pid = pid
        self.fds = fds
        self.signals: list[int] = []
        self.worker = FakeWorker()
        self.ended = False
        self.stubborn = False  # whether SIGKILL takes a while
        self._reactor = reactor
        self._protocol = protocol

    def signalProcess(self, number: int) -> None:
        """It ends at once when it is killed."""
        if self.ended:
            raise ProcessExitedAlready
        self.signals.append(number)
        if number == signal.SIGKILL and not self.stubborn:
            self._reactor.callLater(0, self.die, signal.SIGKILL)

    def die(self, by: int | None = None, status: int = 1) -> None:
        """It ends: by a signal, or with a status."""
        if self.ended:
            return
        self.ended = True
        self.link.cut()
        self._end(ProcessTerminated(status, by, None) if by or status else ProcessDone(0))

    def end_first(self) -> None:
        """It ends, and its link is not known to be lost."""
        self.ended = True
        self._end(ProcessTerminated(1, None, None))

    def _end(self, end: Any) -> None:
        self._protocol.processExited(Failure(end))
        self._protocol.processEnded(Failure(end))

    def write(self, data: bytes) -> None:
        """It writes to its standard error."""
        self._protocol.errReceived(data)

    def connect(self, upper: Any) -> None:
        """Its link has another end."""
        self.link = linked(upper, self.worker)


@implementer(IListeningPort)
class HeldPort:
    """Sockets that are held for workers, without any.

    :ivar open: whether they still are.
    """

    def __init__(self, description: str) -> None:
        self.description = description
        self.open = True
        self._file = open(os.devnull)  # noqa: SIM115 - it is closed with the last reference to it

    def startListening(self) -> None:
        """They do."""

    def stopReading(self) -> None:
        """Nobody is accepted here."""

    @property
    def socket(self) -> HeldPort:
        """What can be closed."""
        return self

    @property
    def factory(self) -> HeldPort:
        """What is told of its end."""
        return self

    def close(self) -> None:
        """Let go of them."""
        self.open = False

    def doStop(self) -> None:
        """There is nobody to be told."""

    def descriptors(self) -> list[tuple[int, int]]:
        """One for each of two workers."""
        return [(self._file.fileno(), 2)] * 2

    def getHost(self) -> IPv4Address:
        """Where they listen."""
        return IPv4Address("TCP", "127.0.0.1", 80)

    def stopListening(self) -> None:
        """Close them."""
        self.open = False


@implementer(IStreamServerEndpoint)
class HeldEndpoint:
    """Holds such sockets.

    :ivar ports: all that there were.
    """

    ports: list[HeldPort] = []

    def __init__(self, description: str) -> None:
        self._description = description

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        """Hold them."""
        port = HeldPort(self._description)
        self.ports.append(port)
        return succeed(port)


class Reactor(MemoryReactorClock):
    """Starts processes, and gives each a link.

    :ivar processes: all that were started.
    :ivar prepare: is called with each worker's end before anything is said to it.
    :ivar broken: what is raised instead of to start one.
    """

    def __init__(self) -> None:
        super().__init__()
        Clock.advance(self, START)
        self.processes: list[FakeProcess] = []
        self.prepare: Callable[[FakeWorker], object] = lambda worker: None
        self.broken: Exception | None = None
        self._upper: Any = None

    def adoptStreamConnection(self, fd: int, family: int, factory: Any) -> Any:
        """The supervisor's end of a link; the process comes right after it."""
        self._upper = factory.buildProtocol(None)
        self._upper.made = linked(self._upper, FakeWorker())  # until there is one
        return _Adopted(self._upper)

    def spawnProcess(self, protocol: Any, executable: Any, args: Any = (), env: Any = None, **more: Any) -> Any:
        """Start one."""
        if self.broken is not None:
            raise self.broken
        process = FakeProcess(self, protocol, 100 + len(self.processes), more["childFDs"])
        self.prepare(process.worker)
        process.connect(self._upper)
        protocol.makeConnection(process)
        self.processes.append(process)
        return process

    def go(self, seconds: float = 0.0) -> None:
        """Let time pass, and carry what is said meanwhile."""
        for _ in range(3):
            self._carry()
        for _ in range(int(seconds / 0.125)):
            self.advance(0.125)
            self._carry()
        self.advance(0)
        self._carry()

    def _carry(self) -> None:
        for process in list(self.processes):
            if not process.ended:
                process.link.flush()


class _Adopted:
    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
