"""What a worker does of a service."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamServerEndpoint

from ..balance.backend import Backend
from ..balance.pool import Pool
from ..balance.state import BackendState
from ..config.model import Configuration, PoolConfiguration
from ..errors import LBProxyError
from ..observe.access_log import AccessLog
from ..proxy.balancer import Balancer
from ..proxy.exchange import Exchange
from ..role import Role
from .board import Board
from .calls import read_backends
from .connections import SharedConnectionLimit
from .counting import Ledger
from .given import given_endpoint
from .limits import Limits
from .state import State
from .verdicts import Learnt

if TYPE_CHECKING:
    from .worker import Worker

__all__ = ["WorkerRole"]


class _Members:
    """Pools consist of those whom the supervisor says."""

    def __init__(self, backends: dict[str, list[dict[str, Any]]]) -> None:
        self.backends = backends

    def read(self, configuration: PoolConfiguration) -> Iterable[Backend]:
        """These."""
        return tuple(read_backends(self.backends.get(configuration.name, ()))) or configuration.backends

    def configure(self, pool: Pool, backends: Iterable[Backend], file: str) -> None:
        """The supervisor says it to the pool itself."""

    def drop(self, name: str) -> None:
        """Nothing is kept of it."""


class WorkerRole(Role):
    """:param worker: whose role it is; *number*: its own.

    :ivar limits: what it may have of what is limited for all workers together.
    """

    probes = False
    tells_changes = False
    members: _Members

    def __init__(self, worker: Worker, number: int, board: Board, state: State, ledger: Ledger) -> None:
        self.members = _Members(state["backends"])
        self.random_key = bytes.fromhex(state["random_key"])
        self.workers = state["workers"]
        self.limits = Limits(board, number, self.workers)
        self.make_limit = partial(SharedConnectionLimit, board=board, number=number, workers=self.workers)
        self._worker = worker
        self._ledger = ledger
        self._waiting: Deferred[None] | None = None

    def endpoint(self, reactor: Any, description: str) -> IStreamServerEndpoint:
        """One that accepts at sockets which the supervisor has given."""
        return given_endpoint(reactor, description, self._worker.sockets_for)

    def welcome(self, balancer: Balancer) -> None:
        """What traffic teaches its pool is told to the supervisor; who waits here learns of places that other workers leave."""
        balancer.pool.followers.append(Learnt(balancer.pool, self._worker.learnt))
        self.limits.attend(balancer)

    def make_state(self, pool: str) -> Callable[..., BackendState]:
        """Backends' limits are all workers'."""
        return self.limits.make_state(pool)

    def applied(self) -> None:
        """There are other filters, perhaps, and pools."""
        self.limits.keep(self._worker.service.site.balancers)
        self._worker.shares.look()

    def entrance(self, forward: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
        """They are counted on the board."""
        return self._ledger.entrance(forward)

    def log_made(self, log: AccessLog) -> None:
        """Others write to it as well."""
        self._worker.share_log(log)

    def agree(self, configuration: Configuration, opening: Any) -> Deferred[None]:
        """It is prepared here; the supervisor says whether it is gone by."""
        self._waiting = Deferred()
        self._worker.prepared()
        return self._waiting

    def serving(self, say: Callable[[], object]) -> None:
        """The supervisor says it, of all."""

    def decide(self, failure: LBProxyError | None) -> None:
        """The supervisor has said it: None is yes."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None) if failure is None else waiting.errback(failure)
