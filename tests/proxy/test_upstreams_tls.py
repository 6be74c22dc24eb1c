"""Promises about TLS with backends: there is a connection only to the right one, nothing is sent to any other, and whoever reads
why there is none understands it."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lbproxy.balance.backend import Backend
from lbproxy.balance.state import BackendState
from lbproxy.deadlines import DeadlineSweep
from lbproxy.errors import ConnectTimedOut, TlsFailed
from lbproxy.http1.client import UpstreamConnection
from lbproxy.proxy.client import Client
from lbproxy.proxy.upstreams import Upstreams
from lbproxy.settings import Settings
from lbproxy.tls.backends import BackendTls
from lbproxy.tls.connecting import session_of

from ..support import ReactorCase, request
from ..tls.servers import (
    FAR_OFF,
    LONG_AGO,
    Acceptor,
    ServerFactory,
    authority,
    authority_file,
    certificate_file,
    issued,
    over_tls,
    replace,
)

ASKED = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"


class Receiver:
    """Who gets what follows a response's head."""

    def __init__(self) -> None:
        self.data = b""
        self.over = ""

    def response_data(self, data: bytes) -> None:
        self.data += data

    def response_end(self, data: bytes, trailers: bytes = b"") -> None:
        self.data += data
        self.over = "end"

    def response_lost(self, why: str) -> None:
        self.over = f"lost: {why}"

    def pause_request(self) -> None:
        """The request has no body."""

    resume_request = pause_request


@implementer(IHostnameResolver)
class AtHome:
    """Every name is this machine's."""

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        receiver.resolutionBegan(self)
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", portNumber))
        receiver.resolutionComplete()
        return self


class UpstreamsCase(ReactorCase):
    """Connections to real servers over real sockets."""

    def setUp(self) -> None:
        super().setUp()
        self.tls = BackendTls(ca=authority_file(self))
        self.make(Settings(connect_timeout=5))
        self.server = ServerFactory()

    def make(self, settings: Settings) -> None:
        self.upstreams = Upstreams(self.reactor, settings, DeadlineSweep(self.reactor, 60), tls=self.tls)
        self.addCleanup(self.upstreams.close)

    def serve(self, *names: str, **options: Any) -> Acceptor:
        """Listen with a certificate for these names."""
        times = {name: options.pop(name) for name in ("by", "not_before", "not_after") if name in options}
        acceptor = Acceptor(issued(*names, **times), **options)
        self.port = self.listen(over_tls(self.server, acceptor, self.reactor))
        return acceptor

    def member(self, options: str = ":verify-name=a.example", port: int = 0) -> BackendState:
        """The backend that is served."""
        backend = Backend.parse(f"https://127.0.0.1:{port or self.port}{options}")
        return BackendState(backend, 0.0)

    def connect(self, member: BackendState | None = None) -> Any:
        """What comes of an attempt to connect: the connection, or the failure."""
        results: list[Any] = []
        member = self.member() if member is None else member
        client = Client("192.0.2.7", False, b"", source=("192.0.2.7", 1), destination=("192.0.2.1", 2))
        self.upstreams.connect(member, client).addBoth(results.append)
        self.until(lambda: bool(results))
        (result,) = results
        return result.value if isinstance(result, Failure) else result

    def exchange(self, connection: UpstreamConnection) -> Any:
        """A request's response: its body, or the failure."""
        results: list[Any] = []
        receiver = Receiver()
        connection.request(request(ASKED), ASKED, True, receiver).addBoth(results.append)  # type: ignore[arg-type]
        self.until(lambda: bool(results))
        (result,) = results
        if isinstance(result, Failure):
            return result.value
        if not result[2]:
            self.until(lambda: bool(receiver.over))
            return result[1] + receiver.data, receiver.over
        return result[1]

    def assertRefused(self, words: str, member: BackendState | None = None) -> None:
        """There is no connection, for this reason, and nothing was sent."""
        failure = self.connect(member)
        self.assertIsInstance(failure, TlsFailed)
        self.assertEqual((failure.sent, failure.status, failure.cause), (False, 503, "tls"))
        self.assertIn(words, str(failure))
        self.turn()
        self.assertEqual(b"".join(self.server.received), b"")


