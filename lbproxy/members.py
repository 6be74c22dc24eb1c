"""The memberships of all pools of a site: what configurations say of them, the files that list some, and what operators said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .balance.backend import Backend
from .balance.overlay import Overlay
from .balance.pool import Pool
from .discovery.file import InThread, MembersFile
from .discovery.listing import read_members
from .errors import ConfigurationError
from .membership import Members

__all__ = ["Configured", "Memberships"]

_log = Logger()


class Configured(Protocol):
    """What a configuration says of a pool's members."""

    @property
    def backends(self) -> Iterable[Backend]:
        """As they are named there."""

    @property
    def backends_file(self) -> str:
        """The file that names them instead; empty: none."""


class Memberships:
    """The memberships of all pools of a site, and the files that list some of them.

    :param clock: gives the time, and runs the looks at files.
    :param in_thread: runs a function in a thread and gives its result by a Deferred.
    :ivar members: by the pools' names.
    :ivar files: of those pools that have one, by the pools' names.
    :ivar observers: are called when what operators said is another thing.
    """

    def __init__(self, clock: IReactorTime, in_thread: InThread) -> None:
        self.members: dict[str, Members] = {}
        self.files: dict[str, MembersFile] = {}
        self.observers: list[Callable[[], None]] = []
        self.running = False
        self._clock = clock
        self._in_thread = in_thread

    def of(self, pool: Pool) -> Members:
        """The membership of a pool. Under the name of one that was there before, what operators said of that holds on.

        :raises ConfigurationError: the pool cannot have the backends that were added to the one before.
        """
        before = self.members.get(pool.name)
        if before is not None and before.pool is pool:
            return before
        members = Members(pool, self._changed)
        if before is not None:
            members.restore(before.overlay)
        self.members[pool.name] = members
        return members

    def read(self, configuration: Configured) -> tuple[Backend, ...]:
        """The backends that a configuration names, by itself or by a file. Blocking; safe in a thread.

        :raises ConfigurationError: for a file with mistakes, or that cannot be read.
        """
        return read_members(configuration.backends_file) if configuration.backends_file else tuple(configuration.backends)

    def configure(self, pool: Pool, backends: Iterable[Backend] = (), file: str = "") -> Members:
        """The configuration says this of a pool: at the start, and whenever it says another thing.

        :param backends: as they are named there, or as they were just read from *file*; none: those of the file that it had
            before stay.
        :param file: lists the backends, and is watched from now on; empty: there is none.
        :raises ConfigurationError: the pool cannot consist of these.
        """
        members = self.of(pool)
        backends = tuple(backends)
        if backends:
            members.configure(backends)
        before = self.files.get(pool.name)
        if before is None or before.path != file:
            self._forget_file(pool.name)
            if file:
                self.files[pool.name] = watched = MembersFile(file, members.configure, self._clock, self._in_thread)
                if self.running:
                    watched.start()
        return members

    def drop(self, name: str) -> None:
        """A pool is gone, and with it what was said of it."""
        self._forget_file(name)
        members = self.members.pop(name, None)
        if members is not None and members.overlay:
            self._changed()

    def _forget_file(self, name: str) -> None:
        file = self.files.pop(name, None)
        if file is not None:
            file.stop()

    def _changed(self) -> None:
        for observer in self.observers:
            observer()

    # What is kept over a restart.

    @property
    def overlays(self) -> dict[str, Overlay]:
        """What operators said, by pool; pools of which they said nothing are left out."""
        return {name: members.overlay for name, members in self.members.items() if members.overlay}

    def restore(self, overlays: Mapping[str, Overlay]) -> None:
        """Let all hold that operators said at another time. What concerns nobody that is there is dropped; the log tells."""
        for name, overlay in overlays.items():
            members = self.members.get(name)
            if members is None:
                _log.warn("what was said of pool {name} at run time is dropped: there is no such pool any more", name=name)
                continue
            try:
                members.restore(overlay)
            except ConfigurationError as error:
                _log.error("what was said of pool {name} at run time is dropped: {error}", name=name, error=str(error))
                continue
            if members.overlay != overlay:
                _log.info("of what was said of pool {name} at run time, a part is dropped: it changes nothing now", name=name)

    def start(self) -> None:
        """Begin to watch the files."""
        self.running = True
        for file in self.files.values():
            file.start()

    def stop(self) -> None:
        """Watch them no more."""
        self.running = False
        for file in self.files.values():
            file.stop()
