"""Sites of several workers in memory, over one board."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.state import BackendState
from lbproxy.proxy.balancer import Balancer
from lbproxy.role import Role
from lbproxy.workers.board import Board
from lbproxy.workers.limits import Limits
from lbproxy.workers.slots import Slots

from ..sites import SiteRig
from ..support import Peer

__all__ = ["LimitedRole", "WorkersCase"]


class LimitedRole(Role):
    """A worker's, as far as its limits go."""

    probes = False

    def __init__(self, board: Board, number: int, workers: int) -> None:
        self.workers = workers
        self.limits = Limits(board, number, workers)

    def make_state(self, pool: str) -> Callable[..., BackendState]:
        return self.limits.make_state(pool)

    def welcome(self, balancer: Balancer) -> None:
        self.limits.attend(balancer)


class WorkersCase(SynchronousTestCase):
    """:ivar sites: the workers', whose clocks go together."""

    def setUp(self) -> None:
        self.board = Board()
        self.addCleanup(os.close, self.board.fd)
        self.sites: list[SiteRig] = []
        self.roles: list[LimitedRole] = []

    def work(self, wanted: Any, workers: int = 2) -> list[SiteRig]:
        """Have so many workers go by it."""
        self.slots = Slots(self.board, workers)
        self.roles = [LimitedRole(self.board, number, workers) for number in range(workers)]
        self.sites = [SiteRig(wanted, role=role) for role in self.roles]
        for number, site in enumerate(self.sites):
            for balancer in site.site.balancers.values():
                balancer.random = Random(number)
        self.tell_backends()
        return self.sites

    def tell_backends(self, backends: Any = None) -> None:
        """The supervisor says whom the pools consist of."""
        pools = [balancer.pool for balancer in self.sites[0].site.balancers.values()]
        for pool in pools:
            wanted = [member.backend for member in pool.members.values()] if backends is None else backends
            name, _, slots = self.slots.call(pool.name, wanted)
            for role, site in zip(self.roles, self.sites):
                role.limits.told(name, slots)
                site.balancer_of(name).pool.set_backends(wanted)

    def advance(self, seconds: float, steps: int = 20) -> None:
        """Time passes for all."""
        for _ in range(steps):
            for site in self.sites:
                site.reactor.advance(seconds / steps)

    def ask(self, site: SiteRig, data: bytes, count: int = 1) -> list[Peer]:
        """Clients send a request each."""
        clients = [site.client() for _ in range(count)]
        for client in clients:
            client.send(data)
        return clients
