"""One simulation: a balancer, its clients and its backends, and a seed that says what happens."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import attrs

from lbproxy.config.model import POOL_SETTINGS
from lbproxy.policies import policy_maker

from ..support import START, Rig
from ..test_web import WebRig
from .actions import BACKENDS, BALANCER, CLIENTS, a_client_comes, a_probe_finds_a_backend_up
from .messages import ANSWERS, REQUESTS, Answer, Asked, with_cookie
from .peers import Backend, Client
from .promises import check_all, check_counters, check_timers, check_tunnels, check_waits, what_is_left
from .routes import SHADOW, Routing

__all__ = ["World"]

_POOLS = (
    "10.0.0.1:8000",
    "10.0.0.1:8000",
    "10.0.0.1:8000,10.0.0.2:8000",
    "10.0.0.1:8000:proxy-protocol=v2,10.0.0.2:8000:proxy-protocol=v1",
    "10.0.0.1:8000:max-in-flight=1",
    "10.0.0.1:8000:max-in-flight=1,10.0.0.2:8000:max-in-flight=2:weight=3",
    "10.0.0.1:8000:max-in-flight=1,10.0.0.2:8000:tier=1,10.0.0.3:8000:backup",
    "10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000,10.0.0.4:8000:backup:max-in-flight=1",
)

_POLICIES = (
    "round-robin",
    "round-robin",
    "least-connections",
    "random",
    "two-choices",
    "peak-ewma",
    "hash:key=path",
    "hash:key=ip,bound=1.25,method=ring",
    "first",
)

#: Each setting is one of these; small times as well as usual ones.
_SETTINGS: dict[str, tuple[Any, ...]] = {
    "abort_on_close": (False, False, False, True),
    "attempt_timeout": (0.5, 2, 0, 0),
    "backoffs": (0, 2),
    "body_grace": (0.5, 10),
    "body_limit": (0, 0, 0, 1000),
    "body_rate": (0, 1024),
    "connect_timeout": (0.5, 3),
    "connection_requests": (0, 1, 3, 1000),
    "eject_failures": (0, 1, 3),
    "eject_time": (1, 10),
    "eject_share": (0, 50, 100),
    "exchange_timeout": (1, 5, 0, 0, 0, 0),
    "header_timeout": (0.5, 10),
    "hedge": (0, 0, 50, 95),
    "idle_timeout": (0.5, 5, 60),
    "panic": (0, 0, 60),
    "queue": (0, 2, 256, 256),
    "queue_timeout": (0.5, 10),
    "replay_limit": (0, 1000, 65536),
    "response_timeout": (1, 30),
    "retries": (0, 3),
    "retry_budget": (0, 20, 100),
    "retry_budget_least": (0, 3),
    "retry_on": (("connect", "reset", "timeout"), ("connect", "reset", "timeout", "503"), ("503",), ("connect",), ("none",)),
    "slow_start": (0, 0, 5),
    "sticky": ("", "lb"),
    "tunnel_timeout": (1, 30, 3600),
    "upstream_idle": (0, 1, 32),
    "upstream_idle_timeout": (0.5, 60),
    "via": ("", "lb"),
    "write_timeout": (0.5, 5, 60),
}

#: What a reload may change: whatever is a pool's, but for the line's limit, since who waits in it waits on when that is lowered.
_CHANGEABLE = [name for name in _SETTINGS if name in POOL_SETTINGS and name != "queue"]
_TIMES = [name for name in _SETTINGS if name.endswith("timeout") or name in ("body_grace", "upstream_idle")]
_WITHOUT_DRAIN = dict(list(BALANCER.items())[:-3])


class World:
    """A run from a seed. Everything in it is a function of that and of the face.

    :param web: whether clients come through ``twisted.web``.
    :param routes: whether there are routes before the balancer.
    :ivar asked: all requests, by number; ``answers``: all answers, by number.
    :ivar trace: what has happened, a line for each action.
    """

    def __init__(self, seed: int, *, web: bool = False, routes: bool = False) -> None:
        self.rng = rng = random.Random(seed)
        self.web = web
        patient = rng.random() < 0.5  # then connections live to be used again
        self.settings = {
            name: values[-1] if patient and name in _TIMES else rng.choice(values) for name, values in _SETTINGS.items()
        }
        pool, policy = rng.choice(_POOLS), rng.choice(_POLICIES)
        self.addresses = [one.split(":")[0] + ":8000" for one in pool.split(",")]
        self.rig: Any = None
        make = policy_maker(policy, random=random.Random(seed), seconds=lambda: self.rig.reactor.seconds() if self.rig else START)
        self.rig = (WebRig if web else Rig)(pool, policy=make, sticky_key=b"simulated session", **self.settings)
        self.rig.balancer.random = random.Random(seed)
        hedging = self.rig.balancer.hedging
        if hedging is not None and rng.random() < 0.7:  # as if there had been enough responses to tell
            hedging.delay = rng.choice((0.1, 0.5))
        self.clients: list[Client] = []
        self.backends: list[Backend] = []
        self.asked: dict[int, Asked] = {}
        self.answers: dict[int, Answer] = {}
        self.of_shadow: list[Answer] = []
        self.trace = [f"{pool} {policy} {self.settings}"]
        self._numbers = 0
        self._requests = [*rng.sample(list(REQUESTS), rng.choice((1, 3, 8))), *["upgrade"] * rng.choice((0, 0, 3))]
        self._answers = [*rng.sample(list(ANSWERS), rng.choice((1, 3, 8))), *["503"] * rng.choice((0, 0, 2))]
        self._tables = [self._some(table) for table in (CLIENTS, BACKENDS, BALANCER if not web else _WITHOUT_DRAIN)]
        self._shares = rng.choice(((3, 3, 1), (1, 1, 1), (1, 3, 1), (3, 1, 1)))
        self._accepts = rng.random() < 0.9  # or only now and then
        self.routing = Routing(self, random.Random(seed)) if routes else None
        self.rig.balancer.start()

    def _some(self, table: dict[Any, int]) -> dict[Any, int]:
        """Some things happen often in one simulation and not at all in another: so each gets deeper in what it has."""
        return {act: weight * self.rng.choice((0, 1, 1, 4)) for act, weight in table.items()}

    # What actions use.

    def number(self) -> int:
        """The next one."""
        self._numbers += 1
        return self._numbers

    def connect(self) -> Client:
        """A client connects."""
        client = Client(self.rig.reactor, f"client {len(self.clients) + 1}", self.rng.random() < 0.5)
        self.clients.append(client)
        client.attach((self.rig.site if self.web else self.rig.factory).buildProtocol(None))
        return client

    def ask(self, client: Client, kind: str = "") -> bool:
        """Let a client have a request to send, of a kind or any; whether it may."""
        if client.talks_nonsense or client.gone:
            return False
        kind = kind or self.rng.choice(self._requests)
        asked = REQUESTS[kind](self.number())
        sticky = self.rig.balancer.sticky
        if sticky is not None and self.rng.random() < 0.5:
            with_cookie(asked, b"lb=" + sticky.token(self.rng.choice(self.addresses)))
        self.asked[asked.number] = asked
        self.tell(f"{client.name}: {kind} /{asked.number}")
        client.ask(asked)
        return True

    def answer(self, backend: Backend, make: Callable[..., Answer] | None = None) -> bool:
        """Let a backend have an answer to send, one like that or any; whether it was asked."""
        asked = self.asked.get(backend.asked)
        if asked is None or backend.answer is not None or backend.gone:
            return False
        kind = self.rng.choice(self._answers) if make is None else "101"
        answer = (make or ANSWERS[kind])(self.number(), asked.number, asked.method)
        self.answers[answer.number] = answer
        if backend.host == SHADOW:
            self.of_shadow.append(answer)
        self.tell(f"{backend.name}: {kind} to /{asked.number}")
        backend.begin(answer)
        return True

    def accept(self) -> bool:
        """All connections that are asked for are accepted; whether there were any."""
        waiting = len(self.rig.connects)
        for _ in range(waiting):
            connect = self.rig.connect()
            if not connect.cancelled:
                name = f"backend {len(self.backends) + 1}"
                destination = connect._connector.getDestination()
                backend = Backend(self.rig.reactor, name, self.rng.random() < 0.5, destination.host)
                self.backends.append(backend)
                self.tell(f"{name} is {connect.address}")
                backend.attach(connect._factory.buildProtocol(destination))
        return waiting > 0

    def configure(self) -> None:
        """Some settings of the pool become others."""
        names = self.rng.sample(_CHANGEABLE, self.rng.randint(1, 6))
        said = {name: self.rng.choice(_SETTINGS[name]) for name in names}
        self.tell(f"{said}")
        self.settings.update(said)
        balancer = self.rig.balancer
        balancer.configure(attrs.evolve(balancer.settings, **said))

    def set_policy(self) -> None:
        """The pool goes by another policy."""
        policy = self.rng.choice(_POLICIES)
        self.tell(policy)
        self.rig.pool.set_policy(policy_maker(policy, random=self.rng, seconds=self.rig.reactor.seconds))

    def refuse(self) -> bool:
        """The next connection that is asked for is refused; whether there was one."""
        if not self.rig.connects:
            return False
        connect = self.rig.connect()
        if not connect.cancelled:
            connect.refuse()
        return True

    def tell(self, line: str) -> None:
        """Add to the trace."""
        self.trace.append(line)

    # The run.

    def run(self) -> None:
        """Some actions, then silence; what must hold after each, and at the end.

        :raises AssertionError: when something does not.
        """
        self._does(a_client_comes, None)
        for _ in range(self.rng.randint(5, 90)):
            self._act()
            self._settle()
            check_counters(self)
            check_waits(self)
        if self.rng.random() < 0.5:
            self._all_read()
            check_tunnels(self)
        self.fall_silent()
        check_counters(self)
        check_all(self)
        check_timers(self)

    def _act(self) -> None:
        """Something that there is to do, if it is found soon."""
        for _ in range(20):
            who: tuple[list[Any], ...] = (self.clients[-2:], self.backends[-2:], [None])
            peers, table = self.rng.choices(list(zip(who, self._tables)), self._shares)[0]
            if peers and any(table.values()):
                act = self.rng.choices(list(table), list(table.values()))[0]
                if self._does(act, self.rng.choice(peers)):
                    break
        if self._accepts and self.rng.random() < 0.9:
            self.accept()
        if self.rng.random() < 0.3 and not all(member.up for member in self.rig.pool.members.values()):
            self._does(a_probe_finds_a_backend_up, None)

    def _does(self, act: Callable[..., bool], peer: Any) -> bool:
        lines = len(self.trace)
        self.tell(act.__name__ if peer is None else f"{peer.name} {act.__name__}")
        done = act(self) if peer is None else act(self, peer)
        if not done:
            del self.trace[lines:]
        return done

    def _settle(self) -> None:
        if self.rng.random() < 0.7:
            self.rig.turn()
        for peer in (*self.clients, *self.backends):
            peer.rest_is_read()

    def _all_read(self) -> None:
        """Who did not read does so again, until nothing more comes."""
        self.tell("all read on")
        for _ in range(5):
            for peer in (*self.clients, *self.backends):
                if peer.full:
                    peer.read_on()
            self.rig.turn()

    def fall_silent(self) -> None:
        """Nobody says anything any more, until all that is waited for is given up. What was said before is on its way yet: what
        a client sent while nobody read from it comes in the reactor's next turn, and may be a request."""
        for _ in range(3):
            self.rig.turn()
        for seconds in (*[0.5] * 400, *[5.0] * 1000):
            if not what_is_left(self):
                break
            self.rig.reactor.advance(seconds)
        left = what_is_left(self)
        assert not left, f"after long silence there is still {'; '.join(left)}"
