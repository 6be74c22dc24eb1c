"""The promises about requests: whatever a client sends, what reaches backends is one unambiguous request for each that was
accepted."""

from __future__ import annotations

import re
from typing import Any

import h11

from ..support import Peer, Rig
from .reading import LARGE, Message, check_raw, hold, in_words, is_stricter, read_request, read_response, tokens

__all__ = ["BACKENDS", "check_requests"]

_ABSOLUTE = re.compile(rb"(?i)https?://([^/?#]*)(.*)\Z")

#: How backends are: they answer when a request is whole, when its head is, or they accept when the client has sent all.
BACKENDS = ("patient", "hasty", "late")

#: Fields of one connection only, which no backend may get; TE with ``trailers`` and what an upgrade needs are looked at below.
_HOP_BY_HOP = (b"keep-alive", b"proxy-connection")
#: Fields that Connection cannot name away: a message needs them, or they are written anew whatever the client had in them.
_OURS = {
    *(b"host", b"content-length", b"transfer-encoding", b"connection", b"te", b"upgrade", b"expect"),
    *(b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id", b"forwarded", b"via"),
}


class Accepted:
    """An exchange as the listener sees it, which remembers the body that the listener gave it."""

    def __init__(self, exchange: Any) -> None:
        self.exchange = exchange
        self.body = b""
        self.ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.exchange, name)

    def body_data(self, data: bytes) -> None:
        self.body += data
        self.exchange.body_data(data)

    def body_end(self, trailers: bytes = b"") -> None:
        self.ended = True
        self.exchange.body_end(trailers)


class Recorder:
    """Stands between a listener and its balancer, and records what is accepted."""

    def __init__(self, maker: Any) -> None:
        self._maker = maker
        self.accepted: list[Accepted] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._maker, name)

    def exchange(self, *words: Any) -> Accepted:
        return Accepted(self._maker.exchange(*words))

    def forward(self, accepted: Accepted) -> None:
        self.accepted.append(accepted)
        self._maker.forward(accepted.exchange)


