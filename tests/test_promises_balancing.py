"""Promises about whole pools under load, each measured in a simulation in virtual time (:mod:`.balancing`).

``LBPROXY_FIGURES=1`` has the figures written to the standard error. All runs come from fixed seeds, so what is measured once is
measured always; the seeds were not chosen, and others differ by what the docstrings allow for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from math import ceil
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.hashing import Hash
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import Verdict
from lbproxy.http1.head import RequestHead
from lbproxy.http1.keys import request_key

from .balancing.load import head
from .balancing.run import START, Run, backends

POLICIES = ("round-robin", "least-connections", "two-choices", "random", "peak-ewma")
WEIGHED = "10.0.0.1:80:weight=5,10.0.0.2:80:weight=3,10.0.0.3:80:weight=2"
WANTED = (0.5, 0.3, 0.2)


class Promise(SynchronousTestCase):
    """What is measured can be had in writing."""

    def figure(self, words: str) -> None:
        """Write a line down, if anybody wants it."""
        if os.environ.get("LBPROXY_FIGURES"):
            sys.stderr.write(f"\n    {words}")


def percent(values: list[float]) -> str:
    return ", ".join(f"{100 * value:.2f}" for value in values) + " %"


class Weights(Promise):
    """Backends of weights 5, 3 and 2 get 50, 30 and 20 %: of the requests, or of the places in flight, within 1 % of each."""

    def converge(self, what: str, policy: str, rate: float, requests: int) -> None:
        run = Run("weights", WEIGHED, policy).load(rate, requests / rate).finish()
        shares = run.shares() if what == "requests" else run.places()
        off = max(abs(share / wanted - 1) for share, wanted in zip(shares, WANTED))
        self.figure(f"{policy}, {rate * 0.01:g} in flight: {percent(shares)} of the {what}; off by at most {100 * off:.2f} %")
        self.assertLessEqual(off, 0.01)

    def test_round_robin_gives_each_its_share_of_the_requests(self) -> None:
        """Idle or busy."""
        for rate in (1, 10_000):
            self.converge("requests", "round-robin", rate, 5000)

    def test_least_connections_gives_each_its_share_of_the_places(self) -> None:
        """When much is in flight; when hardly anything is, the turns decide, and it is the share of the requests. Between, with
        about one request in flight in all, whoever is idle is asked, and the light ones get more than theirs."""
        self.converge("requests", "least-connections", 1, 5000)
        self.converge("places", "least-connections", 100_000, 20_000)

    def test_two_choices_gives_each_its_share_of_the_places(self) -> None:
        """When much is in flight."""
        self.converge("places", "two-choices", 100_000, 20_000)

    def test_chance_gives_each_its_share_in_the_long_run(self) -> None:
        """Random, and two choices in an idle pool: of the candidates that come first in 300,000 draws."""
        for policy in ("random", "two-choices"):
            pool = Run("draws", WEIGHED, policy).pool
            drawn = Counter(next(iter(pool.candidates())).address for _ in range(300_000))
            shares = [drawn[address] / drawn.total() for address in pool.members]
            self.figure(f"{policy}, idle: {percent(shares)}")
            for share, wanted in zip(shares, WANTED):
                self.assertLessEqual(abs(share / wanted - 1), 0.01)


class OneIsSlow(Promise):
    """One backend takes ten times as long as the others."""

    def ratio(self, policy: str, count: int, workers: int | None, in_flight: float) -> float:
        """By how much that lengthens the 99th percentile of all."""
        figures = []
        for slower in (1, 10):
            run = Run("slow", backends(count), policy, workers=workers)
            run.server(1).slower = slower
            rate = count * in_flight / 0.010
            run.load(rate, 6000 / rate).finish()
            figures.append(run.p(99))
        well, ill = figures
        self.figure(
            f"{policy}, {count} backends, {workers or 'any number of'} workers, {in_flight:g} in flight each: p99 "
            f"{1000 * well:.0f} ms, with a slow one {1000 * ill:.0f} ms: {ill / well:.2f} times; the slow one's share "
            f"{percent(run.shares()[:1])}"
        )
        return ill / well

    def test_policies_that_look_hold_the_99th_percentile(self) -> None:
        """Two choices, peak EWMA and least connections keep it below three times of the healthy pool's; with five backends or
        more, since who looks at what is in flight alone sends the slow one a tenth of another's requests."""
        for policy in ("two-choices", "peak-ewma", "least-connections"):
            for count, workers, in_flight in ((5, None, 4.0), (10, 16, 8.0)):
                self.assertLess(self.ratio(policy, count, workers, in_flight), 3)

    def test_peak_ewma_holds_it_in_small_pools_too(self) -> None:
        """Of three."""
        self.assertLess(self.ratio("peak-ewma", 3, 16, 8.0), 3)

    def test_round_robin_does_not(self) -> None:
        """It sends the slow one as much as all others, in large pools too."""
        self.assertGreater(self.ratio("round-robin", 5, None, 4.0), 3)
        self.assertGreater(self.ratio("round-robin", 10, 16, 8.0), 3)

    def test_one_that_was_slow_once_gets_its_share_back(self) -> None:
        """With peak EWMA, after five seconds of being a hundred times slower: within a minute, by decay."""
        run = Run("once", backends(3), "peak-ewma")
        run.server(1).slower = 100
        run.load(100, 5)
        run.server(1).slower = 1
        run.load(100, 90).finish()
        shares = [run.shares(run.since(second, second + 10))[0] for second in range(5, 95, 10)]
        self.figure(f"peak-ewma, a host that was slow for 5 s: its shares in the 10 s slices after that: {percent(shares)}")
        self.assertLess(shares[0], 0.1)
        self.assertGreater(sum(shares[5:]) / 4, 0.8 / 3)


