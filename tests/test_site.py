"""Tests of the site: what a configuration is made into, and what is wrong with one."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, ClassVar

import attrs
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.static import Data

from lbproxy.balance.least_connections import LeastConnections
from lbproxy.balance.pool import Pool
from lbproxy.errors import ConfigurationError
from lbproxy.proxy.balancer import Balancer
from lbproxy.proxy.pulse import PULSE, Pulse
from lbproxy.routing.filter import Filter, FilterContext
from lbproxy.routing.mirror import BUFFER, MOST
from lbproxy.routing.model import FixedAnswer, Match, Mirror, Redirect, Route, Split, StaticFiles
from lbproxy.site import Site

from .sites import SiteRig, configuration, pool, route
from .support import GET, OK, status

ONE, TWO = "10.0.0.1:8000", "10.0.0.2:8000"


class Noting(Filter):
    """Counts what it sees, and knows what it was made of."""

    def __init__(self, spec: Any, context: FilterContext) -> None:
        self.spec = spec
        self.seen = 0
        self._count = context.count

    def request(self, passage: Any) -> None:
        self.seen += 1
        self._count("seen")

    def take_over(self, old: Any) -> None:
        self.seen = old.seen
        if self.spec.fails:
            raise RuntimeError("a user's filter")


@attrs.frozen(kw_only=True)
class Note:
    """Makes one."""

    type: ClassVar[str] = "note"
    word: str = ""
    fails: bool = False

    def make(self, context: FilterContext) -> Noting:
        return Noting(self, context)


@attrs.frozen(kw_only=True)
class Other(Note):
    """Another type."""

    type: ClassVar[str] = "other"


@attrs.frozen(kw_only=True)
class Broken:
    """Cannot be made."""

    type: ClassVar[str] = "broken"
    error: Any = attrs.field(default=ConfigurationError("file: 'x' was given, which is missing\nand: more"), eq=False)

    def make(self, context: FilterContext) -> Filter:
        raise self.error


def at(path: str) -> bytes:
    """A request for that place."""
    return GET.replace(b" / ", b" %b " % path.encode("ascii"))


class BuildTests(SynchronousTestCase):
    """Site.of: a configuration as it runs."""

    def test_a_pool_is_as_it_is_described(self) -> None:
        """Its policy, its settings, its backends, which count as up."""
        wanted = configuration(pool(f"{ONE},{TWO}", policy="least-connections", retries=7, slow_start=5.0))
        rig = SiteRig(wanted)
        balancer = rig.balancer_of()
        self.assertIsInstance(balancer.pool.policy, LeastConnections)
        self.assertEqual((balancer.settings.retries, balancer.pool.settings.slow_start), (7, 5.0))
        self.assertEqual([member.fit for member in balancer.pool.members.values()], [True, True])
        self.assertIs(rig.site.configuration, wanted)

    def test_the_only_pool_gets_all(self) -> None:
        """Without a route there is nothing to choose, and nothing to pay for."""
        rig = SiteRig(configuration(ONE))
        self.assertEqual(rig.site.forward, rig.balancer_of().forward)
        client, _ = rig.kept_alive()
        self.assertEqual((client.closed, rig.balancer_of().counters.ends), (False, {"done": 1}))

    def test_routes_lead_to_pools(self) -> None:
        """Through their filters."""
        rig = SiteRig(
            configuration(
                pool(ONE, "a"), pool(TWO, "b"), routes=(route("one", "a", Note(), path="/a"), route("two", "b"))
            )
        )
        clients = [rig.client(), rig.client()]
        clients[0].send(at("/a"))
        clients[1].send(at("/c"))
        self.assertEqual([rig.connect().address, rig.connect().address], [ONE, TWO])
        self.assertEqual([(one.name, one.counts) for one in rig.site.filters], [("one/note", {"seen": 1})])

    def test_a_filter_that_stands_by_itself_is_one(self) -> None:
        """For all routes that name it; those of a route alone are its own, each of them."""
        routes = (route("one", "default", "n", Note(), Note(), path="/a"), route("two", "default", "n", Note()))
        rig = SiteRig(configuration(ONE, routes=routes, filters={"n": Note()}))
        one, two = (rig.site.router.live[name].filters for name in ("one", "two"))
        self.assertIs(one[0], two[0])
        self.assertEqual(len({*map(id, one), *map(id, two)}), 4)
        self.assertEqual([found.name for found in rig.site.filters], ["n", "one/note", "one/note/2", "two/note"])

    def test_default_filters_come_first(self) -> None:
        """Before each route's own, in their order."""
        made = configuration(ONE, routes=(route("r", "default", "c"),), filters={name: Note(word=name) for name in "abc"})
        rig = SiteRig(attrs.evolve(made, default_filters=("b", "a")))
        self.assertEqual([one.spec.word for one in rig.site.router.live["r"].filters], ["b", "a", "c"])  # type: ignore[attr-defined]

    def test_what_a_routes_own_filters_count_is_the_routes(self) -> None:
        """All of it together; what those that stand by themselves count is theirs."""
        rig = SiteRig(configuration(ONE, routes=(route("r", "default", "n", Note(), Other()),), filters={"n": Note()}))
        rig.kept_alive()
        live = rig.site.router.live["r"]
        self.assertEqual((live.filtered, [one.counts for one in rig.site.filters]), ({"seen": 2}, [{"seen": 1}] * 3))
        rig.change(configuration(ONE, routes=(route("r", "default", Other(), Note(word="x"), path="/"),)))
        rig.client().send(GET)
        self.assertEqual(rig.site.router.live["r"].filtered, {"seen": 4})

    def test_routes_that_lead_elsewhere(self) -> None:
        """To several pools, to another place, to an answer of our own."""
        routes = (
            Route(name="split", match=Match(path_prefix=("/split",)), split=Split(pools={"a": 0, "b": 1})),
            Route(name="away", match=Match(path_prefix=("/away",)), redirect=Redirect(to="https://b.example/")),
            Route(name="said", match=Match(path_prefix=("/said",)), answer=FixedAnswer(status=418, body="so")),
        )
        wanted = configuration(pool(ONE, "a"), pool(TWO, "b"), routes=routes)
        rig = SiteRig(wanted)
        clients = [rig.client() for _ in routes]
        for client, path in zip(clients, ("/split", "/away", "/said"), strict=True):
            client.send(at(path))
        self.assertEqual([connect.address for connect in rig.connects], [TWO])
        self.assertEqual([status(client.received()) for client in clients[1:]], [308, 418])
        before = dict(rig.site.router.live)
        rig.change(configuration(pool(ONE, "a", retries=1), pool(TWO, "b"), routes=routes))
        self.assertEqual(rig.site.router.live, before)
        canary = attrs.evolve(routes[0], split=Split(pools={"a": 1, "b": 99}))
        rig.change(configuration(pool(ONE, "a", retries=1), pool(TWO, "b"), routes=(canary, *routes[1:])))
        self.assertEqual(rig.site.router.live["split"].target.taken, {"a": 0, "b": 1})  # type: ignore[attr-defined]

    def test_a_route_with_a_mirror(self) -> None:
        """The other pool gets a copy; a route that changes counts on."""
        routes = (route("r", "a", mirror=Mirror(pool="b")),)
        rig = SiteRig(configuration(pool(ONE, "a"), pool(TWO, "b"), routes=routes))
        rig.client().send(GET)
        self.assertEqual([connect.address for connect in rig.connects], [ONE, TWO])
        routes = (route("r", "a", Note(), mirror=Mirror(pool="b")),)
        rig.change(configuration(pool(ONE, "a"), pool(TWO, "b"), routes=routes))
        rig.client().send(GET)
        self.assertEqual(rig.site.router.live["r"].filtered, {"mirrored": 2, "seen": 1})

    def test_a_mirrors_limits(self) -> None:
        """So many copies at once, of which each holds so much; by default those of :mod:`lbproxy.routing.mirror`."""
        routes = (route("r", "a", mirror=Mirror(pool="b", most=1, hold="1k")),)
        rig = SiteRig(configuration(pool(ONE, "a"), pool(TWO, "b"), routes=routes))
        for _ in range(2):
            rig.client().send(GET)
        live = rig.site.router.live["r"]
        self.assertEqual(live.filtered, {"mirrored": 1, "too-many": 1})
        self.assertEqual(live.shadow.buffer, 1024)  # type: ignore[union-attr]
        self.assertEqual((Mirror(pool="b").most, Mirror(pool="b").hold), (MOST, BUFFER))
        self.assertRaises(ConfigurationError, Mirror, pool="b", most=0)

    def test_routes_that_are_answered_here(self) -> None:
        """By files, and by the application's own resources."""
        directory = self.mktemp()
        os.mkdir(directory)
        with open(os.path.join(directory, "a.txt"), "wb") as file:
            file.write(b"from a file")
        routes = (
            Route(name="files", match=Match(path_prefix=("/files",)), static=StaticFiles(directory=directory)),
            Route(name="own", resource="app"),
        )
        app = Data(b"from the application", "text/plain")
        app.isLeaf = True
        rig = SiteRig(configuration(routes=routes), resources={"app": app})
        client = rig.client()
        client.send(at("/files/a.txt"))
        rig.turn()
        self.assertIn(b"from a file", client.received())
        client.send(at("/x"))
        rig.turn()
        self.assertIn(b"from the application", client.received())

    def test_equal_files_share_their_tls(self) -> None:
        """One context, and one read of the authorities, for all pools without files of their own."""
        rig = SiteRig(configuration(pool(ONE, "a"), pool(TWO, "b"), routes=(route("r", "a"),)))
        self.assertEqual(len(rig.site.backend_tls), 1)

    def test_nothing_runs_before_the_start(self) -> None:
        """Or the first exchange, which starts all of it."""
        reactor = MemoryReactorClock()
        site = Site.of(configuration(pool(ONE, "a"), pool(TWO, "b"), routes=(route("r", "a"),)), reactor)
        self.assertEqual((reactor.getDelayedCalls(), site.running), ([], False))
        rig = SiteRig(configuration(pool(ONE, "a"), pool(TWO, "b"), routes=(route("r", "a"),)))
        rig.site.stop()
        rig.turn()
        self.assertEqual(rig.reactor.getDelayedCalls(), [])
        client = rig.client()
        client.send(GET)
        rig.accept().send(OK)
        self.assertEqual((status(client.received()), rig.site.running, rig.balancer_of("b").running), (200, True, True))

    def test_the_sweep_goes_by_the_shortest_time(self) -> None:
        """Of all pools."""
        rig = SiteRig(configuration(pool(ONE, "a"), pool(TWO, "b", queue_timeout=0.4), routes=(route("r", "a"),)))
        self.assertAlmostEqual(rig.site.router.sweep.interval, 0.1)
        rig.change(configuration(pool(ONE, "a"), routes=(route("r", "a"),)))
        self.assertEqual(rig.site.router.sweep.interval, 1.0)

    def test_pools_of_objects(self) -> None:
        """A pool that an application gives stays, whatever configurations come; routes may lead to it."""
        reactor = MemoryReactorClock()
        site = Site(reactor)
        given = site.add_pool(Pool(configuration(ONE).pools[0].backends))
        site.apply(site.prepare(configuration(pool(TWO, "b"), routes=(route("r"), route("s", "b", path="/s")))))
        self.assertEqual(list(site.balancers), ["default", "b"])
        self.assertIs(site.router.live["r"].target, given)
        error = self.assertRaises(ConfigurationError, site.prepare, configuration(pool(TWO), routes=(route("r"),)))
        self.assertIn("pools.default: there are two pools of this name", str(error))


