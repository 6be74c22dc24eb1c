"""Promises about balancing through ``twisted.web``: what waits, is tried again, bound or explained there is as through our own
listener."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from lbproxy.proxy.waits import Waits

from .support import GET, OK, Peer, Rig, post, split, status, values

SMALL = "10.0.0.1:8000:max-in-flight=1"
PAIR = "10.0.0.1:8000,10.0.0.2:8000"
#: More than ``twisted.web`` keeps in memory, and than is handed over in one turn.
LARGE = post(b"x" * 200_000)


class Greeting(Resource):
    """An application's resource that sets a cookie of its own before ours is asked."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def getChild(self, path: bytes, request: Any) -> Any:
        request.addCookie(b"own", b"1")
        return self.inner


class WebCase(SynchronousTestCase):
    """A site whose root is, or leads to, a balancer."""

    def rig(self, backends: str, root: Any = None, **settings: Any) -> Rig:
        rig = Rig(backends, **settings)
        rig.balancer.start()
        self.site = Site(rig.resource if root is None else root(rig.resource), reactor=rig.reactor)
        return rig

    def asks(self, rig: Rig, data: bytes = GET) -> Peer:
        """A client comes and asks."""
        client = Peer(rig.reactor).attach(self.site.buildProtocol(None))
        client.send(data)
        return client

    def full(self, **settings: Any) -> tuple[Rig, Peer]:
        """A rig whose one place is taken, and the backend that it is at."""
        rig = self.rig(SMALL, **settings)
        self.asks(rig)
        backend = rig.accept()
        backend.received()
        return rig, backend


class Waiting(WebCase):
    """Requests for which no backend has a place free."""

    def test_who_leaves_waits_no_longer(self) -> None:
        """Its body is not waited for either; the next one is served, and nothing is left."""
        rig, backend = self.full()
        leaving, staying = self.asks(rig, LARGE), self.asks(rig)
        self.assertEqual(len(rig.balancer.line.waiting), 2)
        leaving.reset()
        self.assertEqual(len(rig.balancer.line.waiting), 1)
        backend.send(OK)
        self.assertTrue(backend.received().startswith(b"GET "))
        backend.send(OK)
        self.assertEqual((status(staying.received()), rig.counters.in_flight), (200, 0))
        self.assertEqual([one for one in rig.balancer.sweep.watched if isinstance(one, Waits)], [])

    def test_a_body_waits_with_its_request(self) -> None:
        """All of it reaches the backend once there is a place."""
        rig, backend = self.full()
        client = self.asks(rig, LARGE)
        rig.wait(1)
        backend.send(OK)
        for _ in range(10):
            rig.turn()
        self.assertEqual(len(split(backend.received())[2]), 200_000)
        backend.send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_waiting_in_vain(self) -> None:
        """503 with Retry-After; to HEAD without a body."""
        rig, _ = self.full(queue_timeout=1)
        client = self.asks(rig, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        rig.wait(3)
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"Retry-After"), split(answer)[2]), (503, [b"1"], b""))


class Fields(WebCase):
    """What is added to a backend's response."""

    def test_cookies_and_the_explanation(self) -> None:
        """The session's cookie stands beside the backend's and the application's; the explanation tells of all attempts, and is
        ours."""
        rig = self.rig(PAIR, Greeting, sticky="lb", retry_on=("503",), trusted_proxies=["192.0.2.0/24"])
        client = self.asks(rig, b"GET / HTTP/1.1\r\nHost: a\r\nX-Lbproxy-Explain: 1\r\n\r\n")
        fields = b"Content-Length: 2\r\nSet-Cookie: its=%b\r\nX-Lbproxy-Explain: forged\r\n\r\nok"
        rig.accept().send(b"HTTP/1.1 503 Busy\r\n" + fields % b"1")
        rig.accept().send(b"HTTP/1.1 200 OK\r\n" + fields % b"2")
        answer = client.received()
        names = [cookie.partition(b"=")[0] for cookie in values(answer, b"Set-Cookie")]
        self.assertEqual((status(answer), sorted(names)), (200, [b"its", b"lb", b"own"]))
        (told,) = values(answer, b"X-Lbproxy-Explain")
        self.assertEqual([attempt["end"] for attempt in json.loads(told)["attempts"]], ["status", "answered"])