class Verified(UpstreamsCase):
    """Who is connected to."""

    def test_the_right_one(self) -> None:
        """By the name that is given, which is asked for too; and requests are answered."""
        acceptor = self.serve("a.example")
        connection = self.connect()
        self.assertEqual(self.exchange(connection), b"ok")
        self.assertEqual((acceptor.names, self.server.received), ([b"a.example"], [ASKED]))

    def test_by_the_hosts_own_name(self) -> None:
        """Where none is given; a dot at its end is none of it."""
        acceptor = self.serve("localhost")
        self.reactor.installNameResolver(AtHome())
        for host in ("localhost", "localhost."):
            member = BackendState(Backend.parse(f"https://{host}:{self.port}"), 0.0)
            self.assertIsInstance(self.connect(member), UpstreamConnection)
        self.assertEqual(acceptor.names, [b"localhost", b"localhost"])

    def test_by_its_address(self) -> None:
        """Where the operator says so; an address is not asked for (RFC 6066 section 3)."""
        acceptor = self.serve("127.0.0.1")
        self.assertIsInstance(self.connect(self.member(":verify-name=127.0.0.1")), UpstreamConnection)
        self.assertEqual(acceptor.names, [None])
        self.assertRefused("the certificate is for 127.0.0.1, not for 127.0.0.2", self.member(":verify-name=127.0.0.2"))

    def test_by_a_wildcard(self) -> None:
        """Of one label."""
        self.serve("*.a.example")
        self.assertIsInstance(self.connect(self.member(":verify-name=b.a.example")), UpstreamConnection)
        self.assertRefused("not for c.b.a.example", self.member(":verify-name=c.b.a.example"))
        self.assertRefused("not for a.example")

    def test_another_name(self) -> None:
        """The certificate's names are told, and the one that was wanted."""
        self.serve("b.example", "c.example", "d.example", "e.example")
        self.assertRefused("the certificate is for b.example, c.example, d.example and 1 more, not for a.example")

    def test_another_authority(self) -> None:
        """Who vouches for it is told."""
        self.serve("a.example", by="theirs")
        self.assertRefused("the certificate is signed by no authority that is trusted here: ")

    def test_the_systems_authorities(self) -> None:
        """Which are asked where no others are given, do not know ours."""
        self.tls = BackendTls()
        self.make(Settings())
        self.serve("a.example")
        self.assertRefused("the certificate is signed by no authority that is trusted here: ")

    def test_one_that_has_run_out(self) -> None:
        """And since when."""
        self.serve("a.example", not_before=LONG_AGO, not_after=LONG_AGO.replace(year=2002))
        self.assertRefused("the certificate expired on 2002-01-01")

    def test_one_that_is_not_valid_yet(self) -> None:
        """And from when on it will be."""
        self.serve("a.example", not_before=FAR_OFF, not_after=FAR_OFF.replace(month=2))
        self.assertRefused("the certificate is not valid before 2999-01-01")

    def test_anybody(self) -> None:
        """Where the operator wants no verification; the name is asked for all the same."""
        acceptor = self.serve("b.example", by="theirs", not_before=LONG_AGO, not_after=LONG_AGO.replace(year=2002))
        self.assertIsInstance(self.connect(self.member(":verify=off")), UpstreamConnection)
        self.assertIsInstance(self.connect(self.member(":verify=off:verify-name=a.example")), UpstreamConnection)
        self.assertEqual(acceptor.names, [None, b"a.example"])

    def test_one_that_is_trusted_itself(self) -> None:
        """Whose own certificate the operator has given, and no authority's."""
        self.tls = BackendTls(ca=certificate_file(self, issued("a.example", by="theirs")))
        self.make(Settings())
        self.serve("a.example", by="theirs")
        self.assertIsInstance(self.connect(), UpstreamConnection)
        self.assertRefused("not for b.example", self.member(":verify-name=b.example"))


class NotTls(UpstreamsCase):
    """Who speaks something else, or nothing."""

    def listen_raw(self, answer: bytes, close: bool = False) -> list[bytes]:
        """A server without TLS; gives what it is sent."""
        got: list[bytes] = []
        self.lost: list[Any] = []

        class Raw(Protocol):
            def dataReceived(inner, data: bytes) -> None:
                assert inner.transport is not None
                got.append(data)
                inner.transport.write(answer)
                if close:
                    inner.transport.loseConnection()

            def connectionLost(inner, reason: Any = None) -> None:
                self.lost.append(reason)

        self.port = self.listen(Raw)
        return got

    def test_a_server_without_tls(self) -> None:
        """It is told so, and gets nothing but a ClientHello: no request in the clear."""
        got = self.listen_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertRefused("the backend does not speak TLS")
        self.assertEqual(len(got), 1)
        self.assertEqual(got[0][:2], b"\x16\x03")
        self.assertNotIn(b"GET", got[0])

    def test_a_server_that_hangs_up(self) -> None:
        """In the handshake."""
        self.listen_raw(b"", close=True)
        self.assertRefused("the backend closed the connection in the TLS handshake")

    def test_silence(self) -> None:
        """The time to connect covers the handshake, and ends the connection with it."""
        self.make(Settings(connect_timeout=0.1))
        got = self.listen_raw(b"")
        self.assertIsInstance(self.connect(), ConnectTimedOut)
        self.assertEqual(len(got), 1)
        self.until(lambda: bool(self.lost))

    def test_an_attempt_that_is_given_up(self) -> None:
        """In mid-handshake, closes its connection."""
        got = self.listen_raw(b"")
        connecting = self.upstreams.connect(self.member(), Client("192.0.2.7", False, b""))
        self.until(lambda: bool(got))
        connecting.cancel()
        self.failureResultOf(connecting)
        self.until(lambda: bool(self.lost))

    def test_an_old_version(self) -> None:
        """TLS 1.2 is the least."""
        self.serve("a.example", newest=SSL.TLS1_1_VERSION)
        self.assertRefused("the backend refused the TLS handshake: ")


