"""What an embedder needs to test an application that balances, without sockets and without waiting.

:class:`MemoryBackends` is a reactor, a clock and a network in memory: a connection to a backend's address reaches a
:class:`FakeBackend`, which serves a ``twisted.web`` resource (or answers fixed bytes) and fails in the ways that backends fail.
Nothing moves until :meth:`~MemoryBackends.settle` or :meth:`~MemoryBackends.advance` is called, so a test decides what happens
when. With treq's in-memory client on the other side::

    from lbproxy import LoadBalancerResource
    from lbproxy.testing import FakeBackend, Fault, MemoryBackends
    from treq.testing import StubTreq
    from twisted.trial.unittest import SynchronousTestCase

    class ShopTests(SynchronousTestCase):
        def test_a_dead_backend_is_not_noticed(self):
            dead = FakeBackend("10.0.0.1:8000", fault=Fault.REFUSE)
            well = FakeBackend("10.0.0.2:8000", ShopResource())
            reactor = MemoryBackends(dead, well)
            client = StubTreq(LoadBalancerResource(reactor.pool(), reactor=reactor))

            asking = client.get("http://shop.example/cart")
            reactor.settle()  # to the backends and back
            client.flush()  # back to the client

            self.assertEqual(self.successResultOf(asking).code, 200)

The other names stand in for one part each: :class:`StubProbe` for a probe, :class:`RecordingObserver` for an access log,
:class:`FakeDownstream` for a listener.

:class:`PolicyConformance` tests a policy of your own, :class:`FilterConformance` a filter, through which a :class:`StubPassage`
can be sent by hand.
"""

from __future__ import annotations

from .backends import FakeBackend, Fault, MemoryBackends
from .conformance import PolicyConformance
from .filters import FilterConformance, StubPassage
from .stubs import FakeDownstream, ProbeFailed, RecordingObserver, StubProbe

__all__ = [
    "FakeBackend",
    "FakeDownstream",
    "Fault",
    "FilterConformance",
    "MemoryBackends",
    "PolicyConformance",
    "ProbeFailed",
    "RecordingObserver",
    "StubPassage",
    "StubProbe",
]
