"""The configuration: everything that an operator can say, as frozen values. Pure.

A file's keys are the options' names; what is said at its top is said of the site and of all pools, what is said in a
``[pools.NAME]`` table of that pool alone. Defaults stand in :class:`~lbproxy.settings.Settings` and here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

from ..balance.backend import Backend
from ..errors import ConfigurationError
from ..health.spec import ProbeSpec
from ..routing.model import Route
from ..settings import Settings

__all__ = ["POOL_SETTINGS", "AccessLogFile", "Certificates", "Configuration", "PoolConfiguration"]

#: The settings that can be said of each pool; the others are the site's.
POOL_SETTINGS = frozenset((
    "retries", "retry_on", "retry_budget", "retry_budget_least", "backoffs", "hedge", "slow_start", "panic", "sticky",
    "sticky_key", "sticky_max_age", "queue", "queue_timeout", "probe_interval", "probe_fast_interval", "probe_down_interval",
    "probe_jitter", "probe_timeout", "probe_rise", "probe_fall", "probe_concurrency", "eject_failures", "eject_window",
    "eject_time", "eject_limit", "eject_share", "outliers", "connect_timeout", "attempt_timeout", "exchange_timeout",
    "response_timeout", "tunnel_timeout", "upstream_idle", "upstream_idle_timeout",
))  # fmt: skip


# Who makes one in Python may give any list: values that are equal compare equal, and nobody can change them.


def _several(given: Any) -> tuple[Any, ...]:
    if isinstance(given, str):
        raise ConfigurationError(f"{given!r} was given; allowed is a list")
    return tuple(given)


def _several_or_none(given: Any) -> tuple[Any, ...] | None:
    return None if given is None else _several(given)


def _unchangeable(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(given))


@attrs.frozen(kw_only=True)
class Certificates:
    """What clients are shown over TLS; :class:`lbproxy.tls.store.CertificateStore` says what each means."""

    files: tuple[str, ...] = attrs.field(converter=_several)
    default: str | None = None
    reject_unknown_names: bool = False
    profile: str = "intermediate"
    client_ca: str | None = None
    client_auth: str | None = None


@attrs.frozen(kw_only=True)
class AccessLogFile:
    """Where a line about each exchange goes.

    :ivar path: ``-`` is standard output.
    :ivar explain: whether each line says why the exchange went where it went.
    """

    path: str
    format: str = "combined"
    explain: bool = False


@attrs.frozen(kw_only=True)
class PoolConfiguration:
    """One pool.

    :ivar backends: as they are named here; empty where a file names them.
    :ivar backends_file: a file that names them, and is watched; empty: none.
    :ivar policy: as :func:`lbproxy.policies.policy_maker` reads it.
    :ivar probe: how they are probed.
    :ivar settings: the site's, with what is said of this pool.
    :ivar backend_ca: PEM file with the authorities of their certificates; None: the system's.
    :ivar backend_certificate: what they are shown.
    """

    name: str = "default"
    backends: tuple[Backend, ...] = attrs.field(default=(), converter=_several)
    backends_file: str = ""
    policy: str = "round-robin"
    probe: ProbeSpec = attrs.field(factory=lambda: ProbeSpec.parse(None))
    settings: Settings = attrs.field(factory=Settings)
    backend_ca: str | None = None
    backend_certificate: str | None = None


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
    :ivar watch: whether the files that this was read from are watched, and read anew when they change.
    """

    listen: tuple[str, ...] | None = attrs.field(default=None, converter=_several_or_none)
    tls_listen: tuple[str, ...] | None = attrs.field(default=None, converter=_several_or_none)
    certificates: Certificates | None = None
    admin: str | None = None
    admin_writable: bool = False
    access_log: AccessLogFile | None = None
    settings: Settings = attrs.field(factory=Settings)
    pools: tuple[PoolConfiguration, ...] = attrs.field(default=(), converter=_several)
    routes: tuple[Route, ...] = attrs.field(default=(), converter=_several)
    filters: Mapping[str, Any] = attrs.field(default=MappingProxyType({}), converter=_unchangeable)
    default_filters: tuple[str, ...] = attrs.field(default=(), converter=_several)
    state_file: str = ""
    watch: bool = False

    @property
    def pools_by_name(self) -> dict[str, PoolConfiguration]:
        """The pools by their names."""
        return {pool.name: pool for pool in self.pools}
