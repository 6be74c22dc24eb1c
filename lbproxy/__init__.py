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
from .routing.filter import Filter
from .settings import Settings

if TYPE_CHECKING:
    from .resource import LoadBalancerResource
    from .service import LoadBalancerService
    from .tls.backends import BackendTls
    from .tls.store import CertificateStore
    from .tls.watch import CertificateWatch

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Backend",
    "BackendTls",
    "CertificateStore",
    "CertificateWatch",
    "Change",
    "Filter",
    "LoadBalancerResource",
    "LoadBalancerService",
    "Policy",
    "Pool",
    "Settings",
    "Verdict",
    "Wish",
    "__version__",
    "parse_backends",
    "policy_maker",
]

# These are looked up when they are first asked for: twisted.web.proxy, which the first two need, imports the reactor, and whoever
# imports lbproxy (an application before it has installed its own reactor) must not get one by that; the others load OpenSSL.
_LATER = {
    "LoadBalancerResource": ".resource",
    "LoadBalancerService": ".service",
    "BackendTls": ".tls.backends",
    "CertificateStore": ".tls.store",
    "CertificateWatch": ".tls.watch",
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
