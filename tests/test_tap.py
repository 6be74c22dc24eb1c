"""The command line: what is understood, and what is said of what is not."""

from __future__ import annotations

import io
import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import threading
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import trustme
from twisted.application.service import IService, IServiceMaker, Service
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import lbproxy
from lbproxy import Backend, Settings, lending, option_tls
from lbproxy.balance.backend import BACKUP_TIER
from lbproxy.config.model import Configuration
from lbproxy.demo import DemoService
from lbproxy.errors import ListenError
from lbproxy.health.spec import ProbeSpec
from lbproxy.option_config import ConfigurationFile
from lbproxy.option_help import EXAMPLES, GROUPS
from lbproxy.service import LoadBalancerService
from lbproxy.tap import CannotStart, Options, _UnderTwistd, makeService, on_signals, raise_file_limit
from lbproxy.tls.backends import BackendTls
from lbproxy.upgrade.program import Program

from .integration.support import eventually

#: Where the package that is tested can be imported from.
HOME = os.path.dirname(os.path.dirname(os.path.abspath(lbproxy.__file__)))
#: Seconds that a process may take; it is killed then, and the test fails.
PATIENCE = 60

DEFAULTS: dict[str, Any] = {
    "check": False,
    "config": None,
    "explain": None,
    "plan": None,
    "print-config": False,
    "state-file": None,
    "watch": False,
    "workers": 1,
    "worker-heartbeat": 5.0,
    "backend-ca": None,
    "backend-certificate": None,
    "certificate": [],
    "certificate-check": 10.0,
    "certificates": None,
    "client-auth": None,
    "client-ca": None,
    "default-certificate": None,
    "handshake-timeout": 10.0,
    "hsts": 0,
    "redirect-to-https": False,
    "reject-unknown-names": False,
    "tls-listen": [],
    "tls-profile": "intermediate",
    "abort-on-close": False,
    "access-log": None,
    "access-log-explain": False,
    "access-log-format": "combined",
    "admin": None,
    "admin-writable": False,
    "allow-underscores": False,
    "attempt-timeout": 0.0,
    "backoffs": 2,
    "backends": [Backend("10.0.0.1", 8000)],
    "body-grace": 10.0,
    "body-limit": 0,
    "body-rate": 1024,
    "connect-timeout": 3.0,
    "connection-requests": 1000,
    "demo": False,
    "drain": 30.0,
    "drain-delay": 0.0,
    "eject-failures": 3,
    "eject-limit": 300.0,
    "eject-share": 50,
    "eject-time": 10.0,
    "eject-window": 10.0,
    "exchange-timeout": 0.0,
    "field-limit": 100,
    "forwarded": False,
    "head-limit": 16384,
    "header-timeout": 10.0,
    "hedge": 0.0,
    "idle-timeout": 60.0,
    "listen": ["tcp:8080"],
    "max-connections": 0,
    "outliers": ("success-rate",),
    "panic": 0,
    "probe": ProbeSpec(),
    "probe-body": None,
    "probe-concurrency": 100,
    "probe-down-interval": 0.0,
    "probe-fall": 1,
    "probe-fast-interval": 0.0,
    "probe-header": [],
    "probe-host": None,
    "probe-interval": 5.0,
    "probe-jitter": 10,
    "probe-port": None,
    "probe-rise": 1,
    "probe-status": None,
    "probe-timeout": 2.0,
    "queue": 256,
    "queue-timeout": 10.0,
    "response-timeout": 30.0,
    "retries": 3,
    "retry-budget": 20,
    "retry-budget-least": 3,
    "retry-on": ("connect", "reset", "timeout"),
    "slow-start": 0.0,
    "sticky": "",
    "sticky-key": b"",
    "sticky-key-file": None,
    "sticky-max-age": 0,
    "target-limit": 8192,
    "trusted-proxies": (),
    "tunnel-timeout": 3600.0,
    "via": "",
    "write-timeout": 60.0,
}


def parse(*words: str) -> Options:
    """The options that *words* stand for."""
    options = Options()
    options.parseOptions(words)
    return options


