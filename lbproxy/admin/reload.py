"""Reading the configuration anew, asked for by POST, and what ``/status`` says of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..observe.running import Reloader, ReloadResult
from ..observe.times import iso_time
from .changes import Order
from .pages import Answer, json_answer

__all__ = ["ReloadPage", "reload_status"]

_NO_FILE = Answer("There is nothing to be read anew.\n", code=404)
_FAILED = Answer("An error in lbproxy itself; its log tells more. It goes by the configuration from before.\n", code=500)

_log = Logger()


def reload_status(reloader: Reloader) -> dict[str, Any]:
    """What is known of reading the configuration anew, ready for JSON.

    :return: counts of ``reloads`` by how they ended, and the ``last`` one (null: there was none yet) with its ``time`` (ISO 8601
        in UTC), whether it was ``ok``, its ``errors``, and the ``differences`` that were changed.
    """
    return {
        "reloads": dict(sorted(reloader.counts.items())),
        "last": None if reloader.last is None else _result(reloader.last),
    }


def _result(result: ReloadResult) -> dict[str, Any]:
    return {
        "time": iso_time(result.when),
        "ok": result.ok,
        "errors": list(result.errors),
        "differences": [str(difference) for difference in result.differences],
    }


class ReloadPage(Order):
    """``/reload``: answers when it is done, with what differed, or with what is wrong as text.

    :param reloader: None: there is nothing to be read anew.
    """

    def __init__(self, reloader: Reloader | None, writable: bool) -> None:
        super().__init__(writable)
        self._reloader = reloader

    def begin(self) -> Answer | Deferred[Answer]:
        """Read it anew."""
        if self._reloader is None:
            return _NO_FILE
        return maybeDeferred(self._reloader.reload).addCallbacks(_answer, _failed)


def _answer(result: ReloadResult) -> Answer:
    return json_answer(_result(result)) if result.ok else Answer("".join(f"{line}\n" for line in result.errors), code=422)


def _failed(failure: Failure) -> Answer:
    _log.failure("the configuration could not be read anew", failure)
    return _FAILED
