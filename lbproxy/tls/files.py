"""Where certificates lie: the files that an operator's path comprises, what is in them, and whether they have changed."""

from __future__ import annotations

import os
from typing import TypeAlias

import attrs

from ..errors import ConfigurationError
from ..files import NotAFile, Stamp, exists, is_directory, names_in, opened, stamp

__all__ = ["Source", "Stamp", "StrPath", "absolute", "find_sources", "read_file", "stamp", "stamps"]

#: The largest file that is read, in bytes. A chain with its key has about 10 KiB; Mozilla's whole list of authorities 220 KiB.
FILE_LIMIT = 1 << 20
#: The most files of a directory.
DIRECTORY_LIMIT = 10_000
#: What certbot writes into the directory of a name.
_CERTBOT = ("fullchain.pem", "privkey.pem")
_BESIDE_CERTBOT = frozenset(("cert.pem", "chain.pem", *_CERTBOT))
_PAIRED = (".crt", ".cert")

#: A path as Python has them.
StrPath: TypeAlias = str | os.PathLike[str]


@attrs.frozen
class Source:
    """Where one certificate lies.

    :ivar name: as an operator would call it.
    :ivar paths: the file; or that of the certificates, and that of the key.
    :ivar found: in a directory, among others: it may be something else.
    """

    name: str
    paths: tuple[str, ...]
    found: bool = False


def absolute(path: StrPath) -> str:
    """The same place whichever directory the process goes to; of a pair, both."""
    path = os.fspath(path)
    return os.path.abspath(path) if exists(path) else ",".join(map(os.path.abspath, path.split(",", 1)))


def find_sources(path: str) -> list[Source]:
    """What an operator's path comprises: a file, a pair of files with a comma between them, or a directory of these.

    In a directory these are, in alphabetical order: ``fullchain.pem`` with ``privkey.pem``, as certbot writes them; every other
    ``*.pem``; and every ``NAME.crt`` or ``NAME.cert`` that has a ``NAME.key`` beside it. Hidden files are not looked at.

    :raises ConfigurationError: the directory cannot be read, or is too large.
    """
    if not exists(path) and "," in path:
        certificates, key = path.split(",", 1)
        return [Source(path, (certificates, key))]
    return _in_directory(path) if is_directory(path) else [Source(path, (path,))]


def _in_directory(path: str) -> list[Source]:
    try:
        names = _listed(path)
    except OSError as error:
        raise ConfigurationError(f"{path!r} cannot be read: {error.strerror}; give a directory that lbproxy may read") from None
    certbot = all(name in names for name in _CERTBOT)
    sources = [_pair(path, *_CERTBOT)] if certbot else []
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix == ".pem" and not (certbot and name in _BESIDE_CERTBOT):
            file = os.path.join(path, name)
            sources.append(Source(file, (file,), found=True))
        elif suffix in _PAIRED and f"{stem}.key" in names:
            sources.append(_pair(path, name, f"{stem}.key"))
    return sources


def _listed(path: str) -> dict[str, None]:
    names = names_in(path, DIRECTORY_LIMIT)
    if len(names) > DIRECTORY_LIMIT:
        raise ConfigurationError(f"{path!r} has more than {DIRECTORY_LIMIT} files; give one with certificates alone")
    return dict.fromkeys(names)


def _pair(path: str, certificates: str, key: str) -> Source:
    paths = (os.path.join(path, certificates), os.path.join(path, key))
    return Source(",".join(paths), paths)


def read_file(path: str) -> bytes:
    """What is in a file.

    :raises ConfigurationError: it cannot be read, is no file, or is too large.
    """
    try:
        with opened(path) as file:
            data = file.read(FILE_LIMIT + 1)
    except NotAFile:
        raise ConfigurationError(f"{path!r} is no file; it is read again when it changes, so give a path that stays") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{path!r} cannot be read: {reason}; give a PEM file that lbproxy may read") from None
    if len(data) > FILE_LIMIT:
        raise ConfigurationError(f"{path!r} is larger than {FILE_LIMIT >> 20} MiB; give a PEM file with one certificate's chain")
    return data


def stamps(path: str) -> tuple[tuple[str, Stamp], ...]:
    """The state of every file that an operator's path comprises. Nothing is read but the directory."""
    try:
        sources = find_sources(path)
    except ConfigurationError:
        sources = []
    return tuple((file, stamp(file)) for file in dict.fromkeys((path, *(file for source in sources for file in source.paths))))
