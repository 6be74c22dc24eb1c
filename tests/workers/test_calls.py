"""What is told to pools of other processes: it comes through as it was, and brings any pool to the same."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.known import Known
from lbproxy.balance.policy import Policy
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import WISHES, Verdict, Wish
from lbproxy.settings import Settings
from lbproxy.workers.calls import Call, Sender, plain_backends, read_backends, snapshot, tell

from ..support import START, given
from .support import known

_SURROGATES = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)  # what os.fsdecode makes of other bytes
TEXTS = st.text(st.characters() | _SURROGATES, max_size=20)
PLACES = st.one_of(
    st.tuples(st.sampled_from(("10.0.0.1", "app.example", "::1", "fe80::1%eth0")), st.integers(1, 65535)),
    st.tuples(TEXTS.map(lambda path: f"/{path}"), st.none()),
)
PLAIN = st.builds(
    lambda place, **options: Backend(*place, **options),
    PLACES,
    weight=st.integers(1, 1000),
    tier=st.integers(0, 100),
    max_in_flight=st.integers(0, 1_000_000),
    proxy_protocol=st.integers(0, 2),
)
OVER_TLS = st.builds(
    lambda host, port, **options: Backend(host, port, tls=True, **options),
    st.sampled_from(("10.0.0.1", "app.example", "::1")),
    st.integers(1, 65535),
    verify=st.booleans(),
    verify_name=st.sampled_from(("other.example", "192.0.2.1", "2001:db8::1")),
)
BACKENDS = PLAIN | OVER_TLS
ADDRESSES = ("a:1", "b:1", "c:1", "d:1")
_address = st.sampled_from(ADDRESSES)
_about = st.sampled_from(("connect", "answers"))
#: What a pool may be told.
HISTORY = st.lists(
    st.one_of(
        st.builds(Verdict, _address, st.booleans(), TEXTS, st.sampled_from(("probe", "traffic")), _about),
        st.builds(Wish, _address, st.sampled_from(WISHES), TEXTS),
        st.lists(
            st.builds(
                lambda name, **options: Backend(name, 1, **options),
                st.sampled_from("abcd"),
                weight=st.integers(1, 5),
                tier=st.integers(0, 2),
                max_in_flight=st.integers(0, 3),
            ),
            min_size=1,
            unique_by=lambda backend: backend.address,
        ),
        st.floats(0.1, 50),
    ),
    max_size=30,
)


class Clock:
    """The time of a test."""

    now = START


class CallCase(SynchronousTestCase):
    """Pools that are told things."""

    def pool(self, history: list[Any], **settings: Any) -> Pool:
        """One that was told all this."""
        pool = Pool(parse_backends(["a:1,b:1"]), seconds=lambda: Clock.now, settings=Settings(**settings))
        for told in history:
            if isinstance(told, Verdict):
                pool.apply(told)
            elif isinstance(told, Wish):
                pool.wish(told)
            elif isinstance(told, list):
                pool.set_backends(told)
            else:
                Clock.now += told
                pool.tick()
        return pool

    def tell(self, pool: Pool, calls: list[Call]) -> None:
        """Over JSON, as a link does it."""
        for call in json.loads(json.dumps(calls)):
            tell({pool.name: pool}, call)


class Values(CallCase):
    """What they are made of."""

    @given(st.lists(BACKENDS, max_size=5))
    def test_backends_come_through(self, backends: list[Backend]) -> None:
        """Whatever was said of them, and wherever they are: Unix sockets of any name, IPv6, all options."""
        self.assertEqual(read_backends(json.loads(json.dumps(plain_backends(backends)))), backends)

    @given(TEXTS, TEXTS)
    def test_reasons_come_through(self, probed: str, wished: str) -> None:
        """Whatever a backend or an operator wrote into them."""
        there, here = self.pool([]), self.pool([])
        calls: list[Call] = []
        there.followers.append(Sender(there, calls.append))
        there.apply(Verdict("a:1", False, probed, "probe"))
        there.wish(Wish("b:1", "drain", wished or "so"))
        self.tell(here, calls)
        self.assertEqual(here.members["a:1"].reason, probed)
        self.assertEqual(here.members["b:1"].evidence["operator"], wished or "so")


class Snapshots(CallCase):
    """The calls that bring a pool to what another one is."""

    @given(HISTORY, HISTORY, st.sampled_from((0, 30)), st.sampled_from((0, 60)))
    def test_it_brings_any_pool_to_the_same(self, there: list[Any], here: list[Any], slow: int, panic: int) -> None:
        """Whatever either was told before: the same backends in the same order, with the same health, wishes and reasons."""
        pool = self.pool(there, slow_start=slow, panic=panic)
        other = self.pool(here, slow_start=slow, panic=panic)
        self.tell(other, snapshot(pool))
        for one in (pool, other):
            one.tick()
        self.assertEqual(known(other), known(pool))
        self.assertEqual(other.panicking, pool.panicking)
        self.assertEqual([one.weight for one in other.members.values()], [one.weight for one in pool.members.values()])

    @given(HISTORY, HISTORY)
    def test_what_follows_it_keeps_them_the_same(self, before: list[Any], after: list[Any]) -> None:
        """One that is told all from then on stays as the other is."""
        pool, other = self.pool(before), self.pool([])
        calls = snapshot(pool)
        pool.followers.append(Sender(pool, calls.append))
        for told in after:
            if isinstance(told, list):
                pool.set_backends(told)
            elif not isinstance(told, float):
                pool.apply(told) if isinstance(told, Verdict) else pool.wish(told)
        self.tell(other, calls)
        self.assertEqual(known(other), known(pool))

    def test_what_changed_nothing_is_not_said(self) -> None:
        """A probe that finds the same again is no news to anybody; one that left and came back is said anew."""
        pool = self.pool([])
        calls: list[Call] = []
        pool.followers.append(Sender(pool, calls.append))
        for _ in range(3):
            pool.apply(Verdict("a:1", False, "why", "probe"))
        self.assertEqual(len(calls), 1)
        both = [member.backend for member in pool.members.values()]
        pool.set_backends(both[1:])
        pool.set_backends(both)
        pool.apply(Verdict("a:1", False, "why", "probe"))
        self.assertEqual([call[1] for call in calls], ["know", "set_backends", "set_backends", "know"])


class Unmakable(Policy):
    """A user's policy that can be made once."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        Unmakable.made += 1
        if Unmakable.made > 1:
            raise ZeroDivisionError


