"""One simulation: a balancer, its clients and servers, and a seed that says what happens; and the figures of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.task import Clock

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import BackendState, Change
from lbproxy.http1.head import RequestHead
from lbproxy.policies import policy_maker
from lbproxy.proxy.balancer import Balancer
from lbproxy.proxy.client import Client
from lbproxy.proxy.exchange import Exchange
from lbproxy.settings import Settings
from lbproxy.testing import FakeDownstream

from .load import Load
from .servers import Network, Server

if TYPE_CHECKING:
    from typing_extensions import Self  # typing's own from Python 3.11 on

__all__ = ["START", "Run", "backends", "percentile"]

#: The clock of a test does not begin at nought, as no real one does.
START = 1000.0


def backends(count: int, options: str = "") -> str:
    """So many backends, as an operator writes them: 10.0.0.1:80 and so on."""
    return ",".join(f"10.0.0.{number}:80{options}" for number in range(1, count + 1))


def percentile(values: list[float], percent: float) -> float:
    """The value that so many percent do not exceed."""
    in_order = sorted(values)
    return in_order[min(len(in_order) - 1, int(len(in_order) * percent / 100))]


class Run:
    """A simulation. All chance in it comes from the seed, each use from a source of its own, so that two runs of one seed which
    differ in a policy, or in a server's fault, have the same requests at the same times.

    :param seed: says what happens.
    :param pool: the backends, as an operator writes them.
    :param policy: as an operator writes it.
    :param seconds: mean service time of the servers, ``workers`` how many requests each serves at once (None: any number).
    :param settings: the balancer's; the others are the defaults.
    :ivar servers: by address, in order.
    :ivar ended: the finished exchanges, in the order in which they ended.
    :ivar changes: of the backends' states and the pool's.
    """

    def __init__(
        self,
        seed: int | str,
        pool: str,
        policy: str = "round-robin",
        *,
        seconds: float = 0.010,
        workers: int | None = None,
        **settings: Any,
    ) -> None:
        self._seed = seed
        self.clock = Clock()
        self.clock.advance(START)
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._asked = 0
        self.ended: list[Exchange] = []
        self.changes: list[Change] = []
        self._happened: list[Exchange | Change] = []
        self.settings = Settings(**settings)
        make = policy_maker(policy, random=self.source("policy"), seconds=self.clock.seconds)
        self.pool = Pool(parse_backends([pool]), policy=make, seconds=self.clock.seconds)
        self.servers = {address: Server(self.later, self.source(address), seconds, workers) for address in self.pool.members}
        network = Network(self.servers, self.later, self.clock.seconds, self.settings.response_timeout)
        self.balancer = Balancer(
            self.pool,
            self.clock,
            self.settings,
            probe=network,
            observers=(self,),  # type: ignore[arg-type]
            random=self.source("balancer"),
        )
        self.balancer.upstreams = network  # type: ignore[assignment]
        self.balancer.sweep.watched = network.watched
        self.pool.observers.append(self._changed)
        self.balancer.start()

    def source(self, use: str) -> Random:
        """A source of chance for one use."""
        return Random(f"{self._seed} {use}")

    # Time.

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.clock.seconds() - START

    def later(self, seconds: float, what: Callable[..., None], *args: Any) -> None:
        """Call in so many seconds. (A heap: a Clock sorts all its calls at each.)"""
        self._count += 1
        heappush(self._due, (self.clock.seconds() + seconds, self._count, what, args))

    def go(self, seconds: float) -> Self:
        """Let time pass."""
        clock, due = self.clock, self._due
        end = clock.seconds() + seconds
        while True:
            following = clock.calls[0].getTime() if clock.calls else end
            following = min(following, due[0][0] if due else end, end)
            clock.advance(max(following - clock.seconds(), 0.0))
            now = clock.seconds()
            while due and due[0][0] <= now:
                _, _, what, args = heappop(due)
                what(*args)
            if now >= end:
                return self

    # What happens.

    def load(self, rate: float, seconds: float, *, keys: int = 1, method: str = "GET") -> Self:
        """Have so many requests a second come for so long, and let that time pass."""
        Load(self.source(f"load {self._asked}"), rate, keys=keys, method=method).begin(seconds, self.later, self.ask)
        return self.go(seconds)

    def finish(self) -> Self:
        """Let time pass until all exchanges have ended."""
        while self.balancer.counters.in_flight:
            self.go(1)
        return self

    def ask(self, request: RequestHead) -> None:
        """A client sends a request."""
        self._asked += 1
        client = Client("192.0.2.7", False, b"", request_id=b"%d" % self._asked)
        self.balancer.forward(Exchange(FakeDownstream(), request, client, 0))

    def exchange_finished(self, exchange: Exchange) -> None:
        """As an observer: keep it."""
        self.ended.append(exchange)
        self._happened.append(exchange)

    def _changed(self, change: Change) -> None:
        self.changes.append(change)
        self._happened.append(change)

    # The figures.

    def server(self, number: int) -> Server:
        """The first one's number is 1."""
        return list(self.servers.values())[number - 1]

    def member(self, number: int) -> BackendState:
        """What the balancer knows of it."""
        return list(self.pool.members.values())[number - 1]

    def since(self, seconds: float, until: float = float("inf")) -> list[Exchange]:
        """The finished exchanges that began from then on, in seconds since the beginning."""
        return [one for one in self.ended if seconds <= one.started - START < until]

    def shares(self, exchanges: list[Exchange] | None = None) -> list[float]:
        """Of all exchanges, or these, the share that each backend was asked first."""
        counted = Counter(one.attempts[0].member.address for one in (self.ended if exchanges is None else exchanges))
        return [counted[address] / counted.total() for address in self.servers]

    def places(self) -> list[float]:
        """Of all requests in flight, on the average over time, the share that each backend had."""
        spent: Counter[str] = Counter()
        for one in self.ended:
            for attempt in one.attempts:
                spent[attempt.member.address] += attempt.seconds or 0.0  # type: ignore[assignment]  # counters take floats
        return [spent[address] / spent.total() for address in self.servers]

    def p(self, percent: float, exchanges: list[Exchange] | None = None) -> float:
        """A percentile of the time to a response, in seconds."""
        return percentile([one.finished - one.started for one in (self.ended if exchanges is None else exchanges)], percent)

    def ends(self, exchanges: list[Exchange] | None = None) -> Counter[str]:
        """How the exchanges ended, in words."""
        return Counter(one.end for one in (self.ended if exchanges is None else exchanges))

    @property
    def attempts(self) -> int:
        """In all."""
        return sum(len(one.attempts) for one in self.ended)

    @property
    def trace(self) -> str:
        """All that has happened, a line for each exchange and each change."""
        return "".join(_line(one) for one in self._happened)


def _line(one: Exchange | Change) -> str:
    if isinstance(one, Change):
        return f"{one.time!r} {one.address or one.pool} {one.was}->{one.now} {one.source}: {one.reason}\n"
    words = [f"{one.finished!r} #{one.request_id.decode()} {one.started!r} {one.end} {one.status}"]
    for attempt in one.attempts:
        how = attempt.failure.cause if attempt.failure else ""
        words.append(f"{attempt.why or 'first'}:{attempt.member.address}:{attempt.seconds!r}:{how}")
    return " ".join(words) + "\n"
