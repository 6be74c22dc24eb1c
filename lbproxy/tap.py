"""``twistd lbproxy``: the service made of its options.

Nothing here may import the reactor, or a module that does, before :func:`makeService` runs: this file is also imported for the
help and for a shell's completion, and which reactor it is to be is twistd's affair (``--reactor``).
"""

from __future__ import annotations

import atexit
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from .balance.backend import Backend
from .config.model import Configuration
from .errors import ConfigurationError, LBProxyError, ListenError
from .options import Options as OptionsAlone
from .upgrade.word import give_up, lend_files, tell_predecessor, word

if TYPE_CHECKING:
    from .service import LoadBalancerService
    from .upgrade.program import Program

__all__ = ["CannotStart", "Options", "makeService", "raise_file_limit"]

_log = Logger()


class CannotStart(SystemExit, Exception):
    """Ends ``twistd`` with a message and status 1.

    It is both on purpose: only for an ``Exception`` does twistd remove its pidfile and tell the process that waits for the daemon
    to start; only a ``SystemExit`` ends without a traceback. The message is written here, because twistd has turned
    ``sys.stderr`` into a source of its log by then.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 1
        tell_predecessor(message)
        _log.critical("{message}", message=message)
        if sys.__stderr__ is not None:
            sys.__stderr__.write(f"twistd lbproxy: {message}\n")
            sys.__stderr__.flush()


def raise_file_limit() -> None:
    """Let the process have as many files open as its hard limit allows, as Go's programs do: each exchange takes two, and the
    usual soft limit of 1024 is meant for programs that use ``select``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def on_signals(
    reactor: Any,
    act: Callable[[], object],
    numbers: Sequence[int] = (signal.SIGTERM, signal.SIGINT),
    *,
    though_ignored: bool = False,
) -> Callable[[], None]:
    """From now on these signals call *act*, in the reactor, and nothing else.

    Only the main thread can do that; in another one nothing happens. A signal that is ignored stays so, as a shell wants it for
    the ``SIGINT`` of what runs in its background.

    :param though_ignored: whether one that is ignored is taken too.
    :return: puts the handlers back that there were.
    """
    before: dict[int, Any] = {}

    def received(number: int, frame: object) -> None:
        reactor.callFromThread(act)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():
        spared = (None,) if though_ignored else (None, signal.SIG_IGN)
        for number in numbers:
            if signal.getsignal(number) not in spared:
                before[number] = signal.signal(number, received)
    return restore


class _UnderTwistd(MultiService):
    """Holds the load balancer, turns what it cannot start for into one message to the operator, reads its files anew on
    ``SIGHUP``, has a new program take over on ``SIGUSR2``, and takes a second signal to end, which Twisted answers with an error,
    for the wish to wait no longer.

    :param program: knows the one before, and starts the next.
    :ivar balancers: whose files are meant.
    """

    def __init__(self, reactor: Any, program: Program) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.balancers: list[LoadBalancerService] = []
        self._reactor = reactor
        self._program = program
        self._restore_hangup: Callable[[], None] = lambda: None
        self._restore_upgrade: Callable[[], None] = lambda: None

    def privilegedStartService(self) -> None:
        raise_file_limit()
        self._program.begins()
        self._hear_hangups()  # who sends one while it starts means its files, not its end
        self._restore_upgrade = on_signals(self._reactor, self._program.upgrade, [signal.SIGUSR2])
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except Exception as error:
            self._stopped(None)
            if isinstance(error, ListenError):
                raise CannotStart(f"{error}; another place can be given with --listen, --tls-listen or --admin") from error
            if isinstance(error, LBProxyError):
                raise CannotStart(str(error)) from error
            raise

    def startService(self) -> None:
        self._hear_hangups()
        super().startService()  # type: ignore[no-untyped-call]
        self._hear_hangups()  # of a demo the files are known now
        self._program.started()

    def _hear_hangups(self) -> None:
        """Who started it with nohup wants it to outlive the terminal, and so it does; where there are files to be read anew, that
        is no reason to be deaf to who has changed them."""
        with_files = any(balancer.reloads for balancer in self.balancers)
        self._restore_hangup()
        self._restore_hangup = on_signals(self._reactor, self._hung_up, [signal.SIGHUP], though_ignored=with_files)

    def _hung_up(self) -> None:
        self._program.read_anew(self._read_anew)

    def _read_anew(self) -> None:
        for balancer in self.balancers:
            balancer.reloader.reload()

    def stopService(self) -> Deferred[Any]:
        stopping: Deferred[Any] = self._program.stop(partial(maybeDeferred, super().stopService))
        stopping.addBoth(self._stopped)
        if not stopping.called:
            _log.info("stopping; another SIGTERM or SIGINT ends it at once")
            restore = on_signals(self._reactor, self._stop_now)
            stopping.addBoth(lambda _: restore())
        return stopping

    def _stopped(self, result: Any) -> Any:
        self._restore_hangup()
        self._restore_upgrade()
        self._restore_hangup = self._restore_upgrade = lambda: None
        return result

    def _stop_now(self) -> None:
        _log.info("another signal: nothing is waited for any longer")
        super().stopService()  # type: ignore[no-untyped-call]


