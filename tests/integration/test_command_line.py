"""``twistd lbproxy`` and the people who type it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket

import lbproxy

from .support import LOOPBACK, IntegrationTestCase, LoadBalancer, ask, eventually, free_port


class MistakeTests(IntegrationTestCase):
    """A mistake ends with one message that names it, what was given and what is allowed, and a status other than 0."""

    def assertRefused(self, options: list[str], *words: str) -> None:
        """``twistd`` with these options says all of *words* on standard error, and nothing else than its message."""
        ended = self.run_twistd(*options)
        self.assertNotEqual(ended.returncode, 0, ended)
        for word in words:
            self.assertIn(word, ended.stderr)
        self.assertNotIn("Traceback", ended.stdout + ended.stderr)
        self.assertLess(len(ended.stderr.splitlines()), 6, ended.stderr)

    def test_an_unknown_option(self) -> None:
        """With the one that was probably meant."""
        self.assertRefused(["--retry", "3", "-b", "a:1"], "--retry", "--retries")

    def test_a_backend_that_is_none(self) -> None:
        """Each by itself: no port, a port out of range, a scheme that is not served, a weight out of range."""
        self.assertRefused(["-b", "10.0.0.1"], "--backends", "'10.0.0.1'", "port", "HOST:PORT")
        self.assertRefused(["-b", "10.0.0.1:70000"], "--backends", "70000", "65535")
        self.assertRefused(["-b", "https://10.0.0.1:443"], "--backends", "https", "http")
        self.assertRefused(["-b", "10.0.0.1:80:weight=0"], "--backends", "weight 0 ", "1 to 1000")

    def test_no_backend(self) -> None:
        """Neither the option nor a value."""
        self.assertRefused([], "--backends", "no backend", "HOST:PORT")

    def test_a_backend_named_twice(self) -> None:
        """Also when it is written in two ways."""
        self.assertRefused(["-b", "10.0.0.1:80,http://10.0.0.1:80"], "10.0.0.1:80", "twice")

    def test_a_number_out_of_range(self) -> None:
        """All of them at once."""
        self.assertRefused(
            ["-b", "a:1", "--retries", "-1", "--probe-interval", "0", "--idle-timeout", "soon"],
            "--retries", "'-1'", "0 to 100", "--probe-interval", "'0'", "--idle-timeout", "'soon'", "0.01 to 86400",
        )  # fmt: skip

    def test_a_proxy_that_is_none(self) -> None:
        """Each by itself, beside what else is wrong."""
        self.assertRefused(
            ["-b", "a:1", "--trusted-proxies", "10.0.0.0/33,::1,proxy", "--body-limit", "1t"],
            "--trusted-proxies", "'10.0.0.0/33'", "'proxy'", "--body-limit", "'1t'", "k, m and g",
        )  # fmt: skip

    def test_a_listener_that_is_none(self) -> None:
        """Twisted's own word on it is not all that is said."""
        self.assertRefused(["-b", "a:1", "--listen", "carrier-pigeon:80"], "carrier-pigeon:80")

    def test_an_occupied_port(self) -> None:
        """It is named with the cause, for clients and for the administration alike; nothing is left half started."""
        with socket.socket() as occupant:
            occupant.bind((LOOPBACK, 0))
            occupant.listen()
            description = f"tcp:{occupant.getsockname()[1]}:interface={LOOPBACK}"
            free = f"tcp:{free_port()}:interface={LOOPBACK}"
            for options in (["--listen", description], ["--listen", free, "--admin", description]):
                self.assertRefused(["-b", "a:1", *options], description, "in use")

    def test_an_access_log_that_cannot_be_written(self) -> None:
        """The file is named."""
        self.assertRefused(
            ["-b", "a:1", "-l", f"tcp:{free_port()}:interface={LOOPBACK}", "--access-log", f"{self.folder}/no/such/folder"],
            f"{self.folder}/no/such/folder",
        )
        self.assertRefused(["-b", "a:1", "--access-log", "x", "--access-log-format", "xml"], "xml", "combined", "json")


