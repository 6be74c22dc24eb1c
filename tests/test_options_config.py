"""From options to a configuration: alone, or beside a file, over which they win."""

from __future__ import annotations

import io
import os
from typing import Any, cast
from unittest.mock import patch

from twisted.internet.defer import maybeDeferred
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

import lbproxy.service
from lbproxy import Backend, Settings
from lbproxy.commands import run_command
from lbproxy.config.model import AccessLogFile, Configuration, PoolConfiguration
from lbproxy.config.printing import print_configuration
from lbproxy.config.reading import read_text
from lbproxy.health.spec import ProbeSpec
from lbproxy.option_config import NOT_IN_FILES, ConfigurationFile, given_options
from lbproxy.options import Options
from lbproxy.plan import changed_names, client_endpoint, lines_of
from lbproxy.routing.model import Route
from lbproxy.service import LoadBalancerService
from lbproxy.tap import makeService

from .test_service import Reactor
from .test_tap import parse, twistd

FILE = """\
listen = "tcp:80"
admin = "tcp:81:interface=127.0.0.1"
retries = 1
[pools.a]
backends = ["10.0.0.1:8000"]
[pools.b]
backends = ["10.0.0.2:8000", "10.0.0.3:8000"]
retries = 2
[[routes]]
path-prefix = "/b"
pool = "b"
[[routes]]
name = "rest"
pool = "a"
"""
ONE = 'backends = ["10.0.0.1:8000"]\n'

#: Secrets in clear, wherever they may stand.
SECRETS = """
[pools.c]
backends = ["10.0.0.4:8000"]
sticky = "c"
sticky-key = "0123456789abcdef"
probe = "http:/"
probe-header = ["Authorization: Bearer x", "X-A: b"]
[[routes]]
path = "/c"
header = { Authorization = "hidden1", X-A = { regex = "b" } }
pool = "c"
filters = [{ type = "headers", request-set = { X-Api-Key = "hidden2" } }]
[[routes]]
path = "/d"
header = { Cookie = { regex = "hidden3" } }
pool = "c"
"""
#: Nothing that it names is there.
UNUSABLE = """listen = ["tcp:80", "x"]
certificate = ["/missing.pem"]
[pools.app]
backends = ["https://a:1"]
backend-ca = "/missing-ca.pem"
[pools.listed]
backends = { file = "missing.json" }
[filters.users]
type = "basic-auth"
file = "/missing.htpasswd"
[[routes]]
name = "files"
path-prefix = "/files"
static = { directory = "/missing" }
[[routes]]
path = "/b"
pool = "app"
filters = ["users", { type = "basic-auth", file = "/missing.htpasswd" }]
[[routes]]
path = "/c"
filters = ["users"]
resource = "mine"
[[routes]]
pool = "listed"
"""


class FileCase(SynchronousTestCase):
    """Has a configuration in a file."""

    def write(self, text: str, path: str = "") -> str:
        """A file with this in it."""
        path = path or os.path.abspath(f"{self.mktemp()}.toml")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path


