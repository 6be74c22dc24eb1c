"""What must hold between the values of a configuration, wherever they were said: in a file, by options, or in Python. Pure.

Each function looks at one matter, and gives a problem for each mistake. A pool's values have paths in its table
(``pools.app.sticky-max-age``), also where they were said for all pools; other keys are named in messages with dashes, as options.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from ..errors import ConfigurationError
from ..routing.model import Route
from ..routing.naming import named
from ..routing.order import in_order
from ..routing.overlaps import problems as overlaps
from ..settings import Settings
from .certain import EVERYTHING, Certain
from .model import Certificates, Configuration, PoolConfiguration
from .problems import KeyPath, Problem, did_you_mean, from_lines

__all__ = [
    "RULES",
    "access_log_problems",
    "admin_problems",
    "backend_tls_problems",
    "certificate_problems",
    "cross_problems",
    "limit_problems",
    "place_problems",
    "pool_problems",
    "probe_problems",
    "reference_problems",
    "route_problems",
    "secure_request_problems",
    "sticky_problems",
    "unused",
]

#: Listeners on which it is certain that no TLS is spoken.
_IN_CLEAR = re.compile(r"(?:haproxy:)?(?:tcp6?|unix|systemd):", re.IGNORECASE)

_ANY_PORT = re.compile(r":(?:port=)?0(?::|\Z)")

_DEFAULTS = attrs.fields(Settings)
_FOR_EVERYTHING = '[[routes]] with pool = "NAME" alone is one for everything'


def cross_problems(configuration: Configuration, known: Certain = EVERYTHING) -> list[Problem]:
    """All that is wrong between values that are right each by itself.

    :param known: what of it could be read; the rest has its defaults here, which nobody meant.
    """
    return [problem for rule in RULES for problem in rule(configuration, known)]


def sticky_problems(configuration: Configuration, known: Certain = EVERYTHING) -> Iterator[Problem]:
    """What is said of sessions needs the cookie's name, at that pool, or, if it is said of all, at one of them."""
    settings = configuration.settings
    pools = configuration.pools
    used = bool(settings.sticky) or any(pool.settings.sticky or not known.of_pool(pool.name, "sticky") for pool in pools)
    for pool in pools:
        own = pool.settings
        for key, value, everyones in (
            ("sticky-key-file", own.sticky_key, settings.sticky_key),
            ("sticky-max-age", own.sticky_max_age, settings.sticky_max_age),
        ):
            if value and not own.sticky and known.of_pool(pool.name, "sticky") and not (used and value == everyones):
                yield _of(pool, key, "it was given without --sticky; say the cookie's name as well")


def limit_problems(configuration: Configuration, known: Certain = EVERYTHING) -> Iterator[Problem]:
    """A larger target than a head may be would be promised, and never taken; the same of an ejection that is to last longer than
    the longest one. Defaults are no promise."""
    settings = configuration.settings
    head, target = settings.head_limit, settings.target_limit
    if target > head and target != _DEFAULTS.target_limit.default and known.keys("target-limit", "head-limit"):
        message = f"{target} was given; a target is part of a head, so allowed is at most --head-limit, which is {head}"
        yield Problem(("target-limit",), message)
    for pool in configuration.pools:
        first, longest = pool.settings.eject_time, pool.settings.eject_limit
        if not known.of_pool(pool.name, "eject-time", "eject-limit"):
            continue
        if first > longest and first != _DEFAULTS.eject_time.default:
            message = f"{first:g} was given; allowed is at most --eject-limit, which is {longest:g}"
            yield _of(pool, "eject-time", message)


def admin_problems(configuration: Configuration, known: Certain = EVERYTHING) -> Iterator[Problem]:
    """Who may write must be able to come in."""
    if configuration.admin_writable and configuration.admin is None and known("admin"):
        yield Problem(("admin-writable",), "it was given without --admin; say where operators connect as well")


def place_problems(configuration: Configuration, known: Certain = EVERYTHING) -> Iterator[Problem]:
    """Nobody can listen in the same place twice. Where the system chooses the port, it is another one each time."""
    seen: set[str] = set()
    places = [(("listen", number), one) for number, one in enumerate(configuration.listen or ())]
    places += [(("tls-listen", number), one) for number, one in enumerate(configuration.tls_listen or ())]
    places += [(("admin",), configuration.admin)] if configuration.admin else []  # type: ignore[list-item]
    for path, description in places:
        if description in seen and not _ANY_PORT.search(description):
            yield Problem(path, f"{description!r} was given, and is listened to already; name each place once")
        seen.add(description)


