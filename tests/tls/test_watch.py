"""Certificates are as new as their files, a mistake in these changes nothing, and nobody need be surprised by an end."""

from __future__ import annotations

import os
from typing import Any

from cryptography.x509 import load_pem_x509_certificate
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.tls.backends import BackendTls
from lbproxy.tls.store import CertificateStore
from lbproxy.tls.watch import EXPIRY_LOOK, ROTATION, CertificateWatch, Reload, in_thread_of

from .fake_store import FakeStore, Shown, Threads
from .servers import authority, authority_file, certificate_file, issued, replace

START = 1000.0
OLD = Shown()
NEW = Shown(fingerprint="cd" * 32)

#: What looking at the files and finding something new is.
READ = ["changed", "load", "swap"]


class WatchCase(SynchronousTestCase):
    """A watch that looks every ten seconds, on a clock of the test's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.threads = Threads()
        self.store = FakeStore(OLD)
        self.watch = self.make()

    def make(self, interval: float = 10, **options: Any) -> CertificateWatch:
        store: Any = self.store
        watch = CertificateWatch(store, self.clock, interval, in_thread=self.threads, **options)
        watch.start()
        self.addCleanup(watch.stop)
        return watch

    def pass_time(self, seconds: float) -> list[tuple[LogLevel, str]]:
        """Let it pass, a look of the expiry's at a time, and give what was logged."""
        with capturedLogs() as events:
            while seconds > 0:
                self.clock.advance(min(seconds, EXPIRY_LOOK))
                seconds -= EXPIRY_LOOK
        return said(events)


class LookingTests(WatchCase):
    """Files are looked at from time to time."""

    def test_nothing_changes(self) -> None:
        """Then they are only looked at."""
        self.clock.pump([10, 10])
        self.assertEqual(self.store.calls, ["changed", "changed"])
        self.assertIsNone(self.watch.last)

    def test_a_change_is_served(self) -> None:
        """From the next look on, and the log says so."""
        self.store.put(NEW, OLD)
        self.assertEqual(self.store.certificates, (OLD,))
        logged = self.pass_time(10)
        self.assertEqual((self.store.calls, self.store.certificates), (READ, (NEW, OLD)))
        self.assertEqual(self.watch.last, Reload(START + 10, True))
        self.assertEqual((self.watch.reloads, self.watch.read_at), ({"failure": 0, "success": 1}, START + 10))
        self.assertEqual(logged, [(LogLevel.info, "certificates were read anew, 2 in all")])

    def test_who_else_is_to_know_is_told(self) -> None:
        """When other certificates are served than before, and not when a look finds them as they were."""
        told: list[float] = []
        self.watch.on_read = lambda: told.append(self.clock.seconds())
        self.pass_time(10)
        self.store.put(NEW)
        self.pass_time(10)
        self.pass_time(10)
        self.assertEqual(told, [START + 20])

    def test_warnings(self) -> None:
        """What the store finds odd and can serve nevertheless is said at the start, and of all that is read anew."""
        self.watch.stop()
        self.store.warnings = ("certificate: '/b.pem' is not shown for {b}",)
        expected = [(LogLevel.warn, self.store.warnings[0])]
        with capturedLogs() as events:
            watch = self.make()
        self.assertEqual(said(events), expected)
        with capturedLogs() as events:
            watch.reload()
        self.assertEqual(said(events)[1:], expected)

    def test_files_are_read_in_a_thread_and_served_by_the_reactor(self) -> None:
        """Until all is read, everybody is shown what was there before."""
        self.threads.held = True
        self.store.put(NEW)
        self.clock.advance(10)
        self.assertEqual((self.threads.busy, self.store.calls), (1, []))
        self.threads.finish()
        self.assertEqual(self.store.certificates, (NEW,))

    def test_one_at_a_time(self) -> None:
        """Where reading takes longer than the interval, as on a disk that hangs, one thread waits for it and not more."""
        self.threads.held = True
        self.clock.pump([10] * 5)
        self.assertEqual(self.threads.busy, 1)
        self.threads.finish()
        self.clock.advance(10)
        self.assertEqual(self.threads.busy, 1)

    def test_never(self) -> None:
        """An interval of 0 leaves it to whoever asks."""
        self.watch.stop()
        watch = self.make(0)
        self.store.put(NEW)
        self.clock.pump([10] * 10)
        self.assertEqual(self.store.calls, [])
        watch.reload()
        self.assertEqual(self.store.certificates, (NEW,))

    def test_started_twice(self) -> None:
        """It is the same as once."""
        self.watch.start()
        self.clock.advance(10)
        self.assertEqual(self.store.calls, ["changed"])

    def test_stopped(self) -> None:
        """Nothing is looked at any more, nothing is left behind, and it can be started again."""
        self.watch.stop()
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.watch.start()
        self.clock.advance(10)
        self.assertEqual(self.store.calls, ["changed"])


