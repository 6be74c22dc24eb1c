"""Mirrors: who gets copies, and that nobody feels them."""

from __future__ import annotations

import gc
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.interfaces import IDownstream
from lbproxy.routing.mirror import Copy, Mirroring
from lbproxy.routing.router import counting

from ..support import GET, OK, FakeProbe, Peer, Rig, post, split, status, values
from .passing import FORBIDDEN, Noted, lead

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class MirrorRig(Rig):
    """A rig whose route has a mirror.

    :ivar shadow: the other pool's balancer.
    """

    def __init__(self, *filters: Any, share: float = 100, buffer: int = 1000, most: int = 3, **settings: Any) -> None:
        super().__init__(**settings)
        site = self.resource.site
        pool = Pool(parse_backends(["10.0.9.1:8000"]), name="shadow", seconds=self.reactor.seconds)
        self.shadow = site.add_pool(pool, self.settings, probe=FakeProbe())
        self.counted: dict[str, int] = {}
        self.mirror = Mirroring(self.shadow, share, Random(3), counting(self.counted), buffer=buffer, most=most)
        self.live = lead(self, *filters, shadow=self.mirror)

    def both(self) -> tuple[Peer, Peer]:
        """Both backends accept: the pool's, and the other pool's."""
        first, second = self.accept(), self.accept()
        self.turn()
        return first, second