def _end_unstarted(reactor: Any, failure: Failure) -> None:
    """What it is to serve with cannot begin: end, with a message and status 1."""
    CannotStart(failure.getErrorMessage())  # which says it; raised in here, it would only be logged
    end_with_status(reactor, 1)


def end_with_status(reactor: Any, status: int) -> None:
    """Stop in order, with another exit status than twistd's 0: it returns from ``reactor.run()``, removes its pidfile and ends,
    and nothing of that can be told a status."""

    def end() -> None:
        atexit.unregister(end)
        atexit._run_exitfuncs()
        os._exit(status)

    atexit.register(end)
    reactor.callWhenRunning(reactor.stop)


class Options(OptionsAlone):
    """The options, and what is asked instead of to serve. That is answered as soon as they are parsed, wherever one that serves
    may have its pidfile."""

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse *options*.

        :raises usage.UsageError: with everything that is wrong, a line each.
        :raises SystemExit: when something was asked, and has been answered.
        """
        lend_files(True)  # until the service is made
        try:
            super().parseOptions(options)
        except (UsageError, SystemExit) as error:
            if isinstance(error, UsageError) or isinstance(error.code, str):
                tell_predecessor(str(error))
            raise
        if self.asked and self.parent is not None:
            from twisted.internet import reactor

            from .commands import run_command

            run_command(self, reactor)


def makeService(options: Options) -> IService:
    """Wire the service that *options* describe. Nothing is opened before it starts."""
    # twistd has installed the reactor by now; these modules, through twisted.web.proxy, would have installed their own.
    from twisted.internet import reactor

    from .changes import check_places
    from .demo import DemoService
    from .service import LoadBalancerService
    from .upgrade.predecessor import Predecessor
    from .upgrade.program import Program
    from .workers.supervisor import supervised

    before = _predecessor(Predecessor)
    program = Program(reactor, None if options["demo"] else options.parent, before)
    service: Any = _UnderTwistd(reactor, program)

    def balancer(configuration: Configuration) -> LoadBalancerService:
        several = configuration.workers > 1
        role = _role(configuration.workers, before)
        certificates = options["certificates"]  # which are read already, unless a file names them
        make: Any = partial(supervised, cannot_start=partial(_end_unstarted, reactor)) if several else LoadBalancerService.of
        made: LoadBalancerService = make(
            configuration, reactor=reactor, certificates=certificates, source=options.file, role=role
        )
        made.printed = None if options["demo"] else options.printed
        program.of(made)
        service.balancers.append(made)
        return made

    def demo(backends: list[Backend]) -> LoadBalancerService:
        configuration = options.configuration()
        (pool,) = configuration.pools
        return balancer(attrs.evolve(configuration, pools=(attrs.evolve(pool, backends=tuple(backends)),)))

    try:
        if options["demo"]:
            check_places(options.configuration(), reactor)
            service.addService(DemoService(demo, reactor))
        else:
            service.addService(balancer(options.configuration()))
    except LBProxyError as error:
        give_up(_all_mistakes(options, reactor, error))
    lend_files(False)
    under_twistd: IService = service
    return under_twistd


def _role(workers: int, before: Any) -> Any:
    """What this process has to do of a service: a supervisor's part where there are to be several workers.

    :param before: the program that has started this one; None: there is none.
    """
    from .role import Role
    from .workers.supervisor import SupervisorRole

    role: Any = SupervisorRole(workers) if workers > 1 else Role()
    if before is not None:
        before.prepare(role)
    return role


def _predecessor(make: Callable[[Any], Any]) -> Any:
    """The program that has started this one, with what it has handed on; None: there is none."""
    given = word()
    try:
        return None if given is None else make(given)
    except LBProxyError as error:
        give_up(str(error))


def _all_mistakes(options: Options, reactor: Any, first: LBProxyError) -> str:
    """What ``--check`` says, for the service ends at the first thing that it cannot be built of."""
    from .commands import reading_of, refuse_unusable

    if options["demo"]:
        return str(first)
    try:
        refuse_unusable(options.configuration(), reactor)
    except LBProxyError as error:
        first = error
    if options.file is not None:
        return options.file.located(first)
    return reading_of(options).located(first) if isinstance(first, ConfigurationError) else str(first)
