"""Reading configurations: what every key says, what options say over files, and that every mistake is told at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import attrs
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend
from lbproxy.config.keys import COMMA_LISTS, SIZES
from lbproxy.config.model import AccessLogFile, Certificates, Configuration, PoolConfiguration
from lbproxy.config.reading import Loaded, read_configuration, read_options, read_text
from lbproxy.errors import ConfigurationError
from lbproxy.health.spec import ProbeSpec
from lbproxy.routing.model import Condition, FixedAnswer, Match, Mirror, Redirect, Route, Split, StaticFiles
from lbproxy.settings import Settings
from tests.support import given

BACKENDS = 'backends = ["10.0.0.1:8000"]\n'
POOL = f"[pools.app]\n{BACKENDS}"
ROUTE = '[[routes]]\npool = "app"\n'


_TOP = ("listen", "retries", "policy", "routes", "filters", "pools", "sticky-key", "include", "certificate", "backends", "watch",
        "probe-port", "trusted-proxies", "x")  # fmt: skip
_INSIDE = ("app", "file", "type", "pool", "host", "backends", "redirect")
_WRITTEN = st.recursive(
    st.sampled_from(["5", "-1.5", "true", "''", "'a:1'", "'${A}'", "1979-05-27", "nan"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda values: f"[{', '.join(values)}]"),
        st.dictionaries(st.sampled_from(_INSIDE), inner, max_size=2).map(
            lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
        ),
    ),
    max_leaves=4,
)
_FILES = st.dictionaries(st.sampled_from(_TOP), _WRITTEN, max_size=4)


class _Reads(SynchronousTestCase):
    """Reads texts as if they stood in ``/etc/lb.toml``."""

    def read(self, text: str, overrides: dict[str, Any] | None = None, **variables: str) -> Loaded:
        return read_text(text, "/etc/lb.toml", overrides or {}, variables=variables)

    def configuration(self, text: str, overrides: dict[str, Any] | None = None, **variables: str) -> Configuration:
        return self.read(text, overrides, **variables).configuration

    def said(self, text: str, overrides: dict[str, Any] | None = None, **variables: str) -> list[str]:
        """What is wrong with it, without the file's name."""
        with self.assertRaises(ConfigurationError) as raised:
            self.read(text, overrides, **variables)
        return str(raised.exception).replace("/etc/lb.toml:", "").splitlines()

    def only(self, text: str, overrides: dict[str, Any] | None = None, **variables: str) -> str:
        """The one thing that is wrong with it."""
        said = self.said(text, overrides, **variables)
        self.assertEqual(len(said), 1, said)
        return said[0]