class MistakeTests(WatchCase):
    """A mistake in a file."""

    WRONG = "certificate: '/etc/tls/a.pem' has no key\ncertificate: '/etc/tls/b.pem' cannot be read: No such file or directory"

    def test_what_is_served_stays(self) -> None:
        """The log has one error that names each file and what is wrong with it, and so has the last reload."""
        self.store.wrong = self.WRONG
        logged = self.pass_time(10)
        self.assertEqual((self.store.calls, self.store.certificates), (["changed", "load"], (OLD,)))
        why = "certificates cannot be read anew, what is served stays as it is:\n" + self.WRONG
        self.assertEqual(logged, [(LogLevel.error, why)])
        self.assertEqual(self.watch.last, Reload(START + 10, False, tuple(self.WRONG.splitlines())))
        self.assertEqual((self.watch.reloads, self.watch.read_at), ({"failure": 1, "success": 0}, START))

    def test_it_is_said_once(self) -> None:
        """As long as it is the same; another one is said too, and so is the first when it comes back."""
        self.store.wrong = self.WRONG
        self.pass_time(10)
        self.assertEqual(self.pass_time(600), [])
        other = "certificate: '/etc/tls/a.pem' is no PEM file"
        self.store.wrong = other
        self.assertEqual([level for level, _ in self.pass_time(60)], [LogLevel.error])
        self.store.wrong = ""
        self.store.put(NEW)
        self.assertEqual([level for level, _ in self.pass_time(60)], [LogLevel.info])
        self.store.wrong = other
        self.assertEqual([level for level, _ in self.pass_time(60)], [LogLevel.error])

    def test_who_asks_is_told_again(self) -> None:
        """An operator who sends a signal wants an answer."""
        self.store.wrong = self.WRONG
        self.pass_time(10)
        with capturedLogs() as events:
            came = self.successResultOf(self.watch.reload())
        self.assertEqual([level for level, _ in said(events)], [LogLevel.error])
        self.assertEqual(came, self.watch.last)

    def test_a_file_that_is_half_written(self) -> None:
        """Is a mistake until it is whole."""
        self.store.wrong = "certificate: '/etc/tls/a.pem' has half a certificate"
        self.pass_time(10)
        self.store.wrong = ""
        self.store.put(NEW)
        self.pass_time(10)
        self.assertEqual((self.store.certificates, self.watch.last), ((NEW,), Reload(START + 20, True)))

    def test_a_file_that_must_not_be_read(self) -> None:
        """At start there may have been more rights, which is said."""
        self.store.wrong = "certificate: '/etc/tls/a.pem' cannot be read: Permission denied\ncertificate: another"
        ((_, text),) = self.pass_time(10)
        _, forbidden, another = text.splitlines()
        explained = f"Permission denied (the user that this process runs as by now, with uid {os.geteuid()}, must be allowed"
        self.assertIn(explained, forbidden)
        self.assertEqual(another, "certificate: another")

    def test_it_is_tried_again(self) -> None:
        """Though the files are as they were: it may have been for want of something else."""
        self.store.put(NEW)
        self.store.error = ConfigurationError("certificate: '/etc/tls/a.pem' cannot be read: Too many open files")
        self.assertEqual([level for level, _ in self.pass_time(60)], [LogLevel.error])
        self.assertFalse(self.store.changed())
        self.store.error = None
        self.pass_time(10)
        self.assertEqual((self.store.certificates, self.watch.last), ((NEW,), Reload(START + 70, True)))
        self.store.taken()
        self.pass_time(10)
        self.assertEqual(self.store.taken(), ["changed"])

    def test_a_bug(self) -> None:
        """What nobody expects is logged with its traceback, counts as a failure, and ends nothing: the next change is served."""
        self.store.error = ZeroDivisionError("no")
        self.store.put(NEW)
        self.clock.pump([10] * 3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.watch.last, Reload(START + 30, False, ("no",)))
        self.store.error = None
        self.clock.advance(10)
        self.assertEqual(self.store.certificates, (NEW,))

    def test_a_bug_without_words(self) -> None:
        """It still has a name."""
        self.store.error = RuntimeError()
        came = self.successResultOf(self.watch.reload())
        self.flushLoggedErrors(RuntimeError)
        self.assertEqual(came and came.errors, ("RuntimeError",))

    def test_what_cannot_be_swapped(self) -> None:
        """Is a failure like any other."""
        self.patch(self.store, "swap", lambda loaded: 1 / 0)
        came = self.successResultOf(self.watch.reload())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((came and came.ok, self.watch.reloads["success"]), (False, 0))


