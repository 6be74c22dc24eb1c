"""A worker: it carries exchanges, and goes by what its supervisor says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from .. import __version__
from ..balance.backend import Backend
from ..balance.backend_values import backend_of
from ..balance.pool import Pool
from ..balance.state import Verdict
from ..config.model import Configuration, PoolConfiguration
from ..errors import LBProxyError
from ..lending import lend_descriptor
from ..role import Role
from ..service import LoadBalancerService
from .calls import Sender, tell
from .loans import take_loans
from .messages import Abandon, Begin, Certificates, Commit, Drain, Log, Prepare, Refused, Report, Share, Socket, Tell
from .sockets import Given
from .state import unpacked

__all__ = ["Worker", "WorkerRole"]

_log = Logger()


class _Members:
    """Pools consist of those whom the supervisor says."""

    def __init__(self, backends: dict[str, list[str]]) -> None:
        self.backends = backends

    def read(self, configuration: PoolConfiguration) -> Iterable[Backend]:
        """These."""
        return tuple(map(backend_of, self.backends.get(configuration.name, ()))) or configuration.backends

    def configure(self, pool: Pool, backends: Iterable[Backend], file: str) -> None:
        """The supervisor says it to the pool itself."""

    def drop(self, name: str) -> None:
        """Nothing is kept of it."""


class WorkerRole(Role):
    """:param worker: whose role it is."""

    probes = False
    tells_changes = False

    def __init__(self, worker: Worker, state: dict[str, Any]) -> None:
        self.members = _Members(state["backends"])
        self.random_key = bytes.fromhex(state["random_key"])
        self._worker = worker
        self._waiting: Deferred[None] | None = None

    def endpoint(self, reactor: Any, description: str) -> IStreamServerEndpoint:
        """One that accepts at sockets which the supervisor has given."""
        sockets = self._worker.sockets_for(description)
        endpoint: IStreamServerEndpoint = serverFromString(Given(reactor, sockets, description), description)
        return endpoint

    def welcome(self, pool: Pool) -> None:
        """What traffic teaches this pool is told to the supervisor."""
        pool.followers.append(_Upward(pool.name, self._worker.learnt))

    def agree(self, configuration: Configuration, opening: Any) -> Deferred[None]:
        """It is prepared here; the supervisor says whether it is gone by."""
        self._waiting = Deferred()
        self._worker.prepared()
        return self._waiting

    def decide(self, failure: LBProxyError | None) -> None:
        """The supervisor has said it: None is yes."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None) if failure is None else waiting.errback(failure)


class _Upward(Sender):
    """Says what was learnt from traffic, and nothing else: all other things come from above."""

    def set_backends(self, backends: Iterable[Backend], source: str = "configuration") -> None:
        """This comes from above."""

    def wish(self, wish: Any) -> None:
        """So does this."""

    def apply(self, verdict: Verdict) -> None:
        """Say it if it was learnt here."""
        if verdict.source == "traffic":
            super().apply(verdict)


class Worker(amp.AMP):
    """The worker's end of the link."""

    role: WorkerRole
    service: LoadBalancerService

    def __init__(self, reactor: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._sockets: list[tuple[str, int, int]] = []
        self._listening = False  # to the supervisor: what is told just now is not told back
        self._preparing: Deferred[dict[str, Any]] | None = None
        self._running = False

    def sockets_for(self, description: str) -> list[tuple[int, int]]:
        """Those that were given for a listener of this description."""
        found = [one for one in self._sockets if one[0] == description]
        self._sockets = [one for one in self._sockets if one[0] != description]
        return [(fd, family) for _, fd, family in found]

    @Socket.responder
    def socket(self, description: str, family: int, fd: int) -> dict[str, Any]:
        self._sockets.append((description, fd, family))
        return {}

    @Log.responder
    def log(self, path: str, fd: int) -> dict[str, Any]:
        lend_descriptor(path, fd)
        return {}

    @Begin.responder
    def begin(self, number: int, version: str, configuration: bytes, state: dict[str, Any]) -> dict[str, Any]:
        if version != __version__:
            raise Refused(f"lbproxy {__version__} is installed now, and {version} runs; upgrade it (SIGUSR2)")
        take_loans(state["files"])
        try:
            self.role = WorkerRole(self, state)
            self.service = LoadBalancerService.of(unpacked(configuration), reactor=self._reactor, role=self.role)
            self._running = True
            self._hear(state["calls"])
            self.service.startService()
        except LBProxyError as error:
            raise Refused(str(error)) from error
        return {}

    @Tell.responder
    def tell(self, calls: list[Any]) -> dict[str, Any]:
        if self._running:
            self._hear(calls)
        return {}

    def _hear(self, calls: list[Any]) -> None:
        pools: Any = {name: balancer.pool for name, balancer in self.service.site.balancers.items()}
        self._listening = True
        try:
            for call in calls:
                tell(pools, call)
        finally:
            self._listening = False

    def learnt(self, call: list[Any]) -> None:
        """Traffic has taught something."""
        if not self._listening:
            self.callRemote(Tell, calls=[call])  # type: ignore[no-untyped-call]

    @Prepare.responder
    def prepare(self, configuration: bytes, state: dict[str, Any]) -> Deferred[dict[str, Any]]:
        take_loans(state["files"])
        self.role.members.backends = state["backends"]
        answer: Deferred[dict[str, Any]] = Deferred()
        self._preparing = answer
        self.service.reload(unpacked(configuration)).addCallback(self._reloaded)
        return answer

    def prepared(self) -> None:
        """All is prepared."""
        preparing, self._preparing = self._preparing, None
        if preparing is not None:
            preparing.callback({})

    def _reloaded(self, result: Any) -> None:
        preparing, self._preparing = self._preparing, None
        if preparing is not None:
            preparing.errback(Refused("\n".join(result.errors)))

    @Commit.responder
    def commit(self) -> dict[str, Any]:
        self.role.decide(None)
        return {}

    @Abandon.responder
    def abandon(self) -> dict[str, Any]:
        self.role.decide(LBProxyError("another worker cannot go by it"))
        return {}

    @Certificates.responder
    def certificates(self, files: Any) -> dict[str, Any]:
        take_loans(files)
        if self._running:
            self.service.reload_certificates()
        return {}

    @Report.responder
    def report(self) -> dict[str, Any]:
        return {"sheet": {}}

    @Share.responder
    def share(self, given: Any) -> dict[str, Any]:
        return {}

    @Drain.responder
    def drain(self, last: bool, now: bool) -> dict[str, Any]:
        self._end()
        return {}

    def _end(self) -> None:
        if not self._running:
            self._reactor.stop()
            return
        self.service.stopService().addBoth(lambda _: self._stop())

    def _stop(self) -> None:
        if self._reactor.running:
            self._reactor.stop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The supervisor is gone: bring what runs to its end, and end."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self._end()

