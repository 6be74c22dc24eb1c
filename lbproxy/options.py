"""The options of ``twistd lbproxy``: what an operator can say, and what is answered to what is mistaken.

The balancer's settings among them stand in :mod:`.option_values`, their defaults and ranges in :mod:`lbproxy.settings` alone.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from twisted.python import usage

from . import __version__
from .balance.backend import BACKEND_OPTIONS, parse_backends
from .config.environment import key_file
from .config.model import Configuration
from .config.printing import print_configuration
from .config.reading import read_options
from .errors import ConfigurationError
from .health.spec import ProbeSpec
from .observe.formats import FORMATS
from .option_config import DEMO_ADMIN, ConfigurationFile, configuration_of, given_options
from .option_help import EXAMPLES, options_help
from .option_rows import COMPLETIONS, FLAG_ROWS, PARAMETER_ROWS
from .option_rules import rule_problems
from .option_tls import tls_problems
from .option_values import FLAGS, SETTINGS, SIZES, value
from .option_workers import worker_problems
from .policies import policy_maker
from .settings import Settings

__all__ = ["Options"]

#: What takes no value, and is no setting of the balancer.
_SWITCHES = ("demo", "admin-writable", "access-log-explain", "reject-unknown-names", "check", "print-config", "watch")
_SIZES = f"Sizes (--{', --'.join(sorted(SIZES))}) may be written with k, m or g for KiB, MiB and GiB."

_NO_OUTPUT = "--access-log: '-' was given, but a daemon has no standard output; give a file, or run twistd -n"


class _InFile(usage.UsageError):
    """Mistakes in a file, each with its place."""


class Options(usage.Options):
    """What an operator can say. After parsing, every value is of its own type and in its range."""

    synopsis = "--backends LIST | --config FILE [options]"

    optFlags: Sequence[Sequence[str | None]] = FLAG_ROWS
    optParameters: Sequence[Sequence[str | None]] = PARAMETER_ROWS
    compData = COMPLETIONS

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["backends"] = []
        self["listen"] = []
        self["tls-listen"] = []
        self["certificate"] = []
        self["certificates"] = None
        self["backend-tls"] = None
        self["trusted-proxies"] = []
        self["probe-header"] = []
        self["sticky-key"] = b""
        #: The file of --config, and what was given beside it.
        self.file: ConfigurationFile | None = None
        self.given: dict[str, Any] = {}
        # Docstrings come with their line breaks and indents.
        self.docs = {option: text and " ".join(text.split()) for option, text in self.docs.items()}

    def getUsage(self, width: int | None = None) -> str:
        """The options in groups, and examples."""
        width = width or int(os.environ.get("COLUMNS", "80"))
        values = frozenset(option.rstrip("=") for option in self.longOpt if option.endswith("="))
        sizes = textwrap.fill(_SIZES, width)
        return f"{options_help(self.docs, self.defaults, values, width)}\n{sizes}\n{EXAMPLES}"

    def opt_backends(self, text: str) -> None:
        """comma-separated backends, each HOST:PORT, http://HOST:PORT, https://HOST:PORT, [IPV6]:PORT or unix:/path, followed if
        need be by :weight=5 (1 to 1000), :tier=1 (0 to 99; takes what the tiers before it cannot), :backup (the last tier),
        :max-in-flight=20, :proxy-protocol=v1 or v2, and with https by :verify-name=app.example (whose certificate it must have,
        if not the host's) or :verify=off; may be repeated"""
        self["backends"].append(text)

    opt_b = opt_backends

    def opt_listen(self, description: str) -> None:
        """Twisted endpoint description of where clients connect; may be repeated [default: tcp:8080]"""
        self["listen"].append(description)

    opt_l = opt_listen

    def opt_tls_listen(self, description: str) -> None:
        """the same for clients that speak TLS, with tcp:, unix: and the like; may be repeated [default: tcp:8443 with
        --certificate]"""
        self["tls-listen"].append(description)

    def opt_certificate(self, path: str) -> None:
        """PEM file with a key and its certificates, a pair of such files as CERTIFICATES,KEY, or a directory of these, for the
        names that stand in them; may be repeated"""
        self["certificate"].append(path)

    def opt_probe_header(self, field: str) -> None:
        """further field of http probes' requests, as Name: value; may be repeated"""
        self["probe-header"].append(field)

    def opt_trusted_proxies(self, text: str) -> None:
        """comma-separated addresses and CIDR blocks whose X-Forwarded-For is believed; may be repeated [default: none]"""
        self["trusted-proxies"] += [one.strip() for one in text.split(",")]

    def opt_version(self) -> None:
        """print lbproxy's version and exit"""
        print(f"lbproxy {__version__}")
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse *options*.

        :raises usage.UsageError: with everything that is wrong, a line each.
        """
        self.given = given_options(self, sys.argv[1:] if options is None else options)
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except _InFile as error:
            if self.parent is None:
                raise
            sys.exit(str(error) if self["check"] or self["plan"] else f"twistd lbproxy: {error}")
        except usage.UsageError as error:
            message = self._with_suggestion(str(error))
            if self.parent is None:
                raise usage.UsageError(message) from None
            # For a UsageError twistd would print the whole help and hide the message below it.
            sys.exit(f"twistd lbproxy: {message}\nAll options: twistd lbproxy --help")

    def _with_suggestion(self, message: str) -> str:
        """Add to getopt's message on an option that is none, or may be several, which there are."""
        found = re.fullmatch(r"option --(\S+) (not recognized|not a unique prefix)", message)
        if found is None:
            return message
        names, given = [name.rstrip("=") for name in self.longOpt], found[1]
        nearest = get_close_matches(given, names, n=2)
        if found[2] != "not recognized":
            several = dict.fromkeys([*(name for name in names if name.startswith(given)), *nearest])
            return f"{message}; it could be --{', --'.join(several)}"
        if given in BACKEND_OPTIONS:
            return f"{message}; it is said of a backend: --backends HOST:PORT:{BACKEND_OPTIONS[given]}"
        return f"{message}; did you mean --{nearest[0]}?" if nearest else message

    def parseArgs(self, *words: str) -> None:
        """Refuse whatever is not an option."""
        if words and ":" in words[0]:
            raise usage.UsageError(f"{words[0]!r} is not an option; backends are given as --backends {','.join(words)}")
        if words and self["certificate"] and os.path.exists(words[0]):
            raise usage.UsageError(
                f"{words[0]!r} belongs to no option: a certificate and its key in two files are given as --certificate "
                f"{self['certificate'][-1]},{words[0]}, further certificates with --certificate again, or by their directory"
            )
        if words:
            flags = ", ".join(f"--{flag}" for flag in (*_SWITCHES, *FLAGS))
            raise usage.UsageError(
                f"{words[0]!r} belongs to no option: {flags} take no value, and a value with a space in it needs quotes"
            )

    def settings(self) -> Settings:
        """The settings that were given, once all has been parsed."""
        names = ("trusted-proxies", "sticky-key", *SETTINGS, *FLAGS)
        return Settings(**{name.replace("-", "_"): self[name] for name in names})

    def configuration(self) -> Configuration:
        """All that was given, once it has been parsed: by the file and the options beside it, or by options alone."""
        if self.file is not None and self.file.reading is not None:
            return self.file.reading.configuration
        return configuration_of(self.given, self["demo"])

    def printed(self) -> str:
        """What is gone by, as a file without its secrets."""
        if self.file is not None:
            return self.file.printed()
        return print_configuration(read_options(self.given), secrets=False)

    def postOptions(self) -> None:
        """Turn texts into values, and find all that is wrong at once."""
        for flag in ("demo", "check", "print-config", "watch"):
            self[flag] = bool(self[flag])
        if self["config"] is None:
            self._check_alone()
        else:
            self._read_file()

    def _read_file(self) -> None:
        if self["demo"]:
            raise usage.UsageError("--demo brings a configuration of its own; give either it or --config")
        self.file = ConfigurationFile(self["config"], self.given)
        try:
            configuration = self.file.read()
        except ConfigurationError as error:
            raise _InFile(str(error)) from None
        log = configuration.access_log
        if log is not None and log.path == "-" and self._is_daemon():
            raise usage.UsageError(_NO_OUTPUT)

    @property
    def asked(self) -> bool:
        """Whether something is asked instead of to serve."""
        return bool(self["check"] or self["print-config"] or self["plan"] or self["explain"])

    def _is_daemon(self) -> bool:
        return not self.asked and self.parent is not None and not self.parent.get("nodaemon", True)

    def _check_alone(self) -> None:
        problems = [
            *self._check_without_file(),
            *self._check_settings(),
            *worker_problems(self),
            *self._check_policy(),
            *self._check_probe(),
            *self._check_backends(),
            *self._check_access_log(),
            *tls_problems(self),
        ]
        problems += rule_problems(self, problems)
        if problems:
            raise usage.UsageError("\n".join(problems))
        for flag in (*_SWITCHES, *FLAGS):
            self[flag] = bool(self[flag])
        self["access-log-format"] = self["access-log-format"] or FORMATS[0]
        from .listener import where_to_listen  # whoever wants the --help need not wait for it

        self["listen"], self["tls-listen"] = where_to_listen(
            self["listen"] or None,
            self["tls-listen"] or None,
            certificates=bool(self["certificate"]),
            redirect=self["redirect-to-https"],
        )
        if self["demo"] and self["admin"] is None:
            self["admin"] = DEMO_ADMIN

    def _check_without_file(self) -> list[str]:
        given = [name for name in ("plan", "watch") if self[name]]
        return [f"--{name}: it was given without --config; say which file is served as well" for name in given]

    def _check_settings(self) -> list[str]:
        # Most likely a variable that is not set: sessions that are wanted must not be missed only later.
        problems = ["--sticky: '' was given; allowed is a cookie's name"] if self["sticky"] == "" else []
        for option in SETTINGS:
            try:
                self[option] = value(option, self[option] or "")
            except ConfigurationError as error:
                problems.append(str(error))
        if self["sticky"] and self["sticky-key-file"] is not None:
            problems += self._read_sticky_key(self["sticky-key-file"])
        try:
            self["trusted-proxies"] = Settings(trusted_proxies=self["trusted-proxies"]).trusted_proxies
        except ConfigurationError as error:
            problems += [f"--{line}" for line in str(error).splitlines()]
        return problems

    def _read_sticky_key(self, path: str) -> list[str]:
        try:
            self["sticky-key"] = key_file(path)
        except ConfigurationError as error:
            return [f"--sticky-key-file: {error}"]
        return []

    def _check_policy(self) -> list[str]:
        try:
            self["policy"] = policy_maker(self["policy"])
        except ConfigurationError as error:
            return [f"--{line}" for line in str(error).splitlines()]
        return []

    def _check_probe(self) -> list[str]:
        given = {name: self[f"probe-{name}"] for name in ("status", "body", "host", "port")}
        try:
            self["probe"] = ProbeSpec.parse(self["probe"], headers=self["probe-header"], **given)
        except ConfigurationError as error:
            return str(error).splitlines()
        return []

    def _check_backends(self) -> list[str]:
        if self["demo"]:
            return ["--demo brings its own backends; give either it or --backends"] if self["backends"] else []
        try:
            self["backends"] = parse_backends(self["backends"])
        except ConfigurationError as error:
            hint = "" if self["backends"] else "; or try --demo"
            return [f"--backends: {line}{hint}" for line in str(error).splitlines()]
        return []

    def _check_access_log(self) -> list[str]:
        given = self["access-log-format"]
        if given is not None and given not in FORMATS:
            return [f"--access-log-format: {given!r} was given; allowed are {' and '.join(FORMATS)}"]
        return [_NO_OUTPUT] if self["access-log"] == "-" and self._is_daemon() else []
