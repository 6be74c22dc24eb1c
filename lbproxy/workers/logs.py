"""A worker's log: written as lines of JSON to its standard error, and put into the supervisor's log as the same events."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText, globalLogPublisher
from zope.interface import implementer

__all__ = ["LINE", "UNSENT", "LogReader", "LogWriter"]

#: Characters of an event's text that are passed on.
LINE = 32768
#: Bytes that wait to be written while the supervisor does not read, at most; what comes beyond that is lost, and counted.
UNSENT = 1 << 20

_MARK = b'{"lbproxy-log":'
_EACH = re.compile(r"\A(?:\w+(?: \(\w+\))? starting on \S+|\(\S+ Port \S+ Closed\)|Main loop terminated\.)\Z")
_WHOLE = 8 * LINE  # of a line, escapes and all
_LAST = 300  # characters of the last line that are kept

Publish = Callable[[LogEvent], object]


@implementer(ILogObserver)
class LogWriter:
    """A log observer that writes without ever waiting: a worker must serve while its supervisor is busy, or stopped.

    :param fd: where to; it is set not to block.
    :param later: has a function called in a moment, from any thread: :attr:`flush`, while something waits to be written.
    """

    def __init__(self, fd: int, later: Callable[[Callable[[], object]], object]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._later = later
        self._unsent = bytearray()
        self._lost = 0
        self._lock = Lock()

    def __call__(self, event: LogEvent) -> None:
        if _of_each_process(event):
            return
        line = _line(event)
        with self._lock:
            if len(self._unsent) + len(line) > UNSENT:
                self._lost += 1
            else:
                self._unsent += self._about_lost() + line
        self.flush()

    def _about_lost(self) -> bytes:
        lost, self._lost = self._lost, 0
        if not lost:
            return b""
        return _line({"log_level": LogLevel.warn, "log_format": "{lost} log lines were lost: nobody has read them", "lost": lost})

    def flush(self) -> None:
        """Write what can be written now."""
        with self._lock:
            try:
                while self._unsent:
                    del self._unsent[: os.write(self._fd, self._unsent)]
            except BlockingIOError:
                self._later(self.flush)
            except OSError:  # the supervisor is gone, and there is nobody to read it
                self._unsent.clear()


def _of_each_process(event: LogEvent) -> bool:
    """Whether it is what Twisted says in every process of its sockets and of its end, and the supervisor has said."""
    ours = event.get("log_namespace") in ("log_legacy", "twisted.internet.base") and event.get("log_level") is LogLevel.info
    return ours and _EACH.match(eventAsText(event, includeTimestamp=False, includeSystem=False)) is not None


def _line(event: LogEvent) -> bytes:
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if len(text) > LINE:
        text = f"{text[:LINE]} … ({len(text) - LINE} characters more)"
    level, namespace = event.get("log_level"), event.get("log_namespace")
    said = [getattr(level, "name", "info"), str(namespace or ""), event.get("log_time"), text]
    return _MARK + json.dumps(said).encode() + b"}\n"


class LogReader:
    """Takes what a worker writes to its standard error, and has it in the supervisor's log, with ``worker N`` as the system.

    What is not of :class:`LogWriter`, such as the traceback of a crash, or a warning of Python's, comes as it is, line by line.

    :param system: says whose it is.
    :ivar last: the last line that came, shortened.
    """

    def __init__(self, system: str, publish: Publish = globalLogPublisher) -> None:
        self.last = ""
        self._system = system
        self._publish = publish
        self._begun = b""

    def feed(self, data: bytes) -> None:
        """More has come."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._begun) > _WHOLE:
            self.end()

    def end(self) -> None:
        """No more comes."""
        begun, self._begun = self._begun, b""
        if begun:
            self._take(begun)

    def _take(self, line: bytes) -> None:
        event = _event(line) if line.startswith(_MARK) else None
        if event is None:
            text = line.decode("utf-8", "replace").rstrip("\r")[:LINE]
            event = {"log_level": LogLevel.info, "log_namespace": "stderr", "log_time": time.time(), "text": text}
        text = event["text"].strip()
        if text:
            self.last = text.splitlines()[-1][:_LAST]
            self._publish({**event, "log_format": "{text}", "log_system": self._system})


def _event(line: bytes) -> dict[str, Any] | None:
    """What a line of :class:`LogWriter` says; None: it is none, after all."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    said = found.get("lbproxy-log") if isinstance(found, Mapping) else None
    if not isinstance(said, list) or len(said) != 4:
        return None
    level, namespace, when, text = said
    return {
        "log_level": LogLevel.lookupByName(level) if level in _LEVELS else LogLevel.info,
        "log_namespace": str(namespace),
        "log_time": when if isinstance(when, (int, float)) else time.time(),
        "text": str(text),
    }


_LEVELS = frozenset(level.name for level in LogLevel.iterconstants())
