"""Who a pool's members are: what its configuration or a watched file says, with what operators said at run time over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .balance.backend import Backend
from .balance.overlay import Overlay, effective, settled
from .balance.pool import Pool
from .balance.state import Wish
from .discovery.file import InThread, MembersFile
from .discovery.listing import read_members
from .errors import ConfigurationError

__all__ = ["Configured", "Members", "MembershipConflict", "Memberships", "UnknownBackend"]

_log = Logger()


class Configured(Protocol):
    """What a configuration says of a pool's members."""

    @property
    def backends(self) -> Iterable[Backend]:
        """As they are named there."""

    @property
    def backends_file(self) -> str:
        """The file that names them instead; empty: none."""


class UnknownBackend(ConfigurationError):
    """It is no member of the pool."""


class MembershipConflict(ConfigurationError):
    """It cannot be done as the pool is now."""


class Members:
    """The membership of one pool. Whatever is to be said of the pool's backends is said here, and the pool is told what comes of
    it; where nothing comes of it, the pool is not told.

    :param pool: its backends are what is configured at first.
    :param changed: is called when what operators said is another thing.
    :ivar configured: what the configuration, or its file, says.
    :ivar overlay: what operators said over it.
    """

    def __init__(self, pool: Pool, changed: Callable[[], None] = lambda: None) -> None:
        self.pool = pool
        self.configured = self._members()
        self.overlay = Overlay()
        self._changed = changed

    def _members(self) -> tuple[Backend, ...]:
        return tuple(member.backend for member in self.pool.members.values())

    def configure(self, backends: Iterable[Backend]) -> None:
        """The configuration, or its file, says this now. What operators said holds over it.

        :raises ConfigurationError: the pool cannot consist of these; nothing has changed.
        """
        self._take(tuple(backends), self.overlay)

    # What an operator says.

    def add(self, backend: Backend) -> None:
        """Let a backend be a member. One that is there as it is described here is left as it is.

        :raises MembershipConflict: it is there, and described otherwise.
        :raises ConfigurationError: the pool cannot have it.
        """
        member = self.pool.members.get(backend.address)
        if member is None:
            self._take(self.configured, self.overlay.add(backend))
        elif member.backend != backend:
            raise MembershipConflict(
                f"pool {self.pool.name}: backend {backend.address} is there already, and described otherwise; "
                "remove it first, or change its weight"
            )

    def remove(self, address: str) -> None:
        """Let a backend be a member no more. What runs at it goes its way to the end.

        :raises UnknownBackend: it is none.
        :raises MembershipConflict: it is the only one.
        """
        self._known(address)
        if len(self.pool.members) == 1:
            raise MembershipConflict(
                f"pool {self.pool.name}: backend {address} is the only one, and a pool must have one; add another one first"
            )
        self._take(self.configured, self.overlay.remove(address))

    def weigh(self, address: str, weight: int) -> None:
        """Let a member have another weight.

        :raises UnknownBackend: it is none.
        :raises ConfigurationError: no backend can have that weight.
        """
        self._known(address)
        self._take(self.configured, self.overlay.weigh(address, weight))

    def wish(self, wish: Wish) -> None:
        """Something is wanted of a member, whatever its health.

        :raises UnknownBackend: it is none.
        """
        self._known(wish.address)
        self._keep(self.overlay.wish(wish))
        self.pool.wish(wish)

    def restore(self, overlay: Overlay) -> None:
        """Let all hold that operators said at another time.

        :raises ConfigurationError: the pool cannot have the backends that were added.
        """
        self._take(self.configured, overlay)
        for wish in self.overlay.wishes.values():
            self.pool.wish(wish)

    def _known(self, address: str) -> None:
        if address not in self.pool.members:
            known = ", ".join(self.pool.members)
            raise UnknownBackend(f"pool {self.pool.name}: there is no backend {address}; there is {known}")

    def _take(self, configured: tuple[Backend, ...], overlay: Overlay) -> None:
        wanted = effective(configured, overlay)
        if wanted != self._members():
            try:
                self.pool.set_backends(wanted)
            except Exception:
                if wanted != self._members():  # otherwise it was an observer of the pool that failed
                    raise
                _log.failure("a change of pool {name} could not be told to all", name=self.pool.name)
        self.configured = configured
        self._keep(settled(configured, overlay))

    def _keep(self, overlay: Overlay) -> None:
        before, self.overlay = self.overlay, overlay
        if overlay != before:
            self._changed()


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
