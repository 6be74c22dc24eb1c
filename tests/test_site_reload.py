"""Tests of a site that goes from one configuration to the next: only what differs is touched, and what runs lives on."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.least_connections import LeastConnections
from lbproxy.balance.round_robin import RoundRobin
from lbproxy.balance.state import Change, Verdict, Wish
from lbproxy.config.model import Configuration
from lbproxy.routing.filter import Filter
from lbproxy.routing.filters.paths import PrefixAdd
from lbproxy.workers.calls import Sender

from .proxy.waiting import LONG, SWITCHING, UPGRADE
from .sites import SiteRig, configuration, pool, route
from .support import GET, OK, Peer, given, post, status
from .test_site import Note, Other, at
from .tls.support import authority, write

ONE, TWO, THREE = "10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"


class Streams:
    """A response, an upload, and a tunnel that are under way in one pool."""

    def __init__(self, rig: SiteRig, path: str = "/") -> None:
        self.reader, self.response = self._begin(rig, at(path))
        self.response.send(LONG)
        self.uploader, self.upload = self._begin(rig, post(b"x" * 10).replace(b" / ", b" %b " % path.encode())[:-4])
        self.upgraded, self.tunnel = self._begin(rig, UPGRADE.replace(b" / ", b" %b " % path.encode()))
        self.tunnel.send(SWITCHING)
        for peer in (self.reader, self.response, self.uploader, self.upload, self.upgraded, self.tunnel):
            peer.received()

    def _begin(self, rig: SiteRig, data: bytes) -> tuple[Peer, Peer]:
        client = rig.client()
        client.send(data)
        return client, rig.accept()

    def check(self, case: SynchronousTestCase) -> None:
        """All of them go on to their end; the tunnel stays."""
        self.talk(case)
        self.response.send(b"end!!")
        self.uploader.send(b"xxxx")
        case.assertEqual((self.reader.received(), self.upload.received()), (b"end!!", b"xxxx"))
        self.upload.send(OK)
        case.assertEqual(status(self.uploader.received()), 200)

    def talk(self, case: SynchronousTestCase) -> None:
        """The tunnel's two ends hear each other."""
        self.upgraded.send(b"ping")
        self.tunnel.send(b"pong")
        case.assertEqual((self.tunnel.received(), self.upgraded.received()), (b"ping", b"pong"))


def two_pools(a: Any = None, b: Any = None, **more: Any) -> Configuration:
    """Two pools and a route to each."""
    pools = (pool(ONE, "a") if a is None else a, pool(TWO, "b") if b is None else b)
    return configuration(*pools, **{"routes": (route("a", "a", path="/a"), route("b", "b")), **more})


#: What may be said of the pool ``a`` instead of what is said first.
CHANGES: dict[str, Any] = {
    "settings": lambda: pool(ONE, "a", retries=0, sticky="lb", hedge=90.0, slow_start=3.0, attempt_timeout=9.0, queue=1),
    "policy": lambda: pool(ONE, "a", policy="peak-ewma"),
    "probe": lambda: pool(ONE, "a", probe="tcp"),
    "more backends": lambda: pool(f"{ONE},{THREE}", "a"),
    "other backends": lambda: pool(THREE, "a"),
    "a backend's weight": lambda: pool(f"{ONE}:weight=5", "a"),
}


