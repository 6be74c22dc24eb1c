"""Tests of a balancer that goes by other settings, policies, probes and TLS while it runs."""

from __future__ import annotations

from typing import Any

import attrs

from lbproxy.balance.least_connections import LeastConnections
from lbproxy.balance.policy import Policy
from lbproxy.balance.state import Change, Wish
from lbproxy.proxy.hedging import Hedging

from ..support import GET, OK, FakeProbe, Peer, Rig, post, status
from .waiting import LONG, ONE, PAIR, SMALL, SWITCHING, TWO, UPGRADE, WaitsCase


class SettingsTests(WaitsCase):
    """Balancer.configure: each part goes by the new values, and nothing that is known is lost."""

    def configure(self, rig: Rig, **settings: Any) -> None:
        """Say something else."""
        rig.balancer.configure(attrs.evolve(rig.balancer.settings, **settings))

    def test_what_runs_lives_on(self) -> None:
        """A response, an upload and a tunnel, over the connections that they began on."""
        rig = self.rig(PAIR)
        reader, response = self.asks(rig), rig.accept()
        response.send(LONG)
        uploader = self.asks(rig, post(b"x" * 10)[:-4])
        upload = rig.accept()
        upgraded = self.asks(rig, UPGRADE)
        tunnel = rig.accept()
        tunnel.send(SWITCHING)
        for peer in (reader, uploader, upload, upgraded, tunnel):
            peer.received()
        self.configure(rig, retries=0, queue=1, hedge=50.0, sticky="lb", attempt_timeout=5.0, upstream_idle=1, via="x")
        response.send(b"end!!")
        uploader.send(b"xxxx")
        upgraded.send(b"ping")
        tunnel.send(b"pong")
        upload.send(OK)
        self.assertEqual((reader.received(), upload.received()), (b"end!!", b"xxxx"))
        self.assertEqual((tunnel.received(), upgraded.received()), (b"ping", b"pong"))
        self.assertEqual(status(uploader.received()), 200)
        self.assertEqual(rig.counters.ends, {"done": 2})

    def test_the_same_again(self) -> None:
        """Nothing is touched, not even told to the pool."""
        rig = self.rig(PAIR, slow_start=10, hedge=50, sticky="lb")
        changes: list[Change] = []
        rig.pool.observers.append(changes.append)
        parts = [getattr(rig.balancer, name) for name in ("hedging", "sticky", "forwarding", "retry_statuses")]
        self.configure(rig)
        after = [getattr(rig.balancer, name) for name in ("hedging", "sticky", "forwarding", "retry_statuses")]
        self.assertTrue(all(one is other for one, other in zip(parts, after, strict=True)))
        self.assertEqual(changes, [])

    def test_retries(self) -> None:
        """Fewer attempts at one backend."""
        rig = self.rig(retries=3)
        self.configure(rig, retries=0)
        client = self.asks(rig)
        self.assertEqual(rig.refuse(), [ONE])
        self.assertEqual(status(client.received()), 503)

    def test_statuses_that_are_tried_again(self) -> None:
        """From the next response on."""
        rig = self.rig(PAIR)
        client = self.asks(rig)
        backend = rig.accept()
        self.configure(rig, retry_on=("503",))
        backend.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_the_line(self) -> None:
        """Its limit; who waits, waits on."""
        rig = self.rig(SMALL, queue=2)
        self.asks(rig)
        backend = rig.accept()
        waiting = [self.asks(rig), self.asks(rig)]
        self.configure(rig, queue=0)
        self.assertEqual(self.line(rig), 2)
        self.assertEqual(status(self.asks(rig).received()), 503)
        for _ in range(3):
            backend.received()
            backend.send(OK)
        self.assertEqual([status(client.received()) for client in waiting], [200, 200])

    def test_how_long_is_waited_in_line(self) -> None:
        """Those who wait already as well."""
        rig = self.rig(SMALL, queue_timeout=60)
        self.asks(rig)
        rig.accept()
        client = self.asks(rig)
        self.configure(rig, queue_timeout=1.0)
        rig.balancer.sweep.configure(1.0)
        rig.wait(2)
        self.assertEqual((status(client.received()), rig.counters.ends), (503, {"queue-timeout": 1}))

    def test_times_of_attempts(self) -> None:
        """Those that come; one that had no time limit keeps none."""
        rig = self.rig(PAIR)
        before = self.asks(rig)
        rig.accept()
        self.configure(rig, attempt_timeout=1.0, retry_on=("connect",))
        after = self.asks(rig)
        rig.accept()
        rig.wait(2)
        self.assertEqual((before.received(), status(after.received())), (b"", 504))

    def test_times_of_connections_that_are_open(self) -> None:
        """The next response on a kept connection has the new time."""
        rig = self.rig(retry_on=("none",))
        client, _ = rig.kept_alive()
        self.configure(rig, response_timeout=2.0)
        client.send(GET)
        rig.wait(4)
        self.assertEqual(status(client.received()), 504)

    def test_limits_of_connections_that_are_open(self) -> None:
        """The next head on a kept connection is held to the new one."""
        rig = self.rig()
        client, backend = rig.kept_alive()
        self.configure(rig, head_limit=256)
        client.send(post(b"x"))
        backend.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300 + b"\r\n\r\n")
        self.assertEqual(status(client.received()), 502)

    def test_fewer_idle_connections(self) -> None:
        """The oldest are closed at once; the others are used on."""
        rig = self.rig()
        pairs = [self.begin(rig) for _ in range(3)]
        for _, backend in pairs:
            backend.send(OK)
        self.configure(rig, upstream_idle=1)
        self.assertEqual([backend.closed for _, backend in pairs], [True, True, False])
        self.asks(rig)
        self.assertEqual(pairs[2][1].received().count(b"GET / "), 2)

    def begin(self, rig: Rig) -> tuple[Peer, Peer]:
        """An exchange that runs."""
        client = self.asks(rig)
        return client, rig.accept()

    def test_how_long_idle_ones_are_kept(self) -> None:
        """Those that are idle already as well."""
        rig = self.rig()
        _, backend = rig.kept_alive()
        self.configure(rig, upstream_idle_timeout=1.0)
        rig.wait(3)
        self.assertTrue(backend.closed)

    def test_the_retry_budget(self) -> None:
        """Another share, and the places that are taken stay so."""
        rig = self.rig(retry_budget=0, retry_budget_least=0)
        rig.balancer.budget.active = 1
        self.configure(rig, retry_budget=50, retry_budget_least=2)
        self.assertEqual((rig.balancer.budget.allowed(11), rig.balancer.budget.active), (5, 1))
        rig.balancer.budget.give_back()

    def test_hedging_begins_and_ends(self) -> None:
        """And while it lasts another percentile is one of the same responses."""
        rig = self.rig(PAIR)
        self.configure(rig, hedge=50.0)
        hedging = rig.balancer.hedging
        assert isinstance(hedging, Hedging) and rig.balancer.careful
        for number in range(100):
            hedging.note(float(number))
        self.configure(rig, hedge=90.0)
        self.assertIs(rig.balancer.hedging, hedging)
        self.assertEqual(hedging.delay, 90.0)
        self.configure(rig, hedge=0.0)
        self.assertEqual((rig.balancer.hedging, rig.balancer.careful), (None, False))

    def test_sticky_bindings_hold(self) -> None:
        """As long as the key is the same, a random one too, be it switched off in between; a key of one's own is another."""
        rig = self.rig(PAIR, sticky="lb")
        token = rig.balancer.sticky.token(ONE) if rig.balancer.sticky else b""
        self.configure(rig, sticky="other", sticky_max_age=60)
        self.configure(rig, sticky="")
        self.assertIsNone(rig.balancer.sticky)
        self.configure(rig, sticky="lb")
        assert rig.balancer.sticky is not None
        self.assertEqual(rig.balancer.sticky.token(ONE), token)
        self.configure(rig, sticky_key=b"k" * 16)
        self.assertNotEqual(rig.balancer.sticky.token(ONE), token)

    def test_slow_start(self) -> None:
        """Who warms up does so by the new span, at once."""
        rig = self.rig(PAIR, slow_start=100)
        rig.mark(ONE, up=False)
        rig.mark(ONE, up=True)
        rig.wait(10)
        self.assertAlmostEqual(rig.member(ONE).weight, 0.1)
        self.configure(rig, slow_start=20.0)
        self.assertAlmostEqual(rig.member(ONE).weight, 0.5)
        self.configure(rig, slow_start=0.0)
        self.assertEqual(rig.member(ONE).weight, 1.0)

    def test_panic(self) -> None:
        """Is said anew at once, and told."""
        rig = self.rig(f"{PAIR},10.0.0.3:8000")
        rig.mark(ONE, up=False)
        rig.mark(TWO, up=False)
        changes: list[Change] = []
        rig.pool.observers.append(changes.append)
        self.configure(rig, panic=50)
        self.assertEqual((rig.pool.panicking, [change.now for change in changes]), (True, ["panic"]))
        self.configure(rig, panic=0)
        self.assertFalse(rig.member(ONE).fit)

    def test_failures_in_a_row(self) -> None:
        """Those so far count."""
        rig = self.rig(PAIR, eject_failures=5)
        for _ in range(2):
            rig.balancer.traffic.failed(rig.member(ONE), "lost")
        self.configure(rig, eject_failures=3)
        rig.balancer.traffic.failed(rig.member(ONE), "lost")
        self.assertEqual(rig.member(ONE).ejected, "answers")
        rig.balancer.traffic.failed(rig.member(TWO), "lost")
        self.configure(rig, eject_failures=0)
        self.assertEqual(rig.member(TWO).failing, 0)


