"""Content codings: which of them a client takes, and what writes them. Pure.

gzip is always there. Brotli and Zstandard come with packages that need not be installed (``pip install lbproxy[compression]``).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Protocol

__all__ = ["CODINGS", "NEEDS", "Coder", "available", "choose", "coder"]

#: All codings by their names in HTTP, the one to be preferred first. (Measured with 512 KiB of JSON in parts of 64 KiB, each
#: ended, at the default levels: zstd 355 MB/s and 13.7 % of the bytes, Brotli 111 and 12.1 %, gzip 103 and 13.5 %.)
CODINGS = ("zstd", "br", "gzip")

#: The packages that they need.
NEEDS = {"br": "brotli", "zstd": "zstandard"}

#: Seldom used, and the same (RFC 9110 section 8.4.1.3).
_ALIASES = {b"x-gzip": b"gzip"}

_WEIGHT = re.compile(rb"[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*")


class Coder(Protocol):
    """Writes one body in a coding."""

    def write(self, data: bytes) -> bytes:
        """A part of it; all that it holds can be read from what was written so far."""

    def finish(self) -> bytes:
        """What is left, and the end."""


class _Gzip:
    def __init__(self, level: int) -> None:
        self._stream = zlib.compressobj(level, zlib.DEFLATED, 31)

    def write(self, data: bytes) -> bytes:
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Brotli:
    """With a window of 256 KiB, where the package's default, 4 MiB, makes less than 1 % of difference."""

    def __init__(self, level: int) -> None:
        self._stream = _modules["br"].Compressor(quality=level, lgwin=18)

    def write(self, data: bytes) -> bytes:
        return bytes(self._stream.process(data) + self._stream.flush())

    def finish(self) -> bytes:
        return bytes(self._stream.finish())


class _Zstd:
    """With a window of 512 KiB: no client need have more than 8 MiB (RFC 9659), and memory is held for each response."""

    def __init__(self, level: int) -> None:
        zstandard = _modules["zstd"]
        parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=19)
        # One for each stream: a compressor can write one at a time only.
        self._stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        self._end_block = zstandard.COMPRESSOBJ_FLUSH_BLOCK

    def write(self, data: bytes) -> bytes:
        return bytes(self._stream.compress(data) + self._stream.flush(self._end_block))

    def finish(self) -> bytes:
        return bytes(self._stream.flush())


_CODERS: dict[str, Callable[[int], Coder]] = {"gzip": _Gzip, "br": _Brotli, "zstd": _Zstd}


def _packages() -> dict[str, ModuleType]:
    """The packages that are installed, by coding."""
    found = {}
    for coding, package in NEEDS.items():
        try:
            found[coding] = import_module(package)
        except ImportError:
            continue
    return found


_modules = _packages()


def available() -> tuple[str, ...]:
    """The codings that can be written here, the one to be preferred first."""
    return tuple(coding for coding in CODINGS if coding not in NEEDS or coding in _modules)


def coder(coding: str, level: int) -> Coder:
    """What writes a body in a coding that is available."""
    return _CODERS[coding](level)


def _weights(accepted: bytes) -> dict[bytes, float]:
    """The weights in an Accept-Encoding field; an item that is malformed counts as one that is not acceptable."""
    weights: dict[bytes, float] = {}
    for item in accepted.lower().split(b","):
        name, semicolon, rest = item.partition(b";")
        found = _WEIGHT.fullmatch(rest)
        weight = 1.0 if not semicolon else float(found[1]) if found else 0.0
        name = name.strip(b" \t")
        weights.setdefault(_ALIASES.get(name, name), weight)
    return weights


def choose(accepted: bytes, offered: Sequence[str]) -> str:
    """The coding for a client (RFC 9110 section 12.5.3): of those with the greatest weight the one that is offered first.

    :param accepted: its Accept-Encoding fields' values, joined by commas; empty: it has sent none, and is given none.
    :return: empty where none of them is acceptable, or the client would rather have none.
    """
    if not accepted:
        return ""
    weights = _weights(accepted)
    others = weights.get(b"*", 0.0)
    best, chosen = weights.get(b"identity", 0.0), ""
    for coding in offered:
        weight = weights.get(coding.encode("ascii"), others)
        if weight > best or (weight == best and weight and not chosen):
            best, chosen = weight, coding
    return chosen
