"""All that there is to be seen of a load balancer that runs, in one place for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from twisted.internet.defer import Deferred

from ..members import Memberships
from ..proxy.balancer import Balancer
from ..proxy.counters import ListenerCounters
from ..state_file import StateFile
from ..tls.watch import CertificateWatch
from .processes import Workers

if TYPE_CHECKING:
    from ..site import Site

__all__ = ["ReloadResult", "Reloader", "Running"]


class ReloadResult(Protocol):
    """What came of reading the configuration anew."""

    @property
    def when(self) -> float:
        """Seconds since the epoch."""

    @property
    def ok(self) -> bool:
        """Whether it goes by what was read; otherwise by what was there before."""

    @property
    def errors(self) -> Sequence[str]:
        """What was wrong, a line each."""

    @property
    def differences(self) -> Sequence[object]:
        """What differed, and was changed; as text, a line each."""


class Reloader(Protocol):
    """Reads the configuration anew."""

    @property
    def last(self) -> ReloadResult | None:
        """What came of it the last time; None: it was not done yet."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How often it was done, by how it ended: ``success`` or ``failure``."""

    def reload(self) -> Deferred[Any]:
        """Do it; fires with a :class:`ReloadResult`."""


@attrs.frozen(kw_only=True)
class Running:
    """What runs.

    :ivar site: pools and routes.
    :ivar listener: what clients' listeners count.
    :ivar version: of lbproxy.
    :ivar started: when serving began, in seconds since the epoch.
    :ivar watch: of the files of certificates; None: there are none.
    :ivar memberships: who the pools' members are, with the files that list them; None: nobody changes them at run time.
    :ivar state_file: keeps what operators said; None: nothing does.
    :ivar reloader: reads the configuration anew; None: nothing does.
    :ivar processes: gives the other processes that carry exchanges; None: this one does.
    :ivar upgrader: gives who can go over to a new program (:class:`lbproxy.upgrade.upgrader.Upgrader`); None: nobody can.
    """

    site: Site
    listener: ListenerCounters
    version: str
    started: float
    watch: CertificateWatch | None = None
    memberships: Memberships | None = None
    state_file: StateFile | None = None
    reloader: Reloader | None = None
    processes: Callable[[], Workers | None] = lambda: None
    upgrader: Callable[[], Any] = lambda: None

    @property
    def balancers(self) -> list[Balancer]:
        """Those of all pools, in the operator's order."""
        return list(self.site.balancers.values())
