"""lbproxy, and what Twisted has without it."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from importlib.util import find_spec

from bench.balancers.base import Balancer, Launch, Order
from bench.connecting import HOST
from bench.processes import CHECKOUT

# What the ``twistd`` script does, run by this very interpreter.
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]

# So that the checkout's lbproxy and bench are found whatever else is installed.
ENVIRONMENT = {"PYTHONPATH": str(CHECKOUT)}


def launch_lbproxy(order: Order) -> Launch:
    """``twistd lbproxy`` with its defaults, probes and metrics among them."""
    options = [
        f"--backends={','.join(order.backends)}",
        f"{'--tls-listen' if order.certificate else '--listen'}=tcp:{order.port}:interface={HOST}",
        f"--admin=tcp:{order.admin_port}:interface={HOST}",
    ]
    if order.access_log:
        options.append(f"--access-log={order.access_log}")
    if order.certificate:
        options.append(f"--certificate={order.certificate}")
    if order.policy:
        options.append(f"--policy={order.policy}")
    if order.workers > 1:
        options.append(f"--workers={order.workers}")
    return Launch([*TWISTD, "-n", "--pidfile=", "lbproxy", *options], ENVIRONMENT)


def launch_lbproxy_config(order: Order) -> Launch:
    """The same said in a file, with a route for everything."""
    said = {
        "backends": list(order.backends),
        "tls-listen" if order.certificate else "listen": f"tcp:{order.port}:interface={HOST}",
        "admin": f"tcp:{order.admin_port}:interface={HOST}",
        "access-log": str(order.access_log or ""),
        "certificate": str(order.certificate or ""),
        "policy": order.policy,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in said.items() if value]
    path = order.write("lb.toml", "\n".join([*lines, "", "[[routes]]", 'pool = "default"', ""]))
    return Launch([*TWISTD, "-n", "--pidfile=", "lbproxy", f"--config={path}"], ENVIRONMENT)


def launch_script(module: str, order: Order) -> Launch:
    """One of ``bench.servers``."""
    command = [sys.executable, "-m", f"bench.servers.{module}", f"--port={order.port}", *order.backends]
    if order.access_log:
        command.insert(-len(order.backends), f"--access-log={order.access_log}")
    return Launch(command, ENVIRONMENT)


def launch_resource(order: Order) -> Launch:
    """A tree of ``twisted.web`` with lbproxy's resource in it."""
    return launch_script("resource_tree", order)


def launch_reverse_proxy(order: Order) -> Launch:
    """Twisted's own resource."""
    return launch_script("reverse_proxy", order)


def launch_site_agent(order: Order) -> Launch:
    """The proxy one would write by hand."""
    return launch_script("site_agent", order)


def missing_lbproxy() -> str:
    """Say whether there is an lbproxy to measure."""
    return missing_module("lbproxy.tap")


def missing_resource() -> str:
    """Say whether there is a resource of lbproxy to measure."""
    return missing_module("lbproxy.resource")


def missing_twisted() -> str:
    """Say whether Twisted is there."""
    return missing_module("twisted.web")


def missing_module(name: str) -> str:
    """Say that a module cannot be imported; empty when it can."""
    try:
        spec = find_spec(name)
    except ImportError as error:
        return str(error)
    return "" if spec else f"no module {name}"


def distribution_version(name: str) -> str:
    """Return an installed distribution's version, or "checkout" when only its source is here."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "checkout"


def lbproxy_version() -> str:
    """Return lbproxy's version, with those of Twisted and the interpreter, which matter as much."""
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{distribution_version('lbproxy')} (Twisted {twisted_version()}, Python {python})"


def twisted_version() -> str:
    """Return Twisted's version."""
    return distribution_version("Twisted")


LBPROXY = Balancer("lbproxy", "twistd lbproxy", launch_lbproxy, missing_lbproxy, lbproxy_version)
LBPROXY_CONFIG = Balancer(
    "lbproxy-config",
    "twistd lbproxy --config, with a route",
    launch_lbproxy_config,
    missing_lbproxy,
    lbproxy_version,
)
RESOURCE = Balancer(
    "lbproxy-resource",
    "LoadBalancerResource in a tree of twisted.web",
    launch_resource,
    missing_resource,
    lbproxy_version,
    server=False,
)
REVERSE_PROXY = Balancer(
    "twisted-rpr",
    "ReverseProxyResource as Twisted has it, one backend",
    launch_reverse_proxy,
    missing_twisted,
    twisted_version,
    one_backend=True,
    server=False,
)
SITE_AGENT = Balancer(
    "site-agent",
    "twisted.web Site and Agent, with a connection pool",
    launch_site_agent,
    missing_twisted,
    twisted_version,
    server=False,
)