class LivingOnTests(SynchronousTestCase):
    """What runs is not touched by any change, neither in the pool that changes nor in others."""

    def test_streams_in_the_pool_that_changes_and_in_another(self) -> None:
        """A response, an upload and a tunnel in both, through each kind of change and back."""
        for name, change in CHANGES.items():
            rig = SiteRig(two_pools())
            changed, untouched = Streams(rig, "/a"), Streams(rig)
            rig.change(two_pools(change()))
            changed.talk(self)
            untouched.talk(self)
            rig.change(two_pools())
            changed.check(self)
            untouched.check(self)
            self.assertEqual({one.end for one in rig.ended}, {"done"}, name)

    def test_streams_through_a_change_of_everything_else(self) -> None:
        """Site settings, routes, filters."""
        rig = SiteRig(two_pools(filters={"n": Note()}, routes=(route("a", "a", "n", path="/a"), route("b", "b"))))
        streams = Streams(rig, "/a"), Streams(rig)
        rig.change(two_pools(hsts=5, via="x", head_limit=9999, redirect_to_https=True, routes=(route("c", "b"),)))
        for one in streams:
            one.check(self)

    def test_an_equal_configuration(self) -> None:
        """Touches nothing at all."""
        wanted = two_pools(filters={"n": Note()}, routes=(route("a", "a", "n", Note(), path="/a"), route("b", "b")))
        rig = SiteRig(wanted)
        _, idle = rig.kept_alive()
        before = self.parts(rig)
        rig.change(two_pools(filters={"n": Note()}, routes=(route("a", "a", "n", Note(), path="/a"), route("b", "b"))))
        self.assertEqual(list(map(id, self.parts(rig))), list(map(id, before)))
        self.assertFalse(idle.closed)
        self.assertEqual(rig.balancer_of("b").upstreams.idle_count(TWO), 1)

    def parts(self, rig: SiteRig) -> list[Any]:
        """Whatever could be another."""
        site = rig.site
        parts: list[Any] = [site.router.forwarding, site.router.table, *site.router.live.values(), *site.backend_tls]
        parts += [one.filter for one in site.filters]
        for balancer in site.balancers.values():
            members = balancer.pool.members
            parts += [balancer, balancer.pool, balancer.pool.policy, members, *members.values(), balancer.upstreams]
        return parts


