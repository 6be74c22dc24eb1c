"""Which keys there are in a configuration file, where each belongs, and what it is by default."""

from __future__ import annotations

from typing import Any

import attrs

from ..balance.backend import BACKEND_OPTIONS
from ..routing.model import Match, Route
from ..settings import Settings
from .fields import field_keys
from .model import POOL_SETTINGS, AccessLogFile, Certificates, Configuration, PoolConfiguration
from .problems import Problem

__all__ = [
    "COMMA_LISTS", "EXAMPLES", "MATCH_KEYS", "NUMBER_KEYS", "PAIR_KEYS", "PATH_KEYS", "POOL_KEYS", "POOL_SETTING_KEYS",
    "PROBE_KEYS", "ROUTE_KEYS", "SETTING_KEYS", "SITE_KEYS", "SIZES", "TOP_KEYS", "default_of", "pool_hint", "route_hint",
    "top_hint", "with_example",
]  # fmt: skip

#: All settings, and those of them that can be said of each pool.
SETTING_KEYS = frozenset(field_keys(Settings))
POOL_SETTING_KEYS = frozenset(name.replace("_", "-") for name in POOL_SETTINGS)
PROBE_KEYS = ("probe", "probe-status", "probe-body", "probe-header", "probe-host", "probe-port")
#: Those whose value is a list, which as a text has commas, as on the command line.
COMMA_LISTS = frozenset(("retry-on", "outliers", "trusted-proxies"))
#: Numbers of bytes, which may be texts such as ``64k``.
SIZES = frozenset(("body-rate", "head-limit", "target-limit", "body-limit", "replay-limit"))

#: What each says, with its type, its class and its attribute there. They are said of the site.
SITE_KEYS: dict[str, tuple[Any, type, str]] = {
    "listen": (tuple[str, ...], Configuration, "listen"),
    "tls-listen": (tuple[str, ...], Configuration, "tls_listen"),
    "certificate": (tuple[str, ...], Certificates, "files"),
    "default-certificate": (str, Certificates, "default"),
    "reject-unknown-names": (bool, Certificates, "reject_unknown_names"),
    "tls-profile": (str, Certificates, "profile"),
    "client-ca": (str, Certificates, "client_ca"),
    "client-auth": (str, Certificates, "client_auth"),
    "admin": (str, Configuration, "admin"),
    "admin-writable": (bool, Configuration, "admin_writable"),
    "access-log": (str, AccessLogFile, "path"),
    "access-log-format": (str, AccessLogFile, "format"),
    "access-log-explain": (bool, AccessLogFile, "explain"),
    "default-filters": (tuple[str, ...], Configuration, "default_filters"),
    "state-file": (str, Configuration, "state_file"),
    "watch": (bool, Configuration, "watch"),
    "workers": (int, Configuration, "workers"),
    "worker-heartbeat": (float, Configuration, "worker_heartbeat"),
}
#: Those that are numbers in a range, which their attributes know.
NUMBER_KEYS = frozenset(("workers", "worker-heartbeat"))
#: Those that are paths of files. ``-`` is standard output.
PATH_KEYS = frozenset((
    "certificate", "default-certificate", "client-ca", "access-log", "state-file", "sticky-key-file", "backend-ca",
    "backend-certificate",
))  # fmt: skip
#: Those of them that may also be two, with a comma between them: certificates, and their key.
PAIR_KEYS = frozenset(("certificate", "default-certificate", "backend-certificate"))
POOL_KEYS = frozenset((
    *POOL_SETTING_KEYS, *PROBE_KEYS, "backends", "policy", "backend-ca", "backend-certificate", "sticky-key-file",
))  # fmt: skip
#: Texts that people write as something else, each with one that is right.
EXAMPLES = {
    "listen": "tcp:80",
    "tls-listen": "tcp:443",
    "admin": "tcp:8081:interface=127.0.0.1",
    "certificate": "/etc/lbproxy/site.pem",
    "access-log": "-",
    "state-file": "/var/lib/lbproxy/state.json",
    "policy": "two-choices",
    "probe": "http:/healthz",
    "probe-status": "200-399",
    "probe-header": "Name: value",
    "client-auth": "required",
}
_TABLES = ("pools", "routes", "filters")
TOP_KEYS = frozenset((*SITE_KEYS, *SETTING_KEYS, *POOL_KEYS, *_TABLES, "include"))
MATCH_KEYS = frozenset(field_keys(Match))
ROUTE_KEYS = frozenset((*MATCH_KEYS, *field_keys(Route))) - {"match"}

_COMMAND_LINE = ("config", "check", "print-config", "explain", "plan", "demo", "help", "version")
_POOL_DEFAULTS = {"policy": "policy", "backend-ca": "backend_ca", "backend-certificate": "backend_certificate"}


def default_of(key: str) -> Any:
    """What a key at the top is by default; None: nothing."""
    if key in SETTING_KEYS:
        return field_keys(Settings)[key].attribute.default
    if key in SITE_KEYS:
        _, cls, name = SITE_KEYS[key]
        default = getattr(attrs.fields(cls), name).default
        return None if default is attrs.NOTHING or default == "" else default
    return getattr(attrs.fields(PoolConfiguration), _POOL_DEFAULTS[key]).default if key in _POOL_DEFAULTS else None


def with_example(key: str, problem: Problem) -> Problem:
    """The same; what is to be a text is shown one."""
    if key in EXAMPLES and problem.message.endswith("allowed is a text"):
        return attrs.evolve(problem, message=f'{problem.message} such as "{EXAMPLES[key]}"')
    return problem


def top_hint(key: str) -> str:
    """Where a key belongs that is none at the top."""
    if key in _COMMAND_LINE:
        return "it is said on the command line alone"
    if key in ("pool", "route", "filter"):
        return f"did you mean {key}s?"
    if key in ROUTE_KEYS:
        return f"it is said of a route: [[routes]] with {key} = ..."
    return _backend_hint(key)


def pool_hint(key: str) -> str:
    """Where a key belongs that is none of a pool."""
    if key in TOP_KEYS:
        return "it is said of the whole, at the top of the file"
    if key in ROUTE_KEYS:
        return f"it is said of a route: [[routes]] with {key} = ..."
    return _backend_hint(key)


def route_hint(key: str) -> str:
    """Where a key belongs that is none of a route."""
    if key in POOL_KEYS:
        return f"it is said of a pool: [pools.NAME] with {key} = ..."
    if key in TOP_KEYS:
        return "it is said of the whole, at the top of the file"
    if key in ("pools", "weights", "canary"):
        return "several pools are said as split = { pools = { app = 95, canary = 5 } }"
    return _backend_hint(key)


def _backend_hint(key: str) -> str:
    return f'it is said of a backend: "HOST:PORT:{BACKEND_OPTIONS[key]}"' if key in BACKEND_OPTIONS else ""
