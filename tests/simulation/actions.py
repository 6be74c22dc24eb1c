"""What clients, backends and those who run the balancer do, each a small function that gives whether there was anything to do.

The numbers of the tables say how often, compared with each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from lbproxy.balance.state import Wish

from .messages import SWITCHING, UNASKED, body_of
from .peers import Backend, Client, End

if TYPE_CHECKING:
    from .world import World

__all__ = ["BACKENDS", "BALANCER", "CLIENTS"]

_UNASKED = b"HTTP/1.1 200 OK\r\nX-Number: %d\r\nContent-Length: 2\r\n\r\nno" % UNASKED

# Clients.


def asks(world: World, client: Client) -> bool:
    """A whole request."""
    return world.ask(client) and client.say(client.out.rest())


def begins_to_ask(world: World, client: Client) -> bool:
    """A request's first part."""
    return world.ask(client) and client.say(client.out.part())


def asks_much_at_once(world: World, client: Client) -> bool:
    """Some small requests, pipelined."""
    for _ in range(world.rng.choice((2, 3, 30))):
        world.ask(client, "GET")
    return client.say(client.out.rest())


def sends_a_part(world: World, client: Client) -> bool:
    """What comes next: a chunk, a part of a sized body, a head."""
    return client.say(client.out.part())


def sends_a_piece(world: World, client: Client) -> bool:
    """Some bytes of that."""
    return client.say(client.out.piece(world.rng))


def sends_the_rest(world: World, client: Client) -> bool:
    """All of what it had begun."""
    return client.say(client.out.rest())


def says_something_in_its_tunnel(world: World, client: Client) -> bool:
    """Bytes of another protocol; too early ones too."""
    if not client.asked or not client.asked[-1].upgrade or client.out or not (client.in_tunnel or world.rng.random() < 0.2):
        return False
    client.talks_nonsense = True
    return client.say(body_of(world.number(), world.rng.choice((1, 1000, 100_000))))