class Given(SynchronousTestCase):
    """What was really given is known from what merely holds."""

    def given(self, *words: str) -> dict[str, Any]:
        return given_options(Options(), words)

    def test_what_was_given_is_there_even_if_it_is_the_default(self) -> None:
        """Whoever says it means it, whatever a file says."""
        self.assertEqual(self.given("--retries", "3", "--forwarded"), {"retries": "3", "forwarded": True})

    def test_nothing_else_is(self) -> None:
        """No default."""
        self.assertEqual(self.given(), {})

    def test_what_may_be_repeated_is_a_list(self) -> None:
        """By its short name too; the last of what may not be repeated counts, as it does everywhere."""
        given = self.given("-l", "tcp:1", "--listen", "tcp:2", "-b", "a:1, b:2", "-b", "c:3", "--retries=1", "--retries=2")
        self.assertEqual(given, {"listen": ["tcp:1", "tcp:2"], "backends": ["a:1", "b:2", "c:3"], "retries": "2"})

    def test_a_prefix_is_the_option(self) -> None:
        """As getopt has it."""
        self.assertEqual(self.given("--retri", "4"), {"retries": "4"})

    def test_what_is_said_to_the_command_alone_is_left_out(self) -> None:
        """A file has no such keys."""
        self.assertEqual(self.given("--config", "x", "--check", "--plan", "y", "--explain", "z", "--print-config", "--demo"), {})

    def test_paths_are_whole(self) -> None:
        """A daemon changes its directory before it reads again."""
        given = self.given("--certificate", "a.crt,a.key", "--access-log", "x.log", "--access-log", "-", "--state-file", "s")
        here = os.path.abspath
        self.assertEqual(given, {"certificate": [f"{here('a.crt')},{here('a.key')}"], "access-log": "-", "state-file": here("s")})

    def test_every_other_option_is_a_key_of_a_file(self) -> None:
        """One set of names."""
        options = Options()
        words = {option.rstrip("=") for option in options.longOpt} - NOT_IN_FILES
        known = "".join(f"{word} = {{}}\n" for word in sorted(words))
        error = self.assertRaises(Exception, read_text, known)
        self.assertNotIn("there is no such key", str(error))


class Alone(SynchronousTestCase):
    """Options without a file are a configuration as well, with one pool and no routes."""

    def test_the_least(self) -> None:
        """All else is as it is by default."""
        self.assertEqual(
            parse("-b", "10.0.0.1:80").configuration(),
            Configuration(pools=(PoolConfiguration(backends=(Backend("10.0.0.1", 80),)),)),
        )

    def test_everything_has_its_place(self) -> None:
        """Settings are the pool's as well as the site's."""
        words = "-b a:1 --policy hash:key=ip --retries 7 --listen tcp:1 --admin tcp:2 --admin-writable --access-log x --probe tls"
        configuration = parse(*words.split(), "--state-file", "s").configuration()
        settings = Settings(retries=7)
        pool = PoolConfiguration(
            backends=(Backend("a", 1),), policy="hash:key=ip", probe=ProbeSpec.parse("tls"), settings=settings
        )
        self.assertEqual(
            configuration,
            Configuration(
                listen=("tcp:1",),
                admin="tcp:2",
                admin_writable=True,
                access_log=AccessLogFile(path=os.path.abspath("x")),
                settings=settings,
                pools=(pool,),
                state_file=os.path.abspath("s"),
            ),
        )

    def test_a_file_of_the_same_says_the_same(self) -> None:
        """There are not two meanings."""
        words = "-b a:1,b:2:weight=3 --retries 7 --listen tcp:1 --head-limit 32k --retry-on connect,503 --trusted-proxies ::1"
        options = parse(*words.split())
        self.assertEqual(read_text("", "x", options.given).configuration, options.configuration())

    def test_what_needs_a_file(self) -> None:
        """Is a mistake without one."""
        error = self.assertRaises(UsageError, parse, "-b", "a:1", "--watch", "--plan", "x")
        self.assertEqual(
            str(error).splitlines(),
            [f"--{name}: it was given without --config; say which file is served as well" for name in ("plan", "watch")],
        )


