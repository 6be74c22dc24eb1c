"""The package: what is built carries the plugin, and once installed, twistd finds it from anywhere."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from email.parser import HeaderParser
from functools import cache
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

import lbproxy

CHECKOUT = Path(__file__).parent.parent
#: Seconds that a build or an installation may take.
PATIENCE = 300
#: What a checkout has and a build must not see: what earlier builds and runs left behind.
LEFTOVERS = shutil.ignore_patterns(
    *("__pycache__", "*.egg-info", "build", "dist", "dropin.cache", ".*", "_trial_temp*", "results")
)


def run(*words: str | Path, directory: str | Path = "/") -> str:
    """What a program says that runs in *directory* and sees nothing of this checkout by its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=directory,
        env={**environment, "PYTHONNOUSERSITE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{words} ended with status {done.returncode}:\n{done.stdout}")
    return done.stdout


# Trial has no class fixtures; what several tests need is made once, when the first of them asks for it.


@cache
def home() -> Path:
    """A directory for all of these tests, removed at the end."""
    place = Path(tempfile.mkdtemp(prefix="lbproxy-packaging-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


@cache
def source() -> Path:
    """A copy of the checkout, so that builds leave nothing in the real one."""
    return Path(shutil.copytree(CHECKOUT, home() / "source", ignore=LEFTOVERS))


@cache
def built() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files in the source distribution, and those in the wheel that is built from it, by name."""
    # Without isolation the test needs no network; .ci/run builds in isolation as well.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", home() / "dist", directory=source())
    (sdist,) = (home() / "dist").glob("lbproxy-*.tar.gz")
    (wheel,) = (home() / "dist").glob("lbproxy-*.whl")
    in_sdist = {}
    with tarfile.open(sdist) as archive:
        for member in archive:
            file = archive.extractfile(member)  # None for a directory
            if file is not None:
                in_sdist[member.name.partition("/")[2]] = file.read()
    with zipfile.ZipFile(wheel) as contents:
        return in_sdist, {name: contents.read(name) for name in contents.namelist()}


class PackagingTestCase(SynchronousTestCase):
    """Needs a checkout."""

    def setUp(self) -> None:
        if not (CHECKOUT / "setup.py").exists():
            raise SkipTest("there is no setup.py beside the tests: only a checkout can be packaged")


class BuildTests(PackagingTestCase):
    """The source distribution, and the wheel that is built from it."""

    def setUp(self) -> None:
        super().setUp()
        self.sdist, self.wheel = built()

    def test_plugin(self) -> None:
        """Both carry the plugin, as it stands in the checkout."""
        plugin = (CHECKOUT / "twisted" / "plugins" / "lbproxy_plugin.py").read_bytes()
        self.assertEqual(self.wheel["twisted/plugins/lbproxy_plugin.py"], plugin)
        self.assertEqual(self.sdist["twisted/plugins/lbproxy_plugin.py"], plugin)

    def test_twisted_is_not_shadowed(self) -> None:
        """Nothing else of ours stands where Twisted's own files are, least of all an __init__.py."""
        for files in (self.wheel, self.sdist):
            ours = [name for name in files if name.startswith("twisted/")]
            self.assertEqual(ours, ["twisted/plugins/lbproxy_plugin.py"])

    def test_wheel_has_the_package(self) -> None:
        """Every module is in the wheel, and the mark that it is typed."""
        modules = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "lbproxy").rglob("*.py")}
        self.assertEqual(modules - set(self.wheel), set())
        self.assertIn("lbproxy/py.typed", self.wheel)

    def test_wheel_has_nothing_else(self) -> None:
        """Tests, measurements and caches stay at home."""
        tops = {name.partition("/")[0] for name in self.wheel}
        self.assertEqual(tops, {"lbproxy", "twisted", f"lbproxy-{lbproxy.__version__}.dist-info"})
        self.assertEqual([name for name in self.wheel if name.endswith((".pyc", "dropin.cache"))], [])

    def test_sdist_is_whole(self) -> None:
        """Who has the source distribution can read, test and build it."""
        named = ("README.rst", "LICENSE", "CHANGELOG.rst", "pyproject.toml", "setup.py", "tests/test_packaging.py")
        for name in (*named, "docs/configuration.rst", "examples/three_backends.toml"):
            self.assertIn(name, self.sdist)

    def test_metadata(self) -> None:
        """The version is the package's, and the dependencies are there."""
        metadata = HeaderParser().parsestr(self.wheel[f"lbproxy-{lbproxy.__version__}.dist-info/METADATA"].decode())
        self.assertEqual((metadata["Name"], metadata["Version"]), ("lbproxy", lbproxy.__version__))
        self.assertEqual((metadata["Requires-Python"], metadata["License-Expression"]), (">=3.10", "MIT"))
        required = " ".join(metadata.get_all("Requires-Dist", [])).lower()
        for name in ("twisted[tls]", "httptools", "attrs", "zope.interface", "prometheus-client", "pyopenssl", "treq"):
            self.assertIn(name, required)


class InstallTests(PackagingTestCase):
    """Installed in a fresh virtual environment, the subcommand is known in any directory."""

    def environment(self) -> Path:
        """Make a virtual environment that has what this one has, except lbproxy.

        :return: its Python.
        """
        place = home() / self.id().rpartition(".")[2]
        run(sys.executable, "-m", "venv", "--without-pip", place)
        python = place / "bin" / "python"
        packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        (Path(packages) / "dependencies.pth").write_text(f"{self.dependencies()}\n")
        return python

    def dependencies(self) -> Path:
        """A directory of links to all packages installed here but ours, whose plugin stands among Twisted's own files."""
        links = home() / "dependencies"
        if not links.exists():
            for packages in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
                _link(Path(packages), links, leave_out=("lbproxy", "__editable__", "twisted", "__pycache__"))
                _link(Path(packages) / "twisted", links / "twisted", leave_out=("plugins", "__pycache__"))
                _link(Path(packages) / "twisted" / "plugins", links / "twisted" / "plugins", leave_out=("lbproxy", "dropin"))
        return links

    def install(self, python: Path, *words: str | Path) -> None:
        pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
        run(*pip, "--no-index", "--no-deps", "--no-build-isolation", *words)

    def subcommands(self, python: Path) -> list[str]:
        """The subcommands that twistd knows, asked in the root directory."""
        text = run(python, "-c", "from twisted.scripts.twistd import run; run()", "--help")
        return [line.split()[0] for line in text.partition("Commands:")[2].splitlines() if line.strip()]

    def assert_installed(self, *words: str | Path) -> None:
        python = self.environment()
        self.assertNotIn("lbproxy", self.subcommands(python))
        self.install(python, *words)
        self.assertIn("lbproxy", self.subcommands(python))
        said = run(python, "-c", "from twisted.scripts.twistd import run; run()", "lbproxy", "--version")
        self.assertEqual(said, f"lbproxy {lbproxy.__version__}\n")

    def test_install(self) -> None:
        """``pip install .``"""
        self.assert_installed(source())

    def test_editable_install(self) -> None:
        """``pip install -e .``, which an import hook in place of a path would break."""
        self.assert_installed("--editable", source())


def _link(place: Path, links: Path, *, leave_out: tuple[str, ...]) -> None:
    """Fill *links* with links to what is in *place*."""
    links.mkdir(parents=True, exist_ok=True)
    for entry in place.iterdir() if place.is_dir() else ():
        name = entry.name
        if not name.startswith(leave_out) and not name.endswith(".pth") and not (links / name).exists():
            (links / name).symlink_to(entry)