class Telling(CallCase):
    """What cannot be done is no harm."""

    def test_strangers(self) -> None:
        """A pool that is not there, a backend that is not in it."""
        pool = self.pool([])
        before = known(pool)
        stranger = snapshot(Pool([Backend("z", 9)]))[1]
        for call in (["elsewhere", *stranger[1:]], stranger, ["elsewhere", "set_backends", {}]):
            self.tell(pool, [call])
        self.assertEqual(known(pool), before)

    def test_a_call_that_there_is_not(self) -> None:
        """It is logged, and what follows is heard."""
        pool = self.pool([])
        known_down = Known.of(self.pool([Verdict("a:1", False, "why", "probe")]).members["a:1"])
        calls: list[Call] = [["default", "explode", {}], ["default", "know", {"odd": 1}]]
        other = self.pool([Verdict("a:1", False, "why", "probe")])
        self.tell(pool, [*calls, *snapshot(other)])
        self.assertEqual(Known.of(pool.members["a:1"]), known_down)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_a_pool_that_refuses_its_backends(self) -> None:
        """What follows, for this pool and others, is heard all the same."""
        Unmakable.made = 0
        pools = {name: Pool(parse_backends(["a:1,b:1"]), name=name, policy=Unmakable if name == "x" else None) for name in "xy"}
        source = Pool(parse_backends(["a:1,b:1:tier=1"]), name="x")
        source.apply(Verdict("a:1", False, "why", "probe"))
        for name in "xy":
            source.name = name
            for call in snapshot(source):
                tell(pools, call)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([member.up for pool in pools.values() for member in pool.members.values()], [False, True] * 2)
