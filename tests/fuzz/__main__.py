"""``python -m tests.fuzz``: fuzz the server side, the client side and the table of routes for as long as asked.

Each target runs in a process of its own, since libFuzzer ends the process that it runs in. Exit status: 0, nothing was found;
1, something was (or the replayed input still breaks a promise); 2, the command line is wrong; 3, atheris is not installed;
4, a target did not run.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from .child import fuzz, import_targets, raises_logged

FOUND, NO_ATHERIS, BROKEN = 1, 3, 4
NAMES = ("server", "client", "routes")
#: Seconds between two lines of progress, and that a child may take longer than it should: it starts, and reads its seeds first.
INTERVAL = 10.0
PATIENCE = 120

_PROGRESS = re.compile(r"#(\d+)\s+\w+\s.*?cov: (\d+)")


def say(text: str) -> None:
    """To whoever runs it, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run_child(name: str, directory: Path, seconds: int, seed: int) -> bool:
    """Fuzz one target in a process of its own, and tell of its progress; whether it fuzzed, to the end."""
    directory.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "tests.fuzz", "--child", str(directory), "--target", name]
    words += ["--seconds", str(seconds), "--seed", str(seed)]
    inputs, edges, next_line = "0", "0", time.monotonic() + INTERVAL
    with (directory / "log").open("w", encoding="utf-8") as log:
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        assert child.stdout is not None
        for line in child.stdout:
            log.write(line)
            match = _PROGRESS.match(line)
            if match:
                inputs, edges = match[1], match[2]
            if time.monotonic() >= next_line:
                say(progress(name, inputs, edges, directory))
                next_line += INTERVAL
        status = child.wait(PATIENCE)
    say(progress(name, inputs, edges, directory))
    return not status and edges != "0"  # libFuzzer gives up where it sees no code being run, and ends well all the same


def progress(name: str, inputs: str, edges: str, directory: Path) -> str:
    """A line of it."""
    return f"{name}: {inputs} inputs, {edges} edges covered, {len(findings(directory))} findings"


def findings(directory: Path) -> list[Path]:
    """The inputs that broke something."""
    return [file for file in sorted((directory / "found").glob("*")) if file.suffix != ".txt"]


def report(file: Path, name: str) -> None:
    """What a finding is, and how it can be seen again."""
    text = file.with_suffix(".txt")
    why = text.read_text("utf-8") if text.exists() else f"libFuzzer ended it: {file.name}, see {file.parent.parent / 'log'}"
    say(f"\nFOUND {file}\n{why.rstrip()}\n{file.read_bytes()!r}\npython -m tests.fuzz --target {name} --replay {file}")


def replay(file: Path, name: str) -> int:
    """Give a saved input to its target once more."""
    run = raises_logged(import_targets(name).run)
    data = file.read_bytes()
    say(repr(data))
    try:
        run(data)
    except Exception as error:
        say(f"{type(error).__name__}: {error}")
        return FOUND
    say("every promise is kept")
    return 0


def fuzz_all(names: tuple[str, ...], seconds: int, seed: int, kept: Path | None) -> int:
    """Fuzz the targets in turn; gives the exit status."""
    home = Path(tempfile.mkdtemp(prefix="lbproxy-fuzz-")) if kept is None else kept
    found = False
    for name in names:
        directory = home / name.replace(":", "-")
        say(f"{name}: {seconds} s from seed {seed}")
        whole = run_child(name, directory, seconds, seed)
        inputs = findings(directory)
        for file in inputs:
            report(file, name)
        if not whole and not inputs:
            say(f"{name} did not run:\n{(directory / 'log').read_text('utf-8')[-2000:]}")
            return BROKEN
        found = found or bool(inputs)
    if kept is None and not found:
        shutil.rmtree(home)
    say("nothing was found" if not found else f"\nall of it is in {home}")
    return FOUND if found else 0


def target_of(file: Path) -> str:
    """Findings are named after their target."""
    return next((name for name in NAMES if file.name.startswith(name)), NAMES[0])


def options(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description="Fuzz lbproxy with atheris.")
    parser.add_argument("--seconds", type=int, default=60, help="how long, each target (60)")
    parser.add_argument("--target", help="server or client; both in turn by default; or module:attribute")
    parser.add_argument("--seed", type=int, help="of the mutations; random by default")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where inputs are kept, and found again by the next run")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one saved input, and say what it breaks")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(words)
    if chosen.seconds < 1:
        parser.error(f"--seconds: {chosen.seconds} was given; allowed is 1 or more")
    if chosen.target is not None and chosen.target not in NAMES and ":" not in chosen.target:
        known = ", ".join(NAMES)
        parser.error(f"--target: {chosen.target} was given; allowed are {known} and module:attribute")
    return chosen


def main(words: list[str]) -> int:
    """The command; gives its exit status."""
    chosen = options(words)
    if chosen.replay is not None:
        return replay(chosen.replay, chosen.target or target_of(chosen.replay))
    if find_spec("atheris") is None:
        say("atheris is not installed (it has wheels for some versions of Python on x86-64 Linux alone): nothing is fuzzed")
        return NO_ATHERIS
    seed = random.randrange(1, 1 << 31) if chosen.seed is None else chosen.seed
    if chosen.child is not None:
        fuzz(chosen.target, chosen.child, chosen.seconds, seed)
    return fuzz_all((chosen.target,) if chosen.target else NAMES, chosen.seconds, seed, chosen.keep)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
