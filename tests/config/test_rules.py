"""Rules between values: pure functions of a configuration, wherever it comes from."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend
from lbproxy.config.model import Certificates, Configuration, PoolConfiguration
from lbproxy.config.rules import access_log_problems, cross_problems, unused
from lbproxy.health.spec import ProbeSpec
from lbproxy.routing.model import Match, Mirror, Route, Split
from lbproxy.settings import Settings

BACKEND = Backend("10.0.0.1", 8000)
KEY = b"0123456789abcdef"


def pool(name: str = "default", **values: Any) -> PoolConfiguration:
    """One of one backend."""
    return PoolConfiguration(name=name, **{"backends": (BACKEND,), **values})


class RulesTests(SynchronousTestCase):
    """Each rule says what is wrong, and where."""

    def said(self, **values: Any) -> list[str]:
        """What is wrong with a configuration of one pool, unless *values* say otherwise."""
        return [problem.in_a_file for problem in cross_problems(Configuration(**{"pools": (pool(),), **values}))]

    def check(self, *starts: str, **values: Any) -> None:
        said = self.said(**values)
        self.assertEqual(len(said), len(starts), said)
        for line, start in zip(said, starts, strict=True):
            self.assertIn(start, line)

    def test_what_is_well(self) -> None:
        """A pool is enough; so are routes that need none, and a pool whose members a file names."""
        self.check()
        self.check(pools=(), routes=(Route(name="a", resource="x"),))
        self.check(pools=(pool(backends=(), backends_file="/x"),))

    def test_sessions(self) -> None:
        """What is said of them needs the cookie's name: at that pool, or at one of those that have it from the top."""
        own = pool("app", settings=Settings(sticky_key=KEY, sticky_max_age=5))
        self.check("pools.app.sticky-key-file: it was given without sticky", "pools.app.sticky-max-age: it was", pools=(own,))
        top = Settings(sticky_max_age=5)
        sticky = pool("b", settings=Settings(sticky="lb", sticky_max_age=5))
        routes = (Route(name="a", split=Split(pools={"a": 1, "b": 1})),)
        self.check(pools=(pool("a", settings=top), sticky), settings=top, routes=routes)
        other = pool("a", settings=Settings(sticky_max_age=6))
        self.check("pools.a.sticky-max-age", pools=(other, sticky), settings=top, routes=routes)

    def test_limits(self) -> None:
        """Of targets and heads, ejections and the longest one; defaults are no promise."""
        self.check("target-limit: 4000 was given", settings=Settings(target_limit=4000, head_limit=300))
        self.check(settings=Settings(head_limit=300))
        self.check("pools.default.eject-time: 20 was given", pools=(pool(settings=Settings(eject_time=20, eject_limit=15)),))

    def test_operators(self) -> None:
        """Who may write must be able to come in."""
        self.check("admin-writable: it was given without admin;", admin_writable=True)
        self.check(admin_writable=True, admin="tcp:8081")

    def test_certificates(self) -> None:
        """What goes with them is a mistake without; defaults say nothing."""
        given = Certificates(
            files=(), profile="modern", client_ca="/ca", client_auth="optional", default="/d", reject_unknown_names=True
        )
        keys = ("tls-listen", "default-certificate", "reject-unknown-names", "tls-profile", "client-ca", "client-auth")
        self.check(*(f"{key}: it was given without certificate" for key in keys), certificates=given, tls_listen=("tcp:443",))
        self.check(certificates=Certificates(files=()))

    def test_requests_over_tls(self) -> None:
        """Where there can be none, nobody can be told to come so."""
        wishes = Settings(redirect_to_https=True, hsts=5)
        self.check("redirect-to-https: it was given, but no request can come over TLS", "hsts: ", settings=wishes)
        self.check("redirect-to-https: ", "hsts: ", settings=wishes, listen=("tcp:80", "haproxy:tcp:81"))
        self.check(settings=wishes, listen=("tcp:80", "ssl:443"))
        self.check(settings=wishes, certificates=Certificates(files=("/a",)))
        self.check(settings=Settings(redirect_to_https=True, trusted_proxies=("10.0.0.0/8",)))

    def test_tls_with_backends(self) -> None:
        """It must be spoken with one, of that pool or of those that have it from the top."""
        self.check("pools.default.backend-ca: it was given, but TLS is spoken with no backend", pools=(pool(backend_ca="/ca"),))
        secure = pool("b", backends=(Backend("app.example", 443, tls=True),), backend_ca="/ca")
        routes = (Route(name="a", split=Split(pools={"a": 1, "b": 1})),)
        self.check(pools=(pool("a", backend_ca="/ca"), secure), routes=routes)
        self.check("pools.a.backend-certificate", pools=(pool("a", backend_certificate="/x"), secure), routes=routes)

    def test_probes_over_tls(self) -> None:
        """They need a name to verify."""
        self.check("pools.default.probe: https was given; over TLS", pools=(pool(probe=ProbeSpec.parse("https:/x")),))

    def test_access_logs(self) -> None:
        """What is said of one needs one, and reasons go in JSON alone."""
        for given, keys in (
            ((None, None, False), []),
            ((None, "json", False), ["access-log-format"]),
            (("", None, False), ["access-log"]),
            (("-", None, True), ["access-log-explain"]),
            (("-", "json", True), []),
            ((None, None, True), ["access-log-explain"]),
        ):
            self.assertEqual([problem.path[0] for problem in access_log_problems(*given)], keys, given)

    def test_pools(self) -> None:
        """There is one at least, each has backends, and several need routes; filters do too."""
        self.check("backends: no backend was given", pools=())
        self.check("pools.default.backends: it has none", pools=(pool(backends=()),))
        self.check("pools: there are several pools (a, b) and no routes", pools=(pool("a"), pool("b")))
        self.check("filters.x: filters are passed on routes", filters={"x": object()})

    def test_names_that_nobody_has(self) -> None:
        """Pools of routes, splits and mirrors, filters of routes and of all, with the nearest name."""
        routes = (
            Route(name="a", pool="defalt", filters=("limt",)),
            Route(name="b", match=Match(path=("/b",)), split=Split(pools={"default": 1, "x": 1}), mirror=Mirror(pool="y")),
        )
        self.check(
            "routes[0].pool: 'defalt' was given, and there is no pool of that name (did you mean default?); allowed are default",
            "routes[0].filters[0]: 'limt' was given, and there is no filter of that name (did you mean limit?)",
            "routes[1].split.pools.x: 'x' was given",
            "routes[1].mirror.pool: 'y' was given",
            "default-filters[0]: 'z' was given",
            routes=routes,
            filters={"limit": object()},
            default_filters=("z",),
        )

    def test_names_of_routes(self) -> None:
        """Each has its own; those without will get one."""
        route = Route(name="a", pool="default")
        self.check("routes[1].name: 'a' was given, which is the name of routes[0] too", routes=(route, route))
        self.check(routes=(Route(pool="default"), Route(pool="default", match=Match(path=("/b",)))))

    def test_what_is_never_used(self) -> None:
        """Pools and filters that no route names."""
        read = Configuration(
            pools=(pool(), pool("b"), pool("c")),
            routes=(Route(name="a", pool="default", mirror=Mirror(pool="c"), filters=("x",)),),
            filters={"x": object(), "y": object(), "z": object()},
            default_filters=("z",),
        )
        self.assertEqual([problem.path for problem in unused(read)], [("pools", "b"), ("filters", "y")])
