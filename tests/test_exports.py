"""What is public, and what importing it does not do."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

import lbproxy
import lbproxy.interfaces
import lbproxy.testing

HOME = os.path.dirname(os.path.dirname(os.path.abspath(lbproxy.__file__)))


def python(code: str) -> str:
    """What *code* prints, run by itself."""
    environment = {**os.environ, "PYTHONPATH": HOME}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


class ExportsTests(SynchronousTestCase):
    """The names that users may rely on. Whoever changes one writes a newsfragment."""

    def test_lbproxy(self) -> None:
        """The package."""
        names = [
            "AccessLogFile",
            "Answer",
            "Backend",
            "BackendTls",
            "CertificateStore",
            "CertificateWatch",
            "Certificates",
            "Change",
            "Configuration",
            "ConfigurationFile",
            "Filter",
            "FilterContext",
            "FixedAnswer",
            "LoadBalancerResource",
            "LoadBalancerService",
            "Match",
            "Mirror",
            "Policy",
            "Pool",
            "PoolConfiguration",
            "ProbeSpec",
            "Redirect",
            "Route",
            "Settings",
            "Split",
            "StaticFiles",
            "Verdict",
            "Wish",
            "__version__",
            "filter_spec",
            "parse_backends",
            "policy_maker",
            "read_configuration",
        ]
        self.assertEqual(sorted(lbproxy.__all__), names)
        for name in names:
            self.assertTrue(hasattr(lbproxy, name), name)
            self.assertIn(name, dir(lbproxy))

    def test_interfaces(self) -> None:
        """What can be provided by others."""
        names = [
            "IDownstream",
            "IExchangeObserver",
            "IFilter",
            "IFilterMaker",
            "IPolicy",
            "IPolicyMaker",
            "IPoolControl",
            "IProbe",
        ]
        self.assertEqual(sorted(lbproxy.interfaces.__all__), names)

    def test_testing(self) -> None:
        """Fakes for embedders' tests."""
        names = [
            "FakeBackend",
            "FakeDownstream",
            "Fault",
            "FilterConformance",
            "MemoryBackends",
            "PolicyConformance",
            "ProbeFailed",
            "RecordingObserver",
            "StubPassage",
            "StubProbe",
        ]
        self.assertEqual(sorted(lbproxy.testing.__all__), names)
        for name in names:
            self.assertTrue(hasattr(lbproxy.testing, name), name)

    def test_unknown_name(self) -> None:
        """A name that is none is answered as by any module."""
        error = self.assertRaises(AttributeError, getattr, lbproxy, "LoadBalancer")
        self.assertEqual(str(error), "module 'lbproxy' has no attribute 'LoadBalancer'")

    def test_later_names(self) -> None:
        """The names that are looked up late are the classes themselves, and found from then on without a search."""
        said = python(
            "import lbproxy; from lbproxy import LoadBalancerService as S, LoadBalancerResource as R; "
            "print(S.__module__, R.__module__, 'LoadBalancerService' in vars(lbproxy))"
        )
        self.assertEqual(said, "lbproxy.service lbproxy.resource True")


class ReactorTests(SynchronousTestCase):
    """Importing chooses no reactor: that is the application's first act, or twistd's."""

    def assert_no_reactor(self, code: str) -> None:
        self.assertEqual(python(f"import sys; {code}; print('twisted.internet.reactor' in sys.modules)"), "False")

    def test_package(self) -> None:
        """Not the package with the names that every user needs."""
        self.assert_no_reactor("from lbproxy import Backend, Policy, Pool, Settings, Verdict, parse_backends, policy_maker")

    def test_command_line(self) -> None:
        """Not the options, which twistd reads for its help; --reactor comes after."""
        self.assert_no_reactor("from lbproxy.tap import Options; Options().parseOptions(['-b', 'a:1'])")

    def test_plugin(self) -> None:
        """Not the search for plugins."""
        self.assert_no_reactor(
            "from twisted.plugin import getPlugins; from twisted.application.service import IServiceMaker; "
            "[maker.description for maker in getPlugins(IServiceMaker)]"
        )

    def test_testing(self) -> None:
        """Not the fakes: tests run under whatever reactor their runner has."""
        self.assert_no_reactor("import lbproxy.testing")
