"""Promises to operators about https: who a client is by its certificate, plain HTTP sent to https, and browsers kept there."""

from __future__ import annotations

import json
from functools import cache
from itertools import product
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lbproxy.http1.factory import SecureFactory
from lbproxy.observe.formats import format_json
from lbproxy.observe.outcome import Outcome
from lbproxy.resource import LoadBalancerResource
from lbproxy.settings import Settings
from lbproxy.tls import identity as rules
from lbproxy.tls.identity import client_identity, identity_fields

from .support import GET, OK, Rig, post, split, status, values
from .test_promises_tls import Browser, certificate
from .test_service import ServiceTestCase
from .test_web import WebRig
from .tls.fake_store import FakeStore
from .tls.test_identity import BEGIN, END

NAMES = (b"X-SSL-Client-Verify", b"X-SSL-Client-S-DN", b"X-SSL-Client-SAN", b"X-SSL-Client-SHA256")
FORGED = (
    b"X-SSL-Client-Verify: SUCCESS\r\nx-ssl-client-s-dn: CN=admin\r\nX-SSL-CLIENT-SAN:DNS:admin\r\nX-SSL-Client-SHA256: 00\r\n"
    b"Client-Cert: :AA==:\r\nClient-Cert-Chain: :AA==:\r\nX-Forwarded-Client-Cert: Subject=admin\r\n"
)
HSTS = b"Strict-Transport-Security"


@cache
def authority() -> tuple[Any, x509.Certificate]:
    """The key and the certificate of who signs clients' certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, _signed(key, "CA", key, "CA", ca=True)


@cache
def shown(name: str) -> tuple[Any, x509.Certificate]:
    """The key and the certificate of a client."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, _signed(key, name, authority()[0], "CA", ca=False)


def _signed(key: Any, name: str, issuer_key: Any, issuer: str, *, ca: bool) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(1 if ca else 2)
        .not_valid_before(BEGIN)
        .not_valid_after(END)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"{name}.example")]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


@implementer(IOpenSSLServerConnectionCreator)
class Asking:
    """Makes sessions that ask for a client's certificate, and do without one."""

    def __init__(self, ca: str) -> None:
        with open(ca, "wb") as file:
            file.write(authority()[1].public_bytes(serialization.Encoding.PEM))
        own = certificate("lb.example")
        self._context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_session_id(b"test")
        context.use_certificate(own.original.to_cryptography())
        context.use_privatekey(own.privateKey.original.to_cryptography_key())
        context.load_verify_locations(ca)
        context.set_verify(SSL.VERIFY_PEER)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class HttpsCase(SynchronousTestCase):
    """Has clients that come over TLS."""

    def rig(self, **settings: Any) -> Rig:
        rig = Rig(**settings)
        rig.factory.identify = client_identity
        return rig

    def browser(self, rig: Rig, name: str = "", address: str = "192.0.2.7", listener: Any = None) -> Browser:
        """A client connects over TLS, and shows the certificate of that name."""
        listener = SecureFactory(rig.factory, False) if listener is None else listener
        context = SSL.Context(SSL.TLS_METHOD)
        if name:
            key, own = shown(name)
            context.use_certificate(own)
            context.use_privatekey(key)
        tls: Any = TLSMemoryBIOFactory(Asking(self.mktemp()), False, listener, rig.reactor)
        browser = Browser(rig, tls, "lb.example", context, address)
        self.assertTrue(browser.shaken and not browser.peer.closed)
        return browser

    def watch_reading(self) -> list[Any]:
        """Which certificates are read from now on."""
        calls: list[Any] = []

        def read(made: x509.Certificate | None) -> bytes:
            calls.append(made)
            return identity_fields(made)

        self.patch(rules, "identity_fields", read)
        return calls

    def answer(self, rig: Rig, answer: bytes = OK, **of: Any) -> bytes:
        """What a client over TLS gets of a backend's answer."""
        browser = self.browser(rig, **of)
        browser.send(GET)
        rig.accept().send(answer)
        browser.pump()
        return browser.data


