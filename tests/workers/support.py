"""A supervisor and its workers without processes: pools with their checks of traffic, joined by queues that keep the order."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.known import Known
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import Verdict
from lbproxy.health.traffic import TrafficCheck
from lbproxy.settings import Settings
from lbproxy.workers.calls import Call, Sender, read_backends, snapshot, tell
from lbproxy.workers.verdicts import Learnt, Verdicts

from ..support import START

__all__ = ["Fleet", "Side", "known"]


def known(pool: Pool) -> list[Any]:
    """All that is known of a pool's backends, in their order."""
    return [(member.backend, Known.of(member), member.up, member.fit, member.state) for member in pool.members.values()]


class Side:
    """What stands for a balancer: a pool, and its check of traffic."""

    def __init__(self, fleet: Fleet, backends: list[Backend], *, decides: bool) -> None:
        self.pool = Pool(backends, seconds=lambda: fleet.now, settings=fleet.settings)
        self.traffic = TrafficCheck(self.pool, fleet.settings, lambda: fleet.now, decides=decides)


class Worker:
    """:ivar side: None before it has begun.

    :ivar up, down: what is on its way to the supervisor, and from it.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.side: Side | None = None
        self.up: deque[str] = deque()
        self.down: deque[str] = deque()
        self._fleet = fleet

    def begin(self, calls: list[Call]) -> None:
        backends = read_backends(calls[0][2]["backends"])
        self.side = Side(self._fleet, backends, decides=False)
        self.side.pool.followers.append(Learnt(self.side.pool, lambda call: self.up.append(json.dumps([call]))))
        self.hear(calls)

    def hear(self, calls: list[Call]) -> None:
        if self.side is None:
            self.begin(calls)
            return
        for call in calls:
            tell({"default": self.side.pool}, call)


class Fleet:
    """:param workers: how many."""

    def __init__(self, workers: int, backends: str = "a:1,b:1,c:1", **settings: Any) -> None:
        self.now = START
        self.settings = Settings(**settings)
        self.supervisor = Side(self, parse_backends([backends]), decides=True)
        self.pool.followers.append(Sender(self.pool, self._send))
        self._verdicts = Verdicts(lambda: {"default": self.supervisor})  # type: ignore[dict-item]
        self.workers: list[Worker] = [Worker(self) for _ in range(workers)]
        for number in range(workers):
            self.restart(number)

    @property
    def pool(self) -> Pool:
        """The supervisor's."""
        return self.supervisor.pool

    @property
    def pools(self) -> list[Pool]:
        """Those of the workers that have begun."""
        return [worker.side.pool for worker in self.workers if worker.side is not None]

    def _send(self, call: Call) -> None:
        for worker in self.workers:
            worker.down.append(json.dumps([call]))

    def restart(self, number: int) -> None:
        """A worker is killed, and another one starts in its place."""
        self.workers[number] = worker = Worker(self)
        worker.down.append(json.dumps(snapshot(self.pool)))

    def hear(self, number: int) -> None:
        """The worker hears the next thing that the supervisor said."""
        worker = self.workers[number]
        if worker.down:
            worker.hear(json.loads(worker.down.popleft()))

    def be_told(self, number: int) -> None:
        """The supervisor hears the next thing that the worker said."""
        worker = self.workers[number]
        if worker.up:
            answers = self._verdicts.told(number, json.loads(worker.up.popleft()))
            if answers:
                worker.down.append(json.dumps(answers))

    def settle(self) -> None:
        """All that was said is heard."""
        while any(worker.up or worker.down for worker in self.workers):
            for number in range(len(self.workers)):
                self.be_told(number)
                self.hear(number)

    def wait(self, seconds: float) -> None:
        """Time passes, and all look at what changes with it."""
        self.now += seconds
        for side in (self.supervisor, *(worker.side for worker in self.workers)):
            if side is not None:
                side.pool.tick()
                side.traffic.tick()

    def refused(self, number: int, address: str) -> None:
        """An attempt of a worker's is refused."""
        side = self.workers[number].side
        if side is not None:
            side.pool.apply(Verdict(address, False, "refused: as the test says", "traffic", "connect"))

    def fail(self, number: int, address: str, cause: str = "502") -> None:
        """So many attempts of a worker's fail that it would eject the backend."""
        side = self.workers[number].side
        member = None if side is None else side.pool.members.get(address)
        if side is not None and member is not None:
            for _ in range(self.settings.eject_failures):
                side.traffic.failed(member, cause)