class OurCertificate(UpstreamsCase):
    """Who wants to know who we are."""

    def test_it_is_shown(self) -> None:
        """Which the server must know."""
        self.tls = BackendTls(
            ca=authority_file(self), certificate=certificate_file(self, issued("balancer.example", by="clients"))
        )
        self.make(Settings())
        for newest in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.serve("a.example", clients=authority_file(self, "clients"), newest=newest)
            self.assertEqual(self.exchange(self.connect()), b"ok")

    def test_it_is_missed(self) -> None:
        """In TLS 1.3 we hear of it only after the request was sent, which was not looked at."""
        self.serve("a.example", clients=authority_file(self, "clients"))
        failure = self.exchange(self.connect())
        self.assertIsInstance(failure, TlsFailed)
        self.assertIn("the backend refused the TLS handshake: ", str(failure))
        self.assertIn("certificate required", str(failure))
        self.assertEqual(self.server.received, [b""])

    def test_it_is_missed_in_tls_1_2(self) -> None:
        """There we hear of it in the handshake."""
        self.serve("a.example", clients=authority_file(self, "clients"), newest=SSL.TLS1_2_VERSION)
        self.assertRefused("the backend refused the TLS handshake: ")

    def test_it_is_not_liked(self) -> None:
        """Nor by whom it is signed."""
        self.tls = BackendTls(ca=authority_file(self), certificate=certificate_file(self, issued("b.example")))
        self.make(Settings())
        self.serve("a.example", clients=authority_file(self, "clients"))
        failure = self.exchange(self.connect())
        self.assertIsInstance(failure, TlsFailed)
        self.assertIn("unknown ca", str(failure))


class Sessions(UpstreamsCase):
    """What is resumed."""

    def resumed(self, connection: UpstreamConnection) -> bool:
        """Whether the certificate was not shown again."""
        tls = session_of(connection.transport)
        assert tls is not None
        return tls.verification.expires is None

    def use(self, member: BackendState | None = None) -> bool:
        """An exchange over a new connection; gives whether the session was one from before."""
        connection = self.connect(member)
        self.assertEqual(self.exchange(connection), b"ok")
        resumed = self.resumed(connection)
        connection.close()
        self.turn()
        return resumed

    def test_the_next_connection_resumes(self) -> None:
        """In both versions of TLS, and again from a session that was resumed."""
        for newest in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.serve("a.example", newest=newest)
            self.assertEqual([self.use() for _ in range(4)], [False, True, True, True], newest)

    def test_a_connection_for_one_exchange_leaves_its_session_too(self) -> None:
        """Whether we close it or the backend does."""
        self.server.answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"
        self.server.close = True
        self.serve("a.example")
        first = self.connect()
        self.assertEqual(self.exchange(first), (b"ok", "end"))
        self.assertTrue(self.resumed(self.connect()))

    def test_not_under_another_name(self) -> None:
        """Or with other words on verification: each has sessions of its own."""
        self.serve("a.example", "b.example")
        self.use(self.member(":verify=off:verify-name=a.example"))
        self.assertFalse(self.use())
        self.assertFalse(self.use(self.member(":verify-name=b.example")))
        self.assertTrue(self.use())
        self.assertRefused_after(":verify-name=c.example", "not for c.example")

    def assertRefused_after(self, options: str, words: str) -> None:
        failure = self.connect(self.member(options))
        self.assertIsInstance(failure, TlsFailed)
        self.assertIn(words, str(failure))

    def test_not_for_ever(self) -> None:
        """After an hour, or when it has run out, the certificate is to be shown again, whatever was resumed meanwhile."""
        now = [1_000_000_000.0]
        self.tls = BackendTls(ca=authority_file(self), now=lambda: now[0])
        self.make(Settings())
        self.serve("a.example")
        found = []
        for _ in range(5):
            found.append(self.use())
            now[0] += 1500
        self.assertEqual(found, [False, True, True, False, True])

    def test_none_by_other_files(self) -> None:
        """A session from before was verified by those. One that was in use meanwhile leaves none either."""
        ca = authority_file(self)
        self.tls = BackendTls(ca=ca)
        self.make(Settings())
        self.serve("a.example")
        self.use()
        running = self.connect()
        self.assertTrue(self.resumed(running))
        replace(ca, authority("theirs").cert_pem)
        self.tls.swap(self.tls.load())
        self.assertEqual(self.exchange(running), b"ok")
        self.assertRefused_after(":verify-name=a.example", "signed by no authority that is trusted here")
        replace(ca, authority("ours").cert_pem)
        self.tls.swap(self.tls.load())
        self.assertEqual([self.use(), self.use()], [False, True])

    def test_none_after_a_failure(self) -> None:
        """It may have been the session's fault."""
        acceptor = self.serve("a.example")
        self.use()
        context, acceptor.context = acceptor.context, SSL.Context(SSL.TLS_SERVER_METHOD)  # without a certificate
        self.assertIsInstance(self.connect(), TlsFailed)
        acceptor.context = context
        self.assertFalse(self.use())

    def test_a_server_that_knows_no_session_any_more(self) -> None:
        """Shows its certificate, which is verified."""
        self.serve("a.example")
        self.use()
        session = self.tls.peer(self.member().backend)._session
        self.serve("b.example")
        self.tls.peer(self.member().backend)._session = session
        self.assertRefused_after(":verify-name=a.example", "the certificate is for b.example, not for a.example")


