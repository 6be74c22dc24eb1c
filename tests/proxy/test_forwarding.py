"""Promises about what a backend is told of who asks, and about whose word is taken for it."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import takewhile

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.addresses import Address, node_address
from lbproxy.http1.head import RequestHead
from lbproxy.proxy import forwarding as rules
from lbproxy.proxy.client import Client
from lbproxy.proxy.forwarding import Forwarding
from lbproxy.settings import Settings

from ..support import given

#: Who is trusted in these tests; PROXY is one of them, INNER another, CLIENT and FORGED are not.
TRUSTED = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8:1::/48")))
PROXY, INNER, CLIENT, FORGED = "10.0.0.1", "10.9.9.9", "192.0.2.7", "203.0.113.66"

#: Where a peer connected from, and to.
SOURCE, DESTINATION = ("192.0.2.7", 50000), ("198.51.100.1", 80)

SAID = (
    "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-server", "x-forwarded-prefix",
    "x-real-ip", "forwarded", "x-request-id", "x-ssl-client-verify", "x-ssl-client-s-dn", "x-ssl-client-san",
    "x-ssl-client-sha256", "client-cert", "client-cert-chain", "x-forwarded-client-cert",
)  # fmt: skip

# What llhttp lets a field's value be.
contents = st.one_of(
    st.from_regex(rb"([!-~\x80-\xff]([\t -~\x80-\xff]{0,40}[!-~\x80-\xff])?)?", fullmatch=True),
    st.sampled_from([b"10.0.0.1", b"203.0.113.66, 10.0.0.1", b"https", b"for=203.0.113.66;proto=https", b"for=", b"evil.org"]),
)
everything_said = st.dictionaries(st.sampled_from(SAID), contents)
proxies = st.one_of(st.ip_addresses(network="10.0.0.0/8"), st.ip_addresses(network="2001:db8:1::/48")).map(str)
strangers = st.one_of(st.ip_addresses(network="192.0.2.0/24"), st.ip_addresses(network="2001:db8:2::/48")).map(str)
no_addresses = st.sampled_from(["unknown", "_hidden", "<script>", "1.2.3", "10.0.0.1.", "10.0.0.1:port", "fe80::1%" + "a" * 200])


def head(said: dict[str, bytes] | None = None, *, host: bytes | None = b"example.org", minor: int = 1) -> RequestHead:
    """A request's head with these known fields."""
    made = RequestHead(b"GET", b"/", minor, b"", {name.encode(): value for name, value in (said or {}).items()})
    made.host = host
    return made


def asked(
    forwarding: Forwarding,
    address: str,
    said: dict[str, bytes] | None = None,
    secure: bool = False,
    host: bytes | None = b"example.org",
) -> Client:
    """The client of one request that comes from an address."""
    client = forwarding.client(SOURCE, DESTINATION, secure, address)
    return forwarding.of_request(client, head(said, host=host)) if client.varies else client


def lines(client: Client) -> list[str]:
    """What a backend is told, a line each."""
    *found, last = client.forwarded.decode("latin-1").split("\r\n")
    assert last == ""
    return found


def line(client: Client, name: str) -> str | None:
    """The value of the one line of that name."""
    found = [each.removeprefix(f"{name}: ") for each in lines(client) if each.startswith(f"{name}:")]
    assert len(found) <= 1
    return found[0] if found else None


def as_node(address: str) -> str:
    """An address as Forwarded has it."""
    return f'"[{address}]"' if ":" in address else address


