"""Promises of the filter basic-auth."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IFilter
from lbproxy.routing.filters.basic_auth import BasicAuth, CheckerAuth
from lbproxy.testing import FilterConformance, StubPassage

from ...support import split, status, values
from .filtered import FilteredRig, context
from .test_htpasswd import SHA, hashed


def basic(name: str = "ann", password: str = "open sesame") -> str:
    """The value of Authorization."""
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


def asking(value: str | None = None, **fields: str) -> StubPassage:
    """A request with that Authorization."""
    return StubPassage(fields=fields if value is None else {"Authorization": value, **fields})


@implementer(ICredentialsChecker)
class Slow:
    """A checker that answers when the test says so."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Deferred[Any]]] = []

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        checking: Deferred[Any] = Deferred()
        self.asked.append((credentials, checking))
        return checking


class BasicAuthConformance(FilterConformance, SynchronousTestCase):
    """It is a filter, whether it lets on, refuses or is still asked."""

    def make_filter(self, context: Any) -> Any:
        return CheckerAuth(checker=Slow(), user_field="X-Remote-User").make(context)

    def make_passage(self, number: int) -> StubPassage:
        return asking(basic(f"user {number}") if number % 4 else None)


class BasicAuthTests(SynchronousTestCase):
    """On values."""

    def setUp(self) -> None:
        self.context, self.counted = context()
        self.slow = Slow()

    def make(self, **options: Any) -> Any:
        return CheckerAuth(**{"checker": self.slow, **options}).make(self.context)

    def in_memory(self, **options: Any) -> Any:
        return self.make(checker=InMemoryUsernamePasswordDatabaseDontUse(ann=b"open sesame"), **options)

    def said(self, live: Any, passage: StubPassage) -> Any:
        """What is said at once, or has been said meanwhile."""
        verdict = live.request(passage)
        return self.successResultOf(verdict) if isinstance(verdict, Deferred) else verdict

    def test_it_provides_the_interface(self) -> None:
        """As a filter of anybody's."""
        verifyObject(IFilter, self.make())

    def test_right_and_wrong(self) -> None:
        """By any checker of cred's."""
        live = self.in_memory()
        self.assertIsNone(self.said(live, asking(basic())))
        for name, password in (("ann", "shut"), ("bob", "open sesame"), ("", "")):
            self.assertEqual(self.said(live, asking(basic(name, password))).status, 401)
        self.assertEqual(self.counted, {"checked": 4, "unauthorized": 3})

    def test_what_cannot_be_right_is_not_looked_at(self) -> None:
        """No name, another scheme, no base64, no colon, control characters, too much, or two of them."""
        live = self.make()
        for value in (
            None, "", "Basic", "Basic !", "Bearer abc", "Basic " + b64encode(b"ann").decode(), basic("ann", "a\r\nX: y"),
            basic("a\x00b"), basic("x" * 2000),
        ):  # fmt: skip
            self.assertEqual(self.said(live, asking(value)).end, "unauthorized", value)
        two = asking(basic())
        two.request.fields += b"authorization: " + basic().encode() + b"\r\n"
        self.assertEqual(self.said(live, two).status, 401)
        self.assertEqual((self.slow.asked, self.counted), ([], {}))

    def test_a_failing_checker_lets_nobody_in(self) -> None:
        """Its failure is the passage's to answer."""
        live = self.make()
        verdict = live.request(asking(basic()))
        self.slow.asked[0][1].errback(RuntimeError("no database"))
        self.failureResultOf(verdict, RuntimeError)
        live.request(asking(basic()))
        self.assertEqual(len(self.slow.asked), 2)

    # What goes on.

    def test_the_password_goes_no_further(self) -> None:
        """Unless it is to."""
        passage = asking(basic(), Other="1")
        self.said(self.in_memory(), passage)
        self.assertEqual((passage.told("Authorization"), passage.told("Other")), ([], ["1"]))
        self.said(self.in_memory(remove=False), passage := asking(basic()))
        self.assertEqual(passage.told("Authorization"), [basic()])

    def test_the_backend_is_told_the_name(self) -> None:
        """By us alone, however a client spells the field."""
        live = self.in_memory(user_field="X-Remote-User")
        for _ in range(2):  # the second is remembered
            passage = asking(basic(), **{"X-Remote-User": "root", "x_remote-USER": "root", "X-Other": "1"})
            self.assertIsNone(self.said(live, passage))
            self.assertEqual((passage.told("X-Remote-User"), passage.told("x_remote-user")), (["ann"], []))
            self.assertEqual(passage.told("X-Other"), ["1"])

    def test_a_name_that_a_checker_gives_cannot_break_a_line(self) -> None:
        """What the client said stands instead, and where there is no name as well."""
        for number, avatar in enumerate((b"x\r\nX-Admin: yes", (), b"", "Jörg")):
            live, passage = self.make(user_field="X-User"), asking(basic())
            verdict = live.request(passage)
            self.slow.asked[number][1].callback(avatar)
            self.assertIsNone(self.successResultOf(verdict))
            self.assertEqual(passage.told("X-User"), ["JÃ¶rg" if avatar == "Jörg" else "ann"])

    # What it costs.

    def test_what_was_right_is_remembered(self) -> None:
        """For a while; what was wrong is not."""
        live = self.make(remember=10)
        for seconds, checks in ((0, 1), (9.9, 1), (0.2, 2)):
            self.context.reactor.advance(seconds)
            verdict = live.request(asking(basic()))
            self.assertEqual(len(self.slow.asked), checks)
            if verdict is not None:
                self.slow.asked[-1][1].callback(b"ann")
        for _ in range(2):
            verdict = live.request(asking(basic("ann", "shut")))
            self.slow.asked[-1][1].errback(UnauthorizedLogin())
        self.assertEqual(len(self.slow.asked), 4)

    def test_nothing_is_remembered(self) -> None:
        """Where nothing is to be."""
        live = self.make(remember=0)
        for checks in (1, 2):
            live.request(asking(basic()))
            self.assertEqual(len(self.slow.asked), checks)
            self.slow.asked[-1][1].callback(b"ann")

    def test_no_password_is_kept(self) -> None:
        """Nor anything that another process would know it by."""
        one, other = self.in_memory(), self.in_memory()
        marks = set()
        for live in (one, other):
            self.said(live, asking(basic()))
            marks.update(live._remembered._known)
        self.assertEqual(len(marks), 2)
        self.assertNotIn("sesame", repr([vars(live._remembered) for live in (one, other)]))

    def test_memory_is_bounded(self) -> None:
        """The oldest are forgotten."""
        live = self.make()
        remembered = live._remembered
        marks = [remembered.mark(0, b"%d" % number, b"x") for number in range(10_010)]
        for mark in marks:
            remembered.add(mark, b"ann")
        self.assertEqual([remembered.find(mark) for mark in (marks[9], marks[10])], [None, b"ann"])

    def test_names_and_passwords_do_not_run_together(self) -> None:
        """Where one ends and the other begins is part of what is remembered."""
        remembered = self.make()._remembered
        self.assertNotEqual(remembered.mark(0, b"ab", b"c"), remembered.mark(0, b"a", b"bc"))

    def test_those_who_ask_the_same_at_once_wait_for_the_same(self) -> None:
        """One hash for all; that one of them leaves harms nobody."""
        live = self.make()
        verdicts = [live.request(asking(basic())) for _ in range(5)]
        self.assertEqual(len(self.slow.asked), 1)
        verdicts[0].cancel()
        self.slow.asked[0][1].callback(b"ann")
        self.failureResultOf(verdicts[0], CancelledError)
        self.assertEqual([self.successResultOf(verdict) for verdict in verdicts[1:]], [None] * 4)
        self.assertEqual(self.counted, {"checked": 1})

    def test_checks_are_bounded(self) -> None:
        """Further ones are told to come back; those that are known, or looked at already, are not held up."""
        live = self.make(checks=2)
        live.request(asking(basic()))
        self.slow.asked[0][1].callback(b"ann")
        waiting = [live.request(asking(basic("bob", str(number)))) for number in range(3)]
        self.assertEqual((waiting[2].status, waiting[2].retry_after), (503, 1))
        self.assertIsNone(live.request(asking(basic())))
        self.assertIsInstance(live.request(asking(basic("bob", "0"))), Deferred)
        self.assertEqual(self.counted, {"checked": 3, "overloaded": 1})
        self.slow.asked[1][1].callback(b"bob")
        self.assertIsInstance(live.request(asking(basic("bob", "2"))), Deferred)

    # Mistakes.

    def test_mistakes(self) -> None:
        """Each names the key, what was given and what is allowed."""
        for options, said in (
            ({"checker": None}, "checker: None was given"),
            ({"checker": 1}, "checker: 1 was given; allowed is an ICredentialsChecker of IUsernamePassword"),
            ({"realm": 'a"b'}, "realm: 'a\"b' was given"),
            ({"user_field": "Host"}, "user-field: 'Host' was given; allowed is a header field's name that has no other meaning"),
            ({"user_field": "X_Forwarded_For"}, "user-field: 'X_Forwarded_For' was given"),
            ({"user_field": "Authorization"}, "user-field: 'Authorization' was given"),
            ({"remove": "yes"}, "remove: 'yes' was given"),
            ({"remember": -1}, "remember: -1 was given; allowed is a number from 0 to 86400 (seconds)"),
            ({"checks": 0}, "checks: 0 was given"),
        ):
            error = self.assertRaises(ConfigurationError, CheckerAuth, **{"checker": self.slow, **options})
            self.assertIn(said, str(error))
        self.assertIn("file: '' was given", str(self.assertRaises(ConfigurationError, BasicAuth, file="")))
        self.assertRaises(ConfigurationError, BasicAuth(file="/no/such/file").make, self.context)

    def test_values_are_comparable(self) -> None:
        """As a reload needs it."""
        self.assertEqual(BasicAuth(file="a"), BasicAuth(file="a"))
        self.assertNotEqual(BasicAuth(file="a"), BasicAuth(file="b"))


