"""The word that a new program gives the old one that has started it, from its very beginning: before there is a reactor."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import MutableMapping
from socket import socket
from typing import Any, NoReturn

from ..workers.loans import Loans, take_loans_in_need
from .command import VARIABLE

__all__ = ["Word", "give_up", "lend_files", "message_line", "tell_predecessor", "word"]

_NAME = "twistd lbproxy: "


def message_line(message: dict[str, Any]) -> bytes:
    """A message as it is sent: a line of JSON."""
    return json.dumps(message).encode() + b"\n"


class Word:
    """The link to the old program; that the reactor has it too is no matter.

    :param link: its descriptor.
    :param document: that of what the old program hands on.
    """

    def __init__(self, link: int, document: int) -> None:
        os.set_inheritable(link, False)
        self.link = link
        self.document = document

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Word | None:
        """What the environment names, which is forgotten there; None: no other program has started this one."""
        link, _, document = environ.pop(VARIABLE, "").partition(":")
        return cls(int(link), int(document)) if link.isdigit() and document.isdigit() else None

    def files(self) -> Loans:
        """What of the document must be known before all else. A document that cannot be read is told of later."""
        try:
            with open(f"/proc/self/fd/{self.document}", encoding="utf-8") as file:  # with a place of its own in it
                files = json.load(file).get("files", {})
        except (OSError, ValueError, AttributeError):
            return {}
        return files if isinstance(files, dict) else {}

    def say(self, **message: Any) -> None:
        """Say something, at once. When the old program has gone, nobody hears it."""
        if self.link < 0:
            return
        with socket(fileno=os.dup(self.link)) as link:
            try:
                link.sendall(message_line(message))
            except OSError:
                return

    def close(self) -> None:
        """There is no more to be said."""
        if self.link >= 0:
            os.close(self.link)
        self.link = -1


def lend_files(lent: bool) -> None:
    """If there is an old program: let be read what it has read, where this one may not.

    :param lent: False: from now on not any more.
    """
    given = word()
    if given is not None:
        take_loans_in_need(given.files() if lent else {})


_given: list[Word | None] = []


def word() -> Word | None:
    """The word to the old program; None: this one was not started by another one."""
    if not _given:
        _given.append(Word.of(os.environ))
    return _given[0]


def tell_predecessor(message: str) -> None:
    """If there is one: why this program does not start, without what only who has typed its command line wants to read."""
    given = word()
    if given is not None:
        given.say(error=message.removeprefix(_NAME).partition("\nAll options: ")[0])


def give_up(message: str) -> NoReturn:
    """End the program with a message, on standard error and to the old program.

    :raises SystemExit: always.
    """
    tell_predecessor(message)
    sys.exit(f"{_NAME}{message}")