class ClientCertificates(HttpsCase):
    """Backends know a client by its certificate, and nobody else by a forged one."""

    def told(self, asked: bytes) -> list[list[bytes]]:
        return [values(asked, name) for name in NAMES]

    def test_a_verified_clients_certificate_reaches_the_backend(self) -> None:
        """With each request of its connection; it is read once."""
        calls = self.watch_reading()
        rig = self.rig()
        browser = self.browser(rig, "jane")
        browser.send(GET.replace(b"\r\n\r\n", b"\r\n" + FORGED + b"\r\n"))
        backend = rig.accept()
        asked = backend.received()
        sha256 = shown("jane")[1].fingerprint(hashes.SHA256()).hex().encode()
        self.assertEqual(self.told(asked), [[b"SUCCESS"], [b"CN=jane"], [b"DNS:jane.example"], [sha256]])
        self.assertNotIn(b"admin", asked)
        backend.send(OK)
        browser.send(GET)
        self.assertEqual(self.told(backend.received()), self.told(asked))
        self.assertEqual(calls, [shown("jane")[1]])

    def test_a_client_without_one_is_said_to_have_none(self) -> None:
        """Whatever it says of itself."""
        rig = self.rig()
        self.browser(rig).send(GET.replace(b"\r\n\r\n", b"\r\n" + FORGED + b"\r\n"))
        self.assertEqual(self.told(rig.accept().received()), [[b"NONE"], [], [], []])

    def test_nobody_forges_one_anywhere(self) -> None:
        """Not in the clear, not where no certificates are asked for; not in trailers, nor by naming it in Connection, nor by
        underscores that are allowed."""
        spellings = (FORGED, FORGED.replace(b"-", b"_"), b"X-SSL_Client-Verify: SUCCESS\r\nX-ssl-Client_S-dn: CN=admin\r\n")
        listed = (b"", b"Connection: X-SSL-Client-Verify, X_SSL_Client_Verify\r\n")
        for underscores, lines, connection in product((False, True), spellings, listed):
            rig = Rig(allow_underscores=underscores)
            rig.client().send(
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n%b%b\r\n0\r\n%bX-Last: 1\r\n\r\n"
                % (connection, lines, lines)
            )
            asked = rig.accept().received()
            self.assertTrue(asked.endswith(b"0\r\nX-Last: 1\r\n\r\n"))
            for word in (b"success", b"admin", b"cert", b"sha256"):
                self.assertNotIn(word, asked.lower())

    def test_naming_a_field_in_connection_takes_none_away(self) -> None:
        """What we write is written after that is done with."""
        rig = self.rig()
        self.browser(rig, "jane").send(GET.replace(b"\r\n\r\n", b"\r\nConnection: X-SSL-Client-Verify\r\n\r\n"))
        self.assertEqual(self.told(rig.accept().received())[0], [b"SUCCESS"])

    def test_a_trusted_proxys_own_certificate_is_not_its_clients(self) -> None:
        """What it says of theirs goes on, and nothing where it says nothing."""
        rig = self.rig(trusted_proxies=("10.0.0.0/8",))
        browser = self.browser(rig, "proxy", "10.1.1.1")
        browser.send(GET)
        backend = rig.accept()
        self.assertEqual(self.told(backend.received()), [[], [], [], []])
        backend.send(OK)
        browser.send(GET.replace(b"\r\n\r\n", b"\r\nX-SSL-Client-Verify: SUCCESS\r\nX-SSL-Client-S-DN: CN=jane\r\n\r\n"))
        self.assertEqual(self.told(backend.received()), [[b"SUCCESS"], [b"CN=jane"], [], []])