class BalancerTests(SynchronousTestCase):
    """Through a whole balancer, with a file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_text(f"ann:{hashed()}\nbob:{SHA}\n")
        self.rig = FilteredRig(BasicAuth(file=str(self.path), realm="the shop", user_field="X-Remote-User"))

    def get(self, *fields: str) -> bytes:
        lines = "".join(f"{field}\r\n" for field in ("Host: a", *fields))
        return f"GET / HTTP/1.1\r\n{lines}\r\n".encode()

    def test_nobody_is_asked_for_a_name(self) -> None:
        """And no backend hears of it."""
        answer = self.rig.begin(self.get()).received()
        self.assertEqual(status(answer), 401)
        self.assertEqual(values(answer, b"WWW-Authenticate"), [b'Basic realm="the shop", charset="UTF-8"'])
        self.assertEqual((self.rig.ended[-1].end, self.rig.connects), ("unauthorized", []))

    def test_a_wrong_password(self) -> None:
        """As none."""
        client = self.rig.begin(self.get(f"Authorization: {basic('ann', 'shut')}"))
        self.assertEqual(client.received(), b"")
        self.rig.threads.run()
        self.assertEqual(status(client.received()), 401)

    def test_a_right_one(self) -> None:
        """The backend hears of the name; the second time no thread is needed."""
        data = self.get(f"authorization: {basic().replace('Basic', 'BASIC')}", "X-Remote-User: root")
        client = self.rig.begin(data)
        self.rig.threads.run()
        asked, answer = self.rig.answered(client)
        self.assertEqual((values(asked, b"X-Remote-User"), values(asked, b"Authorization")), ([b"ann"], []))
        self.assertEqual(status(answer), 200)
        self.rig.begin(data)
        self.assertEqual(self.rig.threads.waiting, [])
        self.assertEqual(self.rig.counts, {"checked": 1})

    def test_who_is_taken_out_of_the_file_is_out_within_a_second(self) -> None:
        """Although he was remembered."""
        data = self.get(f"Authorization: {basic('bob')}")
        client = self.rig.begin(data)
        self.rig.threads.run()
        self.rig.answered(client)
        self.path.write_text(f"ann:{hashed()}\n")
        self.rig.wait(1)
        client = self.rig.begin(data)
        self.rig.threads.run()
        self.assertEqual(status(client.received()), 401)

    def test_a_client_that_leaves_meanwhile(self) -> None:
        """Nothing more happens, and nothing is in the log."""
        client = self.rig.begin(self.get(f"Authorization: {basic()}"))
        client.reset()
        self.rig.threads.run()
        self.assertEqual((self.rig.ended[-1].end, self.rig.connects), ("client-left", []))

    def test_a_body_waits(self) -> None:
        """It is read when its sender is known, and goes on whole."""
        body = b"x" * 1000
        data = self.get(f"Authorization: {basic()}", "Content-Length: 1000") + body
        client = self.rig.begin(data)
        self.rig.threads.run()
        asked, _ = self.rig.answered(client)
        self.assertEqual(split(asked)[2], body)
