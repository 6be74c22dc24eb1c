"""The options that are said once each: their names, defaults and help, and what a shell completes them with."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.python import usage

from .observe.formats import FORMATS
from .option_values import FLAGS, SETTINGS, default
from .policies import POLICY_NAMES
from .tls.profiles import PROFILES
from .tls.store import CLIENT_AUTH

__all__ = ["COMPLETIONS", "DEFAULT_POLICY", "FLAG_ROWS", "PARAMETER_ROWS"]

DEFAULT_POLICY = "round-robin"

#: Options without a value.
FLAG_ROWS: Sequence[Sequence[str | None]] = [
    ["demo", None, "run three small example backends too, and print what to try"],
    ["admin-writable", None, "let the admin listener take POST: whoever reaches it can take backends out"],
    ["access-log-explain", None, "in the JSON access log, say why each exchange went where it went"],
    ["reject-unknown-names", None, "end the handshake of a client that asks for a name which no certificate is for"],
    ["check", None, "say whether all is right that was given, each mistake with its place, and end"],
    ["print-config", None, "print all that was given as a file, with defaults and where each value comes from, and end"],
    ["watch", None, "read the file of --config anew when it changes, or what it includes"],
    *([option, None, text] for option, text in FLAGS.items()),
]
#: Options with one, each with its default and what it says.
PARAMETER_ROWS: Sequence[Sequence[str | None]] = [
    ["config", None, None, "TOML file with any of these options, several pools, routes and filters; options win over it"],
    ["explain", None, None, "print what would become of a request, such as 'GET https://shop.example/cart?x=1', and end"],
    ["plan", None, None, "file to come: print what a reload of it would change, and what runs there just now, and end"],
    ["workers", None, "1", "processes that carry exchanges, up to 256; auto: one a core, or as many as a container's quota"],
    ["worker-heartbeat", None, "5", "seconds; a worker that has said nothing for twice as long is killed, and replaced"],
    ["state-file", None, None, "file in which what the admin listener was told of backends outlives a restart"],
    *([option, None, default(option), text] for option, text in SETTINGS.items()),
    ["policy", None, DEFAULT_POLICY, f"{', '.join(POLICY_NAMES)}, or a plugin's; with options, hash:key=cookie:user"],
    ["sticky-key-file", None, None, "file with the secret that signs these cookies, the same for all balancers"],
    ["probe", None, None, "tcp or tls, a connection; http:/path or https:/path, a GET [default: tcp, tls to https backends]"],
    ["probe-status", None, None, "statuses of http probes that are well [default: 200-399]"],
    ["probe-body", None, None, "regular expression that must be found in the first 256 KiB of their body"],
    ["probe-host", None, None, "Host of their requests [default: the backend]"],
    ["probe-port", None, None, "port that they go to [default: the backend's]"],
    ["default-certificate", None, None, "the --certificate for clients that ask for other names or none [default: first]"],
    ["tls-profile", None, PROFILES[0], "what clients can speak: Mozilla's intermediate (TLS 1.2 and 1.3) or modern (1.3)"],
    ["client-ca", None, None, "PEM file with the authorities whose certificates clients must have"],
    ["client-auth", None, None, "with --client-ca: required, or optional for clients without any [default: required]"],
    ["backend-ca", None, None, "PEM file with the authorities of https backends' certificates [default: the system's]"],
    ["backend-certificate", None, None, "certificate that is shown to https backends, as with --certificate"],
    ["admin", None, None, "endpoint description of a listener for operators: /status, /events, /metrics, /healthz"],
    ["access-log", None, None, "file for a line about each exchange; - is standard output"],
    ["access-log-format", None, None, f"{' or '.join(FORMATS)} [default: {FORMATS[0]}]"],
]
#: What shells complete.
COMPLETIONS = usage.Completions(
    multiUse=["backends", "certificate", "listen", "probe-header", "tls-listen", "trusted-proxies"],
    mutuallyExclusive=[("demo", "backends")],
    optActions={
        "access-log": usage.CompleteFiles(),
        "access-log-format": usage.CompleteList(FORMATS),
        "backend-ca": usage.CompleteFiles(),
        "backend-certificate": usage.CompleteFiles(),
        "certificate": usage.CompleteFiles(),
        "config": usage.CompleteFiles(),
        "plan": usage.CompleteFiles(),
        "state-file": usage.CompleteFiles(),
        "client-auth": usage.CompleteList(CLIENT_AUTH),
        "client-ca": usage.CompleteFiles(),
        "default-certificate": usage.CompleteFiles(),
        "policy": usage.CompleteList(POLICY_NAMES),
        "sticky-key-file": usage.CompleteFiles(),
        "tls-profile": usage.CompleteList(PROFILES),
        "workers": usage.CompleteList(("auto", "1", "2", "4", "8")),
    },
)
