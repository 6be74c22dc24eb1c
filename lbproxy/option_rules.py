"""What must hold between options, by the rules of every configuration (:mod:`lbproxy.config.rules`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .balance.backend import Backend
from .config.certain import Certain
from .config.model import Certificates, Configuration, PoolConfiguration
from .config.problems import Problem
from .config.rules import access_log_problems, cross_problems
from .config.structure import stand_in
from .health.spec import ProbeSpec
from .observe.formats import FORMATS
from .option_values import FLAGS, SETTINGS
from .settings import Settings
from .tls.profiles import PROFILES

__all__ = ["rule_problems"]

_NAMED = re.compile(r"--([a-z-]+)")
#: Of the demo's backends, what rules look at: they speak no TLS.
_DEMO = Backend("demo.invalid", 8000)


def rule_problems(options: Mapping[str, Any], said: Iterable[str]) -> list[str]:
    """What does not go together among options that were read.

    :param options: each of its own type, unless it is mistaken.
    :param said: what is wrong with them so far; what follows from that is no mistake of its own.
    """
    mistaken = [found[1] for found in map(_NAMED.match, said) if found]
    hidden = [*mistaken, *(["admin"] if options["demo"] else [])]
    known = Certain(Problem((name,), "") for name in hidden)
    found = [*cross_problems(_configuration(options, mistaken), known), *_of_access_log(options, mistaken)]
    return [*_of_demo(options), *(one.of_an_option for one in found)]


def _configuration(options: Mapping[str, Any], mistaken: Iterable[str]) -> Configuration:
    """What could be read, with defaults for the rest."""
    names = {"trusted-proxies", *SETTINGS, *FLAGS} - set(mistaken)
    values = {name.replace("-", "_"): options[name] for name in names}
    # A file that is not read, since nothing is to be signed, is given all the same.
    values["sticky_key"] = options["sticky-key"] or (b"given" if options["sticky-key-file"] else b"")
    settings = stand_in(Settings, values)
    backends = [_DEMO] if options["demo"] else [one for one in options["backends"] if isinstance(one, Backend)]
    probe = options["probe"] if isinstance(options["probe"], ProbeSpec) and not options["demo"] else ProbeSpec.parse(None)
    pool = PoolConfiguration(
        backends=backends,
        settings=settings,
        backend_ca=options["backend-ca"],
        backend_certificate=options["backend-certificate"],
        probe=probe,
    )
    return Configuration(
        listen=options["listen"] or None,
        tls_listen=options["tls-listen"] or None,
        certificates=Certificates(
            files=options["certificate"],
            default=options["default-certificate"],
            reject_unknown_names=bool(options["reject-unknown-names"]),
            profile=options["tls-profile"] if options["tls-profile"] in PROFILES else PROFILES[0],
            client_ca=options["client-ca"],
            client_auth=options["client-auth"],
        ),
        admin=options["admin"],
        admin_writable=bool(options["admin-writable"]),
        settings=settings,
        pools=(pool,),
    )


def _of_access_log(options: Mapping[str, Any], mistaken: Iterable[str]) -> Iterator[Problem]:
    if "access-log-format" not in mistaken:
        path, format_, explain = (options[key] for key in ("access-log", "access-log-format", "access-log-explain"))
        yield from access_log_problems(path, format_, bool(explain), FORMATS[0])


def _of_demo(options: Mapping[str, Any]) -> Iterator[str]:
    probe = options["probe"]
    if options["demo"] and isinstance(probe, ProbeSpec) and probe.scheme in ("tls", "https"):
        yield f"--probe: {probe.scheme} was given, but the backends of --demo speak no TLS; allowed are tcp and http:/path"
