"""Nobody need be surprised by a certificate's end, or by a file that cannot be read any more."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from os.path import abspath
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs

from lbproxy.tls.backends import BackendTls
from lbproxy.tls.watch import EXPIRY_LOOK, CertificateWatch

from .fake_store import DAY, FakeStore, Shown
from .servers import authority_file, certificate_file, issued
from .test_watch import START, WatchCase, said


class ExpiryTests(WatchCase):
    """Certificates that come to their end."""

    def setUp(self) -> None:
        super().setUp()
        self.watch.stop()

    def begin(self, *left: float, **facts: Any) -> list[tuple[LogLevel, str]]:
        """Serve certificates that have so many days left each, and give what is said at the beginning."""
        certificates = [Shown(source=f"/{number}.pem", not_after=START + days * DAY, **facts) for number, days in enumerate(left)]
        self.store = FakeStore(*certificates)
        with capturedLogs() as events:
            self.watch = self.make(0)
        return said(events)

    def test_two_weeks_ahead(self) -> None:
        """Not before; then with names, moment and file."""
        self.assertEqual(self.begin(15), [])
        self.assertEqual(self.pass_time(DAY - EXPIRY_LOOK), [])
        line = "the certificate for a.example expires at 1970-01-16 00:16:40 UTC, in 14.0 days: /0.pem"
        self.assertEqual(self.pass_time(EXPIRY_LOOK), [(LogLevel.warn, line)])

    def test_once_a_day(self) -> None:
        """Until it has been replaced."""
        self.assertEqual(len(self.begin(10)), 1)
        self.assertEqual(len(self.pass_time(DAY - EXPIRY_LOOK)), 0)
        self.assertEqual(len(self.pass_time(EXPIRY_LOOK)), 1)
        self.assertEqual(len(self.pass_time(3 * DAY)), 3)
        self.store.put(Shown(not_after=START + 100 * DAY))
        self.watch.reload()
        self.assertEqual(self.pass_time(3 * DAY), [])

    def test_a_line_for_each(self) -> None:
        """Whether they come within two weeks at the same time or not."""
        self.assertEqual([text[-6:] for _, text in self.begin(3, 20, 5, 14.5)], ["/0.pem", "/2.pem"])
        self.assertEqual([text[-6:] for _, text in self.pass_time(DAY)], ["/3.pem", "/0.pem", "/2.pem"])

    def test_expired(self) -> None:
        """That is an error, said at once, and again each day."""
        self.begin(0.5)
        ((level, text),) = self.pass_time(0.6 * DAY)
        self.assertEqual(level, LogLevel.error)
        self.assertEqual(text, "the certificate for a.example expired at 1970-01-01 12:16:40 UTC, 0.0 days ago: /0.pem")
        self.assertEqual([level for level, _ in self.pass_time(1.5 * DAY)], [LogLevel.error])

    def test_what_is_read_anew(self) -> None:
        """A new certificate that has little time left is said at once."""
        self.begin(100)
        self.store.put(Shown(not_after=START + DAY, fingerprint="ef" * 32))
        with capturedLogs() as events:
            self.watch.reload()
        self.assertEqual([level for level, _ in said(events)], [LogLevel.info, LogLevel.warn])

    def test_a_certificate_for_backends(self) -> None:
        """It is told from those that clients are shown."""
        path = certificate_file(self, issued("balancer.example", not_after=datetime(2030, 1, 1, tzinfo=timezone.utc)))
        end = datetime(2030, 1, 1, tzinfo=timezone.utc).timestamp()
        clock = Clock()
        clock.advance(end - 15 * DAY)
        watch = CertificateWatch(None, clock, 0, backend_tls=BackendTls(certificate=path), in_thread=self.threads)
        with capturedLogs() as events:
            watch.start()
            clock.pump([EXPIRY_LOOK] * int(DAY / EXPIRY_LOOK))
            watch.stop()
        line = f"the backend certificate for balancer.example expires at 2030-01-01 00:00:00 UTC, in 14.0 days: {abspath(path)}"
        self.assertEqual(said(events), [(LogLevel.warn, line)])

    def test_many_names(self) -> None:
        """The first three, and how many more; a certificate may have none that we serve."""
        ((_, text),) = self.begin(1, names=tuple(f"{letter}.example" for letter in "abcde"))
        self.assertIn("for a.example, b.example, c.example and 2 more expires", text)
        self.watch.stop()
        self.assertIn("for no name expires", self.begin(1, names=())[0][1])


class UnreadableTests(WatchCase):
    """Files that were read before rights were taken away."""

    def setUp(self) -> None:
        super().setUp()
        self.watch.stop()
        self.path = self.mktemp()
        open(self.path, "w").close()

    def begin(self, source: str) -> list[tuple[LogLevel, str]]:
        """What is said at the beginning of a certificate from there."""
        self.store = FakeStore(Shown(source=source))
        with capturedLogs() as events:
            self.make()
        return said(events)

    def test_nothing_is_said_of_others(self) -> None:
        """Of files that can be read, and of those that are gone, for whose loss there is a mistake to be told."""
        self.assertEqual(self.begin(f"{self.path},{self.path}.gone"), [])

    def test_files_for_backends(self) -> None:
        """The authorities' too."""
        tls = BackendTls(ca=authority_file(self), certificate=certificate_file(self, issued("balancer.example")))
        watch = CertificateWatch(None, Clock(), 0, backend_tls=tls, in_thread=self.threads)
        self.patch(os, "access", lambda path, mode: False)
        with capturedLogs() as events:
            watch.start()
            watch.stop()
        self.assertEqual([text.split(":")[0] for _, text in said(events)], ["backend-certificate", "backend-ca"])

    def test_each_is_named_once(self) -> None:
        """With who must be able to read it."""
        self.patch(os, "access", lambda path, mode: False)  # which is never so for root
        ((level, text),) = self.begin(f"{self.path},{self.path}")
        self.assertEqual(level, LogLevel.warn)
        self.assertIn(f"{self.path!r} was read, but what changes in it cannot be: the user", text)
        self.assertIn(f"with uid {os.geteuid()}", text)