def twistd(directory: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run twistd in *directory* until it ends."""
    return subprocess.run(
        [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", *words],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": HOME},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class OptionsTests(SynchronousTestCase):
    """What is understood."""

    def assert_options(self, words: str, policy: str = "round-robin", **others: Any) -> None:
        expected = {**DEFAULTS, **{name.replace("_", "-"): value for name, value in others.items()}}
        options = dict(parse(*words.split()))
        self.assertEqual(options.pop("policy")().name, policy)
        self.assertEqual(vars(options.pop("backend-tls")), vars(BackendTls()))
        self.assertEqual(options, expected)

    def test_defaults(self) -> None:
        """Backends are all that must be given."""
        self.assert_options("--backends 10.0.0.1:8000")

    def test_defaults_are_the_settings(self) -> None:
        """The help shows the defaults that the library has."""
        settings = Settings()
        for name, value in attrs.asdict(settings).items():
            if name.replace("_", "-") in DEFAULTS:
                self.assertEqual(DEFAULTS[name.replace("_", "-")], value)

    def test_backends(self) -> None:
        """Lists and repetition mean the same; weights come after a colon."""
        backends = [Backend("10.0.0.1", 8000, weight=5), Backend("::1", 80), Backend("/run/app.sock"), Backend("app", 81)]
        self.assert_options("-b 10.0.0.1:8000:weight=5,[::1]:80 --backends unix:/run/app.sock,http://app:81", backends=backends)

    def test_balancing(self) -> None:
        """A policy with options of its own, tiers, limits, sessions, retries by status, ejection, probes."""
        backends = [Backend("a", 1, max_in_flight=9), Backend("b", 2, tier=1), Backend("c", 3, tier=BACKUP_TIER)]
        self.assert_options(
            "-b a:1:max-in-flight=9,b:2:tier=1,c:3:backup --policy hash:key=header:X-User,bound=1.25 --sticky lb "
            "--sticky-max-age 3600 --slow-start 30 --panic 50 --retry-on connect,503 --outliers none --hedge 95 --probe http:/up "
            "--probe-status 200,204 --probe-header X-Probe:1",
            policy="hash",
            backends=backends,
            sticky="lb",
            sticky_max_age=3600,
            slow_start=30.0,
            panic=50,
            retry_on=("connect", "503"),
            outliers=(),
            hedge=95.0,
            probe=ProbeSpec.parse("http:/up", status="200,204", headers=["X-Probe:1"]),
            probe_status="200,204",
            probe_header=["X-Probe:1"],
        )

    def test_a_sticky_key(self) -> None:
        """It is read from a file, without the line's end."""
        path = self.mktemp()
        for content, wrong in ((b"0123456789abcdef\n", ""), (b"0123456789abcde\n", "has 15 bytes"), (None, "cannot be read")):
            if content is None:
                os.remove(path)
            else:
                Path(path).write_bytes(content)
            words = ("-b", "a:1", "--sticky", "lb", "--sticky-key-file", path)
            if wrong:
                self.assertIn(wrong, str(self.assertRaises(UsageError, parse, *words)))
            else:
                self.assertEqual(parse(*words).settings().sticky_key, b"0123456789abcdef")

    def test_listen(self) -> None:
        """Listeners given replace the default one, in their order."""
        self.assert_options("-b 10.0.0.1:8000 --listen tcp:80 -l unix:/run/l.sock", listen=["tcp:80", "unix:/run/l.sock"])

    def test_numbers(self) -> None:
        """Each setting has its option."""
        self.assert_options(
            "-b 10.0.0.1:8000 --retries 0 --probe-interval 0.5 --probe-timeout 1 --connect-timeout 2.5 --response-timeout 600 "
            "--idle-timeout 1e3",
            retries=0,
            probe_interval=0.5,
            probe_timeout=1.0,
            connect_timeout=2.5,
            response_timeout=600.0,
            idle_timeout=1000.0,
        )

    def test_workers(self) -> None:
        """A number, or one for each core; and how often they give a sign of life."""
        self.assert_options("-b 10.0.0.1:8000 --workers 256 --worker-heartbeat 0.1", workers=256, worker_heartbeat=0.1)
        with patch("lbproxy.config.model.cores", return_value=6):
            self.assert_options("-b 10.0.0.1:8000 --workers auto", workers=6)
        self.assertEqual(parse("-b", "a:1", "--workers", "3", "--worker-heartbeat", "1").configuration().workers, 3)

    def test_mistaken_workers(self) -> None:
        """What was given, and what is allowed."""
        number, seconds = "a whole number from 1 to 256, or 'auto' for one a core", "a number of seconds from 0.1 to 3600"
        for option, allowed, texts in (
            ("workers", number, ("0", "257", "-1", "2.0", "1_0", "all", "")),
            ("worker-heartbeat", seconds, ("0", "3601", "nan", "inf", "5s", "")),
        ):
            for text in texts:
                error = self.assertRaises(UsageError, parse, "-b", "a:1", f"--{option}={text}")
                self.assertEqual(str(error), f"--{option}: {text!r} was given; allowed is {allowed}")

    def test_times_and_counts_at_the_edge(self) -> None:
        """Time-outs, rates and counts; nought where it means that there is no limit, or no time."""
        self.assert_options(
            "-b 10.0.0.1:8000 --header-timeout 5 --body-grace 2.5 --write-timeout 7 --tunnel-timeout 60 --drain 0 "
            "--drain-delay 3 --body-rate 0 --field-limit 50 --max-connections 1000 --connection-requests 0",
            header_timeout=5.0,
            body_grace=2.5,
            write_timeout=7.0,
            tunnel_timeout=60.0,
            drain=0.0,
            drain_delay=3.0,
            body_rate=0,
            field_limit=50,
            max_connections=1000,
            connection_requests=0,
        )

    def test_sizes(self) -> None:
        """Sizes may be written in KiB, MiB and GiB, in either case."""
        self.assert_options(
            "-b 10.0.0.1:8000 --body-rate 2K --head-limit 32k --target-limit 9000 --body-limit 3g",
            body_rate=2048,
            head_limit=32 * 1024,
            target_limit=9000,
            body_limit=3 * 1024**3,
        )
        self.assertEqual(parse("-b", "a:1", "--body-limit", "1M")["body-limit"], 1024**2)

    def test_flags_and_names(self) -> None:
        """What is off is switched on by a word."""
        self.assert_options(
            "-b 10.0.0.1:8000 --forwarded --allow-underscores --abort-on-close --via lb-1",
            forwarded=True,
            allow_underscores=True,
            abort_on_close=True,
            via="lb-1",
        )

    def test_trusted_proxies(self) -> None:
        """Lists and repetition mean the same; an address is a network of one."""
        networks = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32")))
        for words in (
            "--trusted-proxies 10.0.0.0/8,2001:db8::/32 --trusted-proxies 192.0.2.1",
            "--trusted-proxies 10.0.0.0/8,2001:db8::/32,192.0.2.1",
        ):
            self.assert_options(f"-b 10.0.0.1:8000 {words}", trusted_proxies=networks)

    def test_defaults_in_the_help(self) -> None:
        """They stand there as an operator would write them."""
        text = " ".join(str(Options()).split())
        for part in ("16k]", "[default: 8k]", "[default: 1k]", "body; 0: any [default: 0]", "silent [default: 3600]"):
            self.assertIn(part, text)
        self.assertNotIn("[default: ]", text)

    def test_logs_and_admin(self) -> None:
        """The admin listener, the access log, and its format."""
        self.assert_options(
            "-b 10.0.0.1:8000 --admin tcp:8081 --access-log /var/log/lb.log --access-log-format json",
            admin="tcp:8081",
            access_log="/var/log/lb.log",
            access_log_format="json",
        )

    def test_demo(self) -> None:
        """The demo has an admin listener of its own, on the loopback interface."""
        self.assert_options("--demo", demo=True, backends=[], admin="tcp:8081:interface=127.0.0.1")

    def test_demo_elsewhere(self) -> None:
        """The demo listens where it is told to."""
        self.assert_options("--demo -l tcp:90 --admin tcp:91", demo=True, backends=[], listen=["tcp:90"], admin="tcp:91")

    def test_version(self) -> None:
        """--version says the version and is content."""
        with patch("sys.stdout", io.StringIO()) as out:
            exit = self.assertRaises(SystemExit, parse, "--version")
        self.assertEqual((out.getvalue(), exit.code), (f"lbproxy {lbproxy.__version__}\n", 0))

    def test_help(self) -> None:
        """The help has every option, and examples that can be copied as they stand."""
        text = str(Options())
        for option in set(DEFAULTS) - {"certificates"}:  # which are what is read of --certificate
            self.assertIn(f"--{option}", text)
        for part in (":weight=5", ":proxy-protocol=v1", "k, m or g"):
            self.assertIn(part, " ".join(text.split()))
        self.assertIn("\n  twistd -n lbproxy --backends 10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000\n", text)

    def test_the_help_is_in_groups(self) -> None:
        """Each option stands in one group of the help, which is as wide as it is asked to be."""
        grouped = [option for options in GROUPS.values() for option in options]
        self.assertEqual(sorted(grouped), sorted({option.rstrip("=") for option in Options().longOpt}))
        for width in (80, 120):
            text = Options().getUsage(width)
            self.assertLess(text.index("\nBalancing:\n"), text.index("\nHealth:\n"))
            self.assertLessEqual(max(map(len, text[: text.index("\nSizes (")].splitlines())), width)

    def test_the_examples_of_the_help(self) -> None:
        """Every command in the help is one that is understood, where there are its files."""
        self.patch(option_tls, "CertificateStore", lambda paths, **_: None)
        self.patch(option_tls, "BackendTls", lambda **_: None)
        self.patch(ConfigurationFile, "read", lambda file: Configuration())
        commands = [line for line in EXAMPLES.splitlines() if line.startswith("  twistd -n lbproxy ")]
        self.assertGreater(len(commands), 4)
        for command in commands:
            parse(*shlex.split(command)[3:])


class MistakeTests(SynchronousTestCase):
    """Each mistake is answered with what was given and what is allowed."""

    def assert_message(self, words: str, *lines: str) -> None:
        error = self.assertRaises(UsageError, parse, *words.split(" "))
        self.assertEqual(str(error).splitlines(), list(lines))

    def test_unknown_option(self) -> None:
        """A misspelt option is named, and the nearest that there is."""
        self.assert_message("--retrys 3", "option --retrys not recognized; did you mean --retries?")
        self.assert_message("--zzz 3", "option --zzz not recognized")

    def test_beginning_of_several_options(self) -> None:
        """Of what may be several options, all are named, and those that are near."""
        for given, several in (
            ("--sticky-", "--sticky-max-age, --sticky-key-file, --sticky"),
            ("--retry", "--retry-on, --retry-budget, --retry-budget-least, --retries"),
        ):
            self.assert_message(f"-b a:1 {given}", f"option {given} not a unique prefix; it could be {several}")

    def test_option_of_a_backend(self) -> None:
        """What is said of a single backend is no option, and where it belongs is told."""
        options = (("tier", "tier=1"), ("backup", "backup"), ("max-in-flight", "max-in-flight=20"), ("verify", "verify=off"))
        for option, said in options:
            self.assert_message(
                f"-b a:1 --{option} 3",
                f"option --{option} not recognized; it is said of a backend: --backends HOST:PORT:{said}",
            )

    def test_option_of_a_backend_without_its_value(self) -> None:
        """What stands behind a port and is no option is not taken for an IPv6 address."""
        self.assert_message(
            "-b a:1:max_in_flight=3,[::1]:80:tier",
            *(
                f"--backends: backend {given!r} cannot be read: {rest!r} is none of its options. Allowed are :weight=5, :tier=1, "
                ":backup, :max-in-flight=20, :proxy-protocol=v2, :verify-name=app.example, :verify=off"
                for given, rest in (("a:1:max_in_flight=3", "max_in_flight=3"), ("[::1]:80:tier", "tier"))
            ),
        )

    def test_policy(self) -> None:
        """A policy is named with its option, what was given, and what is allowed."""
        names = "round-robin, least-connections, random, two-choices, peak-ewma, hash, first"
        for given, line in (
            ("roundrobin", f"--policy: 'roundrobin' was given (did you mean round-robin?); allowed are {names}"),
            ("first:x=1", "--policy: first: there is no option 'x'; allowed is first alone"),
            ("peak-ewma:decay=0", "--policy: peak-ewma: decay='0' was given; allowed is a number from 0.1 to 3600 (seconds)"),
        ):
            self.assert_message(f"-b a:1 --policy {given}", line)

    def test_percentages(self) -> None:
        """Percentages are whole numbers without a sign."""
        for option in ("panic", "retry-budget", "eject-share"):
            for given in ("-1", "101", "50%", "2.5", ""):
                self.assert_message(
                    f"-b a:1 --{option} {given}",
                    f"--{option}: {given!r} was given; allowed is a whole number from 0 to 100 (percent)",
                )

    def test_lists_of_words(self) -> None:
        """Each word that is not known is named; nothing at all, as from an unset variable, is not taken for none."""
        retry_on = "allowed is a list of connect, reset, timeout and statuses from 400 to 599, or none alone"
        for given in ("", "none,connect", "200", "Connect"):
            wrong = given.partition(",")[0]
            self.assert_message(f"-b a:1 --retry-on {given}", f"--retry-on: {wrong!r} was given; {retry_on}")
        for given in ("", "errors"):
            allowed = "allowed is a list of success-rate and latency, or none alone"
            self.assert_message(f"-b a:1 --outliers {given}", f"--outliers: {given!r} was given; {allowed}")

    def test_sticky(self) -> None:
        """What belongs to sticky sessions needs the cookie's name, and that must be one."""
        self.assert_message("-b a:1 --sticky ", "--sticky: '' was given; allowed is a cookie's name")
        for option in ("--sticky-key-file /dev/null", "--sticky-max-age 3600"):
            name = option.partition(" ")[0]
            self.assert_message(f"-b a:1 {option}", f"{name}: it was given without --sticky; say the cookie's name as well")

    def test_ejection_longer_than_the_longest(self) -> None:
        """A first ejection that another option cuts short is a mistake, unless it is the default."""
        self.assert_message(
            "-b a:1 --eject-time 600",
            "--eject-time: 600 was given; allowed is at most --eject-limit, which is 300",
        )
        self.assertEqual(parse("-b", "a:1", "--eject-limit", "5")["eject-time"], 10)
        self.assertEqual(parse("-b", "a:1", "--eject-time", "600", "--eject-limit", "900")["eject-time"], 600)

    def test_probe(self) -> None:
        """An HTTP probe that is written in another way is understood well enough to be answered with the right one."""
        allowed = (
            "allowed is tcp, tls, http:/path or https:/path with a path that begins with one /, at most 8000 visible ASCII "
            "characters without #"
        )
        for given, meant in (
            ("/healthz", "did you mean http:/healthz? "),
            ("http://a/healthz", "it goes to each backend, and with which Host is said with --probe-host; "),
            ("http", ""),
        ):
            self.assert_message(f"-b a:1 --probe {given}", f"--probe: {given!r} was given; {meant}{allowed}")

    def test_probe_over_tls_of_who_has_no_name(self) -> None:
        """It could never go well, and would take them all out."""
        for probe in ("tls", "https:/healthz"):
            self.assert_message(
                f"-b 10.0.0.1:1,unix:/a,b:1,https://c:1 --probe {probe}",
                f"--probe: {probe.partition(':')[0]} was given; over TLS a certificate is verified for a name, which 10.0.0.1:1, "
                "unix:/a lack: give a host name, or https:// with :verify-name= or :verify=off",
            )
            parse("-b", "b:1,https://10.0.0.1:1:verify=off", "--probe", probe)
        parse("-b", "10.0.0.1:1", "--probe", "http:/")

    def test_authorities_and_certificates_for_backends(self) -> None:
        """What cannot be read is known at the start: the file and the cause."""
        self.assert_message(
            "-b https://a:1 --backend-ca /none.pem --backend-certificate /none.key",
            "--backend-ca: '/none.pem' cannot be read: No such file or directory; give a PEM file that lbproxy may read",
            "--backend-certificate: '/none.key' cannot be read: No such file or directory; give a PEM file that lbproxy may read",
        )

    def test_nothing_can_come_over_tls(self) -> None:
        """All would be sent away for ever, or what is asked for never happen; but a trusted proxy, or Twisted's own TLS, may have
        spoken it."""
        for option in ("--redirect-to-https", "--hsts 60"):
            line = (
                f"{option.split()[0]}: it was given, but no request can come over TLS; say which --certificate to show as well, "
                "or, where TLS ends before lbproxy, who the --trusted-proxies are"
            )
            for listen in ("", " -l tcp:80", " -l haproxy:tcp:80 -l unix:/x"):
                self.assert_message(f"-b a:1 {option}{listen}", line)
            for given in (" --trusted-proxies 10.0.0.1", " -l tcp:80 -l ssl:443", " -l haproxy:tls:/x:443"):
                parse(*f"-b a:1 {option}{given}".split())

    def test_tls_with_backends_that_do_not_speak_it(self) -> None:
        """Authorities and certificates that nobody would ever look at are no wish of anybody's."""
        ca = self.mktemp()
        trustme.CA().cert_pem.write_to_path(ca)
        self.assert_message(
            f"-b 10.0.0.1:1 --backend-ca {ca}",
            "--backend-ca: it was given, but TLS is spoken with no backend; give it as https://HOST:PORT",
        )
        for words in ("-b a:1,https://b:1", "-b a:1 --probe tls"):
            parse(*f"{words} --backend-ca {ca}".split())

    def test_probes_over_tls_of_the_demo(self) -> None:
        """Its backends speak none."""
        self.assert_message(
            "--demo --probe tls",
            "--probe: tls was given, but the backends of --demo speak no TLS; allowed are tcp and http:/path",
        )

    def test_key_that_is_given_as_a_word(self) -> None:
        """Two files for one certificate, and what a shell makes of ``*.pem``, are understood as what they are meant to be."""
        path = self.mktemp()
        with open(path, "wb"):
            pass
        self.assert_message(
            f"-b a:1 --certificate a.crt {path}",
            f"{path!r} belongs to no option: a certificate and its key in two files are given as --certificate a.crt,{path}, "
            "further certificates with --certificate again, or by their directory",
        )

    def test_explanations_without_their_log(self) -> None:
        """Explanations stand in a JSON log only."""
        for words in ("", " --access-log x"):
            self.assert_message(
                f"-b a:1{words} --access-log-explain",
                "--access-log-explain: it goes with --access-log FILE --access-log-format json; give both as well",
            )

    def test_missing_value(self) -> None:
        """An option without its value is named."""
        self.assert_message("-b 10.0.0.1:8000 --retries", "option --retries requires argument")

    def test_word(self) -> None:
        """Backends without their option are understood as what they are meant to be."""
        self.assert_message("a:1 b:2", "'a:1' is not an option; backends are given as --backends a:1,b:2")

    def test_word_after_a_flag(self) -> None:
        """What was given to an option that takes no value is not taken for a backend."""
        self.assert_message(
            "-b a:1 --forwarded yes",
            "'yes' belongs to no option: --demo, --admin-writable, --access-log-explain, "
            "--reject-unknown-names, --check, --print-config, --watch, --forwarded, --allow-underscores, --redirect-to-https, "
            "--abort-on-close take no value, and a value with a space in it needs quotes",
        )

    def test_retries(self) -> None:
        """Retries are a whole number."""
        for given in ("-1", "101", "2.5", "many", "nan", ""):
            self.assert_message(
                f"-b 10.0.0.1:8000 --retries {given}", f"--retries: {given!r} was given; allowed is a whole number from 0 to 100"
            )

    def test_seconds(self) -> None:
        """Times are seconds, from a hundredth to a day."""
        for option in (
            "probe-interval", "probe-timeout", "connect-timeout", "response-timeout", "idle-timeout", "header-timeout",
            "body-grace", "write-timeout", "tunnel-timeout",
        ):  # fmt: skip
            for given in ("0", "-1", "86401", "soon", "nan", "inf", "5s", "1_0"):
                self.assert_message(
                    f"-b 10.0.0.1:8000 --{option} {given}",
                    f"--{option}: {given!r} was given; allowed is a number from 0.01 to 86400 (seconds)",
                )

    def test_sizes(self) -> None:
        """Sizes are bytes, with the suffixes that there are."""
        for option, low, high in (
            ("head-limit", 256, 1 << 20),
            ("target-limit", 16, 1 << 20),
            ("body-limit", 0, 1 << 50),
            ("body-rate", 0, 1 << 30),
        ):
            for given in ("-1", "1.5k", "k", "16kb", "2048g" if high < 1 << 50 else "2097152g", "much", ""):
                self.assert_message(
                    f"-b 10.0.0.1:8000 --{option} {given}",
                    f"--{option}: {given!r} was given; allowed is a whole number from {low} to {high} "
                    "(bytes; k, m and g stand for KiB, MiB and GiB)",
                )

    def test_target_larger_than_a_head(self) -> None:
        """A limit that another one makes unreachable is a mistake, unless it is a default."""
        self.assert_message(
            "-b 10.0.0.1:8000 --target-limit 32k",
            "--target-limit: 32768 was given; a target is part of a head, so allowed is at most --head-limit, which is 16384",
        )
        self.assertEqual(parse("-b", "a:1", "--head-limit", "1k")["target-limit"], 8192)
        self.assertEqual(parse("-b", "a:1", "--head-limit", "32k", "--target-limit", "32k")["target-limit"], 32768)

    def test_counts(self) -> None:
        """Counts are whole numbers, and have no suffix."""
        for option in ("max-connections", "connection-requests"):
            for given in ("-1", "1k", "1.5", "1_0", "١"):
                self.assert_message(
                    f"-b 10.0.0.1:8000 --{option} {given}",
                    f"--{option}: {given!r} was given; allowed is a whole number from 0 to 1073741824",
                )

    def test_drain(self) -> None:
        """A drain may last no time at all, and a day at most."""
        for option in ("drain", "drain-delay"):
            self.assert_message(
                f"-b 10.0.0.1:8000 --{option} 86401",
                f"--{option}: '86401' was given; allowed is a number from 0 to 86400 (seconds)",
            )

    def test_trusted_proxies(self) -> None:
        """Each that is none is named, the others' options are not held up by it."""
        allowed = "allowed is an IP address or a CIDR block, such as 10.0.0.0/8 or 2001:db8::/32"
        error = self.assertRaises(
            UsageError, parse, "-b", "a:1", "--trusted-proxies", "10.0.0.1/8, ::1,proxy", "--trusted-proxies", "", "--via", "a b"
        )
        via, *lines = str(error).splitlines()
        self.assertEqual(
            via, "--via: 'a b' was given; allowed is a name or HOST:PORT without spaces, of at most 255 characters"
        )
        for given, line in zip(("10.0.0.1/8", "proxy", ""), lines, strict=True):
            self.assertTrue(line.startswith(f"--trusted-proxies: {given!r} was given, which is none ("), line)
            self.assertTrue(line.endswith(allowed), line)

    def test_no_backend(self) -> None:
        """Without backends there is nothing to do."""
        self.assert_message(
            "--retries 3",
            "--backends: no backend was given; name at least one, as HOST:PORT, http://HOST:PORT, https://HOST:PORT, "
            "[IPV6]:PORT or unix:/path, each with options such as :weight=5; or try --demo",
        )

    def test_backend(self) -> None:
        """A backend that cannot be read is quoted."""
        self.assert_message(
            "-b 10.0.0.1:8000,10.0.0.2",
            "--backends: backend '10.0.0.2' cannot be read: it has no port. Allowed are HOST:PORT, http://HOST:PORT, "
            "https://HOST:PORT, [IPV6]:PORT or unix:/path, each with options such as :weight=5",
        )

    def test_backend_twice(self) -> None:
        """A backend named twice is a mistake, also in two options."""
        self.assert_message(
            "-b 10.0.0.1:8000 -b http://10.0.0.1:8000",
            "--backends: backend 10.0.0.1:8000 is named twice; name each backend once, with a :weight= for its share",
        )

    def test_weight(self) -> None:
        """A weight has its range."""
        self.assert_message(
            "-b 10.0.0.1:8000:weight=1001",
            "--backends: backend '10.0.0.1:8000:weight=1001': weight 1001 was given; allowed is a whole number from 1 to 1000",
        )

    def test_format(self) -> None:
        """An access log has one of two formats."""
        self.assert_message(
            "-b 10.0.0.1:8000 --access-log - --access-log-format clf",
            "--access-log-format: 'clf' was given; allowed are combined and json",
        )

    def test_format_without_log(self) -> None:
        """A format without a log is a log forgotten."""
        self.assert_message(
            "-b 10.0.0.1:8000 --access-log-format json",
            "--access-log-format: it was given without --access-log; say which file to write as well",
        )

    def test_log_without_name(self) -> None:
        """An empty file name, as from an unset variable, is none."""
        self.assert_message(
            "-b 10.0.0.1:8000 --access-log ", "--access-log: '' was given; allowed is a file's path, or - for standard output"
        )

    def test_standard_output_of_a_daemon(self) -> None:
        """A daemon's access log cannot go to standard output, which leads nowhere."""
        options = Options()
        options.parent = ServerOptions()
        options.parent["nodaemon"] = 0
        with patch("sys.stderr", io.StringIO()):
            exit = self.assertRaises(SystemExit, options.parseOptions, ["-b", "10.0.0.1:8000", "--access-log", "-"])
        self.assertIn("--access-log: '-' was given, but a daemon has no standard output", str(exit.code))

    def test_demo_and_backends(self) -> None:
        """The demo's backends and one's own exclude each other."""
        self.assert_message("--demo -b 10.0.0.1:8000", "--demo brings its own backends; give either it or --backends")

    def test_all_at_once(self) -> None:
        """Nobody has to find one mistake after the other."""
        self.assert_message(
            "-b 10.0.0.1:0 --retries x --idle-timeout 0",
            "--retries: 'x' was given; allowed is a whole number from 0 to 100",
            "--idle-timeout: '0' was given; allowed is a number from 0.01 to 86400 (seconds)",
            "--backends: backend '10.0.0.1:0' cannot be read: '0' is no port; allowed is 1 to 65535. Allowed are HOST:PORT, "
            "http://HOST:PORT, https://HOST:PORT, [IPV6]:PORT or unix:/path, each with options such as :weight=5",
        )


class MakeServiceTests(SynchronousTestCase):
    """The wiring."""

    def load_balancer(self, *words: str) -> LoadBalancerService:
        made: Any = makeService(parse(*words))
        (service,) = made
        assert isinstance(service, LoadBalancerService)
        return service

    def test_is_a_service(self) -> None:
        """twistd gets what it asks for."""
        verifyObject(IService, makeService(parse("-b", "10.0.0.1:8000")))

    def test_options_arrive(self) -> None:
        """Every setting and backend reaches the load balancer."""
        words = "-b 10.0.0.1:8000:weight=2,10.0.0.2:8000 --retries 1 --probe-interval 9 --probe-timeout 8 --connect-timeout 7"
        more = "--response-timeout 6 --idle-timeout 5 --forwarded --trusted-proxies ::1 --body-limit 1m --drain 4 --via x"
        balancer = self.load_balancer(*words.split(), *more.split()).resource.balancer
        self.assertEqual(
            balancer.settings,
            Settings(
                retries=1,
                probe_interval=9,
                probe_timeout=8,
                connect_timeout=7,
                response_timeout=6,
                idle_timeout=5,
                forwarded=True,
                trusted_proxies=["::1"],
                body_limit=1 << 20,
                drain=4,
                via="x",
            ),
        )
        backends = [member.backend for member in balancer.pool.members.values()]
        self.assertEqual(backends, [Backend("10.0.0.1", 8000, weight=2), Backend("10.0.0.2", 8000)])

    def test_listeners(self) -> None:
        """There is a listener for each description."""
        service = self.load_balancer("-b", "10.0.0.1:8000", "-l", "tcp:0", "-l", "tcp:1", "--admin", "tcp:2")
        self.assertEqual([listener.description for listener in service], ["tcp:0", "tcp:1", "tcp:2"])

    def test_access_log(self) -> None:
        """The access log is told of exchanges, and its path holds when a daemon changes its directory."""
        service = self.load_balancer("-b", "10.0.0.1:8000", "--access-log", "access.log")
        log: Any
        (log,) = service.resource.balancer.observers
        self.assertEqual(log._file.path, os.path.abspath("access.log"))
        self.assertFalse(os.path.exists("access.log"))

    def test_configuration_that_operators_see(self) -> None:
        """/config says what was given, with workers and without; of a demo there is nothing to be said."""
        self.addCleanup(lending._records.clear)  # of what is read for workers
        for words in ((), ("--workers", "2")):
            service = self.load_balancer("-b", "10.0.0.1:8000", "--admin", "tcp:0", *words)
            protocol, transport = service._admin_site.buildProtocol(IPv4Address("TCP", "10.9.8.7", 5)), StringTransport()
            protocol.makeConnection(transport)
            protocol.dataReceived(b"GET /config HTTP/1.0\r\n\r\n")
            self.assertIn(b" 200 OK", transport.value())
            self.assertIn(b'backends = ["10.0.0.1:8000"]', transport.value())

    def test_hangup(self) -> None:
        """Of the load balancer that is made, the demo's too, certificates are read anew when a signal says so."""
        made: Any = makeService(parse("-b", "10.0.0.1:8000"))
        self.assertEqual(made.balancers, list(made))
        made = makeService(parse("--demo", "--listen", "tcp:0:interface=127.0.0.1"))
        (demo,) = made
        self.assertEqual(made.balancers, [])
        demo.balancer = demo._make_balancer([Backend("10.0.0.1", 8000)])
        self.assertEqual(made.balancers, [demo.balancer])

    def test_demo(self) -> None:
        """The demo is a service of its own around the load balancer."""
        made: Any = makeService(parse("--demo"))
        (service,) = made
        self.assertIsInstance(service, DemoService)

    def test_descriptions(self) -> None:
        """A description that cannot be read ends it before anything starts, for the demo as well."""
        for words in (["-b", "10.0.0.1:8000"], ["--demo"]):
            exit = self.assertRaises(SystemExit, makeService, parse(*words, "--listen", "8080x", "--admin", "tcp:"))
            first, second = str(exit.code).splitlines()
            self.assertIn("twistd lbproxy: --listen: '8080x' was given", first)
            self.assertIn("--admin: 'tcp:' was given", second)

    def test_cannot_start(self) -> None:
        """What keeps the load balancer from starting becomes a message and an exit that twistd cleans up after."""
        service: Any = makeService(parse("-b", "10.0.0.1:8000"))
        (balancer,) = service

        def occupied() -> None:
            raise ListenError("cannot listen on tcp:8080: Address already in use")

        self.patch(balancer, "privilegedStartService", occupied)
        with patch("sys.__stderr__", io.StringIO()) as told:
            exit = self.assertRaises(CannotStart, service.privilegedStartService)
        cause = "cannot listen on tcp:8080: Address already in use"
        message = f"{cause}; another place can be given with --listen, --tls-listen or --admin"
        self.assertEqual(told.getvalue(), f"twistd lbproxy: {message}\n")
        self.assertEqual((str(exit), exit.code), (message, 1))
        self.assertIsInstance(exit, SystemExit)  # so that there is no traceback
        self.assertIsInstance(exit, Exception)  # so that twistd removes its pidfile


class FileLimitTests(SynchronousTestCase):
    """The usual soft limit of 1024 open files is no limit of connections."""

    def test_as_many_as_the_hard_limit_allows(self) -> None:
        """The process may have as many files open as its owner grants."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        raise_file_limit()
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (before[1], before[1]))


class SignalTests(SynchronousTestCase):
    """The second signal, and the one for new certificates. Whole processes get them in tests/integration/test_drain.py and
    test_tls_reload.py."""

    def setUp(self) -> None:
        self.acted: list[str] = []
        # Handlers of its own: who runs the tests in a shell's background ignores SIGINT.
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self.before = {number: signal.signal(number, self.missed) for number in numbers}

    def missed(self, number: int, frame: object) -> None:
        self.acted.append("missed")

    def callFromThread(self, act: Any) -> None:
        """As a reactor whose turn comes at once."""
        act()

    def tearDown(self) -> None:
        found = [signal.signal(number, handler) for number, handler in self.before.items()]
        self.assertEqual(found, [self.missed] * 3, "all is as it was before")

    def act(self) -> None:
        self.acted.append("acted")

    def test_a_signal_acts_in_the_reactor(self) -> None:
        """Of either kind; afterwards all is as it was before."""
        restore = on_signals(self, self.act)
        for count, number in enumerate((signal.SIGTERM, signal.SIGINT), 1):
            signal.raise_signal(number)
            self.assertEqual(self.acted, ["acted"] * count)
        restore()

    def test_an_ignored_signal_stays_ignored(self) -> None:
        """A shell makes those that it puts in its background ignore SIGINT."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        restore = on_signals(self, self.act)
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_IGN)
        restore()
        signal.signal(signal.SIGINT, before)

    def test_other_threads_leave_signals_alone(self) -> None:
        """Python lets only the main thread set them."""
        thread = threading.Thread(target=lambda: on_signals(self, self.act)())
        thread.start()
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())

    def test_what_stops_at_once_needs_none(self) -> None:
        """Handlers are set while something is waited for, and at no other time."""
        service = _UnderTwistd(self, Program(self, None))
        service.startService()
        self.successResultOf(service.stopService())

    def test_the_second_signal_stops_again(self) -> None:
        """For the load balancer that means: at once."""
        stops: list[Deferred[None]] = []

        class Slow(Service):
            def stopService(self) -> Deferred[None]:
                stops.append(Deferred())
                return stops[-1]

        service = _UnderTwistd(self, Program(self, None))
        Slow().setServiceParent(service)
        service.startService()
        stopping = service.stopService()
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(len(stops), 2)
        self.assertNoResult(stopping)
        stops[0].callback(None)
        self.successResultOf(stopping)

    def under_twistd(self, certificates: object) -> _UnderTwistd:
        """A service under twistd that has certificates, or None."""
        case = self

        class Balancer(Service):
            def __init__(self) -> None:
                self.reloads = certificates is not None

                self.reloader = self

            def reload(self) -> None:
                case.acted.append("read")

        service = _UnderTwistd(self, Program(self, None))
        balancer: Any = Balancer()
        balancer.setServiceParent(service)
        service.balancers.append(balancer)
        return service

    def test_hangup_reads_certificates_anew(self) -> None:
        """As often as it comes, from the service's start to its end."""
        service = self.under_twistd(object())
        signal.raise_signal(signal.SIGHUP)
        service.startService()
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        self.successResultOf(service.stopService())
        self.assertEqual(self.acted, ["missed", "read", "read"])

    def test_hangup_while_it_starts(self) -> None:
        """It is heard from before the first port is open, and would end the process otherwise; not after a start that failed."""
        service = self.under_twistd(object())
        service.privilegedStartService()
        signal.raise_signal(signal.SIGHUP)
        self.patch(service.balancers[0], "startService", lambda: signal.raise_signal(signal.SIGHUP))
        service.startService()
        self.successResultOf(service.stopService())
        self.assertEqual(self.acted, ["read", "read"])

        def fail() -> None:
            raise ListenError("it is taken")

        self.patch(service.balancers[0], "privilegedStartService", fail)
        self.patch(sys, "__stderr__", None)
        self.assertRaises(CannotStart, service.privilegedStartService)
        self.assertEqual(signal.getsignal(signal.SIGHUP), self.missed)

    def test_hangup_while_it_drains(self) -> None:
        """It ends nothing then either."""
        service = self.under_twistd(object())
        ending: Deferred[None] = Deferred()
        self.patch(service.balancers[0], "stopService", lambda: ending)
        service.startService()
        stopping = service.stopService()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(self.acted, ["read"])
        ending.callback(None)
        self.successResultOf(stopping)

    def test_hangup_that_is_ignored(self) -> None:
        """Under nohup it is heard where there are certificates, which ends nothing; elsewhere it stays ignored."""
        for certificates, heard in ((object(), ["read"]), (None, [])):
            before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
            service = self.under_twistd(certificates)
            service.startService()
            signal.raise_signal(signal.SIGHUP)
            self.successResultOf(service.stopService())
            self.assertEqual(signal.signal(signal.SIGHUP, before), signal.SIG_IGN)
            self.assertEqual(self.acted, heard)
            self.acted.clear()


