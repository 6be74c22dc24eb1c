"""A backend: one server of a pool, as an immutable value, and how an operator writes it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import attrs

from ..errors import ConfigurationError

__all__ = ["BACKEND_OPTIONS", "BACKUP_TIER", "MAX_IN_FLIGHT", "MAX_WEIGHT", "Backend", "is_address", "parse_backends"]

#: As nginx and HAProxy do, weights are small integers; beyond this a share is better said with tiers.
MAX_WEIGHT = 1000

#: Tiers are 0 (the default) to 99; ``:backup`` is the one after them.
BACKUP_TIER = 100
#: More than a process can have connections.
MAX_IN_FLIGHT = 1_000_000

_FORMS = "HOST:PORT, http://HOST:PORT, https://HOST:PORT, [IPV6]:PORT or unix:/path, each with options such as :weight=5"
_OPTION = re.compile(r":(?:([a-z][a-z0-9-]*)=(\[[^\]:,]*(?::[^\]:,]*)*\]|[^:,]*)|(backup)(?![^:]))")

#: How each option is written, its number being the group; the lowest and the highest it may be; and the same in words.
_OPTIONS = {
    "weight": (re.compile(r"([0-9]{1,9})\Z"), 1, MAX_WEIGHT, f"a whole number from 1 to {MAX_WEIGHT}"),
    "tier": (re.compile(r"([0-9]{1,9})\Z"), 0, BACKUP_TIER - 1, f"a whole number from 0 to {BACKUP_TIER - 1}"),
    "max-in-flight": (re.compile(r"([0-9]{1,9})\Z"), 1, MAX_IN_FLIGHT, f"a whole number from 1 to {MAX_IN_FLIGHT}"),
    "proxy-protocol": (re.compile(r"v([12])\Z"), 1, 2, "v1 or v2"),
}
#: What may follow a backend's place, as it is written.
BACKEND_OPTIONS = {
    "weight": "weight=5", "tier": "tier=1", "backup": "backup", "max-in-flight": "max-in-flight=20",
    "proxy-protocol": "proxy-protocol=v2", "verify-name": "verify-name=app.example", "verify": "verify=off",
}  # fmt: skip
#: The options that go with https alone, and what they may be.
_TLS_OPTIONS = {"verify-name": "a host name, or an address", "verify": "off"}
_NO_NAME = (
    "its certificate is for a name, and this is an address; add the name as :verify-name=app.example, or :verify=off to take "
    "any certificate"
)
#: A place with a port, and something behind it that is no part of an IPv6 address.
_WITH_REST = re.compile(r"(?:\[[^]]*\]|[^:\[\]/]*):[0-9]+:([^:]*[^0-9A-Fa-f:.%].*)")
_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")


@attrs.frozen(cache_hash=True)
class Backend:
    """One server: where it is and how large its share is. What is known of its health is kept elsewhere.

    :ivar host: a name or an IP address without brackets; for a Unix socket, its path.
    :ivar port: 1 to 65535; None says that ``host`` is a Unix socket's path.
    :ivar weight: 1 to 1000, its share relative to the others'.
    :ivar tier: 0 to 100; exchanges go to a tier as far as those before it are not well enough. 100 is the backups' (``:backup``).
    :ivar max_in_flight: how many attempts may run at it at once; 0: any number.
    :ivar proxy_protocol: the version of the PROXY protocol header that begins its connections, 1 or 2; 0: none does. As the
        header names the client, each of these connections carries one exchange only and is never kept for another.
    :ivar tls: whether TLS is spoken with it.
    :ivar verify: whether its certificate must be good, and for the right name.
    :ivar verify_name: for whom the certificate must be, and who is asked for; empty: ``host``, unless that is an address.
    """

    host: str
    port: int | None = None
    weight: int = attrs.field(default=1)
    proxy_protocol: int = attrs.field(default=0)
    tier: int = attrs.field(default=0, kw_only=True)
    max_in_flight: int = attrs.field(default=0, kw_only=True)
    tls: bool = attrs.field(default=False, kw_only=True)
    verify: bool = attrs.field(default=True, kw_only=True)
    verify_name: str = attrs.field(default="", kw_only=True)

    @weight.validator
    def _check_weight(self, attribute: attrs.Attribute[int], value: int) -> None:
        self._check("weight", value, 1, MAX_WEIGHT, f"a whole number from 1 to {MAX_WEIGHT}")

    @tier.validator
    def _check_tier(self, attribute: attrs.Attribute[int], value: int) -> None:
        self._check("tier", value, 0, BACKUP_TIER, f"a whole number from 0 to {BACKUP_TIER}")

    @max_in_flight.validator
    def _check_max_in_flight(self, attribute: attrs.Attribute[int], value: int) -> None:
        self._check("max-in-flight", value, 0, MAX_IN_FLIGHT, f"a whole number from 1 to {MAX_IN_FLIGHT}, and 0 for any number")

    @proxy_protocol.validator
    def _check_proxy_protocol(self, attribute: attrs.Attribute[int], value: int) -> None:
        self._check("proxy-protocol", value, 0, 2, "1, 2, and 0 for none")

    def _check(self, name: str, value: int, lowest: int, highest: int, allowed: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            verb = "are" if "," in allowed else "is"
            raise ConfigurationError(f"backend {self.address}: {name} {value!r} was given; allowed {verb} {allowed}")

    @tls.validator
    @verify.validator
    def _check_flag(self, attribute: attrs.Attribute[bool], value: bool) -> None:
        if not isinstance(value, bool):
            raise ConfigurationError(
                f"backend {self.address}: {attribute.name} {value!r} was given; allowed are True and False"
            )

    @verify_name.validator
    def _check_verify_name(self, attribute: attrs.Attribute[str], value: str) -> None:
        if not isinstance(value, str) or (value and not (is_address(value) or _is_name(value))):
            allowed = _TLS_OPTIONS["verify-name"]
            raise ConfigurationError(f"backend {self.address}: verify-name {value!r} was given; allowed is {allowed}")

    def __attrs_post_init__(self) -> None:
        problem = ""
        if self.tls and self.port is None:
            problem = "TLS was asked for; it is not spoken over a Unix socket"
        elif self.tls and not (is_address(self.host) or _is_name(self.host)):
            problem = "TLS was asked for; it is spoken with a host that has a name or an address"
        elif not self.tls and (self.verify_name or not self.verify):
            problem = "what is verified was said without TLS; it goes with https alone"
        elif self.tls and self.verify and not self.verify_name and is_address(self.host):
            problem = _NO_NAME
        if problem:
            raise ConfigurationError(f"backend {self.address}: {problem}")

    @property
    def address(self) -> str:
        """Its identity in words: ``10.0.0.1:8000``, ``[::1]:8000`` or ``unix:/run/app.sock``."""
        if self.port is None:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Backend:
        """Read one backend as an operator writes it.

        :raises ConfigurationError: names *text*, what is wrong with it, and what is allowed.
        """
        place, options = _split_options(text.strip())
        host, port = _parse_place(text, place)
        problems: list[str] = []
        values = _parse_options(text, options, problems)
        tls = _parse_tls(text, options, host if place.startswith("https://") else "", problems)
        if problems:
            raise ConfigurationError("\n".join(problems))
        return cls(host, port, **{name.replace("-", "_"): value for name, value in values.items()}, **tls)


def parse_backends(texts: Iterable[str]) -> list[Backend]:
    """Read comma-separated lists of backends, in order.

    :raises ConfigurationError: for malformed ones, for those named twice, a line each, and for none at all.
    """
    backends: dict[str, Backend] = {}
    problems: list[str] = []
    for part in ",".join(texts).split(","):
        if not part.strip():
            continue
        try:
            backend = Backend.parse(part)
        except ConfigurationError as error:
            problems.append(str(error))
            continue
        if backend.address in backends:
            problems.append(f"backend {backend.address} is named twice; name each backend once, with a :weight= for its share")
        backends[backend.address] = backend
    if problems:
        raise ConfigurationError("\n".join(problems))
    if not backends:
        raise ConfigurationError(f"no backend was given; name at least one, as {_FORMS}")
    return list(backends.values())


def _split_options(text: str) -> tuple[str, dict[str, str | None]]:
    """Cut the options (``:name=value`` and ``:backup``) off the end of a backend's description."""
    first = _OPTION.search(text)
    if first is None:
        return text, {}
    place, rest = text[: first.start()], text[first.start() :]
    options: dict[str, str | None] = {}
    read = ""
    for found in _OPTION.finditer(rest):
        name, value = (found[1], found[2]) if found[1] else (found[3], None)
        if name in options:
            raise ConfigurationError(f"backend {text!r}: option {name!r} is given twice")
        options[name] = value
        read += found[0]
    if read != rest:
        raise _malformed(text, "its options cannot be read")
    return place, options


