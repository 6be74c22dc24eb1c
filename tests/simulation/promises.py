"""What must hold in a simulation, whatever happened: after each action, and when all is over."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import h11

from lbproxy.proxy.counters import BalancerCounters
from lbproxy.proxy.relay import Relay
from lbproxy.proxy.waits import Waits

from ..fuzz.reading import Message, check_raw, hold, read_request, read_response, tokens
from .messages import Asked, body_of
from .peers import Backend, Client
from .routes import FIXED, SHADOW, body_as_sent

if TYPE_CHECKING:
    from .world import World

__all__ = ["check_all", "check_counters", "check_timers", "check_tunnels", "check_waits", "what_is_left"]

#: What a client may be answered in the balancer's own name.
_OWN = {400, 405, 408, 413, 414, 417, 431, 501, 502, 503, 504, 505}

#: The same where there are routes: what filters answer, and there is none; and a fixed answer.
_OF_ROUTES = {204, 304, 403, 404, 429, FIXED}

#: The words for how an exchange ends.
_ENDS = frozenset(re.findall(r"``([a-z-]+)``", (Relay.__doc__ or "").partition(":ivar end:")[2].partition(":ivar")[0]))

#: And what filters call their answers.
_ENDS_OF_FILTERS = frozenset(("fault", "forbidden", "rate-limited", "too-many-in-flight"))

# Counters.


class _Both:
    """What two desks have counted together."""

    def __init__(self, one: BalancerCounters, other: BalancerCounters) -> None:
        for name in ("in_flight", "tunnels", "tunnels_total", "request_bytes", "response_bytes"):
            setattr(self, name, getattr(one, name) + getattr(other, name))
        self.ends = Counter(one.ends) + Counter(other.ends)
        self.statuses = Counter(one.statuses) + Counter(other.statuses)
        self.buckets = [*one.buckets, *other.buckets]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def check_counters(world: World) -> None:
    """They add up at any time."""
    rig = world.rig
    counters = rig.counters if world.routing is None else _Both(rig.counters, rig.resource.site.router.counters)
    in_flight = [member.in_flight for member in rig.pool.members.values()]
    budget = rig.balancer.budget
    most = counters.in_flight + budget.active  # an exchange with two attempts at once has a place in the budget
    hold(min(in_flight) >= 0 and sum(in_flight) <= most, "each attempt is an exchange's", in_flight)
    hold(0 <= counters.tunnels <= counters.in_flight, "tunnels are exchanges", counters.tunnels, counters.in_flight)
    hold(sum(counters.ends.values()) == sum(counters.statuses.values()) == len(rig.ended), "each exchange ends once")
    hold(not counters.ends.get("bug"), "there is no bug", counters.ends)
    known = _ENDS if world.routing is None else _ENDS | _ENDS_OF_FILTERS
    hold(counters.ends.keys() <= known, "each end has a word that is known", counters.ends)
    tunnels = counters.tunnels_total - counters.tunnels
    hold(sum(counters.buckets) == len(rig.ended) - tunnels, "each exchange but a tunnel has a duration", counters.buckets)
    for name in ("request_bytes", "response_bytes"):
        total = sum(getattr(exchange, name) for exchange in rig.ended)
        hold(getattr(counters, name) == total, "bytes are those of all exchanges", name)
    if not world.web:
        connected = sum(not client.lost for client in world.clients)
        hold(rig.listener.open == len(rig.factory.connections) == connected, "open connections are counted", rig.listener.open)


def check_waits(world: World) -> None:
    """Limits are kept, who waits has a reason to, and what is taken is somebody's who runs."""
    balancer = world.rig.balancer
    budget, line, waits = balancer.budget, balancer.line, balancer.waits
    hold(len(waits) <= world.rig.counters.in_flight, "who waits runs", len(waits))
    hold(budget.active == sum(one.budgeted for one in waits), "the retry budget is exchanges'", budget.active)
    hold(0 <= budget.waiting <= len(waits), "who waits for it is one", budget.waiting)
    hold(len(line.waiting) <= world.settings["queue"], "the line keeps its limit", len(line.waiting))
    hold(waits.issuperset(line.waiting), "who stands in the line waits", len(line.waiting))
    watched = {one for one in balancer.sweep.watched if isinstance(one, Waits)}
    of_all = waits if world.routing is None else waits | world.routing.shadow.waits
    hold(of_all >= watched, "whose deadline is watched runs", len(watched))
    for member in world.rig.pool.members.values():
        hold(member.in_flight <= member.limit, "a backend has no more than it may", member.address, member.in_flight)
        free = member.fit and member.in_flight < member.limit
        for one in line.waiting if free else ():
            tried = [attempt.member for attempt in one._exchange.attempts]
            hold(member in tried, "nobody waits for a place that is free", member.address)


