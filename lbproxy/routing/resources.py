"""Where a route leads to a resource of ``twisted.web``, or to files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.python.filepath import FilePath
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import Site
from twisted.web.static import File
from twisted.web.util import redirectTo

from ..errors import ConfigurationError
from ..proxy.desk import Desk
from .model import StaticFiles
from .redirects import with_slash
from .rendering import Rendering
from .targets import enter

if TYPE_CHECKING:
    from ..proxy.exchange import Exchange

__all__ = ["BODY_LIMIT", "Directory", "ResourceTarget", "static_target"]

#: Bytes of a request's body for a resource at most: ``twisted.web`` reads forms into memory as a whole.
BODY_LIMIT = 10 << 20

#: The same where nobody has any use for one.
_NO_BODY_LIMIT = 64 << 10

#: Ranges in one request at most: each is sent, and they may overlap (Apache: 200).
_RANGES = 16
_ONE_RANGE = rb"[ \t]*(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})"
_RANGE = re.compile(rb"bytes=%b(?:[ \t]*,%b)*" % (_ONE_RANGE, _ONE_RANGE))


class _Site(Site):
    """Looks for the resource below the prefix that the route has matched."""

    def log(self, request: Any) -> None:
        """Exchanges are logged elsewhere."""

    def getResourceFor(self, request: Any) -> IResource:
        """Take the prefix for passed."""
        prefix = request.channel.prefix
        request.site = self
        request.prepath, request.postpath = request.postpath[:prefix], request.postpath[prefix:]
        request.sitepath = request.prepath[:]
        found: IResource = getChildForRequest(self.resource, request)
        return found


class ResourceTarget:
    """Lets a resource answer. What it is asked has the fields that a backend would get, and the client's address; it may answer
    later (``NOT_DONE_YET``), produce, be told that the client has left (``notifyFinish``), but not take the connection over.

    :param prefixes: what the route matches of paths, by their first segments; that is taken off, the longest that there is.
    :param desk: where exchanges are booked that no pool gets.
    :param body_limit: bytes of a request's body.
    """

    def __init__(self, resource: IResource, desk: Desk, prefixes: Sequence[str] = (), body_limit: int = BODY_LIMIT) -> None:
        self._site = _Site(resource, reactor=desk.clock)  # type: ignore[no-untyped-call]
        self._desk = desk
        self._prefixes = sorted(map(_segments, prefixes), key=len, reverse=True)
        self._body_limit = body_limit

    def forward(self, exchange: Exchange) -> None:
        """Let it answer an exchange."""
        enter(exchange, self._desk)
        exchange.guarded(self._begin, exchange)

    def _begin(self, exchange: Exchange) -> None:
        prefix = self._prefix(exchange.request.target)
        Rendering(exchange, self._site, prefix, self._body_limit, self._desk.clock).begin()

    def _prefix(self, target: bytes) -> int:
        """How many segments of a target's path lead to the resource; none where a filter has taken them off already."""
        path = [unquote_to_bytes(segment) for segment in target.partition(b"?")[0][1:].split(b"/")]
        return next((len(one) for one in self._prefixes if path[: len(one)] == one), 0)


def _segments(prefix: str) -> list[bytes]:
    stripped = prefix.strip("/")
    return [unquote_to_bytes(segment) for segment in stripped.split("/")] if stripped else []


class Directory(File):
    """Files below a directory, by ``twisted.web.static``, but as a server in the open has it: no listings of directories (404),
    nothing whose name begins with a dot (but ``.well-known``, RFC 8615), nothing that is neither a file nor a directory, and no
    guess at HTML where a name says nothing of a file's type. Symbolic links are followed, wherever they lead.
    """

    def __init__(self, path: str, defaultType: str = "application/octet-stream", *args: Any, **keys: Any) -> None:
        super().__init__(path, defaultType, *args, **keys)

    def directoryListing(self) -> Any:
        """There is none."""
        return self.childNotFound

    def redirect(self, request: Any) -> Any:
        """A directory was asked for without the slash at its end: the client is sent to what it asked for, with one, and not to
        what a filter has made of it."""
        return redirectTo(with_slash(request.channel.target), request)

    def getChild(self, path: bytes, request: Any) -> Any:
        """The file of that name."""
        if b"\0" in path or b"/" in path or (path.startswith(b".") and path != b".well-known"):
            return self.childNotFound  # with an encoded slash it is no name: as a path it could lead to one with a dot
        child = super().getChild(path, request)  # type: ignore[no-untyped-call]
        if isinstance(child, FilePath) and not (child.isfile() or child.isdir()):
            return self.childNotFound  # opening a pipe would hold up everything
        return child

    def render_GET(self, request: Any) -> Any:
        """Send the file. A Range that cannot be met as it stands is not heeded, which RFC 9110 section 14.2 allows."""
        asked = request.getHeader(b"range")
        if asked is not None and not self._can_meet(asked, request.getHeader(b"if-range")):
            request.requestHeaders.removeHeader(b"range")
        return super().render_GET(request)  # type: ignore[no-untyped-call]

    render_HEAD = render_GET

    def _can_meet(self, asked: bytes, condition: bytes | None) -> bool:
        if _RANGE.fullmatch(asked) is None or asked.count(b",") >= _RANGES:
            return False
        self.restat(False)
        if not self.isfile():
            return True
        if condition is not None and condition != datetimeToString(int(-(-self.getModificationTime() // 1))):
            return False
        ends = [one.strip(b" \t") for one in asked[6:].split(b",")]
        # File takes more of a file's end than there is for a place before its beginning.
        return all(int(one[1:]) <= self.getsize() for one in ends if one[:1] == b"-")


def static_target(files: StaticFiles, desk: Desk, prefixes: Sequence[str] = ()) -> ResourceTarget:
    """Where a route leads to files.

    :raises ConfigurationError: if there is no such directory.
    """
    directory = Directory(files.directory)
    if not directory.isdir():
        raise ConfigurationError(f"directory: {files.directory!r} was given; allowed is a directory that is there")
    directory.indexNames = list(files.index)
    return ResourceTarget(directory, desk, prefixes, _NO_BODY_LIMIT)
