"""What differs between two configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import attrs
from hypothesis import strategies
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend
from lbproxy.config.differences import KINDS, Difference, differences, unchangeable
from lbproxy.config.model import AccessLogFile, Certificates, Configuration, PoolConfiguration
from lbproxy.health.spec import ProbeSpec
from lbproxy.routing.model import FixedAnswer, Match, Mirror, Route, Split
from lbproxy.settings import Settings
from tests.support import given


@attrs.frozen(kw_only=True)
class _Limit:
    """A filter, as far as differences look at it."""

    type: ClassVar[str] = "rate-limit"
    rate: float = 10
    set: dict[str, str] = attrs.field(factory=dict)
    key: str = attrs.field(default="", repr=False)


_A, _B = Backend("10.0.0.1", 8000), Backend("10.0.0.2", 8000)


def pool(*backends: Backend, name: str = "app", **more: Any) -> PoolConfiguration:
    """A pool."""
    return PoolConfiguration(name=name, backends=backends, **more)


def told(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs, in words."""
    found = differences(Configuration(**old), Configuration(**new))
    assert all(one.kind in KINDS for one in found)
    return [str(one) for one in found]


class DifferencesTests(SynchronousTestCase):
    """In an operator's words, and only what differs."""

    def test_what_is_equal_does_not_differ(self) -> None:
        """However it was made."""
        one, other = (Configuration(pools=(pool(_A),), routes=(Route(name="a", pool="app"),)) for _ in range(2))
        self.assertEqual(differences(one, other), [])

    def test_listeners_open_and_close(self) -> None:
        """Those that stay are not told of, whether they speak TLS is."""
        self.assertEqual(
            told({"listen": ("tcp:80", "tcp:81")}, {"listen": ("tcp:81", "tcp:82"), "tls_listen": ("tcp:443",)}),
            [
                "listener tcp:80 is closed",
                "listener tcp:82 is opened",
                "listener by default (TLS) is closed",
                "listener tcp:443 (TLS) is opened",
            ],
        )
        self.assertEqual(
            told({"listen": ("tcp:1", "tcp:2")}, {"listen": ("tcp:2", "tcp:1")}), ["another order of listeners: tcp:2, tcp:1"]
        )

    def test_what_is_said_of_the_site(self) -> None:
        """Each of it by its key."""
        log = AccessLogFile(path="-")
        self.assertEqual(
            told(
                {"access_log": log, "certificates": Certificates(files=("a.pem",)), "default_filters": ("limit",)},
                {
                    "access_log": attrs.evolve(log, path="a.log", explain=True),
                    "admin": "tcp:81",
                    "settings": Settings(head_limit=32768, trusted_proxies=("10.0.0.0/8",)),
                    "state_file": "state.json",
                    "watch": True,
                },
            ),
            [
                "certificates: a.pem -> none",
                "admin: admin none -> tcp:81",
                "access-log: path - -> a.log",
                "access-log: explain no -> yes",
                "settings: head-limit 16384 -> 32768",
                "settings: trusted-proxies none -> 10.0.0.0/8",
                "default-filters: limit -> none",
                "state-file: none -> state.json",
                "watch: no -> yes",
            ],
        )

    def test_workers(self) -> None:
        """How many there are is no affair of a reload, which is said."""
        how = "it can be changed by an upgrade (SIGUSR2, POST /upgrade) or a restart, not by a reload"
        self.assertEqual(
            told({}, {"workers": 4, "worker_heartbeat": 0.5}), [f"workers: 1 -> 4 ({how})", "worker-heartbeat: 5 -> 0.5"]
        )
        one, two, silent = Configuration(), Configuration(workers=2), Configuration(worker_heartbeat=9)
        self.assertEqual([str(problem) for problem in unchangeable(two, one)], [f"workers: {how}"])
        self.assertEqual(unchangeable(one, silent), [])

    def test_pools_come_and_leave_and_change(self) -> None:
        """Their settings, probes and backends, each by itself."""
        old = pool(_A, _B, settings=Settings(retries=3))
        new = pool(
            attrs.evolve(_B, weight=5, tier=1),
            Backend("app.example", 443, tls=True),
            settings=Settings(retries=2),
            policy="two-choices",
            probe=ProbeSpec.parse("http:/healthz"),
        )
        self.assertEqual(
            told({"pools": (old, pool(_A, name="old"))}, {"pools": (new, pool(_A, name="new"))}),
            [
                "pool old leaves (10.0.0.1:8000)",
                "pool new comes (10.0.0.1:8000)",
                "pool app: backend 10.0.0.1:8000 leaves",
                "pool app: backend app.example:443 comes",
                "pool app: backend 10.0.0.2:8000: weight 1, tier 0 -> weight 5, tier 1",
                "pool app: retries 3 -> 2",
                "pool app: policy round-robin -> two-choices",
                "pool app: probe.path none -> /healthz",
                "pool app: probe.scheme none -> http",
            ],
        )
        self.assertEqual(
            told({"pools": (pool(_A, _B),)}, {"pools": (pool(_B, _A),)}),
            ["pool app: another order of backends: 10.0.0.2:8000, 10.0.0.1:8000"],
        )
        self.assertEqual(
            told({"pools": (pool(_A), pool(_B, name="b"))}, {"pools": (pool(_B, name="b"), pool(_A))}),
            ["another order of pools: b, app"],
        )
        self.assertEqual(
            told({}, {"pools": (pool(backends_file="members.json"),)}), ["pool app comes (backends of members.json)"]
        )

    def test_routes_come_and_leave_and_change(self) -> None:
        """What they match, where they lead, and their own filters."""
        a = Route(name="a", match=Match(host="a.example", header={"X-A": "1"}), pool="app", filters=("limit", _Limit()))
        changed = Route(
            name="a",
            match=Match(host="a.example", header={"X-A": "2"}, path_prefix=["/x", "/y"]),
            split=Split(pools={"app": 9, "new": 1}),
            mirror=Mirror(pool="shadow", share=10),
            filters=("limit", _Limit(rate=20)),
        )
        b, c = Route(name="b", answer=FixedAnswer()), Route(name="c", split=Split(pools={"app": 1, "new": 1}))
        self.assertEqual(
            told({"routes": (a, b)}, {"routes": (changed, c)}),
            [
                "route b leaves (answer)",
                "route c comes (to app, new)",
                "route a: filters[1].rate 10 -> 20",
                "route a: match.path-prefix none -> /x, /y",
                "route a: match.header is another one, not shown",
                "route a: pool app -> none",
                "route a: split none -> app, new",
                "route a: mirror none -> shadow",
            ],
        )
        self.assertEqual(
            told({"routes": (a, b)}, {"routes": (b, attrs.evolve(a, filters=(_Limit(),)))}),
            ["route a: filters limit, rate-limit -> rate-limit", "another order of routes: b, a"],
        )
        self.assertEqual(
            told({"routes": (c,)}, {"routes": (attrs.evolve(c, split=Split(pools={"app": 2, "old": 1})),)}),
            ["route c: split.pools.app 1 -> 2", "route c: split.pools.new 1 -> none", "route c: split.pools.old none -> 1"],
        )

    def test_filters_come_and_leave_and_change(self) -> None:
        """By their names."""
        self.assertEqual(
            told({"filters": {"a": _Limit(), "b": _Limit()}}, {"filters": {"b": _Limit(rate=5), "c": _Limit()}}),
            ["filter a leaves (rate-limit)", "filter c comes (rate-limit)", "filter b: rate 10 -> 5"],
        )

    def test_a_secret_is_never_shown(self) -> None:
        """Only that it is another one."""
        key, other = b"this is a secret", b"another secret, longer"
        old: dict[str, Any] = {"settings": Settings(sticky_key=key), "filters": {"a": _Limit(key="secret", set={"X": "secret"})}}
        new: dict[str, Any] = {
            "settings": Settings(sticky_key=other),
            "filters": {"a": _Limit(key="Secret", set={"X": "secret!", "Y": "secret"})},
        }
        found = differences(Configuration(**old), Configuration(**new))
        self.assertNotIn("secret", repr(found).lower())
        self.assertEqual(
            [str(one) for one in found],
            [
                "settings: sticky-key is another one, not shown",
                "filter a: set.X is another one, not shown",
                "filter a: set.Y none -> (not shown)",
                "filter a: key is another one, not shown",
            ],
        )

    def test_what_is_long_is_cut_and_stands_in_one_line(self) -> None:
        """A body of many lines, say."""
        routes = [Route(name="a", answer=FixedAnswer(body=text)) for text in ("a\nb" * 100, "")]
        (one,) = told({"routes": (routes[0],)}, {"routes": (routes[1],)})
        self.assertLess(len(one), 120)
        self.assertNotIn("\n", one)

    def test_what_nobody_can_name_is_told_of_too(self) -> None:
        """Two routes of one name, which a file cannot have."""
        a, b = (Route(name="a", pool=name) for name in "xy")
        found = differences(Configuration(routes=(a, b)), Configuration(routes=(b, b)))
        self.assertEqual(found, [Difference("other", was="what it was", will="something else")])