class PoolTests(SynchronousTestCase):
    """Pools that change, that leave, and that come."""

    def test_members_that_stay_keep_their_state(self) -> None:
        """And one that comes gets nothing before a probe has found it well."""
        rig = SiteRig(two_pools(pool(f"{ONE},{THREE}", "a")))
        balancer = rig.balancer_of("a")
        balancer.pool.wish(Wish(ONE, "drain"))
        kept, probes = balancer.pool.members[ONE], balancer.probes
        kept.requests = 7
        rig.change(two_pools(pool(f"{ONE}:weight=3,{TWO}", "a")))
        self.assertIs(rig.balancer_of("a"), balancer)
        self.assertIs(balancer.pool.members[ONE], kept)
        self.assertEqual((kept.requests, kept.want, kept.backend.weight), (7, "drain", 3))
        self.assertEqual((list(balancer.pool.members), balancer.pool.members[TWO].up), ([ONE, TWO], False))
        rig.turn()
        while not balancer.pool.members[TWO].up:
            rig.probe()
        self.assertIs(balancer.probes, probes)

    def test_a_policy(self) -> None:
        """Is another object over the same members; back again it is a third."""
        rig = SiteRig(configuration(f"{ONE},{TWO}:backup"))
        pool_before = rig.balancer_of().pool
        members = dict(pool_before.members)
        rig.change(configuration(pool(f"{ONE},{TWO}:backup", policy="least-connections")))
        self.assertEqual(rig.balancer_of().pool.members, members)
        self.assertEqual([type(tier.policy) for tier in pool_before.tiers.values()], [LeastConnections] * 2)
        rig.change(configuration(pool(f"{ONE},{TWO}:backup,{THREE}:tier=1")))
        self.assertEqual([type(tier.policy) for tier in pool_before.tiers.values()], [RoundRobin] * 3)

    def test_a_probe(self) -> None:
        """Begins at once; until it has spoken its predecessor's word holds."""
        rig = SiteRig(configuration(f"{ONE},{TWO}"))
        rig.turn()
        rig.probe(well=False)
        rig.probe()
        rig.change(configuration(pool(f"{ONE},{TWO}", probe="tcp")))
        self.assertEqual([member.up for member in rig.balancer_of().pool.members.values()], [False, True])
        rig.turn()
        self.assertEqual(sorted(rig.probes), [ONE, TWO])

    def test_tls(self) -> None:
        """Idle connections that were verified in another way are not used; nor are other pools' touched."""
        rig = SiteRig(two_pools())
        tls = rig.balancer_of("a").upstreams._tls
        self.assertIs(rig.balancer_of("b").upstreams._tls, tls)
        probe = rig.balancer_of("a").probes._probe
        rig.change(two_pools(pool(ONE, "a", backend_ca=self.authority())))
        self.assertIsNot(rig.balancer_of("a").upstreams._tls, tls)
        self.assertIsNot(rig.balancer_of("a").probes._probe, probe)
        self.assertIs(rig.balancer_of("b").upstreams._tls, tls)
        self.assertEqual(len(rig.site.backend_tls), 2)
        rig.change(two_pools())
        self.assertEqual(rig.site.backend_tls, (tls,))
        self.assertIs(rig.balancer_of("a").upstreams._tls, tls)

    def authority(self) -> str:
        """A file with one."""
        return write(self.mktemp(), authority("ours").cert_pem.bytes())

    def test_one_that_left_goes_on_to_its_end(self) -> None:
        """Its streams, who waits in its line, and its probes; then all of it stops."""
        rig = SiteRig(two_pools(pool(f"{ONE}:max-in-flight=4", "a", probe_interval=1.0)))
        streams = Streams(rig, "/a")
        busy, slow = rig.kept_alive(at("/a"))
        busy.send(at("/a"))
        waiting = rig.client()
        waiting.send(at("/a"))
        old = rig.balancer_of("a")
        self.assertEqual(len(old.line.waiting), 1)
        rig.change(configuration(pool(TWO, "b"), routes=(route("b", "b"),)))
        self.assertEqual((list(rig.site.balancers), rig.site.leaving), (["b"], [old]))
        rig.wait(3)
        self.assertIn(ONE, rig.probes)
        slow.send(OK)
        self.assertEqual((status(busy.received()), slow.closed), (200, True))
        rig.accept().send(OK)
        self.assertEqual(status(waiting.received()), 200)
        streams.check(self)
        rig.wait(1)
        self.assertTrue(old.running)
        streams.upgraded.reset()
        rig.wait(1)
        self.assertEqual((old.running, rig.site.leaving, old.pool.observers), (False, [], []))
        self.assertEqual((old.counters.in_flight, old.counters.tunnels), (0, 0))

    def test_nobody_follows_one_that_left(self) -> None:
        """What becomes of it is not said of a pool that comes under its name."""
        rig = SiteRig(two_pools(pool(ONE, "a")))
        old = rig.balancer_of("a").pool
        told: list[Any] = []
        old.followers.append(Sender(old, told.append))
        rig.change(configuration(pool(TWO, "b"), routes=(route("b", "b"),)))
        told.clear()
        old.apply(Verdict(ONE, False, "late", "traffic"))
        self.assertEqual((old.members[ONE].up, told), (False, []))

    def test_idle_connections_of_one_that_left_are_closed_at_once(self) -> None:
        """And when nothing runs, it is gone."""
        rig = SiteRig(configuration(ONE))
        _, idle = rig.kept_alive()
        old = rig.balancer_of()
        rig.change(configuration(pool(TWO, "other")))
        self.assertEqual((idle.closed, old.running, rig.site.leaving), (True, False, []))

    def test_a_name_that_comes_back_is_another_pool(self) -> None:
        """While the former one is seen off."""
        rig = SiteRig(two_pools())
        streams = Streams(rig, "/a")
        old = rig.balancer_of("a")
        rig.change(configuration(pool(TWO, "b"), routes=(route("b", "b"),)))
        rig.change(two_pools())
        new = rig.balancer_of("a")
        self.assertIsNot(new, old)
        self.assertEqual((rig.site.router.live["a"].target, rig.site.leaving), (new, [old]))
        streams.check(self)
        self.assertEqual((new.counters.ends, old.counters.ends), ({}, {"done": 2}))

    def test_an_exchange_that_a_filter_kept_comes_to_the_pool_that_left(self) -> None:
        """Which wakes for it, and is stopped again after it."""
        rig = SiteRig(two_pools(routes=(route("a", "a", Later(), path="/a"), route("b", "b"))))
        client = rig.client()
        client.send(at("/a"))
        old = rig.balancer_of("a")
        rig.change(configuration(pool(TWO, "b"), routes=(route("b", "b"),)))
        self.assertFalse(old.running)
        Later.waiting.pop().callback(None)
        self.assertEqual((old.running, rig.site.leaving), (True, [old]))
        backend = rig.accept()
        backend.send(OK)
        rig.wait(0.5)
        self.assertEqual((status(client.received()), backend.closed, old.running, rig.site.leaving), (200, True, False, []))

    def test_a_new_one_is_up_until_the_contrary_is_known(self) -> None:
        """Its first probes go out at once."""
        rig = SiteRig(configuration(pool(TWO, "b"), routes=(route("b", "b"),)))
        rig.turn()
        rig.probe()
        rig.change(two_pools())
        rig.turn()
        self.assertEqual((rig.probes, rig.balancer_of("a").pool.members[ONE].fit), ([ONE], True))
        rig.probe(well=False)
        self.assertFalse(rig.balancer_of("a").pool.available)

    def test_watchers_hear_of_all_pools(self) -> None:
        """Those that come later, and those that are leaving; not of one that is gone."""
        rig = SiteRig(two_pools())
        changes: list[Change] = []
        rig.site.watch(changes.append)
        rig.site.watch(changes.append)
        Streams(rig, "/a")
        old = rig.balancer_of("a")
        rig.change(two_pools(pool(ONE, "c"), routes=(route("c", "c"),)))
        for balancer in (old, rig.balancer_of("c"), rig.balancer_of("b")):
            balancer.pool.wish(Wish(next(iter(balancer.pool.members)), "drain"))
        self.assertEqual([change.pool for change in changes], ["a", "c", "b"])
        rig.site.unwatch(changes.append)
        self.assertEqual([one for one in old.pool.observers if one == changes.append], [])

    def test_a_stop_ends_those_that_are_leaving(self) -> None:
        """Nothing is left to be done."""
        rig = SiteRig(two_pools())
        Streams(rig, "/a")
        rig.change(configuration(pool(TWO, "b"), routes=(route("b", "b"),)))
        rig.site.stop()
        for connection in list(rig.factory.connections):
            connection.drop()
        rig.turn()
        self.assertEqual((rig.site.leaving, rig.reactor.getDelayedCalls()), ([], []))

    def test_sticky_bindings_hold(self) -> None:
        """The site's random key is that of a pool that comes back too."""
        rig = SiteRig(configuration(pool(ONE, sticky="lb")))
        token = rig.balancer_of().sticky.token(ONE)
        rig.change(configuration(pool(f"{ONE},{TWO}", sticky="lb", retries=1)))
        self.assertEqual(rig.balancer_of().sticky.token(ONE), token)
        rig.change(configuration(pool(ONE, "other")))
        rig.change(configuration(pool(ONE, sticky="lb")))
        self.assertEqual(rig.balancer_of().sticky.token(ONE), token)

    def test_a_users_error_keeps_nothing_from_the_rest(self) -> None:
        """It is logged, and the configuration is gone by."""
        rig = SiteRig(two_pools(routes=(route("a", "a", Note(), path="/a"), route("b", "b"))))

        def fails(change: Change) -> None:
            raise RuntimeError("an observer")

        rig.site.watch(fails)
        changed = pool(f"{ONE},{THREE}", "a", retries=9)
        rig.change(two_pools(changed, routes=(route("a", "a", Note(fails=True), path="/a"), route("b", "b"))))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.assertEqual((list(rig.balancer_of("a").pool.members), rig.balancer_of("a").settings.retries), ([ONE, THREE], 9))


