"""Who a pool's members are: what its configuration or a watched file says, with what operators said at run time over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.logger import Logger

from .balance.backend import Backend
from .balance.overlay import Overlay, effective, settled
from .balance.pool import Pool
from .balance.state import Wish
from .errors import ConfigurationError

__all__ = ["Members", "MembershipConflict", "UnknownBackend"]

_log = Logger()


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
            self._take(self.configured, self.overlay.add(backend), "operator")
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
        self._take(self.configured, self.overlay.remove(address), "operator")

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
        self._take(self.configured, overlay, "operator")
        for wish in self.overlay.wishes.values():
            self.pool.wish(wish)

    def _known(self, address: str) -> None:
        if address not in self.pool.members:
            known = ", ".join(self.pool.members)
            raise UnknownBackend(f"pool {self.pool.name}: there is no backend {address}; there is {known}")

    def _take(self, configured: tuple[Backend, ...], overlay: Overlay, source: str = "configuration") -> None:
        wanted = effective(configured, overlay)
        if wanted != self._members():
            try:
                self.pool.set_backends(wanted, source)
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