class Asks(SimpleNamespace):
    """Who asks for one thing."""

    request: RequestHead
    client: Any = None


class Hashes(Promise):
    """Keys stay with their backends."""

    def test_only_the_keys_of_who_leaves_move(self) -> None:
        """Of ten backends any one leaves: at most 1.1/10 of the keys move, none of them another's; they come home with it."""
        asks = [Asks(request=head(key)) for key in range(10_000)]
        for method in ("rendezvous", "ring"):
            everybody = parse_backends([backends(10)])
            pool = Pool(everybody, policy=Hash(request_key("path"), method=method))
            before = [next(pool.candidates(ask)).address for ask in asks]
            worst = 0.0
            for gone in everybody:
                pool.apply(Verdict(gone.address, False, "gone", "probe"))
                moved = [home for home, ask in zip(before, asks) if next(pool.candidates(ask)).address != home]
                self.assertEqual(set(moved), {gone.address})
                worst = max(worst, len(moved) / len(asks))
                pool.apply(Verdict(gone.address, True, "back", "probe"))
            self.assertEqual([next(pool.candidates(ask)).address for ask in asks], before)
            self.figure(f"{method}, 10 backends, 10,000 keys, each leaves once: at most {percent([worst])} of the keys move")
            self.assertLessEqual(worst, 1.1 / 10)

    def test_a_bound_keeps_everybody_near_the_mean(self) -> None:
        """With few keys, so that the hash alone would load backends very differently, nobody is given more than 1.25 times the
        mean in flight, rounded up to a whole request."""
        for method in ("rendezvous", "ring"):
            free, bounded = (
                Watched("bound", backends(10), f"hash:key=path,method={method}{bound}").load(10_000, 0.5, keys=15)
                for bound in ("", ",bound=1.25")
            )
            self.figure(
                f"{method}, 15 keys, 100 in flight: at most {free.most:.2f} times the mean, bounded {bounded.most:.2f} times "
                f"(a whole request may be {ceil(12.5) / 10:g} times)"
            )
            self.assertGreater(free.excess, 0)
            self.assertEqual(bounded.excess, 0)


class Watched(Run):
    """A run that looks at each choice.

    :ivar excess: choices beyond 1.25 times the mean in flight, rounded up.
    :ivar most: the most that one had in flight, as times the mean, when there were 100 or more in all.
    """

    excess = 0
    most = 0.0

    def ask(self, request: RequestHead) -> None:
        before = {member: member.requests for member in self.pool.members.values()}
        super().ask(request)
        chosen = next(member for member, requests in before.items() if member.requests > requests)
        in_flight = self.balancer.counters.in_flight
        self.excess += chosen.in_flight > ceil(1.25 * in_flight / len(before))
        if in_flight >= 100:
            self.most = max(self.most, chosen.in_flight * len(before) / in_flight)


