"""Backends that are killed, stopped, restarted, cut short and made to talk nonsense, in turn, under mixed load; behind any
policy, with or without sessions, limits and tiers, while an operator has them left alone; over TLS on either side, with
certificates that are renewed and strangers at the door; and all the while its file says another thing and is read anew.

Everything comes from one seed, a new one in each run unless ``LBPROXY_CHAOS_SEED`` gives it; a failure names it.
``LBPROXY_CHAOS_SECONDS`` says for how long: 12 in an ordinary run, 60 or more before a release.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from .certificates import authority, certificate, write
from .chaos import (
    KINDS,
    POLICIES,
    TIERS,
    Fault,
    Outages,
    Step,
    explanations,
    fitted,
    held_against,
    open_files,
    repeated,
    schedule,
    setup,
    wishes,
)
from .chaos_clients import IDLE_TIMEOUT, RESPONSE_TIMEOUT, Crowd
from .chaos_reloads import Reloads, text
from .chaos_tls import CERTIFICATE_CHECK, HANDSHAKE_TIMEOUT, RENEWALS, Door, Renewer, Stranger, renewals, secured
from .support import Backend, IntegrationTestCase, LoadBalancer, eventually

#: What the balancer's memory may grow by.
ROOM = 16 << 20
SECONDS = float(os.environ.get("LBPROXY_CHAOS_SECONDS", "12"))


def this_seed() -> int:
    """The one that is asked for, or a new one."""
    given = os.environ.get("LBPROXY_CHAOS_SEED")
    return random.SystemRandom().randrange(1 << 32) if given is None else int(given)


class ScheduleTests(SynchronousTestCase):
    """What happens is a function of the seed."""

    def test_the_same_seed_gives_the_same_faults(self) -> None:
        """And another one others."""
        self.assertEqual(schedule(1, 60), schedule(1, 60))
        self.assertNotEqual(schedule(1, 60), schedule(2, 60))

    def test_a_shorter_run_is_the_beginning_of_a_longer_one(self) -> None:
        """So that what fails can be repeated as far as it went."""
        self.assertEqual(schedule(7, 60)[: len(schedule(7, 12))], schedule(7, 12))

    def test_its_values(self) -> None:
        """One schedule as it is: a seed found in an old log must not come to mean something else."""
        wanted = [
            Step((Fault(0, "kill"),), 0.38, 0.1),
            Step((Fault(1, "restart"),), 0.03, 0.17),
            Step((Fault(2, "cut"),), 0.72, 0.35),
            Step((Fault(0, "garbage"),), 0.88, 0.15),
        ]
        self.assertEqual(schedule(3, 6), wanted)

    def test_at_least_one_backend_is_always_well(self) -> None:
        """Of three, and each is at fault in turn; of two as well."""
        for backends in (2, 3):
            for seed in range(50):
                steps = schedule(seed, 60, backends)
                for number, step in enumerate(steps):
                    named = [fault.backend for fault in step.faults]
                    self.assertEqual(named[0], number % backends)
                    self.assertEqual(len(set(named)), len(named))
                    self.assertLess(len(named), backends)

    def test_the_setup_and_the_wishes_are_the_seeds_too(self) -> None:
        """Each policy comes up, and each way to order backends in tiers."""
        self.assertEqual([setup(seed) for seed in range(50)], [setup(seed) for seed in range(50)])
        drawn = [setup(seed) for seed in range(200)]
        self.assertEqual({one.options[1] for one in drawn}, set(POLICIES))
        tiers = {tuple(place.removesuffix(":max-in-flight=4") for place in one.backends) for one in drawn}
        self.assertEqual(tiers, set(TIERS))
        self.assertEqual(wishes(5, schedule(5, 60)), wishes(5, schedule(5, 60)))
        self.assertEqual(wishes(5, schedule(5, 60))[:5], wishes(5, schedule(5, 60)[:5]))

    def test_who_speaks_tls_is_the_seeds_too(self) -> None:
        """Each way to speak it comes up, and each way to renew a certificate; a shorter run is the beginning of a longer one."""
        drawn = [secured(seed) for seed in range(200)]
        self.assertEqual(drawn, [secured(seed) for seed in range(200)])
        self.assertEqual({one.clients for one in drawn}, {0.0, 0.5, 1.0})
        self.assertEqual({version for one in drawn for version in one.backends}, {"", "TLSv1_2", "TLSv1_3"})
        self.assertEqual(set(renewals(1, 100)), {"", *RENEWALS})
        self.assertEqual(renewals(1, 100)[:10], renewals(1, 10))

    def test_the_files_are_the_seeds_too(self) -> None:
        """With and without routes."""
        drawn = [text(random.Random(seed), ["a:1"]) for seed in range(50)]
        self.assertEqual(drawn, [text(random.Random(seed), ["a:1"]) for seed in range(50)])
        self.assertEqual({"[[routes]]" in one for one in drawn}, {True, False})

    def test_one_that_is_well_is_always_wanted(self) -> None:
        """Whatever befalls the others."""
        for seed in range(50):
            steps = schedule(seed, 60)
            for step, wish in zip(steps, wishes(seed, steps), strict=True):
                left_alone = {wish[0]} if wish else set()
                self.assertLess(len({fault.backend for fault in step.faults} | left_alone), 3)

    def test_every_kind_comes_in_every_five_steps(self) -> None:
        """However the seed shuffles them."""
        for seed in range(50):
            kinds = [step.faults[0].kind for step in schedule(seed, 60)]
            for start in range(0, len(kinds) - 4, 5):
                self.assertEqual(sorted(kinds[start : start + 5]), sorted(KINDS))

    def test_it_takes_as_long_as_it_is_to(self) -> None:
        """Within one step's length."""
        for seed in range(50):
            total = sum(step.seconds + step.rest + 0.3 for step in schedule(seed, 60))
            self.assertTrue(55 < total <= 60, total)