class BackendTests(WatchCase):
    """What TLS with backends goes by, beside what clients are shown."""

    def setUp(self) -> None:
        super().setUp()
        self.watch.stop()
        self.ca = authority_file(self)
        self.tls = BackendTls(ca=self.ca)
        self.both = self.make(backend_tls=self.tls)

    def test_nothing_changes(self) -> None:
        """Nothing is read, and nothing is said."""
        context = self.tls.context
        self.assertEqual(self.pass_time(60), [])
        self.assertEqual((self.store.taken(), self.tls.context, self.both.last), (["changed"], context, None))

    def test_its_files_change(self) -> None:
        """They are read in a thread and gone by at once; what clients are shown stays as it is, with the keys of tickets."""
        context = self.tls.context
        replace(self.ca, authority("theirs").cert_pem)
        self.threads.held = True
        self.clock.advance(10)
        self.assertIs(self.tls.context, context)
        with capturedLogs() as events:
            self.threads.finish()
        self.assertIsNot(self.tls.context, context)
        self.assertEqual(self.store.taken(), ["changed"])
        self.assertEqual(said(events), [(LogLevel.info, "what TLS with backends goes by was read anew")])
        self.assertEqual(self.both.last, Reload(START + 10, True))

    def test_a_mistake_in_one_of_both(self) -> None:
        """Neither is swapped until all is well; each mistake is said, and once."""
        context = self.tls.context
        replace(self.ca, issued("a.example").private_key_pem)
        self.store.put(NEW)
        ((level, text),) = self.pass_time(10)
        self.assertEqual(level, LogLevel.error)
        self.assertIn(f"\nbackend-ca: {os.path.abspath(self.ca)!r} has no certificate in it", text)
        self.assertEqual((self.store.certificates, self.tls.context), ((OLD,), context))
        self.assertEqual(self.pass_time(60), [])
        self.store.wrong = "certificate: '/a.pem' has no key"
        self.pass_time(10)
        errors = self.both.last.errors if self.both.last else ()
        self.assertEqual([line.split(":")[0] for line in errors], ["certificate", "backend-ca"])
        self.store.wrong = ""
        replace(self.ca, authority("theirs").cert_pem)
        self.pass_time(10)
        self.assertEqual((self.store.certificates, self.both.last and self.both.last.ok), ((NEW,), True))
        self.assertIsNot(self.tls.context, context)

    def test_without_a_store(self) -> None:
        """As with one: for who speaks TLS with backends alone."""
        self.both.stop()
        watch = CertificateWatch(None, self.clock, 10, backend_tls=self.tls, in_thread=self.threads)
        watch.start()
        self.addCleanup(watch.stop)
        context = self.tls.context
        replace(self.ca, authority("theirs").cert_pem)
        self.clock.advance(10)
        self.assertIsNot(self.tls.context, context)
        with capturedLogs() as events:
            came = self.successResultOf(watch.reload())
        self.assertEqual((came and came.ok, len(said(events))), (True, 1))
        self.clock.advance(ROTATION)


class AuthoritiesOfClientsTests(SynchronousTestCase):
    """The file with the authorities of clients' certificates is one of those that are watched."""

    def test_it_changes(self) -> None:
        """A client of an authority that is not there any more gets no session; a mistake changes nothing."""
        clock, path = Clock(), authority_file(self)
        store = CertificateStore([certificate_file(self, issued("a.example"))], client_ca=path)
        watch = CertificateWatch(store, clock, 10, in_thread=Threads())
        watch.start()
        self.addCleanup(watch.stop)
        self.assertEqual(self.authorities(store), authority_names("ours"))
        replace(path, issued("a.example").private_key_pem)
        clock.advance(10)
        self.assertEqual(self.authorities(store), authority_names("ours"))
        errors = watch.last.errors if watch.last else ()
        self.assertEqual([line.split(" has ")[0] for line in errors], [f"client-ca: {os.path.abspath(path)!r}"])
        replace(path, authority("theirs").cert_pem)
        clock.advance(10)
        self.assertEqual(self.authorities(store), authority_names("theirs"))

    def authorities(self, store: CertificateStore) -> list[bytes]:
        """Those that a client is told of."""
        return [name.der() for name in store.serverConnectionForTLS(None).get_client_ca_list()]


