"""The settings of a balancer: one frozen value, its defaults, and where each default comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import attrs

from .errors import ConfigurationError

__all__ = ["Network", "Settings"]

Network = IPv4Network | IPv6Network

#: A pseudonym that stands for this balancer in Via (RFC 9110 section 7.6.3): a token, or a host with a port.
_PSEUDONYM = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~:\[\]-]{0,255}")


def _number(low: float, high: float, kind: type = float, unit: str = "") -> Any:
    """A validator: the value is a number from *low* to *high*; the error names what was given and what is allowed."""
    types, words = ((int,), "a whole number") if kind is int else ((int, float), "a number")

    def validate(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, types) or not low <= value <= high:
            name = attribute.name.replace("_", "-")
            raise ConfigurationError(f"{name}: {value!r} was given; allowed is {words} from {low:.16g} to {high:.16g}{unit}")

    return validate


_seconds = _number(0.01, 86400, unit=" (seconds)")


def _flag(instance: object, attribute: attrs.Attribute[bool], value: bool) -> None:
    if not isinstance(value, bool):
        name = attribute.name.replace("_", "-")
        raise ConfigurationError(f"{name}: {value!r} was given; allowed is a truth value, True or False")


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError("it is no text")  # a number would be read as an address
    return given


def _networks(given: Any) -> tuple[Network, ...]:
    """Read networks, each an address or a CIDR block.

    :raises ConfigurationError: with a line for each that is none.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"trusted-proxies: {given!r} was given; allowed is a list of addresses and CIDR blocks")
    networks: list[Network] = []
    problems = []
    for one in given:
        try:
            networks.append(one if isinstance(one, (IPv4Network, IPv6Network)) else ip_network(_text(one)))
        except ValueError as error:
            problems.append(
                f"trusted-proxies: {one!r} was given, which is none ({error}); allowed is an IP address or a CIDR block, such as "
                "10.0.0.0/8 or 2001:db8::/32"
            )
    if problems:
        raise ConfigurationError("\n".join(problems))
    return tuple(networks)