class OneFails(Promise):
    """One backend of five fails in a way that a connection does not show."""

    def retried(self, failure: int | str, share: float, rate: float = 50, seconds: float = 400) -> float:
        """The share of the requests after its first ejection that cost a retry."""
        run = Run("failing", backends(5), retry_on=("connect", "reset", "timeout", "503"))
        run.server(1).failing, run.server(1).failure = share, failure
        run.load(rate, seconds).finish()
        self.assertEqual(run.ends(), {"done": len(run.ended)})
        self.assertEqual({one.status for one in run.ended}, {200})
        first = next(change for change in run.changes if change.now == "down").time
        after = [one for one in run.ended if one.started >= first]
        retried = sum(len(one.attempts) > 1 for one in after) / len(after)
        self.figure(
            f"1 of 5 answers {failure} to {share:.0%} of its requests, {rate:g} requests a second for {seconds:g} s: "
            f"{run.member(1).ejections} ejections, {100 * retried:.2f} % of the requests after the first cost a retry"
        )
        return retried

    def test_a_failing_backend_costs_few_retries_once_ejected(self) -> None:
        """At most 1 % of the requests from its first ejection on, with all its re-admissions, and no error is seen."""
        for failure in ("lost", 503):
            self.assertLessEqual(self.retried(failure, 1.0), 0.01)

    def test_nobody_sees_one_of_three_die(self) -> None:
        """Killed under load, everything default: each request that may be repeated is answered well."""
        for policy in POLICIES:
            run = Run("killed", backends(3), policy, seconds=0.050, workers=32)
            run.load(600, 5)
            lost = len(run.server(1).connections)
            run.server(1).kill()
            run.load(600, 5).finish()
            shares = run.shares(run.since(5.1))
            self.figure(
                f"{policy}: 1 of 3 dies with {lost} requests: {run.attempts - len(run.ended)} further attempts, "
                f"{dict(run.ends())}, longest {1000 * run.p(100):.0f} ms"
            )
            self.assertGreater(lost, 5)
            self.assertEqual(run.ends(), {"done": len(run.ended)})
            self.assertEqual({one.status for one in run.ended}, {200})
            self.assertEqual(shares[0], 0)


