"""What an operator wants to be probed, read from the options that say so. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from ..balance.backend import Backend, is_address
from ..errors import ConfigurationError

__all__ = ["ProbeSpec"]

#: What nginx Plus and Traefik take for well.
DEFAULT_STATUSES = ((200, 399),)
LONGEST_PATTERN = 1000
#: RFC 9112 section 3 asks for this much at least.
LONGEST_PATH = 8000

_HOST_HINT = "it goes to each backend, and with which Host is said with --probe-host; "
_FORMS = "tcp, tls, http:/path or https:/path with a path that begins with one /"
# Visible ASCII; a fragment is none of a request's business, and two slashes are where a host would stand.
_PATH = re.compile(r"/(?!/)[!-\"$-~]*\Z")
_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?\Z")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
_VALUE = re.compile(r"[\t -~\xa0-\ud7ff\ue000-\U0010ffff]{0,4000}\Z")
_HOST = re.compile(r"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]{1,255}\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")

#: They say how the request is framed and how long the connection lasts, which is not up to an operator.
_FRAMING = frozenset(
    ("connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)


@attrs.frozen
class ProbeSpec:
    """How backends are probed.

    :ivar path: what a GET request asks for; empty: a connection is all that is tried.
    :ivar statuses: ranges of the statuses that are well, each the first and the last.
    :ivar body: a regular expression that must be found in the body; empty: any body will do. It is the operator's own, so that
        one which takes long to fail (nested repetitions) is their own doing.
    :ivar headers: further fields of the request, names and values.
    :ivar host: the request's Host; empty: the backend's own.
    :ivar port: where to connect to; 0: the backend's own port.
    :ivar scheme: with a path, ``http`` or ``https``; without one ``tcp``, ``tls``, or empty for whichever the backend is spoken
        to with.
    """

    path: str = ""
    statuses: tuple[tuple[int, int], ...] = DEFAULT_STATUSES
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    host: str = ""
    port: int = 0
    scheme: str = ""

    @classmethod
    def parse(
        cls,
        text: str | None = None,
        *,
        status: str | None = None,
        body: str | None = None,
        headers: Iterable[str] = (),
        host: str | None = None,
        port: str | int | None = None,
    ) -> ProbeSpec:
        """Read the options ``--probe``, ``--probe-status``, ``--probe-body``, ``--probe-header``, ``--probe-host`` and
        ``--probe-port``; None is for one that was not given.

        :raises ConfigurationError: with a line for each mistake, which names the option, what was given, and what is allowed.
        """
        fields = list(headers)
        problems: list[str] = []
        scheme, path = _scheme_and_path(text, problems)
        if not path and scheme is not None:
            given = {"status": status, "body": body, "header": fields or None, "host": host, "port": port}
            problems += [
                f"--probe-{name}: {value!r} was given, which goes with --probe http:/path and https:/path alone"
                for name, value in given.items()
                if value is not None
            ]
        spec = cls(
            path,
            DEFAULT_STATUSES if status is None else _statuses(status, problems),
            "" if body is None else _pattern(body, problems),
            tuple(_field(field, problems) for field in fields),
            "" if host is None else _host(host, problems),
            0 if port is None else _port(port, problems),
            scheme or "",
        )
        if problems:
            raise ConfigurationError("\n".join(problems))
        return spec

    def check_backends(self, backends: Iterable[Backend]) -> None:
        """A probe that can never go well would take them all out.

        :raises ConfigurationError: it wants certificates of backends for which there can be none.
        """
        unnamed = [one.address for one in backends if not one.tls and (one.port is None or is_address(one.host))]
        if unnamed and self.scheme in ("tls", "https"):
            raise ConfigurationError(
                f"--probe: {self.scheme} was given; over TLS a certificate is verified for a name, which {', '.join(unnamed)} "
                "lack: give a host name, or https:// with :verify-name= or :verify=off"
            )

    def allows(self, status: int) -> bool:
        """Whether a status is well."""
        return any(first <= status <= last for first, last in self.statuses)

    @property
    def allowed(self) -> str:
        """The statuses that are well, as an operator writes them."""
        return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in self.statuses)


def _scheme_and_path(text: str | None, problems: list[str]) -> tuple[str | None, str]:
    """What a probe speaks, and the path that it asks for if it does; no scheme when it cannot be read."""
    if text is None or text in ("tcp", "tls"):
        return text or "", ""
    scheme, colon, path = text.partition(":")
    if scheme in ("http", "https") and colon and len(path) <= LONGEST_PATH and _PATH.match(path):
        return scheme, path
    with_host = text.startswith(("http://", "https://"))
    meant = f"did you mean http:{text}? " if _PATH.match(text) else _HOST_HINT if with_host else ""
    problems.append(
        f"--probe: {_shown(text)} was given; {meant}allowed is {_FORMS}, at most {LONGEST_PATH} visible ASCII characters "
        "without #"
    )
    return None, ""


def _statuses(given: str, problems: list[str]) -> tuple[tuple[int, int], ...]:
    ranges = []
    for part in given.split(","):
        found = _RANGE.match(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            problems.append(f"--probe-status: {given!r} was given; allowed are statuses from 100 to 599, such as 200-399,404")
            break
        ranges.append((first, last))
    return tuple(ranges)


def _pattern(given: str, problems: list[str]) -> str:
    allowed = f"allowed is a regular expression of Python's of 1 to {LONGEST_PATTERN} characters"
    if not 1 <= len(given) <= LONGEST_PATTERN:
        problems.append(f"--probe-body: {_shown(given)} ({len(given)} characters) was given; {allowed}")
        return ""
    try:
        re.compile(given)
    except (re.error, OverflowError, RecursionError) as error:
        problems.append(f"--probe-body: {_shown(given)} was given, which is none ({error}); {allowed}")
    return given


def _field(given: str, problems: list[str]) -> tuple[str, str]:
    name, colon, value = given.partition(":")
    value = value.strip(" \t")
    if not (colon and _TOKEN.match(name) and _VALUE.match(value)):
        problems.append(
            f"--probe-header: {_shown(given)} was given; allowed is Name: value, a name of letters, digits and - and a value "
            "without control characters"
        )
    elif name.lower() == "host":
        problems.append(f"--probe-header: {_shown(given)} was given; the Host is said with --probe-host")
    elif name.lower() in _FRAMING:
        problems.append(f"--probe-header: {_shown(given)} was given; allowed is any name but {', '.join(sorted(_FRAMING))}")
    return name, value


def _host(given: str, problems: list[str]) -> str:
    if not _HOST.match(given):
        problems.append(f"--probe-host: {_shown(given)} was given; allowed is a name or an address, with or without a port")
    return given


def _port(given: str | int, problems: list[str]) -> int:
    if not isinstance(given, bool) and _PORT.match(str(given)) and 1 <= int(given) <= 65535:
        return int(given)
    problems.append(f"--probe-port: {given!r} was given; allowed is a whole number from 1 to 65535")
    return 0


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 100 else f"{text[:100]!r}…"