class Later(Note):
    """Keeps requests until the test lets them go on."""

    waiting: Any = []

    def make(self, context: Any) -> Any:
        class Keeping(Filter):
            def request(self, passage: Any) -> Any:
                Later.waiting.append(Deferred())
                return Later.waiting[-1]

        return Keeping()


class RouteTests(SynchronousTestCase):
    """Routes and filters."""

    def rig(self, *routes: Any, **filters: Any) -> SiteRig:
        """A site of them."""
        return SiteRig(self.routed(*routes, **filters))

    def routed(self, *routes: Any, **filters: Any) -> Configuration:
        """One pool, and these."""
        return configuration(ONE, routes=routes, filters=filters)

    def live(self, rig: SiteRig, name: str = "r") -> Any:
        """A route as it runs."""
        return rig.site.router.live[name]

    def test_one_that_is_equal_stays(self) -> None:
        """Whatever becomes of others, and wherever it stands."""
        rig = self.rig(route("r", "default", Note()), route("s", path="/s"))
        kept = self.live(rig)
        rig.change(self.routed(route("t", path="/t"), route("r", "default", Note())))
        self.assertIs(self.live(rig), kept)
        self.assertEqual(list(rig.site.router.live), ["t", "r"])

    def test_one_that_changed_counts_on(self) -> None:
        """Its exchanges, and how they ended; those that run go on with what they began with."""
        rig = self.rig(route("r", "default", Note()))
        streams = Streams(rig)
        rig.kept_alive()
        before = self.live(rig)
        rig.change(self.routed(route("r", "default", Note(), path="/only")))
        self.assertIsNot(self.live(rig), before)
        self.assertEqual((self.live(rig).taken, self.live(rig).filters), (4, before.filters))
        streams.check(self)
        self.assertEqual(self.live(rig).statuses, {200: 3})

    def test_a_filter_that_changed_takes_over(self) -> None:
        """From the one of its type in its place; its counters go on."""
        rig = self.rig(route("r", "default", "n", Note(word="x")), n=Note())
        rig.kept_alive()
        old = self.live(rig).filters
        rig.change(self.routed(route("r", "default", "n", Note(word="y")), n=Note(word="z")))
        self.assertEqual([one.seen for one in self.live(rig).filters], [1, 1])
        self.assertTrue(all(one is not other for one, other in zip(old, self.live(rig).filters, strict=True)))
        self.assertEqual([one.counts for one in rig.site.filters], [{"seen": 1}, {"seen": 1}])

    def test_filters_that_write_targets_go_by_the_new_limit(self) -> None:
        """Though nothing else of them is said differently."""
        rig = self.rig(route("r", "default", PrefixAdd(prefix="/a")))
        rig.change(configuration(ONE, routes=(route("r", "default", PrefixAdd(prefix="/a")),), target_limit=20))
        client = rig.client()
        client.send(at("/" + "x" * 18))
        self.assertEqual(status(client.received()), 414)

    def test_a_filter_of_another_type_begins_anew(self) -> None:
        """In the same place, under the same name."""
        rig = self.rig(route("r", "default", "n"), n=Note())
        rig.kept_alive()
        rig.change(self.routed(route("r", "default", "n"), n=Other()))
        self.assertEqual((self.live(rig).filters[0].seen, rig.site.filters[0].counts), (0, {}))

    def test_a_filter_that_moved_is_found_again(self) -> None:
        """One that came before it does not cost it what it has."""
        rig = self.rig(route("r", "default", Note(word="x"), Note(word="y")))
        one, two = self.live(rig).filters
        rig.change(self.routed(route("r", "default", Other(), Note(word="y"), Note(word="x"))))
        self.assertIs(self.live(rig).filters[1], two)
        self.assertIs(self.live(rig).filters[2], one)

    def test_a_named_filter_is_kept_for_all(self) -> None:
        """Be it the only thing about its routes that stays."""
        rig = self.rig(route("r", "default", "n"), n=Note())
        kept = self.live(rig).filters[0]
        rig.change(self.routed(route("s", "default", Note(), "n"), n=Note()))
        self.assertIs(self.live(rig, "s").filters[1], kept)

    def test_routes_come_and_go(self) -> None:
        """Where exchanges enter is decided anew."""
        rig = SiteRig(configuration(ONE))
        straight = rig.site.forward
        rig.change(self.routed(route("r", path="/a")))
        client = rig.client()
        client.send(at("/b"))
        self.assertEqual(status(client.received()), 404)
        rig.change(configuration(ONE))
        self.assertEqual(rig.site.forward, straight)


