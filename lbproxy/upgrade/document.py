"""What the old program knows that the new one is to know too."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import attrs

from ..balance.pool import Pool
from ..balance.state import Verdict
from ..errors import LBProxyError
from ..listener import descriptors_of, place_of
from ..state_file import state_text
from ..workers.loans import Loans, packed_loans

if TYPE_CHECKING:
    from ..service import LoadBalancerService

__all__ = ["FORMAT", "Descriptor", "Document", "document_file", "document_of", "read_document", "sockets_of", "verdicts"]

#: The version of the document. One of another version is not read.
FORMAT = 1

Descriptor = tuple[int, int]
"""A listening socket's number, and its address family."""


@attrs.frozen(kw_only=True)
class Document:
    """All plain values, for JSON.

    :ivar program: the version of lbproxy that wrote it.
    :ivar sockets: the listening sockets, by the descriptions of their endpoints (:func:`lbproxy.listener.place_of`).
    :ivar random_key: signs sticky sessions where no key was given; hexadecimal.
    :ivar said: what operators said at run time (:func:`lbproxy.state_file.state_text`).
    :ivar files: what may be read of files where it may not be any more (:mod:`lbproxy.workers.loans`); of one that says nothing
        of it, nothing.
    :ivar calls: tell pools who is down (:func:`verdicts`), as :func:`lbproxy.workers.calls.tell` makes them.
    """

    program: str
    sockets: dict[str, list[Descriptor]]
    random_key: str
    said: str
    calls: list[list[Any]]
    files: Loans = attrs.Factory(dict)

    def text(self) -> str:
        """As it is handed on."""
        return json.dumps({"version": FORMAT, **attrs.asdict(self)})

    @classmethod
    def of(cls, text: str) -> Document:
        """Read it. What it has beside what is known here is left out.

        :raises LBProxyError: for what is no such document.
        """
        try:
            whole = json.loads(text)
            if whole["version"] != FORMAT:
                raise LBProxyError(f"what the old program handed on has version {whole['version']!r}; version {FORMAT} is read")
            sockets = {str(place): [(int(fd), int(family)) for fd, family in found] for place, found in whole["sockets"].items()}
            return cls(
                program=str(whole["program"]),
                sockets=sockets,
                random_key=bytes.fromhex(whole["random_key"]).hex(),
                said=str(whole["said"]),
                calls=[[str(pool), str(what), value] for pool, what, value in whole["calls"]],
                files=dict(whole.get("files", {})),
            )
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise LBProxyError(f"what the old program handed on cannot be read ({type(error).__name__}: {error})") from None


def sockets_of(service: LoadBalancerService) -> dict[str, list[Descriptor]]:
    """The sockets of all listeners, clients' and operators', by their places."""
    sockets: dict[str, list[Descriptor]] = {}
    for listener in service.listeners.all:
        found = descriptors_of(listener)
        if found:
            sockets.setdefault(place_of(listener.description), []).extend(found)
    return sockets


def document_of(service: LoadBalancerService, program: str, sockets: dict[str, list[Descriptor]]) -> Document:
    """What a service knows now.

    :param sockets: numbered as the new program has them.
    """
    pools = [balancer.pool for balancer in service.site.balancers.values()]
    return Document(
        program=program,
        sockets=sockets,
        random_key=service.site.router.random_key.hex(),
        said=said_at(service),
        calls=[call for pool in pools for call in verdicts(pool)],
        files=packed_loans(),
    )


def verdicts(pool: Pool) -> list[list[Any]]:
    """The calls that tell another pool of this name who is down here, and why."""
    found = []
    for member in pool.members.values():
        why = member.evidence
        if not member.probed_up:
            found.append(Verdict(member.address, False, why.get("probe", member.reason), "probe"))
        if member.ejected:
            found.append(Verdict(member.address, False, why.get("traffic", member.reason), "traffic", member.ejected))
    return [[pool.name, "apply", attrs.asdict(verdict)] for verdict in found]


def said_at(service: LoadBalancerService) -> str:
    """What operators of a service have said so far."""
    return state_text({} if service.members is None else service.members.overlays)


def document_file(document: Document) -> int:
    """The descriptor of a file in memory that has the document."""
    fd = os.memfd_create("lbproxy-upgrade")
    with os.fdopen(os.dup(fd), "w", encoding="utf-8") as file:
        file.write(document.text())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def read_document(fd: int) -> Document:
    """Read it, and close the file.

    :raises LBProxyError: for what is no such document.
    """
    try:
        with os.fdopen(fd, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        raise LBProxyError(f"what the old program handed on cannot be read: {error}") from None
    return Document.of(text)