class Beside(FileCase):
    """Options win over what a file says."""

    def test_the_file_holds(self) -> None:
        """Where no option says another thing."""
        configuration = parse("--config", self.write(FILE)).configuration()
        self.assertEqual([pool.settings.retries for pool in configuration.pools], [1, 2])

    def test_an_option_wins_over_all_of_it(self) -> None:
        """Over pools' own words too, even with what is the default."""
        configuration = parse("--config", self.write(FILE), "--retries", "3").configuration()
        self.assertEqual([pool.settings.retries for pool in configuration.pools], [3, 3])
        self.assertEqual(configuration.listen, ("tcp:80",))

    def test_backends(self) -> None:
        """They are the default pool's instead of the file's."""
        configuration = parse("--config", self.write(ONE), "-b", "10.0.0.9:1").configuration()
        self.assertEqual(configuration.pools[0].backends, (Backend("10.0.0.9", 1),))

    def test_every_mistake_at_once(self) -> None:
        """Of the file, with its line, and of what was given beside it."""
        path = self.write("retires = 1\n" + ONE)
        error = self.assertRaises(UsageError, parse, "--config", path, "--retries", "x")
        first, second = str(error).splitlines()
        self.assertEqual(first, "--retries: 'x' was given; allowed is a whole number from 0 to 100")
        self.assertTrue(second.startswith(f"{path}:1: retires: there is no such key (did you mean retries?)"), second)

    def test_the_demo_has_a_configuration_of_its_own(self) -> None:
        """Both at once would mean nothing."""
        error = self.assertRaises(UsageError, parse, "--config", self.write(ONE), "--demo")
        self.assertEqual(str(error), "--demo brings a configuration of its own; give either it or --config")

    def test_the_service_is_made_of_it(self) -> None:
        """And knows where to read it anew."""
        path = self.write("watch = true\n" + FILE)
        options = parse("--config", path)
        made: Any = makeService(options)
        (service,) = made
        assert isinstance(service, LoadBalancerService)
        self.assertEqual(list(service.site.balancers), ["a", "b"])
        self.assertIs(service.reloader.source, options.file)
        self.assertEqual((service.reloader.watching, service.reloads), (True, True))

    def test_a_reload_names_the_places_of_what_cannot_be_used(self) -> None:
        """As --check does; all stays as it was."""
        path = self.write(ONE)
        file = ConfigurationFile(path, {})
        self.patch(lbproxy.service, "in_thread_of", lambda reactor, job: maybeDeferred(job))
        service = LoadBalancerService.of(file.read(), reactor=Reactor(), source=file)
        self.write(ONE + "[[routes]]\nname = 'a'\nstatic = { directory = '/missing' }\n", path)
        result = self.successResultOf(service.reloader.reload())
        self.assertFalse(result.ok)
        self.assertTrue(result.errors[0].startswith(f"{path}:4: routes[0].static.directory: '/missing' was given"), result)

    def test_operators_see_what_is_gone_by_without_secrets(self) -> None:
        """Of a file and of options alone; what was read since and is not gone by is not shown."""
        path = self.write(FILE + SECRETS)
        options = parse("--config", path)
        made: Any = makeService(options)
        (service,) = made
        text = service.printed()
        for secret in ("0123456789abcdef", "Bearer", "hidden1", "hidden2", "hidden3"):
            self.assertNotIn(secret, text, text)
        self.assertIn("\nretries = 1  # ", text)
        self.write(FILE.replace("retries = 1", "retries = 7"), path)
        assert options.file is not None
        options.file.read()
        self.assertEqual(service.printed(), text)
        options.file.served()
        self.assertIn("\nretries = 7  # ", service.printed())
        (alone,) = cast(Any, makeService(parse("-b", "a:1", "--retries", "9")))
        self.assertIn("\nretries = 9  # --retries", alone.printed())
        (demo,) = cast(Any, makeService(parse("--demo")))
        self.assertFalse(getattr(demo, "printed", None))

    def test_secrets_in_clear_are_printed_for_who_can_read_the_file(self) -> None:
        """With a word of advice; what is printed reads back as the same."""
        loaded = read_text(FILE.replace("retries = 1", "retries = 1\nsticky = 'a'") + SECRETS)
        printed = print_configuration(loaded)
        self.assertEqual(read_text(printed).configuration, loaded.configuration)
        self.assertEqual(printed.count("; a secret in clear: "), 4)
        self.assertIn("(not shown)", print_configuration(loaded, secrets=False))

    def test_what_cannot_be_served_ends_it(self) -> None:
        """Such as a place that is none, before anything starts."""
        path = self.write(ONE + 'listen = "x"\n')
        exit = self.assertRaises(SystemExit, makeService, parse("--config", path))
        self.assertIn(f"twistd lbproxy: {path}:2: listen: 'x' was given", str(exit.code))