class SiteSettingsTests(SynchronousTestCase):
    """What is the site's."""

    def test_what_is_said_to_clients(self) -> None:
        """Of the next response; of all pools, and of the balancer's own answers."""
        rig = SiteRig(two_pools())
        client, backend = rig.kept_alive()
        rig.change(two_pools(via="lb", hsts=60))
        client.send(GET)
        self.assertIn(b"Via: 1.1 lb", Streams(rig, "/a").response.received() + rig.balancer_of("a").forwarding.response_via)
        backend.send(OK)
        self.assertIn(b"\r\nVia: 1.1 lb\r\n", client.received())
        self.assertEqual([desk.hsts for desk in rig.site.desks()], [b"Strict-Transport-Security: max-age=60\r\n"] * 3)

    def test_whom_is_believed(self) -> None:
        """Of connections that come from now on: those that are open have the client that they came with."""
        rig = SiteRig(configuration(ONE))
        asking = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
        before = rig.client("10.9.9.9")
        before.send(asking)
        backend = rig.accept()
        rig.change(configuration(ONE, trusted_proxies=("10.9.9.9/32",)))
        backend.send(OK)
        before.send(asking)
        backend.send(OK)
        rig.client("10.9.9.9").send(asking)
        chains = [request.split(b"\r\n")[0] for request in backend.received().split(b"X-Forwarded-For: ")[1:]]
        self.assertEqual(chains, [b"10.9.9.9", b"10.9.9.9", b"192.0.2.1, 10.9.9.9"])

    def test_over_tls_alone(self) -> None:
        """Who comes in the clear is sent there."""
        rig = SiteRig(configuration(ONE))
        rig.site.router.https_port = lambda: 443
        rig.change(configuration(ONE, redirect_to_https=True))
        client = rig.client()
        client.send(GET)
        self.assertEqual(status(client.received()), 308)


