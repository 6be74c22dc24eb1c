"""``twistd lbproxy --config``: what it is asked, what it serves, and how it follows its files."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from .support import LOOPBACK, TWISTD, IntegrationTestCase, LoadBalancer, Process, ask, environment, eventually, free_port


class ConfigCase(IntegrationTestCase):
    """Files to be read, in the test's folder."""

    def write(self, text: str, name: str = "lb.toml") -> str:
        """Put a file there, all at once; its path."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        written = path.with_name(f"{path.name}.new")
        written.write_text(textwrap.dedent(text))
        os.replace(written, path)
        return str(path)

    def set_environment(self, name: str, value: str) -> None:
        """A variable of all processes that are started from now on."""
        os.environ[name] = value
        self.addCleanup(os.environ.pop, name, None)

    def serving(self, *options: str) -> LoadBalancer:
        """One that serves ``lb.toml``; where it listens is said beside it."""
        return self.balancer("--config", f"{self.folder}/lb.toml", *options, backends=[])

    def asked(self, *options: str, status: int = 0) -> str:
        """What is written to standard output, or with status 1 to standard error; nothing is written to the other."""
        ended = self.run_twistd(*options)
        self.assertEqual(ended.returncode, status, ended)
        said, other = (ended.stderr, ended.stdout) if status else (ended.stdout, ended.stderr)
        self.assertEqual(other, "")
        self.assertNotIn("Traceback", said)
        return said

    def reload(self, balancer: LoadBalancer) -> Any:
        """Signal for a reload; what ``/status`` says of it."""
        before = reloads(balancer)
        balancer.process.signal(signal.SIGHUP)
        return eventually("it is read anew", lambda: (now := reloads(balancer))["reloads"] != before["reloads"] and now["last"])

    def answers(self, balancer: LoadBalancer, path: str = "/", port: int = 0) -> set[str]:
        """Who answers there."""
        return {ask(port or balancer.port, path).backend for _ in range(8)}


def reloads(balancer: LoadBalancer) -> Any:
    """What ``/status`` says of reloads."""
    return balancer.admin("/status").json()["reload"]


def at(port: int) -> str:
    """A listener."""
    return f"tcp:{port}:interface={LOOPBACK}"


WRONG = """\
    include = ["conf.d/*.toml"]
    retires = 2
    probe-interval = 0
    [pools.app]
    backends = ["10.0.0.1:99999", "10.0.0.2:8000"]
    policy = "round-robbin"
    [[routes]]
    path-prefix = "no-slash"
    pool = "app"
    filters = ["limits"]
"""
WRONG_TOO = """\
    [filters.limit]
    type = "rate-limits"
    rate = 10
