"""Printing configurations: all of it, where each value comes from, and equal when it is read again."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import strategies as st
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend
from lbproxy.config.printing import backend_text, print_configuration
from lbproxy.config.reading import Loaded, read_configuration, read_text
from tests.support import given

EXAMPLES = FilePath(__file__).parent().parent().parent().child("examples")

EVERYTHING = """
listen = "tcp:80"
certificate = ["certs", "a.pem,b.key", "${DIR}/c.pem"]
access-log = "access.log"
access-log-format = "json"
admin = "tcp:8081"
sticky = "lb"
sticky-key = "${KEY}"
retries = "${RETRIES:-2}"
retry-on = "connect,503"
body-limit = "64k"
trusted-proxies = ["10.0.0.0/8", "::1"]
state-file = "$$state"
backend-ca = "ca.pem"
default-filters = ["limit"]
backends = ["https://a.example:8000:weight=5", { address = "10.0.0.2:8000", weight = 2, backup = true }]

[pools."a b"]
backends = { file = "members.json" }
policy = "two-choices"
probe = "http:/healthz"
probe-header = "X-A: b"
eject-time = 0.5

[filters.limit]
type = "rate-limit"
rate = 10

[[routes]]
host = "shop.example"
path-regex = "^/x$"
header = { X-Beta = "$${1}", X-Old = false, X-C = { regex = '"\\d' } }
pool = "a b"
mirror = { pool = "default" }
filters = ["limit", { type = "rate-limit", rate = 3, dry-run = true }]

[[routes]]
name = "rest"
redirect = "https://{host}{uri}"

