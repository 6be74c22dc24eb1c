"""Promises about how an operator writes backends."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import BACKUP_TIER, MAX_IN_FLIGHT, MAX_WEIGHT, Backend, parse_backends
from lbproxy.errors import ConfigurationError

from ..support import given

FORMS = [
    ("10.0.0.1:8000", Backend("10.0.0.1", 8000), "10.0.0.1:8000"),
    (" 10.0.0.1:8000 ", Backend("10.0.0.1", 8000), "10.0.0.1:8000"),
    ("http://10.0.0.1:8000", Backend("10.0.0.1", 8000), "10.0.0.1:8000"),
    ("http://10.0.0.1:8000/", Backend("10.0.0.1", 8000), "10.0.0.1:8000"),
    ("App-1.Example.org:80", Backend("app-1.example.org", 80), "app-1.example.org:80"),
    ("my_app:80", Backend("my_app", 80), "my_app:80"),
    ("localhost.:80", Backend("localhost.", 80), "localhost.:80"),
    ("[::1]:8000", Backend("::1", 8000), "[::1]:8000"),
    ("[2001:DB8:0:0::1]:65535", Backend("2001:db8::1", 65535), "[2001:db8::1]:65535"),
    ("http://[::1]:1", Backend("::1", 1), "[::1]:1"),
    ("unix:/run/app.sock", Backend("/run/app.sock"), "unix:/run/app.sock"),
    ("unix:/run/app:1.sock", Backend("/run/app:1.sock"), "unix:/run/app:1.sock"),
    ("10.0.0.1:8000:weight=5", Backend("10.0.0.1", 8000, weight=5), "10.0.0.1:8000"),
    ("http://a:8000:weight=1000", Backend("a", 8000, weight=1000), "a:8000"),
    ("[::1]:8000:weight=2", Backend("::1", 8000, weight=2), "[::1]:8000"),
    ("unix:/run/app.sock:weight=7", Backend("/run/app.sock", weight=7), "unix:/run/app.sock"),
    ("a:80:backup", Backend("a", 80, tier=BACKUP_TIER), "a:80"),
    ("a:80:weight=2:backup:max-in-flight=9", Backend("a", 80, weight=2, tier=BACKUP_TIER, max_in_flight=9), "a:80"),
    ("a:80:tier=0", Backend("a", 80), "a:80"),
    ("unix:/run/app.sock:tier=99", Backend("/run/app.sock", tier=99), "unix:/run/app.sock"),
    ("a:80:proxy-protocol=v1", Backend("a", 80, proxy_protocol=1), "a:80"),
    ("unix:/run/app.sock:proxy-protocol=v2", Backend("/run/app.sock", proxy_protocol=2), "unix:/run/app.sock"),
    ("[::1]:80:proxy-protocol=v2:weight=3", Backend("::1", 80, weight=3, proxy_protocol=2), "[::1]:80"),
    ("https://App.example:443", Backend("app.example", 443, tls=True), "app.example:443"),
    ("https://a:443/:verify=off", Backend("a", 443, tls=True, verify=False), "a:443"),
    ("https://a:443:weight=2:verify-name=B.example", Backend("a", 443, weight=2, tls=True, verify_name="b.example"), "a:443"),
    ("https://10.0.0.1:443:verify-name=a", Backend("10.0.0.1", 443, tls=True, verify_name="a"), "10.0.0.1:443"),
    ("https://10.0.0.1:443:verify-name=10.0.0.1", Backend("10.0.0.1", 443, tls=True, verify_name="10.0.0.1"), "10.0.0.1:443"),
    ("https://[::1]:1:verify-name=[0::1]:weight=2", Backend("::1", 1, weight=2, tls=True, verify_name="::1"), "[::1]:1"),
    ("https://[::1]:443:verify=off:verify-name=a", Backend("::1", 443, tls=True, verify=False, verify_name="a"), "[::1]:443"),
]

# What is given, and words that the message must hold: what is wrong, and what is allowed.
MISTAKES = [
    ("10.0.0.1", "it has no port", "HOST:PORT"),
    ("10.0.0.1:", "'' is no port", "1 to 65535"),
    ("10.0.0.1:0", "'0' is no port", "1 to 65535"),
    ("10.0.0.1:65536", "'65536' is no port", "1 to 65535"),
    ("10.0.0.1:http", "'http' is no port", "1 to 65535"),
    ("10.0.0.1:+80", "'+80' is no port", "1 to 65535"),
    ("10.0.0.1:٨٠", "is no port", "1 to 65535"),
    ("10.0.0.256:80", "'10.0.0.256' is no IPv4 address", "HOST:PORT"),
    ("10.0.1:80", "'10.0.1' is no IPv4 address", "HOST:PORT"),
    (":80", "'' is no host name", "HOST:PORT"),
    ("-a:80", "'-a' is no host name", "HOST:PORT"),
    ("a b:80", "'a b' is no host name", "HOST:PORT"),
    ("a..b:80", "'a..b' is no host name", "HOST:PORT"),
    ("x" * 64 + ":80", "is no host name", "HOST:PORT"),
    ("user@a:80", "'user@a' is no host name", "HOST:PORT"),
    ("::1:80", "an IPv6 address must stand in brackets", "[IPV6]:PORT"),
    ("[::g]:80", "'::g' is no IPv6 address", "[IPV6]:PORT"),
    ("[::1]", "", "[IPV6]:PORT"),
    ("https://a", "it has no port", "https://HOST:PORT"),
    ("https://unix:/run/app.sock", "cannot be read", "https://HOST:PORT"),
    ("https+unix:/run/app.sock", "cannot be read", "https://HOST:PORT"),
    ("https://10.0.0.1:443", "this is an address", ":verify-name=app.example, or :verify=off"),
    ("https://[::1]:443", "this is an address", ":verify-name=app.example, or :verify=off"),
    ("https://a:443:verify=on", "verify 'on' was given", "allowed is off; without it, certificates are verified"),
    ("https://a:443:verify=", "verify '' was given", "allowed is off"),
    ("https://a:443:verify-name=", "verify-name '' was given", "a host name, or an address"),
    ("https://a:443:verify-name=a b", "verify-name 'a b' was given", "a host name, or an address"),
    ("https://a:443:verify-name=10.0.0", "verify-name '10.0.0' was given", "a host name, or an address"),
    ("a:80:verify=off", "verify 'off' was given", "https://HOST:PORT alone"),
    ("http://a:80:verify-name=b", "verify-name 'b' was given", "https://HOST:PORT alone"),
    ("unix:/run/app.sock:verify=off", "verify 'off' was given", "https://HOST:PORT alone"),
    ("ftp://a:21", "scheme 'ftp' is not served", "http://HOST:PORT"),
    ("http://a:80/path", "is no port", "http://HOST:PORT"),
    ("unix:run/app.sock", "must begin with a slash", "unix:/path"),
    ("unix:/" + "x" * 107, "must not be longer than 107 bytes", "unix:/path"),
    ("a:80:weight=0", "weight 0 was given", "1 to 1000"),
    ("a:80:weight=1001", "weight 1001 was given", "1 to 1000"),
    ("a:80:weight=-1", "weight '-1' was given", "1 to 1000"),
    ("a:80:weight=1.5", "weight '1.5' was given", "1 to 1000"),
    ("a:80:weight=", "weight '' was given", "1 to 1000"),
    ("a:80:weight=" + "9" * 5000, "was given", "1 to 1000"),
    ("a:80:wieght=5", "option 'wieght' is not known (did you mean weight?)", "weight (a whole number from 1 to 1000), tier"),
    ("a:80:proxy-protocol=", "proxy-protocol '' was given", "v1 or v2"),
    ("a:80:proxy-protocol=2", "proxy-protocol '2' was given", "v1 or v2"),
    ("a:80:proxy-protocol=v0", "proxy-protocol 'v0' was given", "v1 or v2"),
    ("a:80:proxy-protocol=V1", "proxy-protocol 'V1' was given", "v1 or v2"),
    ("a:80:proxy-protocol=v1:proxy-protocol=v1", "option 'proxy-protocol' is given twice", ""),
    ("a:80:weight=1:weight=2", "option 'weight' is given twice", ""),
    ("a:80:weight=1:x", "its options cannot be read", "HOST:PORT"),
    ("a:80:tier=100", "tier 100 was given", "0 to 99"),
    ("a:80:tier=-1", "tier '-1' was given", "0 to 99"),
    ("a:80:tier=1:backup", "both tier and backup were given", "give one of them"),
    ("a:80:backup:backup", "option 'backup' is given twice", ""),
    ("a:80:backup=1", "backup '1' was given", "takes no value"),
    ("a:80:backups", "'backups' is none of its options", ":backup"),
    ("a:80:max-in-flight=0", "max-in-flight 0 was given", "1 to 1000000"),
    ("a:80:max-in-flight=many", "max-in-flight 'many' was given", "1 to 1000000"),
]

hosts = st.one_of(
    st.from_regex(r"[a-z][a-z0-9_]{0,20}(\.[a-z][a-z0-9-]{0,20}[a-z0-9]){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
tls: Any = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"tls": st.just(True), "verify": st.booleans(), "verify_name": hosts}),
    st.just({"tls": True, "verify": False}),
)


def backend(tls: dict[str, Any], **values: Any) -> Backend:
    return Backend(**values, **tls)


backends = st.builds(
    backend,
    tls,
    host=hosts,
    port=st.integers(1, 65535),
    weight=st.integers(1, MAX_WEIGHT),
    proxy_protocol=st.integers(0, 2),
    tier=st.integers(0, BACKUP_TIER),
    max_in_flight=st.integers(0, MAX_IN_FLIGHT),
)


class ParsedBackends(SynchronousTestCase):
    """An operator's words become the backend they mean."""

    def test_every_form_is_read(self) -> None:
        """Addresses, names, URLs, IPv6 in brackets and Unix sockets are read, with their options."""
        for text, backend, address in FORMS:
            self.assertEqual((Backend.parse(text), backend.address), (backend, address), text)

    def test_a_mistake_is_named_with_what_is_allowed(self) -> None:
        """The message holds what was given, what is wrong with it, and what is allowed."""
        for text, wrong, allowed in MISTAKES:
            message = str(self.assertRaises(ConfigurationError, Backend.parse, text))
            for part in (wrong, allowed):
                self.assertIn(part, message)
            if "weight" not in text:
                self.assertIn(text, message)

    @given(backends)
    def test_an_address_reads_back_as_the_same_backend(self, backend: Backend) -> None:
        """What lbproxy prints of a backend can be given to it again."""
        text = f"{'https://' * backend.tls}{backend.address}:weight={backend.weight}"
        if not backend.verify:
            text += ":verify=off"
        if backend.verify_name:
            name = backend.verify_name
            text += f":verify-name=[{name}]" if ":" in name else f":verify-name={name}"
        if backend.proxy_protocol:
            text += f":proxy-protocol=v{backend.proxy_protocol}"
        if backend.tier:
            text += ":backup" if backend.tier == BACKUP_TIER else f":tier={backend.tier}"
        if backend.max_in_flight:
            text += f":max-in-flight={backend.max_in_flight}"
        self.assertEqual(Backend.parse(text), backend)

    @given(st.text(max_size=40))
    def test_nonsense_is_an_error_of_configuration(self, text: str) -> None:
        """Whatever stands there is read, or refused with a message, and nothing else."""
        try:
            Backend.parse(text)
        except ConfigurationError:
            pass

    def test_a_backend_made_in_code_has_its_weight_checked(self) -> None:
        """The library refuses what the command line refuses."""
        for weight in (0, 1001, -1, 1.5, True, "3"):
            error = self.assertRaises(ConfigurationError, Backend, "a", 80, weight)
            self.assertIn(repr(weight), str(error))

    def test_a_backend_made_in_code_has_its_proxy_protocol_checked(self) -> None:
        """There are versions 1 and 2, and 0 for none."""
        for version in (3, -1, True, "v1", None):
            error = self.assertRaises(ConfigurationError, Backend, "a", 80, proxy_protocol=version)
            self.assertIn(repr(version), str(error))
        self.assertEqual([Backend("a", 80, proxy_protocol=version).proxy_protocol for version in (0, 1, 2)], [0, 1, 2])
        self.assertEqual(Backend.parse("a:80").proxy_protocol, 0)

    def test_a_backend_made_in_code_has_what_is_said_of_tls_checked(self) -> None:
        """It goes with TLS alone, which goes with a port; and it must be known for whom a certificate is to be."""
        for host, options, words in (
            ("a", {"verify": False}, "https alone"),
            ("a", {"verify_name": "b"}, "https alone"),
            ("a", {"tls": "yes"}, "tls 'yes' was given"),
            ("a", {"tls": True, "verify": "off"}, "verify 'off' was given"),
            ("a", {"tls": True, "verify_name": "a b"}, "verify-name 'a b' was given"),
            ("a", {"tls": True, "verify_name": None}, "verify-name None was given"),
            ("10.0.0.1", {"tls": True}, "this is an address"),
            ("::1", {"tls": True}, "this is an address"),
        ):
            error = self.assertRaises(ConfigurationError, lambda: Backend(host, 443, **options))  # noqa: B023 - called at once
            self.assertIn(words, str(error))
        self.assertRaises(ConfigurationError, lambda: Backend("/run/app.sock", tls=True))
        for host in ("", ".", "a b", "ä.example", "[::1]", "a\n"):  # nobody's certificate could be for it
            self.assertRaises(ConfigurationError, lambda host=host: Backend(host, 443, tls=True))
            self.assertRaises(ConfigurationError, lambda host=host: Backend(host, 443, tls=True, verify=False))

    def test_all_mistakes_about_tls_are_told_at_once(self) -> None:
        """A line for each, with those of the other options."""
        text = "https://a:443:verify=no:verify-name=:weight=0"
        lines = str(self.assertRaises(ConfigurationError, Backend.parse, text)).splitlines()
        self.assertEqual([next(word for word in ("weight 0", "verify 'no'", "verify-name ''") if word in line) for line in lines],
                         ["weight 0", "verify 'no'", "verify-name ''"])  # fmt: skip
        lines = str(self.assertRaises(ConfigurationError, Backend.parse, "https://10.0.0.1:443:weight=0")).splitlines()
        self.assertEqual(len(lines), 2)

    def test_a_backend_cannot_be_changed(self) -> None:
        """Backends are values: equal ones are one key, and none changes under its user."""
        backend = Backend("a", 80)
        self.assertRaises(AttributeError, setattr, backend, "host", "b")
        self.assertEqual({backend: 1}, {Backend("a", 80): 1})


