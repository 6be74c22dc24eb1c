"""How reloads come about: one at a time, the last wish counts, and a file is read when it has changed and is quiet."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.config.model import Configuration
from lbproxy.errors import ConfigurationError, LBProxyError
from lbproxy.files import FileStamp
from lbproxy.option_config import ConfigurationFile
from lbproxy.reload import LOOK, Reloader, ReloadResult
from lbproxy.tls.watch import Reload

from .tls.fake_store import Threads

FIRST, SECOND, THIRD = (Configuration(admin=name) for name in ("first", "second", "third"))


class Source:
    """A file whose states and contents the test gives."""

    path = "/etc/lb.toml"

    def __init__(self) -> None:
        self.state = 0
        self.reads = 0
        self.wrong = ""
        self.read_as = self.stamp()

    def stamp(self) -> FileStamp:
        return FileStamp((("/etc/lb.toml", (self.state,)),))

    def served(self) -> None:
        pass

    def located(self, error: LBProxyError) -> str:
        return f"located: {error}"

    def read(self) -> Configuration:
        self.reads += 1
        self.read_as = self.stamp()
        if self.wrong:
            raise ConfigurationError(self.wrong)
        return FIRST


class ReloaderCase(SynchronousTestCase):
    """Has a reloader whose changes take as long as the test lets them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.threads = Threads()
        self.wanted: list[Configuration] = []
        self.changing: list[Deferred[Any]] = []
        self.held = False
        self.certificates: Any = None
        self.reloader = Reloader(self.change, lambda: succeed(self.certificates), self.clock, self.threads)

    def change(self, configuration: Configuration) -> Deferred[Any]:
        self.wanted.append(configuration)
        if not self.held:
            return succeed(("it differs",))
        self.changing.append(Deferred())
        return self.changing[-1]

    def logged(self, act: Any) -> list[str]:
        """What is said in the log while *act* is done."""
        with capturedLogs() as events:
            act()
        return [formatEvent(event) for event in events]


class Wishing(ReloaderCase):
    """An application says what it wants."""

    def test_what_came_of_it(self) -> None:
        """Is told to who asked, and kept, and counted."""
        result = self.successResultOf(self.reloader.change_to(FIRST))
        self.assertEqual(result, ReloadResult(1000.0, True, (), ("it differs",)))
        self.assertEqual((self.reloader.last, self.reloader.counts), (result, {"failure": 0, "success": 1}))

    def test_what_is_said_of_it(self) -> None:
        """What differs; where nothing does, that."""
        self.assertEqual(self.logged(lambda: self.reloader.change_to(FIRST)), ["the configuration was changed: it differs"])
        reloader = Reloader(lambda _: succeed(()), lambda: succeed(None), self.clock, self.threads)
        self.assertEqual(self.logged(lambda: reloader.change_to(FIRST)), ["the configuration is as it was"])

    def test_a_mistake(self) -> None:
        """Is no failure of the Deferred's."""
        wrong = ConfigurationError("a: wrong\nb: wrong")
        reloader = Reloader(lambda _: fail(wrong), lambda: succeed(None), self.clock, self.threads)
        result = self.successResultOf(reloader.change_to(FIRST))
        self.assertEqual((result.ok, result.errors), (False, ("a: wrong", "b: wrong")))
        self.assertEqual(reloader.counts, {"failure": 1, "success": 0})

    def test_one_at_a_time(self) -> None:
        """Of what is asked for meanwhile the last one counts, and all who asked hear of it."""
        self.held = True
        first, second, third = (self.reloader.change_to(one) for one in (FIRST, SECOND, THIRD))
        self.assertEqual(self.wanted, [FIRST])
        self.changing[0].callback(())
        self.assertTrue(self.successResultOf(first).ok)
        self.assertNoResult(second)
        self.assertEqual(self.wanted, [FIRST, THIRD])
        self.changing[1].callback(("x",))
        came = self.successResultOf(second)
        self.assertEqual(came.differences, ("x",))
        self.assertIs(self.successResultOf(third), came)

    def test_a_mistake_of_ours(self) -> None:
        """Is told as a failure, with a traceback in the log, and the next one is taken."""
        self.held = True
        asked = self.reloader.change_to(FIRST)
        self.changing[0].errback(ZeroDivisionError("oops"))
        self.assertEqual(self.successResultOf(asked).errors, ("oops",))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.held = False
        self.assertTrue(self.successResultOf(self.reloader.change_to(SECOND)).ok)


class Reading(ReloaderCase):
    """A file is read again."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.reloader.source = Source()

    def test_in_a_thread(self) -> None:
        """And gone by then."""
        self.threads.held = True
        asked = self.reloader.reload()
        self.assertNoResult(asked)
        self.threads.finish()
        self.assertTrue(self.successResultOf(asked).ok)
        self.assertEqual(self.wanted, [FIRST])

    def test_certificates_too(self) -> None:
        """Who asks hears of both; the file's result stands by itself."""
        self.certificates = Reload(1000.0, False, ("a.pem: no key",))
        result = self.successResultOf(self.reloader.reload())
        self.assertEqual((result.ok, result.errors, result.differences), (False, ("a.pem: no key",), ("it differs",)))
        self.assertTrue(self.reloader.last is not None and self.reloader.last.ok)

    def test_certificates_alone(self) -> None:
        """Where there is no file; that is no reload of a configuration."""
        self.reloader.source = None
        self.certificates = Reload(1000.0, True)
        self.assertTrue(self.successResultOf(self.reloader.reload()).ok)
        self.assertEqual((self.reloader.last, self.wanted), (None, []))

    def test_mistakes_are_said_once(self) -> None:
        """Until they are others, or all was well in between; the last result has them."""
        self.source.wrong = "lb.toml:1: retires: there is no such key"
        said = [self.logged(self.reloader.reload) for _ in range(2)]
        self.assertEqual([len(lines) for lines in said], [1, 0])
        self.assertIn(self.source.wrong, said[0][0])
        assert self.reloader.last is not None
        self.assertEqual((self.reloader.last.errors, self.wanted), ((f"located: {self.source.wrong}",), []))
        self.assertEqual(self.reloader.counts, {"failure": 2, "success": 0})
        self.source.wrong = "another"
        self.assertEqual(len(self.logged(self.reloader.reload)), 1)
        self.source.wrong = ""
        self.reloader.reload()
        self.source.wrong = "another"
        self.assertEqual(len(self.logged(self.reloader.reload)), 1)


