"""Keeps a pool's members as new as the file that lists them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..balance.backend import Backend
from ..errors import ConfigurationError
from ..files import FileStamp
from .listing import read_members

__all__ = ["LOOK_INTERVAL", "RESULTS", "InThread", "MembersFile", "Reading"]

#: Seconds between two looks at a file.
LOOK_INTERVAL = 2.0

#: How reading a file can end, as it is counted.
RESULTS = ("failure", "success")

#: Runs a function in a thread and gives its result by a Deferred.
InThread: TypeAlias = Callable[[Callable[[], Any]], Deferred[Any]]

_log = Logger()


@attrs.frozen
class Reading:
    """What came of reading the file.

    :ivar when: seconds since the epoch.
    :ivar ok: whether the pool goes by what is in it; otherwise it goes by what was there before.
    :ivar errors: what was wrong, a line each.
    """

    when: float
    ok: bool
    errors: tuple[str, ...] = ()


class MembersFile:
    """Watches a file that lists backends, and tells a pool when it lists others.

    It is looked at and read in a thread. With a mistake in it, and when it is gone or lists nobody, the members stay as they are:
    an outage of what writes it must not become one of what it lists. A mistake is said once, and counted each time.

    :param path: as :func:`.listing.read_members` reads it.
    :param take: is given the backends each time that the file was another one.
    :param clock: gives the time, and runs the looks.
    :ivar last: what came of the last reading; None: there was none since it was started.
    :ivar reads: how many readings there were, by how they ended (:data:`RESULTS`).
    :ivar read_at: when the members were read that the pool has, in seconds since the epoch.
    """

    def __init__(
        self,
        path: str,
        take: Callable[[tuple[Backend, ...]], None],
        clock: IReactorTime,
        in_thread: InThread,
        interval: float = LOOK_INTERVAL,
    ) -> None:
        self.path = path
        self.last: Reading | None = None
        self.reads = dict.fromkeys(RESULTS, 0)
        self.read_at: float = clock.seconds()
        self._take = take
        self._clock = clock
        self._in_thread = in_thread
        self._interval = interval
        self._loop: LoopingCall | None = None
        self._life = 0  # which grows when it is stopped: what was begun before is nobody's any more
        self._busy = False
        self._stamp: FileStamp | None = None  # None: it is read at the next look, whether or not it has changed
        self._told = ""

    @property
    def running(self) -> bool:
        """Whether it has been started, and not stopped since."""
        return self._loop is not None

    def start(self) -> None:
        """Begin with a look at once, unless it runs already."""
        if self._loop is None:
            self._loop = LoopingCall(self.look)
            self._loop.clock = self._clock
            self._loop.start(self._interval)

    def stop(self) -> None:
        """End. Of what is being read just now nothing will be told."""
        self._life += 1
        self._stamp = None
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()

    def look(self) -> None:
        """Read the file if it has changed, unless that is being done."""
        if self._busy:
            return
        self._busy = True
        reading = maybeDeferred(self._in_thread, partial(_read, self.path, self._stamp))
        reading.addCallback(self._serve, self._life)
        reading.addErrback(self._fail, self._life)
        reading.addBoth(self._end)

    def _serve(self, read: tuple[FileStamp, tuple[Backend, ...]] | None, life: int) -> None:
        if read is None or life != self._life:
            return
        stamp, backends = read
        self._take(backends)
        self._stamp = stamp
        self.read_at = self._clock.seconds()
        if self._told:
            _log.info("{path} is read again, it lists {count} backends", path=self.path, count=len(backends))
        self._told = ""
        self._count(Reading(self.read_at, True))

    def _fail(self, failure: Failure, life: int) -> None:
        if life != self._life:
            return
        self._stamp = None  # it may be read the next time though it is as it was: the process may have had no file left to open
        text = failure.getErrorMessage() or type(failure.value).__name__
        if text != self._told:
            self._told = text
            if failure.check(ConfigurationError):
                _log.error("the members of a pool stay as they are:\n{errors}", errors=text)
            else:
                _log.failure("the members of a pool stay as they are, {path} was not read", failure, path=self.path)
        self._count(Reading(self._clock.seconds(), False, tuple(text.splitlines())))

    def _count(self, reading: Reading) -> None:
        self.last = reading
        self.reads["success" if reading.ok else "failure"] += 1

    def _end(self, _: object) -> None:
        self._busy = False


def _read(path: str, before: FileStamp | None) -> tuple[FileStamp, tuple[Backend, ...]] | None:
    """In a thread: the file's backends with its state; None if that is as it was."""
    stamp = FileStamp.of([path])
    return None if stamp == before else (stamp, read_members(path))