"""


class AskingTests(ConfigCase):
    """What ends with an answer."""

    def assertSaidAll(self, said: str) -> None:
        """Each mistake is there once, with its place, its key, and what was probably meant."""
        file, other = f"{self.folder}/lb.toml", f"{self.folder}/conf.d/limits.toml"
        for words in (
            (f"{file}:2: retires: ", "retries"),
            (f"{file}:3: probe-interval: ", "0"),
            (f"{file}:5: pools.app.backends[0]: ", "99999"),
            (f"{file}:6: pools.app.policy: ", "round-robin"),
            (f"{file}:8: routes[0].path-prefix: ", "no-slash"),
            (f"{file}:10: routes[0].filters[0]: ", "mean limit?"),
            (f"{other}:2: filters.limit.type: ", "rate-limit"),
        ):
            (line,) = [line for line in said.splitlines() if words[0] in line] or [f"no line has {words[0]}:\n{said}"]
            self.assertIn(words[1], line.partition(words[0])[2], said)
        self.assertEqual(len([line for line in said.splitlines() if ".toml:" in line]), 7, said)

    def test_every_mistake_is_said_at_once(self) -> None:
        """By ``--check``, by ``--plan``, and by what was to serve, which does not start."""
        path = self.write(WRONG)
        self.write(WRONG_TOO, "conf.d/limits.toml")
        self.assertSaidAll(self.asked("--config", path, "--check", status=1))
        self.assertSaidAll(self.asked("--config", path, status=1))
        good = self.write("backends = ['10.0.0.1:1']", "good.toml")
        self.assertSaidAll(self.asked("--config", good, "--plan", path, status=1))

    def test_what_only_shows_when_it_is_built(self) -> None:
        """Certificates, listeners and files that are not there are mistakes of ``--check`` too, and the file with them does not
        serve."""
        path = self.write(
            """\
            listen = "carrier-pigeon:80"
            tls-listen = "tcp:8443"
            certificate = "nowhere.pem"
            backends = { file = "nobody.json" }
            """
        )
        for options in (["--check"], []):
            said = self.asked("--config", path, *options, status=1)
            for words in ("carrier-pigeon:80", f"{self.folder}/nowhere.pem", f"{self.folder}/nobody.json"):
                self.assertIn(words, said)
        self.assertIn(f"{self.folder}/nothing.toml", self.asked("--config", f"{self.folder}/nothing.toml", "--check", status=1))

    def test_who_reads_no_further(self) -> None:
        """What is printed for somebody who has seen enough, as ``| head`` has, ends in order and without a traceback."""
        path = self.write("[pools.app]\nbackends = ['10.0.0.1:1']\n")
        read, write = os.pipe()
        os.close(read)
        try:
            command = [*TWISTD, "lbproxy", "--config", path, "--print-config"]
            done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60, env=environment())
        finally:
            os.close(write)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_a_good_file(self) -> None:
        """``--check`` counts what is in it; nothing is opened, and no log is written."""
        path = self.write(
            """\
            listen = ["tcp:80", "tcp:81"]
            admin = "tcp:8081"
            access-log = "access.log"
            state-file = "state.json"
            [pools.app]
            backends = ["10.0.0.1:1"]
            [[routes]]
            pool = "app"
            """
        )
        self.assertEqual(self.asked("--config", path, "--check"), f"{path}: ok, 3 listeners, 1 pool, 1 route\n")
        self.assertEqual([found.name for found in self.folder.iterdir()], ["lb.toml"])

    def test_what_is_printed_reads_back_equal(self) -> None:
        """With an include, the environment, a secret, and an option beside it; the secret stays unsaid, and each value's place is
        told."""
        self.set_environment("LBPROXY_TEST_WEIGHT", "7")
        path = self.write(
            """\
            include = ["conf.d/*.toml"]
            retries = 4
            sticky = "cookie"
            sticky-key = { file = "secret" }
            [pools.app]
            backends = ["10.0.0.1:1:weight=${LBPROXY_TEST_WEIGHT}", { address = "10.0.0.2:1", tier = 2 }]
            """
        )
        self.write("[[routes]]\nname = 'all'\npool = 'app'\nfilters = ['careful']\n", "conf.d/routes.toml")
        self.write("[filters.careful]\ntype = 'security-headers'\n", "conf.d/filters.toml")
        (self.folder / "secret").write_text("hush-hush-and-hush-again-for-a-secret\n")
        printed = self.asked("--config", path, "--queue", "5", "--print-config")
        self.assertNotIn("hush", printed)
        self.assertRegex(printed, rf"\nretries = 4 +# {re.escape(path)}:2\n")
        self.assertRegex(printed, r"\nqueue = 5 +# --queue\n")
        self.assertRegex(printed, r"\nprobe-timeout = 2\.0 +# default\n")
        again = self.write(printed, "sub/printed.toml")
        self.assertEqual(self.asked("--config", path, "--queue", "5", "--plan", again), "nothing would change\n")
        without = re.compile(r" *#.*")
        self.assertEqual(without.sub("", self.asked("--config", again, "--print-config")), without.sub("", printed))

    def test_a_request_is_explained(self) -> None:
        """The route, those passed over and why, the filters, the pool and whom it could go to; what is no request is refused."""
        path = self.write(
            """\
            [pools.app]
            backends = ["10.0.0.1:1", "10.0.0.2:1"]
            [pools.cart]
            backends = ["10.0.0.3:1"]
            [[routes]]
            name = "cart"
            host = "shop.example"
            path-prefix = "/cart"
            filters = [{ type = "prefix-strip", prefix = "/cart" }]
            pool = "cart"
            [[routes]]
            name = "posts"
            path-prefix = "/cart"
            method = "POST"
            pool = "app"
            [[routes]]
            name = "rest"
            pool = "app"
            """
        )
        said = self.asked("--config", path, "--explain", "GET https://shop.example/cart/1?x=1")
        self.assertRegex(said, r"(?s)takes route cart.*rest.*filters: prefix-strip\n.*pool cart: 10\.0\.0\.3:1\n")
        said = self.asked("--config", path, "--explain", "GET http://other.example/cart")
        self.assertRegex(said, r"(?s)takes route rest.*cart .*host.*posts .*method")
        self.assertRegex(said, r"pool app: 10\.0\.0\.[12]:1, 10\.0\.0\.[12]:1\n")
        self.assertIn("nonsense", self.asked("--config", path, "--explain", "nonsense", status=1))


class PlanTests(ConfigCase):
    """``--plan`` beside one that runs."""

    def setUp(self) -> None:
        super().setUp()
        self.socket_port = free_port()
        Process(self, [sys.executable, str(Path(__file__).with_name("websocket_server.py")), str(self.socket_port)])
        self.config = """\
            [pools.app]
            backends = ["10.0.0.1:1"]
            [pools.sockets]
            backends = ["{place}"]
            retries = {retries}
            [[routes]]
            path-prefix = "/socket"
            pool = "sockets"
            [[routes]]
            name = "rest"
            pool = "app"
            """

    def put(self, name: str, retries: int, top: str = "") -> str:
        """A file of that name."""
        place = f"{LOOPBACK}:{self.socket_port}"
        return self.write(top + "\n" + textwrap.dedent(self.config).format(place=place, retries=retries), name)

    def talking(self, port: int) -> ClientConnection:
        """A WebSocket that is open and has been used."""

        def opened() -> ClientConnection | None:
            with contextlib.suppress(Exception):  # its server may still be starting
                return connect(f"ws://{LOOPBACK}:{port}/socket", compression=None)
            return None

        socket = eventually("a WebSocket opens", opened)
        self.addCleanup(socket.close)
        socket.send("hello")
        self.assertEqual(socket.recv(5), "hello")
        return socket

    def test_live_streams_are_told(self) -> None:
        """What would be touched, and how many streams live there; asking touches nothing."""
        path = self.put("lb.toml", 2)
        balancer = self.balancer("--config", path, "--probe-interval", "600", backends=[])
        sockets = [self.talking(balancer.port) for _ in range(3)]
        options = ["--config", path, "--admin", at(balancer.admin_port)]
        self.assertEqual(self.asked(*options, "--plan", path), "nothing would change\n")
        said = self.asked(*options, "--plan", self.put("new.toml", 5))
        self.assertEqual(
            said.splitlines(),
            ["pool sockets: retries 2 -> 5", "pool sockets: 3 exchanges run, 3 of them tunnels (live streams included)"],
        )
        for socket in sockets:
            socket.send("still here")
            self.assertEqual(socket.recv(5), "still here")
        self.assertEqual(sum(reloads(balancer)["reloads"].values()), 0)

    def test_over_a_unix_socket(self) -> None:
        """The admin listener that the file names need not be on a port; where nobody answers, that is said."""
        port, admin = free_port(), f"unix:{self.folder}/admin.sock"
        path = self.put("lb.toml", 2, top=f"listen = '{at(port)}'\nadmin = '{admin}'")
        new = self.put("new.toml", 5, top=f"listen = '{at(port)}'\nadmin = '{admin}'")
        self.assertIn("does not answer", self.asked("--config", path, "--plan", new).splitlines()[-1])
        process = Process(self, [*TWISTD, "-n", "--pidfile=", "lbproxy", "--config", path])
        self.talking(port)
        said = self.asked("--config", path, "--plan", new).splitlines()
        self.assertEqual(said[-1], "pool sockets: 1 exchanges run, 1 of them tunnels (live streams included)")
        process.signal(signal.SIGTERM)


class ReloadTests(ConfigCase):
    """A file that is read anew."""

    TEXT = """\
        retries = {retries}
        [pools.app]
        backends = ["{place}"]
        [filters.mark]
        type = "headers"
        response-set = {{ X-Mark = "{mark}" }}
        [[routes]]
        name = "app"
        pool = "app"
        filters = ["mark"]
        """

    def setUp(self) -> None:
        super().setUp()
        self.a = self.backend("a")

    def put(self, mark: str, retries: object = 2, name: str = "lb.toml", top: str = "") -> str:
        """The file, with a word that answers have."""
        text = textwrap.dedent(self.TEXT).format(place=self.a.place, mark=mark, retries=retries)
        return self.write(top + "\n" + text, name)

    def mark(self, balancer: LoadBalancer) -> str:
        """That word."""
        answer = ask(balancer.port)
        self.assertAnswered(answer)
        return str(answer.headers["X-Mark"])

    def test_options_beside_the_file_win(self) -> None:
        """At the start and after each reload."""
        self.put("one", retries=7, top=f"listen = '{at(free_port())}'\nqueue = 9")
        balancer = self.serving("--queue", "3")
        self.assertEqual((self.mark(balancer), balancer.pool()["queue"]["limit"]), ("one", 3))
        self.put("two", retries=7, top=f"listen = '{at(free_port())}'\nqueue = 11")
        self.assertTrue(self.reload(balancer)["ok"])
        self.assertEqual((self.mark(balancer), balancer.pool()["queue"]["limit"]), ("two", 3))

    def test_a_mistake_changes_nothing(self) -> None:
        """It goes on serving as before, says what is wrong once however often it is asked, and takes the file when it is
        mended."""
        self.put("one")
        balancer = self.serving()
        path = self.put("two", retries=-1)
        for _ in range(3):
            last = self.reload(balancer)
            self.assertEqual((last["ok"], len(last["errors"])), (False, 1))
            self.assertIn(f"{path}:2: retries: ", last["errors"][0])
            self.assertEqual(self.mark(balancer), "one")
        self.assertEqual(balancer.process.output.count(f"{path}:2: retries: "), 1)
        self.assertEqual(balancer.metrics()("lbproxy_config_reloads_total", result="failure"), 3)
        self.put("three")
        self.assertTrue(self.reload(balancer)["ok"])
        self.assertEqual(self.mark(balancer), "three")
        self.assertEqual(balancer.metrics()("lbproxy_config_last_reload_success"), 1)

    def test_a_port_that_is_taken_changes_nothing(self) -> None:
        """All of the file, or nothing of it."""
        port = free_port()
        path = self.put("one", top=f"listen = '{at(port)}'")
        process = Process(self, [*TWISTD, "-n", "--pidfile=", "lbproxy", "--config", path])
        eventually("it serves", lambda: process.ended or self.serves(port))
        taken = self.a.place.rpartition(":")[2]
        self.put("two", top=f"listen = ['{at(port)}', '{at(int(taken))}']")
        process.signal(signal.SIGHUP)
        eventually("it is said", lambda: f"{taken}:interface" in process.output and "in use" in process.output)
        self.assertEqual(ask(port).headers["X-Mark"], "one")
        process.signal(signal.SIGTERM)

    def test_a_place_in_its_own_way(self) -> None:
        """A port that is described otherwise is handed on. A socket's path cannot be: that is said, with what to do."""
        port, socket = free_port(), f"unix:{self.folder}/admin.sock:mode="
        path = self.put("one", top=f"listen = '{at(port)}'\nadmin = '{socket}600'")
        process = Process(self, [*TWISTD, "-n", "--pidfile=", "lbproxy", "--config", path])
        eventually("it serves", lambda: process.ended or self.serves(port))
        self.put("two", top=f"listen = '{at(port)}:backlog=9'\nadmin = '{socket}600'")
        process.signal(signal.SIGHUP)
        eventually("it listens otherwise", lambda: ask(port).headers["X-Mark"] == "two")
        self.put("three", top=f"listen = '{at(port)}:backlog=9'\nadmin = '{socket}660'")
        process.signal(signal.SIGHUP)
        eventually("what to do is said", lambda: f"if {socket}600 is in the way" in process.output)
        self.assertEqual(ask(port).headers["X-Mark"], "two")
        process.signal(signal.SIGTERM)

    def serves(self, port: int) -> bool:
        """Whether it listens there."""
        try:
            return ask(port).status == 200
        except OSError:
            return False

    def test_watched_files_are_followed(self) -> None:
        """The file, when another one takes its name; an included one; and one more that is included now. A mistake is said, and
        the file is taken when it is mended, though nobody asks."""
        included = "[[routes]]\nname = 'm{0}'\npath = '/m{0}'\nanswer = {{ status = 200, body = '{1}' }}\n"
        self.write(included.format(1, "first"), "conf.d/1.toml")
        top = "watch = true\ninclude = ['conf.d/*.toml']"
        self.put("one", top=top)
        balancer = self.serving()
        self.assertEqual((self.mark(balancer), ask(balancer.port, "/m1").body), ("one", b"first"))
        self.put("two", top=top)
        eventually("the file is read", lambda: self.mark(balancer) == "two")
        self.write(included.format(1, "second"), "conf.d/1.toml")
        eventually("what it includes is read", lambda: ask(balancer.port, "/m1").body == b"second")
        self.write(included.format(2, "more"), "conf.d/2.toml")
        eventually("what it includes now is read", lambda: ask(balancer.port, "/m2").body == b"more")
        self.put("three", top=f"{top}\nretires = 1")
        eventually("the mistake is said", lambda: not reloads(balancer)["last"]["ok"])
        self.assertEqual(self.mark(balancer), "two")
        self.put("four", top=top)
        eventually("the mended file is read", lambda: self.mark(balancer) == "four")
        self.assertEqual(reloads(balancer)["reloads"], {"failure": 1, "success": 4})

    def test_watch_can_be_switched_on_by_an_option(self) -> None:
        """``--watch`` beside the file."""
        self.put("one")
        balancer = self.serving("--watch")
        self.put("two")
        eventually("the file is read", lambda: self.mark(balancer) == "two")

    def test_values_from_the_environment_and_from_files(self) -> None:
        """As they are when it is read; what is missing is a mistake, and a secret that changes is taken by a reload."""
        (self.folder / "token").write_text("  first\n")
        text = """\
            backends = ["${LBPROXY_TEST_PLACE}"]
            [filters.told]
            type = "headers"
            response-set = { X-Token = { file = "token" }, X-Price = "$$5 ${LBPROXY_TEST_NONE:-no}" }
            [[routes]]
            pool = "default"
            filters = ["told"]
            """
        path = self.write(text)
        self.assertIn("LBPROXY_TEST_PLACE", self.asked("--config", path, "--check", status=1))
        self.set_environment("LBPROXY_TEST_PLACE", self.a.place)
        balancer = self.serving()
        answer = ask(balancer.port)
        self.assertEqual((answer.backend, answer.headers["X-Token"], answer.headers["X-Price"]), ("a", "first", "$5 no"))
        (self.folder / "token").write_text("second")
        last = self.reload(balancer)
        self.assertEqual((last["ok"], len(last["differences"])), (True, 1), last)
        self.assertNotIn("second", json.dumps(last) + balancer.process.output)
        self.assertEqual(ask(balancer.port).headers["X-Token"], "second")