[[routes]]
name = "files"
path-prefix = "/static"
static = { directory = "www" }
"""
VARIABLES = {"DIR": "certificates", "KEY": "0123456789 hunter2"}


class PrintTests(SynchronousTestCase):
    """What is printed."""

    def again(self, loaded: Loaded, variables: dict[str, str] = VARIABLES) -> str:
        """What is printed, once it has been seen to read back equal, from another place."""
        text = print_configuration(loaded)
        self.assertEqual(read_text(text, "/elsewhere/printed.toml", variables=variables).configuration, loaded.configuration)
        return text

    def printed(self, text: str, overrides: dict[str, Any] | None = None) -> str:
        return self.again(read_text(text, "/etc/lb.toml", overrides or {}, variables=VARIABLES))

    def test_everything_reads_back(self) -> None:
        """Paths, variables, texts with quotes and dollars, filters, routes of all kinds."""
        text = self.printed(EVERYTHING)
        for line in (
            'listen = "tcp:80"  # /etc/lb.toml:2',
            'certificate = ["/etc/certs", "/etc/a.pem,/etc/b.key", "/etc/${DIR}/c.pem"]  # /etc/lb.toml:3',
            'sticky-key = "${KEY}"  # /etc/lb.toml:8',
            'retries = "${RETRIES:-2}"  # /etc/lb.toml:9',
            "queue = 256  # default",
            'state-file = "/etc/$$state"  # /etc/lb.toml:13',
            '[pools."a b"]  # /etc/lb.toml:18',
            'backends = { file = "/etc/members.json" }  # /etc/lb.toml:19',
            "burst = 0  # default",
            'redirect = "https://{host}{uri}"  # /etc/lb.toml:39',
            'mirror = { pool = "default", share = 100.0, most = 128, hold = 65536 }  # /etc/lb.toml:34',
        ):
            self.assertIn(line, text.splitlines())
        self.assertNotIn("hunter2", text)

    def test_options_are_told_and_read_back(self) -> None:
        """As what they say: numbers, lists, paths."""
        overrides = {
            "retries": "5", "drain": "1.5", "body-limit": "1m", "retry-on": "none", "access-log": "x.log", "watch": True,
            "listen": ["tcp:${X}"], "trusted-proxies": ["10.0.0.0/8"], "policy": "first", "backends": [Backend("10.0.0.9", 80)],
        }  # fmt: skip
        text = self.printed('[pools.app]\nbackends = "10.0.0.1:80"\nretries = 3\n', overrides)
        for line in (
            "retries = 5  # --retries",
            "drain = 1.5  # --drain",
            f'access-log = "{os.path.abspath("x.log")}"  # --access-log',
            'listen = ["tcp:$${X}"]  # --listen',
            'backends = ["10.0.0.9:80"]  # --backends',
        ):
            self.assertIn(line, text.splitlines())

    def test_a_secret_in_a_file_is_not_printed(self) -> None:
        """But where it is."""
        path = os.path.abspath(self.mktemp())
        with open(path, "w") as file:
            file.write("0123456789 hunter2")
        for said in (f'sticky-key = {{ file = "{path}" }}', f'sticky-key-file = "{path}"'):
            text = self.printed(f'sticky = "lb"\n{said}\nbackends = "10.0.0.1:80"')
            self.assertIn(f"{said}  # /etc/lb.toml:2", text.splitlines())
            self.assertNotIn("hunter2", text)

    def test_a_path_in_a_file_is_where_it_was(self) -> None:
        """Whoever keeps a certificate's path in a file may."""
        path = os.path.abspath(self.mktemp())
        with open(path, "w") as file:
            file.write("/a.pem,/b.key")
        for said in (f'{{ file = "{path}" }}', f'[{{ file = "{path}" }}]'):
            text = self.printed(f'certificate = {said}\nbackends = "10.0.0.1:80"')
            self.assertIn(f"certificate = {said}  # /etc/lb.toml:1", text.splitlines())

    def test_several_files_become_one(self) -> None:
        """Each value with the file that it comes from, and each relative path with its own."""
        folder = os.path.realpath(self.mktemp())
        os.makedirs(os.path.join(folder, "conf.d"))
        for name, text in (
            ("lb.toml", 'include = "conf.d/*.toml"\n[pools.a]\nbackends = "10.0.0.1:80"\n[[routes]]\nname = "own"\npool = "a"\n'),
            ("conf.d/b.toml", 'state-file = "s"\n[[routes]]\npath = "/x"\npool = "a"\n'),
        ):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
        text = self.again(read_configuration(os.path.join(folder, "lb.toml")))
        self.assertIn(f'state-file = "{folder}/conf.d/s"  # {folder}/conf.d/b.toml:1', text.splitlines())

    def test_examples_read_back(self) -> None:
        """All that stand in examples/, without a warning."""
        files = EXAMPLES.globChildren("*.toml")
        self.assertTrue(files)
        for file in files:
            loaded = read_configuration(file.path)
            self.assertEqual(loaded.warnings, ())
            self.again(loaded)

    def test_printing_what_was_printed_changes_nothing_but_the_places(self) -> None:
        """As often as one likes."""
        once = self.printed(EVERYTHING)
        twice = self.again(read_text(once, "/elsewhere/printed.toml", variables=VARIABLES))
        self.assertEqual([line.partition("  #")[0] for line in once.splitlines() if line[:1] != "#"],
                         [line.partition("  #")[0] for line in twice.splitlines() if line[:1] != "#"])  # fmt: skip

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
    def test_any_text_reads_back(self, text: str) -> None:
        """As a pool's name and a route's answer, whatever is in it."""
        loaded = read_text("[pools.x]\nbackends = 'a:1'\n[[routes]]\nanswer = { body = '${BODY}' }\nmirror = { pool = 'x' }\n",
                           variables={"BODY": text})  # fmt: skip
        self.again(loaded, {"BODY": text})

    def test_backends_as_texts(self) -> None:
        """They are read as they were."""
        for text in (
            "10.0.0.1:80", "[::1]:80:weight=2:tier=3:max-in-flight=4:proxy-protocol=v2", "unix:/a:backup",
            "https://a.example:443", "https://[::1]:443:verify-name=[::2]", "https://10.0.0.1:443:verify=off",
        ):  # fmt: skip
            self.assertEqual(Backend.parse(backend_text(Backend.parse(text))), Backend.parse(text))
