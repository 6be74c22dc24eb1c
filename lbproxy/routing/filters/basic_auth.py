"""Names and passwords (RFC 7617), checked through Twisted's cred."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.guard import BasicCredentialFactory
from zope.interface import Interface, implementer

from ...http1.answers import Answer
from ...http1.edit import remove_fields
from ...http1.fields import pairs
from ..checks import FLAG, PATH, SECONDS_OR_NONE, Rule, matching, number, unless_empty
from ..filter import Filter, FilterContext, Verdict
from .htpasswd import HtpasswdChecker, HtpasswdFile
from .names import OWN_FIELD

if TYPE_CHECKING:
    from ..passage import Passage

__all__ = ["BasicAuth", "CheckerAuth"]

#: Bytes of a name and a password: more are not hashed, which would take long.
_LONGEST = 1024
#: Credentials that are remembered at most; each takes about 300 bytes.
_MOST = 10_000

_REALM = matching(r"[ !#-\[\]-~]{1,128}", "a text of at most 128 visible ASCII characters, without quotes and backslashes")

def _is_checker(given: Any) -> bool:
    return ICredentialsChecker.providedBy(given) and any(
        one.isOrExtends(IUsernamePassword) for one in given.credentialInterfaces
    )


_USER_FIELD = Rule(
    OWN_FIELD.allowed, lambda name: OWN_FIELD.holds(name) and name.lower() not in ("authorization", "cookie")
)
_CHECKER = Rule("an ICredentialsChecker of IUsernamePassword", _is_checker)


@attrs.frozen(kw_only=True)
class _Basic:
    """What is said of names and passwords, wherever they are looked up.

    :ivar realm: what browsers show to people.
    :ivar remove: whether the Authorization field goes no further: a password is nobody's business who does not check it. (nginx,
        Traefik and Caddy pass it on.)
    :ivar user_field: the field in which a backend is told the name; empty: it is not. What a client says in it never goes on.
    :ivar remember: seconds for which a password that was right is not hashed again, so that a busy client does not cost a hash a
        request; 0: it always is.
    :ivar checks: passwords that are looked at or wait for it at once; further requests are answered 503, since each takes a
        thread for up to a second, and strangers can ask for as many as they like.
    """

    type: ClassVar[str] = "basic-auth"

    realm: str = attrs.field(default="restricted", validator=_REALM)
    remove: bool = attrs.field(default=True, validator=FLAG)
    user_field: str = attrs.field(default="", validator=unless_empty(_USER_FIELD))
    remember: float = attrs.field(default=60.0, validator=SECONDS_OR_NONE)
    checks: int = attrs.field(default=100, validator=number(1, 100_000, int))


@attrs.frozen(kw_only=True)
class BasicAuth(_Basic):
    """Who has a name and a password that stand in a file is let on; everybody else is answered 401.

    :ivar file: as ``htpasswd`` writes it; read anew when it changes. Who leaves it is out within a second, remembered or not.
    """

    file: str = attrs.field(validator=PATH, metadata={"path": True})

    def make(self, context: FilterContext) -> Filter:
        """Make the live filter; the file is read."""
        file = HtpasswdFile(self.file, context.clock.seconds)
        return LiveBasicAuth(self, context, HtpasswdChecker(file, context.reactor), file.current_version)


@attrs.frozen(kw_only=True)
class CheckerAuth(_Basic):
    """The same by a checker of one's own; for configurations made in Python, since a file cannot name one.

    :ivar checker: an :class:`~twisted.cred.checkers.ICredentialsChecker` of ``IUsernamePassword``. Whom it would no longer let in
        is out when he is not remembered any more.
    """

    checker: ICredentialsChecker = attrs.field(validator=_CHECKER)

    def make(self, context: FilterContext) -> Filter:
        """Make the live filter."""
        return LiveBasicAuth(self, context, self.checker, lambda: 0)


class _IUser(Interface):
    """Somebody who may come in."""


@implementer(IRealm)
class _Users:
    """The names of those who may come in; there is no more to them."""

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: Any) -> tuple[Any, Any, Callable[[], None]]:
        return _IUser, avatarId, lambda: None


class Remembered:
    """What was right a short while ago.

    Kept are hashes of names and passwords, with a key that is the process's own and was never written down: whoever sees a
    dump of the memory finds no passwords there, and the time that a look-up takes says nothing about them.
    """

    def __init__(self, life: float, seconds: Callable[[], float]) -> None:
        self._key = token_bytes(32)
        self._life = life
        self._seconds = seconds
        self._known: OrderedDict[bytes, tuple[float, Any]] = OrderedDict()

    def mark(self, version: int, name: bytes, password: bytes) -> bytes:
        """What stands for a name and a password, as of one version of who may come in."""
        return blake2b(b"%d %d %b%b" % (version, len(name), name, password), key=self._key, digest_size=32).digest()

    def find(self, mark: bytes) -> Any:
        """Whose it is; None if it is not known to be right."""
        until, avatar = self._known.get(mark, (None, None))
        if until is not None and not until - self._life <= self._seconds() < until:
            del self._known[mark]
            return None
        return avatar

    def add(self, mark: bytes, avatar: Any) -> None:
        """It is right."""
        if not self._life:
            return
        self._known.pop(mark, None)
        while len(self._known) >= _MOST:
            self._known.popitem(last=False)
        self._known[mark] = self._seconds() + self._life, avatar


class LiveBasicAuth(Filter):
    """Counts ``unauthorized`` where somebody gave a wrong name or password, ``checked`` for each that was looked at, and
    ``overloaded`` where the limit of those struck.

    :param version: gives what changes when others may come in.
    """

    def __init__(
        self, spec: _Basic, context: FilterContext, checker: ICredentialsChecker, version: Callable[[], int]
    ) -> None:
        self.spec = spec
        self._count = context.count
        self._version = version
        self._portal = Portal(_Users(), (checker,))
        self._reader = BasicCredentialFactory(spec.realm.encode("ascii"))
        self._remembered = Remembered(spec.remember, context.clock.seconds)
        self._waiting: dict[bytes, list[Deferred[Any]]] = {}  # who waits for the same check, by its mark
        self._field = spec.user_field.encode("ascii")
        self._dropped = (self._field, *((b"authorization",) if spec.remove else ()))
        self._refusal = Answer(
            status=401,
            end="unauthorized",
            why="A name and a password are needed here.",
            fields=b'WWW-Authenticate: Basic realm="%b", charset="UTF-8"\r\n' % spec.realm.encode("ascii"),
        )

    def request(self, passage: Passage) -> Verdict:
        """Look who it is."""
        credentials = self._credentials(passage.request.fields)
        if credentials is None:
            return self._refusal
        mark = self._remembered.mark(self._version(), credentials.username, credentials.password)
        avatar = self._remembered.find(mark)
        if avatar is not None:
            self._let_on(avatar, passage)
            return None
        if mark not in self._waiting and len(self._waiting) >= self.spec.checks:
            self._count("overloaded")
            why = "Too many passwords are to be checked just now."
            return Answer(status=503, end="filter", why=why, retry_after=1)
        return self._check(mark, credentials).addCallback(self._let_on, passage).addErrback(self._refuse)

    def _credentials(self, fields: bytes) -> UsernamePassword | None:
        """What the client gives; None where that cannot be right. Of two it is not known which a backend would believe."""
        given = [value for name, value in pairs(fields) if name.lower() == b"authorization"]
        scheme, _, rest = (given[0] if len(given) == 1 else b"").partition(b" ")
        if scheme.lower() != b"basic":
            return None
        try:
            credentials: UsernamePassword = self._reader.decode(rest.strip(), None)
        except LoginFailed:
            return None
        both = credentials.username + credentials.password
        # RFC 7617 section 2: no control characters. One that ends a line must not get into a field.
        if len(both) > _LONGEST or any(byte < 32 or byte == 127 for byte in both):
            return None
        return credentials

    def _check(self, mark: bytes, credentials: UsernamePassword) -> Deferred[Any]:
        """Fires with whose credentials they are. Those who ask the same at once wait for the same; who leaves waits no longer,
        and what was begun goes on."""
        waiting: Deferred[Any] = Deferred()
        others = self._waiting.setdefault(mark, [])
        others.append(waiting)
        if len(others) == 1:
            self._count("checked")
            checking = self._portal.login(credentials, None, _IUser)
            checking.addCallback(self._right, mark, credentials.username)
            checking.addBoth(self._tell, mark)
        return waiting

    def _right(self, login: Any, mark: bytes, name: bytes) -> Any:
        avatar = login[1]
        avatar = avatar.encode("utf-8") if isinstance(avatar, str) else avatar
        if not (isinstance(avatar, bytes) and avatar) or any(byte < 32 or byte == 127 for byte in avatar):
            avatar = name
        self._remembered.add(mark, avatar)
        return avatar

    def _tell(self, outcome: Any, mark: bytes) -> None:
        for waiting in self._waiting.pop(mark):
            waiting.callback(outcome)  # a Failure too, which begins its errbacks; one that was cancelled takes no notice

    def _let_on(self, avatar: bytes, passage: Passage) -> None:
        """Who it is goes on, and not what it said."""
        request = passage.request
        request.fields = remove_fields(request.fields, self._dropped)
        if self._field:
            request.fields += b"%b: %b\r\n" % (self._field, avatar)

    def _refuse(self, failure: Failure) -> Answer:
        failure.trap(UnauthorizedLogin)
        self._count("unauthorized")
        return self._refusal
