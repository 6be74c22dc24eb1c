"""What a process has to do of a service: all of it, or only a part, where several processes are one load balancer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamServerEndpoint

from .balance.state import BackendState
from .ports import server_endpoint

if TYPE_CHECKING:
    from .config.model import Configuration
    from .drain import Draining
    from .observe.access_log import AccessLog
    from .observe.processes import Workers
    from .proxy.balancer import Balancer
    from .proxy.exchange import Exchange
    from .site_parts import Membership

__all__ = ["Role"]


class Role:
    """The only process: all is done here. A supervisor, and each of its workers, has a role of its own
    (:mod:`lbproxy.workers`).

    :ivar probes: whether backends are probed here.
    :ivar tells_changes: whether changes of backends' states are written to the log here.
    :ivar members: tells the site's pools whom they consist of; None: the service's own
        :class:`~lbproxy.members.Memberships`.
    :ivar workers: processes that carry exchanges, this one among them.
    :ivar by: the same for the log: who serves, if it is not this process.
    :ivar make_limit: makes what keeps the number of clients' connections, as :class:`~lbproxy.admission.ConnectionLimit` is
        made; None: one of those.
    :ivar random_key: signs sticky sessions where no key was given; None: one that is made here.
    :ivar inherited: listening sockets that a program before this one has handed on
        (:class:`lbproxy.workers.inherited.Inherited`); None: there are none.
    :ivar handed_over: whether this process has handed on its own: another one accepts what waits in their queues.
    """

    probes = True
    tells_changes = True
    members: Membership | None = None
    workers: int = 1
    by: str = ""
    make_limit: Callable[..., Any] | None = None
    random_key: bytes | None = None
    inherited: Any = None
    handed_over = False

    def endpoint(self, reactor: Any, description: str) -> IStreamServerEndpoint:
        """The endpoint of a clients' listener, without ``haproxy:`` before it.

        :raises Exception: for what cannot be read.
        """
        return self._endpoint(reactor, description)

    def operators_endpoint(self, reactor: Any, description: str) -> IStreamServerEndpoint:
        """The same of the operators' listener."""
        return self._endpoint(reactor, description)

    def _endpoint(self, reactor: Any, description: str) -> IStreamServerEndpoint:
        make = server_endpoint if self.inherited is None else self.inherited.endpoint
        endpoint: IStreamServerEndpoint = make(reactor, description)
        return endpoint

    def make_state(self, pool: str) -> Callable[..., BackendState]:
        """What makes the states of a pool's members, of a :class:`~lbproxy.balance.backend.Backend`, the time, and ``up=``."""
        return BackendState

    def welcome(self, balancer: Balancer) -> None:
        """There is this balancer from now on, and its pool."""

    def agree(self, configuration: Configuration, opening: Any) -> Deferred[None]:
        """All is prepared to go by this configuration.

        :param opening: the listeners that are to be (:class:`lbproxy.listeners.Opening`), open by now.
        :return: fires when it may be gone by, at once or later; fails, with a
            :class:`~lbproxy.errors.ConfigurationError`, when it may not.
        """
        return succeed(None)

    def applied(self) -> Deferred[Any] | None:
        """It is gone by from now on.

        :return: fires when that is so for all processes, and never fails; None: it is so already.
        """
        return None

    def withdrawn(self) -> None:
        """After it was agreed, it turned out that it cannot be gone by."""

    def serving(self, say: Callable[[], object]) -> None:
        """The service has been started.

        :param say: writes to the log that it serves.
        """
        say()

    def certificates_read(self) -> None:
        """Other certificates than before are served from now on: their files were read anew."""

    def entrance(self, forward: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
        """What each of the clients' exchanges is handed to, instead of *forward*, to which it goes on."""
        return forward

    def log_made(self, log: AccessLog) -> None:
        """There is to be this access log; it is not open yet."""

    def refresh(self) -> Deferred[None]:
        """Fires, in a second at most, when what is counted here has come up to now."""
        return succeed(None)

    def processes(self) -> Workers | None:
        """The other processes that carry exchanges; None: this one does."""
        return None

    def drain(self, ordinary: Callable[[], Draining]) -> Draining:
        """What brings the clients' connections to their end.

        :param ordinary: makes one for those of this process.
        """
        return ordinary()