class SiteTests(_Reads):
    """What is said at the top."""

    def test_one_pool_with_all_defaults(self) -> None:
        """A file of one line; what it does not say is as the classes have it."""
        pool = PoolConfiguration(backends=(Backend("10.0.0.1", 8000),))
        self.assertEqual(self.configuration(BACKENDS), Configuration(pools=(pool,)))

    def test_everything_about_listeners_certificates_and_logs(self) -> None:
        """Texts and lists of texts; paths are relative to the file."""
        read = self.configuration(
            f"""{BACKENDS}
            listen = "tcp:80"
            tls-listen = ["tcp:443", "tcp6:443"]
            certificate = ["certs", "/a.pem,b.key"]
            default-certificate = "d.pem"
            reject-unknown-names = true
            tls-profile = "modern"
            client-ca = "ca.pem"
            client-auth = "optional"
            admin = "tcp:8081"
            admin-writable = true
            access-log = "access.log"
            access-log-format = "json"
            access-log-explain = true
            state-file = "../var/state.json"
            watch = true
            """
        )
        self.assertEqual(read.listen, ("tcp:80",))
        self.assertEqual(read.tls_listen, ("tcp:443", "tcp6:443"))
        self.assertEqual(
            read.certificates,
            Certificates(
                files=("/etc/certs", "/a.pem,/etc/b.key"),
                default="/etc/d.pem",
                reject_unknown_names=True,
                profile="modern",
                client_ca="/etc/ca.pem",
                client_auth="optional",
            ),
        )
        self.assertEqual((read.admin, read.admin_writable), ("tcp:8081", True))
        self.assertEqual(read.access_log, AccessLogFile(path="/etc/access.log", format="json", explain=True))
        self.assertEqual((read.state_file, read.watch), ("/var/state.json", True))

    def test_standard_output_is_no_file(self) -> None:
        """A hyphen stays one."""
        self.assertEqual(self.configuration(f'{BACKENDS}access-log = "-"').access_log, AccessLogFile(path="-"))

    def test_every_setting_can_be_said(self) -> None:
        """At the top, by its name with hyphens, and what is out of its range is told by that name and its line."""
        for field in attrs.fields(Settings):
            key = field.name.replace("_", "-")
            said = "what was" if key == "sticky-key" else "{} was"  # a secret is not shown
            self.assertTrue(self.only(f"{key} = {{}}\n{BACKENDS}").startswith(f"1: {key}: {said} given"), key)

    def test_sizes_and_lists_may_be_texts(self) -> None:
        """As on the command line."""
        said = "\n".join([*(f'{key} = "64k"' for key in SIZES), 'retry-on = "connect, 503"', 'outliers = "none"'])
        settings = self.configuration(f'{BACKENDS}{said}\ntrusted-proxies = "10.0.0.0/8,::1"').settings
        self.assertEqual({getattr(settings, key.replace("-", "_")) for key in SIZES}, {65536})
        self.assertEqual((settings.retry_on, settings.outliers), (("connect", "503"), ()))
        self.assertEqual(settings.trusted_proxies, (ip_network("10.0.0.0/8"), ip_network("::1")))
        self.assertEqual(COMMA_LISTS, {"retry-on", "outliers", "trusted-proxies"})

    def test_a_text_is_no_number(self) -> None:
        """Unless it came from a variable."""
        self.assertIn("2: retries: '2' was given; allowed is a whole number", self.only(f'{BACKENDS}retries = "2"'))
        self.assertEqual(self.configuration(f'{BACKENDS}retries = "${{N}}"', N="2").settings.retries, 2)
        read = self.configuration(f'{BACKENDS}drain = "${{N:-1.5}}"\nwatch = "${{W}}"', W="true")
        self.assertEqual((read.settings.drain, read.watch), (1.5, True))

    def test_secrets_from_variables_and_files(self) -> None:
        """A key for cookies, in three ways."""
        secret = "0123456789abcdefg"
        path = os.path.abspath(self.mktemp())
        with open(path, "w") as file:
            file.write(f"{secret}\n")
        for said in ("sticky-key = '${KEY}'", f"sticky-key = {{ file = '{path}' }}", f"sticky-key-file = '{path}'"):
            loaded = self.read(f"{BACKENDS}sticky = 'lb'\n{said}", KEY=secret)
            self.assertEqual(loaded.configuration.settings.sticky_key, secret.encode(), said)
            self.assertEqual(loaded.configuration.pools[0].settings.sticky_key, secret.encode())
        self.assertIn(path, loaded.files)
        self.assertIn("give one of the two", self.only(f"{BACKENDS}sticky='a'\nsticky-key='{secret}'\nsticky-key-file='{path}'"))

    def test_no_message_shows_what_a_variable_stands_for(self) -> None:
        """But what was written."""
        for key in ("sticky", "via", "policy", "probe", "retries", "tls-profile", "listne", "backend-ca", "trusted-proxies"):
            said = "\n".join(self.said(f"{key} = '${{KEY}}'\nqueue = -1\n{BACKENDS}", KEY="hunter2 is\x01secret"))
            self.assertNotIn("hunter2", said)
            self.assertNotIn("secret", said.replace("a secret", ""))
        self.assertIn("'${KEY}' was given", self.only(f"via = '${{KEY}}'\n{BACKENDS}", KEY="a b"))


class PoolTests(_Reads):
    """Pools."""

    def test_what_is_said_of_all_and_of_one(self) -> None:
        """A pool's own values win over those at the top."""
        read = self.configuration(
            f"""
            retries = 2
            queue = 7
            policy = "first"
            probe = "http:/healthz"
            probe-status = 200
            [pools.app]
            backends = "10.0.0.1:8000,10.0.0.2:8000:weight=5"
            retries = 0
            policy = "two-choices"
            [pools.other]
            {BACKENDS}
            probe = "tcp"
            {ROUTE}
            """
        )
        app, other = read.pools
        self.assertEqual(app.backends, (Backend("10.0.0.1", 8000), Backend("10.0.0.2", 8000, 5)))
        self.assertEqual((app.settings.retries, app.settings.queue, app.policy), (0, 7, "two-choices"))
        self.assertEqual(app.probe, ProbeSpec.parse("http:/healthz", status="200"))
        self.assertEqual((other.settings.retries, other.policy, other.probe), (2, "first", ProbeSpec.parse("tcp")))

    def test_backends_at_the_top_are_the_pool_default(self) -> None:
        """It comes first, and may have a table."""
        read = self.configuration(f"{BACKENDS}{POOL}[pools.default]\nretries = 1\n{ROUTE}")
        self.assertEqual([pool.name for pool in read.pools], ["default", "app"])
        self.assertEqual(read.pools[0].settings.retries, 1)
        self.assertIn("3: pools.default.backends", self.only(f"{BACKENDS}[pools.default]\n{BACKENDS}"))

    def test_backends_as_tables(self) -> None:
        """With all that can be said in a text."""
        backends = (
            '{ address = "https://10.0.0.1:8000", weight = 2, tier = 1, verify-name = "app.example" }',
            '{ address = "unix:/run/app.sock", backup = true, max-in-flight = 20, proxy-protocol = 2 }',
            '{ address = "https://[::1]:80", verify = false }',
        )
        self.assertEqual(
            self.configuration(f"backends = [{', '.join(backends)}]").pools[0].backends,
            (
                Backend.parse("https://10.0.0.1:8000:weight=2:tier=1:verify-name=app.example"),
                Backend.parse("unix:/run/app.sock:backup:max-in-flight=20:proxy-protocol=v2"),
                Backend.parse("https://[::1]:80:verify=off"),
            ),
        )

    def test_backends_in_a_file_of_their_own(self) -> None:
        """Its path, relative to where it is said; it is not read here."""
        read = self.configuration('[pools.app]\nbackends = { file = "members.json" }')
        self.assertEqual((read.pools[0].backends, read.pools[0].backends_file), ((), "/etc/members.json"))

    def test_mistaken_backends(self) -> None:
        """Each with its place in the list."""
        said = self.said(
            """[pools.app]
            backends = [
              "10.0.0.1",
              { address = "10.0.0.2:8000", wieght = 2 },
              { weight = 2 },
              5,
              "10.0.0.3:80",
              "10.0.0.3:80",
              { address = "10.0.0.4:80", weight = 0, tier = -1 },
            ]"""
        )
        self.assertIn("3: pools.app.backends[0]: backend '10.0.0.1' cannot be read: it has no port", said[0])
        self.assertIn("4: pools.app.backends[1].wieght: there is no such key (did you mean weight?)", said[1])
        self.assertIn("5: pools.app.backends[2]: { weight = 2 } was given; its address is missing", said[2])
        self.assertIn('6: pools.app.backends[3]: 5 was given; allowed is "HOST:PORT"', said[3])
        self.assertIn("8: pools.app.backends[5]: backend 10.0.0.3:80 is named twice", said[4])
        self.assertIn("9: pools.app.backends[6]: ", said[5])
        self.assertIn("weight 0 was given", said[5])
        self.assertIn("tier '-1' was given", said[6])

    def test_mistaken_policies_and_probes(self) -> None:
        """By their own keys, without dashes."""
        said = self.said(f"{POOL}policy = 'two-choice'\nprobe = 'tcp'\nprobe-status = '200'\nprobe-port = 'x'\n")
        self.assertIn("3: pools.app.policy: 'two-choice' was given (did you mean two-choices?)", said[0])
        self.assertIn("5: pools.app.probe-status: '200' was given, which goes with probe http:/path", said[1])
        self.assertEqual(len(said), 4)

    def test_a_policy_for_all_is_checked_without_pools_too(self) -> None:
        """So that nothing is passed over."""
        self.assertIn("1: policy: 'x' was given", self.only("policy = 'x'\n[[routes]]\nanswer = {}\n"))