backends = st.lists(st.sampled_from([ONE, TWO, THREE, "10.0.0.4:8000:backup", f"{ONE}:weight=7"]), min_size=1, max_size=3).filter(
    lambda found: not (ONE in found and f"{ONE}:weight=7" in found)
)
settings = st.fixed_dictionaries(
    {},
    optional={
        "retries": st.integers(0, 3),
        "retry_on": st.sampled_from([("connect",), ("reset", "503")]),
        "retry_budget": st.integers(0, 100),
        "hedge": st.sampled_from([0.0, 50.0, 99.0]),
        "slow_start": st.sampled_from([0.0, 10.0]),
        "panic": st.integers(0, 100),
        "sticky": st.sampled_from(["", "lb", "other"]),
        "queue": st.integers(0, 5),
        "queue_timeout": st.sampled_from([0.5, 10.0]),
        "attempt_timeout": st.sampled_from([0.0, 1.0]),
        "upstream_idle": st.integers(0, 5),
        "probe_fall": st.integers(1, 3),
        "probe_concurrency": st.integers(1, 9),
        "eject_failures": st.integers(0, 5),
        "response_timeout": st.sampled_from([1.0, 30.0]),
    },
)
pools = st.builds(
    lambda name, found, policy, probe, said: pool(",".join(dict.fromkeys(found)), name, policy=policy, probe=probe, **said),
    st.sampled_from("abc"),
    backends,
    st.sampled_from(["round-robin", "least-connections", "peak-ewma"]),
    st.sampled_from([None, "tcp", "http:/healthz"]),
    settings,
)
notes = st.sampled_from(["n", Note(), Note(word="x"), Other()])


@st.composite
def configurations(draw: Any) -> Configuration:
    """Any."""
    found = draw(st.lists(pools, min_size=1, max_size=3, unique_by=lambda one: one[0].name))
    names = [one[0].name for one in found]
    routes = tuple(
        route(f"r{number}", draw(st.sampled_from(names)), *draw(st.lists(notes, max_size=3)), path=f"/{number}")
        for number in range(draw(st.integers(1, 3)))
    )
    said = draw(st.fixed_dictionaries({}, optional={"via": st.just("lb"), "hsts": st.just(9), "head_limit": st.just(999)}))
    return configuration(*found, routes=routes, filters={"n": draw(st.sampled_from([Note(), Note(word="z"), Other()]))}, **said)


def described(rig: SiteRig) -> Any:
    """All values of a site that depend on its configuration."""
    site = rig.site
    shown: list[Any] = [site.settings, site.router.settings, site.router.hsts, site.router.forwarding.response_via]
    shown += [site.router.sweep.interval, site.router.table.routes, list(site.balancers)]
    for live in site.router.live.values():
        filters = [(type(one), one.spec) for one in live.filters]  # type: ignore[attr-defined]
        shown.append((live.name, live.route, filters, live.target.pool.name))  # type: ignore[attr-defined]
    shown += [(one.name, one.spec) for one in site.filters]
    return [*shown, *(balanced(balancer) for balancer in site.balancers.values())]