def talks_nonsense(world: World, client: Client) -> bool:
    """Bytes that begin no request, or never end one."""
    if client.out:
        return False
    client.talks_nonsense = True
    return client.say(world.rng.choice((b"bad\r\n\r\n", b"GET / HT", b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01")))


def breaks_its_chunks(world: World, client: Client) -> bool:
    """A chunked body goes on with what is no chunk."""
    if not client.in_chunks or client.gone:
        return False
    client.asked[-1].broken = client.talks_nonsense = True
    client.out.forget()
    return client.say(b"no chunk\r\n")


def ends_its_sending(world: World, client: Client) -> bool:
    """A half-close; ``twisted.web`` knows of none, and takes it for the end."""
    if client.gone:
        return False
    if world.web:
        client.leave()
    else:
        client.half_close()
    return True


def leaves(world: World, peer: End) -> bool:
    """A close in good order."""
    if peer.gone:
        return False
    peer.leave()
    return True


def breaks_off(world: World, peer: End) -> bool:
    """A reset."""
    if peer.lost:
        return False
    peer.break_off()
    return True


def reads_no_more(world: World, peer: End) -> bool:
    """What is between fills."""
    if peer.full or peer.lost:
        return False
    peer.stop_reading()
    return True


def reads_a_little(world: World, peer: End) -> bool:
    """Not enough to make room."""
    if not peer.unsent:
        return False
    peer.read_a_little()
    return True


def reads_on(world: World, peer: End) -> bool:
    """All that was written."""
    if not peer.full:
        return False
    peer.read_on()
    return True


CLIENTS: dict[Callable[[World, Client], bool], int] = {
    asks: 12,
    begins_to_ask: 8,
    asks_much_at_once: 1,
    sends_a_part: 8,
    sends_a_piece: 4,
    sends_the_rest: 8,
    says_something_in_its_tunnel: 8,
    talks_nonsense: 1,
    breaks_its_chunks: 1,
    ends_its_sending: 1,
    leaves: 1,
    breaks_off: 1,
    reads_no_more: 3,
    reads_a_little: 2,
    reads_on: 4,
}

# Backends.


def answers(world: World, backend: Backend) -> bool:
    """All of an answer, early or not."""
    return world.answer(backend) and finishes(world, backend)


def begins_to_answer(world: World, backend: Backend) -> bool:
    """An answer's head."""
    return world.answer(backend) and backend.say(backend.out.part())


def begins_a_head(world: World, backend: Backend) -> bool:
    """Some bytes of one."""
    return world.answer(backend) and backend.say(backend.out.piece(world.rng))


def goes_on(world: World, backend: Backend) -> bool:
    """A part of the answer that it has begun."""
    return bool(backend.out) and backend.say(backend.out.part())


def goes_on_a_piece(world: World, backend: Backend) -> bool:
    """Some bytes of it."""
    return bool(backend.out) and backend.say(backend.out.piece(world.rng))


def finishes(world: World, backend: Backend) -> bool:
    """The rest of it, and the connection's end where that belongs to it."""
    answer = backend.answer
    if answer is None or backend.gone or backend.tunnel_begins is not None or not (backend.out or answer.last):
        return False
    backend.say(backend.out.rest())
    if answer.last and answer is backend.answer:
        backend.leave()
    return True


def says_too_much(world: World, backend: Backend) -> bool:
    """The rest of its answer, and right behind it one that nobody asked for."""
    answer = backend.answer
    if answer is None or not backend.out or answer.until_close or answer.body == b"" or backend.tunnel_begins is not None:
        return False
    return backend.say(backend.out.rest() + _UNASKED)


def switches(world: World, backend: Backend) -> bool:
    """101, mostly to who asked for it, sometimes with bytes right behind it."""
    asked = world.asked.get(backend.asked)
    if asked is None or not (asked.upgrade or world.rng.random() < 0.02) or not world.answer(backend, SWITCHING):
        return False
    head = backend.out.rest()
    backend.tunnel_begins = len(backend.sent) + len(head)
    return backend.say(head + body_of(world.number(), world.rng.choice((0, 5))))


def says_something_in_a_tunnel(world: World, backend: Backend) -> bool:
    """Bytes of another protocol."""
    return backend.tunnel_begins is not None and backend.say(body_of(world.number(), world.rng.choice((1, 1000, 100_000))))


def ends_its_sending_in_a_tunnel(world: World, backend: Backend) -> bool:
    """A half-close."""
    if backend.tunnel_begins is None or backend.gone:
        return False
    backend.half_close()
    return True


def invites(world: World, backend: Backend) -> bool:
    """100, asked for or not."""
    return backend.asked > 0 and backend.answer is None and backend.say(b"HTTP/1.1 100 Continue\r\n\r\n")


def hints(world: World, backend: Backend) -> bool:
    """103."""
    hint = b"HTTP/1.1 103 Early Hints\r\nX-Number: %d\r\n\r\n" % backend.asked
    return backend.asked > 0 and backend.answer is None and backend.say(hint)


def speaks_unasked(world: World, backend: Backend) -> bool:
    """An answer that nobody asked for."""
    return backend.answered and bool(backend.requests) and backend.say(_UNASKED)


def talks_rubbish(world: World, backend: Backend) -> bool:
    """What is no answer."""
    return backend.asked > 0 and backend.answer is None and backend.say(b"garbage\r\n\r\n")


BACKENDS: dict[Callable[[World, Backend], bool], int] = {
    answers: 10,
    begins_to_answer: 8,
    begins_a_head: 1,
    goes_on: 8,
    goes_on_a_piece: 3,
    finishes: 8,
    says_too_much: 1,
    switches: 40,
    says_something_in_a_tunnel: 8,
    ends_its_sending_in_a_tunnel: 2,
    invites: 3,
    hints: 2,
    speaks_unasked: 1,
    talks_rubbish: 1,
    leaves: 1,
    breaks_off: 1,
    reads_no_more: 2,
    reads_a_little: 1,
    reads_on: 3,
}

# The balancer, and what is between.


def a_client_comes(world: World) -> bool:
    """It connects, and asks soon."""
    client = world.connect()
    return world.rng.choice((asks, begins_to_ask, begins_to_ask))(world, client)


def backends_accept(world: World) -> bool:
    """All connections that wait."""
    return world.accept()


def a_backend_refuses(world: World) -> bool:
    """The next connection that waits."""
    return world.refuse()


def a_probe_finds_a_backend_up(world: World) -> bool:
    """Whatever it was."""
    world.rig.mark(world.rng.choice(world.addresses), up=True)
    return True


def a_probe_finds_a_backend_down(world: World) -> bool:
    """Whatever it was."""
    world.rig.mark(world.rng.choice(world.addresses), up=False)
    return True


def an_operator_wishes_for_something(world: World) -> bool:
    """That a backend is left alone, or no longer."""
    wanted = world.rng.choice(("ready", "ready", "ready", "drain", "maintenance"))
    world.tell(wanted)
    world.rig.pool.wish(Wish(world.rng.choice(world.addresses), wanted))
    return True


def limits_are_raised(world: World) -> bool:
    """Each backend that has one may have one more at once."""
    backends = [member.backend for member in world.rig.pool.members.values()]
    limited = [backend for backend in backends if 0 < backend.max_in_flight < 5]
    world.rig.pool.set_backends(
        attrs.evolve(backend, max_in_flight=backend.max_in_flight + 1) if backend in limited else backend for backend in backends
    )
    world.rig.balancer.pulse()  # which it does a few times a second
    return bool(limited)


def other_settings_are_gone_by(world: World) -> bool:
    """Some of those of a pool, as a reload brings them."""
    world.configure()
    return True


def another_policy_is_gone_by(world: World) -> bool:
    """As a reload brings it."""
    world.set_policy()
    return True


def other_routes_are_gone_by(world: World) -> bool:
    """As a reload brings them."""
    if world.routing is None:
        return False
    world.tell(world.routing.change())
    return True


def a_moment_passes(world: World) -> bool:
    """A part of a back-off."""
    world.rig.reactor.advance(world.rng.choice((0.01, 0.05)))
    return True


def time_passes(world: World) -> bool:
    """Less than some time-outs, more than others."""
    world.rig.wait(world.rng.choice((0.25, 0.25, 1, 4, 11)))
    return True


def idle_connections_are_closed(world: World) -> bool:
    """As a drain begins."""
    for connection in list(world.rig.factory.connections):
        connection.close_if_idle()
    return True


def connections_are_dropped(world: World) -> bool:
    """As a drain ends."""
    for connection in list(world.rig.factory.connections):
        connection.drop()
    return True


def a_drain_begins(world: World) -> bool:
    """Each connection ends with the answer that is being given."""
    world.rig.factory.draining = True
    return True


#: Those of a drain, last of all, are the lean listener's.
BALANCER: dict[Callable[[World], bool], int] = {
    a_client_comes: 7,
    backends_accept: 20,
    a_backend_refuses: 4,
    a_probe_finds_a_backend_up: 2,
    a_probe_finds_a_backend_down: 1,
    an_operator_wishes_for_something: 1,
    limits_are_raised: 1,
    other_settings_are_gone_by: 1,
    another_policy_is_gone_by: 1,
    other_routes_are_gone_by: 1,
    a_moment_passes: 4,
    time_passes: 8,
    idle_connections_are_closed: 1,
    connections_are_dropped: 1,
    a_drain_begins: 1,
}