def _pseudonym(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not _PSEUDONYM.fullmatch(value):
        raise ConfigurationError(
            f"via: {value!r} was given; allowed is a name or HOST:PORT without spaces, of at most 255 characters"
        )


@attrs.frozen(kw_only=True)
class Settings:
    """How a balancer treats exchanges. Times are seconds, sizes bytes.

    :ivar retries: further attempts on one backend when one fails at once (the tutorial balancer's three).
    :ivar probe_interval: between two probes of one backend, with 10 % jitter (nginx Plus: 5 s).
    :ivar probe_timeout: bound of one probe.
    :ivar connect_timeout: to connect to a backend (Caddy: 3 s).
    :ivar response_timeout: from the request to the response's head.
    :ivar header_timeout: from a request head's first byte to its last, however it drips (HAProxy's ``timeout http-request``
        covers it alike; nginx: 60 s); and from a connection's beginning to the end of its PROXY protocol header, if it has one.
    :ivar idle_timeout: a kept-alive client connection without a request, and silence in mid-body on either side (nginx: 60 s).
    :ivar body_rate: bytes a second that a request's body must come at, on average, after :attr:`body_grace`; 0: any. A total
        would cut large uploads over slow lines.
    :ivar body_grace: seconds that a request's body may take whatever its rate.
    :ivar write_timeout: for which a client may read nothing of what is written to it (nginx's ``send_timeout``: 60 s).
    :ivar tunnel_timeout: for which neither side of a tunnel says anything (HAProxy's advice for ``timeout tunnel``: 1 h).
    :ivar drain: for which exchanges and tunnels may go on once the service stops (Traefik: 10 s; Docker and Kubernetes kill
        after 10 and 30 s unless told otherwise).
    :ivar drain_delay: for which ``/healthz`` fails already while new connections are still taken, so that whoever asks it sends
        no more (Caddy's ``shutdown_delay``: 0).
    :ivar upstream_idle: idle connections kept for each backend (nginx's ``keepalive 32``).
    :ivar upstream_idle_timeout: how long one of them is kept (nginx: 60 s).
    :ivar replay_limit: how much of a request's body is kept for another attempt (Pingora: 64 KiB).
    :ivar head_limit: size of a request's or response's head, the start line included (HAProxy: 16 KiB).
    :ivar field_limit: header fields in a head (HAProxy and Envoy: 100).
    :ivar target_limit: length of a request target; RFC 9112 section 3 asks for 8000 at least.
    :ivar body_limit: size of a request's body; 0: any, since backends know what they take (Caddy and HAProxy have none either).
    :ivar max_connections: clients' connections in all; 0: half of the files that the process may have open, less a reserve,
        since an exchange takes two.
    :ivar connection_requests: requests on one client's connection; 0: any (nginx's ``keepalive_requests``: 1000, which spreads
        clients anew over what listens beside this process).
    :ivar trusted_proxies: networks from which a request's own account of who asks is believed.
    :ivar forwarded: whether ``Forwarded`` (RFC 7239) is written, and believed before ``X-Forwarded-For``.
    :ivar via: the name under which this balancer adds itself to ``Via`` in both directions; empty: it does not.
    :ivar allow_underscores: whether field names with ``_`` are taken, which many backends cannot tell from ``-`` (nginx's
        ``underscores_in_headers``: off).
    :ivar abort_on_close: whether a client that ends its sending counts as gone (HAProxy's ``option abortonclose``); otherwise
        it gets its response, as RFC 9112 section 9.6 lets it expect.
    """

    retries: int = attrs.field(default=3, validator=_number(0, 100, int))
    probe_interval: float = attrs.field(default=5.0, validator=_seconds)
    probe_timeout: float = attrs.field(default=2.0, validator=_seconds)
    connect_timeout: float = attrs.field(default=3.0, validator=_seconds)
    response_timeout: float = attrs.field(default=30.0, validator=_seconds)
    header_timeout: float = attrs.field(default=10.0, validator=_seconds)
    idle_timeout: float = attrs.field(default=60.0, validator=_seconds)
    body_rate: int = attrs.field(default=1024, validator=_number(0, 1 << 30, int))
    body_grace: float = attrs.field(default=10.0, validator=_seconds)
    write_timeout: float = attrs.field(default=60.0, validator=_seconds)
    tunnel_timeout: float = attrs.field(default=3600.0, validator=_seconds)
    drain: float = attrs.field(default=30.0, validator=_number(0, 86400, unit=" (seconds)"))
    drain_delay: float = attrs.field(default=0.0, validator=_number(0, 86400, unit=" (seconds)"))
    upstream_idle: int = attrs.field(default=32, validator=_number(0, 100_000, int))
    upstream_idle_timeout: float = attrs.field(default=60.0, validator=_seconds)
    replay_limit: int = attrs.field(default=64 * 1024, validator=_number(0, 1 << 30, int))
    head_limit: int = attrs.field(default=16 * 1024, validator=_number(256, 1 << 20, int))
    field_limit: int = attrs.field(default=100, validator=_number(1, 10_000, int))
    target_limit: int = attrs.field(default=8 * 1024, validator=_number(16, 1 << 20, int))
    body_limit: int = attrs.field(default=0, validator=_number(0, 1 << 50, int))
    max_connections: int = attrs.field(default=0, validator=_number(0, 1 << 30, int))
    connection_requests: int = attrs.field(default=1000, validator=_number(0, 1 << 30, int))
    trusted_proxies: tuple[Network, ...] = attrs.field(default=(), converter=_networks)
    forwarded: bool = attrs.field(default=False, validator=_flag)
    via: str = attrs.field(default="", validator=_pseudonym)
    allow_underscores: bool = attrs.field(default=False, validator=_flag)
    abort_on_close: bool = attrs.field(default=False, validator=_flag)