class RouteTests(_Reads):
    """Routes."""

    def routes(self, text: str) -> tuple[Route, ...]:
        return self.configuration(f'{POOL}[pools.b]\nbackends = "10.0.0.2:80"\n{text}').routes

    def test_all_that_a_route_is_for(self) -> None:
        """Every condition, of one value or of several."""
        (route,) = self.routes(
            """[[routes]]
            name = "cart"
            host = ["shop.example", "*.shop.example"]
            path-prefix = "/cart"
            method = ["GET", "POST"]
            header = { X-Beta = "1", Cookie = { regex = "beta=" }, X-Old = false, X-Any = true, file = "x" }
            query = { v = "2", file = "x" }
            client = ["10.0.0.0/8"]
            scheme = "https"
            pool = "app"
            mirror = { pool = "b", share = 10 }
            """
        )
        match = Match(
            host=("shop.example", "*.shop.example"),
            path_prefix=("/cart",),
            method=("GET", "POST"),
            header=(
                Condition(name="X-Beta", exact="1"),
                Condition(name="Cookie", regex="beta="),
                Condition(name="X-Old", present=False),
                Condition(name="X-Any"),
                Condition(name="file", exact="x"),
            ),
            query=(Condition(name="v", exact="2"), Condition(name="file", exact="x")),
            client=(ip_network("10.0.0.0/8"),),
            scheme="https",
        )
        self.assertEqual(route, Route(name="cart", match=match, pool="app", mirror=Mirror(pool="b", share=10)))

    def test_all_that_a_route_leads_to(self) -> None:
        """Pools, redirects, answers, files, resources. Paths are relative to the file."""
        routes = self.routes(
            """
            [[routes]]
            path = "/1"
            split = { pools = { app = 95, b = 5 }, by = "cookie:user" }
            [[routes]]
            path = "/2"
            redirect = "https://{host}{uri}"
            [[routes]]
            path = "/3"
            redirect = { to = "/x", status = 302 }
            [[routes]]
            path = "/4"
            answer = { status = 404, body = "no", type = "text/html", headers = { X-A = "b" } }
            [[routes]]
            path = "/5"
            static = { directory = "www", index = "a.html" }
            [[routes]]
            path = "/6"
            resource = "mine"
            """
        )
        self.assertEqual(
            [(one.split, one.redirect, one.answer, one.static, one.resource) for one in routes],
            [
                (Split(pools={"app": 95, "b": 5}, by="cookie:user"), None, None, None, ""),
                (None, Redirect(to="https://{host}{uri}"), None, None, ""),
                (None, Redirect(to="/x", status=302), None, None, ""),
                (None, None, FixedAnswer(status=404, body="no", kind="text/html", headers={"X-A": "b"}), None, ""),
                (None, None, None, StaticFiles(directory="/etc/www", index=("a.html",)), ""),
                (None, None, None, None, "mine"),
            ],
        )
        self.assertEqual(len({route.name for route in routes}), 6)

    def test_filters_by_name_and_in_place(self) -> None:
        """Texts and tables, in one list or as tables of their own."""
        loaded = self.read(
            f"""default-filters = ["limit"]
            {POOL}
            [filters.limit]
            type = "rate-limit"
            rate = 10
            [[routes]]
            pool = "app"
            filters = ["limit", {{ type = "rate-limit", rate = "${{RATE}}", dry-run = true }}]
            [[routes]]
            path = "/x"
            pool = "app"
            [[routes.filters]]
            type = "rate-limit"
            rate = 3
            """,
            RATE="2",
        )
        read = loaded.configuration
        limit = read.filters["limit"]
        self.assertEqual((limit.type, limit.rate), ("rate-limit", 10))
        self.assertEqual(read.routes[0].filters, ("limit", attrs.evolve(limit, rate=2, dry_run=True)))
        self.assertEqual(read.routes[1].filters, (attrs.evolve(limit, rate=3),))
        self.assertEqual(read.default_filters, ("limit",))

    def test_mistaken_filters(self) -> None:
        """Their types, keys and values, each with its place."""
        said = self.said(
            f"""{POOL}
            [filters.a]
            type = "rate-limt"
            [filters.b]
            rate = 1
            [filters.c]
            type = "rate-limit"
            rate = -1
            brust = 2
            [filters.d]
            type = "rate-limit"
            [[routes]]
            pool = "app"
            filters = [5, {{ type = "rate-limit", rate = "x" }}]
            """
        )
        for line, start in zip(
            said,
            (
                "5: filters.a.type: 'rate-limt' was given (did you mean rate-limit?); allowed are ",
                "6: filters.b: type is missing; allowed are ",
                "10: filters.c.rate: -1 was given; allowed is a number",
                "11: filters.c.brust: there is no such key (did you mean burst?); allowed are ",
                "12: filters.d: rate is missing",
                "16: routes[0].filters[0]: 5 was given; allowed is a table with its type",
                "16: routes[0].filters[1].rate: 'x' was given; allowed is a number",
            ),
            strict=True,
        ):
            self.assertIn(start, line)

    def test_a_mistyped_key_is_not_missing_as_well(self) -> None:
        """One mistake is told once."""
        said = self.only("[filters.a]\ntype = 'rate-limit'\nrat = 5\n[[routes]]\nanswer = { status = 204 }\nfilters = 'a'\n")
        self.assertIn("3: filters.a.rat: there is no such key (did you mean rate?)", said)

    def test_routes_that_no_request_can_take(self) -> None:
        """They are mistakes."""
        said = self.only(f"{POOL}{ROUTE}{ROUTE}")
        self.assertTrue(said.startswith("5: routes[1]: "), said)

    def test_every_mistake_of_a_route(self) -> None:
        """At once."""
        said = self.said(f"{POOL}[[routes]]\nhost = 5\npath = 'x'\nclient = 'y'\nscheme = 'ftp'\nmirror = {{ share = 200 }}\n")
        self.assertIn("3: routes[0]: target: none was given", said[0])
        keys = [line.split(": ")[1] for line in said[1:5]]
        self.assertEqual(keys, [f"routes[0].{key}" for key in ("host", "path", "client", "scheme")])
        self.assertIn("8: routes[0].mirror: pool is missing", said[5])
        self.assertIn("8: routes[0].mirror.share: 200 was given", said[6])


