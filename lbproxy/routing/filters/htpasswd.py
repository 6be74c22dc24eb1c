"""Who may come in, by a file as ``htpasswd`` writes it, and a checker of passwords for Twisted's cred that goes by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import attrs
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from ...errors import ConfigurationError
from ...files import lent, opened, opened_anew

__all__ = ["HtpasswdChecker", "HtpasswdFile", "Password", "read_htpasswd"]

_log = Logger()

#: Bytes of a file: some 10,000 users.
_LARGEST = 1 << 20
#: Seconds in which a file is looked at once.
_GLANCE = 1.0
#: bcrypt takes no more of a password; ``htpasswd`` cuts it there as well.
_BCRYPT_BYTES = 72

_KINDS = ("bcrypt", "sha512_crypt", "sha256_crypt", "apr_md5_crypt", "ldap_sha1")
_ALLOWED = "NAME:HASH, the hash by bcrypt (htpasswd -B), SHA-256 or SHA-512 crypt, apr1 MD5 or {SHA}"


@attrs.frozen
class Password:
    """One user's.

    :ivar kind: what it is hashed with.
    """

    kind: Any
    hash: str = attrs.field(repr=False)

    def verify(self, password: bytes) -> bool:
        """Whether it is that. Takes up to a second; compares in constant time."""
        if self.kind.name == "bcrypt":
            password = password[:_BCRYPT_BYTES]
        try:
            return bool(self.kind.verify(password, self.hash))
        except ValueError:  # one that cannot have been hashed with this
            return False


def _kinds() -> Any:
    try:
        import bcrypt  # noqa: F401 - what the other needs for bcrypt, found missing now and not with the first client
        from passlib.context import CryptContext
    except ImportError as error:
        raise ConfigurationError(
            f"file: passwords are checked with the packages libpass and bcrypt, of which one is missing ({error}); "
            "pip install 'lbproxy[passwords]'"
        ) from None
    return CryptContext(schemes=_KINDS)


def read_htpasswd(text: str, name: str) -> dict[bytes, Password]:
    """The users of a file, by name.

    :param name: of the file, for errors.
    :raises ConfigurationError: with a line for each line that is none of a user.
    """
    kinds = _kinds()
    users: dict[bytes, Password] = {}
    problems = []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        user, colon, rest = line.partition(":")
        hashed = rest.partition(":")[0]  # what follows a further colon is a remark, as nginx has it
        password = _password(kinds, hashed)
        if not (user and colon and password is not None):
            problems.append(f"file: {name}:{number}: {_mistake(user, colon, hashed)}; allowed is {_ALLOWED}")
        elif user.encode("utf-8") in users:
            problems.append(f"file: {name}:{number}: the user {user!r} is named twice; allowed is once")
        else:
            users[user.encode("utf-8")] = password
    if problems:
        raise ConfigurationError("\n".join(problems))
    return users


def _password(kinds: Any, hashed: str) -> Password | None:
    kind = kinds.identify(hashed, resolve=True)
    if kind is None:
        return None
    try:
        kind.from_string(hashed)
    except (ValueError, TypeError):
        return None
    return Password(kind, hashed)


def _mistake(user: str, colon: str, hashed: str) -> str:
    """What is wrong with a line; without what may be a password."""
    if not colon or not user:
        return "a line without a user's name and a colon was given"
    if hashed.startswith(("$", "{")):
        return f"the hash of the user {user!r} is of a kind that is not known, or is damaged"
    return f"a password in plain text, or a hash by the old crypt, was given of the user {user!r} (htpasswd -B makes a good one)"


class HtpasswdFile:
    """A file of users, read anew when it has changed.

    :raises ConfigurationError: when it cannot be read, or has a mistake.
    """

    def __init__(self, path: str, seconds: Callable[[], float]) -> None:
        self.path = path
        self._version = 0
        self._seconds = seconds
        self._looked = seconds()
        self._stamp = self._look()
        self._users = self._read(first=True)

    def users(self) -> Mapping[bytes, Password]:
        """The users. A file that has become unreadable, or has a mistake, changes nothing: it is said in the log, and who was
        in it stays."""
        now = self._seconds()
        if not 0 <= now - self._looked < _GLANCE:
            self._looked = now
            try:
                self._look_again()
            except ConfigurationError as error:
                _log.error("the users of {path} stay as they were: {error}", path=self.path, error=error)
        return self._users

    def current_version(self) -> int:
        """What changes with who is in it."""
        self.users()
        return self._version

    def _look_again(self) -> None:
        stamp, before = self._look(), self._stamp
        if stamp == before:
            return
        self._stamp = stamp  # also of one with a mistake, which is said once
        self._users = self._read()
        self._version += 1
        _log.info("{path} was read anew: {count} users", path=self.path, count=len(self._users))

    def _look(self) -> tuple[int, ...]:
        try:
            found = os.stat(self.path)
        except OSError as error:
            if isinstance(error, PermissionError) and lent(self.path) is not None:
                return ()
            raise self._unreadable(error) from None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _open(self, first: bool) -> BinaryIO:
        """It is read again by itself, so that what is lent counts only at the beginning, where nothing else can be read."""
        try:
            return opened_anew(self.path)
        except PermissionError:
            if not first:
                raise
            return opened(self.path)

    def _read(self, first: bool = False) -> dict[bytes, Password]:
        try:
            with self._open(first) as file:
                data = file.read(_LARGEST + 1)
            if len(data) > _LARGEST:
                raise ConfigurationError(f"file: {self.path!r} was given, which is too long; allowed are {_LARGEST} bytes")
            return read_htpasswd(data.decode(), self.path)
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> ConfigurationError:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        return ConfigurationError(f"file: {self.path!r} was given, which cannot be read ({reason}); allowed is an htpasswd file")


@implementer(ICredentialsChecker)
class HtpasswdChecker:
    """Checks names and passwords by a file, in the reactor's threads: a good hash takes long on purpose.

    A name that is not there takes as long as one that is, so that nobody learns names by the time.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, file: HtpasswdFile, reactor: Any) -> None:
        self._file = file
        self._reactor = reactor

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """Fires with the name."""
        users = self._file.users()
        name: bytes = credentials.username
        password = users.get(name)
        compared = next(iter(users.values()), None) if password is None else password
        if compared is None:
            raise UnauthorizedLogin("there are no users")
        # Asked for anew each time: it is a reactor's only while that runs.
        checking: Deferred[bool] = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), compared.verify, credentials.password
        )

        def checked(right: bool) -> bytes:
            if not right or password is None:
                raise UnauthorizedLogin("wrong name or password")
            return name

        return checking.addCallback(checked)