class TwistdTests(SynchronousTestCase):
    """The same with real processes."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.makedirs(self.directory)
        occupied = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(occupied.close)
        self.occupied = f"tcp:{occupied.getsockname()[1]}:interface=127.0.0.1"

    def assert_files(self, *names: str) -> None:
        self.assertEqual(sorted(os.listdir(self.directory)), sorted(names))

    def test_plugin(self) -> None:
        """twistd knows the subcommand, by a plugin that imports nothing else of ours."""
        plugin: Any
        (plugin,) = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "lbproxy"]
        self.assertEqual((plugin.module, plugin.options), ("lbproxy.tap", Options))

    def test_mistake(self) -> None:
        """A mistaken option ends with its message alone, status 1, and nothing left behind."""
        done = twistd(self.directory, "-n", "lbproxy", "--backends", "10.0.0.1:8000", "--retries", "x")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(
            done.stderr.splitlines(),
            [
                "twistd lbproxy: --retries: 'x' was given; allowed is a whole number from 0 to 100",
                "All options: twistd lbproxy --help",
            ],
        )
        self.assert_files()

    def test_unreadable_description(self) -> None:
        """So does an endpoint description that cannot be read."""
        done = twistd(self.directory, "lbproxy", "--backends", "10.0.0.1:8000", "--admin", "nowhere")
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith("twistd lbproxy: --admin: 'nowhere' was given"), done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assert_files()

    def test_occupied_port(self) -> None:
        """An occupied port ends with one message that names it, status 1, and no pidfile."""
        done = twistd(self.directory, "-n", "lbproxy", "--backends", "10.0.0.1:8000", "--listen", self.occupied)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(
            done.stderr,
            f"twistd lbproxy: cannot listen on {self.occupied}: Address already in use; "
            "another place can be given with --listen, --tls-listen or --admin\n",
        )
        self.assertNotIn("Traceback", done.stdout)
        self.assert_files()

    def test_occupied_port_of_a_daemon(self) -> None:
        """A daemon that cannot start says so to the one who waits for it; the log has the rest."""
        done = twistd(self.directory, "lbproxy", "--backends", "10.0.0.1:8000", "--listen", self.occupied)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"cannot listen on {self.occupied}"[:50], done.stderr)
        pidfile = os.path.join(self.directory, "twistd.pid")
        eventually("the daemon, whose parent has ended, ends too", lambda: not os.path.exists(pidfile))
        self.assert_files("twistd.log")
        with open(os.path.join(self.directory, "twistd.log")) as log:
            text = log.read()
        self.assertIn(f"cannot listen on {self.occupied}: Address already in use", text)
        self.assertNotIn("Traceback", text)
