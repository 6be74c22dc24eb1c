"""Configurations made in Python: as lenient as a file where nothing can be mistaken, and as strict where something can."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import attrs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy import (
    AccessLogFile,
    Backend,
    Certificates,
    Configuration,
    Filter,
    FilterContext,
    Match,
    PoolConfiguration,
    ProbeSpec,
    Route,
    Settings,
    Split,
    filter_spec,
)
from lbproxy.config.in_python import completed
from lbproxy.config.model import MOST_WORKERS
from lbproxy.errors import ConfigurationError

BACKEND = Backend("10.0.0.1", 8000)
POOL = PoolConfiguration(backends=(BACKEND,))


class Own:
    """What makes a filter of the application's own: any object with these two."""

    type = "own"

    def make(self, context: FilterContext) -> Filter:
        """Called once."""
        return Filter()


class MadeTests(SynchronousTestCase):
    """What can be given, and what is said of the rest when it is made."""

    def test_lists_and_texts(self) -> None:
        """Lists of any kind do, and texts for backends and probes; equal values are equal."""
        made = Configuration(
            pools=[PoolConfiguration(backends=["10.0.0.1:8000"], probe="http:/healthz")], listen=["tcp:80"], filters={}
        )
        pool = PoolConfiguration(backends=(BACKEND,), probe=ProbeSpec.parse("http:/healthz"))
        self.assertEqual(made, Configuration(pools=(pool,), listen=("tcp:80",)))
        self.assertEqual(completed(made), made)

    def check(self, start: str, make: Any, **values: Any) -> None:
        error = self.assertRaises(ConfigurationError, make, **values)
        self.assertTrue(str(error).startswith(start), error)

    def test_values_of_another_type(self) -> None:
        """Each is refused at once, by an error that names the attribute."""
        for name in ("listen", "tls_listen", "pools", "routes", "default_filters"):
            self.check(f"{name}: 'x' was given; allowed is a list", Configuration, **{name: "x"})
            self.check(f"{name}[0]: 5 was given; allowed is a", Configuration, **{name: [5]})
        for name in ("certificates", "admin", "admin_writable", "access_log", "settings", "filters", "state_file", "watch"):
            self.check(f"{name}: 5 was given; allowed is a", Configuration, **{name: 5})
        for name in ("name", "backends_file", "policy", "settings", "backend_ca", "backend_certificate", "backends", "probe"):
            self.check(f"{name}: 5 was given; allowed is a", PoolConfiguration, **{name: 5})
        self.check("name: ' ' was given", PoolConfiguration, name=" ")
        self.check("filters: 5 was given; allowed is a filter's name", Configuration, filters={5: Own()})
        self.check("match: {} was given; allowed is a Match", Route, match={}, pool="a")
        self.check("files: 'x.pem' was given; allowed is a list", Certificates, files="x.pem")
        self.check("path: 5 was given; allowed is a text", AccessLogFile, path=5)

    def test_backends_that_cannot_be_read(self) -> None:
        """All of them are named."""
        error = self.assertRaises(ConfigurationError, PoolConfiguration, backends=["10.0.0.1", BACKEND, 7])
        first, last = str(error).splitlines()
        self.assertIn("backends[0]: '10.0.0.1' was given", first)
        self.assertIn("backends[2]: 7 was given", last)


    def test_workers(self) -> None:
        """A whole number, or one for each core; and how long one may say nothing."""
        with patch("lbproxy.config.model.cores", return_value=6):
            self.assertEqual(Configuration(workers="auto").workers, 6)
        with patch("lbproxy.config.model.cores", return_value=600):
            self.assertEqual(Configuration(workers="auto").workers, MOST_WORKERS)
        self.assertEqual([Configuration(workers=number).workers for number in (1, 256)], [1, 256])
        self.assertEqual([Configuration(worker_heartbeat=one).worker_heartbeat for one in (0.1, 1, 3600)], [0.1, 1, 3600])
        number = "a whole number from 1 to 256, or 'auto' for one a core"
        for given in (0, 257, -1, 2.0, True, None, "4", "Auto"):
            error = self.assertRaises(ConfigurationError, Configuration, workers=given)
            self.assertEqual(str(error), f"workers: {given!r} was given; allowed is {number}")
        for given in (0, 0.09, 3601, float("nan"), float("inf"), True, None, "5"):
            error = self.assertRaises(ConfigurationError, Configuration, worker_heartbeat=given)
            allowed = "a number of seconds from 0.1 to 3600"
            self.assertEqual(str(error), f"worker_heartbeat: {given!r} was given; allowed is {allowed}")


class CompletedTests(SynchronousTestCase):
    """What is left open is said."""

    def test_pools_have_the_settings_of_the_site(self) -> None:
        """Unless they have their own, be these the defaults."""
        own = PoolConfiguration(name="own", backends=[BACKEND], settings=Settings())
        routes = [Route(split=Split(pools={"default": 1, "own": 1}))]
        site = Settings(retries=7)
        whole = completed(Configuration(settings=site, pools=[POOL, own], routes=routes))
        self.assertEqual([pool.settings.retries for pool in whole.pools], [7, Settings().retries])
        again = completed(attrs.evolve(Configuration(pools=[POOL]), settings=Settings(retries=1)))
        self.assertEqual(again.pools[0].settings.retries, 1)

    def test_routes_have_names(self) -> None:
        """Each one of its own, as in a file."""
        routes = [Route(match=Match(path="/a"), pool="default"), Route(pool="default")]
        self.assertEqual([one.name for one in completed(Configuration(pools=[POOL], routes=routes)).routes], ["/a", "*"])


