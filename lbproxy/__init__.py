"""A layer-7 load balancer for Twisted."""

from .balance.backend import Backend
from .balance.pool import Pool
from .settings import Settings

__version__ = "0.1.0"

__all__ = ["Backend", "Pool", "Settings", "__version__"]