class NameTests(_Reads):
    """What is named must be there, whatever else is wrong."""

    WRONG = """\
default-filters = ["nobody"]
retires = 2
[pools.app]
backends = ["10.0.0.1:99999"]
[filters.limit]
type = "rate-limits"
[[routes]]
name = "one"
pool = "ap"
filters = ["limits", "limit"]
mirror = { pool = "shadow" }
[[routes]]
name = "one"
path = "/x"
split = { pools = { app = 1, canary = 1 } }
"""

    def test_names_of_nothing_are_said_with_all_else(self) -> None:
        """Pools and filters that are mistaken themselves are there; the nearest name is told."""
        said = [line.partition(": ")[2] for line in self.said(self.WRONG)]
        paths = [line.partition(": ")[0] for line in said]
        self.assertEqual(
            sorted(paths),
            [
                "default-filters[0]", "filters.limit.type", "pools.app.backends[0]", "retires", "routes[0].filters[0]",
                "routes[0].mirror.pool", "routes[0].pool", "routes[1].name", "routes[1].split.pools.canary",
            ],
        )  # fmt: skip
        self.assertIn("did you mean app?", next(line for line in said if line.startswith("routes[0].pool")))

    def test_it_is_said_in_the_same_words(self) -> None:
        """Whether or not there are other mistakes."""
        text = f'{POOL}[[routes]]\nname = "a"\npool = "ap"\n[[routes]]\nname = "a"\npath = "/"\npool = "app"\nfilters = ["x"]\n'
        alone = self.said(text)
        beside = self.said(f"{text}nonsense = 2\n")
        self.assertEqual([line for line in beside if "nonsense" not in line], alone)
        self.assertEqual((len(alone), len(beside)), (3, 4))

    def test_the_default_pool_is_there(self) -> None:
        """Its backends stand at the top."""
        said = self.said(f'{BACKENDS}retires = 2\n[[routes]]\npool = "default"\n')
        self.assertEqual(len(said), 1, said)

    def test_of_a_file_that_cannot_be_read_nothing_is_missed(self) -> None:
        """It may have had what is named."""
        said = self.said('include = ["no*.toml", "/no/such.toml"]\n[[routes]]\npool = "app"\n')
        self.assertEqual([line for line in said if "no pool of that name" in line], [])

    def test_routes_that_are_never_taken_are_said_with_all_else(self) -> None:
        """As long as all routes can be read."""
        said = self.said(f'retires = 2\n{POOL}{ROUTE}{ROUTE}')
        self.assertEqual(len(said), 2, said)
        self.assertIn("routes[1]", said[1])


