"""Every policy of ours keeps the promises that :mod:`lbproxy.testing` tests."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.balance.first import First
from lbproxy.balance.hashing import Hash
from lbproxy.balance.least_connections import LeastConnections
from lbproxy.balance.peak_ewma import PeakEwma
from lbproxy.balance.random_choice import RandomChoice
from lbproxy.balance.round_robin import RoundRobin
from lbproxy.balance.two_choices import TwoChoices
from lbproxy.http1.keys import request_key
from lbproxy.interfaces import IPolicy
from lbproxy.testing import PolicyConformance
from lbproxy.testing.traffic import OPERATIONS

from ..support import given

operations = st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 999)), max_size=60)


class BuiltIn(PolicyConformance):
    """The kit, for a policy of ours."""

    def test_it_is_a_policy(self) -> None:
        """It has all that a pool asks for."""
        self.assertTrue(verifyObject(IPolicy, self.make_policy(Random(0), lambda: 0.0)))


class RoundRobinTests(BuiltIn, SynchronousTestCase):
    """``round-robin``"""

    share_tolerance = 0.001

    def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
        return RoundRobin()


class LeastConnectionsTests(BuiltIn, SynchronousTestCase):
    """``least-connections``"""

    def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
        return LeastConnections()


class RandomChoiceTests(BuiltIn, SynchronousTestCase):
    """``random``"""

    def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
        return RandomChoice(random)


class TwoChoicesTests(BuiltIn, SynchronousTestCase):
    """``two-choices``"""

    def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
        return TwoChoices(random)


class PeakEwmaTests(BuiltIn, SynchronousTestCase):
    """``peak-ewma``, which in an idle pool prefers whoever has the lower latency for its weight"""

    weighted = False

    def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
        return PeakEwma(random, seconds)


class FirstTests(BuiltIn, SynchronousTestCase):
    """``first``"""

    weighted = busy = False

    def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
        return First()


class HashTests(BuiltIn, SynchronousTestCase):
    """``hash``"""

    keyed = True

    def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
        return Hash(request_key("ip"))


class RendezvousTests(HashTests):
    """``hash:method=rendezvous``, which is no choice for a thousand members"""

    cost_growth = 1000.0

    def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
        return Hash(request_key("query:key"), method="rendezvous")


class RingTests(HashTests):
    """``hash:method=ring``"""

    share_tolerance = 0.05

    def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
        return Hash(request_key("cookie:key"), method="ring")


class BoundedTests(HashTests):
    """``hash:bound=1.25``"""

    keyed = False  # only where it is within the bound

    def make_policy(self, random: Random, seconds: Callable[[], float]) -> IPolicy:
        return Hash(request_key("uri"), bound=1.25)


CASES = (
    RoundRobinTests,
    LeastConnectionsTests,
    RandomChoiceTests,
    TwoChoicesTests,
    PeakEwmaTests,
    FirstTests,
    RendezvousTests,
    RingTests,
    BoundedTests,
)


class AnyOrderTests(SynchronousTestCase):
    """Hypothesis with the kit's operations."""

    @given(st.sampled_from(CASES), operations)
    def test_operations_in_any_order(self, case: type[BuiltIn], operations: list[tuple[str, int]]) -> None:
        """Whatever happens, candidates are the members, each once, and nothing is raised."""
        case("check_operations").check_operations(operations)
