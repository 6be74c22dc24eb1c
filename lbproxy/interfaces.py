"""What the parts of lbproxy ask of each other. Each interface stands here for the one who needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from random import Random

    from twisted.internet.defer import Deferred

    from .balance.backend import Backend
    from .balance.known import Known
    from .balance.policy import Asking
    from .balance.state import BackendState, Verdict, Wish
    from .http1.answers import Answer
    from .http1.head import ResponseHead
    from .http1.roles import TunnelEnd
    from .proxy.exchange import Exchange
    from .routing.filter import BodyFilter, FilterContext
    from .routing.filter import Verdict as FilterVerdict
    from .routing.passage import Passage

__all__ = [
    "IDownstream",
    "IExchangeObserver",
    "IFilter",
    "IFilterMaker",
    "IPolicy",
    "IPolicyMaker",
    "IPoolControl",
    "IProbe",
]

# zope.interface methods have no self.
# mypy: disable-error-code="misc"


class IPolicy(Interface):
    """Orders a pool's candidates for one exchange. Pure: no I/O, no clock, no random source but what it was given.

    Who is fit to be taken is judged outside: a policy knows no health. What it yields may be passed over, because it is full or
    went down meanwhile; then the next one is asked for. :class:`lbproxy.balance.policy.Policy` is a base class that does nothing
    where there is nothing to be done, and :class:`lbproxy.testing.PolicyConformance` tests any policy.
    """

    name: str = Attribute("What users call it, such as ``round-robin``.")

    def set_members(members: Sequence[BackendState]) -> None:
        """Let the policy choose among these from now on, in the order the operator named them. Called on every change of who is
        fit and of a member's effective weight (``member.weight``), several times a second while a backend warms up."""

    def candidates(exchange: Asking | None) -> Iterator[BackendState]:
        """Yield each member at most once, the one to try first first. Called once for each exchange; mostly only the first
        is taken, so work for the others belongs behind the first ``yield``.

        :param exchange: who asks for what: it has a ``request`` and a ``client``; None where nobody asks in particular.
        """

    def begun(member: BackendState) -> None:
        """An attempt begins at the member; its ``in_flight`` counts it already. It may have been chosen by somebody else, such
        as a sticky session, or the member may have left meanwhile."""

    def ended(member: BackendState, seconds: float | None, failed: bool) -> None:
        """An attempt at the member is over; its ``in_flight`` does not count it any more.

        :param seconds: from the attempt's beginning to its response's head, or to its failure; None when it was given up before
            there was either, which says nothing.
        :param failed: whether it failed.
        """

    def figure(member: BackendState, exchange: Asking | None) -> float:
        """The figure by which the policy would judge the member for the exchange just now, to be shown to people."""


class IPolicyMaker(Interface):
    """Makes a policy of a user's own from ``--policy NAME:key=value,…``. Providers are found by Twisted's plugin system, so they
    provide :class:`twisted.plugin.IPlugin` as well; several objects of a policy are made where a pool has tiers."""

    name: str = Attribute("What users call it. A name of lbproxy's own policies is not taken.")

    help: str = Attribute("One line for the operator: what it does, and its options.")

    def make(options: Mapping[str, str], random: Random, seconds: Callable[[], float]) -> IPolicy:
        """Make a policy without members.

        :param options: as the operator wrote them.
        :param random: the only random source it may use, and *seconds* the only clock.
        :raises ConfigurationError: for options that cannot be used; it names them, and what is allowed.
        """


class IFilter(Interface):
    """Looks at exchanges on their way to where their route leads, changes them, or answers them.

    :class:`lbproxy.routing.filter.Filter` is a base class that does nothing, and says more of each method;
    :class:`lbproxy.testing.FilterConformance` tests any filter.
    """

    def request(passage: Passage) -> FilterVerdict:
        """A request came: let it on by None, or answer it by an :class:`~lbproxy.http1.answers.Answer`, or say either later by a
        Deferred, which is cancelled if the client leaves."""

    def takes(passage: Passage, data: bytes) -> Answer | None:
        """A part of its body came; an answer ends the exchange."""

    def response(passage: Passage, head: ResponseHead) -> None:
        """A response's head came, and may be changed."""

    def body(passage: Passage, head: ResponseHead) -> BodyFilter | None:
        """What changes the response's body; None: nothing does."""

    def over(passage: Passage) -> None:
        """The exchange has ended, in whatever way."""

    def take_over(old: Any) -> None:
        """This filter stands where *old*, of the same class, stood until a reload."""