class KeptConnections(UpstreamsCase):
    """A connection serves what is wanted of its backend now."""

    def test_one_that_was_not_verified_as_is_wanted_now_is_not_used(self) -> None:
        """Nor one in the clear; it is closed."""
        self.serve("a.example")
        connection = self.connect(self.member(":verify=off"))
        self.exchange(connection)
        member = self.member(":verify=off")
        self.assertEqual(self.upstreams.idle_count(member.address), 1)
        self.assertIs(self.upstreams.idle(member), connection)
        self.upstreams.release(connection)
        self.assertIs(self.upstreams.idle(self.member(":verify=off:weight=5")), connection)
        self.upstreams.release(connection)
        self.assertIsNone(self.upstreams.idle(self.member()))
        self.assertEqual(self.upstreams.idle_count(member.address), 0)
        self.assertIsNone(self.upstreams.idle(BackendState(Backend.parse(f"127.0.0.1:{self.port}"), 0.0)))


class Bodies(UpstreamsCase):
    """A body that ends with its connection ends with the session's own end."""

    def test_a_whole_one(self) -> None:
        """The backend says that this is its end."""
        self.server.answer, self.server.close = b"HTTP/1.1 200 OK\r\n\r\nall of it", True
        self.serve("a.example")
        self.assertEqual(self.exchange(self.connect()), (b"all of it", "end"))

    def test_one_that_is_cut_off(self) -> None:
        """Anybody on the way can end the connection, but not the session: what is here may be a part."""
        self.server.answer = b"HTTP/1.1 200 OK\r\n\r\na part"
        self.serve("a.example")
        connection = self.connect()
        receiver = Receiver()
        heads: list[Any] = []
        connection.request(request(ASKED), ASKED, True, receiver).addCallback(heads.append)
        self.until(lambda: bool(heads))
        self.server.connections[0].transport.transport.loseConnection()  # below TLS
        self.until(lambda: bool(receiver.over))
        self.assertTrue(receiver.over.startswith("lost: "), receiver.over)


class ProxyHeader(UpstreamsCase):
    """The PROXY protocol's header goes before the session, in the clear."""

    def test_it_is_the_first_that_is_sent(self) -> None:
        """And then TLS begins."""
        got: list[bytes] = []

        class Raw(Protocol):
            def dataReceived(self, data: bytes) -> None:
                got.append(data)

        self.port = self.listen(Raw)
        member = self.member(":verify-name=a.example:proxy-protocol=v1")
        client = Client("192.0.2.7", False, b"", source=("192.0.2.7", 1), destination=("192.0.2.1", 2))
        connecting = self.upstreams.connect(member, client)
        line = b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n"
        self.until(lambda: len(b"".join(got)) > len(line))
        self.assertEqual(b"".join(got)[: len(line) + 2], line + b"\x16\x03")
        connecting.cancel()
        self.failureResultOf(connecting)
