"""The options of ``twistd lbproxy``: what an operator can say, and what is answered to what is mistaken.

Defaults and ranges of the balancer's settings stand in :mod:`lbproxy.settings` alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches

import attrs
from twisted.python import usage

from . import __version__
from .balance.backend import parse_backends
from .errors import ConfigurationError
from .observe.formats import FORMATS
from .settings import Settings

__all__ = ["Options"]

DEFAULT_LISTEN = "tcp:8080"
DEMO_ADMIN = "tcp:8081:interface=127.0.0.1"

_EXAMPLES = """
Three equal backends, clients connect to port 8080:
  twistd -n lbproxy --backends 10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000

One that takes five times as much, clients connect to port 80, operators to 8081:
  twistd -n lbproxy -b 10.0.0.1:8000:weight=5 -b 10.0.0.2:8000 -l tcp:80 --admin tcp:8081:interface=127.0.0.1

Just to see it work:
  twistd -n lbproxy --demo
"""

# The options that are settings of the balancer and have a value.
_SETTINGS = {
    "retries": "further attempts on one backend, when one fails at once, before it is taken for down",
    "probe-interval": "seconds between two probes of a backend",
    "probe-timeout": "seconds after which a probe has failed",
    "connect-timeout": "seconds to connect to a backend",
    "response-timeout": "seconds from a request to the head of its response",
    "header-timeout": "seconds from the first byte of a request's head to its last",
    "idle-timeout": "seconds for which a kept-alive connection may be silent, and either side in mid-body",
    "body-rate": "bytes a second that a request's body must come at on average, after --body-grace; 0: any",
    "body-grace": "seconds that a request's body may take at any rate",
    "write-timeout": "seconds for which a client may read nothing of its response",
    "tunnel-timeout": "seconds for which both sides of a tunnel may be silent",
    "drain": "seconds that exchanges and tunnels have to end, once it is told to stop",
    "drain-delay": "seconds for which /healthz fails before the listeners close, once it is told to stop",
    "head-limit": "bytes of a request's head, and of a response's",
    "field-limit": "header fields in a head",
    "target-limit": "bytes of a request's target",
    "body-limit": "bytes of a request's body; 0: any",
    "max-connections": "client connections in all; 0: half of the files that the process may open, less 100",
    "connection-requests": "requests on one client connection; 0: any",
    "via": "name under which it adds itself to Via, in requests and responses",
}
# Those of them that are bytes, and may be written as k, m or g.
_SIZES = frozenset(("body-rate", "head-limit", "target-limit", "body-limit"))
# The options that switch a setting on.
_FLAGS = {
    "forwarded": "write Forwarded (RFC 7239) too, and believe it before X-Forwarded-For from --trusted-proxies",
    "allow-underscores": "let on request fields with _ in their names, which many backends take for -",
    "abort-on-close": "take a client that ends its sending for gone, instead of giving it its response",
}

_SUFFIXES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _default(option: str) -> str | None:
    """A setting's default as an operator would write it; None where it is nothing."""
    value = getattr(attrs.fields(Settings), option.replace("-", "_")).default
    if not isinstance(value, (int, float)):
        return value or None
    if option in _SIZES:
        for suffix, factor in sorted(_SUFFIXES.items(), key=lambda item: -item[1]):
            if value and value % factor == 0:
                return f"{value // factor}{suffix}"
    return f"{value:g}"