class PlainTests(_Reads):
    """What is in a configuration."""

    def kinds(self, value: Any) -> set[type]:
        if attrs.has(type(value)):
            return {kind for field in attrs.fields(type(value)) for kind in self.kinds(getattr(value, field.name))}
        if isinstance(value, Mapping):
            return {kind for item in value.items() for one in item for kind in self.kinds(one)}
        if isinstance(value, (tuple, list)):
            return {kind for one in value for kind in self.kinds(one)}
        return {type(value)}

    def test_nothing_but_frozen_values(self) -> None:
        """Texts are Python's own, whatever they came from, so that two readings of the same compare equal."""
        text = f"""
            certificate = "a.pem"
            sticky = "${{A}}"
            via = "x"
            retry-on = "connect"
            {POOL}
            probe = "http:/x"
            policy = "first"
            [pools.b]
            backend-ca = "ca.pem"
            backends = ["https://app.example:80"]
            [filters.f]
            type = "rate-limit"
            rate = 1
            by = "client"
            [[routes]]
            name = "${{A}}"
            host = "a"
            header = {{ A = "${{A}}" }}
            filters = ["f"]
            answer = {{ body = "${{A}}", headers = {{ A = "${{A}}" }} }}
            """
        read = self.configuration(text, A="a")
        allowed = {str, int, float, bool, bytes, type(None)}
        self.assertEqual(self.kinds(read) - allowed, set())
        self.assertEqual(read, self.configuration(text, A="a"))