class AskedTests(WatchCase):
    """``reload``."""

    def test_at_once_and_whether_or_not_a_file_has_changed(self) -> None:
        """Nothing need be waited for; what came of it is told."""
        came = self.successResultOf(self.watch.reload())
        self.assertEqual((self.store.calls, came), (["load", "swap"], Reload(START, True)))

    def test_while_one_runs(self) -> None:
        """It is done once more after that, for all who asked meanwhile: what was read before may be older than their files."""
        self.threads.held = True
        first = self.watch.reload()
        later = [self.watch.reload() for _ in range(3)]
        self.assertEqual(self.threads.busy, 1)
        self.threads.finish()
        self.successResultOf(first)
        self.assertEqual((self.threads.busy, [asked.called for asked in later]), (1, [False] * 3))
        self.threads.finish()
        for asked in later:
            self.successResultOf(asked)
        self.assertEqual((self.threads.busy, self.store.calls), (0, ["load", "swap"] * 2))

    def test_while_files_are_looked_at(self) -> None:
        """It is done after that, and in full."""
        self.threads.held = True
        self.clock.advance(10)
        asked = self.watch.reload()
        self.threads.finish()
        self.threads.finish()
        self.successResultOf(asked)
        self.assertEqual(self.store.calls, ["changed", "load", "swap"])

    def test_asked_again_by_who_was_told(self) -> None:
        """It is another one."""
        self.threads.held = True
        self.watch.reload().addCallback(lambda _: self.watch.reload())
        self.threads.finish()
        self.assertEqual(self.threads.busy, 1)

    def test_while_it_does_not_run(self) -> None:
        """Nothing is read."""
        self.watch.stop()
        self.assertIsNone(self.successResultOf(self.watch.reload()))
        self.assertEqual(self.store.calls, [])

    def test_stopped_meanwhile(self) -> None:
        """What is being read is not served, whoever asked is told that nothing came of it, and the log is silent."""
        self.threads.held = True
        asked = [self.watch.reload(), self.watch.reload()]
        self.store.put(NEW)
        self.watch.stop()
        for one in asked:
            self.assertIsNone(self.successResultOf(one))
        with capturedLogs() as events:
            self.threads.finish()
        self.assertEqual((self.store.calls, said(events), self.threads.busy), (["load"], [], 0))
        self.assertEqual((self.watch.last, self.store.certificates), (None, (OLD,)))

    def test_started_again_after_that(self) -> None:
        """What was read for nobody is served then, though no file has changed since."""
        self.threads.held = True
        self.store.put(NEW)
        self.clock.advance(10)
        self.watch.stop()
        self.threads.finish()
        self.threads.held = False
        self.watch.start()
        self.clock.advance(10)
        self.assertEqual(self.store.certificates, (NEW,))

    def test_stopped_before_it_failed(self) -> None:
        """Nobody hears of that either."""
        self.threads.held = True
        self.watch.reload()
        self.store.wrong = "certificate: no"
        self.watch.stop()
        with capturedLogs() as events:
            self.threads.finish()
        self.assertEqual((self.watch.last, said(events)), (None, []))

    def test_started_again_while_the_old_thread_reads(self) -> None:
        """The store is read by one thread at a time: the new life waits for its turn."""
        self.threads.held = True
        self.watch.reload()
        self.watch.stop()
        self.watch.start()
        asked = self.watch.reload()
        self.assertEqual(self.threads.busy, 1)
        self.threads.finish()
        self.assertEqual((asked.called, self.threads.busy), (False, 1))
        self.threads.finish()
        self.assertEqual((self.successResultOf(asked), self.store.calls), (Reload(START, True), ["load", "load", "swap"]))


class TicketTests(WatchCase):
    """Keys of session tickets."""

    def test_rotation(self) -> None:
        """Every twelve hours there are new ones, whether or not files are looked at."""
        self.watch.stop()
        self.make(0)
        self.clock.advance(ROTATION - 1)
        self.assertEqual(self.store.taken(), [])
        self.clock.advance(1)
        self.assertEqual(self.store.taken(), ["rotate"])
        self.clock.advance(ROTATION)
        self.assertEqual(self.store.taken(), ["rotate"])

    def test_a_bug(self) -> None:
        """It ends no rotation for ever."""
        self.patch(self.store, "rotate", lambda: 1 / 0)
        self.clock.pump([ROTATION, ROTATION])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class ThreadTests(SynchronousTestCase):
    """``in_thread_of``."""

    def test_the_pool_of_the_reactor(self) -> None:
        """It is asked for when there is something to be done, after a daemon has forked."""

        class Reactor:
            def getThreadPool(self) -> Any:
                return self

            def callInThreadWithCallback(self, told: Any, job: Any) -> None:
                told(True, job())

            def callFromThread(self, act: Any, *arguments: Any) -> None:
                act(*arguments)

        self.assertEqual(self.successResultOf(in_thread_of(Reactor(), lambda: 7)), 7)


def authority_names(name: str) -> list[bytes]:
    """Its subject, as a client is told of it."""
    return [load_pem_x509_certificate(authority(name).cert_pem.bytes()).subject.public_bytes()]


def said(events: Any) -> list[tuple[LogLevel, str]]:
    """What was logged: levels and texts."""
    return [(event["log_level"], formatEvent(event)) for event in events]
