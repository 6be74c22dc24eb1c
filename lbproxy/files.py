"""Files that are read again when they change: how they are, what is in them, and how they are written in one go."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from errno import EINVAL
from typing import BinaryIO

import attrs

from .errors import ConfigurationError

__all__ = ["FileStamp", "NotAFile", "Stamp", "opened", "read_text", "stamp", "write_whole"]

#: What tells one state of a file from the next; None: there is none, or it cannot be looked at.
Stamp = tuple[int, ...] | None


def stamp(path: str) -> Stamp:
    """The state of one file, or of what a link leads to: it is another one when its content, its place on the disk or its rights
    are others."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)


@attrs.frozen
class FileStamp:
    """The state of some files: two of them are equal as long as no file has changed, come or gone.

    :ivar states: each path with what :func:`stamp` says of it, by path.
    """

    states: tuple[tuple[str, Stamp], ...] = ()

    @classmethod
    def of(cls, paths: Iterable[str]) -> FileStamp:
        """As they are now; to be taken before they are read, so that what changes meanwhile is seen the next time."""
        return cls(tuple((path, stamp(path)) for path in sorted(set(paths))))


class NotAFile(OSError):
    """What is there is a directory, a pipe or a device."""


def opened(path: str) -> BinaryIO:
    """A file, opened to be read. What is none is not waited for: opening a pipe would wait for a writer.

    :raises OSError: it cannot be opened; :class:`NotAFile` where it is none.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 - it is given on
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotAFile(EINVAL, "it is no file")
    return file


def read_text(path: str, limit: int) -> str:
    """What is in a file, as text in UTF-8.

    :param limit: its largest size in bytes.
    :raises ConfigurationError: it cannot be read, is no file, is too large, or no text; begins with the path.
    """
    try:
        with opened(path) as file:
            data = file.read(limit + 1)
    except NotAFile:
        raise ConfigurationError(f"{path}: it is no file; give the path of one") from None
    except OSError as error:
        why = error.strerror or error
        raise ConfigurationError(f"{path}: it cannot be read: {why}; give a file that lbproxy may read") from None
    if len(data) > limit:
        raise ConfigurationError(f"{path}: it has more than {limit} bytes; it may have as many at most")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: it is no text in UTF-8; nothing else is taken") from None


def write_whole(path: str, data: bytes) -> None:
    """Write a file that only its owner may read, so that whoever looks finds the old one or the new one whole, even after a
    power failure. A link is followed: what it leads to is replaced.

    :raises OSError: it cannot be written; what was there is there still.
    """
    path = os.path.realpath(path)
    part = f"{path}.part"
    with suppress(OSError):  # of a process that was killed while it wrote
        os.unlink(part)
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
    with suppress(OSError):  # the name is on the disk as well where the file system lets one ask for it
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
