"""From what an operator says to what a store serves: all certificates, by their names, in contexts that are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs
from OpenSSL import SSL

from ..errors import ConfigurationError
from .certificates import Certificate, CertificateReader
from .contexts import ClientAuthorities, ContextMaker, NamedConnection
from .files import Stamp, stamp, stamps
from .names import Names, certificate_name, normal_name
from .profiles import profile_named

__all__ = ["LoadedCertificates", "Wanted", "load"]

#: Certificates for one name, of different key types.
Group = tuple[Certificate, ...]


@attrs.frozen
class Wanted:
    """What an operator says, as a :class:`~.store.CertificateStore` is told it."""

    paths: tuple[str, ...]
    default: str | None
    reject_unknown_names: bool
    profile: str
    client_ca: str | None
    client_required: bool
    protocols: tuple[bytes, ...] | None

    def stamps(self) -> tuple[object, ...]:
        """The state of all files."""
        paths = (*self.paths, *((self.default,) if self.default else ()))
        client_ca: Stamp = stamp(self.client_ca) if self.client_ca else None
        return (*map(stamps, paths), client_ca)


@attrs.frozen(eq=False)
class LoadedCertificates:
    """What a store can serve at once.

    :ivar certificates: in the operator's order.
    :ivar default: what is shown where no name is asked for, or one that is nobody's.
    :ivar warnings: what an operator should know, a line each, and is no mistake.
    """

    certificates: Group
    default: Certificate
    warnings: tuple[str, ...]
    front: SSL.Context = attrs.field(repr=False)
    make_front: Callable[[], SSL.Context] = attrs.field(repr=False)
    reader: CertificateReader = attrs.field(repr=False)
    contexts: dict[Group, SSL.Context] = attrs.field(repr=False)
    clients: ClientAuthorities | None = attrs.field(repr=False)
    clients_stamp: Stamp = attrs.field(repr=False)


class _Mistakes:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, option: str, error: ConfigurationError) -> None:
        self.lines += [f"{option}: {line}" for line in str(error).splitlines()]

    def end(self) -> None:
        """:raises ConfigurationError: there are any."""
        if self.lines:
            raise ConfigurationError("\n".join(dict.fromkeys(self.lines)))


def load(wanted: Wanted, now: float, before: LoadedCertificates | None = None) -> LoadedCertificates:
    """Read what is wanted, but only what has changed.

    :param before: what has been loaded of the same before.
    :raises ConfigurationError: a line a mistake, each beginning with the option's name.
    """
    mistakes = _Mistakes()
    clients_stamp, clients = _clients(wanted, before, mistakes)
    reader = CertificateReader(now, before.reader if before else None)
    certificates, default = _read(wanted, reader, mistakes)
    mistakes.end()
    assert default is not None
    groups, warnings = _by_name(certificates, default, mistakes)
    contexts = _contexts(wanted, groups, default, clients, before, mistakes)
    mistakes.end()
    maker = _maker(wanted, clients)
    shown = () if wanted.reject_unknown_names else _group_of(default, groups)
    choose = _chooser(Names({name: contexts[group] for name, group in groups.items()}), wanted.reject_unknown_names)

    def make_front() -> SSL.Context:
        return maker.make(shown, choose)

    return LoadedCertificates(
        certificates=certificates,
        default=default,
        warnings=(*warnings, *_run_out(certificates, now)),
        front=make_front(),
        make_front=make_front,
        reader=reader,
        contexts=contexts,
        clients=clients,
        clients_stamp=clients_stamp,
    )


def _clients(wanted: Wanted, before: LoadedCertificates | None, mistakes: _Mistakes) -> tuple[Stamp, ClientAuthorities | None]:
    if wanted.client_ca is None:
        return None, None
    now = stamp(wanted.client_ca)
    if before is not None and now is not None and now == before.clients_stamp:
        return now, before.clients
    try:
        return now, ClientAuthorities.read(wanted.client_ca, wanted.client_required)
    except ConfigurationError as error:
        mistakes.add("client-ca", error)
        return now, None


def _read(wanted: Wanted, reader: CertificateReader, mistakes: _Mistakes) -> tuple[Group, Certificate | None]:
    """All certificates once, and which of them is the default."""
    found: dict[str, Certificate] = {}
    default: Certificate | None = None
    paths = [("certificate", path) for path in wanted.paths]
    paths += [("default-certificate", wanted.default)] if wanted.default is not None else []
    for option, path in paths:
        if option == "default-certificate":
            default = next((one for one in found.values() if one.source == path), None)
        if default is None:
            try:
                read = [found.setdefault(one.fingerprint, one) for one in reader.read(path)]
            except ConfigurationError as error:
                mistakes.add(option, error)
            else:
                default = read[0] if option == "default-certificate" else None
    return tuple(found.values()), default or next(iter(found.values()), None)


def _by_name(certificates: Group, default: Certificate, mistakes: _Mistakes) -> tuple[dict[str, Group], list[str]]:
    """Which are shown for each name: of each key type, the first."""
    by_name: dict[str, dict[str, Certificate]] = {}
    warnings = []
    for certificate in certificates:
        names = dict.fromkeys(filter(None, map(certificate_name, certificate.names)))
        if not names and certificate is not default:
            mistakes.add("certificate", _nameless(certificate))
        taken = []
        for name in names:
            first = by_name.setdefault(name, {}).setdefault(certificate.key_type, certificate)
            taken += [(name, first)] if first is not certificate else []
        warnings += [_passed_over(certificate, taken)] if taken else []
    return {name: tuple(kinds.values()) for name, kinds in by_name.items()}, warnings


def _nameless(certificate: Certificate) -> ConfigurationError:
    return ConfigurationError(
        f"{certificate.source!r} is for no DNS name (it has no such subjectAltName), so nobody can ask for it; give it as "
        f"--default-certificate, or leave it out"
    )


def _passed_over(certificate: Certificate, taken: Sequence[tuple[str, Certificate]]) -> str:
    names = ", ".join(name for name, _ in taken[:3]) + (f" and {len(taken) - 3} more" if len(taken) > 3 else "")
    return f"certificate: {certificate.source!r} is not shown for {names}: {taken[0][1].source!r} comes before it"


def _group_of(default: Certificate, groups: dict[str, Group]) -> Group:
    """The default, and those of other key types that are shown beside it."""
    return next((group for group in groups.values() if default in group), (default,))


def _contexts(
    wanted: Wanted,
    groups: dict[str, Group],
    default: Certificate,
    clients: ClientAuthorities | None,
    before: LoadedCertificates | None,
    mistakes: _Mistakes,
) -> dict[Group, SSL.Context]:
    """One for all names that the same certificates are for."""
    maker = _maker(wanted, clients)
    kept = before.contexts if before is not None and before.clients is clients else {}
    made: dict[Group, SSL.Context] = {}
    for group in dict.fromkeys((*groups.values(), _group_of(default, groups))):
        try:
            made[group] = kept.get(group) or maker.make(group)
        except ConfigurationError as error:
            mistakes.add("certificate", error)
    return made


def _maker(wanted: Wanted, clients: ClientAuthorities | None) -> ContextMaker:
    return ContextMaker(profile_named(wanted.profile), wanted.protocols, clients)


def _run_out(certificates: Iterable[Certificate], now: float) -> Iterator[str]:
    for certificate in certificates:
        if now >= certificate.not_after:
            yield f"certificate: {certificate.source!r} has expired, and is served on until there is a newer one"


def _chooser(contexts: Names[SSL.Context], reject: bool) -> Callable[[SSL.Connection], None]:
    """What is called in each handshake. It cannot raise: for an exception, pyOpenSSL prints a traceback."""

    def choose(connection: SSL.Connection) -> None:
        asked = connection.get_servername()
        name = None if asked is None else normal_name(asked)
        context = None if name is None else contexts.find(name)
        if context is not None:
            connection.set_context(context)
        elif reject and isinstance(connection, NamedConnection):
            connection.name_refused = True

    return choose
