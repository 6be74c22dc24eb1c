"""Routes before the simulated balancer: a random selection of filters, a mirror, a split, fixed answers, a resource; and the
promises about them."""

from __future__ import annotations

import zlib
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.http1.answers import Answer
from lbproxy.http1.head import ResponseHead
from lbproxy.routing.filter import BodyFilter, Filter, FilterContext
from lbproxy.routing.filters.body_limit import BodyLimit
from lbproxy.routing.filters.compression import Compression
from lbproxy.routing.filters.faults import Faults
from lbproxy.routing.filters.headers import Headers
from lbproxy.routing.filters.in_flight import InFlight
from lbproxy.routing.filters.paths import PrefixAdd, PrefixStrip
from lbproxy.routing.filters.rate_limit import RateLimit
from lbproxy.routing.mirror import Mirroring
from lbproxy.routing.model import FixedAnswer, Match, Route
from lbproxy.routing.passage import Passage
from lbproxy.routing.resources import ResourceTarget
from lbproxy.routing.router import LiveRoute
from lbproxy.routing.split import SplitTarget
from lbproxy.routing.table import RouteTable
from lbproxy.routing.targets import AnswerTarget

from ..fuzz.reading import Message, hold
from .messages import body_of

if TYPE_CHECKING:
    from .world import World

__all__ = ["FIXED", "SHADOW", "Routing", "body_as_sent"]

#: The status of a fixed answer, which nobody else gives.
FIXED = 418
#: Where the mirror's pool is.
SHADOW = "10.9.0.1"

_FLIP = bytes(255 - byte for byte in range(256))


class _Flip(Filter):
    """Turns every bit of responses' bodies over, and says so."""

    def response(self, passage: Passage, head: ResponseHead) -> None:
        head.fields += b"X-Flipped: 1\r\n"

    def body(self, passage: Passage, head: ResponseHead) -> BodyFilter:
        return _Flipping()


class _Flipping(BodyFilter):
    """Holds back one byte, so that there is something left at the end."""

    def __init__(self) -> None:
        self._held = b""

    def write(self, data: bytes) -> bytes:
        data = self._held + data
        self._held = data[-1:]
        return data[:-1].translate(_FLIP)

    def finish(self) -> bytes:
        return self._held.translate(_FLIP)


class _Counting(Filter):
    """Holds that it is told of the end of each exchange that it let on, once."""

    def __init__(self) -> None:
        self.here: set[Passage] = set()

    def request(self, passage: Passage) -> None:
        hold(passage not in self.here, "a filter is asked once")
        self.here.add(passage)

    def over(self, passage: Passage) -> None:
        self.here.remove(passage)


class _Picky(Filter):
    """Refuses some requests in the middle of their bodies."""

    def takes(self, passage: Passage, data: bytes) -> Answer | None:
        size = passage.memory[self] = passage.memory.get(self, 0) + len(data)
        return Answer(status=403, end="forbidden", why="Not that.") if size > 100_000 else None


class _Numbers(Resource):
    """Answers with the request's number, and a body that is like no other: at once, later, or bit by bit."""

    isLeaf = True

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def render(self, request: Any) -> Any:
        number = int(request.uri[1:])
        asked = self._world.asked[number]
        hold(request.content.read() == asked.body, "a resource gets the body that was sent", number)
        request.setHeader(b"x-resource", b"%d" % number)
        data = body_of(number, number % 7 * 20_000)
        how = number % 3
        if how == 0:
            return data
        if how == 1:
            _Producer(request, data)
        else:
            call = self._world.rig.reactor.callLater(1, self._finish, request, data)
            request.notifyFinish().addErrback(_left, call.cancel)
        return NOT_DONE_YET

    def _finish(self, request: Any, data: bytes) -> None:
        request.write(data)
        request.finish()


def _left(failure: Failure, *tell: Any) -> None:
    failure.trap(ConnectionLost)
    for one in tell:
        one()


class _Producer:
    """Gives a body in parts, when it is asked to."""

    def __init__(self, request: Any, data: bytes) -> None:
        self._request = request
        self._data = data
        request.notifyFinish().addErrback(_left)
        request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        data, self._data = self._data[:9_000], self._data[9_000:]
        if data:
            self._request.write(data)
        if not self._data:
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        pass