class MistakeTests(SynchronousTestCase):
    """What prepare says of a configuration that cannot run: all of it, and nothing is touched."""

    def problems(self, wanted: Any, **more: Any) -> list[str]:
        """What is wrong, for a site that runs and for a new one."""
        rig = SiteRig(configuration(ONE))
        live = rig.site.forward, dict(rig.site.balancers), rig.site.settings
        error = self.assertRaises(ConfigurationError, rig.site.prepare, wanted)
        self.assertEqual((rig.site.forward, rig.site.balancers, rig.site.settings), live)
        again = self.assertRaises(ConfigurationError, Site.of, wanted, MemoryReactorClock())
        self.assertEqual(str(error), str(again))
        return str(error).splitlines()

    def test_every_problem_at_once(self) -> None:
        """Policies, files, filters, routes."""
        wanted = configuration(
            pool(ONE, "a", policy="nonsense"),
            pool(ONE, "b", backend_ca="/no/such/file"),
            pool(ONE, "c"),
            routes=(
                route("r", "d"),
                route("s", "c", "missing", Broken()),
                route("t", "a"),
                Route(name="u", resource="app"),
                Route(name="v", static=StaticFiles(directory="/no/such/place")),
            ),
            filters={"broken": Broken()},
        )
        problems = self.problems(wanted)
        beginnings = [problem.split(" ", 3)[:3] for problem in problems]
        self.assertEqual(
            [" ".join(words) for words in beginnings],
            [
                "pools.a.policy: 'nonsense' was",
                "pools.b.backend-ca: '/no/such/file' cannot",
                "filters.broken: file: 'x'",
                "filters.broken: and: more",
                "routes[0].pool: 'd' was",
                "routes[1].filters[0]: 'missing' was",
                "routes[1].filters[1]: file: 'x'",
                "routes[1].filters[1]: and: more",
                "routes[3].resource: 'app' was",
                "routes[4].static.directory: '/no/such/place' was",
            ],
        )

    def test_a_filter_with_a_bug(self) -> None:
        """Is a problem like any other, with a traceback in the log."""
        wanted = configuration(ONE, routes=(route("r", "default", Broken(error=KeyError("x"))),))
        self.assertEqual(self.problems(wanted), ["routes[0].filters[0]: KeyError: 'x'"])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)

    def test_which_pool_without_routes(self) -> None:
        """There must be one, and no more."""
        for wanted, names in ((configuration(), "none"), (configuration(pool(ONE, "a"), pool(TWO, "b")), "a, b")):
            (problem,) = self.problems(wanted)
            self.assertTrue(problem.startswith("routes: none was given") and problem.endswith(f": {names}"), problem)

    def test_names_that_are_not_unique(self) -> None:
        """Of pools, and of routes."""
        wanted = configuration(pool(ONE, "a"), pool(TWO, "a"), routes=(route("r", "a"), route("r", "a", path="/x")))
        self.assertEqual([problem.partition(":")[0] for problem in self.problems(wanted)], ["pools.a", "routes[1].name"])

    def test_another_was_applied_since(self) -> None:
        """What was prepared for something else is not applied."""
        rig = SiteRig(configuration(ONE))
        late = rig.site.prepare(configuration(TWO))
        rig.change(configuration(f"{ONE},{TWO}"))
        self.assertRaises(ValueError, rig.site.apply, late)


