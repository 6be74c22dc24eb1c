"""What policies have in common: whom they are asked by, and a base class that does nothing where there is nothing to be done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from zope.interface import implementer

from ..interfaces import IPolicy
from .state import BackendState

if TYPE_CHECKING:
    from ..http1.head import RequestHead
    from ..proxy.client import Client

__all__ = ["Asking", "Policy"]


class Asking(Protocol):
    """Who asks for what, as a policy may look at it: an exchange."""

    request: RequestHead
    client: Client


@implementer(IPolicy)
class Policy:
    """A policy that yields its members in the order given; others override what they do otherwise.

    What a policy goes by that comes of its past, and not of its members as they are now, may have to be the same in several
    processes that choose alike. It gives that as its ``memory``, a text that the same policy elsewhere takes (``recall``).

    :ivar members: whom to choose among, in the operator's order.
    """

    name = "in-order"

    def __init__(self) -> None:
        self.members: Sequence[BackendState] = ()

    @property
    def memory(self) -> str:
        """What :meth:`recall` takes; empty: nothing of its past matters."""
        return ""

    def recall(self, memory: str) -> None:
        """Go by the past of another policy of this kind, with the same members."""

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Choose among these from now on."""
        self.members = members

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        """Each member once, the one to try first first."""
        return iter(self.members)

    def begun(self, member: BackendState) -> None:
        """An attempt begins."""

    def ended(self, member: BackendState, seconds: float | None, failed: bool) -> None:
        """An attempt is over."""

    def figure(self, member: BackendState, exchange: Asking | None = None) -> float:
        """What the member is judged by: its place."""
        return float(self.members.index(member))
