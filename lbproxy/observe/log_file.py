"""A file that lines are appended to, through rotation and full disks."""

from __future__ import annotations

import os
import stat

from twisted.logger import Logger

from ..errors import ConfigurationError

__all__ = ["STANDARD_OUTPUT", "LogFile"]

#: The path that means standard output.
STANDARD_OUTPUT = "-"

# The descriptor, not sys.stdout: twistd turns that into a source of its own log.
_STDOUT = 1
# Readable for the group and no further: addresses of clients are personal data.
_MODE = 0o640
# What is written to a pipe in one piece up to this size is never torn apart by what others write: PIPE_BUF of POSIX is 512 at
# least, and 4096 on Linux.
_PIECE = 4096

_log = Logger()


class LogFile:
    """Appends to a file, and to the new one when the file was renamed or removed (as logrotate does).

    Nothing here waits: it opens without blocking, so that a FIFO without a reader is an error and a full one loses lines.
    What cannot be written is dropped and counted, and the operator is told once when that begins and once when it is over.

    Where several processes write to the same file (:meth:`share`), their lines stay whole: to a file they are appended by one
    call, to a pipe or whatever else there is in pieces of whole lines of 4096 bytes at most. A longer line may be torn by others'
    where a pipe is full.

    :param path: of the file; ``-`` is standard output.
    :ivar dropped: lines lost so far.
    """

    def __init__(self, path: str) -> None:
        self.path = path if path == STANDARD_OUTPUT else os.path.abspath(path)  # a daemon changes its directory
        self.dropped = 0
        self._fd = -1
        self._identity = (0, 0)
        self._torn = False  # the last line written lacks its end
        self._outage = 0  # lines lost since the outage began
        self._cannot_reopen = False
        self._shared = self._in_pieces = False
        self._given = -1

    def share(self, path: str, fd: int) -> None:
        """Others write to it as well.

        :param path: the same, whatever directory one is in.
        :param fd: the file, to be used if it cannot be opened here; -1: there is none.
        """
        self.path = path
        self._given = fd
        self._shared = True

    def lend(self) -> tuple[str, int] | None:
        """The path and the descriptor that others share, by the name that the file has now; None: it is not open, or is standard
        output."""
        if self._fd < 0 or self.path == STANDARD_OUTPUT:
            return None
        self._follow()
        return self.path, self._fd

    def open(self) -> None:
        """Open it, creating it if need be. Call it while there is still the privilege to.

        :raises ConfigurationError: names the option, the file and the cause.
        """
        given, self._given = self._given, -1
        try:
            self._open()
        except (OSError, ValueError) as error:
            if given >= 0:
                self._take(given)
                return
            cause = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(
                f"--access-log: {self.path!r} cannot be opened: {cause}; "
                "allowed is a file that can be appended to, or - for standard output"
            ) from error
        if given >= 0:
            os.close(given)

    def _open(self) -> None:
        if self.path == STANDARD_OUTPUT:
            self._take(_STDOUT)
            return
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), _MODE)
        self.close()
        self._take(fd)

    def _take(self, fd: int) -> None:
        self._fd = fd
        status = os.fstat(fd)
        self._identity = (status.st_dev, status.st_ino)
        self._in_pieces = self._shared and not stat.S_ISREG(status.st_mode)
        self._torn = False

    def write(self, data: bytes) -> None:
        """Append whole lines; never raises."""
        if self._fd < 0:
            self._drop(data, "it is not open")
            return
        self._follow()
        written, begin = 0, 0
        if self._torn:
            data, begin = b"\n" + data, 1
        try:
            while written < len(data):
                end = self._end_of_piece(data, written)
                written += os.write(self._fd, data[written:end] if written or end < len(data) else data)
        except OSError as error:
            if written:
                self._torn = data[written - 1 : written] != b"\n"
            self._drop(data[max(written, begin) :], error.strerror or str(error))
            return
        self._torn = False
        if self._outage:
            _log.info("the access log {path} can be written again; {lost} lines were lost", path=self.path, lost=self._outage)
            self._outage = 0

    def _end_of_piece(self, data: bytes, start: int) -> int:
        """Where what may be written by one call ends."""
        if not self._in_pieces or len(data) - start <= _PIECE:
            return len(data)
        return (data.rfind(b"\n", start, start + _PIECE) + 1) or (data.find(b"\n", start) + 1) or len(data)

    def _follow(self) -> None:
        """Go to the file that has the name now. If it cannot be opened, the one that had it goes on taking the lines."""
        if self.path == STANDARD_OUTPUT:
            return
        try:
            status = os.stat(self.path)
            if (status.st_dev, status.st_ino) == self._identity:
                return
        except OSError:
            pass  # gone: it is made anew
        try:
            self._open()
            self._cannot_reopen = False
        except OSError as error:
            if not self._cannot_reopen:
                self._cannot_reopen = True
                _log.error(
                    "the access log {path} was moved and cannot be opened again ({cause}); its lines go on to the moved file",
                    path=self.path,
                    cause=error.strerror,
                )

    def _drop(self, data: bytes, cause: str) -> None:
        lines = data.count(b"\n")
        if not self._outage:
            _log.error("the access log {path} cannot be written: {cause}; lines are lost", path=self.path, cause=cause)
        self.dropped += lines
        self._outage += lines

    def close(self) -> None:
        """Close it; standard output stays open."""
        fd, self._fd = self._fd, -1
        if fd >= 0 and fd != _STDOUT:
            os.close(fd)
