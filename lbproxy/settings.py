"""The settings of a balancer: one frozen value, its defaults, and where each default comes from."""

from __future__ import annotations

from typing import Any

import attrs

from .errors import ConfigurationError

__all__ = ["Settings"]


def _number(low: float, high: float, kind: type = float, unit: str = "") -> Any:
    """A validator: the value is a number from *low* to *high*; the error names what was given and what is allowed."""
    types, words = ((int,), "a whole number") if kind is int else ((int, float), "a number")

    def validate(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, types) or not low <= value <= high:
            name = attribute.name.replace("_", "-")
            raise ConfigurationError(f"{name}: {value!r} was given; allowed is {words} from {low:.16g} to {high:.16g}{unit}")

    return validate


_seconds = _number(0.01, 86400, unit=" (seconds)")


@attrs.frozen(kw_only=True)
class Settings:
    """How a balancer treats exchanges. Times are seconds, sizes bytes.

    :ivar retries: further attempts on one backend when one fails at once (the tutorial balancer's three).
    :ivar probe_interval: between two probes of one backend, with 10 % jitter (nginx Plus: 5 s).
    :ivar probe_timeout: bound of one probe.
    :ivar connect_timeout: to connect to a backend (Caddy: 3 s).
    :ivar response_timeout: from the request to the response's head.
    :ivar idle_timeout: a kept-alive client connection without a request, and silence in mid-body on either side (nginx: 60 s).
    :ivar upstream_idle: idle connections kept for each backend (nginx's ``keepalive 32``).
    :ivar upstream_idle_timeout: how long one of them is kept (nginx: 60 s).
    :ivar replay_limit: how much of a request's body is kept for another attempt (Pingora: 64 KiB).
    :ivar head_limit: size of a request's or response's head, the start line included (HAProxy: 16 KiB).
    :ivar field_limit: header fields in a head (HAProxy and Envoy: 100).
    :ivar target_limit: length of a request target; RFC 9112 section 3 asks for 8000 at least.
    """

    retries: int = attrs.field(default=3, validator=_number(0, 100, int))
    probe_interval: float = attrs.field(default=5.0, validator=_seconds)
    probe_timeout: float = attrs.field(default=2.0, validator=_seconds)
    connect_timeout: float = attrs.field(default=3.0, validator=_seconds)
    response_timeout: float = attrs.field(default=30.0, validator=_seconds)
    idle_timeout: float = attrs.field(default=60.0, validator=_seconds)
    upstream_idle: int = attrs.field(default=32, validator=_number(0, 100_000, int))
    upstream_idle_timeout: float = attrs.field(default=60.0, validator=_seconds)
    replay_limit: int = attrs.field(default=64 * 1024, validator=_number(0, 1 << 30, int))
    head_limit: int = attrs.field(default=16 * 1024, validator=_number(256, 1 << 20, int))
    field_limit: int = attrs.field(default=100, validator=_number(1, 10_000, int))
    target_limit: int = attrs.field(default=8 * 1024, validator=_number(16, 1 << 20, int))
