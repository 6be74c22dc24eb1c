"""Keeps certificates as new as their files, those that clients are shown and what TLS with backends goes by: reads them anew when
the files change or when it is asked to, has ticket keys rotated, and says in the log when a certificate's time runs out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from errno import EACCES
from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ConfigurationError
from ..files import recording
from .backends import BackendTls
from .certificates import Certificate
from .notices import ExpiryNotices, say_unreadable, say_warnings, whom_to_allow
from .store import CertificateStore

__all__ = ["EXPIRY_LOOK", "RESULTS", "ROTATION", "CertificateWatch", "Reload", "in_thread_of"]

#: Seconds after which tickets are made with a new key (Caddy rotates its keys as often).
ROTATION = 12 * 3600.0
#: Seconds between two looks at which certificates expire.
EXPIRY_LOOK = 60.0

#: How a reload can end, as it is counted.
RESULTS = ("failure", "success")

_FORBIDDEN = os.strerror(EACCES)

_log = Logger()


@attrs.frozen
class Reload:
    """What came of reading the certificates anew.

    :ivar when: seconds since the epoch.
    :ivar ok: whether what was read is served since; otherwise what was served before is.
    :ivar errors: what was wrong, a line for each file.
    """

    when: float
    ok: bool
    errors: tuple[str, ...] = ()


class CertificateWatch:
    """Keeps a store as new as its files, and TLS with backends. Files are looked at and read in a thread, one at a time, off
    every handshake's way; what was read is swapped in all at once, or not at all: while there is a mistake in a file, what is
    served stays as it is.

    :param store: the certificates that clients are shown; None: there are none.
    :param clock: gives the time, and runs what is to be done from time to time.
    :param interval: seconds between two looks at the files; 0: they are read when :meth:`reload` is called, and never else.
    :param backend_tls: how TLS is spoken with backends; None: nobody need look at its files.
    :param backends: further ways in which it is.
    :param in_thread: runs a function in a thread and gives its result by a Deferred; by default in *clock*'s thread pool, if that
        is a reactor.
    :ivar store: as it is now; *interval* likewise.
    :ivar backends: all ways in which TLS is spoken with backends.
    :ivar last: what came of the last reload, those not counted that found the files as they were; None: there was none.
    :ivar reloads: how many there were, by how they ended (:data:`RESULTS`).
    :ivar read_at: when what is served was read, in seconds since the epoch.
    :ivar on_read: is called when other certificates are served than before.
    """

    def __init__(
        self,
        store: CertificateStore | None,
        clock: IReactorTime,
        interval: float,
        *,
        backend_tls: BackendTls | None = None,
        backends: Sequence[BackendTls] = (),
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]] | None = None,
    ) -> None:
        self._go_by(store, backends if backend_tls is None else (backend_tls, *backends))
        self.last: Reload | None = None
        self.reloads = dict.fromkeys(RESULTS, 0)
        self.read_at: float = clock.seconds()
        self.on_read: Callable[[], object] = lambda: None
        self._clock = clock
        self._in_thread = partial(in_thread_of, clock) if in_thread is None else in_thread
        self.interval = interval
        self._loops: list[LoopingCall] = []
        self._notices = ExpiryNotices()
        self._backend_notices = ExpiryNotices("backend certificate")
        self._life = 0  # which grows when it is stopped: what was begun before is nobody's any more
        self._busy = False
        self._asked: list[Deferred[Reload | None]] = []  # who wants a reload
        self._waiting: list[Deferred[Reload | None]] = []  # whose reload runs
        self._behind = False  # whether there may be something in the files that is not served
        self._told = ""

    def _go_by(self, store: CertificateStore | None, backends: Sequence[BackendTls]) -> None:
        self.store = store
        self.backends = tuple(dict.fromkeys(backends))
        self._sources: list[CertificateStore | BackendTls] = [*([] if store is None else [store]), *self.backends]

    def replace(self, store: CertificateStore | None, backends: Sequence[BackendTls], interval: float) -> None:
        """Watch these from now on, which have just been read. Who waits for a reload is answered with None."""
        running = self.running
        self.stop()
        self._go_by(store, backends)
        self.interval = interval
        self._behind = False
        self._told = ""
        self.read_at = self._clock.seconds()
        if running:
            self.start()

    @property
    def backend_tls(self) -> BackendTls | None:
        """How TLS is spoken with backends, where a file says so; of several ways, the first."""
        return next(iter(self.backends), None)

    @property
    def running(self) -> bool:
        """Whether it has been started, and not stopped since."""
        return bool(self._loops)

    def start(self) -> None:
        """Begin, unless it runs already. The log tells at once what there is to be known of the certificates."""
        if self.running:
            return
        for job, interval in ((self._begin, self.interval), (self._look_for_expiry, EXPIRY_LOOK), (self._rotate, ROTATION)):
            if interval:
                loop = LoopingCall(_guarded, job)
                loop.clock = self._clock
                self._loops.append(loop)
                loop.start(interval, now=False)
        _guarded(self._say_unreadable)
        _guarded(self._say_what_is_served)

    def stop(self) -> None:
        """End. Of what is being read just now nothing will be served."""
        self._life += 1
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.stop()
        _answer([*self._take_waiting(), *self._take_asked()], None)

    def reload(self) -> Deferred[Reload | None]:
        """Read all anew, whether or not a file has changed. While it is being done, it is done once more after that, for all who
        ask meanwhile.

        :return: fires with what came of it; with None if the watch does not run, or is stopped before. It never fails.
        """
        if not self.running:
            return succeed(None)
        asked: Deferred[Reload | None] = Deferred()
        self._asked.append(asked)
        self._begin()
        return asked

    # One way from the files to what is served, for both who asked and a file that has changed.

    def _begin(self) -> None:
        if self._busy:
            return
        self._busy = True
        self._waiting = self._take_asked()
        # A mistake may be none the next time though its file is as it was: the process may have had no file left to open.
        reading = maybeDeferred(self._in_thread, partial(_read, self._sources, self._behind or bool(self._waiting)))
        reading.addCallback(self._serve, self._life)
        reading.addErrback(self._fail, self._life)
        reading.addCallback(self._end)

    def _serve(self, loaded: Any, life: int) -> Reload | None:
        if loaded is None:
            return None
        if life != self._life:
            self._behind = True
            return None
        for source, read in loaded:
            source.swap(read)
        self._behind = False
        self._told = ""
        self.read_at = self._clock.seconds()
        self._say_what_was_read([source for source, _ in loaded])
        self._say_what_is_served()
        self.on_read()
        return self._count(Reload(self.read_at, True))

    def _fail(self, failure: Failure, life: int) -> Reload | None:
        self._behind = True
        if life != self._life:
            return None
        errors = tuple(map(_explained, failure.getErrorMessage().splitlines())) or (type(failure.value).__name__,)
        text = "\n".join(errors)
        # Who has asked is answered; a file that stays as it is is said once.
        if self._waiting or text != self._told:
            self._told = text
            if failure.check(ConfigurationError):
                _log.error("certificates cannot be read anew, what is served stays as it is:\n{errors}", errors=text)
            else:
                _log.failure("certificates cannot be read anew, what is served stays as it is", failure)
        return self._count(Reload(self._clock.seconds(), False, errors))

    def _count(self, came: Reload) -> Reload:
        self.last = came
        self.reloads["success" if came.ok else "failure"] += 1
        return came

    def _end(self, came: Reload | None) -> None:
        self._busy = False
        _answer(self._take_waiting(), came)
        if self._asked:
            self._begin()

    def _take_asked(self) -> list[Deferred[Reload | None]]:
        asked, self._asked = self._asked, []
        return asked

    def _take_waiting(self) -> list[Deferred[Reload | None]]:
        waiting, self._waiting = self._waiting, []
        return waiting

    # What else is to be done from time to time.

    def _say_unreadable(self) -> None:
        if self.store is not None:
            say_unreadable("certificate", _paths(self.store.certificates))
        for tls in self.backends:
            say_unreadable("backend-certificate", _paths(tls.certificates))
            say_unreadable("backend-ca", filter(None, [tls.files.ca]))

    def _say_what_was_read(self, sources: list[CertificateStore | BackendTls]) -> None:
        if self.store is not None and self.store in sources:
            _log.info("certificates were read anew, {count} in all", count=len(self.store.certificates))
        if any(tls in sources for tls in self.backends):
            _log.info("what TLS with backends goes by was read anew")

    def _say_what_is_served(self) -> None:
        if self.store is not None:
            say_warnings(self.store.warnings)
        self._look_for_expiry()

    def _look_for_expiry(self) -> None:
        now = self._clock.seconds()
        if self.store is not None:
            self._notices.look(self.store.certificates, now)
        if self.backends:
            self._backend_notices.look([one for tls in self.backends for one in tls.certificates], now)

    def _rotate(self) -> None:
        if self.store is not None:
            self.store.rotate()


def _read(sources: Iterable[CertificateStore | BackendTls], anyway: bool) -> Any:
    """In a thread: who has other files now, each with what is in them; None if all are as they were.

    :raises ConfigurationError: all their mistakes.
    """
    record = recording()
    if record is not None:
        record.begin()
    loaded, mistakes = [], []
    for source in sources:
        try:
            if anyway or source.changed():
                loaded.append((source, source.load()))
        except ConfigurationError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))
    return loaded or None


def _paths(certificates: Iterable[Certificate]) -> Iterable[str]:
    return (path for certificate in certificates for path in certificate.source.split(","))


def _explained(line: str) -> str:
    return f"{line} ({whom_to_allow()})" if _FORBIDDEN in line else line


def _answer(waiting: list[Deferred[Reload | None]], came: Reload | None) -> None:
    for asked in waiting:
        asked.callback(came)


def _guarded(job: Callable[[], None]) -> None:
    """A mistake of ours must not end a loop for ever."""
    try:
        job()
    except Exception:
        _log.failure("a mistake in watching certificates")


def in_thread_of(reactor: Any, job: Callable[[], Any]) -> Deferred[Any]:
    """Run *job* in the reactor's thread pool."""
    return deferToThreadPool(reactor, reactor.getThreadPool(), job)