class KeyTests(_Reads):
    """Keys that are none."""

    def test_what_stands_for_nothing_is_told_once(self) -> None:
        """Also where it is all that is asked for."""
        for text in (
            "[[routes]]\nredirect = { to = '${A}' }",
            "[[routes]]\nsplit = { pools = '${A}' }",
            "backends = '${A}'",
            "backends = [{ address = '${A}' }]",
            "backends = { file = '${A}' }",
            f"{BACKENDS}sticky-key = {{ file = '${{A}}' }}",
            f"{POOL}{ROUTE}[filters]\na = {{ type = 'rate-limit', rate = '${{A}}' }}",
            f"{POOL}{ROUTE}[filters]\na.type = '${{A}}'",
            f"{BACKENDS}certificate = ['${{A}}']",
        ):
            self.assertIn("the variable A is not set", self.only(text))

    def test_what_does_not_go_together_is_told_with_all_else(self) -> None:
        """A mistake elsewhere hides none of it, not even one in the same table."""
        said = self.said(
            """queue = -1
admin-writable = true
default-filters = ["z"]
[pools.app]
backends = ["10.0.0.1:1"]
sticky-max-age = 5
retries = "x"
[pools.empty]
[filters.limit]
type = "rate-limit"
rate = -1
[[routes]]
name = "a"
pool = "ap"
scheme = "ftp"
filters = ["limt", "limit", { type = "x" }]
[[routes]]
name = "a"
path = "/a"
pool = "app"
retries = 5
[[routes]]
path = "/b"
pool = "app"
[[routes]]
path = "/b"
split = { pools = { app = 1, canary = 1 } }
"""
        )
        self.assertEqual(
            [line.split(": ")[1] for line in said],
            [
                "queue", "admin-writable", "default-filters[0]", "pools.app.sticky-max-age", "pools.app.retries",
                "pools.empty.backends", "filters.limit.rate", "routes[0].pool", "routes[0].scheme", "routes[0].filters[2].type",
                "routes[0].filters[0]", "routes[1].name", "routes[1].retries", "routes[3]", "routes[3].split.pools.canary",
            ],
        )  # fmt: skip

    def test_one_mistake_is_told_once(self) -> None:
        """What follows from it alone is none of its own."""
        for text, key in (
            ("backends = 5", "backends"),
            ("bakends = ['a:1']", "bakends"),
            ("[pool.app]\nbackends = ['a:1']\n[[routes]]\npool = 'app'", "pool"),
            ("[pools.app]\nbackend = 'a:1'", "pools.app.backend"),
            ("[pools.app]\nbackends = 'a'\n[[routes]]\npool = 'app'", "pools.app.backends"),
            ("[pools]\napp = 5\n[[routes]]\npool = 'app'", "pools.app"),
            (f"{POOL}[[route]]\npool = 'app'\n[pools.b]\nbackends = 'b:1'", "route"),
            (f"{POOL}[[routes]]\nbackend = 'app'", "routes[0].backend"),
            (f"{POOL}[[routes]]\npool = 5", "routes[0].pool"),
            (f"{POOL}[[routes]]\npool = 'app'\nfilters = ['a']\n[filters.a]\ntype = 'x'", "filters.a.type"),
            (f"{POOL}[[routes]]\npool = 'app'\nfilters = ['a']\n[filter.a]\ntype = 'cors'", "filter"),
            (f"{BACKENDS}admin-writable = true\nadmin = 5", "admin"),
            (f"{BACKENDS}sticky-max-age = 5\nsticky = 5", "sticky"),
            (f"{BACKENDS}tls-listen = 'tcp:443'\ncertificates = 'x.pem'", "certificates"),
            (f"{BACKENDS}hsts = 5\ntrusted-proxies = 'x'", "trusted-proxies"),
            (f"{BACKENDS}target-limit = 32768\nhead-limit = 'x'", "head-limit"),
            (f"{BACKENDS}eject-time = 500\neject-limit = 'x'", "eject-limit"),
            ("backends = ['a']\nbackend-ca = '/x'", "backends[0]"),
            (f"{POOL}[[routes]]\nhost = 'a b'\npool = 'app'\n[[routes]]\npool = 'app'", "routes[0].host"),
        ):
            self.assertEqual(self.only(text).split(": ")[1], key)

    def test_values_that_are_none_at_all(self) -> None:
        """Whatever stands there, what is wanted is said, with an example where it helps."""
        for text, part in (
            ("backends = 'a:1'\nlisten = 80", '80 was given; allowed is a text such as "tcp:80"'),
            ("backends = 'a:1'\nadmin = 8081", 'allowed is a text such as "tcp:8081:interface=127.0.0.1"'),
            ("backends = 'a:1'\n[probe]\nhttp = '/'", 'allowed is a text such as "http:/healthz"'),
            ("backends = 'a:1'\nforwarded = 'yes'", "'yes' was given; allowed is a truth value, true or false"),
            ("backends = 'a:1'\nwatch = 1", "1 was given; allowed is a truth value, true or false"),
            ("backends = 'a:1'\nretries = 1979-05-27", "1979-05-27 was given; dates and times are wanted nowhere"),
            ("backends = 'a:1'\noutliers = [[1]]", "[[1]] was given, which is of the wrong kind"),
            ("backends = { file = 5 }", "5 was given; allowed is a text"),
            ("backends = [{ address = 'a:1', weight = 1.5 }]", "weight: 1.5 was given; allowed is a whole number"),
            ("backends = [{ address = 'a:1', max-in-flight = nan }]", "nan was given; allowed is a whole number"),
            (f"{POOL}[[routes]]\nstatic = '/srv'", "'/srv' was given; allowed is a table with the keys directory, index"),
            (f"{POOL}[[routes]]\nanswer = 404", "404 was given; allowed is a table with the keys status, body, type, headers"),
            (f"{POOL}[[routes]]\npool = 'app'\nmirror = 'app'", "allowed is a table with the keys pool, share"),
            ("backends = 'a:1'\nlisten = ['tcp:80', 'tcp:80']", "listen[1]: 'tcp:80' was given, and is listened to already"),
            (f"retries = {'9' * 5000}", "it is no TOML: "),
            (f"{'.'.join('a' * 3000)} = 1", "nested too deeply"),
            ("a = 1\na = 2", "this key is here already; say it once"),
            (f"{POOL}{POOL}", "there is a table [pools.app] already (at column 11); put the two together"),
            ("listen = tcp:80", "texts stand in quotes"),
            ("upstream app {", "a line is KEY = VALUE, or [TABLE]"),
            ("include = '.'\nbackends = 'a:1'", "'.' was given, and that is a directory; allowed are files, and patterns"),
            ("include = ['']\nbackends = 'a:1'", "'' was given, and that is a directory"),
            ('include = "a\\u0000b"\n' + "backends = 'a:1'", "'a\\x00b' was given"),
        ):
            with self.subTest(text[:80]):
                self.assertIn(part, self.only(text))
        self.read("backends = 'a:1'\nlisten = ['tcp:0', 'tcp:0']")

    def test_every_condition_of_a_table(self) -> None:
        """Names that none may have are told with values that are none."""
        header = "header = { A = 5, B = { regex = '(' }, Host = 'x', 'b c' = '1' }"
        said = self.said(f"{POOL}{ROUTE}{header}\nquery = {{ a = 5, '' = '1' }}")
        parts = ("header.A: 5", "header.B: regex: '('", "'Host'", "'b c'", "query.a: 5", "query: ''")
        for line, part in zip(said, parts, strict=True):
            self.assertIn(part, line)

    def test_pipes(self) -> None:
        """They are no files: whoever opened one would wait."""
        pipe = self.mktemp()
        os.mkfifo(pipe)
        with self.assertRaisesRegex(ConfigurationError, "it is a pipe, and no file"):
            read_configuration(pipe)
        for text in (f"include = '{pipe}'", f"via = {{ file = '{pipe}' }}", f"sticky = 'a'\nsticky-key-file = '{pipe}'"):
            self.assertIn("it is a pipe, and no file", self.said(f"{BACKENDS}{text.replace(pipe, os.path.abspath(pipe))}")[0])

    def test_what_other_programs_call_it(self) -> None:
        """The key for it is named."""
        for text, meant in (
            ("upstreams = ['a:1']", "pools"),
            ("servers = ['a:1']", "backends"),
            (f"{BACKENDS}middlewares = 5", "filters"),
            ("[pools.app]\nservers = ['a:1']", "backends"),
            (f"{POOL}balance = 'roundrobin'", "policy"),
            (f"{POOL}health_check = '/'", "probe"),
            (f"{POOL}[[routes]]\nproxy_pass = 'app'", "pool"),
            (f"{POOL}[[routes]]\nserver_name = 'a'\npool = 'app'", "host"),
            (f"{POOL}[[routes]]\nlocation = '/a'\npool = 'app'", "path-prefix"),
            (f"{POOL}[[routes]]\nmiddlewares = 'a'\npool = 'app'", "filters"),
            (f"{POOL}[[routes]]\npath_prefix = '/a'\npool = 'app'", "path-prefix"),
        ):
            self.assertIn(f"there is no such key (did you mean {meant}?", self.only(text))

    def test_the_nearest_key_is_named(self) -> None:
        """At the top, in pools, in routes."""
        self.assertIn("1: retrys: there is no such key (did you mean retries?)", self.only(f"retrys = 1\n{BACKENDS}"))
        self.assertIn("3: pools.app.retrys: there is no such key (did you mean retries?)", self.only(f"{POOL}retrys = 1"))
        said = self.only(f"{POOL}{ROUTE}pathprefix = '/'")
        self.assertIn("5: routes[0].pathprefix: there is no such key (did you mean path-prefix?)", said)

    def test_keys_that_belong_elsewhere(self) -> None:
        """Where, is said."""
        for text, hint in (
            (f"retry_budget = 1\n{BACKENDS}", "did you mean retry-budget? keys are written with hyphens"),
            (f"check = true\n{BACKENDS}", "it is said on the command line alone"),
            (f"host = 'a'\n{BACKENDS}", "it is said of a route: [[routes]] with host = ..."),
            (f"weight = 5\n{BACKENDS}", 'it is said of a backend: "HOST:PORT:weight=5"'),
            (f"{POOL}listen = 'tcp:80'", "it is said of the whole, at the top of the file"),
            (f"{POOL}body-limit = 1", "it is said of the whole, at the top of the file"),
            (f"{POOL}host = 'a'", "it is said of a route"),
            (f"{POOL}{ROUTE}retries = 1", "it is said of a pool: [pools.NAME] with retries = ..."),
            (f"{POOL}{ROUTE}hsts = 1", "it is said of the whole, at the top of the file"),
            (f"{POOL}{ROUTE}match = {{}}", "there is no such key"),
            (f"pool = 1\n{BACKENDS}", "did you mean pools?"),
        ):
            self.assertIn(hint, self.only(text))

    def test_sizes_are_told_with_their_units(self) -> None:
        """A file takes them, though settings in Python do not."""
        said = self.only(f"body-limit = '64q'\n{BACKENDS}")
        self.assertIn("body-limit: '64q' was given; allowed is a whole number from 0 to", said)
        self.assertTrue(said.endswith(', or one with k, m or g behind it, such as "64k"'), said)
        self.assertNotIn("behind it", self.only(f"retries = 'x'\n{BACKENDS}"))

    def test_what_is_no_toml_is_told_with_what_options_say_wrong(self) -> None:
        """And nothing is made up of what could not be read."""
        said = self.said("a = 1\nb = [", {"retries": "x"})
        self.assertEqual([line.partition(": ")[0] for line in said], ["--retries", "2"])

    def test_tables_that_are_none(self) -> None:
        """Pools, routes and filters of the wrong kind."""
        self.assertIn("pools: 5 was given; allowed are tables", self.said("pools = 5")[0])
        self.assertIn("pools.app: 5 was given; allowed is a table", self.said("pools = { app = 5 }")[0])
        self.assertIn("filters: 5 was given; allowed are tables", self.said(f"filters = 5\n{BACKENDS}")[0])
        self.assertIn("with two brackets on each side", self.said(f"{POOL}[routes]\npool = 'app'")[0])
        self.assertIn("filters.a: 5 was given", self.said(f"filters.a = 5\n{BACKENDS}")[0])

    def test_mistakes_come_in_the_order_of_lines(self) -> None:
        """All of them in one go, options' first."""
        said = self.said("queue = -1\n[pools.app]\nbackends = 'x'\nretries = -1\n[[routes]]\nhots = 'x'\n", {"drain": "-1"})
        self.assertEqual([line.partition(":")[0] for line in said], ["--drain", "1", "3", "4", "5", "6"])

    @given(_FILES)
    def test_whatever_is_written_it_is_read_or_told_why_not(self, values: dict[str, str]) -> None:
        """Nothing else is ever raised."""
        try:
            self.read("\n".join(f"{key} = {value}" for key, value in values.items()))
        except ConfigurationError as error:
            self.assertTrue(str(error))


