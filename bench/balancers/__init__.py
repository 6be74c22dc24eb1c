"""The entrants of the comparison."""

from bench.balancers.base import Balancer, Launch, Order
from bench.balancers.classic import HAPROXY, NGINX
from bench.balancers.envoy import ENVOY
from bench.balancers.go import CADDY, TRAEFIK
from bench.balancers.python import LBPROXY, LBPROXY_CONFIG, RESOURCE, REVERSE_PROXY, SITE_AGENT

# In the order of their turns.
BALANCERS = (LBPROXY, LBPROXY_CONFIG, NGINX, HAPROXY, ENVOY, TRAEFIK, CADDY, RESOURCE, SITE_AGENT, REVERSE_PROXY)

__all__ = ["BALANCERS", "LBPROXY_CONFIG", "Balancer", "Launch", "Order"]
