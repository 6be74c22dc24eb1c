"""Whether a request meets a route's conditions: each condition made into a test, once. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import attrs

from ..addresses import Networks, read_address
from .match_values import path_bytes
from .model import Condition, Match
from .readings import normal_path

if TYPE_CHECKING:
    from ..http1.head import RequestHead
    from ..proxy.client import Client

__all__ = [
    "Check",
    "Test",
    "check_of",
    "host_name",
    "is_below",
    "matched_prefix",
    "path_of",
    "path_text",
    "prefix_in",
    "tests_of",
]

#: ``check(request, client)``: whether it is met.
Check = Callable[["RequestHead", "Client"], bool]


@attrs.frozen
class Test:
    """One condition.

    :ivar failed: what is to be said where it is not met.
    :ivar holds: whether it is.
    """

    failed: str
    holds: Check


def host_name(host: bytes) -> bytes:
    """The name in a Host field, as it compares: in small letters, without the port and without a dot at its end."""
    name = host.lower()
    if name[:1] == b"[":
        return _ipv6_name(name[: name.find(b"]") + 1])
    name = name.partition(b":")[0]
    return name[:-1] if name[-1:] == b"." else name


def _ipv6_name(name: bytes) -> bytes:
    """An IPv6 address in brackets as routes have it, since there are several spellings of each (RFC 5952 section 2)."""
    try:
        return b"[%b]" % str(IPv6Address(name[1:-1].decode("ascii"))).encode("ascii")
    except ValueError:
        return name


def path_of(target: bytes) -> bytes:
    """The path of a request's target, as it compares; ``*`` is its own."""
    return normal_path(target.partition(b"?")[0])


def path_text(path: bytes) -> str:
    """A path as regular expressions are matched with it."""
    return path.decode("utf-8", "surrogateescape")


def is_below(path: bytes, prefix: bytes) -> bool:
    """Whether a path begins with the segments of a prefix, which has no slash at its end."""
    return not prefix or (path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/"))


def matched_prefix(match: Match, target: bytes) -> bytes:
    """What the longest of the prefixes that a request has met is in its target, as the client wrote it: so much may be taken off.
    Empty where it was met by a whole path or a regular expression, or by any path.

    :param target: of a request that has met the conditions.
    """
    path = path_of(target)
    if any(path_bytes(one) == path for one in match.path):
        return b""
    if match.path_regex and any(re.match(one, path_text(path)) for one in match.path_regex):
        return b""
    met = (prefix_in(target, path_bytes(one, prefix=True)) for one in match.path_prefix)
    return max(filter(None, met), key=len, default=b"")


def prefix_in(target: bytes, prefix: bytes) -> bytes | None:
    """What a prefix is in a request's target, as the client wrote it; None where its path does not begin with it.

    :param prefix: as :func:`.match_values.path_bytes` gives it.
    """
    path = target.partition(b"?")[0]
    if not is_below(normal_path(path), prefix):
        return None
    # What is encoded is never a slash where they are counted, so that the client's path has the same segments.
    return b"/".join(path.split(b"/")[: prefix.count(b"/") + 1]) if prefix else b""


def tests_of(match: Match) -> tuple[Test, ...]:
    """All conditions but host and path, those first that cost the least."""
    tests: list[Test] = []
    if match.method:
        tests.append(_method(match.method))
    if match.scheme:
        tests.append(_scheme(match.scheme == "https"))
    if match.client:
        tests.append(_client(match))
    tests += [_condition(one, "header", _header(one.name)) for one in match.header]
    tests += [_condition(one, "argument", _argument(one.name)) for one in match.query]
    return tuple(tests)


def check_of(match: Match) -> Check | None:
    """All conditions but host and path, as one check; None where there are none, so that nobody pays for it."""
    checks = tuple(test.holds for test in tests_of(match))
    if len(checks) < 2:
        return checks[0] if checks else None

    def check(request: RequestHead, client: Client) -> bool:
        return all(one(request, client) for one in checks)

    return check


def _method(names: tuple[str, ...]) -> Test:
    methods = frozenset(name.encode("ascii") for name in names)
    return Test(f"the method is not {' or '.join(names)}", lambda request, client: request.method in methods)


def _scheme(secure: bool) -> Test:
    return Test(f"the scheme is not {'https' if secure else 'http'}", lambda request, client: bool(client.secure) is secure)


def _client(match: Match) -> Test:
    networks = Networks(match.client)

    # Clients send more than one request, and their addresses are texts: one look-up in place of reading them anew (2 µs).
    @lru_cache(maxsize=1000)
    def is_in(address: str) -> bool:
        read = read_address(address)
        return read is not None and read in networks

    return Test(f"the client is not in {', '.join(map(str, match.client))}", lambda request, client: is_in(client.address))


#: The values of one name.
_Values = Callable[["RequestHead"], list[bytes]]


def _condition(condition: Condition, kind: str, values: _Values) -> Test:
    what = f"{kind} {condition.name}"
    shown = "what is wanted" if kind == "header" else ""  # it may be a secret
    if not condition.present:
        return Test(f"there is the {what}", lambda request, client: not values(request))
    if condition.exact is not None:
        exact = condition.exact.encode("utf-8", "surrogateescape")
        return Test(f"{what} is not {shown or repr(condition.exact)}", lambda request, client: exact in values(request))
    if condition.regex is not None:
        found = re.compile(condition.regex).search
        return Test(
            f"{what} does not match {shown or repr(condition.regex)}",
            lambda request, client: any(found(path_text(value)) for value in values(request)),
        )
    return Test(f"there is no {what}", lambda request, client: bool(values(request)))


def _header(name: str) -> _Values:
    lowered = name.lower().encode("ascii")
    line = b"\r\n" + lowered + b":"

    def values(request: RequestHead) -> list[bytes]:
        known = request.known.get(lowered)
        if known is not None:  # it may not go on, and then it stands there alone
            return [known]
        fields = request.fields
        searched = b"\r\n" + fields.lower()
        found = []
        place = searched.find(line)
        while place >= 0:
            begin = place + len(line) - 2  # in the fields themselves, which have no CRLF before the first
            found.append(fields[begin : fields.index(b"\r\n", begin)].strip(b" \t"))
            place = searched.find(line, place + 2)
        return found

    return values


def _argument(name: str) -> _Values:
    wanted = name

    def values(request: RequestHead) -> list[bytes]:
        query = request.target.partition(b"?")[2]
        if not query:
            return []
        arguments = parse_qsl(query.decode("utf-8", "surrogateescape"), keep_blank_values=True, errors="surrogateescape")
        return [value.encode("utf-8", "surrogateescape") for given, value in arguments if given == wanted]

    return values
