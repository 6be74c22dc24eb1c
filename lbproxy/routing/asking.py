"""A request as a person writes it, such as ``GET https://shop.example/cart?x=1``, to see what would become of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from ..addresses import read_address
from ..errors import BadMessage, ConfigurationError
from ..http1.head import MessageLimits, RequestHead
from ..http1.request_head import parse_request_head
from ..proxy.client import Client
from ..settings import Settings

__all__ = ["request_of"]

_ALLOWED = "METHOD URL, such as GET https://shop.example/cart?x=1, or a URL alone"
_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#]*)(?P<target>.*)\Z", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LIMITS = MessageLimits.of(Settings())


def request_of(
    text: str, headers: Mapping[str, str] | Iterable[tuple[str, str]] = (), client: str = "192.0.2.1"
) -> tuple[RequestHead, Client]:
    """The request that is meant, read by the same rules as one that comes over a connection, and who asks.

    :param headers: further fields; a Host among them takes the place of the URL's.
    :param client: whose address it comes from.
    :raises ConfigurationError: for what is no request, or would be refused before any route is looked for.
    """
    method, url = _parts(text)
    found = _URL.match(url)
    if found is None:
        hint = "; a host, with http:// or https:// before it, is missing" if "://" not in url else ""
        raise _wrong(text, hint)
    host = found["host"]
    if not host.isascii():
        raise _wrong(text, "; its host is not ASCII: write it in punycode, as xn--…")
    if not host or "@" in host:
        raise _wrong(text, "; it has a user" if "@" in host else "; it has no host")
    target = quote(found["target"], safe="%/?:@!$&'()*+,;=-._~[]{}|\\^`\"<>#")
    if target[:1] != "/" and target != "*":
        target = f"/{target}"
    secure = found["scheme"].lower() == "https"
    return _head(text, method, target, host, headers), _client(client, secure)


def _parts(text: str) -> tuple[str, str]:
    words = text.split()
    if not 1 <= len(words) <= 2:
        raise _wrong(text)
    return (words[0], words[1]) if len(words) == 2 else ("GET", words[0])


def _head(text: str, method: str, target: str, host: str, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> RequestHead:
    fields = list(headers.items() if isinstance(headers, Mapping) else headers)
    if not any(name.lower() == "host" for name, _ in fields):
        fields.insert(0, ("Host", host))
    lines = [f"{name}: {value}" for name, value in fields]
    bad = next((line for line in lines if _CONTROL.search(line)), None)
    if bad is not None:
        raise ConfigurationError(f"header: {bad!r} was given; allowed is a name and a value without control characters")
    try:
        return parse_request_head("\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode("utf-8"), _LIMITS)
    except BadMessage as error:
        raise ConfigurationError(
            f"request: {text!r} was given, which is answered {error.status} before any route ({error})"
        ) from None


def _client(text: str, secure: bool) -> Client:
    if text in ("unix", "unknown"):
        return Client(text, secure, b"")
    address = read_address(text)
    if address is None:
        raise ConfigurationError(f"client: {text!r} was given; allowed is an IP address")
    return Client(str(address), secure, b"", source=(str(address), 0))


def _wrong(text: str, hint: str = "") -> ConfigurationError:
    return ConfigurationError(f"request: {text!r} was given{hint}; allowed is {_ALLOWED}")
