"""Files that are read again when they change: how they are, what is in them, and how they are written in one go.

What certificates and filters are made of is read here alone, so that one process can read for others, which may not (they have
fewer rights than it had when it began), or not in the state that it has found to be good (:class:`Record`, :func:`lend`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from errno import EINVAL
from io import BytesIO
from threading import Lock
from typing import BinaryIO
from zlib import crc32

import attrs

from .errors import ConfigurationError

__all__ = [
    "Content", "FileStamp", "NotAFile", "Record", "Stamp", "exists", "is_directory", "lend", "lent",
    "names_in", "opened", "opened_anew", "read_text", "record", "recording", "stamp", "write_whole",
]  # fmt: skip

#: What tells one state of a file from the next; None: there is none, or it cannot be looked at.
Stamp = tuple[int, ...] | None

#: Bytes of the largest file that is lent.
LENT_LIMIT = 1 << 24

#: What is in a file; of a directory, the names of what is no directory in it.
Content = bytes | tuple[str, ...]


class Record:
    """What this process reads of certificates and for filters, by path, for others.

    :ivar kept: what is gone by.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Content] = {}
        self._read: dict[str, Content] = {}
        self._lock = Lock()  # files are read in a thread

    def note(self, path: str, content: Content) -> None:
        """This was read; whether it can be gone by is not known yet."""
        with self._lock:
            self._read[path] = content

    def begin(self) -> None:
        """Files are about to be read: what was read before, and is not gone by, will not be."""
        with self._lock:
            self._read = {}

    def keep(self) -> None:
        """What was read is gone by from now on."""
        with self._lock:
            self.kept.update(self._read)
            self._read = {}

    def newest(self) -> dict[str, Content]:
        """What is gone by, with what was read since in its place."""
        with self._lock:
            return {**self.kept, **self._read}


_records: list[Record] = []  # one at most
_lent: dict[str, Content] = {}


def record() -> Record:
    """The record of what this process reads, which begins with this call, and lasts as long as the process."""
    if not _records:
        _records.append(Record())
    return _records[0]


def recording() -> Record | None:
    """The record, where there is one."""
    return _records[0] if _records else None


def lend(contents: Mapping[str, Content]) -> None:
    """Let these be what is there, whatever really is; nothing else is lent any more."""
    _lent.clear()
    _lent.update(contents)


def lent(path: str) -> Content | None:
    """What was lent of it."""
    return _lent.get(path)


def exists(path: str) -> bool:
    """Whether there is something, as far as that can be seen."""
    return path in _lent or os.path.exists(path)


def is_directory(path: str) -> bool:
    """Whether there is a directory."""
    return isinstance(_lent.get(path), tuple) or os.path.isdir(path)


def names_in(path: str, limit: int) -> list[str]:
    """The names of what is in a directory and is none itself, without hidden ones, in alphabetical order.

    :param limit: no more than this and one are looked at.
    :raises OSError: it cannot be read.
    """
    content = _lent.get(path)
    if isinstance(content, tuple):
        return list(content)
    names: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and not entry.is_dir():
                names.append(entry.name)
            if len(names) > limit:
                break
    names.sort()
    if _records and len(names) <= limit:
        _records[0].note(path, tuple(names))
    return names


def stamp(path: str) -> Stamp:
    """The state of one file, or of what a link leads to: it is another one when its content, its place on the disk or its rights
    are others."""
    content = _lent.get(path)
    if content is not None:
        data = content if isinstance(content, bytes) else "\0".join(content).encode("utf-8", "surrogateescape")
        return (crc32(data), len(data))
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
    """A file, opened to be read, or what was lent of it.

    :raises OSError: as for :func:`opened_anew`.
    """
    content = _lent.get(path)
    return BytesIO(content) if isinstance(content, bytes) else opened_anew(path)


def opened_anew(path: str) -> BinaryIO:
    """The file as it is there, opened to be read. What is none is not waited for: opening a pipe would wait for a writer.

    :raises OSError: it cannot be opened; :class:`NotAFile` where it is none.
    """
    file = _opened(path)
    if _records:
        data = file.read(LENT_LIMIT + 1)
        file.seek(0)
        if len(data) <= LENT_LIMIT:
            _records[0].note(path, data)
    return file


def _opened(path: str) -> BinaryIO:
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
        with _opened(path) as file:
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