class Backend:
    """A backend that reads with h11 and answers.

    :ivar messages: what it has read, in order; only the last one may be unfinished.
    :ivar unfinished: the bytes of that one.
    """

    def __init__(self, peer: Peer, hasty: bool) -> None:
        self.peer = peer
        self.hasty = hasty
        self.messages: list[Message] = []
        self.unfinished = b""
        self._connection = h11.Connection(h11.SERVER, LARGE)

    def work(self) -> list[Message]:
        """Read what is here, and answer; gives the requests that began."""
        data = self.peer.received()
        if not data:
            return []
        before = len(self.messages)
        self.unfinished += data
        self._connection.receive_data(data)
        while (event := self._connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            self._take(event)
        return self.messages[before:]

    def _take(self, event: Any) -> None:
        if isinstance(event, h11.Request):
            self.messages.append(Message())
        message = self.messages[-1]
        message.take(event)
        answer = b""
        if isinstance(event, h11.Request) and self.hasty:
            answer = self._answer(message.head.method)
        elif isinstance(event, h11.Request) and self._connection.they_are_waiting_for_100_continue:
            answer = self._send(h11.InformationalResponse(status_code=100, headers=[]))
        elif message.whole:
            answer = b"" if self.hasty else self._answer(message.head.method)
            self._next(message)
        self.peer.send(answer)

    def _next(self, message: Message) -> None:
        message.rest = self._connection.trailing_data[0]
        end = len(self.unfinished) - len(message.rest)
        message.raw, self.unfinished = self.unfinished[:end], self.unfinished[end:]
        self._connection.start_next_cycle()

    def _answer(self, method: bytes) -> bytes:
        data = self._send(h11.Response(status_code=200, headers=[("Content-Length", "2")]))
        if method != b"HEAD":
            data += self._send(h11.Data(data=b"ok"))
        return data + self._send(h11.EndOfMessage())

    def _send(self, event: Any) -> bytes:
        return self._connection.send(event) or b""

    def close(self) -> None:
        """All that was sent is here: what is unfinished keeps its bytes."""
        if self.messages and not self.messages[-1].whole:
            self.messages[-1].raw = self.unfinished
        else:
            hold(not self.unfinished, "nothing but requests reaches a backend", self.unfinished)


class Case:
    """One client, its bytes, and the backends that they reach."""

    def __init__(self, backends: str, settings: dict[str, Any]) -> None:
        self.rig = Rig(**settings)
        self.hasty, self.late = backends == "hasty", backends == "late"
        self.recorder = Recorder(self.rig.resource)
        self.rig.factory.maker = self.recorder
        self.client = self.rig.client()
        self.answers = b""
        self.closed = False
        self.backends: list[Backend] = []
        self.reached: list[tuple[Backend, Message]] = []

    def send(self, pieces: list[bytes]) -> None:
        """The client sends the pieces, then leaves; everything that follows happens."""
        for piece in pieces:
            self.client.send(piece)
            self.settle()
        self.late = False
        self.settle()
        self.answers = self.client.received()
        self.closed = self.client.ended
        self.client.reset()
        self.settle()
        for backend in self.backends:
            backend.close()

    def settle(self) -> None:
        """Let all work until nothing moves."""
        moved = True
        while moved:
            self.rig.turn()
            moved = bool(self.rig.connects) and not self.late
            while self.rig.connects and not self.late:
                self.backends.append(Backend(self.rig.accept(), self.hasty))
            for backend in self.backends:
                moved = bool(backend.peer.value()) or moved
                self.reached += [(backend, message) for message in backend.work()]


def check_requests(pieces: list[bytes], backends: str = "patient", **settings: Any) -> list[Message]:
    """Let a client send the pieces, and hold lbproxy to what it promises.

    :param backends: one of :data:`BACKENDS`.
    :param settings: of the balancer.
    :return: the requests that reached a backend, as h11 reads them.
    :raises Unkept: when a promise is not kept.
    """
    case = Case(backends, settings)
    try:
        case.send(pieces)
    except h11.ProtocolError as error:
        reached = [backend.unfinished for backend in case.backends]
        hold(False, f"a second parser understands what reaches a backend ({in_words(error)})", str(error), reached)
    accepted = case.recorder.accepted
    hold(all(one.exchange.end not in ("", "bug") for one in accepted), "every exchange ends, without an error of ours")
    _check_one_for_each(accepted, case.reached)
    for _, message in case.reached:
        _check_message(message)
    _check_read_alike(b"".join(pieces), case)
    _check_answers(case)
    return [message for _, message in case.reached]


def _check_one_for_each(accepted: list[Accepted], reached: list[tuple[Backend, Message]]) -> None:
    """What was accepted is what came, once, in order, with the same bodies."""
    missing = len(accepted) - len(reached)
    hold(missing in (0, 1), "one request reaches a backend for each accepted", len(accepted), len(reached))
    if missing:
        hold(accepted[-1].exchange.end in ("bad-request", "client-left"), "none is lost", accepted[-1].exchange.end)
    for one, (backend, message) in zip(accepted, reached):
        request = one.exchange.request
        wanted, got = (request.method, request.target), (message.head.method, message.head.target)
        hold(wanted == got, "the request that was accepted is the one that comes", wanted, got)
        _check_whole(one, backend, message)


def _check_whole(one: Accepted, backend: Backend, message: Message) -> None:
    """A request is complete at the backend where it was at the client, and nowhere else."""
    done = one.exchange.end == "done"
    hold(done or not message.whole, "what breaks off is never completed", one.exchange.end, message.raw)
    hold(message.whole or not done or backend.hasty, "what is whole arrives whole", message.raw)
    if message.whole:
        hold(one.ended or not one.exchange.request.has_body, "a body ends where its sender ends it", message.raw)
        hold(message.body == one.body, "the body is the one that was accepted", message.body, one.body)
    else:
        hold(one.body.startswith(message.body), "the body is the one that was accepted", message.body, one.body)
        hold(backend.peer.closed if done else backend.peer.aborted, "a connection in mid-request ends", message.raw)


def _check_message(message: Message) -> None:
    """One framing field, none of one connection only, and to the letter."""
    check_raw(message)
    hold(message.head.http_version == b"1.1", "backends get HTTP/1.1", message.head)
    for name in _HOP_BY_HOP:
        hold(not message.values(name), "no field of one connection goes on", name)
    named = tokens(message, b"connection")
    upgrade, te = message.values(b"upgrade"), message.values(b"te")
    hold(named <= {b"upgrade", b"te"}, "no field of one connection goes on", named)
    hold(len(upgrade) == (b"upgrade" in named), "Upgrade goes on together with its name in Connection", upgrade, named)
    hold(te == [b"trailers"] * (b"te" in named), "TE says trailers or nothing, and stands in Connection", te, named)


def _check_read_alike(sent: bytes, case: Case) -> None:
    """h11 reads the same requests in what the client sent as were accepted: they begin and end at the same bytes."""
    for number, one in enumerate(case.recorder.accepted):
        sent = _without_empty_lines(sent)
        # What was answered early may not have come to its end.
        done = one.exchange.end == "done" and (one.ended or not case.hasty or not one.exchange.request.has_body)
        try:
            message = read_request(sent)
        except h11.ProtocolError as error:
            excused = not done or is_stricter(error, sent)
            hold(excused, f"a second parser takes what was accepted ({in_words(error)})", str(error), sent)
            return
        request = one.exchange.request
        hold(message.head.method == request.method, "a second parser reads the same request", message.head.method)
        _check_target(message, request.target)
        hold(message.whole or not done, "a second parser sees the same end", sent)
        hold(message.body[: len(one.body)] == one.body, "a second parser reads the same body", message.body, one.body)
        hold(not done or message.body == one.body, "a second parser reads the same body", message.body, one.body)
        if number < len(case.reached):
            _check_named(message, case.reached[number][1])
        sent = message.rest


def _check_target(message: Message, target: bytes) -> None:
    """It goes on as it came, or, of an absolute one, what follows the authority, which Host then names (RFC 9112, 3.2.2)."""
    theirs = message.head.target
    if theirs == target:
        return
    absolute = _ABSOLUTE.match(theirs)
    hold(absolute is not None, "a second parser reads the same target", theirs, target)
    assert absolute is not None
    authority, path = absolute.groups()
    wanted = path if path.startswith(b"/") else b"*" if not path and message.head.method == b"OPTIONS" else b"/" + path
    hold(target == wanted, "a second parser reads the same target", theirs, target)
    hosts = [_without_default_port(host) for host in message.values(b"host")]
    hold(hosts in ([], [_without_default_port(authority)]), "a target's authority is the Host", theirs, hosts)


def _without_default_port(host: bytes) -> bytes:
    return re.sub(rb":(80|443)?\Z", b"", host.lower())


def _without_empty_lines(data: bytes) -> bytes:
    """RFC 9112 section 2.2: empty lines before a request are ignored. h11 refuses them."""
    while data.startswith(b"\r\n"):
        data = data[2:]
    return data


def _check_named(asked: Message, got: Message) -> None:
    """What Connection named stays behind."""
    names = got.names() & (tokens(asked, b"connection") - _OURS)
    hold(not names, "fields that Connection names stay behind", names)


def _check_answers(case: Case) -> None:
    """The client gets one answer for each request, and one refusal at most, after which nothing goes on."""
    refused = sum(case.rig.listener.rejected.values())
    hold(refused <= 1, "nothing is read after a refusal", refused)
    rest = case.answers
    done = [one for one in case.recorder.accepted if one.exchange.end == "done"]
    for one in done:
        message = read_response(rest, one.exchange.request.method, case.closed)
        hold(message.whole and message.head.status_code == 200, "each request is answered", rest)
        rest = message.rest
    if refused:
        message = read_response(rest, b"GET", True)
        hold(message.whole and message.head.status_code >= 400, "what is refused is told so", rest)
        hold(message.values(b"connection") == [b"close"] and not message.rest, "a refusal is the last answer", rest)
    else:
        interim = rest == b"HTTP/1.1 100 \r\n\r\n"  # as h11 writes it: the backend's own goes on
        hold(not rest or interim, "no answer without a request", rest)
