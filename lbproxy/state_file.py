"""The state file: what operators said at run time, kept over a restart.

It is JSON: ``version``, and by pool what was ``added`` (backends as on the command line), ``removed`` (addresses), the
``weights`` and the ``wishes`` by address. Nobody but its owner may read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .balance.backend import Backend
from .balance.backend_values import backend_text
from .balance.overlay import Overlay
from .balance.state import Wish
from .discovery.file import InThread
from .errors import ConfigurationError
from .files import read_text, write_whole
from .members import Memberships

__all__ = ["RETRY_DELAY", "STATE_LIMIT", "VERSION", "WRITE_DELAY", "StateFile", "read_state", "state_of", "state_text"]

#: The version of what is written. Another one is not read.
VERSION = 1
#: Seconds from a change to its being written, with all that change meanwhile.
WRITE_DELAY = 1.0
#: Seconds until it is tried again when it could not be written.
RETRY_DELAY = 30.0
#: The largest file that is read, in bytes.
STATE_LIMIT = 16 << 20

_log = Logger()


class StateFile:
    """Keeps what operators said at run time in a file, which is written in a thread, in one go.

    :param path: of the file; it need not be there yet, but its directory must.
    :param memberships: who knows what was said.
    :param clock: runs what is to be done later.
    :param in_thread: runs a function in a thread and gives its result by a Deferred.
    :ivar written_at: when it was written last, in seconds since the epoch; None: not yet.
    :ivar error: why it could not be written the last time; empty: it could.
    :ivar failures: how often it could not be written.
    """

    def __init__(self, path: str, memberships: Memberships, clock: IReactorTime, in_thread: InThread) -> None:
        self.path = os.path.abspath(path)
        self.written_at: float | None = None
        self.error = ""
        self.failures = 0
        self._memberships = memberships
        self._clock = clock
        self._in_thread = in_thread
        self._due: Any = None  # the call that is to write it
        self._behind = False  # whether something is to be written
        self._busy = False
        self._running = False
        self._stopped: list[Deferred[None]] = []  # to be told when all is written

    def load(self) -> None:
        """Read the file and let all hold that is in it; to be called once, when all pools are known. It never fails: one that
        cannot be read is put aside, with ``.broken`` at the end of its name, and the log tells."""
        if not os.path.lexists(self.path):
            return
        try:
            overlays = read_state(self.path)
        except ConfigurationError as error:
            self._put_aside(str(error))
            return
        self._memberships.restore(overlays)
        self._behind = self._memberships.overlays != overlays

    def _put_aside(self, why: str) -> None:
        aside = f"{self.path}.broken"
        try:
            os.replace(self.path, aside)
        except OSError as error:
            aside = f"nowhere: {error.strerror}"
        _log.error(
            "what operators said before is not known, the state file cannot be read; it was put aside as {aside}:\n{why}",
            aside=aside,
            why=why,
        )

    def start(self) -> None:
        """Write the file after each change from now on; soon, if something was said and there is no file."""
        self._running = True
        if self._changed not in self._memberships.observers:
            self._memberships.observers.append(self._changed)
        if self._behind or (self._memberships.overlays and not os.path.lexists(self.path)):
            self._changed()

    def stop(self) -> Deferred[None]:
        """Write what is not written yet.

        :return: fires when that is done, or could not be.
        """
        self._running = False
        if self._changed in self._memberships.observers:
            self._memberships.observers.remove(self._changed)
        if self._due is not None:
            self._due.cancel()
            self._write()
        if not self._busy:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._stopped.append(stopped)
        return stopped

    def _changed(self) -> None:
        self._behind = True
        if self._due is None and not self._busy:
            self._due = self._clock.callLater(WRITE_DELAY, self._write)

    def _write(self) -> None:
        self._due = None
        self._behind = False
        self._busy = True
        data = state_text(self._memberships.overlays).encode()
        writing = maybeDeferred(self._in_thread, partial(write_whole, self.path, data))
        writing.addCallbacks(self._wrote, self._failed)
        writing.addCallback(self._end)

    def _wrote(self, _: object) -> float:
        self.written_at = self._clock.seconds()
        self.error = ""
        return WRITE_DELAY

    def _failed(self, failure: Failure) -> float:
        self._behind = True
        self.failures += 1
        error = failure.getErrorMessage() or type(failure.value).__name__
        if error != self.error:
            self.error = error
            _log.error("what operators said is not kept, the state file cannot be written: {error}", error=error)
        return RETRY_DELAY

    def _end(self, delay: float) -> None:
        """It is written, or could not be. What was said meanwhile is written too, at once if this is to be the end; but for a
        file that cannot be written the end does not wait."""
        self._busy = False
        if self._behind and self._running:
            self._due = self._clock.callLater(delay, self._write)
        elif self._behind and not self.error:
            self._write()
        if not self._busy:
            stopped, self._stopped = self._stopped, []
            for waiting in stopped:
                waiting.callback(None)


def state_text(overlays: Mapping[str, Overlay]) -> str:
    """What is written of them."""
    pools = {
        name: {
            "added": [backend_text(backend) for backend in overlay.added],
            "removed": list(overlay.removed),
            "weights": dict(overlay.weights),
            "wishes": {address: {"want": wish.want, "reason": wish.reason} for address, wish in overlay.wishes.items()},
        }
        for name, overlay in overlays.items()
    }
    return json.dumps({"version": VERSION, "pools": pools}, indent=1) + "\n"


def read_state(path: str) -> dict[str, Overlay]:
    """Read what was written.

    :raises ConfigurationError: it cannot be read, or is something else; begins with the path.
    """
    try:
        return state_of(read_text(path, STATE_LIMIT))
    except ConfigurationError as error:
        text = str(error)
        raise ConfigurationError(text if text.startswith(path) else f"{path}: {text}") from None


def state_of(text: str) -> dict[str, Overlay]:
    """What was written, from its text.

    :raises ConfigurationError: it is something else.
    """
    try:
        whole = json.loads(text)
        if whole["version"] != VERSION:
            raise ConfigurationError(f"it has version {whole['version']!r}; version {VERSION} is read")
        return {name: _overlay(said) for name, said in whole["pools"].items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(f"it is no state file ({type(error).__name__}: {error})") from None


def _overlay(said: Mapping[str, Any]) -> Overlay:
    # A weight is checked as a backend's would be.
    weights = {str(address): Backend("x", 1, weight).weight for address, weight in said["weights"].items()}
    wishes = {address: Wish(address, str(wish["want"]), str(wish["reason"])) for address, wish in said["wishes"].items()}
    added = tuple(Backend.parse(text) for text in said["added"])
    return Overlay(added, tuple(map(str, said["removed"])), weights, wishes)
