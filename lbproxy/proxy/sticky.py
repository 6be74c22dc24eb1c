"""Sticky sessions: a cookie binds a client to the backend that answered it first. Pure.

The cookie carries an HMAC over the backend's address, so that it tells nobody where backends are, and nobody can make one up. A
binding holds as long as its backend may keep its sessions; then the client is bound anew, to whoever answers it.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from ..balance.policy import Asking
from ..errors import ConfigurationError
from ..http1.cookies import cookie_value

if TYPE_CHECKING:
    from ..balance.pool import Pool
    from ..balance.state import BackendState

__all__ = ["Bindable", "Sticky", "keeps_sessions"]

#: Bytes of the HMAC that a token has: 144 bits, which base64 writes in 24 characters without padding.
_TOKEN_BYTES = 18


class Bindable(Asking, Protocol):
    """Who asks, and whom it is bound to: an exchange.

    :ivar bound: the backend that its cookie names; None when it has none, or one that is no member's.
    """

    bound: BackendState | None


def keeps_sessions(member: BackendState, panicking: bool = False) -> bool:
    """Whether the member may go on with the sessions bound to it: it is well, or is tried although it is not, and the operator
    does not want it left alone. One that drains keeps them, though it is not fit for others.

    :param panicking: whether its pool ignores health.
    """
    return member.want != "maintenance" and (member.up or member.fit or panicking)


class Sticky:
    """Binds clients to backends by a cookie.

    :param cookie: its name.
    :param key: signs the tokens; 16 bytes or more. Balancers that share clients need the same.
    :param max_age: seconds that a binding lasts; 0: as long as the browser's session.
    :raises ConfigurationError: for a shorter key.
    :ivar made_of: these three.
    """

    def __init__(self, cookie: str, key: bytes, max_age: int) -> None:
        if len(key) < 16:
            raise ConfigurationError("sticky-key: what was given has less than 16 bytes; allowed is a secret of 16 bytes or more")
        self.made_of = (cookie, key, max_age)
        self._name = cookie.encode("ascii")
        self._key = key
        self._lasting = b"; Max-Age=%d" % max_age if max_age else b""
        self._members: dict[str, BackendState] | None = None
        self._addresses: dict[bytes, str] = {}

    def token(self, address: str) -> bytes:
        """The cookie's value for the backend of that address: the same for as long as the key is."""
        digest = hmac.digest(self._key, address.encode("utf-8", "surrogatepass"), "sha256")
        return urlsafe_b64encode(digest[:_TOKEN_BYTES])

    def member(self, exchange: Asking, members: dict[str, BackendState]) -> BackendState | None:
        """Whose token the request's cookie carries; None for no cookie, or one that is nobody's.

        :param members: by address; not changed in place, but replaced as a whole.
        """
        value = cookie_value(exchange.request.fields, self._name)
        if value is None:
            return None
        if self._members is not members:
            self._members = members
            self._addresses = {self.token(address): address for address in members}
        # Looked up, not compared in constant time: a dict compares bytes only after their hashes, which are keyed anew in each
        # process, so that the time taken tells nothing of how near a guess is. And all that a guess can gain is the choice
        # among backends that take anyone's requests.
        address = self._addresses.get(value)
        return None if address is None else members[address]

    def candidates(self, exchange: Bindable, pool: Pool) -> Iterator[BackendState]:
        """Whom to try for the exchange: the member that it is bound to, if that may keep its sessions, then the policy's
        candidates. The exchange is told whom it is bound to.

        The bound one may be draining, and so not :attr:`~lbproxy.balance.state.BackendState.fit`.
        """
        exchange.bound = bound = self.member(exchange, pool.members)
        if bound is None or not keeps_sessions(bound, pool.panicking):
            return pool.candidates(exchange)
        return _first(bound, exchange, pool)

    def needs_cookie(self, exchange: Bindable, member: BackendState) -> bool:
        """Whether the client is to be bound to the member, which has answered. A binding to one that was only full, or failed
        just this once, is kept. To one that takes no new exchanges nobody is bound."""
        bound = exchange.bound
        return bound is not member and member.want == "ready" and (bound is None or not keeps_sessions(bound))

    def set_cookie(self, exchange: Asking, member: BackendState) -> bytes:
        """The line that binds the client to the member, ended by CRLF."""
        secure = b"; Secure" if exchange.client.secure else b""
        token = self.token(member.address)
        return b"Set-Cookie: %b=%b; Path=/; HttpOnly; SameSite=Lax%b%b\r\n" % (self._name, token, secure, self._lasting)


def _first(bound: BackendState, exchange: Asking, pool: Pool) -> Iterator[BackendState]:
    """The bound member, then the policy's candidates without it; the policy is asked only when they are wanted."""
    yield bound
    for member in pool.candidates(exchange):
        if member is not bound:
            yield member
