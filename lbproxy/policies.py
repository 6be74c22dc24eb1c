"""Policies by name, as an operator writes them: ``NAME`` or ``NAME:option=value,option=value``.

The names are lbproxy's own and those of users' plugins (:class:`lbproxy.interfaces.IPolicyMaker`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from random import Random
from typing import Any

from twisted.plugin import getPlugins

from .balance.first import First
from .balance.hashing import Hash
from .balance.least_connections import LeastConnections
from .balance.peak_ewma import PeakEwma
from .balance.random_choice import RandomChoice
from .balance.round_robin import RoundRobin
from .balance.two_choices import TwoChoices
from .errors import ConfigurationError
from .http1.keys import request_key
from .interfaces import IPolicy, IPolicyMaker

__all__ = ["POLICY_NAMES", "policy_maker"]

#: Makes a policy, of its options' values.
_Make = Callable[..., IPolicy]


def _number(text: str) -> float:
    """Read a number; -1, which no option takes, for what is none, so that the policy says what it does take."""
    try:
        return float(text) if text.isascii() and "_" not in text else -1.0  # Python would take 1_0 for ten
    except ValueError:
        return -1.0


def _hash(random: Random, seconds: Callable[[], float], *, key: str = "ip", **options: Any) -> Hash:
    return Hash(request_key(key), **options)


#: By name: what makes it, of a random source, a clock and its options; and how the text of each option is read.
_BUILT_IN: dict[str, tuple[_Make, dict[str, Callable[[str], Any]]]] = {
    "round-robin": (lambda random, seconds: RoundRobin(), {}),
    "least-connections": (lambda random, seconds: LeastConnections(), {}),
    "random": (lambda random, seconds: RandomChoice(random), {}),
    "two-choices": (lambda random, seconds: TwoChoices(random), {}),
    "peak-ewma": (PeakEwma, {"decay": _number}),
    "hash": (_hash, {"key": str, "method": str, "bound": _number}),
    "first": (lambda random, seconds: First(), {}),
}

#: Between options. One in braces is a regular expression's, as in ``{1,3}``.
_COMMAS = re.compile(r",(?![^{}]*\})")

#: lbproxy's own.
POLICY_NAMES = tuple(_BUILT_IN)


def policy_maker(text: str, *, random: Random | None = None, seconds: Callable[[], float] = time.time) -> Callable[[], IPolicy]:
    """Read which policy is wanted. Each call of what is returned makes one; a pool with tiers needs several.

    ``round-robin``, ``least-connections``, ``random``, ``two-choices`` and ``first`` have no options; ``peak-ewma:decay=10`` has
    seconds; ``hash:key=ip,method=auto,bound=1.25`` has a request key (:func:`lbproxy.http1.keys.request_key`), a method
    (``auto``, ``rendezvous`` or ``ring``) and a bound. Any other name is looked for among users' plugins.

    :param random: the policies' source of chance; by default one of their own, seeded by the system.
    :param seconds: their clock.
    :raises ConfigurationError: for what cannot be used, with a line for each mistake.
    """
    random = Random() if random is None else random
    name, _, rest = text.strip().partition(":")
    options, problems = _options(name, rest)
    if name in _BUILT_IN:
        make = _built_in(name, options, problems, random, seconds)
    else:
        make = _plugin(name, options, problems, random, seconds)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return make


def _options(name: str, rest: str) -> tuple[dict[str, str], list[str]]:
    """The options as they were written, and what is wrong with how they were."""
    options: dict[str, str] = {}
    problems = []
    for part in _COMMAS.split(rest) if rest else ():
        option, equals, value = (word.strip() for word in part.partition("="))
        if not (option and equals):
            problems.append(f"policy: {name}: {part!r} was given; allowed is option=value, with commas between them")
        elif option in options:
            problems.append(f"policy: {name}: {option} was given twice, as {options[option]!r} and {value!r}; allowed is one")
        else:
            options[option] = value
    return options, problems


def _built_in(
    name: str, options: Mapping[str, str], problems: list[str], random: Random, seconds: Callable[[], float]
) -> Callable[[], IPolicy]:
    make, readers = _BUILT_IN[name]
    values = {}
    for option, text in options.items():
        if option not in readers:
            problems.append(_unknown_option(name, option, readers))
            continue
        values[option] = readers[option](text)
        try:
            make(random, seconds, **{option: values[option]})
        except ConfigurationError as error:
            allowed = str(error).partition("; ")[2]
            problems.append(f"policy: {name}: {option}={text!r} was given; {allowed}")
    return lambda: make(random, seconds, **values)


def _unknown_option(name: str, option: str, known: Mapping[str, object]) -> str:
    allowed = f"allowed are {', '.join(known)}" if len(known) > 1 else f"allowed is {next(iter(known), f'{name} alone')}"
    return f"policy: {name}: there is no option {option!r}{_nearest(option, known)}; {allowed}"


def _nearest(word: str, known: Mapping[str, object]) -> str:
    nearest = get_close_matches(word, known, n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


# Users' own.


def _plugin(
    name: str, options: Mapping[str, str], problems: list[str], random: Random, seconds: Callable[[], float]
) -> Callable[[], IPolicy]:
    # One without a name cannot be asked for, and keeps nobody from the others.
    makers = {maker.name: maker for maker in getPlugins(IPolicyMaker) if isinstance(getattr(maker, "name", None), str)}

    def make() -> IPolicy:
        return _made(makers[name], dict(options), random, seconds)

    if name not in makers:
        known = {**_BUILT_IN, **dict.fromkeys(sorted(makers.keys() - _BUILT_IN.keys()))}
        problems.append(f"policy: {name!r} was given{_nearest(name, known)}; allowed are {', '.join(known)}")
    elif not problems:
        try:
            make()  # so that its complaints come now
        except ConfigurationError as error:
            problems.append(str(error))
    return make


def _made(maker: Any, options: Mapping[str, str], random: Random, seconds: Callable[[], float]) -> IPolicy:
    """What a plugin makes.

    :raises ConfigurationError: for whatever goes wrong in it.
    """
    try:
        policy = maker.make(options, random, seconds)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"policy: the plugin {maker.name} ({type(maker).__module__}) failed: {type(error).__name__}: {error}"
        ) from error
    if not IPolicy.providedBy(policy):
        raise ConfigurationError(
            f"policy: the plugin {maker.name} ({type(maker).__module__}) made {policy!r}, which does not provide IPolicy"
        )
    made: IPolicy = policy
    return made