class ProbeTests(WaitsCase):
    """Other probe settings, and another probe."""

    def test_a_shorter_interval(self) -> None:
        """Nobody waits for the end of the long one."""
        rig = self.rig(probe_interval=1000)
        rig.turn()
        rig.probe.checks.pop()[1].callback("well")
        rig.balancer.configure(attrs.evolve(rig.settings, probe_interval=2.0))
        rig.wait(3)
        self.assertEqual(len(rig.probe.checks), 1)

    def test_rise_and_fall(self) -> None:
        """Findings in a row so far count."""
        rig = self.rig(PAIR, probe_interval=1, probe_fall=5)
        self.find(rig, False, 2)
        self.assertTrue(rig.member(ONE).up)
        rig.balancer.configure(attrs.evolve(rig.settings, probe_fall=3))
        self.find(rig, False, 1)
        self.assertFalse(rig.member(ONE).up)

    def find(self, rig: Rig, well: bool, times: int) -> None:
        """Rounds of probes, all with this finding."""
        for _ in range(times):
            rig.wait(1.25)
            checks, rig.probe.checks = rig.probe.checks, []
            for _, checking in checks:
                if well:
                    checking.callback("well")
                else:
                    checking.errback(OSError("no"))

    def test_another_probe_begins_at_once(self) -> None:
        """What was found so far is the verdict until it has spoken; a check that runs is given up."""
        rig = self.rig(PAIR, probe_interval=100)
        rig.turn()
        (_, one), (_, two) = rig.probe.checks
        one.errback(OSError("no"))
        new = FakeProbe()
        rig.balancer.probes.set_probe(new)
        rig.turn()
        self.assertEqual((two.called, sorted(address for address, _ in new.checks)), (True, [ONE, TWO]))
        self.assertEqual((rig.member(ONE).up, rig.member(TWO).up), (False, True))
        for address, checking in new.checks:
            if address == ONE:
                checking.callback("well")
            else:
                checking.errback(OSError("no"))
        self.assertEqual((rig.member(ONE).up, rig.member(TWO).up), (True, False))

    def test_before_it_is_started(self) -> None:
        """The new one is the first."""
        rig = Rig()
        new = FakeProbe()
        rig.balancer.probes.set_probe(new)
        rig.balancer.configure(attrs.evolve(rig.settings, probe_interval=3.0))
        rig.balancer.start()
        rig.turn()
        self.assertEqual((len(rig.probe.checks), len(new.checks)), (0, 1))


