"""The options that are settings of the balancer: their help, and how their values are written.

Defaults and ranges stand in :mod:`lbproxy.settings` alone.
"""

from __future__ import annotations

from typing import Any

import attrs

from .errors import ConfigurationError
from .settings import Settings

__all__ = ["FLAGS", "SETTINGS", "SIZES", "default", "value"]

#: Those that have a value.
SETTINGS = {
    "retries": "further attempts on one backend, when one fails at once, before it is taken for down",
    "retry-on": "all failures after which another backend is tried: connect, reset, timeout, statuses such as 503; or none",
    "retry-budget": "percentage of the exchanges in flight that may repeat what a backend may have done already; 100: any",
    "retry-budget-least": "exchanges that may do so whatever the percentage says",
    "backoffs": "further attempts, each after a back-off of up to 250 ms, when all backends were tried",
    "hedge": "percentile of latency after which a GET and the like is sent to a second backend too; 0: never",
    "attempt-timeout": "seconds from an attempt's beginning to the head of its response; 0: any",
    "exchange-timeout": "seconds from a request's head to its response's, with all attempts and waits; 0: any",
    "connect-timeout": "seconds to connect to a backend",
    "response-timeout": "seconds from a request to the head of its response",
    "queue": "exchanges that may wait while each backend has as many as its :max-in-flight",
    "queue-timeout": "seconds that they wait at most",
    "sticky": "name of a cookie that keeps a client at the backend that answered it first",
    "sticky-max-age": "seconds that the cookie lasts; 0: as long as the browser's session",
    "slow-start": "seconds in which the share of a backend that recovered or was added grows from 10 % to all; 0: none",
    "panic": "percentage of backends below which, as long as one is up, their health is ignored; 0: never",
    "probe-interval": "seconds between two probes of a backend",
    "probe-fast-interval": "the same for one that is on its way up or down; 0: --probe-interval",
    "probe-down-interval": "the same for one that is down; 0: --probe-interval",
    "probe-jitter": "percentage of the interval by which a probe may be late",
    "probe-timeout": "seconds after which a probe has failed",
    "probe-rise": "good probes in a row after which a backend is up",
    "probe-fall": "failed probes in a row after which it is down",
    "probe-concurrency": "probes at once at most",
    "eject-failures": "failures in a row after which a backend is taken out for a while; 0: never",
    "eject-window": "seconds that failures in a row count",
    "eject-time": "seconds for which it is taken out first; each further time it is twice as long",
    "eject-limit": "seconds for which it is taken out at most",
    "eject-share": "percentage of the backends that traffic may take out so, one always; 0: none",
    "outliers": "in what a backend must not differ too much from the others: success-rate, latency; or none",
    "handshake-timeout": "seconds for a client's TLS handshake",
    "certificate-check": "seconds between two looks at whether certificates' files have changed; 0: never",
    "hsts": "seconds for which browsers are told over TLS to come over TLS only (Strict-Transport-Security); 0: they are not",
    "header-timeout": "seconds from the first byte of a request's head to its last",
    "idle-timeout": "seconds for which a kept-alive connection may be silent, and either side in mid-body",
    "body-rate": "bytes a second that a request's body must come at on average, after --body-grace; 0: any",
    "body-grace": "seconds that a request's body may take at any rate",
    "write-timeout": "seconds for which a client may read nothing of its response",
    "tunnel-timeout": "seconds for which both sides of a tunnel may be silent",
    "drain": "seconds that exchanges and tunnels have to end, once it is told to stop",
    "drain-delay": "seconds for which /healthz fails before the listeners close, once it is told to stop",
    "head-limit": "bytes of a request's head, and of a response's",
    "field-limit": "header fields in a head",
    "target-limit": "bytes of a request's target",
    "body-limit": "bytes of a request's body; 0: any",
    "max-connections": "client connections in all; 0: half of the files that the process may open, less 100",
    "connection-requests": "requests on one client connection; 0: any",
    "via": "name under which it adds itself to Via, in requests and responses",
}
#: Those of them that are bytes, and may be written as k, m or g.
SIZES = frozenset(("body-rate", "head-limit", "target-limit", "body-limit"))
#: The settings that an option without a value switches on.
FLAGS = {
    "forwarded": "write Forwarded (RFC 7239) too, and believe it before X-Forwarded-For from --trusted-proxies",
    "allow-underscores": "let on request fields with _ in their names, which many backends take for -",
    "redirect-to-https": "send requests that did not come over TLS to the same place under https, by 308",
    "abort-on-close": "take a client that ends its sending for gone, instead of giving it its response",
}

_SUFFIXES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _given_default(option: str) -> Any:
    return getattr(attrs.fields(Settings), option.replace("-", "_")).default


def default(option: str) -> str | None:
    """A setting's default as an operator would write it; None where it is nothing."""
    value = _given_default(option)
    if isinstance(value, tuple):
        return ",".join(value)
    if not isinstance(value, (int, float)):
        return value or None
    if option in SIZES:
        for suffix, factor in sorted(_SUFFIXES.items(), key=lambda item: -item[1]):
            if value and value % factor == 0:
                return f"{value // factor}{suffix}"
    return f"{value:g}"


def value(option: str, text: str) -> Any:
    """Read a setting's value.

    :raises ConfigurationError: names the option, says what was given and what is allowed.
    """
    like = _given_default(option)
    if isinstance(like, tuple):
        read: Any = tuple(word.strip() for word in text.split(","))
    else:
        read = text if isinstance(like, str) else _number(text, type(like), option in SIZES)
    name = option.replace("-", "_")
    try:
        return getattr(Settings(**{name: read}), name)
    except ConfigurationError as error:
        if isinstance(like, tuple):
            raise ConfigurationError("\n".join(f"--{line}" for line in str(error).splitlines())) from None
        _, _, allowed = str(error).partition("; ")
        sizes = " (bytes; k, m and g stand for KiB, MiB and GiB)" if option in SIZES else ""
        raise ConfigurationError(f"--{option}: {text!r} was given; {allowed}{sizes}") from None


def _number(text: str, kind: type[float], size: bool) -> float:
    """Read a number; -1, which no setting takes, for what is none, so that Settings says what it does take."""
    factor = 1
    if size and text[-1:].lower() in _SUFFIXES:
        text, factor = text[:-1], _SUFFIXES[text[-1:].lower()]
    try:
        return kind(text) * factor if text.isascii() and "_" not in text else -1  # Python would take 1_0 for ten
    except ValueError:
        return -1
