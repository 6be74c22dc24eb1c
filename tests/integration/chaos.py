"""What the chaos test is made of: a setup, faults and wishes from a seed, and what is held against a balancer.

Nothing is forgiven but what cannot be otherwise while a backend is at fault:

* A request that must not be repeated (a POST without Idempotency-Key, or one whose body is larger than what the balancer keeps)
  may be answered 502 or 504.
* A response that has begun may be aborted, which the client must see as a reset; a tunnel may end. Both only if it is their own
  backend that was at fault.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from .chaos_clients import REPEATABLE, REPLAY_LIMIT, Outcome
from .support import Backend, LoadBalancer

#: What may befall a backend, and for how many seconds. Some stops are longer than its time-outs.
KINDS = {"kill": (0.3, 1.5), "stop": (0.3, 3.0), "restart": (0.0, 0.1), "cut": (0.3, 1.2), "garbage": (0.3, 1.2)}
#: One of these chooses.
POLICIES = (
    "round-robin",
    "least-connections",
    "random",
    "two-choices",
    "peak-ewma:decay=1",
    "hash:key=uri",
    "hash:key=header:X-Ask,method=ring,bound=1.25",
    "first",
)
#: How the backends stand to each other.
TIERS = (("", "", ""), ("", "", ":tier=1"), ("", ":tier=1", ":backup"))
#: A probe that gets answers re-admits whom traffic took out; where it only connects, that comes with time, and soon.
PROBES = (("--probe", "http:/"), ("--eject-time", "0.3", "--eject-limit", "0.6"))
#: Share of the steps in which the operator wants one of the backends left alone.
WANTED = 0.5
#: Share of the steps in which a second backend is at fault as well, in a way of its own.
TWICE = 0.4
#: Seconds that it takes about until a backend is seen to be well again.
RECOVERY = 0.3


class Fault(NamedTuple):
    """A backend, by its number, and what befalls it."""

    backend: int
    kind: str


class Setup(NamedTuple):
    """Options of a balancer, and what is said of each backend of three after its address."""

    options: tuple[str, ...]
    backends: tuple[str, ...]


class Step(NamedTuple):
    """Faults at the same time, for how many seconds, and how long all is well afterwards."""

    faults: tuple[Fault, ...]
    seconds: float
    rest: float


def schedule(seed: int, seconds: float, backends: int = 3) -> list[Step]:
    """The faults of one run: a pure function. Every kind comes once in each five steps, the backends come in turn, at least one
    is always well, and all of it takes about so many seconds."""
    rng = random.Random(seed)
    steps: list[Step] = []
    while True:
        kinds = list(KINDS)
        rng.shuffle(kinds)
        for kind in kinds:
            first = len(steps) % backends
            faults = [Fault(first, kind)]
            if backends > 2 and rng.random() < TWICE:
                faults.append(Fault((first + rng.randrange(1, backends)) % backends, rng.choice(list(KINDS))))
            lasts = max(rng.uniform(*KINDS[one.kind]) for one in faults)
            step = Step(tuple(faults), round(lasts, 2), round(rng.uniform(0.1, 0.4), 2))
            seconds -= step.seconds + step.rest + RECOVERY
            if seconds < 0:
                return steps
            steps.append(step)


def setup(seed: int) -> Setup:
    """How the balancer of that seed's run is set up: a pure function."""
    rng = random.Random(f"{seed}:setup")
    options = ["--policy", rng.choice(POLICIES), *rng.choice(PROBES)]
    for switch in (("--sticky", "lb"), ("--slow-start", "1"), ("--hedge", "95")):
        options += switch if rng.random() < 0.5 else ()
    tiers = rng.choice(TIERS)
    limit = rng.choice(("", ":max-in-flight=4"))
    return Setup(tuple(options), tuple(tier + limit for tier in tiers))


def fitted(options: tuple[str, ...], versions: tuple[str, ...]) -> list[str]:
    """*options* with a probe that fits such backends: one that asks for a page speaks TLS with all or with none."""
    words = list(options)
    if "http:/" in words and any(versions):
        at = words.index("http:/")
        words[at - 1 : at + 1] = ("--probe", "https:/") if all(versions) else PROBES[1]
    return words


