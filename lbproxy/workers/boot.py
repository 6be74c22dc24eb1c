"""How a worker's process begins: the reactor first, for what comes after it would install another one."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from socket import AF_UNIX
from typing import Any

__all__ = ["BOARD_FD", "LINK_FD", "main"]

#: Where a worker finds its link, and the board.
LINK_FD, BOARD_FD = 3, 4


def main(reactor_module: str) -> None:
    """Be a worker until told to end, or left alone.

    :param reactor_module: has the supervisor's kind of reactor.
    """
    importlib.import_module(reactor_module).install()
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory
    from twisted.logger import globalLogBeginner, textFileLogObserver

    from .board import Board
    from .worker import Worker

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C is the supervisor's to hear
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    any_reactor: Any = reactor
    any_reactor.adoptStreamConnection(LINK_FD, AF_UNIX, Factory.forProtocol(lambda: Worker(reactor, Board(BOARD_FD))))
    os.close(LINK_FD)
    any_reactor.run(installSignalHandlers=False)