class TooManyFail(Promise):
    """When most of a pool is ill."""

    def test_traffic_never_takes_out_more_than_half(self) -> None:
        """However many fail, and whatever the pool's size; of one that is the last, none."""
        for count in range(1, 8):
            run = Run("all fail", backends(count))
            most = 0

            def count_out(change: Any, run: Run = run) -> None:
                nonlocal most
                most = max(most, sum(bool(member.ejected) for member in run.pool.members.values()))

            run.pool.observers.append(count_out)
            for number in range(1, count + 1):
                run.server(number).failing = 0.9
            run.load(50, 30).finish()
            self.figure(f"{count} backends of which all fail: at most {most} ejected at once")
            self.assertLessEqual(most, max(count // 2, min(1, count - 1)))
            self.assertGreater(most, 0 if count > 1 else -1)

    def test_panic_asks_all_and_ends(self) -> None:
        """With one of four up and a threshold of 50 %, all four are asked; two are enough again. Nothing is lost meanwhile."""
        run = Run("panic", backends(4), panic=50)
        run.load(100, 10)
        for number in (1, 2, 3):
            run.server(number).kill()
        run.load(100, 10)
        self.assertTrue(run.pool.panicking)
        for number in (1, 2, 3):
            run.server(number).down = False
        run.load(100, 20).finish()
        self.assertFalse(run.pool.panicking)
        words = [(change.now, round(change.time - START, 1)) for change in run.changes if not change.address]
        during = run.since(16, 20)
        asked = {attempt.member.address for one in during for attempt in one.attempts}
        self.figure(f"panic: {words}; attempts a request meanwhile {sum(len(one.attempts) for one in during) / len(during):.2f}")
        self.assertEqual([now for now, _ in words], ["panic", "normal"])
        self.assertEqual(len(asked), 4)
        self.assertEqual(run.ends(), {"done": len(run.ended)})
        for share in run.shares(run.since(30)):
            self.assertLess(abs(share - 1 / 4), 0.01)

    def test_a_tier_spills_below_71_4_percent(self) -> None:
        """With seven backends of the first tier: with five up it still takes all, with four it takes 80 %, with none nothing."""
        spilled = []
        for down in range(8):
            pool = ",".join([backends(7), "10.0.1.1:80:backup"])
            run = Run("tiers", pool)
            for number in range(1, down + 1):
                run.server(number).kill()
            run.go(6)  # the probes see to it
            run.load(200, 5).finish()
            spilled.append(run.shares()[-1])
        self.figure(f"7 backends and a backup: with 7, 6, … 0 of them up the backup takes {percent(spilled)}")
        for down, share in enumerate(spilled):
            self.assertLess(abs(share - max(0.0, 1 - 1.4 * (7 - down) / 7)), 0.001)


class NobodyHelps(Promise):
    """When there is nobody to whom a retry would be a help."""

    def storm(self, what: str, rate: int, count: int, **more: Any) -> float:
        """Attempts for each request, once the first quarter of 4,000 has found out."""
        failing = more.pop("failing", 0.0)
        run = Run("storm", backends(count), **more)
        for server in run.servers.values():
            server.failing, server.failure = failing, "lost"
        run.load(rate, 4000 / rate).finish()
        later = run.since(1000 / rate)
        each = sum(len(one.attempts) for one in later) / len(later)
        self.figure(f"{count} backends, {rate} requests a second, {what}: {each:.3f} attempts each")
        return each

    def test_no_retry_storm_when_all_are_slow(self) -> None:
        """All take ten times as long as is waited for: attempts are at most 1.2 times the requests, with 20 or more in flight
        (of fewer, three may always be tried again)."""
        for time_out in ("response_timeout", "attempt_timeout"):
            for rate, count in ((20, 3), (200, 3), (200, 10)):
                each = self.storm(f"{time_out} 1 s of 10 s", rate, count, seconds=10, **{time_out: 1.0})
                self.assertLessEqual(each, 1.2)

    def test_no_retry_storm_when_all_fail_at_once(self) -> None:
        """All lose each request as soon as it has come, so that hardly anything is in flight: the same."""
        for rate in (50, 500):
            self.assertLessEqual(self.storm("all are lost at once", rate, 3, failing=1.0), 1.2)


class WhoComesBack(Promise):
    """A backend of three recovers, and its share grows from 10 % to the whole."""

    def ramp(self, policy: str, **settings: Any) -> tuple[Run, float]:
        """With about 20 in flight at each; and when it came back, in seconds."""
        run = Run("ramp", backends(3), policy, seconds=0.200, probe_jitter=0, **settings)
        run.server(1).kill()
        run.load(300, 6)
        run.server(1).down = False
        run.server(1).most = 0
        run.load(300, 26).finish()
        return run, next(change.time for change in run.changes if change.now == "up") - START

    def test_shares_grow_as_slow_start_says(self) -> None:
        """In each fifth of the ramp the share is what the weight says by then, within 4 % of the requests. (With hardly anything
        in flight, least connections and two choices ask whoever is idle, a new one too.)"""
        for policy in POLICIES:
            run, up = self.ramp(policy, slow_start=20)
            weights = (0.125, 0.3, 0.5, 0.7, 0.9)
            due = [weight / (2 + weight) for weight in weights]
            shares = [run.shares(run.since(up + begin, up + begin + 4))[0] for begin in range(0, 20, 4)]
            self.figure(f"{policy}: {percent(shares)}, due {percent(due)}")
            for share, wanted in zip(shares, due):
                self.assertLess(abs(share - wanted), 0.04)
            self.assertEqual(shares, sorted(shares))

    def test_least_connections_does_not_overrun_who_comes_back(self) -> None:
        """At first it gets a tenth of another's requests, not all that come until it has as many in flight as the others."""
        most = []
        for slow_start in (0.0, 20.0):
            run, up = self.ramp("least-connections", slow_start=slow_start)
            first = run.since(up, up + 0.2)
            most.append(run.shares(first)[0])
        self.figure(f"least-connections: of the first 0.2 s who comes back has {percent(most[:1])}, warming {percent(most[1:])}")
        self.assertGreater(most[0], 0.5)
        self.assertLess(most[1], 0.15)


class Waiting(Promise):
    """Two backends of four places each, and twice as many requests as they can take."""

    def test_the_line_is_first_come_first_served_and_loses_no_capacity(self) -> None:
        """Those who waited were served in the order in which they came; those turned away had their 503 at once; the backends
        were kept as busy as they can be."""
        run = Run("line", backends(2, ":max-in-flight=4"), queue=50, workers=4)
        run.load(1600, 10).finish()
        served = [one for one in run.ended if one.end == "done"]
        turned_away = [one for one in run.ended if one.end == "queue-full"]
        self.assertEqual(len(served) + len(turned_away), len(run.ended))
        begun = sorted(served, key=lambda one: one.attempts[0].started)
        came = [int(one.request_id) for one in begun]
        self.assertEqual(came, sorted(came))
        self.assertEqual({(one.status, one.finished - one.started) for one in turned_away}, {(503, 0.0)})
        throughput = len([one for one in served if 1 <= one.finished - START < 10]) / 9
        self.figure(
            f"twice what can be served: {throughput:.0f} a second of 800; {len(turned_away) / len(run.ended):.0%} turned away at "
            f"once; waited at most {1000 * max(one.waits.queued for one in served if one.waits):.0f} ms"
        )
        self.assertGreater(throughput, 0.97 * 800)
        self.assertLessEqual(max(member.in_flight for member in run.pool.members.values()), 4)


class Hedges(Promise):
    """A second backend is asked when the first is late."""

    def test_a_hedge_cuts_the_99th_percentile_within_the_budget(self) -> None:
        """One backend of ten is ten times slower, in round robin: p99 is less than half; attempts stay below 1.2 each."""
        p99 = []
        for hedge in (0, 90):
            run = Run("hedge", backends(10), hedge=hedge)
            run.server(1).slower = 10
            run.load(2000, 6).finish()
            p99.append(run.p(99, run.since(2)))
            each = run.attempts / len(run.ended)
            self.figure(f"hedge {hedge}: p99 {1000 * p99[-1]:.0f} ms, {each:.3f} attempts each")
            self.assertLessEqual(each, 1.2)
            self.assertEqual(run.ends(), {"done": len(run.ended)})
        self.assertLess(p99[1], p99[0] / 2)


def eventful(seed: int) -> str:
    """What happens in a run in which much does: deaths, time-outs, ejections, hedges, a waiting line, slow start."""
    retry_on = ("connect", "reset", "timeout", "503")
    settings = dict(hedge=90, slow_start=5, response_timeout=0.5, attempt_timeout=0.4, queue=20, panic=30, retry_on=retry_on)
    pool = f"{backends(4, ':max-in-flight=12')},10.0.1.1:80:backup:max-in-flight=6"
    run = Run(seed, pool, "peak-ewma", workers=4, seconds=0.030, **settings)
    run.load(400, 3)
    run.server(1).kill()
    run.server(2).slower = 10
    run.load(400, 3)
    run.server(1).down = False
    run.server(3).failing = 0.5
    run.load(400, 6)
    run.server(2).slower = 1
    return run.load(400, 3).finish().trace


class TheSame(Promise):
    """A simulation, and all that is decided in it, is a function of its seed."""

    def test_a_seed_gives_the_same_trace_byte_for_byte(self) -> None:
        """In this process, and in others that hash differently; another seed gives another."""
        trace = eventful(1)
        self.figure(f"{len(trace.splitlines())} lines of trace, {len(trace)} bytes")
        self.assertEqual(eventful(1), trace)
        self.assertNotEqual(eventful(2), trace)
        for hashing in ("1", "2"):
            self.assertEqual(self.child(hashing), trace)

    def child(self, hashing: str) -> str:
        """The same in a process of its own."""
        code = "import sys; from tests.test_promises_balancing import eventful; sys.stdout.write(eventful(1))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hashing, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        )
        return done.stdout
