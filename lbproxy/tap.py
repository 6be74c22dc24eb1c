"""``twistd lbproxy``: its options, and the service made of them.

Nothing here may import the reactor, or a module that does, before :func:`makeService` runs: this file is also imported for the
help and for a shell's completion, and which reactor it is to be is twistd's affair (``--reactor``).
"""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import attrs
from twisted.application.service import IService, MultiService
from twisted.logger import Logger
from twisted.python import usage

from . import __version__
from .balance.backend import parse_backends
from .balance.pool import Pool
from .errors import ConfigurationError, LBProxyError, ListenError
from .observe.access_log import AccessLog
from .observe.formats import FORMATS
from .settings import Settings

__all__ = ["CannotStart", "Options", "makeService", "raise_file_limit"]

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

# The options that are settings of the balancer; defaults and ranges are Settings' own.
_SETTINGS = {
    "retries": "further attempts on one backend, when one fails at once, before it is taken for down",
    "probe-interval": "seconds between two probes of a backend",
    "probe-timeout": "seconds after which a probe has failed",
    "connect-timeout": "seconds to connect to a backend",
    "response-timeout": "seconds from a request to the head of its response",
    "idle-timeout": "seconds for which a kept-alive connection may be silent, and either side in mid-body",
}

_log = Logger()


def _default(option: str) -> str:
    """A setting's default as an operator would write it."""
    return f"{getattr(attrs.fields(Settings), option.replace('-', '_')).default:g}"


class CannotStart(SystemExit, Exception):
    """Ends ``twistd`` with a message and status 1.

    It is both on purpose: only for an ``Exception`` does twistd remove its pidfile and tell the process that waits for the daemon
    to start; only a ``SystemExit`` ends without a traceback. The message is written here, because twistd has turned
    ``sys.stderr`` into a source of its log by then.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 1
        _log.critical("{message}", message=message)
        if sys.__stderr__ is not None:
            sys.__stderr__.write(f"twistd lbproxy: {message}\n")
            sys.__stderr__.flush()


class Options(usage.Options):
    """What an operator can say. After parsing, every value is of its own type and in its range."""

    synopsis = "--backends LIST [options]"
    longdesc = "Balances HTTP/1.1 traffic over a pool of backends."

    optFlags: Sequence[Sequence[str | None]] = [
        ["demo", None, "run three small example backends too, and print what to try"],
    ]
    optParameters: Sequence[Sequence[str | None]] = [
        *([option, None, _default(option), text] for option, text in _SETTINGS.items()),
        ["admin", None, None, "endpoint description of a read-only listener: /status, /metrics, /healthz"],
        ["access-log", None, None, "file for a line about each exchange; - is standard output"],
        ["access-log-format", None, None, f"{' or '.join(FORMATS)} [default: {FORMATS[0]}]"],
    ]
    compData = usage.Completions(
        multiUse=["backends", "listen"],
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
        # Docstrings come with their line breaks and indents.
        self.docs = {option: text and " ".join(text.split()) for option, text in self.docs.items()}

    def getUsage(self, width: int | None = None) -> str:
        """The help, with examples below it that are not wrapped, so that they can be copied."""
        text: str = super().getUsage(width)
        return text + _EXAMPLES

    def opt_backends(self, text: str) -> None:
        """comma-separated backends, each HOST:PORT, http://HOST:PORT, [IPV6]:PORT or unix:/path, with an option :weight=5
        (1 to 1000) if need be; may be repeated"""
        self["backends"].append(text)

    opt_b = opt_backends

    def opt_listen(self, description: str) -> None:
        """Twisted endpoint description of where clients connect; may be repeated [default: tcp:8080]"""
        self["listen"].append(description)

    opt_l = opt_listen

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
        if words:
            raise usage.UsageError(f"{words[0]!r} is not an option; backends are given as --backends {','.join(words)}")

    def postOptions(self) -> None:
        """Turn texts into values, and find all that is wrong at once."""
        problems = [*self._check_settings(), *self._check_backends(), *self._check_access_log()]
        if problems:
            raise usage.UsageError("\n".join(problems))
        self["demo"] = bool(self["demo"])
        self["listen"] = self["listen"] or [DEFAULT_LISTEN]
        if self["demo"] and self["admin"] is None:
            self["admin"] = DEMO_ADMIN

    def _check_settings(self) -> list[str]:
        problems = []
        for option in _SETTINGS:
            try:
                self[option] = _number(option, self[option])
            except ConfigurationError as error:
                problems.append(str(error))
        return problems

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


def _number(option: str, text: str) -> float:
    """Read a setting's value.

    :raises ConfigurationError: names the option, says what was given and what is allowed.
    """
    name = option.replace("-", "_")
    whole = isinstance(getattr(attrs.fields(Settings), name).default, int)
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = -1  # no setting takes it, so that Settings says what it does take
    try:
        Settings(**{name: value})  # type: ignore[arg-type]
    except ConfigurationError as error:
        _, _, allowed = str(error).partition("; ")
        raise ConfigurationError(f"--{option}: {text!r} was given; {allowed}") from None
    return value


def raise_file_limit() -> None:
    """Let the process have as many files open as its hard limit allows, as Go's programs do: each exchange takes two, and the
    usual soft limit of 1024 is meant for programs that use ``select``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _UnderTwistd(MultiService):
    """Holds the load balancer, and turns what it cannot start for into one message to the operator."""

    def privilegedStartService(self) -> None:
        raise_file_limit()
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except ListenError as error:
            raise CannotStart(f"{error}; another place can be given with --listen (or --admin)") from error
        except LBProxyError as error:
            raise CannotStart(str(error)) from error


def makeService(options: Options) -> IService:
    """Wire the service that *options* describe. Nothing is opened before it starts."""
    # twistd has installed the reactor by now; these modules, through twisted.web.proxy, would have installed their own.
    from twisted.internet import reactor

    from .demo import DemoService
    from .listener import check_endpoints
    from .service import LoadBalancerService

    settings = Settings(**{option.replace("-", "_"): options[option] for option in _SETTINGS})
    path = options["access-log"]
    access_log = None if path is None else AccessLog(path, options["access-log-format"], reactor)

    def balancer(pool: Pool) -> LoadBalancerService:
        return LoadBalancerService(
            pool, options["listen"], reactor=reactor, settings=settings, admin=options["admin"], access_log=access_log
        )

    service: Any = _UnderTwistd()  # type: ignore[no-untyped-call]
    try:
        if options["demo"]:
            check_endpoints(reactor, options["listen"], options["admin"])
            service.addService(DemoService(balancer, reactor))
        else:
            service.addService(balancer(Pool(options["backends"])))
    except LBProxyError as error:
        sys.exit(f"twistd lbproxy: {error}")
    made: IService = service
    return made