def shown(door: Door) -> bytes:
    """The certificate that a client is shown."""
    with door.enter() as secure:
        return secure.certificate()


class ChaosTests(IntegrationTestCase):
    """Three backends, a balancer, and twelve clients that check what they get."""

    def test_nothing_fails_that_need_not(self) -> None:
        """No repeatable request fails while a backend is well, none that is not repeatable is made twice, nothing is finished
        that is not whole, and at the end nothing is left."""
        seed = this_seed()
        try:
            self.run_chaos(seed)
        except Exception as error:
            given = f"LBPROXY_CHAOS_SEED={seed} LBPROXY_CHAOS_SECONDS={SECONDS:g}, which is {setup(seed)}, {secured(seed)}"
            raise AssertionError(f"with {given}: {error}") from error

    def run_chaos(self, seed: int) -> None:
        """All of it, from that seed."""
        tls, renewer = secured(seed), Renewer(self.folder)
        self.ca = write(self.folder, "ca.pem", authority().cert_pem)
        backends = self.secured_backends(tls.backends)
        options, places = setup(seed)
        urls = [backend.url + place for backend, place in zip(backends, places, strict=True)]
        reloads = Reloads(self.folder / "lb.toml", seed, urls)
        balancer = self.balancer(
            "--config", str(self.folder / "lb.toml"),
            # A budget refuses retries where most of what is tried fails, as it often does here; what it may refuse is tested
            # by itself (test_retries).
            "--retry-budget", "100", "--connect-timeout", "1", "--response-timeout", str(RESPONSE_TIMEOUT),
            "--idle-timeout", str(IDLE_TIMEOUT),
            "--probe-interval", "0.3", "--admin-writable", *fitted(options, tls.backends),
            "--tls-listen", "tcp:{tls_port}:interface=127.0.0.1", "--certificate", str(renewer.path),
            *(("--backend-ca", self.ca) if any(tls.backends) else ()),
            "--handshake-timeout", str(HANDSHAKE_TIMEOUT), "--certificate-check", str(CERTIFICATE_CHECK), *tls.options,
            "--access-log", str(self.folder / "log"), "--access-log-format", "json", "--access-log-explain",
            backends=[],
        )  # fmt: skip
        files = open_files(balancer)
        outages = Outages(balancer, backends)
        door = Door(balancer.tls_port, self.ca, modern=bool(tls.options))
        crowd = Crowd(balancer.port, seed, door=door, share=tls.clients)
        self.addCleanup(crowd.stop)
        reloads.start(balancer)
        self.addCleanup(reloads.stop)
        strangers = [Stranger(door, f"{seed}:{number}") for number in range(2)] if tls.clients else []
        for stranger in strangers:
            self.addCleanup(stranger.stop)
        steps = schedule(seed, SECONDS)
        memory = 0
        for step, wish, renewal in zip(steps, wishes(seed, steps), renewals(seed, len(steps)), strict=True):
            if step is steps[len(steps) // 4]:  # everything has been there once
                memory = balancer.process.rss()
            outages.run(step, wish, lambda how=renewal: renewer.renew(how, balancer))  # type: ignore[misc]
        outcomes = crowd.stop()
        reloads.stop()
        self.assertGreater(reloads.count, SECONDS / 2)
        self.assertEqual(crowd.alive, 0)
        findings = [*reloads.findings, *(finding for outcome in outcomes if (finding := held_against(outcome, outages)))]
        for stranger in strangers:
            stranger.stop()
            findings += stranger.findings
        findings += repeated(outcomes, Counter((self.folder / "once").read_text().split()))
        if findings:
            log = explanations((self.folder / "log").read_text().splitlines())
            left = {name: balancer.pool()[name] for name in ("in_flight", "queue", "retry_budget", "backends")}
            findings = [f"{len(findings)} of {len(outcomes)} requests:", *findings[:40], *log[:10], f"now: {left}"]
            self.fail("\n".join(findings))
        self.assertGreater(sum(outcome.how == "whole" for outcome in outcomes), 20 * SECONDS)
        self.assertLess(balancer.process.rss() - memory, ROOM)
        if tls.clients:
            self.assertGreater(sum(stranger.visits for stranger in strangers), SECONDS)
            self.assertGreater(crowd.resumed, 0)
        eventually("the newest certificate is shown", lambda: shown(door) == renewer.newest)
        self.check_nothing_is_left(balancer, backends, files)
        balancer.stop()

    def secured_backends(self, versions: tuple[str, ...]) -> list[Backend]:
        """Start three, those over TLS for which there is a version."""
        path = write(self.folder, "backend.pem", certificate("localhost").private_key_and_cert_chain_pem)
        backends = [
            Backend(self, name, None, path if version else "", version) for name, version in zip("abc", versions, strict=True)
        ]
        return [backend.ready() for backend in backends]

    def check_nothing_is_left(self, balancer: LoadBalancer, backends: list[Backend], files: int) -> None:
        """No exchange, no tunnel, no connection but those kept for the next exchange, and no file but theirs."""
        eventually("no client's connection is open", lambda: balancer.admin("/status").json()["connections"]["open"] == 0)
        pool = balancer.pool()
        self.assertEqual((pool["in_flight"], [about["in_flight"] for about in pool["backends"]]), (0, [0, 0, 0]))
        metrics = balancer.admin("/metrics").body.decode()
        running = re.findall(r"^lbproxy_(?:pool_in_flight|pool_tunnels|backend_in_flight)\{.*\} (\S+)$", metrics, re.MULTILINE)
        self.assertGreaterEqual(len(running), 1 + len(backends))
        self.assertEqual({float(value) for value in running}, {0.0})

        def idle() -> int:
            return sum(about["idle_connections"] for about in balancer.pool()["backends"])

        # Beside the idle connections, the poll that watches them is open.
        eventually("no file is open that is not needed", lambda: open_files(balancer) <= files + idle() + bool(idle()))
        self.assertLessEqual(idle(), 32 * len(backends))
