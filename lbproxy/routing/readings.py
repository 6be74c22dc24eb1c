"""How a request's path may be read, so that no spelling of it gets past a route's rules. Pure.

A backend gets the target as the client wrote it, and what it makes of ``%61``, ``..``, ``//``, ``%2F``, ``\\`` or ``;x`` is the
backend's own affair: servers differ. Deciding by one reading alone is what lets ``/x/../admin`` or ``/admin;x`` by the rules for
``/admin`` (Traefik's CVE-2025-32431 and GHSA-gm3x-23wp-hc2c; Envoy and nginx choose a reading and rewrite the path to it, which
breaks what means ``%2F`` as it says). Here the path stays as it is, and a path with several readings takes a route only if it
takes the same one in all of them.

What all agree on is no reading of its own: ``%61`` is ``a`` (RFC 3986 section 6.2.2), and so is every other byte, except those
that mean something where they are not encoded: these stay encoded, in capitals.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["LONGEST_AMBIGUOUS", "climbs", "normal_path", "readings"]

#: Bytes of a path with several readings at most; a longer one has none. To look at all of them takes up to 0.3 µs a byte.
LONGEST_AMBIGUOUS = 2048

#: Decoded these would end a segment, begin its parameters, the query or the fragment, or another encoded byte.
_STAY_ENCODED = frozenset(b"/\\;?#%")
_ENCODED = re.compile(rb"%[0-9A-Fa-f]{2}")


def _decoded(found: re.Match[bytes]) -> bytes:
    value = int(found[0][1:], 16)
    return found[0].upper() if value in _STAY_ENCODED else bytes((value,))


def normal_path(path: bytes) -> bytes:
    """A path without those differences of spelling that mean nothing to anybody."""
    # Looking for a byte's number costs a sixth of looking for a byte.
    return _ENCODED.sub(_decoded, path) if 37 in path else path


# What servers do to a path, each in its own way. A segment's parameters (RFC 3986 section 3.3) are taken off by servlet
# containers before they decode; slashes are decoded by what goes by CGI's PATH_INFO, backslashes are slashes on Windows.
_PARAMETERS = re.compile(rb"(?:;|%3B)[^/]*")
_SLASHES = re.compile(rb"%2F|%5C|\\")
_SEVERAL = re.compile(rb"//+")


# Two dots as a segment, in any reading.
_UP = re.compile(rb"(?:^|/|\\|%2F|%5C)\.\.(?:$|/|\\|;|%2F|%5C|%3B)")


def climbs(path: bytes) -> bool:
    """Whether somebody may read two dots as a segment in a path, which lead out of where it seems to be."""
    return _UP.search(normal_path(path)) is not None


def _without_parameters(path: bytes) -> bytes:
    return _PARAMETERS.sub(b"", path)


def _with_slashes(path: bytes) -> bytes:
    return _SLASHES.sub(b"/", path)


def _merged(path: bytes) -> bytes:
    return _SEVERAL.sub(b"/", path)


def _without_dots(path: bytes) -> bytes:
    """RFC 3986 section 5.2.4."""
    if b"/." not in path:
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def readings(path: bytes) -> tuple[bytes, ...]:
    """All that servers may take a path for, as it stands first; none where it is not to be routed by its path at all.

    :param path: as :func:`normal_path` gives it.
    """
    if b"\0" in path:  # where it ends is another thing that servers differ in; nginx refuses it too
        return ()
    if _is_mixed(path):
        return ()
    if not (59 in path or 92 in path or 37 in path or path.find(b"//") >= 0 or path.find(b"/.") >= 0) or path[:1] != b"/":
        return (path,)
    if len(path) > LONGEST_AMBIGUOUS:
        last = _without_dots(_merged(_with_slashes(_without_parameters(path))))
        return (path,) if last == path else ()
    segments = _in_any_order(path, _without_parameters, _with_slashes)
    return tuple(dict.fromkeys(read for one in segments for read in _in_any_order(one, _merged, _without_dots)))


def _is_mixed(path: bytes) -> bool:
    """Whether something of it goes, by dots or as parameters, and there are several spellings of what ends it, of which a server
    may know some and others not: each of those servers comes out elsewhere, and nobody honest writes such a path."""
    slashes = (b"%2F" in path) + (b"%5C" in path) + (92 in path)
    semicolons = (59 in path) + (b"%3B" in path)
    if slashes > 1:
        return semicolons > 0 or climbs(path)
    return semicolons > 1 and (slashes > 0 or climbs(path))


def _in_any_order(path: bytes, one: Callable[[bytes], bytes], other: Callable[[bytes], bytes]) -> dict[bytes, None]:
    """What becomes of it by neither, either, and both, one after the other."""
    first, second = one(path), other(path)
    found = dict.fromkeys((path, first, second))
    if first != path != second:
        found[other(first)] = found[one(second)] = None
    return found