class Watching(ReloaderCase):
    """The files are looked at from time to time."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.reloader.source = Source()
        self.reloader.watch(True)
        self.reloader.start()
        self.addCleanup(self.reloader.stop)

    def look(self, *, state: int | None = None) -> int:
        """What was read at the next look, of files in another state perhaps."""
        if state is not None:
            self.source.state = state
        before = self.source.reads
        self.clock.advance(LOOK)
        return self.source.reads - before

    def test_files_that_stay_are_not_read(self) -> None:
        """However often they are looked at."""
        self.assertEqual([self.look() for _ in range(3)], [0, 0, 0])

    def test_what_changed_is_read_when_it_is_quiet(self) -> None:
        """Nobody reads half of what an editor writes."""
        self.look()
        self.assertEqual([self.look(state=1), self.look(state=2), self.look(), self.look()], [0, 0, 1, 0])
        self.assertEqual(self.wanted, [FIRST])

    def test_what_changed_before_the_first_look(self) -> None:
        """After it was read for the start."""
        self.assertEqual([self.look(state=1), self.look()], [0, 1])

    def test_a_mistake_is_read_once(self) -> None:
        """Until the file is another one."""
        self.source.wrong = "no"
        self.assertEqual([self.look(state=1), self.look(), self.look()], [0, 1, 0])
        self.source.wrong = ""
        self.assertEqual([self.look(state=2), self.look()], [0, 1])
        self.assertEqual(self.reloader.counts, {"failure": 1, "success": 1})

    def test_stopped(self) -> None:
        """Nothing is looked at any more, and no timer is left."""
        self.reloader.stop()
        self.assertEqual(self.look(state=1) + self.look(), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_only_if_it_is_wanted(self) -> None:
        """Without --watch it is read when it is told to be."""
        self.reloader.watch(False)
        self.assertEqual(self.look(state=1) + self.look(), 0)
        self.reloader.watch(True)
        self.assertEqual(self.look() + self.look(), 1)


class Files(SynchronousTestCase):
    """The real file."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.makedirs(os.path.join(self.folder, "conf.d"))
        self.path = os.path.join(self.folder, "lb.toml")
        self.write("lb.toml", 'include = ["conf.d/*.toml"]\nbackends = ["10.0.0.1:80"]\n')

    def write(self, name: str, text: str) -> None:
        """As an editor does: another file takes the name."""
        path = os.path.join(self.folder, name)
        with open(f"{path}~", "w") as file:
            file.write(text)
        os.replace(f"{path}~", path)

    def test_it_is_read_with_what_was_given_beside_it(self) -> None:
        """Which wins."""
        file = ConfigurationFile(self.path, {"retries": "7"})
        configuration = file.read()
        self.assertEqual((configuration.settings.retries, configuration.pools[0].backends[0].port), (7, 80))
        assert file.reading is not None
        self.assertIs(file.reading.configuration, configuration)

    def test_every_change_is_seen(self) -> None:
        """Of the file, of what it includes, and of what it would include."""
        file = ConfigurationFile(self.path, {})
        file.read()
        self.assertEqual(file.stamp(), file.read_as)
        for name, text in (
            ("conf.d/a.toml", "retries = 1\n"),
            ("conf.d/a.toml", "retries = 2\n"),
            ("lb.toml", 'include = ["conf.d/*.toml"]\nbackends = ["10.0.0.2:80"]\n'),
        ):
            self.write(name, text)
            self.assertNotEqual(file.stamp(), file.read_as, name)
            file.read()
            self.assertEqual(file.stamp(), file.read_as, name)

    def test_files_that_filters_are_made_of_are_seen_to_change(self) -> None:
        """Those of filters by name, and of a route's own; but not one that its filter looks after itself."""
        own = '[[routes]]\npool = "default"\nfilters = [{ type = "error-pages", statuses = "404", file = "own.html" }]\n'
        named = '[filters.a]\ntype = "error-pages"\nstatuses = "404"\nfile = "named.html"\n'
        users = '[filters.b]\ntype = "basic-auth"\nfile = "users"\n'
        self.write("lb.toml", f'backends = ["10.0.0.1:80"]\n{own}{named}{users}')
        file = ConfigurationFile(self.path, {})
        file.read()
        for name, seen in (("own.html", True), ("named.html", True), ("users", False), ("own.html", True)):
            self.write(name, name * file.read().settings.retries)
            self.assertEqual(file.stamp() != file.read_as, seen, name)

    def test_a_mistake_leaves_what_was_read(self) -> None:
        """And the file is seen to change again."""
        file = ConfigurationFile(self.path, {})
        before = file.read()
        self.write("lb.toml", "retires = 1\n")
        error = self.assertRaises(ConfigurationError, file.read)
        self.assertIn("did you mean retries?", str(error))
        assert file.reading is not None
        self.assertEqual((file.stamp(), file.reading.configuration), (file.read_as, before))
        self.write("lb.toml", 'backends = ["10.0.0.1:80"]\n')
        self.assertNotEqual(file.stamp(), file.read_as)
