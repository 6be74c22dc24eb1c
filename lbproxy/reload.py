"""How a service comes to another configuration: because an application says so, because its file has changed, because it is told
to read it again; and what came of that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .config.model import Configuration
from .errors import LBProxyError
from .files import FileStamp
from .tls.watch import RESULTS, Reload

__all__ = ["LOOK", "TOLD", "ReloadResult", "Reloader", "Source"]

#: Seconds between two looks at whether files have changed.
LOOK = 2.0
#: Differences that the log tells of; of the others only how many there are.
TOLD = 20

_log = Logger()

_In_thread = Callable[[Callable[[], Any]], Deferred[Any]]


@attrs.frozen
class ReloadResult:
    """What came of a reload.

    :ivar when: seconds since the epoch.
    :ivar ok: whether what was wanted is gone by since; otherwise what was gone by before is.
    :ivar errors: what was wrong, a line each.
    :ivar differences: what was changed (:func:`lbproxy.config.differences.differences`).
    """

    when: float
    ok: bool
    errors: tuple[str, ...] = ()
    differences: tuple[Any, ...] = ()


class Source(Protocol):
    """Where configurations are read from: a file, with what it includes.

    :ivar read_as: the state of all these files when it was read last.
    """

    path: str
    read_as: FileStamp

    def read(self) -> Configuration:
        """What it says now. Blocking; safe in a thread.

        :raises ConfigurationError: every mistake in it, a line each.
        """

    def stamp(self) -> FileStamp:
        """The state of these files now. Blocking; safe in a thread."""

    def served(self) -> None:
        """What was read last is gone by from now on."""

    def located(self, error: LBProxyError) -> str:
        """What was wrong with what was read last, a line each, with the file and the line of what they are about."""


class Reloader:
    """Changes a service from one configuration to the next, one at a time; of those that are asked for while one is gone over to,
    the last one counts.

    :param change: goes over to a configuration; its Deferred fires with the differences, or fails and nothing has changed.
    :param certificates: reads the files of certificates anew.
    :param clock: gives the time, and runs what is to be done from time to time.
    :param in_thread: runs a function in a thread and gives its result by a Deferred.
    :ivar read_at: when what is gone by was read, or given, in seconds since the epoch.
    :ivar silent: whether only mistakes of ours are told: somebody else says what becomes of configurations.
    :ivar source: where configurations come from; None: from the application alone.
    :ivar watching: whether the source is looked at every :data:`LOOK` seconds, and read when it has changed and is quiet.
    :ivar last: what came of the last reload; None: there was none.
    :ivar told: is called with True when one begins, and with False when it has ended.
    :ivar counts: how many there were, by how they ended (:data:`~lbproxy.tls.watch.RESULTS`).
    """

    def __init__(
        self,
        change: Callable[[Configuration], Deferred[tuple[Any, ...]]],
        certificates: Callable[[], Deferred[Reload | None]],
        clock: IReactorTime,
        in_thread: _In_thread,
    ) -> None:
        self.source: Source | None = None
        self.watching = self.silent = False
        self.told: Callable[[bool], None] = lambda begins: None
        self.read_at: float = clock.seconds()
        self.last: ReloadResult | None = None
        self.counts = dict.fromkeys(RESULTS, 0)
        self._change = change
        self._certificates = certificates
        self._clock = clock
        self._in_thread = in_thread
        self._wanted: Callable[[], Deferred[Configuration]] | None = None
        self._asked: list[Deferred[ReloadResult]] = []  # who wants that
        self._busy = False
        self._running = False
        self._told = ""
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._seen: FileStamp | None = None  # the files as they were when they were looked at last

    def start(self) -> None:
        """Begin to watch the files, if they are to be watched."""
        self._running = True
        self._look_or_not()

    def stop(self) -> None:
        """Watch them no longer."""
        self._running = False
        self._look_or_not()

    def watch(self, watching: bool) -> None:
        """Say whether they are to be."""
        self.watching = watching
        self._look_or_not()

    def _look_or_not(self) -> None:
        wanted = self._running and self.watching and self.source is not None
        if wanted and not self._looking.running:
            self._looking.start(LOOK, now=False).addErrback(lambda failure: _log.failure("the watch stopped", failure))
        elif self._looking.running and not wanted:
            self._looking.stop()

    # Who asks.

    def change_to(
        self, configuration: Configuration, complete: Callable[[Configuration], Configuration] = lambda given: given
    ) -> Deferred[ReloadResult]:
        """Go by this one from now on, if there is no mistake in it.

        :param complete: gives what is meant by it, or raises a :class:`~lbproxy.errors.ConfigurationError`.
        :return: fires with what came of it, or of the last one that was asked for meanwhile. It never fails.
        """
        return self._want(lambda: succeed(complete(configuration)))

    def reload(self) -> Deferred[ReloadResult]:
        """Read the file anew, if there is one, and then all certificates, whether or not they have changed.

        :return: fires with what came of both; :attr:`last` has what came of the file alone. It never fails.
        """
        if self.source is None:
            return self._read_certificates(None)
        return self._want(self._read).addCallback(self._read_certificates)

    def _read_certificates(self, file: ReloadResult | None) -> Deferred[ReloadResult]:
        so_far = ReloadResult(self._clock.seconds(), True) if file is None else file
        return maybeDeferred(self._certificates).addCallback(partial(_both, so_far))

    # One way for all.

    def _want(self, give: Callable[[], Deferred[Configuration]]) -> Deferred[ReloadResult]:
        asked: Deferred[ReloadResult] = Deferred()
        self._wanted = give
        self._asked.append(asked)
        self._begin()
        return asked

    def _begin(self) -> None:
        if self._busy or self._wanted is None:
            return
        self._busy = True
        self.told(True)
        give, self._wanted = self._wanted, None
        asked, self._asked = self._asked, []
        of_file = give == self._read
        changing: Deferred[Any] = maybeDeferred(give)
        changing.addCallback(self._change)
        changing.addCallbacks(partial(self._changed, of_file=of_file), partial(self._failed, of_file=of_file))
        changing.addCallback(self._end, asked)

    def _changed(self, differences: tuple[Any, ...], of_file: bool) -> ReloadResult:
        self._told = ""
        if of_file and self.source is not None:
            self.source.served()
        self.read_at = self._clock.seconds()
        if not self.silent:
            _say_done(differences)
        return self._count(ReloadResult(self._clock.seconds(), True, (), tuple(differences)))

    def _failed(self, failure: Failure, of_file: bool) -> ReloadResult:
        text = failure.getErrorMessage() or type(failure.value).__name__
        if of_file and self.source is not None and isinstance(failure.value, LBProxyError):
            text = self.source.located(failure.value)
        if text != self._told:  # a file that stays as it is is said once
            self._told = text
            if failure.check(LBProxyError):
                if not self.silent:
                    _log.error("the configuration cannot be changed, all stays as it is:\n{errors}", errors=text)
            else:
                _log.failure("the configuration cannot be changed", failure)
        return self._count(ReloadResult(self._clock.seconds(), False, tuple(text.splitlines())))

    def _count(self, result: ReloadResult) -> ReloadResult:
        self.last = result
        self.counts["success" if result.ok else "failure"] += 1
        return result

    def _end(self, result: ReloadResult, asked: list[Deferred[ReloadResult]]) -> None:
        self._busy = False
        self.told(False)
        for waiting in asked:
            waiting.callback(result)
        self._begin()

    # The file.

    def _read(self) -> Deferred[Configuration]:
        assert self.source is not None
        return self._in_thread(self.source.read)

    def _look(self) -> Deferred[None] | None:
        """One look. Files that change are read when they have been quiet from one look to the next."""
        if self._busy or self.source is None:
            return None
        return maybeDeferred(self._in_thread, self.source.stamp).addCallbacks(self._looked, self._cannot_look)

    def _looked(self, now: FileStamp) -> None:
        before, self._seen = self._seen, now
        if self.source is not None and now == before and now != self.source.read_as:
            self._want(self._read)

    def _cannot_look(self, failure: Failure) -> None:
        _log.failure("the configuration's files cannot be looked at", failure)


def _say_done(differences: tuple[Any, ...]) -> None:
    if differences:
        _log.info("the configuration was changed: {differences}", differences=_in_words(differences))
    else:
        _log.info("the configuration is as it was")


def _in_words(differences: tuple[Any, ...]) -> str:
    told = [str(difference) for difference in differences[:TOLD]]
    more = [f"and {len(differences) - TOLD} more"] if len(differences) > TOLD else []
    return "; ".join([*told, *more])


def _both(file: ReloadResult, certificates: Reload | None) -> ReloadResult:
    if certificates is None:
        return file
    return attrs.evolve(file, ok=file.ok and certificates.ok, errors=(*file.errors, *certificates.errors))