def balanced(balancer: Any) -> Any:
    """The same of a balancer."""
    pool, upstreams, probes = balancer.pool, balancer.upstreams, balancer.probes
    return (
        balancer.settings, pool.settings, [member.backend for member in pool.members.values()],
        [(number, type(tier.policy), len(tier.members)) for number, tier in pool.tiers.items()],
        balancer.timed, balancer.careful, balancer.retry_statuses, balancer.line.limit,
        balancer.hedging and balancer.hedging.percentile, balancer.sticky and balancer.sticky.made_of[::2],
        balancer.adds_fields, balancer.hsts, balancer.budget.allowed(100), balancer.candidates.__name__,
        upstreams._settings, upstreams._limits.size, upstreams._times.response, upstreams._times.idle,
        probes._settings, type(probes._probe), getattr(probes._probe, "_spec", None), probes._plan._concurrency,
        balancer.traffic._settings,
    )  # fmt: skip


class WhateverChangesTests(SynchronousTestCase):
    """Any configuration after any other."""

    @given(st.lists(configurations(), min_size=2, max_size=4))
    def test_the_last_one_counts(self, wanted: list[Configuration]) -> None:
        """After any others a site is what it would be if it had begun with it."""
        rig = SiteRig(wanted[0])
        for one in wanted[1:]:
            rig.change(one)
        fresh = SiteRig(wanted[-1])
        self.assertEqual(described(rig), described(fresh))
        rig.site.stop()
        fresh.site.stop()

    def test_memory_is_level(self) -> None:
        """However many have come and gone."""
        rig = SiteRig(two_pools())
        self.kept: Any = None
        seen: list[weakref.ref[Any]] = []
        counts = []
        for number in range(1000):
            rig.change(self.nth(number))
            self.serve(rig)
            rig.reactor.tcpClients.clear()
            rig.reactor.connectors.clear()
            seen += [weakref.ref(one) for one in self.parts(rig)]
            if number % 100 == 99:
                rig.turn()
                gc.collect()
                alive = {id(one()) for one in seen if one() is not None}
                self.assertLessEqual(alive, {id(one) for one in self.parts(rig)})
                counts.append((len(alive), len(rig.reactor.getDelayedCalls()), len(rig.site.desks())))
        self.assertEqual(len(set(counts)), 1, counts)
        rig.site.stop()
        rig.turn()
        self.assertEqual(rig.reactor.getDelayedCalls(), [])

    def serve(self, rig: SiteRig) -> None:
        """One exchange, and its client goes."""
        client = rig.client()
        client.send(at("/a"))
        backends = [connect.accept() for connect in rig.connects]
        rig.reactor.tcpClients.clear()
        rig.reactor.connectors.clear()
        for backend in backends or [self.kept]:
            self.kept = backend
            backend.send(OK)
        self.assertEqual(status(client.received()), 200)
        client.hang_up()
        rig.turn()
        rig.ended.clear()  # who keeps an exchange keeps the route that it took, and its attempts' policies

    def nth(self, number: int) -> Configuration:
        """Each time something else: a pool that stays changes, one comes and one leaves, and so do routes and filters."""
        stays = pool(ONE if number % 2 else f"{ONE},{THREE}", "a", retries=number % 4, policy=("first", "random")[number % 2])
        comes = pool(TWO, f"p{number}", sticky="lb")
        routes = (route("a", "a", "n", Note(word=str(number)), path="/a"), route(f"r{number}", f"p{number}", "n"))
        return configuration(stays, comes, routes=routes, filters={"n": Note(word=str(number % 3))})

    def parts(self, rig: SiteRig) -> list[Any]:
        """What must not be left."""
        site = rig.site
        made: list[Any] = [*site.router.live.values(), *(one.filter for one in site.filters), site.router.table]
        for balancer in site.balancers.values():
            made += [balancer, balancer.pool, balancer.probes, balancer.pool.policy]
        return made
