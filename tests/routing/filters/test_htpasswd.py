"""Promises of htpasswd files and the checker that goes by them."""

from __future__ import annotations

import builtins
import os
import threading
from pathlib import Path
from typing import Any

import bcrypt
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.errors import ConfigurationError
from lbproxy.routing.filters.htpasswd import HtpasswdChecker, HtpasswdFile, read_htpasswd

from .filtered import Threads

#: Of the password "open sesame", all by openssl.
APR1 = "$apr1$saltsalt$HIDXe7D36X22w1CH4M1cQ."
SHA = "{SHA}W8r/fyL/UzygmbNAjq2HbA67qac="
PASSWORD = b"open sesame"


def hashed(password: bytes = PASSWORD) -> str:
    """By bcrypt, as cheap as it gets."""
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()


class ReadingTests(SynchronousTestCase):
    """What a file may say."""

    def refused(self, text: str) -> list[str]:
        return str(self.assertRaises(ConfigurationError, read_htpasswd, text, "users")).splitlines()

    def test_every_kind(self) -> None:
        """Each is verified, and tells right from wrong."""
        kinds = {
            "2b": hashed(),
            "2y": "$2y$" + hashed()[4:],
            "apr1": APR1,
            "sha": SHA,
            "sha256": "$5$saltsalt$yrhPKxCqiWcCE9h0g86j6Ugz7SDFdFm.BjU.d8RaQnC",
            "sha512": "$6$saltsalt$e/5XKibXPLqVcfjpD.ouauaJrAOL5V0uo80Lt7n7EbRdRiCx3HbQ90yjOHr.G0T.mx79PEMRy8nmtr0qSYhQp1",
        }
        users = read_htpasswd("\n".join(f"{name}:{hash}" for name, hash in kinds.items()), "users")
        for name in kinds:
            password = users[name.encode()]
            told = [password.verify(given) for given in (PASSWORD, b"open", b"", PASSWORD + b"!")]
            self.assertEqual(told, [True, False, False, False], name)

    def test_lines_without_a_user(self) -> None:
        """Empty ones and remarks are passed over; what follows a second colon is a remark too."""
        users = read_htpasswd(f"# who may\n\n  jörg:{SHA}:since May \r\n", "users")
        self.assertEqual([*users], ["jörg".encode()])
        self.assertTrue(users["jörg".encode()].verify(PASSWORD))

    def test_mistakes(self) -> None:
        """Each line is named, with what is allowed; a password is not shown."""
        md5 = "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"
        given = ["ann:secret", "bob", f":{SHA}", f"ann:{md5}", f"ann:{SHA}", f"ann:{SHA}", "old:$2y$04$short"]
        plain = self.refused("\n".join(given))
        first = "file: users:1: a password in plain text, or a hash by the old crypt, was given of the user 'ann'"
        self.assertEqual([line.split(";")[0] for line in plain], [
            f"{first} (htpasswd -B makes a good one)",
            "file: users:2: a line without a user's name and a colon was given",
            "file: users:3: a line without a user's name and a colon was given",
            "file: users:4: the hash of the user 'ann' is of a kind that is not known, or is damaged",
            "file: users:6: the user 'ann' is named twice",
            "file: users:7: the hash of the user 'old' is of a kind that is not known, or is damaged",
        ])  # fmt: skip
        self.assertNotIn("secret", " ".join(plain))
        self.assertIn("; allowed is NAME:HASH, the hash by bcrypt (htpasswd -B)", plain[0])

    def test_a_missing_package_is_named(self) -> None:
        """With the command that brings it."""
        real = builtins.__import__

        def importing(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == "passlib.context":
                raise ModuleNotFoundError(f"No module named {name!r}")
            return real(name, *args, **kwargs)

        self.patch(builtins, "__import__", importing)
        (said,) = self.refused("")
        self.assertIn("packages libpass and bcrypt, of which one is missing (No module named 'passlib.context')", said)
        self.assertIn("pip install 'lbproxy[passwords]'", said)

    def test_long_passwords(self) -> None:
        """bcrypt looks at 72 bytes, as it does where the hash was made; what cannot be right is wrong."""
        users = read_htpasswd(f"ann:{hashed(b'x' * 72)}", "users")
        self.assertEqual([users[b"ann"].verify(given) for given in (b"x" * 100, b"x" * 71, b"x\0")], [True, False, False])


class FileTests(SynchronousTestCase):
    """A file that changes."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.path = Path(self.mktemp())
        self.write(f"ann:{SHA}")

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self.clock.advance(0)

    def test_a_pipe_is_no_file(self) -> None:
        """It is not waited for: nobody may ever write to it."""
        pipe = self.mktemp()
        os.mkfifo(pipe)
        error = self.assertRaises(ConfigurationError, HtpasswdFile, pipe, self.clock.seconds)
        self.assertIn("cannot be read (it is no file)", str(error))

    def test_it_is_read_anew(self) -> None:
        """When it has changed; it is looked at once a second."""
        file = HtpasswdFile(str(self.path), self.clock.seconds)
        self.write(f"bob:{SHA}\nann:{SHA}")
        self.assertEqual([*file.users()], [b"ann"])
        self.clock.advance(1)
        self.assertEqual([*file.users()], [b"bob", b"ann"])
        self.assertEqual(file.current_version(), 1)
        self.clock.advance(1)
        self.assertEqual(file.current_version(), 1)

    def test_a_mistake_changes_nothing(self) -> None:
        """Nor that it cannot be read: it is said, of a mistake once, and made good the users are read."""
        file = HtpasswdFile(str(self.path), self.clock.seconds)
        with capturedLogs() as logs:
            self.write("ann:plain text")
            for _ in range(3):
                self.clock.advance(1)
                self.assertEqual([*file.users()], [b"ann"])
            self.assertEqual(len(logs), 1)
            self.path.unlink()
            self.clock.advance(1)
            self.assertEqual([*file.users()], [b"ann"])
        self.write(f"carl:{SHA}")
        self.clock.advance(1)
        self.assertEqual([*file.users()], [b"carl"])

    def test_at_the_beginning_it_must_be_right(self) -> None:
        """One that is missing, no text, too long, or has a mistake is refused."""
        for content, said in (
            (None, "which cannot be read (No such file or directory); allowed is an htpasswd file"),
            (b"\xff\xfe", "which cannot be read (it is not UTF-8)"),
            (b"#" * (1 << 20) + b"#", "which is too long"),
            (b"ann:x", ":1: a password in plain text"),
        ):
            path = Path(self.mktemp())
            if content is not None:
                path.write_bytes(content)
            error = self.assertRaises(ConfigurationError, HtpasswdFile, str(path), self.clock.seconds)
            self.assertIn(said, str(error))


class CheckerTests(SynchronousTestCase):
    """Cred's part of it."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.threads = Threads(self.reactor)
        path = Path(self.mktemp())
        path.write_text(f"ann:{hashed()}\n")
        self.checker = HtpasswdChecker(HtpasswdFile(str(path), self.reactor.seconds), self.reactor)

    def check(self, name: bytes, password: bytes) -> Any:
        checking = self.checker.requestAvatarId(UsernamePassword(name, password))
        self.assertNoResult(checking)
        self.threads.run()
        return checking

    def test_right_and_wrong(self) -> None:
        """The name, or that nobody is let in."""
        verifyObject(ICredentialsChecker, self.checker)
        self.assertEqual(self.successResultOf(self.check(b"ann", PASSWORD)), b"ann")
        for name, password in ((b"ann", b"shut"), (b"bob", PASSWORD), (b"", b"")):
            self.failureResultOf(self.check(name, password), UnauthorizedLogin)

    def test_nothing_is_hashed_in_the_reactors_thread(self) -> None:
        """A name that is not there is hashed for as well."""
        for name in (b"ann", b"bob"):
            self.check(name, PASSWORD).addErrback(lambda failure: failure.trap(UnauthorizedLogin))
        self.assertTrue(self.threads.identities)
        self.assertNotIn(threading.get_ident(), self.threads.identities)

    def test_nobody_is_let_in_by_an_empty_file(self) -> None:
        """There is nothing to compare with."""
        path = Path(self.mktemp())
        path.write_text("")
        checker = HtpasswdChecker(HtpasswdFile(str(path), self.reactor.seconds), self.reactor)
        self.assertRaises(UnauthorizedLogin, checker.requestAvatarId, UsernamePassword(b"a", b"b"))