class AnswerTests(IntegrationTestCase):
    """What it says when asked."""

    def test_version(self) -> None:
        """The package's own."""
        ended = self.run_twistd("--version")
        self.assertEqual((ended.returncode, ended.stdout), (0, f"lbproxy {lbproxy.__version__}\n"))

    def test_help(self) -> None:
        """Every option is there."""
        ended = self.run_twistd("--help")
        self.assertEqual(ended.returncode, 0)
        for option in (
            "backends", "listen", "retries", "probe-interval", "probe-timeout", "connect-timeout", "response-timeout",
            "idle-timeout", "admin", "access-log", "access-log-format", "demo", "version", "header-timeout", "body-rate",
            "body-grace", "write-timeout", "tunnel-timeout", "drain", "drain-delay", "head-limit", "field-limit", "target-limit",
            "body-limit", "max-connections", "connection-requests", "trusted-proxies", "forwarded", "via", "allow-underscores",
            "abort-on-close",
        ):  # fmt: skip
            self.assertRegex(ended.stdout, rf"--{option}\b")


class DemoTests(IntegrationTestCase):
    """``--demo``."""

    def test_it_runs_and_says_what_to_try(self) -> None:
        """Three backends, and commands that lead where they say."""
        balancer = LoadBalancer(self, "--demo", backends=[])
        pages = {ask(balancer.port).body for _ in range(6)}
        self.assertEqual(len(pages), 3)
        eventually("three backends are up", lambda: [one["state"] for one in balancer.pool()["backends"]] == ["up"] * 3)
        text = balancer.process.output
        for port, path in (
            (balancer.port, "/"), (balancer.port, "/headers"), (balancer.admin_port, "/status"),
            (balancer.admin_port, "/metrics"), (balancer.admin_port, "/healthz"),
        ):  # fmt: skip
            self.assertRegex(text, rf"curl '?http://\S+:{port}{re.escape(path)}")
            self.assertAnswered(ask(port, path))
        self.assertIn("--backends", text)

    def test_a_backend_that_goes_away_is_not_missed(self) -> None:
        """What the demo promises of ``POST /fail``."""
        balancer = LoadBalancer(self, "--demo", "--probe-interval", "0.5", backends=[])
        self.assertAnswered(ask(balancer.port, "/fail", "POST", b""))
        self.assertEqual({ask(balancer.port).status for _ in range(12)}, {200})
        eventually("one backend is down", lambda: [one["state"] for one in balancer.pool()["backends"]].count("down") == 1)


class TwistdTests(IntegrationTestCase):
    """It runs as twistd runs things."""

    def test_as_a_daemon(self) -> None:
        """``twistd`` returns when the listener is open; SIGTERM to the pid in its file ends it and removes the file."""
        backend = self.backend()
        pidfile, log, port = self.folder / "pid", self.folder / "log", free_port()
        twistd = (f"--pidfile={pidfile}", f"--logfile={log}")
        listen = f"tcp:{port}:interface={LOOPBACK}"
        ended = self.run_twistd("-b", backend.place, "--listen", listen, "--access-log", "access.log", twistd=twistd)
        self.assertEqual(ended.returncode, 0, ended)
        pid = int(pidfile.read_text())
        self.addCleanup(kill, pid)
        self.assertEqual(ask(port).backend, "a")
        os.kill(pid, signal.SIGTERM)
        eventually("the daemon has ended", lambda: "Server Shut Down." in log.read_text())  # said after the pid file has gone
        self.assertFalse(pidfile.exists())
        self.assertNotIn("Traceback", log.read_text())
        self.assertEqual(len((self.folder / "access.log").read_text().splitlines()), 1, "paths are those of the start")

    def test_a_daemon_that_cannot_start(self) -> None:
        """The one who typed it is told, although the daemon has left the terminal; no pid file stays."""
        pidfile = self.folder / "pid"
        with socket.socket() as occupant:
            occupant.bind((LOOPBACK, 0))
            occupant.listen()
            listen = f"tcp:{occupant.getsockname()[1]}:interface={LOOPBACK}"
            ended = self.run_twistd(
                "-b", "a:1", "--listen", listen, twistd=(f"--pidfile={pidfile}", f"--logfile={self.folder}/log")
            )
        if pidfile.exists():
            self.addCleanup(kill, int(pidfile.read_text()))
        self.assertNotEqual(ended.returncode, 0)
        self.assertIn(listen, ended.stdout + ended.stderr + (self.folder / "log").read_text())
        self.assertFalse(pidfile.exists())

    def test_with_other_reactors(self) -> None:
        """The default is not the only one that carries traffic."""
        backend = self.backend()
        for reactor in ("poll", "select", "asyncio"):
            balancer = self.balancer(backends=[backend], twistd=[f"--reactor={reactor}"])
            self.assertEqual(len(ask(balancer.port, "/big?size=3000000").body), 3_000_000)
            self.assertEqual(ask(balancer.port, "/", "POST", b"x" * 3_000_000).json()["size"], 3_000_000)


def kill(pid: int) -> None:
    """End a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
