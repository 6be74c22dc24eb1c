"""The promises about responses: whatever a backend sends, a client gets one response for each request, the backend's or one of
ours, or sees that it was cut."""

from __future__ import annotations

import h11

from ..support import Peer, Rig
from .reading import Message, check_raw, hold, in_words, is_stricter, read_request, read_response, tokens

__all__ = ["ENDINGS", "Asked", "check_responses"]

#: What a backend does after its bytes: it waits until nothing else happens and then closes, it closes, it resets.
ENDINGS = ("wait", "close", "reset")

#: Fields that a response may have although the backend sent none.
_OURS = {b"connection", b"transfer-encoding", b"date", b"via"}


class Asked:
    """One request of the client's, without a body, and what a backend that gets it sends.

    :ivar method: of the request.
    :ivar pieces: the backend's bytes, as they come.
    :ivar ending: one of :data:`ENDINGS`.
    """

    def __init__(self, method: bytes, pieces: list[bytes], ending: str = "wait") -> None:
        self.method = method
        self.pieces = pieces
        self.ending = ending

    def __repr__(self) -> str:
        return f"Asked({self.method!r}, {self.pieces!r}, {self.ending!r})"


class Backend:
    """A backend's connection, which answers each request with the bytes that stand ready for it.

    :ivar served: the numbers of the requests that it got, in order.
    :ivar sent: what it has sent.
    """

    def __init__(self, peer: Peer, asked: list[Asked]) -> None:
        self.served: list[int] = []
        self._peer = peer
        self._asked = asked
        self.sent = b""
        self._asked_at: list[int] = []  # how much of it had been sent when each request came
        self._ended = False  # whether it closed in good order, before it was closed

    def work(self) -> bool:
        """Answer what is here; whether anything was."""
        self._see_request()
        data = self._peer.received()
        if not data:
            return False
        message = read_request(data)
        hold(message.whole and not message.rest, "a backend gets one request at a time", data)
        number = int(message.head.target[1:])
        self.served.append(number)
        asked = self._asked[number]
        for piece in asked.pieces:
            if not self._peer.closed:
                self.sent += piece
                self._peer.send(piece)
                self._see_request()
        if asked.ending != "wait":
            self.end(asked.ending)
        return True

    def _see_request(self) -> None:
        """The next request may come while the pieces of an answer are still being sent."""
        if self._peer.value() and len(self._asked_at) == len(self.served):
            self._asked_at.append(len(self.sent))

    def end(self, ending: str = "close") -> None:
        """Close or reset the connection, unless that has been done."""
        if self._peer.closed:
            return
        self._ended = ending == "close"
        if self._ended:
            self._peer.hang_up()
        else:
            self._peer.reset()

    def response_to(self, number: int) -> Message:
        """What it has answered to a request, as h11 reads it: one answer after the other, whichever piece they came in."""
        rest, place = self.sent, self.served.index(number)
        for before in self.served[:place]:
            rest = read_response(rest, self._asked[before].method, False).rest
        unasked = self._asked_at[place] - (len(self.sent) - len(rest))
        hold(unasked <= 0, "bytes that nobody asked for are no response", rest[:unasked])
        return read_response(rest, self._asked[number].method, self._ended)


class Case:
    """A client and the backend."""

    def __init__(self, asked: list[Asked], minor: int) -> None:
        self.rig = Rig()
        self.asked = asked
        self.client = self.rig.client()
        self.answers = b""
        self.backends: list[Backend] = []
        self._minor = minor

    def run(self, pipelined: bool) -> None:
        """All that can happen happens; backends that are still waited for then close."""
        requests = [self._request(number, one.method) for number, one in enumerate(self.asked)]
        for data in [b"".join(requests)] if pipelined else requests:
            self.client.send(data)
            self._settle()
            while self.rig.counters.in_flight and self.backends:
                self.backends[-1].end()
                if not self._settle():
                    break
        self.answers = self.client.received()

    def _request(self, number: int, method: bytes) -> bytes:
        kept = b"" if self._minor else b"Connection: keep-alive\r\n"
        return b"%b /%d HTTP/1.%d\r\nHost: a\r\n%b\r\n" % (method, number, self._minor, kept)

    def _settle(self) -> bool:
        """Let all work until nothing moves; whether an exchange has ended, or another attempt has begun."""
        before = len(self.rig.ended), len(self.backends)
        moved = True
        while moved:
            self.rig.turn()
            moved = bool(self.rig.connects)
            while self.rig.connects:
                self.backends.append(Backend(self.rig.accept(), self.asked))
            for backend in self.backends:
                moved = backend.work() or moved
        return before != (len(self.rig.ended), len(self.backends))


