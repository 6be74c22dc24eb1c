"""Promises about exchanges that a second look at them asked for: what counts as a failure, and who hears of it."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

from lbproxy import Policy, policy_maker
from lbproxy.balance.state import Wish

from ..support import GET, OK, Rig, status
from .waiting import ONE, PAIR, SMALL_PAIR, THREE, TWO, WaitsCase


class SecondLook(WaitsCase):
    """Each of these was broken once."""

    def test_a_500_counts_the_same_whole_or_in_parts(self) -> None:
        """It is neither a failure in a row nor the end of one."""
        left = []
        head, body = b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\n", b"oops"
        for parts in ([head + body], [head, body]):
            rig = self.rig(PAIR)
            for _ in range(2):
                rig.balancer.traffic.failed(rig.member(ONE), "lost")
            rig.mark(TWO, up=False)
            self.asks(rig)
            rig.accept().send(*parts)
            left.append(rig.member(ONE).failing)
        self.assertEqual(left, [2, 2])

    def test_a_drained_backends_sessions_do_not_wait_behind_others(self) -> None:
        """Which may not use the place that is free there."""
        rig = self.rig(SMALL_PAIR, sticky="lb", sticky_key=b"k" * 16)
        bound = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: lb=%b\r\n\r\n" % rig.balancer.sticky.token(TWO)  # type: ignore[union-attr]
        rig.pool.wish(Wish(TWO, "drain"))
        self.asks(rig)
        rig.accept().received()
        self.asks(rig, bound)
        two = rig.accept()
        two.received()
        self.asks(rig)
        self.asks(rig, bound)
        self.assertEqual(self.line(rig), 2)
        two.send(OK)
        rig.wait(1)
        self.assertEqual(self.line(rig), 1)

    def test_the_failure_that_is_answered_is_the_last_one(self) -> None:
        """And not that of the attempt that began last, a hedge."""
        rig = self.rig(f"{SMALL_PAIR},{THREE}:max-in-flight=1", retry_on=("reset", "499"), hedge=90.0, retry_budget=100)
        rig.balancer.hedging.delay = 1.0  # type: ignore[union-attr]
        first = self.asks(rig)
        one = rig.accept()
        rig.wait(1.5)
        two = rig.accept()
        self.asks(rig)
        rig.accept()
        two.send(b"HTTP/1.1 499 What\r\nContent-Length: 0\r\n\r\n")
        self.asks(rig)
        one.hang_up()
        rig.wait(1)
        for address in (ONE, TWO, THREE):
            rig.mark(address, up=False)
        self.assertEqual(status(first.received()), 502)

    def test_an_exchange_that_is_over_is_gone_at_once(self) -> None:
        """It refers to nothing that refers to it: a cycle for each would keep the garbage collector busy (measured: 8 % of the
        CPU). Whatever the policy, and whether it has waited or not."""
        gc.disable()
        self.addCleanup(gc.enable)
        for name, settings in (("round-robin", {}), ("hash", {}), ("two-choices", {"attempt_timeout": 9, "sticky": "lb"})):
            rig = Rig(PAIR, policy=policy_maker(name), **settings)
            client = self.asks(rig)
            rig.accept().send(OK)
            self.assertEqual(status(client.received()), 200)
            rig.turn()
            over = ref(rig.ended.pop())
            self.assertIsNone(over(), name)

    def test_a_policy_that_fails_as_an_attempt_begins_loses_no_exchange(self) -> None:
        """It is only told."""

        class Broken(Policy):
            def begun(self, member: Any) -> None:
                raise RuntimeError("a user's")

        rig = self.rig(policy=Broken())
        client = self.asks(rig)
        self.flushLoggedErrors(RuntimeError)
        self.assertEqual(len(rig.connects), 1)
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_a_stale_connection_teaches_a_policy_nothing(self) -> None:
        """It is no success in no time."""
        told: list[tuple[Any, bool]] = []

        class Listening(Policy):
            def ended(self, member: Any, seconds: Any, failed: bool) -> None:
                told.append((seconds, failed))

        rig = self.rig(policy=Listening())
        client, backend = rig.kept_alive()
        rig.wait(1)
        client.send(GET)
        backend.hang_up()
        self.assertEqual(told[1:], [(None, False)])
