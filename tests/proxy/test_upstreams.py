"""Promises about connections to backends: which one serves, how many are kept, and for how long."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import parse_backends

from ..support import GET, OK, Peer, Rig, post


class Idle(SynchronousTestCase):
    """Connections that wait for the next exchange."""

    def many(self, rig: Rig, count: int) -> list[Peer]:
        """So many connections to the backend, released in this order."""
        for _ in range(count):
            rig.client().send(GET)
        backends = [rig.accept() for _ in range(count)]
        for backend in backends:
            backend.send(OK)
            backend.received()
        return backends

    def test_the_newest_serves_first(self) -> None:
        """The oldest is the likeliest to be closed by its backend just now."""
        rig = Rig()
        backends = self.many(rig, 3)
        for _ in range(2):
            rig.client().send(GET)
        self.assertEqual([bool(backend.received()) for backend in backends], [False, True, True])
        self.assertEqual(rig.connects, [])

    def test_so_many_are_kept_and_no_more(self) -> None:
        """32 for a backend; beyond them the oldest is closed."""
        rig = Rig()
        backends = self.many(rig, 34)
        self.assertEqual([backend.closed for backend in backends], [True, True] + [False] * 32)
        self.assertEqual(rig.balancer.upstreams.idle_count("10.0.0.1:8000"), 32)

    def test_how_many_is_a_setting(self) -> None:
        """None at all, if the operator says so."""
        rig = Rig(upstream_idle=0)
        self.assertEqual([backend.closed for backend in self.many(rig, 2)], [True, True])

    def test_one_is_kept_for_60_seconds(self) -> None:
        """Less than most backends keep it."""
        rig = Rig()
        (backend,) = self.many(rig, 1)
        rig.wait(58)
        self.assertFalse(backend.closed)
        rig.wait(4)
        self.assertTrue(backend.closed)
        self.assertEqual(rig.balancer.upstreams.idle_count("10.0.0.1:8000"), 0)

    def test_one_that_its_backend_closed_is_forgotten(self) -> None:
        """The next exchange goes over a new one."""
        rig = Rig()
        (backend,) = self.many(rig, 1)
        backend.hang_up()
        rig.client().send(GET)
        self.assertEqual(len(rig.connects), 1)

    def test_one_that_is_being_closed_serves_no_more(self) -> None:
        """In the turn in which we close it, a request that comes then still goes over a new one."""
        rig = Rig()
        (backend,) = self.many(rig, 1)
        backend.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
        rig.client().send(post(b"hello"))
        self.assertEqual((len(rig.connects), backend.received()), (1, b""))

    def test_one_whose_time_is_over_serves_no_more(self) -> None:
        """Nor does one that the sweep is just closing."""
        rig = Rig()
        (backend,) = self.many(rig, 1)
        rig.reactor.rightNow += 61
        rig.balancer.sweep.sweep()
        rig.client().send(post(b"hello"))
        self.assertEqual((len(rig.connects), backend.received()), (1, b""))

    def test_stopping_closes_them(self) -> None:
        """Those that are idle at once, one in use when its exchange is over."""
        rig = Rig()
        idle, busy = self.many(rig, 2)
        client = rig.client()
        client.send(GET)
        rig.resource.stop()
        self.assertEqual((idle.closed, busy.closed), (True, False))
        busy.send(OK)
        self.assertTrue(client.received().endswith(b"ok"))
        self.assertTrue(busy.closed)

    def test_those_to_a_backend_that_leaves_are_closed(self) -> None:
        """Nobody will use them; one in use serves its exchange, and one to a backend that stays goes on."""
        rig = Rig("10.0.0.1:8000,10.0.0.2:8000")
        client, stays = rig.kept_alive()
        leaves = rig.kept_alive()[1]
        rig.pool.set_backends(parse_backends(["10.0.0.1:8000,10.0.0.3:8000"]))
        self.assertEqual((stays.closed, leaves.closed), (False, True))
        client.send(GET)
        self.assertTrue(stays.received().startswith(b"GET"))

    def test_one_made_without_a_proxy_header_is_not_used_once_there_is_to_be_one(self) -> None:
        """The backend would take the balancer for the client, or read the request as one more of another's."""
        rig = Rig()
        client, backend = rig.kept_alive()
        rig.pool.set_backends(parse_backends(["10.0.0.1:8000:proxy-protocol=v1"]))
        client.send(GET)
        self.assertEqual((backend.received(), len(rig.connects)), (b"", 1))


class Separate(SynchronousTestCase):
    """Each connection leads to one backend and stays with it."""

    def test_two_backends_never_share(self) -> None:
        """However exchanges are mixed, each goes over a connection to the backend it was balanced to."""
        rig = Rig("10.0.0.1:8000,10.0.0.2:8000")
        for _ in range(2):
            rig.client().send(GET)
        backends = {connect.address: connect for connect in rig.connects}
        peers = {address: connect.accept() for address, connect in backends.items()}
        for peer in peers.values():
            peer.received()
            peer.send(OK)
        for number in range(6):
            rig.client().send(GET.replace(b"/ ", b"/%d " % number))
            attempt_at = ["10.0.0.1:8000", "10.0.0.2:8000"][number % 2]
            got = {address: peer.received() for address, peer in peers.items()}
            self.assertTrue(got.pop(attempt_at).startswith(b"GET /%d" % number))
            self.assertEqual([*got.values()], [b""])
            peers[attempt_at].send(OK)

    def test_one_on_another_port_is_another(self) -> None:
        """The address is host and port."""
        rig = Rig("10.0.0.1:8000,10.0.0.1:8001")
        rig.kept_alive()
        rig.client().send(GET)
        self.assertEqual([connect.address for connect in rig.connects][-1], "10.0.0.1:8001")
