"""A file that lines are appended to, through rotation and full disks."""

from __future__ import annotations

import os

from twisted.logger import Logger

from ..errors import ConfigurationError
from ..lending import lent_descriptor

__all__ = ["STANDARD_OUTPUT", "LogFile"]

#: The path that means standard output.
STANDARD_OUTPUT = "-"

# The descriptor, not sys.stdout: twistd turns that into a source of its own log.
_STDOUT = 1
# Readable for the group and no further: addresses of clients are personal data.
_MODE = 0o640

_log = Logger()


class LogFile:
    """Appends to a file, and to the new one when the file was renamed or removed (as logrotate does).

    Nothing here waits: it opens without blocking, so that a FIFO without a reader is an error and a full one loses lines.
    What cannot be written is dropped and counted, and the operator is told once when that begins and once when it is over.

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

    def open(self) -> None:
        """Open it, creating it if need be. Call it while there is still the privilege to.

        :raises ConfigurationError: names the option, the file and the cause.
        """
        try:
            self._open_or_borrow()
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(
                f"--access-log: {self.path!r} cannot be opened: {cause}; "
                "allowed is a file that can be appended to, or - for standard output"
            ) from error

    def _open_or_borrow(self) -> None:
        """Of several processes, one had the privilege to open it."""
        try:
            self._open()
        except PermissionError:
            fd = lent_descriptor(self.path)
            if fd is None:
                raise
            self._write_to(fd)

    @property
    def descriptor(self) -> int:
        """Of the file that lines go to; -1: it is not open."""
        return self._fd

    def _open(self) -> None:
        if self.path == STANDARD_OUTPUT:
            self._fd = _STDOUT
            return
        self._write_to(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), _MODE))

    def _write_to(self, fd: int) -> None:
        self.close()
        self._fd = fd
        status = os.fstat(fd)
        self._identity = (status.st_dev, status.st_ino)
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
                written += os.write(self._fd, data[written:] if written else data)
        except OSError as error:
            if written:
                self._torn = data[written - 1 : written] != b"\n"
            self._drop(data[max(written, begin) :], error.strerror or str(error))
            return
        self._torn = False
        if self._outage:
            _log.info("the access log {path} can be written again; {lost} lines were lost", path=self.path, lost=self._outage)
            self._outage = 0

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