def wishes(seed: int, steps: list[Step], backends: int = 3) -> list[tuple[int, str] | None]:
    """In each step, which backend the operator wants left alone, and how; at least one is well, and wanted: a pure function."""
    rng = random.Random(f"{seed}:wishes")
    wanted: list[tuple[int, str] | None] = []
    for step in steps:
        faulty = {fault.backend for fault in step.faults}
        others = range(backends) if backends - len(faulty) > 1 else sorted(faulty)
        wish = (rng.choice(others), rng.choice(("drain", "maintenance")))
        wanted.append(wish if rng.random() < WANTED else None)
    return wanted


class Outages:
    """Brings the faults about, and remembers when whose were.

    :ivar spans: by a backend's name, from when to when it was at fault.
    """

    def __init__(self, balancer: LoadBalancer, backends: list[Backend]) -> None:
        self.spans: dict[str, list[tuple[float, float]]] = {backend.name: [] for backend in backends}
        self._balancer = balancer
        self._backends = backends

    def run(self, step: Step, wish: tuple[int, str] | None = None, meanwhile: Callable[[], None] = lambda: None) -> None:
        """One step, to its end; then the balancer knows that all backends are well, and wanted."""
        began = time.monotonic()
        backends = [self._backends[fault.backend] for fault in step.faults]
        for backend, fault in zip(backends, step.faults, strict=True):
            _strike(backend, fault.kind)
        if wish is not None:
            self._balancer.wish(self._backends[wish[0]], wish[1])
        time.sleep(step.seconds / 2)
        meanwhile()
        time.sleep(step.seconds / 2)
        if wish is not None:
            self._balancer.wish(self._backends[wish[0]], "ready")
        for backend, fault in zip(backends, step.faults, strict=True):
            _heal(backend, fault.kind)
        for backend in backends:
            self._balancer.wait_state(backend, "up")
            self.spans[backend.name].append((began, time.monotonic()))
        time.sleep(step.rest)

    def excuse(self, began: float, ended: float, name: str | None = None) -> bool:
        """Whether that backend, or any, was at fault at some time between these two."""
        spans = self.spans.get(name, []) if name is not None else [span for spans in self.spans.values() for span in spans]
        return any(first <= ended and last >= began for first, last in spans)


def _strike(backend: Backend, kind: str) -> None:
    if kind in ("kill", "restart"):
        backend.stop()
    if kind == "restart":
        backend.start()
    elif kind == "stop":
        backend.process.signal(signal.SIGSTOP)
    elif kind != "kill":
        backend.direct(f"/fault?kind={kind}")


def _heal(backend: Backend, kind: str) -> None:
    if kind == "kill":
        backend.start()
    elif kind == "stop":
        backend.process.signal(signal.SIGCONT)
    elif kind != "restart":
        backend.direct("/fault?kind=none")


def held_against(outcome: Outcome, outages: Outages) -> str:
    """What the balancer should have done better; empty: nothing."""
    began, ended, ask = outcome.began, outcome.ended, outcome.ask
    if outcome.how == "whole":
        return ""
    if outcome.how == "refused" and not ask.repeatable and outcome.status in (502, 504) and outages.excuse(began, ended):
        return ""
    if outcome.how in ("reset", "tunnel") and outcome.backend and outages.excuse(began, ended, outcome.backend):
        return ""
    size = "" if ask.body is None else f" ({len(ask.body)} bytes, {ask.framing}{', with a key' if ask.key else ''})"
    return (
        f"{outcome.how} {outcome.status or ''} after {ended - began:.2f} s: {ask.method} {ask.path}{size}, "
        f"answered by {outcome.backend}: {outcome.detail}"
    )


def explanations(lines: list[str]) -> list[str]:
    """What the balancer's log has to say of exchanges that it refused and could have repeated."""
    told = []
    for line in lines:
        entry = json.loads(line)
        if entry["status"] in (502, 503, 504) and entry["method"] in REPEATABLE and entry["request_bytes"] <= REPLAY_LIMIT:
            told.append(f"{entry['time']} {entry['target']}: {json.dumps(entry['explain'])}")
    return told


def repeated(outcomes: list[Outcome], seen: Counter[str]) -> list[str]:
    """Requests that must not be repeated and were, or that were answered and not made.

    :param seen: how often backends were asked for each target.
    """
    findings = [f"{target} was made {times} times" for target, times in seen.items() if times > 1]
    for outcome in outcomes:
        if outcome.ask.path.startswith("/once") and outcome.how == "whole" and not seen[outcome.ask.path]:
            findings.append(f"{outcome.ask.path} was answered and not made")
    return findings


def open_files(balancer: LoadBalancer) -> int:
    """How many file descriptors it has open."""
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{balancer.process.pid}/fd"))
    return 0