class ClientCertificatesInAnApplication(HttpsCase):
    """The same for ``twisted.web``, where the application says that its listener verifies them."""

    def asked(self, name: str, client_certificates: bool) -> list[list[bytes]]:
        """What backends are told in two requests of a client's connection."""
        rig = WebRig()
        rig.resource.client_certificates = client_certificates
        browser = self.browser(rig, name, listener=rig.site)
        browser.send(GET.replace(b"\r\n\r\n", b"\r\n" + FORGED + b"\r\n"))
        backend = rig.accept()
        first = backend.received()
        backend.send(OK)
        browser.send(GET)
        second = backend.received()
        told = [values(first, field) for field in NAMES]
        self.assertEqual([values(second, field) for field in NAMES], told)
        return told

    def test_it_is_off_unless_asked_for(self) -> None:
        """A context of the application's may take any certificate."""
        rig = WebRig()
        self.assertFalse(LoadBalancerResource(rig.pool, reactor=rig.reactor).client_certificates)
        self.assertTrue(LoadBalancerResource(rig.pool, reactor=rig.reactor, client_certificates=True).client_certificates)
        self.assertEqual(self.asked("jane", False), [[], [], [], []])

    def test_backends_are_told_where_it_is(self) -> None:
        """The certificate is read once a connection."""
        calls = self.watch_reading()
        sha256 = shown("jane")[1].fingerprint(hashes.SHA256()).hex().encode()
        self.assertEqual(self.asked("jane", True), [[b"SUCCESS"], [b"CN=jane"], [b"DNS:jane.example"], [sha256]])
        self.assertEqual(len(calls), 1)
        self.assertEqual(self.asked("", True), [[b"NONE"], [], [], []])

    def test_in_the_clear_nothing_is_told(self) -> None:
        """Nor where somebody else has ended TLS, as ``twisted.web`` was told."""
        for ended, proto in ((False, b"http"), (True, b"https")):
            rig = WebRig()
            rig.resource.client_certificates = True
            self.patch(rig.site.requestFactory, "isSecure", lambda request, ended=ended: ended)
            asked = rig.exchange()[0]
            self.assertEqual(values(asked, b"X-Forwarded-Proto"), [proto])
            self.assertNotIn(b"X-SSL", asked)


class Https(HttpsCase):
    """Backends know that a client came over TLS."""

    def test_backends_are_told(self) -> None:
        """By both names."""
        rig = self.rig(forwarded=True)
        self.browser(rig).send(GET)
        asked = rig.accept().received()
        self.assertEqual(values(asked, b"X-Forwarded-Proto"), [b"https"])
        self.assertEqual(values(asked, b"Forwarded"), [b"for=192.0.2.7;host=example.org;proto=https"])

    def test_whatever_the_client_says(self) -> None:
        """Neither to have come otherwise than it did."""
        rig = self.rig(forwarded=True)
        said = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-Proto: http\r\nForwarded: proto=http\r\n\r\n")
        self.browser(rig).send(said)
        self.assertEqual(values(rig.accept().received(), b"X-Forwarded-Proto"), [b"https"])
        rig.client().send(said.replace(b"http\r", b"https\r"))
        self.assertEqual(values(rig.accept().received(), b"X-Forwarded-Proto"), [b"http"])