def _subset(of: list[Any], make: Callable[[list[Any]], Any]) -> strategies.SearchStrategy[Any]:
    return strategies.lists(strategies.sampled_from(of), max_size=3, unique=True).map(make)


_SETTINGS = strategies.sampled_from([Settings(), Settings(retries=2), Settings(sticky_key=b"1" * 16), Settings(via="x")])
_BACKENDS = [_A, _B, attrs.evolve(_A, weight=2), attrs.evolve(_B, max_in_flight=3)]
_POOLS = strategies.builds(
    PoolConfiguration,
    name=strategies.sampled_from("ab"),
    backends=_subset(_BACKENDS, lambda found: tuple({one.address: one for one in found}.values())),
    settings=_SETTINGS,
    policy=strategies.sampled_from(["first", "random"]),
    backends_file=strategies.sampled_from(["", "members.json"]),
)
_OWN = [_Limit(), _Limit(rate=1), _Limit(key="x"), _Limit(set={"a": "b"})]
_ROUTES = strategies.builds(
    Route,
    name=strategies.sampled_from("ab"),
    match=strategies.builds(
        Match,
        host=_subset(["a.example", "b.example"], tuple),
        header=_subset(["A", "B"], dict.fromkeys).map(lambda names: dict.fromkeys(names, True)),
    ),
    filters=_subset(["limit", "other"], tuple),
    split=strategies.builds(Split, pools=strategies.dictionaries(strategies.sampled_from("ab"), strategies.just(1), min_size=1)),
)
_CONFIGURATIONS = strategies.builds(
    Configuration,
    listen=strategies.none() | _subset(["tcp:1", "tcp:2"], tuple),
    certificates=strategies.sampled_from([None, Certificates(files=("a",)), Certificates(files=("a",), profile="modern")]),
    admin_writable=strategies.booleans(),
    settings=_SETTINGS,
    pools=strategies.lists(_POOLS, max_size=2, unique_by=lambda one: one.name).map(tuple),
    routes=strategies.lists(_ROUTES, max_size=2, unique_by=lambda one: one.name).map(tuple),
    filters=strategies.dictionaries(strategies.sampled_from("ab"), strategies.sampled_from(_OWN), max_size=2),
    watch=strategies.booleans(),
)


class PropertyTests(SynchronousTestCase):
    """Whatever the configurations are."""

    @given(_CONFIGURATIONS, _CONFIGURATIONS)
    def test_there_are_differences_exactly_where_they_are_not_equal(self, old: Configuration, new: Configuration) -> None:
        """And each of them can be named, and read."""
        found = differences(old, new)
        self.assertEqual(bool(found), old != new)
        self.assertEqual(differences(old, attrs.evolve(old)), [])
        self.assertTrue({one.kind for one in found} <= set(KINDS) - {"other"})
        self.assertTrue(all(str(one).isprintable() for one in found))