def _parse_options(text: str, options: dict[str, str | None], problems: list[str]) -> dict[str, Any]:
    """The options' values by name but for those of TLS; *problems* gets a line for each that is wrong."""
    values: dict[str, Any] = {}
    if "backup" in options:
        if options["backup"] is not None:
            problems.append(f"backend {text!r}: backup {options['backup']!r} was given; it takes no value")
        if "tier" in options:
            problems.append(f"backend {text!r}: both tier and backup were given; backup is the last tier, so give one of them")
        values["tier"] = BACKUP_TIER
    for name, given in options.items():
        if name == "backup" or given is None or name in _TLS_OPTIONS:
            continue
        if name not in _OPTIONS:
            allowed_of = {**{name: allowed for name, (*_, allowed) in _OPTIONS.items()}, **_TLS_OPTIONS}
            known = ", ".join(f"{name} ({allowed})" for name, allowed in allowed_of.items())
            nearest = get_close_matches(name, (*allowed_of, "backup"), 1)
            hint = f" (did you mean {nearest[0]}?)" if nearest else ""
            problems.append(f"backend {text!r}: option {name!r} is not known{hint}; known are {known} and backup")
            continue
        pattern, lowest, highest, allowed = _OPTIONS[name]
        number = pattern.match(given)
        if number is None or not lowest <= int(number[1]) <= highest:
            shown = repr(given) if number is None else given
            problems.append(f"backend {text!r}: {name} {shown} was given; allowed is {allowed}")
        else:
            values[name] = int(number[1])
    return values


