"""What systemd is told of the program: the protocol of sd_notify(3), without its library.

A datagram of ``NAME=value`` lines goes to the socket that ``NOTIFY_SOCKET`` names. Nothing here ever fails: who cannot be told is
not told, and the log says so once.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["Notifier", "watchdog_seconds"]

#: Seconds for which the program stands still at most, when its state changes while systemd does not listen. What it then has not
#: heard it would not hear again.
PATIENCE = 1.0

_log = Logger()


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float:
    """Within how many seconds systemd wants to hear again and again that the process with this number lives; 0: it does not."""
    given = environ.get("WATCHDOG_USEC", "")
    if not given.isdecimal() or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return 0.0
    return int(given) / 1e6


class Notifier:
    """Tells systemd what becomes of the program.

    :param environ: names the socket, and says whether there is a watchdog.
    :param clock: runs what is said from time to time.
    :param lives: whether the program does its work; while it does not, the watchdog is not told that it lives.
    """

    def __init__(self, environ: Mapping[str, str], clock: IReactorTime, lives: Callable[[], bool] = lambda: True) -> None:
        self.lives = lives
        self._environ = environ
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._told_of = False
        self._serving = False
        self._living = LoopingCall(self._live)
        self._living.clock = clock

    @property
    def wanted(self) -> bool:
        """Whether there is anybody to be told."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """It serves, as is said in words."""
        self._serving = True
        self._send(f"READY=1\nSTATUS={_line(status)}")
        seconds = watchdog_seconds(self._environ, os.getpid())
        if self.wanted and seconds and not self._living.running:
            self._living.start(seconds / 2).addErrback(lambda failure: _log.failure("the watchdog is told no more", failure))

    def reloading(self, begins: bool) -> None:
        """It reads its configuration anew, or has done so. Before it serves, and after, that is nobody's affair."""
        if self._serving:
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}" if begins else "READY=1")

    def stopping(self, status: str) -> None:
        """It ends, as soon as nothing runs any more."""
        if self._serving:
            self._serving = False
            self._send(f"STOPPING=1\nSTATUS={_line(status)}")

    def main(self, pid: int) -> None:
        """From now on another process is the service, and speaks for it; this one says nothing more."""
        self._send(f"MAINPID={pid}")
        self.end()

    def end(self) -> None:
        """Say nothing more."""
        self._address = ""
        if self._living.running:
            self._living.stop()

    def _live(self) -> None:
        if self.lives():
            self._send("WATCHDOG=1", 0.0)

    def _send(self, state: str, patience: float = PATIENCE) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.settimeout(patience)
                sending.sendto(state.encode(), _path(self._address))
        except (OSError, ValueError) as error:
            if not self._told_of:
                _log.warn("systemd cannot be told ({address}): {error}", address=self._address, error=str(error))
            self._told_of = True
        else:
            self._told_of = False


def _path(address: str) -> Any:
    """A place in the file system, or, with ``@`` before it, in Linux's abstract namespace.

    :raises ValueError: neither; systemd has sockets of virtual machines, for one.
    """
    if address.startswith("@"):
        return b"\0" + os.fsencode(address[1:])
    if not address.startswith("/"):
        raise ValueError("it is no Unix socket")
    return address


def _line(text: str) -> str:
    return " ".join(text.split())