class Routing:
    """The routes of one simulation.

    :ivar shadow: the balancer of the mirror's pool.
    """

    def __init__(self, world: World, rng: Random) -> None:
        self._world = world
        self._rng = rng
        rig = world.rig
        self._site = site = rig.resource.site
        pool = Pool(parse_backends([f"{SHADOW}:8000"]), name="shadow", seconds=rig.reactor.seconds)
        self.shadow = site.add_pool(pool, rig.settings, probe=rig.probe)
        self._made: list[LiveRoute] = []
        self.change()

    def change(self) -> str:
        """Go by other routes; who is on its way goes it to the end. Gives them in words."""
        rng = self._rng
        matches = [Match(method=("GET", "HEAD")), Match(path_regex=(r"^/\d*[02468]$",)), Match(path_prefix=("/",))]
        routes = [Route(name=f"{len(self._made)}-{place}", pool="default", match=match) for place, match in enumerate(matches)]
        routes = rng.sample(routes, rng.choice((1, 2, 3)))
        live = {route.name: self._live(route) for route in routes}
        former = [one for one in self._made if one.name in self._site.router.live]
        self._made += live.values()
        self._site.router.route(RouteTable(routes), live)
        self._site.forward = self._site.router.forward
        for one in former:
            one.stop()
        return "; ".join(
            f"{one.name}: {[type(each).__name__ for each in one.filters]} {type(one.target).__name__} {one.shadow is not None}"
            for one in live.values()
        )

    def _live(self, route: Route) -> LiveRoute:
        rng, router = self._rng, self._site.router
        groups: list[list[Filter]] = [[_Counting()], *self._groups()]
        rng.shuffle(groups)
        filters = [one for group in groups for one in group]
        shadow = None
        if rng.random() < 0.4:
            buffer, most = rng.choice((100, 65536)), rng.choice((1, 128))
            shadow = Mirroring(self.shadow, rng.choice((50, 100)), rng, lambda what: None, buffer=buffer, most=most)
        return LiveRoute(route, router, filters if rng.random() < 0.9 else [], self._target(), shadow)

    def _target(self) -> Any:
        balancer, router = self._world.rig.balancer, self._site.router
        fixed = AnswerTarget(FixedAnswer(status=FIXED, body="tea"), router)
        kind = self._rng.random()
        if kind < 0.6:
            return balancer
        if kind < 0.75:
            return SplitTarget([("one", balancer, 3), ("other", balancer, 1), ("fixed", fixed, 1)], None, self._rng)
        return fixed if kind < 0.8 else ResourceTarget(_Numbers(self._world), router, (), 1 << 20)

    def _groups(self) -> list[list[Filter]]:
        """Some filters; those that belong together follow each other."""
        reactor, rng = self._world.rig.reactor, self._rng
        context = FilterContext(reactor=reactor, clock=reactor, random=rng, settings=self._world.rig.settings)
        groups: list[list[Any]] = [
            [BodyLimit(bytes=rng.choice((12, 100_000)))],
            [Faults(delay=rng.choice((0.1, 2)), delay_share=50)],
            [Faults(abort=rng.choice((204, 304, 403)), abort_share=30)],
            [InFlight(limit=rng.choice((1, 2)))],
            [RateLimit(rate=1, burst=3)],
            [PrefixAdd(prefix="/v1"), PrefixStrip(prefix="/v1")],
            [
                Headers(request_set={"Accept-Encoding": "gzip"}),
                Compression(encodings=("gzip",), min_size=rng.choice((0, 1024))),
                Headers(response_set={"Content-Type": "text/plain"}),
            ],
            [_Flip()],
            [_Picky()],
        ]
        chosen = rng.sample(groups, rng.choice((0, 1, 2, 4)))
        if any(isinstance(one, _Flip) for group in chosen for one in group):
            # Each filter of bodies is undone by itself; both together would have to be undone in their order.
            chosen = [group for group in chosen if len(group) != 3]
        return [[one if isinstance(one, Filter) else one.make(context) for one in group] for group in chosen]

    def check_all_are_forgotten(self) -> None:
        """Nothing is remembered of anybody when all is over."""
        for one in self._made:
            for each in one.filters:
                hold(not getattr(each, "running", None), "nobody is counted who has left", one.name)
                hold(not getattr(each, "here", None), "a filter is told of each end", one.name)
            running = getattr(one.shadow, "running", None)
            hold(not running, "no copy is left", one.name, running)
        hold(not self.shadow.counters.in_flight, "copies end", self.shadow.counters.in_flight)
        hold(not self.shadow.counters.ends.get("bug"), "there is no bug with copies", self.shadow.counters.ends)


def body_as_sent(message: Message) -> bytes:
    """A response's body before the filters changed it, as far as it has come."""
    body = message.body
    if message.values(b"content-encoding") == [b"gzip"]:
        return zlib.decompressobj(wbits=31).decompress(body)
    return body.translate(_FLIP) if message.values(b"x-flipped") else body