class Counting(Policy):
    """A policy that notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def begun(self, member: Any) -> None:
        self.told.append("begun")

    def ended(self, member: Any, seconds: float | None, failed: bool) -> None:
        self.told.append("ended")


class PolicyTests(WaitsCase):
    """Another policy."""

    def test_an_attempt_ends_at_the_policy_that_it_began_with(self) -> None:
        """So that none counts what it has not seen."""
        first = Counting()
        rig = Rig(PAIR, policy=lambda: first)
        client = self.asks(rig)
        backend = rig.accept()
        second = Counting()
        rig.pool.set_policy(lambda: second)
        self.assertEqual([member.in_flight for member in second.members], [1, 0])
        backend.send(OK)
        self.assertEqual((first.told, second.told), (["begun", "ended"], []))
        client.send(GET)
        self.assertEqual(second.told, ["begun"])

    def test_each_tier_has_its_own(self) -> None:
        """Those that come later too."""
        rig = Rig(f"{ONE},{TWO}:backup")
        rig.pool.set_policy(LeastConnections)
        policies = [tier.policy for tier in rig.pool.tiers.values()]
        self.set_backends(rig, f"{ONE},{TWO}:backup,10.0.0.3:8000:tier=1")
        policies.append(rig.pool.tiers[1].policy)
        self.assertEqual([type(policy) for policy in policies], [LeastConnections] * 3)
        self.assertEqual(len(set(map(id, policies))), 3)

    def test_who_is_fit_is_told(self) -> None:
        """At once."""
        rig = Rig(PAIR)
        rig.pool.wish(Wish(ONE, "maintenance"))
        rig.pool.set_policy(LeastConnections)
        self.assertEqual([member.address for member in rig.pool.policy.members], [TWO])  # type: ignore[attr-defined]

    def test_one_that_cannot_be_made(self) -> None:
        """The former stays, of all tiers."""
        rig = Rig(f"{ONE},{TWO}:backup")
        before = [tier.policy for tier in rig.pool.tiers.values()]
        made = iter([LeastConnections()])
        self.assertRaises(StopIteration, rig.pool.set_policy, lambda: next(made))
        self.assertEqual([tier.policy for tier in rig.pool.tiers.values()], before)


class RetiredTests(WaitsCase):
    """A balancer whose pool has left."""

    def test_nothing_is_kept(self) -> None:
        """Idle connections are closed at once, the others after their exchange."""
        rig = self.rig()
        _, idle = rig.kept_alive()
        client = self.asks(rig)
        idle.received()
        other = self.asks(rig)
        backend = rig.accept()
        rig.balancer.retire()
        idle.send(OK)
        backend.send(OK)
        self.assertEqual((status(client.received()), status(other.received())), (200, 200))
        self.assertEqual((idle.closed, backend.closed), (True, True))

    def test_who_waits_goes_on(self) -> None:
        """In line, and between attempts."""
        rig = self.rig(SMALL)
        self.asks(rig)
        backend = rig.accept()
        waiting = self.asks(rig)
        rig.balancer.retire()
        backend.send(OK)
        rig.accept().send(OK)
        self.assertEqual(status(waiting.received()), 200)


