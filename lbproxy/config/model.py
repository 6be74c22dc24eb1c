"""The configuration: everything that an operator can say, as frozen values. Pure.

A file's keys are the options' names; what is said at its top is said of the site and of all pools, what is said in a
``[pools.NAME]`` table of that pool alone. Defaults stand in :class:`~lbproxy.settings.Settings` and here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, NoneType
from typing import Any

import attrs

from ..balance.backend import Backend
from ..cores import cores
from ..errors import ConfigurationError
from ..health.spec import ProbeSpec
from ..routing.model import Route
from ..settings import Settings

__all__ = ["MOST_WORKERS", "OF_THE_SITE", "POOL_SETTINGS", "AccessLogFile", "Certificates", "Configuration", "PoolConfiguration"]

#: What stands for a pool's settings where none were said: it has the site's (:func:`lbproxy.config.in_python.completed`).
OF_THE_SITE = Settings()

#: Workers at most.
MOST_WORKERS = 256
#: Seconds between a worker's signs of life, at least and at most.
_HEARTBEATS = (0.1, 3600.0)

#: The settings that can be said of each pool; the others are the site's.
POOL_SETTINGS = frozenset((
    "retries", "retry_on", "retry_budget", "retry_budget_least", "backoffs", "hedge", "slow_start", "panic", "sticky",
    "sticky_key", "sticky_max_age", "queue", "queue_timeout", "probe_interval", "probe_fast_interval", "probe_down_interval",
    "probe_jitter", "probe_timeout", "probe_rise", "probe_fall", "probe_concurrency", "eject_failures", "eject_window",
    "eject_time", "eject_limit", "eject_share", "outliers", "connect_timeout", "attempt_timeout", "exchange_timeout",
    "response_timeout", "tunnel_timeout", "upstream_idle", "upstream_idle_timeout",
))  # fmt: skip


# Who makes one in Python may give any list: values that are equal compare equal, and nobody can change them.
# Errors name the attribute.

_Field = attrs.Attribute


def _several(given: Any) -> Any:
    """A tuple of any list."""
    listed = isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping))
    return tuple(given) if listed else given


def _unchangeable(given: Any) -> Any:
    return MappingProxyType(dict(given)) if isinstance(given, Mapping) else given


def _read_backends(given: Any) -> Any:
    """Texts are read as the command line's are; those that cannot be are left to the validator."""
    several = _several(given)
    return tuple(map(_backend, several)) if isinstance(several, tuple) else several


def _backend(given: Any) -> Any:
    try:
        return Backend.parse(given) if isinstance(given, str) else given
    except ConfigurationError:
        return given


def _counted(given: Any) -> Any:
    return min(cores(), MOST_WORKERS) if isinstance(given, str) and given == "auto" else given


def _read_probe(given: Any) -> Any:
    return ProbeSpec.parse(given) if isinstance(given, str) else given


_Validator = Callable[[object, "attrs.Attribute[Any]", Any], None]


def _wrong(name: str, value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"{name}: {value!r} was given; allowed is {allowed}")


def _a(*kinds: type, words: str) -> _Validator:
    """It is of one of these types."""

    def validate(instance: object, attribute: _Field[Any], value: Any) -> None:
        if not isinstance(value, kinds):
            raise _wrong(attribute.name, value, words)

    return validate


def _all(kind: type, words: str) -> _Validator:
    """A list of values of this type."""

    def validate(instance: object, attribute: _Field[Any], value: Any) -> None:
        if not isinstance(value, tuple):
            raise _wrong(attribute.name, value, f"a list, each of it {words}")
        places = [place for place, one in enumerate(value) if not isinstance(one, kind)]
        problems = [_wrong(f"{attribute.name}[{place}]", value[place], words) for place in places]
        if problems:
            raise ConfigurationError("\n".join(map(str, problems)))

    return validate