class MembersTests(ConfigCase):
    """Members that are named elsewhere than in the file."""

    def setUp(self) -> None:
        super().setUp()
        self.a, self.b, self.c = self.all = self.backends("abc")

    def list(self, *listed: object) -> None:
        """What ``members.json`` says."""
        self.write(json.dumps(listed), "members.json")

    def test_a_watched_file(self) -> None:
        """Backends come and leave with it; one that is broken, empty or gone changes nobody, and is told."""
        self.write("[pools.app]\nbackends = { file = 'members.json' }\n")
        self.list(self.a.place)
        balancer = self.serving()
        self.assertEqual(self.answers(balancer), {"a"})
        self.list(self.a.place, {"address": self.b.place, "weight": 1})
        eventually("b has come", lambda: self.answers(balancer) == {"a", "b"})
        self.list(self.b.place)
        eventually("a has left", lambda: self.answers(balancer) == {"b"})
        for broken, said in (('["nonsense"]', "nonsense"), ("[]", "no backend"), ("[", "members.json:1")):
            self.write(broken, "members.json")
            self.wait_told(balancer, said)
            self.assertEqual(self.answers(balancer), {"b"})
        (self.folder / "members.json").unlink()
        self.wait_told(balancer, "cannot be read")
        self.write("retries = 5\n[pools.app]\nbackends = { file = 'members.json' }\n")
        self.assertTrue(self.reload(balancer)["ok"])
        self.assertEqual(self.answers(balancer), {"b"}, "a reload of something else does not need it")
        self.list(self.b.place, self.c.place)
        eventually("c has come", lambda: self.answers(balancer) == {"b", "c"})
        self.assertEqual(balancer.pool()["backends_file"]["ok"], True)
        self.assertGreater(balancer.metrics()("lbproxy_members_file_reads_total", result="failure"), 2)

    def wait_told(self, balancer: LoadBalancer, what: str) -> None:
        """Until ``/status`` has that of the file."""
        eventually(f"{what} is told", lambda: what in str(balancer.pool()["backends_file"]["errors"]))

    def test_what_operators_say_outlives_a_kill(self) -> None:
        """One added, one removed, one drained and one weighed are so after SIGKILL and a new start, and after a reload."""
        state = self.folder / "state.json"
        self.put(retries=2)
        balancer = self.serving()
        self.say(balancer, "POST", "", self.c.place, 201)
        self.say(balancer, "DELETE", f"/{self.a.place}")
        self.say(balancer, "POST", f"/{self.b.place}/weight", "7")
        self.say(balancer, "POST", f"/{self.b.place}/drain", "for lunch")
        self.check_said(balancer)
        eventually("it is written", lambda: state.exists() and "for lunch" in state.read_text())
        self.assertTrue(self.reload(balancer)["ok"])
        self.check_said(balancer)
        self.kill(balancer)
        again = self.serving()
        self.check_said(again)
        self.put(retries=9)
        self.assertTrue(self.reload(again)["ok"])
        self.check_said(again)

    def put(self, retries: int) -> None:
        """A file that names two, and where to keep what is said."""
        top = f"state-file = 'state.json'\nadmin-writable = true\nretries = {retries}"
        self.write(f"{top}\n[pools.app]\nbackends = ['{self.a.place}', '{self.b.place}']\n")

    def say(self, balancer: LoadBalancer, method: str, path: str, body: str = "", status: int = 200) -> None:
        answer = ask(balancer.admin_port, f"/pools/app/backends{path}", method, body.encode())
        self.assertAnswered(answer, status)

    def check_said(self, balancer: LoadBalancer) -> None:
        """It holds."""
        told = {one["address"]: (one["want"], one["weight"]) for one in balancer.pool()["backends"]}
        self.assertEqual(told, {self.b.place: ("drain", 7), self.c.place: ("ready", 1)})
        self.assertEqual(self.answers(balancer), {"c"})

    def kill(self, balancer: LoadBalancer) -> None:
        """Give it no time for anything."""
        balancer._stopped = True  # it cannot end in order any more
        balancer.process.signal(signal.SIGKILL)
        balancer.process.wait()