class MistakesTests(SynchronousTestCase):
    """What a file is checked for, said of attributes."""

    def said(self, **values: Any) -> list[str]:
        error = self.assertRaises(ConfigurationError, completed, Configuration(**{"pools": [POOL], **values}))
        return str(error).splitlines()

    def check(self, *starts: str, **values: Any) -> None:
        said = self.said(**values)
        self.assertEqual(len(said), len(starts), said)
        for line, start in zip(said, starts, strict=True):
            self.assertTrue(line.startswith(start), line)
            self.assertNotIn("--", line)
            self.assertNotIn("[[", line)

    def test_all_at_once(self) -> None:
        """A line each."""
        self.check(
            "filters.x: 5 was given; allowed is what makes a filter",
            "settings.target_limit: 9000 was given; a target is part of a head, so allowed is at most head_limit",
            "admin_writable: it was given without admin;",
            "tls_listen: it was given without certificates;",
            "pools: no backend was given",
            "filters.x: filters are passed on routes, and there are none; Route(pool=\"NAME\") is one for everything",
            "access_log.path: '' was given",
            pools=[],
            filters={"x": 5},
            settings=Settings(target_limit=9000, head_limit=300),
            admin_writable=True,
            tls_listen=["tcp:443"],
            access_log=AccessLogFile(path=""),
        )

    def test_of_a_pool(self) -> None:
        """The pool is named, and where in it the mistake is."""
        settings = Settings(sticky_max_age=5, sticky_key=b"0123456789abcdef")
        wrong = PoolConfiguration(name="a", backends=[BACKEND], settings=settings, backend_ca="/x", policy="rundum")
        self.check(
            "pools.a.settings.sticky_key: it was given without sticky;",
            "pools.a.settings.sticky_max_age: it was given without sticky;",
            "pools.a.backend_ca: it was given, but TLS is spoken with no backend",
            "pools.a.policy: 'rundum' was given",
            pools=[wrong],
        )

    def test_of_members(self) -> None:
        """They are named in one place."""
        both = PoolConfiguration(name="a", backends=[BACKEND], backends_file="/x")
        self.check("pools.a.backends_file: it was given, and backends as well", pools=[both])

    def test_of_routes(self) -> None:
        """Names that nobody has, filters that are none, and routes that no request can take."""
        self.check(
            "routes[0].filters[0]: 5 was given; allowed is what makes a filter",
            "routes[0].split.pools.other-one: 'other-one' was given, and there is no pool of that name",
            "routes[1].filters[0]: 'x' was given, and there is no filter of that name; there is none at all; one is written as "
            "filters={NAME: ...}",
            routes=[
                Route(name="a", split=Split(pools={"other-one": 1}), filters=[5]),
                Route(match=Match(path="/a"), pool="default", filters=["x"]),
            ],
        )
        self.check("routes[1]: ", routes=[Route(pool="default"), Route(pool="default")])

    def test_of_the_access_log(self) -> None:
        """Reasons have room in JSON alone."""
        log = AccessLogFile(path="-", explain=True)
        self.check('access_log.explain: it goes with format="json"', access_log=log)

    def test_of_certificates(self) -> None:
        """What goes with them is a mistake without one."""
        none = Certificates(files=[], client_ca="x")
        self.check("certificates.client_ca: it was given without certificates", certificates=none)


class FilterSpecTests(SynchronousTestCase):
    """Filters that are told of in Python."""

    def test_by_type(self) -> None:
        """Options are a file's keys, with underscores; the application's own need no type that is known."""
        limit = filter_spec("rate-limit", rate=20, burst=100)
        self.assertEqual((limit.type, limit.rate, limit.burst), ("rate-limit", 20, 100))
        fields = filter_spec("headers", response_set={"X-A": "1"})
        routes = [Route(pool="default", filters=["limit", fields, Own()])]
        whole = completed(Configuration(pools=[POOL], filters={"limit": limit}, routes=routes))
        self.assertEqual(whole.filters["limit"], limit)

    def check(self, *lines: str, type: str, **options: Any) -> None:
        error = self.assertRaises(ConfigurationError, filter_spec, type, **options)
        self.assertEqual([line[: len(start)] for line, start in zip(str(error).splitlines(), lines, strict=True)], [*lines])

    def test_mistakes(self) -> None:
        """They name the type and the option."""
        self.check("rate-limit: rate is missing", "rate-limit: there is no option burts (did", type="rate-limit", burts=5)
        self.check("rate-limit: rate: -1 was given", type="rate-limit", rate=-1)
        self.check("type: 'rate-limt' was given (did you mean rate-limit?)", type="rate-limt", rate=1)