class UntrustedPeers(SynchronousTestCase):
    """What a stranger says of itself reaches nobody."""

    def test_a_forged_chain_reaches_nobody(self) -> None:
        """The backend gets the address that the request came from, and so does the log."""
        said = {"x-forwarded-for": b"203.0.113.66, 10.0.0.1", "x-real-ip": b"203.0.113.66", "forwarded": b"for=203.0.113.66"}
        for forwarding in (Forwarding(), Forwarding(TRUSTED), Forwarding(TRUSTED, forwarded=True, via="lb")):
            client = asked(forwarding, CLIENT, said)
            self.assertEqual((client.address, line(client, "X-Forwarded-For")), (CLIENT, CLIENT))
            self.assertNotIn(b"203.0.113.66", client.forwarded)

    @given(everything_said, st.one_of(strangers, st.sampled_from(["unix", "", "nonsense"])), st.booleans(), st.booleans())
    def test_the_lines_depend_on_the_address_alone(
        self, said: dict[str, bytes], address: str, secure: bool, forwarded: bool
    ) -> None:
        """Whatever an untrusted client sends in any of these fields, it is told of as if it had sent none."""
        forwarding = Forwarding(TRUSTED, forwarded, "lb")
        client, silent = asked(forwarding, address, said, secure), asked(forwarding, address, {}, secure)
        for name in Client.__slots__:
            self.assertEqual(getattr(client, name), getattr(silent, name), name)
        self.assertEqual((client.secure, client.forwarded_host, client.request_id), (secure, None, b""))

    def test_nobody_is_trusted_by_default(self) -> None:
        """Not even who comes from this machine."""
        for address in ("127.0.0.1", "::1", "10.0.0.1", "unix", "unknown"):
            client = asked(Forwarding.of(Settings()), address, {"x-forwarded-for": FORGED.encode()})
            self.assertEqual(lines(client), [f"X-Forwarded-For: {address}", "X-Forwarded-Proto: http"])

    def test_requests_of_one_connection_share_a_client(self) -> None:
        """Where nothing is written that differs from one to the next; and connections share the lines."""
        forwarding = Forwarding(TRUSTED)
        first, second = (forwarding.client((CLIENT, port), DESTINATION, True, CLIENT) for port in (1, 2))
        self.assertFalse(first.varies)
        self.assertIs(first.forwarded, second.forwarded)
        self.assertEqual((first.source, second.source, first.destination), ((CLIENT, 1), (CLIENT, 2), DESTINATION))
        self.assertEqual(lines(first), [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https"])

    def test_what_it_has_shown_stands_in_each_of_its_requests(self) -> None:
        """Whether they share a client or not; and nothing of it in a connection without a certificate."""
        shown = b"X-SSL-Client-Verify: SUCCESS\r\nX-SSL-Client-S-DN: CN=jane\r\n"
        for forwarding in (Forwarding(TRUSTED), Forwarding(TRUSTED, forwarded=True, via="lb")):
            for identity in (shown, b""):
                client = forwarding.client(SOURCE, DESTINATION, True, CLIENT, identity)
                said = head({"x-ssl-client-verify": b"SUCCESS", "x-ssl-client-s-dn": b"CN=admin", "client-cert": b":AA==:"})
                client = forwarding.of_request(client, said) if client.varies else client
                told = [each for each in lines(client) if "Client" in each]
                self.assertEqual(told, identity.decode().splitlines())

    def test_only_what_is_an_address_is_written_as_one(self) -> None:
        """A PROXY protocol header may hold anything, in an IPv6 zone too."""
        for address, name in (
            ("1.2.3.4\nX-Evil: 1", "unknown"),
            ("fe80::1%\r\nX-Evil: 1", "fe80::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("fe80::1%a%b", "unknown"),
            ("٣.2.3.4", "unknown"),
            ("example.org", "unknown"),
            ("", "unknown"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ):
            client = asked(Forwarding(TRUSTED), address)
            self.assertEqual((client.address, lines(client)[0]), (name, f"X-Forwarded-For: {name}"), address)
            self.assertEqual(len(lines(client)), 2)


class TrustedPeers(SynchronousTestCase):
    """What a trusted proxy says is kept, and the client looked for in it."""

    def setUp(self) -> None:
        self.forwarding = Forwarding(TRUSTED)

    def chain(self, chain: str, peer: str = PROXY) -> tuple[str, str | None]:
        """Who is found to ask, and the chain that the backend gets."""
        client = asked(self.forwarding, peer, {"x-forwarded-for": chain.encode()})
        return client.address, line(client, "X-Forwarded-For")

    def test_the_chain_is_kept_and_the_peer_added(self) -> None:
        """The backend may walk it as this balancer does."""
        self.assertEqual(self.chain(f"{FORGED},{CLIENT} , {INNER}"), (CLIENT, f"{FORGED},{CLIENT} , {INNER}, {PROXY}"))
        self.assertEqual(self.chain(CLIENT, "2001:db8:1::5"), (CLIENT, f"{CLIENT}, 2001:db8:1::5"))

    def test_without_a_chain_the_peer_asks(self) -> None:
        """A trusted proxy may ask for itself, as in its probes."""
        for said in ({}, {"x-forwarded-for": b""}):
            client = asked(self.forwarding, PROXY, said)
            self.assertEqual((client.address, lines(client)), (PROXY, [f"X-Forwarded-For: {PROXY}", "X-Forwarded-Proto: http"]))

    def test_a_peer_is_itself_in_either_family(self) -> None:
        """A socket for both families names an IPv4 peer by its mapped address."""
        self.assertEqual(self.chain(CLIENT, "::ffff:10.0.0.1"), (CLIENT, f"{CLIENT}, {PROXY}"))
        self.assertEqual(self.chain(f"{CLIENT}, ::ffff:10.9.9.9")[0], CLIENT)

    def test_entries_may_carry_ports(self) -> None:
        """Some proxies write them."""
        for entry, address in (
            ("192.0.2.7:5678", CLIENT),
            ("[2001:db8::7]:80", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
        ):
            self.assertEqual(self.chain(f"{FORGED}, {entry}, 10.0.0.2:1, [2001:db8:1::9]:2")[0], address)

    def test_empty_entries_say_nothing(self) -> None:
        """As in any list (RFC 9110 section 5.6.1)."""
        self.assertEqual(self.chain(f",{FORGED}, ,{CLIENT},, ,10.0.0.2,\t,")[0], CLIENT)

    @given(st.lists(proxies), strangers, st.lists(st.one_of(strangers, proxies, no_addresses)))
    def test_the_client_is_the_first_from_the_right_who_is_not_trusted(
        self, trusted: list[str], client: str, before: list[str]
    ) -> None:
        """Whatever stands before it, which the client may have written itself."""
        self.assertEqual(self.chain(", ".join([*before, client, *trusted]))[0], client)

    @given(st.lists(proxies, min_size=1))
    def test_when_all_are_trusted_the_leftmost_asks(self, trusted: list[str]) -> None:
        """It is the one that nobody spoke for."""
        self.assertEqual(self.chain(", ".join(trusted))[0], trusted[0])

    @given(st.lists(proxies), no_addresses, st.lists(st.one_of(strangers, proxies)))
    def test_the_walk_ends_at_what_is_no_address(self, trusted: list[str], nothing: str, before: list[str]) -> None:
        """The last address before it stands; what lies beyond is nobody's word."""
        self.assertEqual(self.chain(", ".join([*before, nothing, *trusted]))[0], trusted[0] if trusted else PROXY)

    @given(st.lists(st.one_of(strangers, proxies, no_addresses)))
    def test_who_asks_was_named_by_trusted_proxies_alone(self, chain: list[str]) -> None:
        """Whatever the chain, every entry to the right of the one believed is a trusted proxy."""
        address, written = self.chain(", ".join(chain))
        believed = [*takewhile(lambda entry: entry.startswith(("10.", "2001:db8:1:")) and entry != address, reversed(chain))]
        rest = chain[: len(chain) - len(believed)]
        self.assertTrue(address == PROXY or rest[-1] == address, (address, chain))
        self.assertEqual(written, ", ".join([*chain, PROXY]))

    def test_a_long_chain_is_walked_no_further_than_needed(self) -> None:
        """An entry that is not asked for is not looked at, however many a client has sent."""
        looked: list[bytes] = []

        def look(node: bytes) -> Address | None:
            looked.append(node)
            return node_address(node)

        self.patch(rules, "node_address", look)
        self.assertEqual(self.chain("x," * 500_000 + f"{CLIENT}, {INNER}")[0], CLIENT)
        self.assertEqual(looked, [INNER.encode(), CLIENT.encode()])

    def test_what_else_it_says_is_kept(self) -> None:
        """As it came; where it says nothing nothing is added."""
        said = {
            "x-forwarded-proto": b"WSS",
            "x-forwarded-port": b"443",
            "x-forwarded-server": b"edge-1",
            "x-forwarded-prefix": b"/app",
            "x-real-ip": b"192.0.2.7",
            "forwarded": b'for=192.0.2.7;host="a,b"',
            "x-forwarded-for": CLIENT.encode(),
        }
        self.assertEqual(
            lines(asked(self.forwarding, PROXY, said)),
            [
                f"X-Forwarded-For: {CLIENT}, {PROXY}",
                "X-Forwarded-Proto: WSS",
                "X-Forwarded-Port: 443",
                "X-Forwarded-Server: edge-1",
                "X-Forwarded-Prefix: /app",
                "X-Real-IP: 192.0.2.7",
                'Forwarded: for=192.0.2.7;host="a,b"',
            ],
        )

    def test_what_it_says_of_its_clients_certificate_is_kept(self) -> None:
        """In its words, whatever it has shown itself."""
        said = {
            "x-ssl-client-verify": b"SUCCESS",
            "x-ssl-client-s-dn": b"CN=jane",
            "x-ssl-client-san": b"DNS:a, DNS:b",
            "x-ssl-client-sha256": b"00ff",
            "x-forwarded-client-cert": b"Hash=00ff",
            "client-cert": b":AA==:",
            "client-cert-chain": b":AB==:, :AC==:",
        }
        kept = [
            "X-SSL-Client-Verify: SUCCESS",
            "X-SSL-Client-S-DN: CN=jane",
            "X-SSL-Client-SAN: DNS:a, DNS:b",
            "X-SSL-Client-SHA256: 00ff",
            "X-Forwarded-Client-Cert: Hash=00ff",
            "Client-Cert: :AA==:",
            "Client-Cert-Chain: :AB==:, :AC==:",
        ]
        about = [f"X-Forwarded-For: {PROXY}", "X-Forwarded-Proto: https"]
        for words, written in ((said, [*about, *kept]), ({}, about)):
            client = self.forwarding.client(SOURCE, DESTINATION, True, PROXY, b"X-SSL-Client-S-DN: CN=proxy\r\n")
            self.assertEqual(lines(self.forwarding.of_request(client, head(words))), written)

    def test_the_host_it_names_is_kept(self) -> None:
        """Where it names none, it is the request's own, which whoever writes the request knows."""
        self.assertEqual(asked(self.forwarding, PROXY, {"x-forwarded-host": b"shop.example"}).forwarded_host, b"shop.example")
        self.assertIsNone(asked(self.forwarding, PROXY, {"x-forwarded-host": b""}).forwarded_host)
        self.assertIsNone(asked(self.forwarding, PROXY).forwarded_host)

    def test_it_may_say_that_the_client_came_over_tls(self) -> None:
        """The last of several is the peer's own word; what is no protocol of the web changes nothing."""
        for said, secure, believed, written in (
            (b"https", False, True, "https"),
            (b"HTTPS", False, True, "HTTPS"),
            (b"wss", False, True, "wss"),
            (b"http", True, False, "http"),
            (b"ws", True, False, "ws"),
            (b"https, http", True, False, "https, http"),
            (b"http,https", False, True, "http,https"),
            (b"gopher", True, True, "gopher"),
            (b"gopher", False, False, "gopher"),
            (b"", True, True, "https"),
        ):
            client = asked(self.forwarding, PROXY, {"x-forwarded-proto": said}, secure)
            self.assertEqual((client.secure, line(client, "X-Forwarded-Proto")), (believed, written), (said, secure))

    def test_its_request_id_is_kept(self) -> None:
        """When it is 1 to 128 visible ASCII characters that need no quotes anywhere; else one is to be made."""
        for good in (b"a", b"x" * 128, b"0af7651916cd43dd-8448;eb211c80319c", b"!#$%&()*+-./:;<=>?@[]^_`{|}~"):
            self.assertEqual(asked(self.forwarding, PROXY, {"x-request-id": good}).request_id, good)
        for bad in (b"", b"x" * 129, b"a b", b"a,b", b'a"b', b"a'b", b"a\\b", b"a\tb", b"\xe9", b"a\n", b"a\x7f"):
            self.assertEqual(asked(self.forwarding, PROXY, {"x-request-id": bad}).request_id, b"", bad)

    def test_the_ends_are_the_connections(self) -> None:
        """A PROXY protocol header tells of the connection, whoever is behind it."""
        client = asked(self.forwarding, PROXY, {"x-forwarded-for": FORGED.encode()})
        self.assertEqual((client.source, client.destination), (SOURCE, DESTINATION))

    def test_one_client_for_each_request(self) -> None:
        """What one request says is not said of the next."""
        client = self.forwarding.client(SOURCE, DESTINATION, False, PROXY)
        self.assertTrue(client.varies)
        first = self.forwarding.of_request(client, head({"x-forwarded-for": b"192.0.2.1", "x-request-id": b"1"}))
        second = self.forwarding.of_request(client, head())
        self.assertEqual((first.address, second.address, client.address), ("192.0.2.1", PROXY, PROXY))
        self.assertEqual((first.request_id, second.request_id), (b"1", b""))

    def test_a_unix_socket_is_trusted_as_this_machine_is(self) -> None:
        """Who can open it is a process of this machine, as who comes from its loopback address is."""
        said = {"x-forwarded-for": CLIENT.encode()}
        for networks, trusted in ((["127.0.0.1"], True), (["::1"], True), (["127.0.0.0/8"], True), (["10.0.0.0/8"], False)):
            client = asked(Forwarding(map(ip_network, networks)), "unix", said)
            expected = (CLIENT, CLIENT) if trusted else ("unix", "unix")
            self.assertEqual((client.address, line(client, "X-Forwarded-For")), expected)

    def test_a_unix_socket_adds_nothing_to_what_is_said(self) -> None:
        """It has no address, and a chain that ends with a word is walked no further by whoever gets it."""
        forwarding = Forwarding([ip_network("127.0.0.1")], forwarded=True)
        client = asked(forwarding, "unix", {"x-forwarded-for": CLIENT.encode(), "forwarded": b"for=192.0.2.7;proto=https"})
        self.assertEqual((line(client, "X-Forwarded-For"), line(client, "Forwarded")), (CLIENT, "for=192.0.2.7;proto=https"))
        silent = asked(forwarding, "unix")
        self.assertEqual(
            (line(silent, "X-Forwarded-For"), line(silent, "Forwarded")), ("unix", "for=_unix;host=example.org;proto=http")
        )

    def test_who_has_no_address_is_not_trusted(self) -> None:
        """Though all addresses are."""
        client = asked(Forwarding(map(ip_network, ("0.0.0.0/0", "::/0"))), "nonsense", {"x-forwarded-for": FORGED.encode()})
        self.assertEqual((client.address, line(client, "X-Forwarded-For")), ("unknown", "unknown"))


class ForwardedField(SynchronousTestCase):
    """RFC 7239, written by option and read from trusted peers."""

    def setUp(self) -> None:
        self.reading = Forwarding(TRUSTED)
        self.writing = Forwarding(TRUSTED, forwarded=True)

    def test_it_is_written_of_each_client(self) -> None:
        """Beside X-Forwarded-For, for those who read the one or the other."""
        for address, host, secure, element in (
            (CLIENT, b"example.org", False, "for=192.0.2.7;host=example.org;proto=http"),
            ("2001:db8::7", b"example.org:8443", True, 'for="[2001:db8::7]";host="example.org:8443";proto=https'),
            ("nonsense", None, False, "for=unknown;proto=http"),
            ("unix", b"a", False, "for=_unix;host=a;proto=http"),
        ):
            client = asked(self.writing, address, {"forwarded": b"for=203.0.113.66"}, secure, host)
            self.assertEqual(line(client, "Forwarded"), element)
            self.assertIsNotNone(line(client, "X-Forwarded-For"))

    def test_it_is_not_written_without_the_option(self) -> None:
        """X-Forwarded-For is enough for most."""
        self.assertIsNone(line(asked(self.reading, PROXY, {"x-forwarded-for": CLIENT.encode()}), "Forwarded"))

    def test_a_trusted_peers_own_is_kept_and_added_to(self) -> None:
        """As it came, and ours behind it."""
        said = {"forwarded": b'for=203.0.113.66,For="192.0.2.7:80" ; proto=https', "x-forwarded-for": b"192.0.2.7"}
        own = "for=10.0.0.1;host=example.org;proto=http"
        self.assertEqual(line(asked(self.writing, PROXY, said), "Forwarded"), f"{said['forwarded'].decode()}, {own}")
        self.assertEqual(line(asked(self.reading, PROXY, said), "Forwarded"), said["forwarded"].decode())

    def test_which_of_two_is_believed_is_the_option(self) -> None:
        """Who writes Forwarded believes it first; who does not believes it where there is nothing else."""
        both = {"forwarded": b"for=192.0.2.1;proto=https", "x-forwarded-for": b"192.0.2.2"}
        alone = {"forwarded": both["forwarded"]}
        found = [asked(one, PROXY, said).address for one in (self.writing, self.reading) for said in (both, alone)]
        self.assertEqual(found, ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"])
        secure = [asked(one, PROXY, said).secure for one in (self.writing, self.reading) for said in (both, alone)]
        self.assertEqual(secure, [True, True, False, True])

    def test_both_fields_tell_the_same(self) -> None:
        """Where a peer sent one of them, the other begins with the client that was found."""
        client = asked(self.writing, PROXY, {"x-forwarded-for": b"192.0.2.7, 10.0.0.9", "x-forwarded-proto": b"https"})
        self.assertEqual(line(client, "Forwarded"), "for=192.0.2.7;proto=https, for=10.0.0.1;host=example.org;proto=http")
        for forwarding in (self.writing, self.reading):
            client = asked(forwarding, PROXY, {"forwarded": b'for="[2001:db8::7]:1";proto=https, for=10.0.0.9'})
            self.assertEqual(line(client, "X-Forwarded-For"), "2001:db8::7, 10.0.0.1")

    def test_a_malformed_one_is_neither_believed_nor_passed_on(self) -> None:
        """One mistake anywhere in it is enough; X-Forwarded-For is believed then."""
        for value in (b"for=192.0.2.1;for=192.0.2.2", b'for="192.0.2.1', b"for=192.0.2.1, <script>", b"192.0.2.1", b",", b""):
            said = {"forwarded": value, "x-forwarded-for": CLIENT.encode()}
            client = asked(self.writing, PROXY, said)
            self.assertEqual(client.address, CLIENT)
            self.assertEqual(line(client, "Forwarded"), f"for={CLIENT};proto=http, for={PROXY};host=example.org;proto=http")
            self.assertIsNone(line(asked(self.reading, PROXY, said), "Forwarded"))
            self.assertEqual(asked(self.reading, PROXY, {"forwarded": value}).address, PROXY)

    def test_the_protocol_is_that_of_the_element_believed(self) -> None:
        """The one that names the client says how it came; a hidden client's too, since a trusted proxy wrote it."""
        for value, address, secure in (
            (b"for=192.0.2.7;proto=https, for=10.0.0.2;proto=http", CLIENT, True),
            (b"for=203.0.113.66;proto=https, for=192.0.2.7;proto=http, for=10.0.0.2;proto=https", CLIENT, False),
            (b"for=_hidden;proto=https, for=10.0.0.2;proto=http", "10.0.0.2", True),
            (b"for=unknown;proto=HTTPS", PROXY, True),
            (b"for=192.0.2.7;proto=http;host=a, proto=https;by=_x", PROXY, True),
            (b"for=192.0.2.7", CLIENT, False),
        ):
            client = asked(self.reading, PROXY, {"forwarded": value})
            self.assertEqual((client.address, client.secure), (address, secure), value)
            self.assertEqual(line(client, "X-Forwarded-Proto"), "https" if secure else "http")

    def test_an_element_without_a_protocol_leaves_it_to_the_other_field(self) -> None:
        """And that to the connection."""
        said = {"forwarded": b"for=192.0.2.7", "x-forwarded-proto": b"https"}
        self.assertTrue(asked(self.reading, PROXY, said).secure)
        self.assertTrue(asked(self.reading, PROXY, {"forwarded": b"for=192.0.2.7"}, secure=True).secure)

    @given(st.lists(st.one_of(strangers, proxies), min_size=1))
    def test_it_is_walked_as_the_chain_is(self, chain: list[str]) -> None:
        """The same addresses in either field mean the same client."""
        elements = ", ".join(f"for={as_node(address)}" for address in chain).encode()
        expected = asked(self.reading, PROXY, {"x-forwarded-for": ", ".join(chain).encode()}).address
        for forwarding in (self.writing, self.reading):
            self.assertEqual(asked(forwarding, PROXY, {"forwarded": elements}).address, expected)


class ViaField(SynchronousTestCase):
    """RFC 9110 section 7.6.3, by option."""

    def test_it_names_the_balancer_and_the_version_that_came_in(self) -> None:
        """A line of its own: what other proxies wrote goes on before it."""
        forwarding = Forwarding(via="lb.example:80")
        client = forwarding.client(SOURCE, DESTINATION, False, CLIENT)
        self.assertTrue(client.varies)
        for minor in (0, 1):
            self.assertEqual(lines(forwarding.of_request(client, head(minor=minor)))[-1], f"Via: 1.{minor} lb.example:80")
        self.assertEqual(forwarding.response_via, b"Via: 1.1 lb.example:80\r\n")

    def test_it_is_written_behind_trusted_peers_too(self) -> None:
        """Beside all else."""
        forwarding = Forwarding.of(Settings(trusted_proxies=["10.0.0.0/8"], forwarded=True, via="lb"))
        client = asked(forwarding, PROXY, {"x-forwarded-for": CLIENT.encode()})
        self.assertEqual(
            [each.partition(":")[0] for each in lines(client)], ["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via"]
        )

    def test_it_is_off_by_default(self) -> None:
        """In both directions."""
        self.assertEqual(Forwarding.of(Settings()).response_via, b"")
        self.assertIsNone(line(asked(Forwarding(TRUSTED), PROXY), "Via"))


class LinesOfAnything(SynchronousTestCase):
    """Whoever sends whatever, what is written are lines."""

    @given(everything_said, proxies, st.booleans(), st.one_of(st.none(), contents))
    def test_nothing_said_ends_a_line(self, said: dict[str, bytes], peer: str, forwarded: bool, host: bytes | None) -> None:
        """Each line is a known name, a colon, a space and a value, and none stands twice."""
        client = asked(Forwarding(TRUSTED, forwarded, "lb"), peer, said, host=host)
        names = [each.partition(": ")[0] for each in lines(client)]
        self.assertEqual(len(names), len(set(names)))
        known = {name.lower() for name in names} - {"via"}
        self.assertLessEqual(known, set(SAID))
        self.assertNotIn(b"\n", client.forwarded.replace(b"\r\n", b""))
        self.assertNotIn(": \r\n", client.forwarded.decode("latin-1"))