class DaemonTests(ConfigCase):
    """``twistd lbproxy --config`` without ``-n``."""

    def test_paths_are_those_of_the_start(self) -> None:
        """The file is named relative to where it was started, and its paths are relative to it; a daemon that runs elsewhere
        finds all of them, at each reload too."""
        a, port, admin = self.backend("a"), free_port(), free_port()
        text = """\
            include = ["conf.d/*.toml"]
            listen = "{listen}"
            admin = "{admin}"
            admin-writable = true
            access-log = "access.log"
            state-file = "state.json"
            [pools.app]
            backends = {{ file = "members.json" }}
            """
        self.write(text.format(listen=at(port), admin=at(admin)), "etc/lb.toml")
        self.write(json.dumps([a.place]), "etc/members.json")
        (self.folder / "etc" / "conf.d").mkdir()
        self.route("one")
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        pidfile, log = self.folder / "pid", self.folder / "log"
        ended = self.run_twistd(
            "--config", "etc/lb.toml", twistd=(f"--pidfile={pidfile}", f"--logfile={log}", f"--rundir={elsewhere}")
        )
        self.assertEqual(ended.returncode, 0, (ended, log.read_text() if log.exists() else ""))
        pid = int(pidfile.read_text())
        self.addCleanup(kill, pid)
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), str(elsewhere))
        self.assertEqual((ask(port).backend, ask(port, "/said").body), ("a", b"one"))
        self.route("two")
        os.kill(pid, signal.SIGHUP)
        eventually("it is read anew", lambda: ask(port, "/said").body == b"two")
        self.assertAnswered(ask(admin, f"/pools/app/backends/{a.place}/weight", "POST", b"3"))
        os.kill(pid, signal.SIGTERM)
        eventually("the daemon has ended", lambda: "Server Shut Down." in log.read_text())
        self.assertNotIn("Traceback", log.read_text())
        self.assertIn("3", (self.folder / "etc" / "state.json").read_text())
        self.assertGreaterEqual(len((self.folder / "etc" / "access.log").read_text().splitlines()), 3)
        self.assertEqual([*elsewhere.iterdir()], [])

    def route(self, said: str) -> None:
        """An included file."""
        self.write(
            f"""\
            [[routes]]
            path = "/said"
            answer = {{ body = "{said}" }}
            [[routes]]
            pool = "app"
            """,
            "etc/conf.d/routes.toml",
        )


def kill(pid: int) -> None:
    """End a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