class RedirectToHttps(HttpsCase):
    """Nothing is served in the clear, and nothing of it reaches a backend."""

    def test_a_request_in_the_clear_is_sent_to_https(self) -> None:
        """By 308, which changes neither method nor body; it may not be kept, since the port or the wish may change."""
        rig = Rig(redirect_to_https=True)
        client = rig.client()
        client.send(b"GET /a?b HTTP/1.1\r\nHost: example.org\r\n\r\n")
        answer = client.received()
        self.assertEqual(split(answer)[0], b"HTTP/1.1 308 Permanent Redirect")
        self.assertEqual(values(answer, b"Location"), [b"https://example.org/a?b"])
        self.assertEqual(values(answer, b"Cache-Control"), [b"no-store"])
        self.assertEqual((rig.connects, client.ended), ([], False))

    def test_it_is_counted_and_logged(self) -> None:
        """As an answer of ours, for which no backend was asked."""
        rig = Rig(redirect_to_https=True)
        rig.client().send(GET)
        counters = rig.resource.site.router.counters
        self.assertEqual((counters.ends, counters.statuses, counters.in_flight), ({"redirect": 1}, {308: 1}, 0))
        line = json.loads(format_json(Outcome.of(rig.ended[0])))
        self.assertEqual((line["status"], line["end"], line["attempts"]), (308, "redirect", []))
        self.assertEqual(len(rig.ended[0].request_id), 32)

    def test_a_connection_goes_on_after_it(self) -> None:
        """What was pipelined is answered in its turn; to HEAD without a body, and after bodies that are whole."""
        rig = Rig(redirect_to_https=True)
        client = rig.client()
        head = GET.replace(b"GET", b"HEAD")
        client.send(head + post(b"hello") + GET)
        first, second, third = client.received().split(b"HTTP/1.1 308 ")[1:]
        self.assertEqual((split(first)[2], client.ended), (b"", False))
        self.assertTrue(split(second)[2] and split(third)[2])
        self.assertEqual(rig.resource.site.router.counters.ends, {"redirect": 3})

    def test_a_body_that_is_still_to_come_is_not_taken_for_a_request(self) -> None:
        """The connection ends with the answer, and what comes is thrown away; nobody is invited to send it."""
        for expect in (b"", b"Expect: 100-continue\r\n"):
            rig = Rig(redirect_to_https=True)
            client = rig.client()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\n%bContent-Length: 1000\r\n\r\n" % expect)
            answer = client.received()
            self.assertEqual((status(answer), values(answer, b"Connection")), (308, [b"close"]))
            client.send(GET)
            self.assertEqual((client.received(), client.half_closed, rig.connects), (b"", True, []))

    def test_a_client_that_names_no_host_is_told_so(self) -> None:
        """In HTTP/1.0 that is no mistake, but there is no place to send it."""
        rig = Rig(redirect_to_https=True)
        client = rig.client()
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"Location")), (400, []))
        self.assertEqual((rig.resource.site.router.counters.ends, rig.connects), ({"redirect": 1}, []))

    def test_an_upgrade_is_no_way_round_it(self) -> None:
        """No tunnel comes about in the clear."""
        rig = Rig(redirect_to_https=True)
        client = rig.client()
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
        self.assertEqual((status(client.received()), rig.connects), (308, []))

    def test_whoever_came_over_tls_is_served(self) -> None:
        """Not sent in circles."""
        self.assertEqual(status(self.answer(self.rig(redirect_to_https=True))), 200)

    def test_behind_a_trusted_proxy_its_word_counts(self) -> None:
        """And nobody else's."""
        rig = Rig(redirect_to_https=True, trusted_proxies=("10.0.0.0/8",))
        said = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: shop.example\r\n\r\n")
        for address, proto, place in (
            ("10.1.1.1", b"http", b"https://shop.example/"),
            ("192.0.2.7", b"https", b"https://example.org/"),
        ):
            client = rig.client(address)
            client.send(said % proto)
            self.assertEqual(values(client.received(), b"Location"), [place])
        self.assertEqual(rig.connects, [])
        client = rig.client("10.1.1.1")
        client.send(said % b"https")
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_it_is_off_unless_asked_for(self) -> None:
        """Then backends are asked."""
        rig = Rig()
        rig.client().send(GET)
        self.assertEqual(len(rig.connects), 1)

    def test_in_an_application(self) -> None:
        """The same of a ``twisted.web`` tree, before any backend."""
        rig = WebRig(redirect_to_https=True)
        client = rig.client()
        client.send(post(b"hello"))
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"Location")), (308, [b"https://example.org/"]))
        self.assertEqual((rig.connects, rig.resource.site.router.counters.ends), ([], {"redirect": 1}))
        browser = self.browser(rig, listener=rig.site)
        browser.send(GET)
        rig.accept().send(OK)
        browser.pump()
        self.assertEqual(status(browser.data), 200)