class Options(usage.Options):
    """What an operator can say. After parsing, every value is of its own type and in its range."""

    synopsis = "--backends LIST [options]"
    longdesc = (
        "Balances HTTP/1.1 traffic over a pool of backends. Sizes (--body-limit, --body-rate, --head-limit, --target-limit) may "
        "be written with k, m or g for KiB, MiB and GiB."
    )

    optFlags: Sequence[Sequence[str | None]] = [
        ["demo", None, "run three small example backends too, and print what to try"],
        *([option, None, text] for option, text in _FLAGS.items()),
    ]
    optParameters: Sequence[Sequence[str | None]] = [
        *([option, None, _default(option), text] for option, text in _SETTINGS.items()),
        ["admin", None, None, "endpoint description of a read-only listener: /status, /metrics, /healthz"],
        ["access-log", None, None, "file for a line about each exchange; - is standard output"],
        ["access-log-format", None, None, f"{' or '.join(FORMATS)} [default: {FORMATS[0]}]"],
    ]
    compData = usage.Completions(
        multiUse=["backends", "listen", "trusted-proxies"],
        mutuallyExclusive=[("demo", "backends")],
        optActions={
            "access-log": usage.CompleteFiles(),
            "access-log-format": usage.CompleteList(FORMATS),
        },
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["backends"] = []
        self["listen"] = []
        self["trusted-proxies"] = []
        # Docstrings come with their line breaks and indents.
        self.docs = {option: text and " ".join(text.split()) for option, text in self.docs.items()}

    def getUsage(self, width: int | None = None) -> str:
        """The help, with examples below it that are not wrapped, so that they can be copied."""
        text: str = super().getUsage(width)
        return text + _EXAMPLES

    def opt_backends(self, text: str) -> None:
        """comma-separated backends, each HOST:PORT, http://HOST:PORT, [IPV6]:PORT or unix:/path, followed if need be by
        :weight=5 (1 to 1000) and :proxy-protocol=v1 or v2; may be repeated"""
        self["backends"].append(text)

    opt_b = opt_backends

    def opt_listen(self, description: str) -> None:
        """Twisted endpoint description of where clients connect; may be repeated [default: tcp:8080]"""
        self["listen"].append(description)

    opt_l = opt_listen

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
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            message = self._with_suggestion(str(error))
            if self.parent is None:
                raise usage.UsageError(message) from None
            # For a UsageError twistd would print the whole help and hide the message below it.
            sys.exit(f"twistd lbproxy: {message}\nAll options: twistd lbproxy --help")

    def _with_suggestion(self, message: str) -> str:
        """Add to getopt's message on an unknown option the nearest one that there is."""
        unknown = re.fullmatch(r"option --(\S+) not recognized", message)
        if unknown is None:
            return message
        nearest = get_close_matches(unknown[1], [name.rstrip("=") for name in self.longOpt], n=1)
        return f"{message}; did you mean --{nearest[0]}?" if nearest else message

    def parseArgs(self, *words: str) -> None:
        """Refuse whatever is not an option."""
        if words and ":" in words[0]:
            raise usage.UsageError(f"{words[0]!r} is not an option; backends are given as --backends {','.join(words)}")
        if words:
            flags = ", ".join(f"--{flag}" for flag in ("demo", *_FLAGS))
            raise usage.UsageError(
                f"{words[0]!r} belongs to no option: {flags} take no value, and a value with a space in it needs quotes"
            )

    def settings(self) -> Settings:
        """The settings that were given, once all has been parsed."""
        names = ("trusted-proxies", *_SETTINGS, *_FLAGS)
        return Settings(**{name.replace("-", "_"): self[name] for name in names})

    def postOptions(self) -> None:
        """Turn texts into values, and find all that is wrong at once."""
        problems = [*self._check_settings(), *self._check_backends(), *self._check_access_log()]
        if problems:
            raise usage.UsageError("\n".join(problems))
        for flag in ("demo", *_FLAGS):
            self[flag] = bool(self[flag])
        self["listen"] = self["listen"] or [DEFAULT_LISTEN]
        if self["demo"] and self["admin"] is None:
            self["admin"] = DEMO_ADMIN

    def _check_settings(self) -> list[str]:
        problems = []
        for option in _SETTINGS:
            try:
                self[option] = _value(option, self[option] or "")
            except ConfigurationError as error:
                problems.append(str(error))
        try:
            self["trusted-proxies"] = Settings(trusted_proxies=self["trusted-proxies"]).trusted_proxies
        except ConfigurationError as error:
            problems += [f"--{line}" for line in str(error).splitlines()]
        return problems or self._check_target_limit()

    def _check_target_limit(self) -> list[str]:
        """A larger target than a head may be would be promised, and never taken. The default is no promise."""
        head, target = self["head-limit"], self["target-limit"]
        if target <= head or target == attrs.fields(Settings).target_limit.default:
            return []
        return [
            f"--target-limit: {target} was given; a target is part of a head, so allowed is at most --head-limit, which is {head}"
        ]

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
        problems = []
        if self["access-log"] is None and self["access-log-format"] is not None:
            problems.append("--access-log-format: it was given without --access-log; say which file to write as well")
        self["access-log-format"] = given = self["access-log-format"] or FORMATS[0]
        if given not in FORMATS:
            problems.append(f"--access-log-format: {given!r} was given; allowed are {' and '.join(FORMATS)}")
        if self["access-log"] == "":
            problems.append("--access-log: '' was given; allowed is a file's path, or - for standard output")
        if self["access-log"] == "-" and self.parent is not None and not self.parent.get("nodaemon", True):
            problems.append("--access-log: '-' was given, but a daemon has no standard output; give a file, or run twistd -n")
        return problems


def _value(option: str, text: str) -> float | str:
    """Read a setting's value.

    :raises ConfigurationError: names the option, says what was given and what is allowed.
    """
    name = option.replace("-", "_")
    default = getattr(attrs.fields(Settings), name).default
    value = text if isinstance(default, str) else _number(text, type(default), option in _SIZES)
    try:
        Settings(**{name: value})  # type: ignore[arg-type]
    except ConfigurationError as error:
        _, _, allowed = str(error).partition("; ")
        sizes = " (bytes; k, m and g stand for KiB, MiB and GiB)" if option in _SIZES else ""
        raise ConfigurationError(f"--{option}: {text!r} was given; {allowed}{sizes}") from None
    return value


def _number(text: str, kind: type[float], size: bool) -> float:
    """Read a number; -1, which no setting takes, for what is none, so that Settings says what it does take."""
    factor = 1
    if size and text[-1:].lower() in _SUFFIXES:
        text, factor = text[:-1], _SUFFIXES[text[-1:].lower()]
    try:
        return kind(text) * factor if text.isascii() and "_" not in text else -1  # Python would take 1_0 for ten
    except ValueError:
        return -1
