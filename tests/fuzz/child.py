"""The process that fuzzes one target: libFuzzer takes it over, and ends it.

A promise that is not kept does not end it: the input is saved, and the search goes on for other ones. Of those with one cause
only the shortest is kept. What ends it is what Python cannot catch: a time-out, too much memory, a crash.
"""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from zope.interface import implementer

__all__ = ["Findings", "fuzz", "import_targets", "raises_logged"]

#: Bytes of an input at most.
_LENGTH = 4096
#: Seconds that one input may take, and MiB that the process may grow to.
_PATIENCE = 10
_MEMORY = 1024


def import_targets(name: str, atheris: Any = None) -> Any:
    """The target called *name*; with atheris, lbproxy is imported so that its coverage is seen.

    :param name: one of :data:`.targets.TARGETS`, or ``module:attribute`` of a target elsewhere.
    """
    if atheris is not None:
        with atheris.instrument_imports(include=["lbproxy"]):
            importlib.import_module("tests.support")
    module, _, attribute = name.partition(":")
    if attribute:
        return getattr(importlib.import_module(module), attribute)
    return importlib.import_module("tests.fuzz.targets").TARGETS[name]


def raises_logged(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """As *run*, but it raises what was logged as a failure: an error of ours that was caught is one all the same."""
    from twisted.logger import ILogObserver, globalLogPublisher

    logged: list[BaseException] = []

    def observe(event: Any) -> None:
        if "log_failure" in event:
            logged.append(event["log_failure"].value)

    globalLogPublisher.addObserver(implementer(ILogObserver)(observe))

    def run_and_raise(data: bytes) -> None:
        logged.clear()
        run(data)
        if logged:
            raise logged[0]

    return run_and_raise


def _cause(error: BaseException) -> str:
    """What makes two findings the same: the promise, or the kind of error and where it arose."""
    promise = getattr(error, "promise", None)
    if promise is not None:
        return str(promise)
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {Path(frames[-1].filename).name}, line {frames[-1].lineno}"


class Findings:
    """Inputs that broke something, in a directory: the shortest of each cause, beside a text that says what it broke."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._found: dict[str, tuple[int, Path]] = {}

    def add(self, data: bytes, error: BaseException) -> None:
        """Save it, unless a shorter one is here."""
        cause = _cause(error)
        length, file = self._found.get(cause, (len(data) + 1, self._directory / f"{self._name}-{len(self._found) + 1}"))
        if len(data) < length:
            self._found[cause] = len(data), file
            file.write_bytes(data)
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            file.with_suffix(".txt").write_text(f"{cause}\n\n{text}", "utf-8", "replace")

    def __len__(self) -> int:
        return len(self._found)


def fuzz(name: str, directory: Path, seconds: int, seed: int) -> None:
    """Fuzz one target; never returns.

    :param directory: where the inputs that led somewhere new are put (``corpus``), and findings (``found``).
    """
    atheris = importlib.import_module("atheris")
    target = import_targets(name, atheris)
    corpus, found = directory / "corpus", directory / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    _take_back(found, corpus)
    _write_seeds(corpus, target.seeds)
    _write_dictionary(directory / "dictionary", importlib.import_module("tests.fuzz.seeds").NASTY)
    run = raises_logged(atheris.instrument_func(target.run))  # a target elsewhere may have nothing else to be seen
    findings = Findings(found, target.name)

    def one_input(data: bytes) -> None:
        try:
            run(data)
        except Exception as error:
            findings.add(data, error)

    options = [
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        "-keep_seed=1",  # what the parser in C does with them is no coverage that can be seen here
        f"-max_len={_LENGTH}",
        f"-timeout={_PATIENCE}",
        f"-rss_limit_mb={_MEMORY}",
        f"-dict={directory / 'dictionary'}",
        f"-artifact_prefix={found}{os.sep}{target.name}-",
    ]
    atheris.Setup(["fuzz", *options, str(corpus)], one_input)
    atheris.Fuzz()


def _take_back(found: Path, corpus: Path) -> None:
    """What an earlier run found is what this one tries first: it is found again unless it was mended."""
    for file in found.iterdir():
        if file.suffix == ".txt":
            file.unlink()
        else:
            file.replace(corpus / f"found-{file.name}")


def _write_seeds(corpus: Path, seeds: Iterable[bytes]) -> None:
    for number, data in enumerate(seeds):
        (corpus / f"seed-{number:03}").write_bytes(data)


def _write_dictionary(file: Path, entries: Iterable[bytes]) -> None:
    """As libFuzzer wants it: a line for each entry, in quotes."""
    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in entry) + '"\n' for entry in entries)
    file.write_text("".join(lines), "ascii")
