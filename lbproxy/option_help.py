"""The help of ``twistd lbproxy``: its options in the order in which they are thought of, the README's, and examples."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

__all__ = ["EXAMPLES", "GROUPS", "options_help"]

#: Every option, by what it is about.
GROUPS = {
    "One file for everything": ("config", "check", "print-config", "explain", "plan", "watch", "state-file"),
    "Backends and listeners": ("backends", "listen", "demo"),
    "All cores": ("workers", "worker-heartbeat"),
    "TLS": (
        "tls-listen", "certificate", "default-certificate", "reject-unknown-names", "tls-profile", "client-ca", "client-auth",
        "certificate-check", "redirect-to-https", "hsts", "backend-ca", "backend-certificate",
    ),
    "Balancing": ("policy", "sticky", "sticky-key-file", "sticky-max-age", "slow-start", "panic", "queue", "queue-timeout"),
    "Health": (
        "probe", "probe-status", "probe-body", "probe-header", "probe-host", "probe-port", "probe-interval",
        "probe-fast-interval", "probe-down-interval", "probe-jitter", "probe-timeout", "probe-rise", "probe-fall",
        "probe-concurrency", "eject-failures", "eject-window", "eject-time", "eject-limit", "eject-share", "outliers",
    ),
    "Retries": (
        "retries", "retry-on", "retry-budget", "retry-budget-least", "backoffs", "attempt-timeout", "exchange-timeout", "hedge",
    ),
    "Times": (
        "connect-timeout", "response-timeout", "handshake-timeout", "header-timeout", "idle-timeout", "body-rate", "body-grace",
        "write-timeout", "tunnel-timeout", "drain", "drain-delay",
    ),
    "Limits": ("head-limit", "field-limit", "target-limit", "body-limit", "max-connections", "connection-requests"),
    "Whom to believe, and what to say": ("trusted-proxies", "forwarded", "via", "allow-underscores", "abort-on-close"),
    "Looking inside": (
        "admin", "admin-writable", "access-log", "access-log-format", "access-log-explain", "version", "help",
    ),
}  # fmt: skip

#: They are not wrapped, so that they can be copied.
EXAMPLES = """
Three equal backends, clients connect to port 8080:
  twistd -n lbproxy --backends 10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000

One that takes five times as much, clients connect to port 80, operators to 8081:
  twistd -n lbproxy -b 10.0.0.1:8000:weight=5 -b 10.0.0.2:8000 -l tcp:80 --admin tcp:8081:interface=127.0.0.1

To whoever is less busy, each client where it was before, backends that are new or come back warm up for 30 s:
  twistd -n lbproxy -b 10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000 --policy two-choices --sticky lb --slow-start 30

A second site that takes over as the first one fails, and a page that says sorry when both have:
  twistd -n lbproxy -b 10.0.0.1:8000,10.0.0.2:8000 -b 10.1.0.1:8000:tier=1,10.1.0.2:8000:tier=1 -b unix:/run/sorry.sock:backup

A page that must say ok, two times in a row for a backend to come back and three times not for it to go:
  twistd -n lbproxy -b 10.0.0.1:8000,10.0.0.2:8000 --probe http:/healthz --probe-body '^ok' --probe-rise 2 --probe-fall 3

Clients over TLS, by the certificates in a directory, and those on port 80 sent there:
  twistd -n lbproxy -b 10.0.0.1:8000 --tls-listen tcp:443 --certificate /etc/lbproxy/certificates -l tcp:80 --redirect-to-https

Backends over TLS, verified against an authority of your own:
  twistd -n lbproxy -b https://app.internal:8443,https://10.0.0.7:8443:verify-name=app.internal --backend-ca internal.pem

All of it in a file, with routes, pools and filters; and whether there is a mistake in it:
  twistd -n lbproxy --config lb.toml
  twistd -n lbproxy --config lb.toml --check

Just to see it work:
  twistd -n lbproxy --demo
"""


def options_help(docs: Mapping[str, str], defaults: Mapping[str, object], values: frozenset[str], width: int) -> str:
    """The options with what they mean, in groups.

    :param docs: by option, what it means.
    :param defaults: by option, its default; None for those without.
    :param values: the options that take a value.
    :param width: characters in a line.
    """
    shorts = {"backends": "-b,", "listen": "-l,"}
    first = max(len(option) for options in GROUPS.values() for option in options) + len("  -b, --=  ")
    lines = []
    for group, options in GROUPS.items():
        lines += ["", f"{group}:"]
        for option in options:
            begin = f"  {shorts.get(option, ''):3} --{option}{'=' if option in values else ''}"
            default = defaults.get(option)
            text = docs[option] if default is None or option not in values else f"{docs[option]} [default: {default}]"
            # In a narrow terminal the text is still a column and not a stack of single words.
            wrapped = textwrap.wrap(text, max(30, width - first), break_on_hyphens=False)
            lines += [f"{begin:{first}}{wrapped[0]}", *(" " * first + line for line in wrapped[1:])]
    return "\n".join([*lines, ""])