def check_timers(world: World) -> None:
    """When the balancer has stopped too, nothing is to be done any more."""
    rig = world.rig
    rig.resource.stop()
    rig.turn()
    hold(world.web or not rig.reactor.getDelayedCalls(), "no timer is left", rig.reactor.getDelayedCalls())
    hold(not rig.balancer.waits and not rig.balancer.line.waiting, "nobody waits", rig.balancer.waits)
    if world.routing is not None:
        world.routing.check_all_are_forgotten()
    hold(rig.balancer.budget.active == rig.balancer.budget.waiting == 0, "no place is taken", rig.balancer.budget.active)


def what_is_left(world: World) -> list[str]:
    """What goes on, in words."""
    rig = world.rig
    in_flight = sum(desk.counters.in_flight for desk in rig.resource.site.desks())
    left = [f"{in_flight} exchanges"] if in_flight else []
    left += [f"{watched!r}, watched" for watched in rig.balancer.sweep.watched]
    left += [backend.name for backend in world.backends if not backend.lost]
    if not world.web:  # twisted.web has its own ideas of when a connection ends
        left += [client.name for client in world.clients if not client.lost]
    return left


# What was said.


def check_all(world: World) -> None:
    """Each message that arrived is the one that was sent, for each client and each backend."""
    came: Counter[int] = Counter()
    for backend in world.backends:
        for place, data in enumerate(backend.requests):
            number = _check_request(world, backend, bytes(data), place + 1 == len(backend.requests))
            came[number] += backend.host != SHADOW
    for number, times in came.items():
        hold(times <= 1 or world.asked[number].method != b"POST", "what may not be repeated is not", number, times)
    for client in world.clients:
        try:
            _check_answers(world, client)
        except h11.RemoteProtocolError as error:
            hold(False, "clients get responses", client.name, str(error), bytes(client.got[:2000]))


def _check_request(world: World, backend: Backend, data: bytes, last: bool) -> int:
    try:
        message = read_request(data)
    except h11.RemoteProtocolError as error:
        raise AssertionError(f"backends get requests: {backend.name}, {error}, {data[:2000]!r}") from error
    check_raw(message)
    number = int(message.head.target[1:])
    asked = world.asked.get(number)
    assert asked is not None, f"backends get what was asked: {number}"
    hold(message.head.method == asked.method, "a method stays what it was", number)
    _check_body(message.body, message.whole, asked.body, f"request {number}")
    client = next(client for client in world.clients if asked in client.asked)
    sent_whole = len(client.sent) >= asked.ends and not asked.broken
    hold(sent_whole or not message.whole, "a request is whole only if its client sent all of it", number)
    hold(message.whole or last, "a connection is used again only after a whole request", number)
    if last and backend.tunnel_begins is not None and asked.upgrade:
        said = bytes(client.sent[asked.ends :])
        hold(said.startswith(message.rest), "a tunnel passes on what its client says", number)
    else:
        hold(not message.rest, "a backend gets one request at a time", number, message.rest[:200])
    return number


def _check_body(came: bytes, whole: bool, body: bytes, what: str) -> None:
    hold(came == body if whole else body.startswith(came), "a body stays what it was", what)