class IFilterMaker(Interface):
    """Makes a filter of a user's own from a table of a configuration file. Providers are found by Twisted's plugin system, so
    they provide :class:`twisted.plugin.IPlugin` as well."""

    name: str = Attribute("Its type in the file. A type of lbproxy's own filters is not taken.")

    help: str = Attribute("One line for the operator: what it does, and its keys.")

    def make(options: Mapping[str, Any], context: FilterContext) -> IFilter:
        """Make a live filter. It is also made, and thrown away, when the options are checked: in the making nothing is connected
        to, and nothing put off until later.

        :param options: the other keys of the table, with their values as TOML has them.
        :param context: the only reactor, clock and random source it may use.
        :raises ConfigurationError: for options that cannot be used; each line begins with a key, and says what was given, and
            what is allowed.
        """


class IPoolControl(Interface):
    """What the control plane tells a pool: plain values only, so that the same calls can cross a process boundary."""

    def set_backends(backends: Iterable[Backend], source: str = "configuration") -> None:
        """Let the pool consist of these backends.

        :param source: who says so: ``configuration`` or ``operator``.
        """

    def apply(verdict: Verdict) -> None:
        """Take what a check found."""

    def wish(wish: Wish) -> None:
        """Take what the operator wants of a backend."""

    def know(known: Known) -> None:
        """Let the same be known, and wanted, of a backend as in the pool of this name in another process, whatever was here. It
        is what all verdicts and wishes there came to."""


class IDownstream(Interface):
    """The client's side of one exchange: what a listener, our own or ``twisted.web``'s, gives to it.

    After :meth:`finish`, :meth:`abort`, :meth:`switch`, or a complete :meth:`respond`, the exchange calls nothing more.
    """

    def inform(head: ResponseHead) -> None:
        """Send an interim (1xx) response, if the client can make sense of one; the response is still to come."""

    def respond(head: ResponseHead, data: bytes, complete: bool) -> None:
        """Send the response's head and the first bytes of its body.

        :param head: the response's status and the fields that go on; how its body is framed is the listener's choice.
        :param data: the part of the body that is here already; may be empty.
        :param complete: whether that is the whole body.
        """

    def write(data: bytes) -> None:
        """Send a further, non-empty part of the body."""

    def finish(trailers: bytes = b"") -> None:
        """The body has ended as its framing said.

        :param trailers: the lines of trailer fields, each ended by CRLF; without effect where the framing has no place for them.
        """

    def switch(head: ResponseHead, data: bytes, end: TunnelEnd) -> None:
        """The backend has gone over to another protocol: send its 101 with the first bytes, give *end* the client's transport,
        and from now on tell it what the client sends. Only a request with an :attr:`~lbproxy.http1.head.RequestHead.upgrade`
        comes to this."""

    def abort() -> None:
        """The response cannot be made whole: drop the client's connection so that it cannot take it for whole."""

    def pause_body() -> None:
        """Stop delivering the request's body until :meth:`resume_body`: the backend is slow."""

    def resume_body() -> None:
        """Go on delivering the request's body."""


class IExchangeObserver(Interface):
    """Is told of every finished exchange, such as an access log."""

    def exchange_finished(exchange: Exchange) -> None:
        """An exchange has ended, in whatever way. Must not block, and must not raise."""


class IProbe(Interface):
    """One way to find out, without traffic, whether a backend is well."""

    def check(backend: Backend) -> Deferred[str]:
        """Try the backend once.

        :return: fires with the evidence that it is well, or errbacks with the reason why it is not. It may be cancelled when
            the probe's time-out has passed.
        """