def _parse_tls(text: str, options: dict[str, str | None], host: str, problems: list[str]) -> dict[str, Any]:
    """What is said of TLS; the same with what is wrong.

    :param host: where TLS is spoken; empty: it is not.
    """
    given = {name: options[name] or "" for name in _TLS_OPTIONS if name in options}
    if not host:
        problems += [
            f"backend {text!r}: {name} {value!r} was given; it goes with https://HOST:PORT alone" for name, value in given.items()
        ]
        return {}
    if given.get("verify", "off") != "off":
        problems.append(
            f"backend {text!r}: verify {given['verify']!r} was given; allowed is off; without it, certificates are verified"
        )
    name = given.get("verify-name", "")
    name = (name[1:-1] if name.startswith("[") and name.endswith("]") else name).lower()
    name = str(ipaddress.ip_address(name)) if is_address(name) else name
    if "verify-name" in given and not (is_address(name) or _is_name(name)):
        problems.append(
            f"backend {text!r}: verify-name {given['verify-name']!r} was given; allowed is {_TLS_OPTIONS['verify-name']}"
        )
    if not given and is_address(host):
        problems.append(f"backend {text!r}: {_NO_NAME}")
    return {"tls": True, "verify": "verify" not in given, "verify_name": name}


def _parse_place(text: str, place: str) -> tuple[str, int | None]:
    if place.startswith("unix:"):
        return _parse_socket_path(text, place[len("unix:") :]), None
    if place.startswith(("http://", "https://")):
        place = place.partition("://")[2].removesuffix("/")
    elif "://" in place:
        raise _malformed(text, f"scheme {place.partition('://')[0]!r} is not served; only http and https are")
    rest = _WITH_REST.fullmatch(place)
    if rest is not None:
        known = ", ".join(f":{option}" for option in BACKEND_OPTIONS.values())
        raise ConfigurationError(f"backend {text!r} cannot be read: {rest[1]!r} is none of its options. Allowed are {known}")
    host, colon, port = place.rpartition(":")
    if not colon:
        raise _malformed(text, "it has no port")
    return _parse_host(text, host), _parse_port(text, port)


def _parse_socket_path(text: str, path: str) -> str:
    if not path.startswith("/"):
        raise _malformed(text, "a Unix socket's path must begin with a slash")
    # sockaddr_un.sun_path on Linux holds 108 bytes with the closing NUL.
    if len(path.encode()) > 107:
        raise _malformed(text, "a Unix socket's path must not be longer than 107 bytes")
    return path


def _parse_host(text: str, host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise _malformed(text, f"{host[1:-1]!r} is no IPv6 address") from None
    if ":" in host:
        raise _malformed(text, "an IPv6 address must stand in brackets")
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise _malformed(text, f"{host!r} is no IPv4 address") from None
    if not _is_name(host):
        raise _malformed(text, f"{host!r} is no host name or address")
    return host.lower()


def _is_name(text: str) -> bool:
    """Whether it can be a host's name; one of digits alone would be taken for an address."""
    labels = text.removesuffix(".").split(".")
    return 0 < len(text) <= 253 and not re.fullmatch(r"[0-9.]+", text) and all(_HOST_LABEL.match(label) for label in labels)


def is_address(text: str) -> bool:
    """Whether it is an IP address and no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _parse_port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or not 1 <= int(port) <= 65535:
        raise _malformed(text, f"{port!r} is no port; allowed is 1 to 65535")
    return int(port)


def _malformed(text: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"backend {text!r} cannot be read: {why}. Allowed are {_FORMS}")