class BackendLists(SynchronousTestCase):
    """A list of backends is read whole and in order."""

    def test_lists_may_be_repeated(self) -> None:
        """Several lists count as one; blanks and empty parts between commas mean nothing."""
        parsed = parse_backends(["a:1, b:2", "", "c:3,,"])
        self.assertEqual([backend.address for backend in parsed], ["a:1", "b:2", "c:3"])

    def test_a_backend_named_twice_is_refused(self) -> None:
        """However it is written, one address stands once."""
        for texts in (["a:80,a:80"], ["a:80", "http://A:80/:weight=2"], ["[::1]:1,[0::1]:1"]):
            self.assertIn("is named twice", str(self.assertRaises(ConfigurationError, parse_backends, texts)))

    def test_all_mistakes_are_told_at_once(self) -> None:
        """A line for each, so that one run is enough to mend them all."""
        message = str(self.assertRaises(ConfigurationError, parse_backends, ["a:99999,foo,b:1,b:1"]))
        first, second, third = message.splitlines()
        self.assertIn("'a:99999'", first)
        self.assertIn("'foo'", second)
        self.assertIn("b:1 is named twice", third)

    def test_all_mistaken_options_of_a_backend_are_told_at_once(self) -> None:
        """Each on a line of its own, with what is allowed."""
        texts = ["a:1:weight=0:proxy-protocol=v3:fast=yes,b:2:weight=x"]
        message = str(self.assertRaises(ConfigurationError, parse_backends, texts))
        weight, version, unknown, other = message.splitlines()
        self.assertIn("weight 0 was given; allowed is a whole number from 1 to 1000", weight)
        self.assertIn("proxy-protocol 'v3' was given; allowed is v1 or v2", version)
        self.assertIn("option 'fast' is not known", unknown)
        self.assertIn("weight 'x' was given", other)

    def test_no_backend_is_refused(self) -> None:
        """Without a backend there is nothing to balance, and the message says how to name one."""
        for texts in ([], [""], [" , "]):
            message = str(self.assertRaises(ConfigurationError, parse_backends, texts))
            self.assertIn("no backend was given", message)
            self.assertIn("HOST:PORT", message)