def access_log_problems(path: str | None, format: str | None, explain: bool, plain: str = "combined") -> Iterator[Problem]:
    """What is said of the access log needs one, and some of it one in JSON.

    :param path: None: there is none.
    :param format: None: none was given.
    :param plain: the format that has no room for reasons.
    """
    if path is None and format is not None:
        yield Problem(("access-log-format",), "it was given without --access-log; say which file to write as well")
    if path == "":
        yield Problem(("access-log",), "'' was given; allowed is a file's path, or - for standard output")
    if explain and (path is None or (format or plain) == plain):
        message = "it goes with --access-log FILE --access-log-format json; give both as well"
        yield Problem(("access-log-explain",), message)


def certificate_problems(configuration: Configuration, known: Certain = EVERYTHING) -> Iterator[Problem]:
    """What goes with certificates is a mistake without one. *certificates* may be without files here."""
    certificates = configuration.certificates or Certificates(files=())
    if certificates.files or not known("certificate"):
        return
    unused = Certificates(files=())
    given = {
        "tls-listen": configuration.tls_listen,
        "default-certificate": certificates.default,
        "reject-unknown-names": certificates.reject_unknown_names,
        "tls-profile": certificates.profile != unused.profile,
        "client-ca": certificates.client_ca,
        "client-auth": certificates.client_auth,
    }
    for key, value in given.items():
        if value and known(key):
            yield Problem((key,), "it was given without --certificate; say which certificate to show as well")


def secure_request_problems(configuration: Configuration, known: Certain = EVERYTHING) -> Iterator[Problem]:
    """Where no request can come over TLS, nothing could ever reach a backend, or nobody be told to come so."""
    settings = configuration.settings
    if configuration.certificates is not None and configuration.certificates.files:
        return
    if settings.trusted_proxies or any(map(_may_be_secure, configuration.listen or ())):
        return
    if any(certificate_problems(configuration)) or not known.keys("certificate", "trusted-proxies", "listen"):
        return
    for key, value in (("redirect-to-https", settings.redirect_to_https), ("hsts", settings.hsts)):
        if value:
            yield Problem(
                (key,),
                "it was given, but no request can come over TLS; say which --certificate to show as well, or, where TLS ends "
                "before lbproxy, who the --trusted-proxies are",
            )


def _may_be_secure(description: str) -> bool:
    return not _IN_CLEAR.match(description)


def backend_tls_problems(configuration: Configuration, known: Certain = EVERYTHING) -> Iterator[Problem]:
    """What is said of TLS with backends needs some that it is spoken with: of that pool, or, if it is said of all, of one of
    them. Backends that a file names are not known yet."""
    used: set[tuple[str, str]] = set()
    unused: list[tuple[PoolConfiguration, str, str]] = []
    for pool in configuration.pools:
        for key, value in (("backend-ca", pool.backend_ca), ("backend-certificate", pool.backend_certificate)):
            if value is None:
                continue
            if pool.backends_file or _speaks_tls(pool) or not known.of_pool(pool.name, "backends", "probe"):
                used.add((key, value))
            else:
                unused.append((pool, key, value))
    for pool, key, value in unused:
        if (key, value) not in used:
            yield _of(pool, key, "it was given, but TLS is spoken with no backend; give it as https://HOST:PORT")


def _speaks_tls(pool: PoolConfiguration) -> bool:
    return pool.probe.scheme in ("tls", "https") or any(backend.tls for backend in pool.backends)


def probe_problems(configuration: Configuration, known: Certain = EVERYTHING) -> Iterator[Problem]:
    """A probe that can never go well would take all backends out."""
    for pool in configuration.pools:
        try:
            pool.probe.check_backends(pool.backends)
        except ConfigurationError as error:
            yield from (one.below("pools", pool.name) for one in from_lines(error, ("probe",)))


