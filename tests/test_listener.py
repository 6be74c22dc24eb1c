"""From a description to a listening port."""

from __future__ import annotations

from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.listener import BACKLOG, check_endpoints


class BacklogTests(SynchronousTestCase):
    """A burst of clients waits to be accepted instead of being turned away."""

    def backlog(self, description: str) -> int:
        reactor = MemoryReactorClock()
        (endpoint,) = check_endpoints(reactor, [description])
        endpoint.listen(Factory())
        listening = reactor.tcpServers or reactor.sslServers or reactor.unixServers
        place = listening[0]
        return int(place[3] if reactor.sslServers else place[2])

    def test_the_default_is_ours(self) -> None:
        """For each kind of socket whose description does not say."""
        tcp = ("tcp:8080", "tcp:8080:interface=127.0.0.1", r"tcp:8080:interface=\:\:1")
        for description in (*tcp, "unix:/run/x.sock", "haproxy:tcp:8080"):
            self.assertEqual(self.backlog(description), BACKLOG, description)

    def test_what_the_operator_says_holds(self) -> None:
        """By name or by place."""
        self.assertEqual(self.backlog("tcp:8080:backlog=7"), 7)
        self.assertEqual(self.backlog("tcp:8080:127.0.0.1:9"), 9)
        self.assertEqual(self.backlog("haproxy:tcp:8080:backlog=7"), 7)
