"""The old program, as the new one knows it that it has started."""

from __future__ import annotations

import os
from collections.abc import Callable
from socket import AF_UNIX
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Factory

from ..workers.inherited import Inherited
from .document import read_document
from .knowledge import hold, learn
from .link import Link
from .word import Word

if TYPE_CHECKING:
    from ..role import Role
    from ..service import LoadBalancerService

__all__ = ["Predecessor"]


class Predecessor:
    """What it has handed on, and the link to it.

    :param word: is given to it.
    :raises LBProxyError: what was handed on cannot be read.
    """

    def __init__(self, word: Word) -> None:
        self._word = word
        self._document = read_document(word.document)
        self._inherited = Inherited(self._document.sockets)
        self._service: LoadBalancerService | None = None
        self._yours: Callable[[], None] = lambda: None

    def prepare(self, role: Role) -> None:
        """Give the role what a service needs to be made."""
        role.inherited = self._inherited
        role.random_key = bytes.fromhex(self._document.random_key)

    def restore(self, service: LoadBalancerService) -> None:
        """Have a service, which does not run yet, know what the old program knew."""
        self._service = service
        hold(service, self._document.said)
        learn(service, self._document.calls)

    def begins(self) -> None:
        """This is the process that stays: a daemon has forked by now."""
        self._word.say(pid=os.getpid())

    def listen(self, reactor: Any, yours: Callable[[], None]) -> None:
        """Hear it, now that the reactor will run.

        :param yours: is called when all is this program's own: the old one has handed over, or has gone.
        """
        self._yours = yours
        link = Link(self._said, self._gone)
        reactor.adoptStreamConnection(self._word.link, AF_UNIX, Factory.forProtocol(lambda: link))

    def ready(self) -> None:
        """Say that this program serves."""
        self._word.say(ready=os.getpid())

    def fails(self, why: str) -> None:
        """Say that it does not, and why."""
        self._word.say(error=why)

    def _said(self, message: dict[str, Any]) -> None:
        if message.get("yours") and self._service is not None:
            hold(self._service, str(message["yours"]))

    def _gone(self) -> None:
        self._word.close()
        self._inherited.take_over()
        self._inherited.close_unused()
        self._yours()