class MirrorTests(SynchronousTestCase):
    """Copies of requests."""

    def test_interface(self) -> None:
        """A copy is a downstream."""
        verifyClass(IDownstream, Copy)

    def test_a_copy(self) -> None:
        """The other pool gets the same request, with the same id and a mark; its answer goes nowhere."""
        rig = MirrorRig()
        client = rig.client()
        client.send(post(b"body", b"X-Own: 1", b"X-Lbproxy-Mirror: 7"))
        self.assertEqual([connect.address for connect in rig.connects], ["10.0.0.1:8000", "10.0.9.1:8000"])
        backend, other = rig.both()
        asked, copied = backend.received(), other.received()
        self.assertEqual(split(copied)[2], b"body")
        self.assertEqual(values(copied, b"x-request-id"), values(asked, b"x-request-id"))
        self.assertEqual((values(copied, b"x-own"), values(copied, b"x-lbproxy-mirror")), ([b"1"], [b"1"]))
        self.assertEqual(values(copied, b"x-forwarded-for"), [b"192.0.2.7"])
        other.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad")
        self.assertEqual(client.received(), b"")
        backend.send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assertEqual((len(rig.ended), rig.counted, len(rig.mirror.running)), (1, {"mirrored": 1}, 0))
        self.assertEqual((rig.shadow.counters.statuses, rig.shadow.counters.in_flight), ({500: 1}, 0))
        self.assertEqual(rig.live.statuses, {200: 1})

    def test_a_share(self) -> None:
        """So many percent of the requests are copied."""
        rig = MirrorRig(share=25, most=1000)
        client, backend = rig.client(), None
        for _ in range(400):
            client.send(GET)
            if backend is None:
                backend = rig.accept()
            backend.received()
            backend.send(OK)
        self.assertLess(abs(rig.counted["mirrored"] - 100), 30)

    def test_as_the_filters_left_it(self) -> None:
        """The copy is of what goes to the pool; what a filter answers is not copied."""
        rig = MirrorRig(Noted("one", [], lambda: FORBIDDEN))
        client = rig.client()
        client.send(GET)
        self.assertEqual((status(client.received()), rig.connects, rig.counted), (403, [], {}))

    def test_a_body_in_parts(self) -> None:
        """It goes to both as it comes, in chunks or with a length, its end too."""
        for head, parts, end in (
            (CHUNKED, (b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n"), b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
            (post(b"abcde")[:-5], (b"abc", b"de"), b"abcde"),
        ):
            rig = MirrorRig()
            client = rig.client()
            client.send(head)
            backend, other = rig.both()
            for part in parts:
                client.send(part)
            self.assertEqual(split(backend.received())[2], end)
            self.assertEqual(split(other.received())[2], end)
            other.send(OK)
            self.assertEqual(len(rig.mirror.running), 0)

    def test_a_client_that_waits_to_be_asked(self) -> None:
        """The copy does not ask for anything."""
        rig = MirrorRig()
        client = rig.client()
        client.send(post(b"abc", b"Expect: 100-continue")[:-3])
        backend, other = rig.both()
        self.assertEqual((len(values(backend.received(), b"expect")), values(other.received(), b"expect")), (1, []))
        other.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(client.received(), b"")

    def test_upgrades_are_not_copied(self) -> None:
        """A tunnel is nobody else's."""
        rig = MirrorRig()
        rig.client().send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertEqual((len(rig.connects), rig.counted), (1, {"upgrade": 1}))


class NobodyFeelsTests(SynchronousTestCase):
    """A mirror that is slow, full or dead."""

    def test_no_connection(self) -> None:
        """While the other pool is not even connected to, and when it refuses, the client is served."""
        rig = MirrorRig()
        client = rig.client()
        client.send(GET)
        backend, connect = rig.accept(), rig.connect()
        backend.send(OK)
        self.assertEqual(status(client.received()), 200)
        connect.refuse()
        for _ in range(3):
            rig.turn()
            if rig.connects:
                rig.connect().refuse()
        self.assertEqual((len(rig.mirror.running), rig.shadow.counters.statuses), (0, {503: 1}))
        client.send(GET)
        backend.send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assertEqual(len(rig.ended), 2)

    def test_a_slow_mirror(self) -> None:
        """Where it does not take a body, so much is held, then the copy is dropped; the client is never paused."""
        for connected in (True, False):
            rig = MirrorRig(buffer=1000)
            client = rig.client()
            client.send(post(b"x" * 5000)[:-5000])
            backend = rig.accept()
            other = rig.accept() if connected else None
            rig.turn()
            if other is not None:
                other.stop_reading()
            for _ in range(5):
                client.send(b"x" * 1000)
                self.assertFalse(client.unread)
            self.assertEqual(len(split(backend.received())[2]), 5000)
            self.assertEqual((rig.counted, len(rig.mirror.running)), ({"mirrored": 1, "slow": 1}, 0))
            if other is not None:
                self.assertTrue(other.aborted)
            backend.send(OK)
            self.assertEqual(status(client.received()), 200)
            self.assertEqual(rig.shadow.counters.in_flight, 0)

    def test_slow_for_a_while(self) -> None:
        """What is held is sent when it takes more."""
        rig = MirrorRig(buffer=1000)
        client = rig.client()
        client.send(post(b"x" * 900)[:-900])
        _, other = rig.both()
        other.stop_reading()
        client.send(b"x" * 500)
        client.send(b"x" * 400)
        other.read_on()
        self.assertEqual(len(split(other.received())[2]), 900)
        other.send(OK)
        self.assertEqual((rig.counted, len(rig.mirror.running)), ({"mirrored": 1}, 0))

    def test_too_many(self) -> None:
        """There are so many at once; the others are not made."""
        rig = MirrorRig(most=2)
        for _ in range(3):
            rig.client().send(GET)
        self.assertEqual(rig.counted, {"mirrored": 2, "too-many": 1})
        rig.mirror.stop()
        self.assertEqual((len(rig.mirror.running), rig.shadow.counters.in_flight), (0, 0))

    def test_the_client_leaves(self) -> None:
        """A copy whose body will never be whole is dropped; one that is whole goes its way."""
        rig = MirrorRig()
        client = rig.client()
        client.send(post(b"abc")[:-1])
        _, other = rig.both()
        client.reset()
        self.assertTrue(other.aborted)
        self.assertEqual((rig.counted["unfinished"], len(rig.mirror.running)), (1, 0))
        client = rig.client()
        client.send(GET)
        rig.accept()
        other = rig.accept()
        client.reset()
        self.assertEqual((len(rig.mirror.running), other.aborted), (1, False))

    def test_a_mirror_that_dies(self) -> None:
        """A response that breaks off, or is none, is nobody's trouble."""
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", b"", b"nonsense\r\n\r\n"):
            rig = MirrorRig(retries=0)
            client = rig.client()
            client.send(post(b"abc"))
            backend, other = rig.both()
            other.send(answer)
            other.reset()
            rig.turn()
            self.assertEqual((len(rig.mirror.running), rig.shadow.counters.in_flight), (0, 0))
            backend.send(OK)
            self.assertEqual(status(client.received()), 200)

    def test_a_large_answer(self) -> None:
        """It is read, and kept nowhere."""
        rig = MirrorRig()
        client = rig.client()
        client.send(GET)
        backend, other = rig.both()
        other.send(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n")
        for _ in range(30):
            other.send(b"x" * 1000)
        self.assertFalse(other.unread)
        self.assertEqual((rig.shadow.counters.response_bytes, client.received()), (30000, b""))
        backend.send(OK)

    def test_a_mirror_that_fails(self) -> None:
        """An error in it is logged, and the client is served."""
        rig = MirrorRig()

        class Broken:
            def forward(self, exchange: Any) -> None:
                raise RuntimeError("broken")

        rig.mirror.target = Broken()
        client = rig.client()
        client.send(GET)
        rig.accept().send(OK)
        self.assertEqual((status(client.received()), len(rig.mirror.running)), (200, 0))
        self.flushLoggedErrors(RuntimeError)

    def test_an_early_answer(self) -> None:
        """Where the other pool answers before the body's end, the rest goes to the pool alone, and nothing is held."""
        rig = MirrorRig(buffer=10)
        client = rig.client()
        client.send(post(b"x" * 100)[:-90])
        backend, other = rig.both()
        other.send(OK)
        client.send(b"x" * 50)
        client.send(b"x" * 40)
        self.assertEqual(len(split(backend.received())[2]), 100)
        self.assertEqual((rig.counted, len(rig.mirror.running)), ({"mirrored": 1}, 0))

    def test_no_garbage_is_left_for_the_collector(self) -> None:
        """Copies are freed as they end."""
        rig = MirrorRig()
        client = rig.client()
        client.send(GET)
        backend, other = rig.both()

        def answer() -> None:
            for peer in (other, backend):
                peer.received()
                peer.send(OK)
            client.received()
            rig.ended.clear()

        answer()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for _ in range(20):
            client.send(GET)
            answer()
        self.assertEqual(rig.counted["mirrored"], 21)
        self.assertLess(gc.collect(), 20)
