"""Promises about probes over TLS: they verify as traffic does, each time, and say what they found."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from lbproxy.balance.backend import Backend
from lbproxy.health.http_probe import make_probe
from lbproxy.health.spec import ProbeSpec
from lbproxy.tls.backends import BackendTls

from ..support import ReactorCase
from ..tls.servers import Acceptor, ServerFactory, authority_file, issued, over_tls


class TlsProbes(ReactorCase):
    """Of real servers over real sockets."""

    def setUp(self) -> None:
        super().setUp()
        self.tls = BackendTls(ca=authority_file(self))
        self.server = ServerFactory()

    def serve(self, *names: str) -> Acceptor:
        """Listen with a certificate for these names."""
        acceptor = Acceptor(issued(*names))
        self.port = self.listen(over_tls(self.server, acceptor, self.reactor))
        return acceptor

    def found(self, text: str | None, said: str = ":verify-name=a.example", scheme: str = "https://", **options: Any) -> str:
        """What the probe finds, or why the backend is not well."""
        results: list[Any] = []
        probe = make_probe(ProbeSpec.parse(text, **options), self.reactor, self.tls)
        backend = Backend.parse(f"{scheme}127.0.0.1:{self.port}{said}")
        try:
            probe.check(backend).addBoth(results.append)
        except Exception as error:
            return f"- {error}"
        self.until(lambda: bool(results))
        (result,) = results
        return f"- {result.getErrorMessage()}" if isinstance(result, Failure) else f"+ {result}"

    def test_a_handshake(self) -> None:
        """It is all that is tried, and the connection is closed; which is what is done for an https backend unless said."""
        self.serve("a.example")
        for number, text in enumerate(("tls", None), 1):
            self.assertEqual(self.found(text), "+ probe: connected with TLSv1.3")
            self.until(lambda number=number: len(self.server.lost) == number)  # type: ignore[misc]
        self.assertEqual(self.server.received, [b"", b""])

    def test_a_connection(self) -> None:
        """Is no more than that: whose certificate it is, is not asked."""
        self.serve("b.example")
        self.assertEqual(self.found("tcp"), "+ probe: connected")
        self.assertEqual(self.found(None, scheme="", said=""), "+ probe: connected")

    def test_a_page(self) -> None:
        """With the Host that a client would send."""
        acceptor = self.serve("a.example")
        self.assertTrue(self.found("https:/health").startswith("+ probe: 200 in "))
        (asked,) = self.server.received
        self.assertTrue(asked.startswith(b"GET /health HTTP/1.1\r\n"), asked)
        self.assertIn(b"Host: 127.0.0.1:%d\r\n" % self.port, asked)
        self.assertEqual(acceptor.names, [b"a.example"])
        self.until(lambda: len(self.server.lost) == 1)

    def test_a_page_in_the_clear(self) -> None:
        """The probe says what it speaks, and not the backend: here it is not understood."""
        self.serve("a.example")
        self.assertTrue(self.found("http:/health").startswith("- "))
        self.assertEqual(b"".join(self.server.received), b"")

    def test_another_name(self) -> None:
        """Is not well, in words, and gets no request."""
        self.serve("b.example")
        for text in ("tls", None, "https:/health"):
            self.assertEqual(self.found(text), "- the certificate is for b.example, not for a.example")
        self.assertEqual(self.server.received, [b"", b"", b""])

    def test_anybody(self) -> None:
        """Where traffic takes anybody, a probe does too."""
        self.serve("b.example")
        self.assertEqual(self.found("tls", ":verify=off"), "+ probe: connected with TLSv1.3")
        self.assertTrue(self.found("https:/", ":verify=off").startswith("+ probe: 200 in "))

    def test_a_backend_in_the_clear(self) -> None:
        """May be probed over TLS; of an address it is not known for whom its certificate should be, which is said."""
        self.serve("a.example")
        for text in ("tls", "https:/"):
            self.assertIn("give the backend as https:// with :verify-name=", self.found(text, "", ""))

    def test_the_certificate_is_shown_each_time(self) -> None:
        """A session that was resumed would hide that it has run out."""
        self.serve("a.example")
        backend = Backend.parse(f"https://127.0.0.1:{self.port}:verify-name=a.example")
        for _ in range(2):
            self.found("https:/")
        self.assertIsNone(self.tls.peer(backend)._session)

    def test_the_proxy_protocol(self) -> None:
        """Its header, which says that the connection is our own, goes before the handshake."""
        got: list[bytes] = []

        class Raw(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                got.append(data)
                if len(b"".join(got)) > 100:
                    self.transport.loseConnection()

        self.port = self.listen(Raw)
        for text in ("tls", "https:/"):
            got.clear()
            found = self.found(text, ":verify-name=a.example:proxy-protocol=v1")
            self.assertEqual(found, "- the backend closed the connection in the TLS handshake")
            self.assertTrue(b"".join(got).startswith(b"PROXY UNKNOWN\r\n\x16\x03"), got)

    def test_one_that_is_cancelled(self) -> None:
        """In mid-handshake, closes its connection."""
        got: list[bytes] = []
        lost: list[Any] = []

        class Silent(Protocol):
            def dataReceived(self, data: bytes) -> None:
                got.append(data)

            def connectionLost(self, reason: Any = None) -> None:
                lost.append(reason)

        port = self.listen(Silent)
        for text in ("tls", "https:/"):
            got.clear()
            lost.clear()
            probe = make_probe(ProbeSpec.parse(text), self.reactor, self.tls)
            checking = probe.check(Backend.parse(f"https://127.0.0.1:{port}:verify-name=a.example"))
            self.until(lambda: bool(got))
            checking.cancel()
            self.failureResultOf(checking)
            self.until(lambda: bool(lost))
