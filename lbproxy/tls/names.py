"""The names that clients ask for, and whose they are. Nothing here reads a file or knows what is found by a name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

__all__ = ["Names", "certificate_name", "normal_name"]

T = TypeVar("T")

#: The longest name that DNS can carry, in text and without the dot at its end (RFC 1035 section 3.1).
LONGEST = 253
#: Labels of at most 63 letters, digits, hyphens and underscores. The last one is no number, as it is in an IPv4 address alone
#: (RFC 3696 section 2), and a colon, as in an IPv6 address, is none of these.
_NAME = re.compile(rb"(?:[a-z0-9_-]{1,63}\.)*(?![0-9]+\Z)[a-z0-9_-]{1,63}")


def normal_name(name: bytes) -> str | None:
    """The name that a client asks for (RFC 6066 section 3), in lower case and without a dot at its end.

    :return: None for what is no host's name: an address, a wildcard, anything that is not ASCII.
    """
    name = name.lower().removesuffix(b".")
    return None if len(name) > LONGEST or _NAME.fullmatch(name) is None else name.decode("ascii")


def certificate_name(name: str) -> str | None:
    """A DNS name of a certificate as :class:`Names` are kept: as :func:`normal_name` has it, or that below ``*.``.

    :return: None where no client's name can match it, as with ``f*.example.com`` (RFC 9525 section 6.3 has no such wildcards).
    """
    wildcard = name.startswith("*.")
    rest = normal_name(name[2 * wildcard :].encode("utf-8", "replace"))
    return f"*.{rest}" if wildcard and rest else rest


class Names(Generic[T]):
    """What is found by a name: first under it as it is, then under ``*`` in place of its first label.

    A wildcard stands for one label, no more and no less (RFC 9525 section 6.3).

    :param by_name: by names as :func:`certificate_name` has them.
    """

    __slots__ = ("_by_name",)

    def __init__(self, by_name: Mapping[str, T]) -> None:
        self._by_name = dict(by_name)

    def find(self, name: str) -> T | None:
        """What there is for a name as :func:`normal_name` has it; None: nothing."""
        found = self._by_name.get(name)
        if found is None:
            _, dot, rest = name.partition(".")
            found = self._by_name.get(f"*.{rest}") if dot else None
        return found
