"""How a worker's process begins: the reactor first, for what comes after it would install another one."""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
from socket import AF_UNIX
from typing import Any

__all__ = ["BEGIN_LIMIT", "BOARD_FD", "LINK_FD", "main"]

#: Where a worker finds its link, and the board.
LINK_FD, BOARD_FD = 3, 4

_LOG_FD = 2
#: Seconds after which a worker that hangs before it has begun ends itself, if its supervisor has not ended it.
BEGIN_LIMIT = 120.0
# Seconds until what could not be written to the log is tried again.
_AGAIN = 0.05

# What a terminal, or who speaks to all processes of a group, means for the supervisor. It tells its workers what to do.
_OTHERS = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main(reactor_module: str) -> None:
    """Be a worker until told to end, or left alone.

    :param reactor_module: has the supervisor's kind of reactor.
    """
    for number in _OTHERS:
        signal.signal(number, signal.SIG_IGN)
    faulthandler.dump_traceback_later(BEGIN_LIMIT, exit=True, file=_LOG_FD)  # though there should be no supervisor any more
    faulthandler.enable(_LOG_FD)  # for SIGABRT, which the supervisor sends to one that hangs
    importlib.import_module(reactor_module).install()
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory
    from twisted.logger import globalLogBeginner

    from .board import Board
    from .logs import LogWriter
    from .worker import Worker

    any_reactor: Any = reactor
    writer = LogWriter(_LOG_FD, lambda flush: any_reactor.callFromThread(any_reactor.callLater, _AGAIN, flush))
    globalLogBeginner.beginLoggingTo([writer], redirectStandardIO=True)  # a plugin that prints must not wait, nor fail
    worker = Worker(reactor, Board(BOARD_FD))
    signal.signal(signal.SIGTERM, lambda *_: any_reactor.callFromThread(worker.leave))
    factory = Factory.forProtocol(lambda: worker)
    factory.noisy = False
    any_reactor.adoptStreamConnection(LINK_FD, AF_UNIX, factory)
    os.close(LINK_FD)
    any_reactor.run(installSignalHandlers=False)