class StrictTransportSecurity(HttpsCase):
    """Browsers are told to come over TLS only: RFC 6797."""

    def test_each_response_over_tls_says_so(self) -> None:
        """Those of backends, as they are otherwise."""
        answer = self.answer(self.rig(hsts=3600))
        self.assertEqual((values(answer, HSTS), split(answer)[2]), ([b"max-age=3600"], b"ok"))

    def test_our_own_answers_too(self) -> None:
        """Where there is no backend, and where a request is refused or does not come."""
        rig = self.rig(hsts=3600, retries=0)
        browser = self.browser(rig)
        browser.send(GET)
        rig.refuse()
        browser.pump()
        self.assertEqual((status(browser.data), values(browser.data, HSTS)), (503, [b"max-age=3600"]))
        browser = self.browser(rig)
        browser.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual((status(browser.data), values(browser.data, HSTS)), (400, [b"max-age=3600"]))
        browser = self.browser(rig)
        browser.send(b"GET / HTTP/1.1\r\n")
        rig.wait(11)
        browser.pump()
        self.assertEqual((status(browser.data), values(browser.data, HSTS)), (408, [b"max-age=3600"]))

    def test_no_response_in_the_clear_does(self) -> None:
        """RFC 6797 section 7.2."""
        rig = self.rig(hsts=3600, retries=0, redirect_to_https=True)
        for data in (GET, b"GET / HTTP/1.1\r\n\r\n"):
            client = rig.client()
            client.send(data)
            self.assertNotIn(HSTS, client.received())
        rig = self.rig(hsts=3600)
        client = rig.client()
        client.send(GET)
        rig.accept().send(OK)
        self.assertNotIn(HSTS, client.received())

    def test_a_backends_own_stands_alone(self) -> None:
        """Of two a browser heeds the first (section 8.1), so there is one."""
        own = OK.replace(b"\r\n\r\n", b"\r\nstrict-transport-security: max-age=5; includeSubDomains\r\n\r\n")
        answer = self.answer(self.rig(hsts=3600, via="lb"), own)
        self.assertEqual(values(answer, HSTS), [b"max-age=5; includeSubDomains"])
        self.assertEqual(values(answer, b"Via"), [b"1.1 lb"])

    def test_it_is_off_unless_asked_for(self) -> None:
        """For it cannot be taken back before it has run out."""
        self.assertNotIn(HSTS, self.answer(self.rig()))

    def test_behind_a_trusted_proxy_its_word_counts(self) -> None:
        """The response goes to the client as the request came."""
        for proto, said in ((b"https", [b"max-age=3600"]), (b"http", [])):
            rig = self.rig(hsts=3600, trusted_proxies=("10.0.0.0/8",))
            client = rig.client("10.1.1.1")
            client.send(GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-Proto: %b\r\n\r\n" % proto))
            rig.accept().send(OK)
            self.assertEqual(values(client.received(), HSTS), said)

    def test_in_an_application(self) -> None:
        """The same of a ``twisted.web`` tree."""
        self.assertNotIn(HSTS, WebRig(hsts=3600).exchange()[1])
        rig = WebRig(hsts=3600)
        browser = self.browser(rig, listener=rig.site)
        browser.send(GET)
        rig.accept().send(OK)
        browser.pump()
        self.assertEqual((status(browser.data), values(browser.data, HSTS)), (200, [b"max-age=3600"]))
        browser = self.browser(rig, listener=rig.site)
        browser.send(GET.replace(b"example.org", b"a/b"))
        self.assertEqual((status(browser.data), values(browser.data, HSTS)), (400, [b"max-age=3600"]))


class InAService(ServiceTestCase):
    """What the service knows of its listeners."""

    def store(self, client_auth: str | None) -> Any:
        """What there is to know of a store before a client comes."""
        store: Any = FakeStore()
        store.client_auth = client_auth
        return store

    def test_clients_certificates_are_read_where_they_are_asked_for(self) -> None:
        """Required or not; and nowhere else."""
        for client_auth, identify in (("required", client_identity), ("optional", client_identity), (None, None)):
            service = self.service(tls_listen=["tcp:8443"], certificates=self.store(client_auth))
            self.assertIs(service.factory.identify, identify)
        self.assertIsNone(self.service().factory.identify)

    def test_who_names_a_port_is_sent_to_where_tls_is_listened_for(self) -> None:
        """The first such listener's port, when it listens."""
        settings = Settings(redirect_to_https=True)
        service = self.started(
            "tcp:8080", tls_listen=["tcp:9443", "tcp:9444"], certificates=self.store(None), settings=settings
        )
        for host, place in ((b"a:8080", b"https://a:9443/"), (b"a", b"https://a/")):
            client = self.client(service)
            client.send(GET.replace(b"example.org", host))
            self.assertEqual(values(client.received(), b"Location"), [place])
        self.assertEqual(service.resource.site.router.counters.ends, {"redirect": 2})

    def test_without_such_a_listener_no_port_is_known(self) -> None:
        """TLS is ended before us, at a port that only the operator knows."""
        service = self.started(settings=Settings(redirect_to_https=True))
        client = self.client(service)
        client.send(GET.replace(b"example.org", b"a:8080"))
        self.assertEqual(values(client.received(), b"Location"), [b"https://a/"])
