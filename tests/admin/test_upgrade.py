"""A new program can be had to take over; who may not do so brings nothing about."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from lbproxy.upgrade.upgrader import UpgradeResult

from ..support import START, split, status
from .support import SeveralCase

WELL = UpgradeResult(START, True, "", 77)
ILL = UpgradeResult(START + 1, False, "lb.toml:3: retries: 'x' was given\nlb.toml:9: pool: there is none")


class Upgrades:
    """Starts no program: what comes of it is the test's."""

    def __init__(self) -> None:
        self.last: Any = None
        self.running = False
        self.asked: list[Deferred[Any]] = []

    def upgrade(self) -> Deferred[Any]:
        self.asked.append(Deferred())
        return self.asked[-1]


class UpgradeTests(SeveralCase):
    """``/upgrade`` and what ``/status`` says of it."""

    def setUp(self) -> None:
        super().setUp()
        self.upgrades = Upgrades()
        self.admin = self.make_site(writable=True, upgrader=lambda: self.upgrades)

    def answered(self, result: UpgradeResult) -> bytes:
        """The answer to one that comes to this."""
        transport = StringTransport()
        self.begin(transport, "/upgrade")
        self.assertEqual(transport.value(), b"")
        self.upgrades.asked[-1].callback(result)
        data: bytes = transport.value()
        return data

    def test_it_serves(self) -> None:
        """The answer comes when it is decided, and names the new process."""
        response = self.answered(WELL)
        self.assertEqual(status(response), 200)
        expected = {"time": "1970-01-01T00:16:40.000Z", "ok": True, "why": None, "pid": 77}
        self.assertEqual(json.loads(split(response)[2]), expected)

    def test_it_fails(self) -> None:
        """Why is the answer, as text."""
        response = self.answered(ILL)
        self.assertEqual((status(response), split(response)[2].decode()), (422, f"{ILL.why}\n"))

    def test_one_is_under_way(self) -> None:
        """Another one is refused with a clear word."""
        self.upgrades.running = True
        self.assertEqual((status(self.ask("/upgrade")), self.upgrades.asked), (409, []))

    def test_nobody_can(self) -> None:
        """In an application of one's own, for one."""
        self.upgrades = None  # type: ignore[assignment]
        self.assertEqual(status(self.ask("/upgrade")), 404)

    def test_who_may_not(self) -> None:
        """Neither a browser, nor anybody where nothing may be changed, nor a GET."""
        self.assertEqual(status(self.ask("/upgrade", b"", "Origin: http://evil.example")), 403)
        self.assertEqual(status(self.ask("/upgrade", method="GET")), 405)
        self.admin = self.make_site(upgrader=lambda: self.upgrades)
        self.assertEqual(status(self.ask("/upgrade")), 403)
        self.assertEqual(self.upgrades.asked, [])

    def test_a_client_that_leaves(self) -> None:
        """It is done nevertheless, and nobody is answered."""
        transport = StringTransport()
        channel = self.begin(transport, "/upgrade")
        channel.connectionLost(Failure(ConnectionDone()))
        self.upgrades.asked[-1].callback(WELL)
        self.assertEqual(transport.value(), b"")

    def test_status(self) -> None:
        """Tells of the last one; null before the first."""
        self.assertEqual(self.get_json("/status")["upgrade"], None)
        self.upgrades.last = ILL
        told = {"time": "1970-01-01T00:16:41.000Z", "ok": False, "why": ILL.why, "pid": None}
        self.assertEqual(self.get_json("/status")["upgrade"], told)