def _name(instance: object, attribute: _Field[Any], value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(attribute.name, value, "a text that is not empty")


def _workers(instance: object, attribute: _Field[Any], value: Any) -> None:
    if type(value) is not int or not 1 <= value <= MOST_WORKERS:
        raise _wrong(attribute.name, value, f"a whole number from 1 to {MOST_WORKERS}, or 'auto' for one a core")


def _heartbeat(instance: object, attribute: _Field[Any], value: Any) -> None:
    least, most = _HEARTBEATS
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise _wrong(attribute.name, value, f"a number of seconds from {least:g} to {most:g}")


def _filters(instance: object, attribute: _Field[Any], value: Any) -> None:
    if not isinstance(value, Mapping):
        raise _wrong(attribute.name, value, "a dict of filters by their names")
    for name in value:
        if not isinstance(name, str) or not name:
            raise _wrong(attribute.name, name, "a filter's name, a text that is not empty")


_TEXT = _a(str, words="a text")
_TEXT_OR_NONE = _a(str, NoneType, words="a text, or None")
_FLAG = _a(bool, words="a truth value, True or False")
_TEXTS = _all(str, "a text")
_TEXTS_OR_NONE = attrs.validators.optional(_TEXTS)
_SETTINGS = _a(Settings, words="a Settings")


@attrs.frozen(kw_only=True)
class Certificates:
    """What clients are shown over TLS; :class:`lbproxy.tls.store.CertificateStore` says what each means."""

    files: tuple[str, ...] = attrs.field(converter=_several, validator=_TEXTS)
    default: str | None = attrs.field(default=None, validator=_TEXT_OR_NONE)
    reject_unknown_names: bool = attrs.field(default=False, validator=_FLAG)
    profile: str = attrs.field(default="intermediate", validator=_TEXT)
    client_ca: str | None = attrs.field(default=None, validator=_TEXT_OR_NONE)
    client_auth: str | None = attrs.field(default=None, validator=_TEXT_OR_NONE)


@attrs.frozen(kw_only=True)
class AccessLogFile:
    """Where a line about each exchange goes.

    :ivar path: ``-`` is standard output.
    :ivar explain: whether each line says why the exchange went where it went.
    """

    path: str = attrs.field(validator=_TEXT)
    format: str = attrs.field(default="combined", validator=_TEXT)
    explain: bool = attrs.field(default=False, validator=_FLAG)


@attrs.frozen(kw_only=True)
class PoolConfiguration:
    """One pool.

    :ivar backends: as they are named here; empty where a file names them. Texts are read as the command line's are.
    :ivar backends_file: a file that names them, and is watched; empty: none.
    :ivar policy: as :func:`lbproxy.policies.policy_maker` reads it.
    :ivar probe: how they are probed; a text such as ``http:/healthz`` is read as the option is.
    :ivar settings: all that holds for this pool, the site's being no more asked; if none are given, the site's.
    :ivar backend_ca: PEM file with the authorities of their certificates; None: the system's.
    :ivar backend_certificate: what they are shown.
    """

    name: str = attrs.field(default="default", validator=_name)
    backends: tuple[Backend, ...] = attrs.field(
        default=(), converter=_read_backends, validator=_all(Backend, "a Backend, or a text such as '10.0.0.1:8000'")
    )
    backends_file: str = attrs.field(default="", validator=_TEXT)
    policy: str = attrs.field(default="round-robin", validator=_TEXT)
    probe: ProbeSpec = attrs.field(
        factory=lambda: ProbeSpec.parse(None), converter=_read_probe, validator=_a(ProbeSpec, words="a ProbeSpec, or its text")
    )
    settings: Settings = attrs.field(factory=lambda: OF_THE_SITE, validator=_SETTINGS)
    backend_ca: str | None = attrs.field(default=None, validator=_TEXT_OR_NONE)
    backend_certificate: str | None = attrs.field(default=None, validator=_TEXT_OR_NONE)


@attrs.frozen(kw_only=True)
class Configuration:
    """All of it.

    :ivar listen: endpoint descriptions; *tls_listen* likewise, where TLS is spoken. None: where
        :func:`lbproxy.listener.where_to_listen` says.
    :ivar admin: endpoint description of the operators' listener; None: none.
    :ivar settings: the site's, and the pools' defaults.
    :ivar pools: in order; at least one, unless all routes lead elsewhere.
    :ivar routes: in order; without any, all exchanges go to the only pool.
    :ivar filters: those that stand by themselves, by name (:class:`lbproxy.routing.filter.FilterSpec`).
    :ivar default_filters: names of those that every route has before its own.
    :ivar state_file: keeps over a restart what was told by the admin listener; empty: nothing is kept.
    :ivar workers: processes that carry exchanges, for ``twistd lbproxy``; ``auto`` is as many as there are cores
        (:func:`lbproxy.cores.cores`).
    :ivar worker_heartbeat: seconds; a worker that has said nothing for twice as long is killed, and replaced.
    :ivar watch: whether the files that this was read from are watched, and read anew when they change.
    """

    listen: tuple[str, ...] | None = attrs.field(default=None, converter=_several, validator=_TEXTS_OR_NONE)
    tls_listen: tuple[str, ...] | None = attrs.field(default=None, converter=_several, validator=_TEXTS_OR_NONE)
    certificates: Certificates | None = attrs.field(
        default=None, validator=_a(Certificates, NoneType, words="a Certificates, or None")
    )
    admin: str | None = attrs.field(default=None, validator=_TEXT_OR_NONE)
    admin_writable: bool = attrs.field(default=False, validator=_FLAG)
    access_log: AccessLogFile | None = attrs.field(
        default=None, validator=_a(AccessLogFile, NoneType, words="an AccessLogFile, or None")
    )
    settings: Settings = attrs.field(factory=Settings, validator=_SETTINGS)
    pools: tuple[PoolConfiguration, ...] = attrs.field(
        default=(), converter=_several, validator=_all(PoolConfiguration, "a PoolConfiguration")
    )
    routes: tuple[Route, ...] = attrs.field(default=(), converter=_several, validator=_all(Route, "a Route"))
    filters: Mapping[str, Any] = attrs.field(default=MappingProxyType({}), converter=_unchangeable, validator=_filters)
    default_filters: tuple[str, ...] = attrs.field(default=(), converter=_several, validator=_TEXTS)
    state_file: str = attrs.field(default="", validator=_TEXT)
    watch: bool = attrs.field(default=False, validator=_FLAG)
    workers: int = attrs.field(default=1, converter=_counted, validator=_workers)
    worker_heartbeat: float = attrs.field(default=5.0, validator=_heartbeat)

    @property
    def pools_by_name(self) -> dict[str, PoolConfiguration]:
        """The pools by their names."""
        return {pool.name: pool for pool in self.pools}
