"""The settings of a balancer: one frozen value, its defaults, and where each default comes from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import attrs

from .errors import ConfigurationError

__all__ = ["OUTLIER_WORDS", "RETRY_WORDS", "Network", "Settings"]

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
_seconds_or_none = _number(0, 86400, unit=" (seconds)")
_percent = _number(0, 100, int, " (percent)")


def _flag(instance: object, attribute: attrs.Attribute[bool], value: bool) -> None:
    if not isinstance(value, bool):
        name = attribute.name.replace("_", "-")
        raise ConfigurationError(f"{name}: {value!r} was given; allowed is a truth value, true or false")


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError("it is no text")  # a number would be read as an address
    return given


def _networks(given: Any) -> tuple[Network, ...]:
    """Read networks, each an address or a CIDR block.

    :raises ConfigurationError: with a line for each that is none.
    """
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
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


def _words(name: str, given: Any, known: Iterable[str], allowed: str, is_known: Callable[[str], object]) -> tuple[str, ...]:
    """Read a list of words; ``none`` alone is none of them.

    :raises ConfigurationError: with a line for each that is not known.
    """
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        raise ConfigurationError(f"{name}: {given!r} was given; allowed is a list of {allowed}")
    words = tuple(dict.fromkeys(given))
    if words == ("none",):
        return ()
    problems = [
        f"{name}: {word!r} was given; allowed is a list of {allowed}, or none alone"
        for word in words
        if not isinstance(word, str) or (word not in known and not is_known(word))
    ]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return words


#: The failures that can be told apart in ``retry_on``: a connection that was refused, or not made in time; one that ended, or
#: brought nonsense, in the place of a response; no response in time.
RETRY_WORDS = ("connect", "reset", "timeout")
OUTLIER_WORDS = ("success-rate", "latency")

_STATUS = re.compile(r"[45][0-9]{2}\Z")


def _retry_on(given: Any) -> tuple[str, ...]:
    return _words("retry-on", given, RETRY_WORDS, "connect, reset, timeout and statuses from 400 to 599", _STATUS.match)


def _outliers(given: Any) -> tuple[str, ...]:
    return _words("outliers", given, OUTLIER_WORDS, "success-rate and latency", lambda word: False)


def _hedge(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (value == 0 or 50 <= value <= 99.9):
        raise ConfigurationError(f"hedge: {value!r} was given; allowed is a percentile from 50 to 99.9, and 0 for never")


#: A token (RFC 9110 section 5.6.2), as RFC 6265 section 4.1.1 has cookies' names.
_COOKIE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{0,64}")


def _cookie_name(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not _COOKIE.fullmatch(value):
        raise ConfigurationError(f"sticky: {value!r} was given; allowed is a cookie's name: letters, digits and - _, at most 64")


def _secret(instance: object, attribute: attrs.Attribute[bytes], value: bytes) -> None:
    if not isinstance(value, bytes) or 0 < len(value) < 16:
        raise ConfigurationError("sticky-key: what was given has less than 16 bytes; allowed is a secret of 16 bytes or more")


@attrs.frozen(kw_only=True)
class Settings:
    """How a balancer treats exchanges. Times are seconds, sizes bytes.

    :ivar retries: further attempts on one backend when one fails at once (the tutorial balancer's three).
    :ivar retry_on: which failed attempts may be followed by another (:data:`RETRY_WORDS`, and statuses such as ``"503"``).
    :ivar retry_budget: of the exchanges in flight, how many percent may be at an attempt that repeats work which a backend may
        have done already; 100: any number (Envoy: 20).
    :ivar retry_budget_least: so many may be at one whatever the percentage says (Envoy: 3).
    :ivar backoffs: further attempts, each after a back-off, once all backends have been tried (Envoy retries once); 0: none.
    :ivar hedge: percentile of latency after which an idempotent request is sent to a second backend as well; 0: never.
    :ivar slow_start: seconds over which the share of a backend that recovered, or was added, grows from 10 % to its whole; 0: it
        has all of it at once.
    :ivar panic: below this percentage of backends that are up, their health is ignored while one is; 0: never (Envoy: 50, which
        in a small pool sends traffic to the dead).
    :ivar sticky: name of the cookie that binds a client to the backend that answered it; empty: none.
    :ivar sticky_key: signs these cookies; empty: a random one, so that bindings end with the process.
    :ivar sticky_max_age: seconds that a binding lasts; 0: as long as the browser's session.
    :ivar queue: exchanges that may wait while all backends that are up have as many in flight as they may; 0: none
        (Envoy: 1024).
    :ivar queue_timeout: seconds that they wait at most.
    :ivar probe_interval: between two probes of one backend (nginx Plus: 5 s).
    :ivar probe_fast_interval: between two probes while a backend is on its way up or down; 0: as :attr:`probe_interval`.
    :ivar probe_down_interval: between two probes of one that is down; 0: as :attr:`probe_interval`.
    :ivar probe_jitter: percentage of the interval by which a probe may be late (HAProxy's ``spread-checks`` advises 2 to 5).
    :ivar probe_timeout: bound of one probe.
    :ivar probe_rise: successful probes in a row after which a backend that is down is up (HAProxy: 2; nginx Plus, Caddy: 1).
    :ivar probe_fall: failed ones in a row after which one that is up is down (HAProxy: 3; nginx Plus, Caddy: 1).
    :ivar probe_concurrency: probes at once at most.
    :ivar eject_failures: failures in a row within :attr:`eject_window` after which traffic takes a backend out; 0: never
        (Envoy: 5).
    :ivar eject_window: seconds that failures in a row count (Traefik's window: 10 s).
    :ivar eject_time: seconds that the first ejection lasts; each further one twice as long as the one before it.
    :ivar eject_limit: seconds that one lasts at most (Envoy: 300 s).
    :ivar eject_share: percentage of the backends that traffic may take out (Envoy: 10, too little for small pools); one always.
    :ivar outliers: by what else a backend that differs from the others is taken out: ``"success-rate"``, ``"latency"``.
    :ivar connect_timeout: to connect to a backend (Caddy: 3 s).
    :ivar attempt_timeout: from the beginning of an attempt to its response's head; 0: any.
    :ivar exchange_timeout: from a request's head to its response's, with all attempts and waits; 0: any (Envoy's route
        time-out is 15 s, and cuts long responses too).
    :ivar response_timeout: from the request to the response's head.
    :ivar handshake_timeout: for a client's TLS handshake (it takes two round trips; nginx and Traefik have 60 s and 10 s).
    :ivar certificate_check: between two looks at whether certificates' files have changed; 0: never.
    :ivar redirect_to_https: whether a request that did not come over TLS is sent to the same place under ``https`` (308).
    :ivar hsts: seconds for which browsers are told to come over TLS only (RFC 6797), in responses over TLS; 0: they are not.
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
    retry_on: tuple[str, ...] = attrs.field(default=("connect", "reset", "timeout"), converter=_retry_on)
    retry_budget: int = attrs.field(default=20, validator=_percent)
    retry_budget_least: int = attrs.field(default=3, validator=_number(0, 1_000_000, int))
    backoffs: int = attrs.field(default=2, validator=_number(0, 100, int))
    hedge: float = attrs.field(default=0.0, validator=_hedge)
    slow_start: float = attrs.field(default=0.0, validator=_seconds_or_none)
    panic: int = attrs.field(default=0, validator=_percent)
    sticky: str = attrs.field(default="", validator=_cookie_name)
    sticky_key: bytes = attrs.field(default=b"", validator=_secret, repr=False)
    sticky_max_age: int = attrs.field(default=0, validator=_number(0, 400 * 86400, int, " (seconds)"))
    queue: int = attrs.field(default=256, validator=_number(0, 1_000_000, int))
    queue_timeout: float = attrs.field(default=10.0, validator=_seconds)
    probe_interval: float = attrs.field(default=5.0, validator=_seconds)
    probe_fast_interval: float = attrs.field(default=0.0, validator=_seconds_or_none)
    probe_down_interval: float = attrs.field(default=0.0, validator=_seconds_or_none)
    probe_jitter: int = attrs.field(default=10, validator=_number(0, 50, int, " (percent)"))
    probe_timeout: float = attrs.field(default=2.0, validator=_seconds)
    probe_rise: int = attrs.field(default=1, validator=_number(1, 100, int))
    probe_fall: int = attrs.field(default=1, validator=_number(1, 100, int))
    probe_concurrency: int = attrs.field(default=100, validator=_number(1, 10_000, int))
    eject_failures: int = attrs.field(default=3, validator=_number(0, 1000, int))
    eject_window: float = attrs.field(default=10.0, validator=_seconds)
    eject_time: float = attrs.field(default=10.0, validator=_seconds)
    eject_limit: float = attrs.field(default=300.0, validator=_seconds)
    eject_share: int = attrs.field(default=50, validator=_percent)
    outliers: tuple[str, ...] = attrs.field(default=("success-rate",), converter=_outliers)
    connect_timeout: float = attrs.field(default=3.0, validator=_seconds)
    attempt_timeout: float = attrs.field(default=0.0, validator=_seconds_or_none)
    exchange_timeout: float = attrs.field(default=0.0, validator=_seconds_or_none)
    response_timeout: float = attrs.field(default=30.0, validator=_seconds)
    handshake_timeout: float = attrs.field(default=10.0, validator=_seconds)
    certificate_check: float = attrs.field(default=10.0, validator=_seconds_or_none)
    redirect_to_https: bool = attrs.field(default=False, validator=_flag)
    hsts: int = attrs.field(default=0, validator=_number(0, 10 * 366 * 86400, int, " (seconds)"))
    header_timeout: float = attrs.field(default=10.0, validator=_seconds)
    idle_timeout: float = attrs.field(default=60.0, validator=_seconds)
    body_rate: int = attrs.field(default=1024, validator=_number(0, 1 << 30, int))
    body_grace: float = attrs.field(default=10.0, validator=_seconds)
    write_timeout: float = attrs.field(default=60.0, validator=_seconds)
    tunnel_timeout: float = attrs.field(default=3600.0, validator=_seconds)
    drain: float = attrs.field(default=30.0, validator=_seconds_or_none)
    drain_delay: float = attrs.field(default=0.0, validator=_seconds_or_none)
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
