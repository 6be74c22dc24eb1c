"""The fuzz command runs, finds what is planted, and says how to see it again."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .fuzz.child import Findings, raises_logged
from .fuzz.reading import Unkept
from .fuzz.targets import TARGETS, Target

CHECKOUT = Path(__file__).parent.parent


def _planted(data: bytes) -> None:
    """One of few bytes, put into the seed, breaks it."""
    if data.startswith(b"HTTP/") and b"\0" in data:
        raise Unkept("a planted promise", data)


PLANTED = Target("planted", _planted, [b"HTTP/1.1 200 OK"])


def command(*words: str) -> tuple[int, str]:
    """The exit status of ``python -m tests.fuzz``, and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


class TheTargets(SynchronousTestCase):
    """What is fuzzed."""

    def test_every_seed_keeps_the_promises(self) -> None:
        """Fuzzing begins with inputs of which none is a finding."""
        for target in TARGETS.values():
            for seed in target.seeds:
                target.run(seed)

    def test_no_input_is_too_short(self) -> None:
        """Nothing, and the bytes before a message alone, are inputs too."""
        for target in TARGETS.values():
            for data in (b"", b"\0", b"\0\0"):
                target.run(data)

    def test_an_error_that_was_caught_is_a_finding(self) -> None:
        """What is logged as a failure is raised after the input."""
        from twisted.logger import Logger

        def log_one(data: bytes) -> None:
            try:
                raise ValueError(data)
            except ValueError:
                Logger().failure("caught")

        self.assertRaises(ValueError, raises_logged(log_one), b"x")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class OfOneCauseTheShortestIsKept(SynchronousTestCase):
    """A search that goes on after its first finding does not drown in it."""

    def test_it_is(self) -> None:
        """Two inputs of one cause are one finding, the shorter one; another cause is another."""
        directory = Path(self.mktemp())
        directory.mkdir()
        findings = Findings(directory, "some")
        for data, promise in ((b"long", "a"), (b"l", "a"), (b"longer", "a"), (b"other", "b")):
            findings.add(data, Unkept(promise, data))
        files = {file.name: file.read_bytes() for file in directory.iterdir() if not file.suffix}
        self.assertEqual((len(findings), files), (2, {"some-1": b"l", "some-2": b"other"}))
        self.assertTrue((directory / "some-1.txt").read_text("utf-8").startswith("a\n"))


class TheCommand(SynchronousTestCase):
    """``python -m tests.fuzz``."""

    if find_spec("atheris") is None:
        skip = "atheris is not installed"

    def test_both_targets_run(self) -> None:
        """For the time asked, from a seed, with progress; what is kept is there for the next run."""
        with tempfile.TemporaryDirectory() as kept:
            status, said = command("--seconds", "2", "--seed", "7", "--keep", kept)
            self.assertIn("server: 2 s from seed 7", said)
            self.assertIn("client: 2 s from seed 7", said)
            self.assertRegex(said, r"server: [1-9]\d+ inputs, [1-9]\d+ edges covered")
            self.assertRegex(said, r"client: [1-9]\d+ inputs, [1-9]\d+ edges covered")
            self.assertIn(status, (0, 1), said)
            self.assertGreaterEqual(len(list((Path(kept) / "server" / "corpus").iterdir())), len(TARGETS["server"].seeds))

    def test_what_is_planted_is_found_and_can_be_replayed(self) -> None:
        """The exit status says so; the bytes stand in a file, as a literal, and in the command that shows them again."""
        with tempfile.TemporaryDirectory() as kept:
            status, said = command("--seconds", "2", "--target", "tests.test_fuzz:PLANTED", "--keep", kept)
            self.assertEqual(status, 1, said)
            file = next((Path(kept)).rglob("planted-1"))
            self.assertIn(f"\n{file.read_bytes()!r}\n", said)
            self.assertIn(f"python -m tests.fuzz --target tests.test_fuzz:PLANTED --replay {file}", said)
            status, said = command("--target", "tests.test_fuzz:PLANTED", "--replay", str(file))
            self.assertEqual(status, 1)
            self.assertIn("Unkept: a planted promise", said)


    def test_a_target_that_is_not_fuzzed_is_no_success(self) -> None:
        """libFuzzer ends well where it could do nothing; the command does not."""
        with tempfile.TemporaryDirectory() as kept:
            status, said = command("--seconds", "1", "--target", "tests.test_fuzz:MISSING", "--keep", kept)
            self.assertEqual((status, "did not run" in said, "MISSING" in said), (4, True, True), said)


class WithoutAtheris(SynchronousTestCase):
    """The command needs it to fuzz, and for nothing else."""

    def test_it_says_so(self) -> None:
        """One sentence, and a status of its own, which a gate can tell from findings."""
        hidden = "import sys; sys.modules['atheris'] = None; from tests.fuzz.__main__ import main; sys.exit(main([]))"
        done = subprocess.run(
            [sys.executable, "-c", hidden], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, timeout=60, check=False
        )
        self.assertEqual((done.returncode, done.stdout.count("\n")), (3, 1))
        self.assertIn("atheris is not installed", done.stdout)

    def test_an_input_can_be_replayed(self) -> None:
        """One that keeps the promises says so."""
        file = Path(self.mktemp())
        file.write_bytes(TARGETS["client"].seeds[0])
        status, said = command("--target", "client", "--replay", str(file.absolute()))
        self.assertEqual((status, said.endswith("every promise is kept\n")), (0, True), said)

    def test_a_mistaken_command_line(self) -> None:
        """It names what was given and what is allowed; nothing is fuzzed."""
        for words, what in ((("--target", "both"), "both was given"), (("--seconds", "0"), "0 was given")):
            status, said = command(*words)
            self.assertEqual(status, 2)
            self.assertIn(what, said)
