"""What a backend is told of who asks, and whose account of it is believed. Pure.

Anyone may write ``X-Forwarded-For``. So from a peer that is no trusted proxy all that it says of itself is left out, and the
backend gets its address alone. A trusted proxy's chain is kept, its own address added, and the client looked for from the right,
which is the end that trusted proxies wrote: the first address that is none of theirs is the client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ..addresses import LONGEST_NODE, Networks, node_address, read_address
from ..settings import Network, Settings
from .client import Client
from .rfc7239 import element, parse

if TYPE_CHECKING:
    from ..http1.head import RequestHead

__all__ = ["Forwarding"]

# A trusted peer's request id is kept when it can stand unquoted wherever it may be written: 1 to 128 visible ASCII characters,
# neither quotes, commas nor backslashes.
_REQUEST_ID = re.compile(rb"[!#-&(-+\--\[\]-~]{1,128}\Z")

_SECURE = {b"https": True, b"wss": True, b"http": False, b"ws": False}

#: What a trusted peer says that goes on as it came.
_KEPT = (
    (b"x-forwarded-port", b"X-Forwarded-Port: %b\r\n"),
    (b"x-forwarded-server", b"X-Forwarded-Server: %b\r\n"),
    (b"x-forwarded-prefix", b"X-Forwarded-Prefix: %b\r\n"),
    (b"x-forwarded-scheme", b"X-Forwarded-Scheme: %b\r\n"),
    (b"x-forwarded-ssl", b"X-Forwarded-Ssl: %b\r\n"),
    (b"x-real-ip", b"X-Real-IP: %b\r\n"),
    (b"x-client-ip", b"X-Client-IP: %b\r\n"),
    (b"true-client-ip", b"True-Client-IP: %b\r\n"),
    (b"x-ssl-client-verify", b"X-SSL-Client-Verify: %b\r\n"),
    (b"x-ssl-client-s-dn", b"X-SSL-Client-S-DN: %b\r\n"),
    (b"x-ssl-client-san", b"X-SSL-Client-SAN: %b\r\n"),
    (b"x-ssl-client-sha256", b"X-SSL-Client-SHA256: %b\r\n"),
    (b"x-forwarded-client-cert", b"X-Forwarded-Client-Cert: %b\r\n"),
    (b"client-cert", b"Client-Cert: %b\r\n"),
    (b"client-cert-chain", b"Client-Cert-Chain: %b\r\n"),
)
_KEPT_NAMES = frozenset(name for name, _ in _KEPT)

#: A peer on a Unix socket is a process of this machine, as one that comes from here is: it is trusted when one of these is.
_HERE = (ip_address("127.0.0.1"), ip_address("::1"))


class Forwarding:
    """The rules by which a request's account of its client is believed and passed on.

    A peer on a Unix socket is trusted when ``127.0.0.1`` or ``::1`` is in a trusted network: like those it is a process of this
    machine. What it says is kept, but nothing added to it: it has no address, and whoever walks the chain behind us would stop
    at a word that is none. A peer whose address is not known is never trusted.

    ``Forwarded`` is believed before ``X-Forwarded-For`` where this balancer writes it itself, and otherwise where there is no
    ``X-Forwarded-For``. A malformed one is neither believed nor passed on. Where the client is found in one of the two and the
    peer sent the other not, the other is begun with the client that was found, so that both tell the same (RFC 7239 section
    7.4).

    :param trusted: networks whose peers are trusted proxies. Networks of IPv4-mapped IPv6 addresses mean the IPv4 ones.
    :param forwarded: whether ``Forwarded`` is written.
    :param via: the name that is added to ``Via``; empty: none is.
    :ivar response_via: the line that a response gets, ended by CRLF; empty without a name.
    """

    def __init__(self, trusted: Iterable[Network] = (), forwarded: bool = False, via: str = "") -> None:
        self._trusted = Networks(trusted)
        self._forwarded = forwarded
        name = via.encode("ascii")
        #: By the minor version that the request came in (RFC 9110 section 7.6.3).
        self._via = (b"Via: 1.0 %b\r\n" % name, b"Via: 1.1 %b\r\n" % name) if via else (b"", b"")
        self.response_via = self._via[1]
        self._varies = forwarded or bool(via)
        # Most come from where one came before. Bounded, since strangers choose where they come from.
        self._peer = lru_cache(maxsize=1024)(self._look_at)
        self._node = lru_cache(maxsize=4096)(self._look_at_node)  # measured: 8 µs for a request behind a proxy, not 28

    @classmethod
    def of(cls, settings: Settings) -> Forwarding:
        """As the settings say."""
        return cls(settings.trusted_proxies, settings.forwarded, settings.via)

    def client(
        self, source: tuple[str, int], destination: tuple[str, int], secure: bool, address: str, identity: bytes = b""
    ) -> Client:
        """The client of a connection, made once for it.

        :param source: address and port of the peer, ``("", 0)`` where there is none.
        :param destination: of what it connected to.
        :param secure: whether it came over TLS.
        :param address: who it is, as the listener names it: an IP address, or ``unix``. What is no address becomes ``unknown``:
            Twisted's wrapper for the PROXY protocol checks none in a header, and must not make them a line of a request.
        :param identity: the lines about its TLS certificate. Of a trusted peer they are left out: it speaks for others, and
            what it says of theirs is believed.
        """
        name, trusted, lines = self._peer(address, secure)
        return Client(
            name,
            secure,
            lines + identity if identity and not trusted else lines,
            varies=trusted or self._varies,
            trusted=trusted,
            source=source,
            destination=destination,
        )

    def of_request(self, client: Client, head: RequestHead) -> Client:
        """The client of one request, where it :attr:`~.client.Client.varies`.

        :param client: the connection's.
        """
        if client.trusted:
            return self._behind(client, head)
        return _client(client, client.address, client.secure, client.forwarded + self._added(client, head, b""))

    def _look_at(self, address: str, secure: bool) -> tuple[str, bool, bytes]:
        """What a peer is called, whether it is trusted, and the lines that a backend gets of it if it is not."""
        if address == "unix":
            trusted = any(here in self._trusted for here in _HERE)
        else:
            found = read_address(address)
            address, trusted = ("unknown", False) if found is None else (str(found), found in self._trusted)
        lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (address.encode("ascii"), _proto(secure))
        return address, trusted, lines

    def _behind(self, peer: Client, head: RequestHead) -> Client:
        """The client that a trusted peer speaks for."""
        known = head.known
        forwarded, elements = _readable(known.get(b"forwarded", b""))
        address, secure = self._asker(peer, known, elements)
        host = known.get(b"x-forwarded-host") or None
        chain = known.get(b"x-forwarded-for", b"")
        if address != peer.address:
            chain = chain or address.encode("ascii")
            forwarded = forwarded or (element(address, host, secure) if self._forwarded else b"")
        own = b"" if chain and peer.address == "unix" else peer.address.encode("ascii")
        lines = _listed(b"X-Forwarded-For", chain, own)
        lines += b"X-Forwarded-Proto: %b\r\n" % (known.get(b"x-forwarded-proto") or _proto(secure))
        if not _KEPT_NAMES.isdisjoint(known):
            lines += b"".join([line % known[name] for name, line in _KEPT if known.get(name)])
        lines += self._added(peer, head, forwarded)
        request_id = known.get(b"x-request-id", b"")
        return _client(peer, address, secure, lines, host, request_id if _REQUEST_ID.match(request_id) else b"")

    def _asker(self, peer: Client, known: Mapping[bytes, bytes], elements: list[dict[bytes, bytes]]) -> tuple[str, bool]:
        """The address of who asks, and whether it came over TLS, in a trusted peer's words."""
        chain = known.get(b"x-forwarded-for", b"")
        # A list of protocols is in the order of the chain: its right end is the peer's own word.
        proto = known.get(b"x-forwarded-proto", b"").rpartition(b",")[2].strip(b" \t")
        if elements and (self._forwarded or not chain):
            address, looked = self._walk(peer.address, (pairs.get(b"for", b"") for pairs in reversed(elements)))
            proto = elements[-looked].get(b"proto", proto)
        else:
            address, _ = self._walk(peer.address, _from_right(chain))
        return address, _SECURE.get(proto.lower(), peer.secure)

    def _walk(self, address: str, nodes: Iterable[bytes]) -> tuple[str, int]:
        """Who asks, and how many nodes were looked at to find it.

        :param address: the peer's, which stands when the first node is no address.
        :param nodes: from the right. Each was written by the one before it, so that none is believed beyond the first address
            that is not trusted, or beyond what is no address.
        """
        looked = 0
        for looked, node in enumerate(nodes, 1):  # noqa: B007 - it is what is returned
            found, trusted = self._node(node) if len(node) <= LONGEST_NODE else ("", False)
            address = found or address
            if not trusted:
                break
        return address, looked

    def _look_at_node(self, node: bytes) -> tuple[str, bool]:
        """The address of an entry, empty where it is none, and whether it is trusted."""
        found = node_address(node)
        return ("", False) if found is None else (str(found), found in self._trusted)

    def _added(self, peer: Client, head: RequestHead, forwarded: bytes) -> bytes:
        """The lines to which this balancer adds itself.

        :param forwarded: what stands in Forwarded before it.
        """
        own = b""
        if self._forwarded and not (forwarded and peer.address == "unix"):
            own = element(peer.address, head.host, peer.secure)
        line = _listed(b"Forwarded", forwarded, own) if forwarded or own else b""
        return line + self._via[head.minor]