def pool_problems(configuration: Configuration, known: Certain = EVERYTHING) -> Iterator[Problem]:
    """There must be somewhere to go to."""
    pools, routes = configuration.pools, configuration.routes
    for pool in pools:
        if not pool.backends and not pool.backends_file and known("pools", pool.name, "backends") and known("backends"):
            yield _of(pool, "backends", 'it has none; give one at least, such as ["10.0.0.1:8000"], or { file = "PATH" }')
    if routes or not (known.whole("routes") and known.whole("pools") and known.whole("backends")):
        return
    if not pools:
        yield Problem(("backends",), "no backend was given; name at least one, or give a pool, or routes that need none")
    elif len(pools) > 1:
        names = ", ".join(pool.name for pool in pools)
        message = f"there are several pools ({names}) and no routes, which say what goes to which; {_FOR_EVERYTHING}"
        yield Problem(("pools",), message)
    paths: list[KeyPath] = [("filters", name) for name in configuration.filters]
    if configuration.default_filters:
        paths.append(("default-filters",))
    for path in paths:
        yield Problem(path, f"filters are passed on routes, and there are none; {_FOR_EVERYTHING}")


def reference_problems(configuration: Configuration, known: Certain = EVERYTHING) -> Iterator[Problem]:
    """Pools and filters that are named must be there."""
    pools, filters = list(configuration.pools_by_name), configuration.filters
    all_filters = known.whole("filters")
    for number, route in enumerate(configuration.routes):
        for path, name in named_pools(route):
            if name not in pools and known.whole("pools") and (name != "default" or known.whole("backends")):
                yield _missing(("routes", number, *path), "pool", name, pools, "[pools.NAME]")
        for place, filter_ in enumerate(route.filters):
            if isinstance(filter_, str) and filter_ not in filters and all_filters:
                yield _missing(("routes", number, "filters", place), "filter", filter_, filters, "[filters.NAME]")
    for place, name in enumerate(configuration.default_filters):
        if name not in filters and all_filters:
            yield _missing(("default-filters", place), "filter", name, filters, "[filters.NAME]")


def named_pools(route: Route) -> Iterator[tuple[KeyPath, str]]:
    """The pools that a route names, and where."""
    if route.pool:
        yield ("pool",), route.pool
    if route.split is not None:
        yield from ((("split", "pools", name), name) for name in route.split.pools)
    if route.mirror is not None:
        yield ("mirror", "pool"), route.mirror.pool


def _missing(path: KeyPath, kind: str, name: str, known: Iterable[str], how: str) -> Problem:
    """That what is named there is not.

    :param how: how one is written.
    """
    there = ", ".join(known)
    allowed = f"allowed are {there}" if there else f"there is none at all; one is written as {how}"
    return Problem(path, f"{name!r} was given, and there is no {kind} of that name{did_you_mean(name, known)}; {allowed}")


def route_problems(configuration: Configuration, known: Certain = EVERYTHING) -> Iterator[Problem]:
    """Routes are told apart by their names, and can be taken."""
    seen: dict[str, int] = {}
    for number, route in enumerate(configuration.routes):
        name = route.name
        if name and seen.setdefault(name, number) != number:
            message = f"{name!r} was given, which is the name of routes[{seen[name]}] too; give each its own"
            yield Problem(("routes", number, "name"), message)
    certain = {number: route for number, route in enumerate(configuration.routes) if known("routes", number)}
    yield from _hidden(certain)


def _hidden(routes: Mapping[int, Route]) -> Iterator[Problem]:
    """Routes that no request can ever take."""
    first: dict[str, int] = {}
    unique = {number: one for number, one in routes.items() if not one.name or first.setdefault(one.name, number) == number}
    with_names = named(unique.values())
    numbers = {route.name: number for number, route in zip(unique, with_names, strict=True)}
    for name, message in overlaps(in_order(with_names)):
        yield Problem(("routes", numbers[name]), message)


def unused(configuration: Configuration) -> Iterator[Problem]:
    """What is said and never used: no mistakes, but most likely not what was meant."""
    if not configuration.routes:
        return
    pools = {name for route in configuration.routes for _, name in named_pools(route)}
    for pool in configuration.pools:
        if pool.name not in pools:
            yield Problem(("pools", pool.name), "no route leads to this pool")
    filters = {one for route in configuration.routes for one in route.filters if isinstance(one, str)}
    for name in configuration.filters:
        if name not in filters and name not in configuration.default_filters:
            yield Problem(("filters", name), "no route passes this filter")


def _of(pool: PoolConfiguration, key: str, message: str) -> Problem:
    return Problem(("pools", pool.name, key), message)


#: All of them but that of the access log, which looks at more than a configuration keeps.
RULES: tuple[Callable[[Configuration, Certain], Iterable[Problem]], ...] = (
    sticky_problems,
    limit_problems,
    admin_problems,
    place_problems,
    certificate_problems,
    secure_request_problems,
    backend_tls_problems,
    probe_problems,
    pool_problems,
    reference_problems,
    route_problems,
)
