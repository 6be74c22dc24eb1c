"""What workers are lent of the files that their supervisor has read, some of which they may not read themselves: who starts as
root, with ``twistd --uid``, reads keys as root, and has workers started when it is root no more.

They go by the very contents that the supervisor goes by: one that replaces another is not kept from it by a file that somebody is
just writing.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from ..files import lend, recording

__all__ = ["Loans", "packed_loans", "take_loans"]

#: By path: what is in a file, as base64; of a directory, the names in it.
Loans = dict[str, "str | list[str]"]


def packed_loans(new: bool = False) -> Loans:
    """What is lent, as plain values.

    :param new: whether what was read last counts, though it is not gone by yet.
    """
    record = recording()
    contents = {} if record is None else record.newest() if new else record.kept
    return {path: b64encode(one).decode() if isinstance(one, bytes) else list(one) for path, one in contents.items()}


def take_loans(loans: Loans) -> None:
    """Have these lent in this process."""
    lend({path: b64decode(one) if isinstance(one, str) else tuple(one) for path, one in loans.items()})