class OverrideTests(_Reads):
    """What options say beside a file."""

    def test_options_win_over_everything(self) -> None:
        """What pools say themselves, too."""
        loaded = self.read(f"retries = 1\n{POOL}retries = 2\npolicy = 'first'", {"retries": "5", "policy": "random", "queue": 9})
        (pool,) = loaded.configuration.pools
        self.assertEqual((pool.settings.retries, pool.settings.queue, pool.policy), (5, 9, "random"))
        self.assertEqual(loaded.origin("pools.app.retries"), "--retries")
        self.assertEqual(loaded.origin("retries"), "--retries")

    def test_their_mistakes_name_the_option_and_no_file(self) -> None:
        """As on the command line alone."""
        self.assertIn("--retries: 'x' was given; allowed is a whole number", self.only(BACKENDS, {"retries": "x"}))
        self.assertEqual(
            self.only(BACKENDS, {"sticky-max-age": "5"}),
            "--sticky-max-age: it was given without --sticky; say the cookie's name as well",
        )

    def test_backends_of_an_option_are_the_only_pools(self) -> None:
        """Where there are several, it is a mistake."""
        given = {"backends": ["10.0.0.9:80"]}
        loaded = self.read(POOL, given)
        self.assertEqual(loaded.configuration.pools[0].backends, (Backend("10.0.0.9", 80),))
        self.assertEqual(loaded.origin("pools.app.backends"), "--backends")
        self.assertEqual(self.configuration(BACKENDS, given).pools[0].backends, (Backend("10.0.0.9", 80),))
        said = self.said(f"{POOL}[pools.b]\n{BACKENDS}{ROUTE}", given)
        self.assertIn("--backends: it is for one pool, and the file has several (app, b)", said[0])

    def test_paths_of_options_are_relative_to_where_we_are(self) -> None:
        """And not to the file."""
        read = self.configuration(BACKENDS, {"access-log": "a.log", "listen": ["tcp:1"], "watch": True})
        self.assertEqual(read.access_log, AccessLogFile(path=os.path.abspath("a.log")))
        self.assertEqual((read.listen, read.watch), (("tcp:1",), True))

    def test_a_key_file_of_an_option_stands_in_for_the_files_key(self) -> None:
        """Since both say the same."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("f" * 16)
        loaded = self.read(f"{BACKENDS}sticky = 'a'\nsticky-key = '{'e' * 16}'", {"sticky-key-file": path})
        self.assertEqual(loaded.configuration.settings.sticky_key, b"f" * 16)
        self.assertEqual(loaded.origin("sticky-key"), "--sticky-key-file")


    def test_options_alone(self) -> None:
        """They need no file, and all that is wrong names them."""
        self.assertEqual(read_options({"backends": ["10.0.0.1:8000"]}).configuration, self.configuration(BACKENDS))
        with self.assertRaises(ConfigurationError) as raised:
            read_options({"backends": ["x"], "probe": "x", "sticky-max-age": "-1", "hsts": "5"})
        said = str(raised.exception).splitlines()
        self.assertEqual([line.partition(": ")[0] for line in said], ["--sticky-max-age", "--backends", "--probe", "--hsts"])
        with self.assertRaises(ConfigurationError) as raised:
            read_options({"admin-writable": True})
        said = str(raised.exception).splitlines()
        self.assertEqual([line.partition(": ")[0] for line in said], ["--admin-writable", "--backends"])
        self.assertIn("it was given without --admin", said[0])


class OriginTests(_Reads):
    """Where values come from."""

    def test_files_and_defaults(self) -> None:
        """Of the top, of pools, of what pools have from the top, of routes."""
        loaded = self.read(f"retries = 1\n{POOL}queue = 1\n{ROUTE}header = {{ X-A = '1' }}\n")
        for path, origin in (
            ("retries", "/etc/lb.toml:1"),
            ("pools.app.retries", "/etc/lb.toml:1"),
            ("pools.app.queue", "/etc/lb.toml:4"),
            ("pools.app.panic", "default"),
            ("pools.app", "/etc/lb.toml:2"),
            ("routes[0].header.X-A", "/etc/lb.toml:7"),
            ("routes[0].host", "default"),
            ("routes[9].host", "default"),
            ("watch", "default"),
        ):
            self.assertEqual(loaded.origin(path), origin, path)

    def test_files_on_a_disk(self) -> None:
        """All that is to be watched; lines of an included file; nothing is said of files that are not there without a word."""
        folder = os.path.realpath(self.mktemp())
        os.mkdir(folder)
        for name, text in (("lb.toml", f"include = ['*.toml']\n{BACKENDS}"), ("more.toml", "\nretries = 7\n")):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
        loaded = read_configuration(os.path.join(folder, "lb.toml"))
        self.assertEqual(loaded.origin("retries"), os.path.join(folder, "more.toml:2"))
        self.assertEqual(loaded.files, (folder, os.path.join(folder, "lb.toml"), os.path.join(folder, "more.toml")))
        self.assertRaisesRegex(ConfigurationError, "No such file", read_configuration, os.path.join(folder, "no.toml"))