def check_responses(asked: list[Asked], minor: int = 1, pipelined: bool = True) -> list[str]:
    """Let a client ask and a backend answer, and hold lbproxy to what it promises.

    :param minor: the client's HTTP version, 1.x.
    :param pipelined: whether the client asks all at once, or each time when nothing more comes.
    :return: how the exchanges ended, each in its word.
    :raises Unkept: when a promise is not kept.
    """
    case = Case(asked, minor)
    case.run(pipelined)
    hold(not case.rig.counters.in_flight, "every exchange ends", case.rig.counters.ends)
    rest, client = case.answers, case.client
    for number, exchange in enumerate(case.rig.ended):
        hold(exchange.end != "bug", "no error of ours")
        try:
            message = read_response(rest, asked[number].method, client.ended and not client.aborted)
        except h11.ProtocolError as error:
            hold(False, f"a second parser understands what a client gets ({in_words(error)})", str(error), rest)
        rest = message.rest
        if message.head is not None:
            _check_message(message, minor)
        if exchange.end in ("done", "truncated"):
            _check_passed_on(case, number, message, exchange.end)
        else:
            _check_own(message, exchange.status, asked[number].method)
    hold(not rest, "one response never becomes two", rest)
    hold(len(case.rig.ended) == len(asked) or client.ended, "each request is answered, or the connection ends")
    return [exchange.end for exchange in case.rig.ended]


def _check_message(message: Message, minor: int) -> None:
    check_raw(message)
    hold(message.head.http_version == b"1.1", "clients get HTTP/1.1", message.head)
    hold(101 not in message.interim and (minor or not message.interim), "no interim response but for whom it is")
    named = tokens(message, b"connection")
    allowed = {b"close", b"keep-alive"} | ({b"upgrade"} if message.head.status_code == 426 else set())
    hold(named <= allowed, "Connection is ours", named)
    framing = message.values(b"content-length") + message.values(b"transfer-encoding")
    hold(not framing or message.head.status_code != 204, "a 204 has no framing", framing)
    hold(minor or not message.values(b"transfer-encoding"), "HTTP/1.0 gets no chunks", message.head)


def _check_passed_on(case: Case, number: int, message: Message, end: str) -> None:
    """The client got what the backend that was asked last sent: whole, or visibly cut."""
    hold(message.whole == (end == "done"), "a response that breaks off is never finished", end, case.answers)
    hold(message.whole or case.client.aborted, "a response that breaks off is cut where its reader sees it", case.answers)
    backend = next(backend for backend in reversed(case.backends) if number in backend.served)
    try:
        theirs = backend.response_to(number)
    except h11.ProtocolError as error:
        excused = end == "truncated" or is_stricter(error, backend.sent)
        hold(excused, f"a second parser takes what was passed on ({in_words(error)})", str(error), backend.sent)
        return
    hold(theirs.head is not None, "a head that is passed on is complete", backend.sent)
    hold(theirs.whole or end == "truncated", "what is whole is passed on whole, and nothing else", end, backend.sent)
    if message.head is None:
        return
    wanted, got = theirs.head.status_code, message.head.status_code
    hold(wanted == got, "the status is the backend's", wanted, got)
    hold(theirs.body[: len(message.body)] == message.body, "the body is the backend's", theirs.body, message.body)
    hold(not message.whole or theirs.body == message.body, "the body is the backend's", theirs.body, message.body)
    names = message.names()
    hold(names - theirs.names() <= _OURS, "the fields are the backend's", names)
    kept_back = tokens(theirs, b"connection") - _OURS - {b"content-length", b"upgrade"}
    hold(not kept_back & names, "fields that Connection names stay behind", kept_back)


def _check_own(message: Message, status: int, method: bytes) -> None:
    """The client got an answer of ours, whole."""
    hold(message.whole and message.head.status_code == status >= 500, "a failed attempt is answered in our name", status)
    begins = b"" if method == b"HEAD" else b"%d " % status
    hold(message.body.startswith(begins) and bool(message.body) == bool(begins), "our answer is ours", message.body)
