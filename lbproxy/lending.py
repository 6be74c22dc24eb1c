"""What one process has read of files for others, which may not (they have fewer rights than it had when it began), or not in the
state that it has found to be good. It is one record, and one set of loans, a process: who reads files need not know of it."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

__all__ = [
    "LENT_LIMIT", "Content", "Record", "lend", "lend_in_need", "lent", "lent_in_need", "note", "record", "recording",
]  # fmt: skip

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
_in_need: dict[str, Content] = {}


def record() -> Record:
    """The record of what this process reads, which begins with this call, and lasts as long as the process."""
    if not _records:
        _records.append(Record())
    return _records[0]


def recording() -> Record | None:
    """The record, where there is one."""
    return _records[0] if _records else None


def note(path: str, content: Content) -> None:
    """This was read, if anybody wants to know."""
    if _records:
        _records[0].note(path, content)


def lend(contents: Mapping[str, Content]) -> None:
    """Let these be what is there, whatever really is; nothing else is lent any more."""
    _lent.clear()
    _lent.update(contents)


def lend_in_need(contents: Mapping[str, Content]) -> None:
    """Let these be read where what is there may not be; nothing else is any more. For a program that takes over from one which
    has read them as root: until it has begun, lest nobody be told later what cannot be read."""
    _in_need.clear()
    _in_need.update(contents)


def lent(path: str) -> Content | None:
    """What was lent of it."""
    return _lent.get(path)


def lent_in_need(path: str) -> Content | None:
    """What may be read of it in need."""
    return _in_need.get(path)