def _proto(secure: bool) -> bytes:
    return b"https" if secure else b"http"


def _listed(name: bytes, *parts: bytes) -> bytes:
    """A line of a field that is a list, of those parts that are not empty."""
    return b"%b: %b\r\n" % (name, b", ".join([part for part in parts if part]))


def _from_right(chain: bytes) -> Iterator[bytes]:
    """The entries of a list from the last to the first, empty ones left out; none is cut off before it is asked for."""
    end = len(chain)
    while end >= 0:
        begin = chain.rfind(b",", 0, end)
        entry = chain[begin + 1 : end].strip(b" \t")
        if entry:
            yield entry
        end = begin


def _readable(forwarded: bytes) -> tuple[bytes, list[dict[bytes, bytes]]]:
    """A Forwarded field and its elements; nothing where it is malformed or there is none."""
    if not forwarded:
        return b"", []
    try:
        return forwarded, parse(forwarded)
    except ValueError:
        return b"", []


def _client(peer: Client, address: str, secure: bool, lines: bytes, host: bytes | None = None, request_id: bytes = b"") -> Client:
    """A request's client, on the connection of *peer*."""
    return Client(
        address,
        secure,
        lines,
        forwarded_host=host,
        request_id=request_id,
        varies=True,
        trusted=peer.trusted,
        source=peer.source,
        destination=peer.destination,
    )