class Asked(FileCase):
    """What is asked is answered, and that is all."""

    def answer(self, *words: str) -> tuple[Any, str]:
        """The status, or the message, and what was printed."""
        options = parse(*words)
        with patch("sys.stdout", io.StringIO()) as out:
            exit = self.assertRaises(SystemExit, run_command, options, Reactor())
        return exit.code, out.getvalue()

    def test_nothing(self) -> None:
        """Then it goes on to serve."""
        options = parse("-b", "a:1")
        self.assertFalse(options.asked)
        run_command(options, Reactor())

    def test_check(self) -> None:
        """Says what there is, if all is well."""
        path = self.write(FILE)
        self.assertEqual(self.answer("--config", path, "--check"), (0, f"{path}: ok, 2 listeners, 2 pools, 2 routes\n"))
        self.assertEqual(self.answer("-b", "a:1", "--check"), (0, "the options: ok, 1 listener, 1 pool, 0 routes\n"))

    def test_check_warns(self) -> None:
        """Of what is no mistake."""
        path = self.write(FILE.replace('pool = "b"', 'pool = "a"'))
        code, said = self.answer("--config", path, "--check")
        self.assertEqual((code, len(said.splitlines())), (0, 2))
        self.assertIn("no route leads to this pool", said)

    def test_check_reads_what_it_names(self) -> None:
        """Certificates, authorities, places; all mistakes at once."""
        text = 'listen = "x"\ncertificate = "/missing.pem"\nbackends = ["https://a:1"]\nbackend-ca = "/missing-ca.pem"\n'
        path = self.write(text)
        code, said = self.answer("--config", path, "--check")
        self.assertEqual(said, "")
        for part in (":2: certificate: '/missing.pem'", ":4: backend-ca: '/missing-ca.pem'", ":1: listen: 'x'"):
            self.assertIn(path + part, code)

    def test_check_names_the_places_of_what_it_reads(self) -> None:
        """The file, the line and the key's path, of whatever cannot be used."""
        path = self.write(UNUSABLE)
        code, _ = self.answer("--config", path, "--check")
        self.assertEqual(
            [line.partition(" was given")[0].partition(" cannot")[0] for line in code.splitlines()],
            [
                f"{path}:1: listen[1]: 'x'",
                f"{path}:2: certificate[0]: '/missing.pem'",
                f"{path}:5: pools.app.backend-ca: '/missing-ca.pem'",
                f"{path}:7: pools.listed.backends: {os.path.dirname(path)}/missing.json: it",
                f"{path}:10: filters.users.file: '/missing.htpasswd'",
                f"{path}:14: routes[0].static.directory: '/missing'",
                f"{path}:18: routes[1].filters[1].file: '/missing.htpasswd'",
                f"{path}:22: routes[2].resource: 'mine'",
            ],
        )

    def test_check_of_what_is_written(self) -> None:
        """Its directories must be there."""
        path = self.write(ONE + 'access-log = "/missing/log"\nstate-file = "/tmp"\n')
        code, _ = self.answer("--config", path, "--check")
        self.assertIn(f"{path}:2: access-log: '/missing/log' was given, and there is no directory /missing; make it", code)
        self.assertIn(f"{path}:3: state-file: '/tmp' was given, which is a directory", code)

    def test_check_of_options_names_them(self) -> None:
        """Where there is no file, the option is the place."""
        code, _ = self.answer("-b", "a:1", "--listen", "tcp:80", "--listen", "x", "--admin", "y", "--check")
        self.assertEqual([line.partition(" was given")[0] for line in code.splitlines()], ["--listen: 'x'", "--admin: 'y'"])

    def test_plan_names_the_places_in_the_file_to_come(self) -> None:
        """They are its own."""
        path = self.write(ONE + 'listen = "x"\n')
        code, _ = self.answer("--config", self.write(ONE), "--plan", path)
        self.assertTrue(code.startswith(f"{path}:2: listen: 'x' was given"), code)

    def test_plan_says_what_a_reload_cannot_do(self) -> None:
        """Another number of workers: beside all that would change otherwise, and with its place."""
        to_come = self.write("retries = 2\nworkers = 4\n" + ONE)
        code, said = self.answer("--config", self.write(ONE), "--plan", to_come)
        how = "it can be changed by an upgrade (SIGUSR2, POST /upgrade) or a restart, not by a reload"
        self.assertEqual(code, f"{to_come}:2: workers: {how}")
        self.assertIn("settings: retries 3 -> 2\n", said)
        self.assertIn(f"workers: 1 -> 4 ({how})\n", said)

    def test_print_and_check_workers(self) -> None:
        """What is printed reads back: a number, or that there is to be one for each core; the check counts them."""
        with patch("lbproxy.config.model.cores", return_value=3):
            for words, line in (
                (["-b", "a:1", "--workers", "2", "--worker-heartbeat", "1.5"], "workers = 2  # --workers\nworker-heartbeat = 1"),
                (["-b", "a:1", "--workers", "auto"], 'workers = "auto"  # --workers, 3 here\nworker-heartbeat = 5.0  # default'),
                (["--config", self.write('workers = "auto"\n' + ONE)], 'workers = "auto"  # '),
                (["--config", self.write("workers = 7\n" + ONE), "--workers", "auto"], 'workers = "auto"  # --workers'),
            ):
                _, text = self.answer(*words, "--print-config")
                self.assertIn(line, text)
                self.assertEqual(read_text(text).configuration, parse(*words).configuration())
                _, text = self.answer(*words, "--check")
                self.assertRegex(text, r" [23] workers\n")
        _, text = self.answer("-b", "a:1", "--check")
        self.assertNotIn("worker", text)

    def test_workers_in_a_file(self) -> None:
        """From a variable as well, which is a text; what is mistaken is said with its place."""
        with patch.dict(os.environ, {"LB_WORKERS": "5"}):
            path = self.write('workers = "${LB_WORKERS}"\n' + ONE)
            self.assertEqual(parse("--config", path).configuration().workers, 5)
        path = self.write('workers = "5"\nworker-heartbeat = 0\n' + ONE)
        error = self.assertRaises(UsageError, parse, "--config", path)
        self.assertEqual(
            str(error).splitlines(),
            [
                f"{path}:1: workers: '5' was given; allowed is a whole number from 1 to 256, or 'auto' for one a core",
                f"{path}:2: worker-heartbeat: 0 was given; allowed is a number of seconds from 0.1 to 3600",
            ],
        )

    def test_print(self) -> None:
        """What is printed is a file that reads back as the same, of options alone as well."""
        for words in (["--config", self.write(FILE), "--head-limit", "32k"], ["-b", "a:1,b:2:weight=3", "--retries", "9"]):
            code, text = self.answer(*words, "--print-config")
            self.assertEqual((code, read_text(text).configuration), (0, parse(*words).configuration()))
            self.assertRegex(text, r"# --(head-limit|retries)\n")

    def test_explain(self) -> None:
        """The route taken and those passed over, the pool and its candidates."""
        code, said = self.answer("--config", self.write(FILE), "--explain", "GET http://shop.example/b/x")
        self.assertEqual(code, 0)
        for part in ("takes route /b/*", "rest", "filters: none", "pool b: 10.0.0.2:8000, 10.0.0.3:8000"):
            self.assertIn(part, said)
        code, said = self.answer("-b", "10.0.0.1:80", "--explain", "http://x/")
        self.assertIn("there are no routes: all goes to pool default\n  pool default: 10.0.0.1:80\n", said)

    def test_explain_what_goes_by_shares(self) -> None:
        """Of a split the weights and the key; of a mirror its share."""
        text = FILE.replace('pool = "b"', 'split = { pools = { a = 95, b = 5 }, by = "ip" }\nmirror = { pool = "a", share = 10 }')
        _, said = self.answer("--config", self.write(text), "--explain", "GET http://shop.example/b/x")
        self.assertIn("  split: a 95, b 5, by ip\n  mirror: 10 % to pool a as well\n  pool a: ", said)

    def test_explain_what_is_no_request(self) -> None:
        """It is said, and what would be one."""
        code, _ = self.answer("-b", "10.0.0.1:80", "--explain", "cart")
        self.assertIn("'cart' was given", code)

    def test_plan_of_the_same(self) -> None:
        """Nothing would change, and nobody is asked."""
        path = self.write(FILE)
        self.assertEqual(self.answer("--config", path, "--plan", path), (0, "nothing would change\n"))

    def test_plan_of_mistakes(self) -> None:
        """They are told as by --check."""
        code, said = self.answer("--config", self.write(FILE), "--plan", self.write("retires = 1\n" + ONE))
        self.assertIn("did you mean retries?", code)
        self.assertEqual(said, "")


