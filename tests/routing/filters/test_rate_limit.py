"""Promises of the filter rate-limit."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IFilter
from lbproxy.routing.filters.rate_limit import RateLimit
from lbproxy.testing import FilterConformance, StubPassage

from ...support import GET, status, values
from .filtered import FilteredRig, context


class RateLimitConformance(FilterConformance, SynchronousTestCase):
    """It is a filter."""

    def make_filter(self, context: Any) -> Any:
        return RateLimit(rate=1, burst=20, buckets=10).make(context)


class RateLimitTests(SynchronousTestCase):
    """On values."""

    def setUp(self) -> None:
        self.context, self.counted = context()

    def make(self, **options: Any) -> Any:
        return RateLimit(**{"rate": 1, "burst": 2, **options}).make(self.context)

    def allowed(self, live: Any, *passages: StubPassage) -> list[bool]:
        """Of each, asked about once, whether it goes on."""
        return [live.request(passage) is None for passage in passages]

    def test_it_provides_the_interface(self) -> None:
        """As a filter of anybody's."""
        verifyObject(IFilter, self.make())

    def test_clients_are_told_apart(self) -> None:
        """By their addresses."""
        live = self.make(burst=1)
        asked = self.allowed(live, *(StubPassage(client=address) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2")))
        self.assertEqual(asked, [True, False, True])
        self.assertEqual(self.counted, {"limited": 1})

    def test_a_network_of_ipv6_is_one_client(self) -> None:
        """64 bits of it, or as many as are said."""
        addresses = ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1")
        passages = [StubPassage(client=address) for address in addresses]
        self.assertEqual(self.allowed(self.make(burst=1), *passages), [True, False, True])
        self.assertEqual(self.allowed(self.make(burst=1, prefix_v6=128), *passages), [True, True, True])
        self.assertEqual(self.allowed(self.make(burst=1, prefix_v6=48), *passages), [True, False, False])

    def test_other_keys(self) -> None:
        """A field, a cookie, or any other part of the request; those without it share a bucket."""
        for by, first, second in (
            ("header:X-Api-Key", {"X-Api-Key": "1"}, {"X-Api-Key": "2"}),
            ("cookie:user", {"Cookie": "user=1"}, {"Cookie": "user=2"}),
        ):
            one, two, none = (StubPassage(fields=fields) for fields in (first, second, {}))
            asked = self.allowed(self.make(burst=1, by=by), one, one, two, none, none)
            self.assertEqual(asked, [True, False, True, True, False], by)

    def test_long_keys_take_no_room(self) -> None:
        """They are told apart, and kept as hashes."""
        live = self.make(burst=1, by="header:X-Api-Key")
        passages = [StubPassage(fields={"X-Api-Key": "k" * 5000 + end}) for end in ("1", "2", "1")]
        self.assertEqual(self.allowed(live, *passages), [True, True, False])
        self.assertTrue(all(len(key) < 65 for key in live._buckets._full_at))

    def test_a_route_is_one_bucket(self) -> None:
        """For all its clients; another route that has the same filter has another."""
        live = self.make(burst=1, by="route")
        passages = [
            StubPassage(client=address, route=route)
            for address, route in (("192.0.2.1", "a"), ("192.0.2.2", "a"), ("192.0.2.1", "b"))
        ]
        self.assertEqual(self.allowed(live, *passages), [True, False, True])

    def test_a_burst_is_a_second_of_the_rate(self) -> None:
        """Where nothing is said of it."""
        for rate, burst in ((0.5, 1), (1, 1), (2.5, 3), (10, 10)):
            self.assertEqual(self.allowed(self.make(rate=rate, burst=0), *[StubPassage()] * 20).count(True), burst)

    def test_the_limit_of_buckets_is_counted(self) -> None:
        """When it struck."""
        live = self.make(buckets=2)
        self.allowed(live, *(StubPassage(client=f"192.0.2.{number}") for number in range(5)))
        self.assertEqual(self.counted, {"forgotten": 3})

    # Dry run.

    def test_a_dry_run_refuses_nobody(self) -> None:
        """It counts, tells no client, and says so once a minute."""
        live = self.make(dry_run=True, burst=1)
        passage = StubPassage()
        with capturedLogs() as logs:
            self.assertEqual(self.allowed(live, *[passage] * 5), [True] * 5)
            self.assertEqual(len(logs), 1)
            self.context.reactor.advance(60)
            self.allowed(live, passage, passage)
            self.assertEqual(len(logs), 2)
        self.assertEqual(self.counted, {"would-limit": 5})
        self.assertEqual(passage.respond(live).fields, b"")

    # Reload.

    def test_buckets_live_on(self) -> None:
        """Over a reload that changes rate and burst; not over one that changes the keys."""
        old = self.make(burst=5)
        self.allowed(old, *[StubPassage()] * 5)
        for options, allowed in (({"burst": 7}, 2), ({"burst": 7, "rate": 9}, 0), ({"by": "path", "burst": 7}, 7)):
            new = self.make(**options)
            new.take_over(old)
            self.assertEqual(self.allowed(new, *[StubPassage()] * 10).count(True), allowed, options)

    # Mistakes.

    def test_mistakes(self) -> None:
        """Each names the key, what was given and what is allowed."""
        for options, said in (
            ({"rate": 0}, "rate: 0 was given; allowed is a number from 1e-05 to 1000000 (requests a second)"),
            ({"rate": "5"}, "rate: '5' was given"),
            ({"burst": -1}, "burst: -1 was given; allowed is a whole number from 0 to 1000000"),
            ({"by": "header:"}, "by: 'header:' was given; allowed is client, route or a request key: ip, uri, path, header:NAME"),
            ({"by": 3}, "by: 3 was given"),
            ({"prefix_v6": 0}, "prefix-v6: 0 was given; allowed is a whole number from 1 to 128 (bits)"),
            ({"dry_run": 1}, "dry-run: 1 was given; allowed is a truth value"),
            ({"policy": 'a"'}, "policy: 'a\"' was given; allowed is a name"),
            ({"buckets": 0}, "buckets: 0 was given"),
            ({"status": 200}, "status: 200 was given"),
        ):
            error = self.assertRaises(ConfigurationError, RateLimit, **{"rate": 1, **options})
            self.assertIn(said, str(error))


class BalancerTests(SynchronousTestCase):
    """Through a whole balancer."""

    def test_fields_on_every_answer(self) -> None:
        """A backend's has them, and a refusal, with Retry-After besides."""
        rig = FilteredRig(RateLimit(rate=0.1, burst=2, policy="shop"))
        client = rig.begin(GET)
        answer = rig.answered(client)[1]
        self.assertEqual(values(answer, b"RateLimit-Policy"), [b'"shop";q=2;w=20'])
        self.assertEqual(values(answer, b"RateLimit"), [b'"shop";r=1;t=10'])
        rig.turn()
        rig.begin(GET)
        refused = rig.begin(GET).received()
        self.assertEqual(status(refused), 429)
        self.assertEqual(values(refused, b"RateLimit-Policy"), [b'"shop";q=2;w=20'])
        self.assertEqual(values(refused, b"RateLimit"), [b'"shop";r=0;t=10'])
        self.assertEqual(values(refused, b"Retry-After"), [b"10"])
        self.assertEqual((rig.ended[-1].end, rig.ended[-1].attempts), ("rate-limited", []))

    def test_the_fields_can_be_left_out(self) -> None:
        """And another status chosen."""
        rig = FilteredRig(RateLimit(rate=0.1, burst=1, fields=False, status=503))
        self.assertNotIn(b"RateLimit", rig.answered(rig.begin(GET))[1])
        refused = rig.begin(GET).received()
        self.assertEqual((status(refused), values(refused, b"Retry-After"), b"RateLimit" in refused), (503, [], False))

    def test_two_limits_of_a_route(self) -> None:
        """Each says its own; who is refused by the second learns both."""
        rig = FilteredRig(RateLimit(rate=9, policy="fast"), RateLimit(rate=0.1, burst=1, policy="slow"))
        rig.answered(rig.begin(GET))
        refused = rig.begin(GET).received()
        self.assertEqual(values(refused, b"RateLimit"), [b'"slow";r=0;t=10', b'"fast";r=7;t=1'])