def _check_answers(world: World, client: Client) -> None:
    """They are those to its requests, in their order; after the last there may be one of ours that says what was wrong."""
    data = bytes(client.got)
    ended = client.closed and not client.aborted and not client.left
    waiting = list(client.asked)
    answered = 0
    while data:
        asked = waiting.pop(0) if waiting else None
        data = _without_interim(data, asked)
        if data.startswith(b"HTTP/1.1 101 "):
            hold(asked is not None and asked.upgrade, "101 comes to who asked for it", asked)
            _check_tunnel(world, data)
            return
        if not data:
            break
        known = asked is not None and len(client.sent) >= asked.head_ends
        message = read_response(data, asked.method if asked is not None and known else b"GET", ended)
        if message.head is None:
            hold(not ended, "a response's head is whole", data[:200])
            break
        check_raw(message)
        answered += 1
        _check_answer(world, message, asked if known else None)
        data = message.rest
        if not message.whole:
            hold(not ended, "a response that was cut is seen to be", client.name, bytes(data[:200]))
            break
        hold(not data or b"close" not in tokens(message, b"connection"), "nothing follows the last response", data[:200])
    if ended and not (world.web and client.stopped):  # twisted.web reads nothing from one that does not read
        _check_first(client, answered)


def _without_interim(data: bytes, asked: Asked | None) -> bytes:
    while data.startswith(b"HTTP/1.1 1") and not data.startswith(b"HTTP/1.1 101 "):
        head, _, data = data.partition(b"\r\n\r\n")
        number = head.partition(b"X-Number: ")[2]
        hold(asked is not None and (not number or int(number) == asked.number), "hints are for who asked", head)
    return data


def _check_answer(world: World, message: Message, asked: Asked | None) -> None:
    numbers = message.values(b"x-number")
    if not numbers:
        if message.values(b"x-resource"):
            number = int(message.values(b"x-resource")[0])
            hold(asked is not None and number == asked.number, "a resource's answer is to what was asked", number, asked)
            body = b"" if asked is None or asked.method == b"HEAD" else body_of(number, number % 7 * 20_000)
            _check_body(body_as_sent(message), message.whole, body, f"resource's answer {number}")
            return
        own = _OWN if world.routing is None else _OWN | _OF_ROUTES
        hold(message.head.status_code in own, "what no backend answered is an error", message.head.status_code)
        return
    hold(asked is not None and int(numbers[0]) == asked.number, "an answer is to what was asked", numbers, asked)
    answer = world.answers[int(message.values(b"x-answer")[0])]
    hold(answer not in world.of_shadow, "nobody gets a mirror's answer", answer.number)
    _check_body(body_as_sent(message), message.whole, answer.body, f"answer {answer.number}")
    hold(answer.whole or not message.whole, "a response is whole only if its backend sent all of it", answer.number)


def _check_tunnel(world: World, data: bytes) -> None:
    head, _, heard = data.partition(b"\r\n\r\n")
    number = int(head.partition(b"X-Answer: ")[2].split(b"\r\n")[0])
    backend = next(backend for backend in world.backends if backend.answer is world.answers[number])
    said = bytes(backend.sent[backend.tunnel_begins :])
    hold(said.startswith(heard), "a tunnel passes on what its backend says", number)


def check_tunnels(world: World) -> None:
    """While both ends of a tunnel read, all that is said arrives, an end of the sending too."""
    for backend in world.backends:
        asked = world.asked[backend.answer.to] if backend.answer is not None else None
        if backend.tunnel_begins is None or asked is None or not asked.upgrade or backend.closed or backend.left:
            continue
        client = next(client for client in world.clients if asked in client.asked)
        if not (client.closed or client.left) and b"HTTP/1.1 101 " in client.got:
            hold(backend.ended or not client.said_all, "a client's half-close arrives", client.name)
            hold(client.ended or not backend.said_all, "a backend's half-close arrives", backend.name)
            if not (client.ended or backend.ended):  # afterwards it may be over
                heard = bytes(backend.requests[-1]).partition(b"\r\n\r\n")[2]
                hold(heard == client.sent[asked.ends :], "what a client says in its tunnel arrives", client.name)
                hold(client.got.endswith(backend.sent[backend.tunnel_begins :]), "what a backend says arrives", backend.name)


def _check_first(client: Client, answered: int) -> None:
    """Whoever asks, and stays, is answered or sees a reset."""
    if client.asked and len(client.sent) >= client.asked[0].ends:
        hold(answered, "a request is answered", client.name)