class Planning(SynchronousTestCase):
    """What runs where something would change."""

    def test_where_to_ask(self) -> None:
        """From where it listens to where one connects."""
        for description, place in (
            ("tcp:81", "127.0.0.1:81"),
            ("tcp:81:interface=10.0.0.1", "10.0.0.1:81"),
            (r"tcp6:81:interface=\:\:1", "::1:81"),
            ("tcp:port=81:interface=0.0.0.0", "127.0.0.1:81"),
        ):
            endpoint: Any = client_endpoint(Reactor(), description)
            self.assertEqual(f"{endpoint._hostText}:{endpoint._port}", place)
        unix: Any = client_endpoint(Reactor(), "unix:/run/x.sock:mode=600")
        self.assertEqual(unix._path, "/run/x.sock")
        for description in ("tcp:0", "systemd:INET:index=0", "ssl:443", "haproxy:tcp:81"):
            self.assertIsNone(client_endpoint(Reactor(), description))

    def test_what_is_told(self) -> None:
        """Of pools and routes that would be other ones or gone, as far as it is known; live streams are named."""
        a, b = (PoolConfiguration(name=name, backends=(Backend(name, 1),)) for name in "ab")
        routes = (Route(name="x", pool="a"), Route(name="y", pool="b"))
        old = Configuration(pools=(a, b), routes=routes)
        new = Configuration(pools=(a,), routes=routes[:1])
        changed = changed_names(old, new)
        self.assertEqual(changed, {"pools": ["b"], "routes": ["y"]})
        told = {"pools": [{"name": "b", "in_flight": 5, "tunnels": 2}], "routes": None}
        self.assertEqual(list(lines_of(told, changed)), ["pool b: 5 exchanges run, 2 of them tunnels (live streams included)"])