class PulseTests(SynchronousTestCase):
    """One timer for all that changes with time alone."""

    def test_only_while_there_is_something(self) -> None:
        """What is in it is called as long as it is in it; what one raises keeps nothing from the others."""
        clock = MemoryReactorClock()
        pulse = Pulse(clock)
        called: list[str] = []

        def fails() -> None:
            called.append("fails")
            raise RuntimeError

        def works() -> None:
            called.append("works")

        for call in (fails, works, works):
            pulse.add(call)
        clock.advance(PULSE)
        self.assertEqual(called, ["fails", "works"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        pulse.discard(fails)
        pulse.discard(works)
        self.assertEqual((clock.getDelayedCalls(), works in pulse), ([], False))

    def test_many_pools_have_one(self) -> None:
        """And each is looked at."""
        pools = [pool(ONE, f"p{number}") for number in range(50)]
        rig = SiteRig(configuration(*pools, routes=(route("r", "p0"),)))
        looked: list[str] = []
        for balancer in rig.site.balancers.values():
            balancer.pool.tick = partial(looked.append, balancer.pool.name)  # type: ignore[method-assign]
        probing = 2 * 50  # each has a timer for whose turn it is, and a probe its time-out
        self.assertLessEqual(len(rig.reactor.getDelayedCalls()), probing + 2)
        rig.reactor.advance(PULSE)
        self.assertEqual(len(looked), 50)

    def test_a_balancer_by_itself(self) -> None:
        """Pulses as well."""
        clock = MemoryReactorClock()
        balancer = Balancer(Pool(configuration(ONE).pools[0].backends), clock)
        balancer.start()
        self.assertIn(balancer.pulse, balancer.beat)
        balancer.stop()
        self.assertNotIn(balancer.pulse, balancer.beat)
