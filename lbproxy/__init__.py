"""A layer-7 load balancer for Twisted."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .balance.backend import Backend, parse_backends
from .balance.policy import Policy
from .balance.pool import Pool
from .balance.state import Change, Verdict, Wish
from .http1.answers import Answer
from .policies import policy_maker
from .routing.filter import Filter, FilterContext
from .settings import Settings

if TYPE_CHECKING:
    from .config.model import AccessLogFile, Certificates, Configuration, PoolConfiguration
    from .config.reading import read_configuration
    from .health.spec import ProbeSpec
    from .option_config import ConfigurationFile
    from .resource import LoadBalancerResource
    from .routing.filters.in_python import filter_spec
    from .routing.model import FixedAnswer, Match, Mirror, Redirect, Route, Split, StaticFiles
    from .service import LoadBalancerService
    from .tls.backends import BackendTls
    from .tls.store import CertificateStore
    from .tls.watch import CertificateWatch

__version__ = "0.1.0"

__all__ = [
    "AccessLogFile",
    "Answer",
    "Backend",
    "BackendTls",
    "CertificateStore",
    "CertificateWatch",
    "Certificates",
    "Change",
    "Configuration",
    "ConfigurationFile",
    "Filter",
    "FilterContext",
    "FixedAnswer",
    "LoadBalancerResource",
    "LoadBalancerService",
    "Match",
    "Mirror",
    "Policy",
    "Pool",
    "PoolConfiguration",
    "ProbeSpec",
    "Redirect",
    "Route",
    "Settings",
    "Split",
    "StaticFiles",
    "Verdict",
    "Wish",
    "__version__",
    "filter_spec",
    "parse_backends",
    "policy_maker",
    "read_configuration",
]

# These are looked up when they are first asked for: twisted.web.proxy, which the first two need, imports the reactor, and whoever
# imports lbproxy (an application before it has installed its own reactor) must not get one by that; the others load OpenSSL, or
# what only those need who have a configuration.
_LATER = {
    "LoadBalancerResource": ".resource",
    "LoadBalancerService": ".service",
    "BackendTls": ".tls.backends",
    "CertificateStore": ".tls.store",
    "CertificateWatch": ".tls.watch",
    **dict.fromkeys(("AccessLogFile", "Certificates", "Configuration", "PoolConfiguration"), ".config.model"),
    **dict.fromkeys(("FixedAnswer", "Match", "Mirror", "Redirect", "Route", "Split", "StaticFiles"), ".routing.model"),
    "ConfigurationFile": ".option_config",
    "ProbeSpec": ".health.spec",
    "filter_spec": ".routing.filters.in_python",
    "read_configuration": ".config.reading",
}


def __getattr__(name: str) -> Any:
    """Import what :data:`_LATER` names."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name], __name__), name)
    return value


def __dir__() -> list[str]:
    """The names that come later, too."""
    return sorted({*globals(), *_LATER})
