"""How the new program is started: the command line of the one that runs, its directory, its environment."""

from __future__ import annotations

import fcntl
import getopt
import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

__all__ = ["VARIABLE", "PidFile", "append_only", "environment", "next_command"]

#: Names to the new program the descriptors of its link, and of the document: ``LINK:DOCUMENT``.
VARIABLE = "LBPROXY_UPGRADE"

# Only root can do these; and they have been done.
_SHED = {"--uid": 1, "-u": 1, "--gid": 1, "-g": 1, "--euid": 0, "--chroot": 1}
# Meant for the process that they were given to, by its number; its sockets are inherited in another way.
_OURS_ALONE = ("WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", VARIABLE)


def next_command(whole: Sequence[str], own: Sequence[str], twistd: Any, *, shed: bool) -> list[str]:
    """The command line of the new program.

    :param whole: that of this one, with the interpreter (``sys.orig_argv``).
    :param own: what of it is twistd's and ours, which is its end (``sys.argv[1:]``).
    :param twistd: twistd's options, as an object of theirs: what their names are.
    :param shed: whether this process has shed its privileges: then it is not to be done once more.
    """
    head = [sys.executable or whole[0], *whole[1 : len(whole) - len(own)]]
    if not shed:
        return [*head, *own]
    given, rest = getopt.getopt(list(own), twistd.shortOpt, twistd.longOpt)
    kept = [part for name, value in given if name not in _SHED for part in _written(name, value, twistd)]
    return [*head, *kept, *rest]


def _written(name: str, value: str, twistd: Any) -> list[str]:
    if name.startswith("--"):
        return [f"{name}={value}" if f"{name[2:]}=" in twistd.longOpt else name]
    return [name, value] if f"{name[1:]}:" in twistd.shortOpt else [name]


def environment(environ: Mapping[str, str], link: int, document: int) -> dict[str, str]:
    """The environment of the new program."""
    kept = {name: value for name, value in environ.items() if name not in _OURS_ALONE}
    return {**kept, VARIABLE: f"{link}:{document}"}


def append_only(path: str, descriptors: str = "/dev/fd") -> None:
    """Have all that this process writes to a file be written to its end. Twisted's log files are written on from where their end
    was when they were opened, and two programs that do so write over each other's lines.

    :param descriptors: the directory that lists those of this process. Where there is none, nothing is done.
    """
    for name in os.listdir(descriptors) if os.path.isfile(path) and os.path.isdir(descriptors) else ():
        try:
            if os.path.samestat(os.fstat(int(name)), os.stat(path)):
                fcntl.fcntl(int(name), fcntl.F_SETFL, fcntl.fcntl(int(name), fcntl.F_GETFL) | os.O_APPEND)
        except OSError:
            continue  # the listing's own descriptor is closed by now


class PidFile:
    """twistd's file with its process number. A new twistd does not start while it names a process that runs, and at its end a
    twistd removes it, whoever has written it.

    :param options: twistd's, of which ``pidfile`` is the path, empty: there is none.
    """

    def __init__(self, options: MutableMapping[str, Any]) -> None:
        self._options = options
        self._path: str = options["pidfile"] or ""

    @property
    def _aside(self) -> str:
        return f"{self._path}.old"

    def put_aside(self) -> None:
        """Make room for the new one's.

        :raises OSError: it cannot be renamed.
        """
        self._rename(self._path, self._aside)

    def put_back(self) -> None:
        """This process stays.

        :raises OSError: it cannot be renamed.
        """
        self._rename(self._aside, self._path)

    def leave(self) -> None:
        """The file is the new one's from now on.

        :raises OSError: the old one cannot be removed.
        """
        self._options["pidfile"] = ""
        if self._path and os.path.lexists(self._aside):
            os.remove(self._aside)

    def _rename(self, one: str, other: str) -> None:
        if self._path and os.path.lexists(one):
            os.replace(one, other)