class Processes(FileCase):
    """The same with real processes."""

    def test_questions_under_twistd(self) -> None:
        """Each is answered on its own, also beside one that serves from the same directory; nothing is left behind."""
        folder = self.mktemp()
        os.makedirs(folder)
        path = self.write(FILE)
        with open(os.path.join(folder, "twistd.pid"), "w") as file:
            file.write(str(os.getpid()))
        done = twistd(folder, "-n", "lbproxy", "--config", path, "--check")
        self.assertEqual((done.returncode, done.stdout), (0, f"{path}: ok, 2 listeners, 2 pools, 2 routes\n"), done.stderr)
        wrong = self.write("retires = 1\n" + ONE)
        done = twistd(folder, "lbproxy", "--config", wrong, "--check")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertTrue(done.stderr.startswith(f"{wrong}:1: retires: "), done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertEqual(os.listdir(folder), ["twistd.pid"])

    def test_a_mistake_in_the_file_keeps_it_from_starting(self) -> None:
        """With one message, and status 1."""
        wrong = self.write("retires = 1\n" + ONE)
        done = twistd(os.path.dirname(wrong), "-n", "lbproxy", "--config", wrong)
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith(f"twistd lbproxy: {wrong}:1: retires: "), done.stderr)
        self.assertNotIn("Traceback", done.stderr)
