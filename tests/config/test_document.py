"""Documents: one file or several, what is where, and what cannot be read."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.config.document import Document, read_document
from lbproxy.config.text import FILE_LIMIT


class DocumentTests(SynchronousTestCase):
    """Files in a directory of their own."""

    def setUp(self) -> None:
        self.folder = os.path.realpath(self.mktemp())
        os.mkdir(self.folder)

    def write(self, name: str, text: str | bytes) -> str:
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
        return path

    def read(self, text: str | bytes, **variables: str) -> Document:
        return read_document(self.write("lb.toml", text), variables)

    def said(self, document: Document) -> list[str]:
        return [str(problem).replace(self.folder + "/", "") for problem in document.problems]

    def test_values_and_places(self) -> None:
        """What was written, where, and what it stands for."""
        document = self.read('a = "${A}"\n\n[pools.app]\nretries = 1\n', A="x")
        self.assertEqual(document.values, {"a": "x", "pools": {"app": {"retries": 1}}})
        self.assertEqual(document.written(("a",)), "${A}")
        self.assertEqual(str(document.place(("pools", "app", "retries"))), f"{self.folder}/lb.toml:4")
        self.assertEqual(str(document.place(("pools", "app", "policy"))), f"{self.folder}/lb.toml:3")
        self.assertIsNone(document.place(("b",)))
        self.assertTrue(document.says(("pools", "app")))
        self.assertFalse(document.says(("pools", "app", "retries", "x")))

    def test_included_files_are_put_together(self) -> None:
        """This file first, then the others by their names; pools, filters and routes of all."""
        self.write("conf.d/b.toml", '[[routes]]\nname = "b"\n[pools.b]\nretries = 2\n')
        self.write("conf.d/a.toml", '[[routes]]\nname = "a"\n\n[[routes]]\nname = "a2"\n[pools.own]\npolicy = "first"\n')
        self.write("conf.d/no.txt", "nonsense")
        document = self.read('include = ["conf.d/*.toml"]\n[[routes]]\nname = "own"\n[pools.own]\nretries = 1\n')
        self.assertEqual(self.said(document), [])
        self.assertEqual([route["name"] for route in document.values["routes"]], ["own", "a", "a2", "b"])
        self.assertEqual(document.values["pools"], {"own": {"retries": 1, "policy": "first"}, "b": {"retries": 2}})
        self.assertEqual(str(document.place(("routes", 2, "name"))), f"{self.folder}/conf.d/a.toml:5")
        self.assertEqual(str(document.place(("pools", "own", "policy"))), f"{self.folder}/conf.d/a.toml:7")
        watched = [os.path.relpath(one, self.folder) for one in sorted(document.files)]
        self.assertEqual(watched, ["conf.d", "conf.d/a.toml", "conf.d/b.toml", "lb.toml"])

    def test_what_is_said_twice_is_named_with_both_places(self) -> None:
        """At the top, and in a pool."""
        self.write("a.toml", "retries = 1\n[pools.x]\nretries = 2\n")
        document = self.read('include = "a.toml"\nretries = 1\n\n[pools.x]\nretries = 2\nqueue = 1\n')
        self.assertEqual(
            [line.replace(self.folder + "/", "") for line in self.said(document)],
            [
                "a.toml:1: retries: it was said already, in lb.toml:2; say it in one of the two",
                "a.toml:3: pools.x.retries: it was said already, in lb.toml:5; say it in one of the two",
            ],
        )

    def test_a_pattern_may_match_nothing_and_a_name_may_not(self) -> None:
        """Both are watched."""
        document = self.read('include = ["no/*.toml", "missing.toml"]\n')
        self.assertEqual(len(self.said(document)), 1)
        self.assertIn("lb.toml:1: include[1]: 'missing.toml' was given, and there is no file", self.said(document)[0])
        self.assertIn(f"{self.folder}/missing.toml", document.files)
        self.assertIn(f"{self.folder}/no", document.files)

    def test_each_file_once(self) -> None:
        """Patterns pass over what has been read, this file too; a circle of names is a mistake."""
        self.write("a.toml", 'include = "b.toml"\n')
        self.write("b.toml", "retries = 1\n")
        self.assertEqual(self.said(self.read('include = ["*.toml", "b.toml"]\n')), [])
        self.write("b.toml", 'include = "lb.toml"\n')
        said = self.said(self.read('include = ["a.toml"]\n'))
        self.assertEqual(len(said), 1)
        self.assertIn("b.toml:1: include: ", said[0])
        self.assertIn("includes it", said[0])

    def test_include_must_be_files(self) -> None:
        """And its variables must be set."""
        self.assertIn("lb.toml:2: include: 5 was given; allowed is a list of files", self.said(self.read("\ninclude = 5"))[0])
        self.assertIn("the variable A is not set", self.said(self.read('include = "${A}.toml"'))[0])

    def test_what_is_no_toml_is_told_with_its_line(self) -> None:
        """In each of the files."""
        self.write("a.toml", "a = 1\nb = [\n")
        document = self.read('include = "a.toml"\n')
        self.assertEqual(len(self.said(document)), 1)
        self.assertIn("a.toml:2: it is no TOML: ", self.said(document)[0])
        self.assertIn("lb.toml:3: it is no TOML: ", self.said(self.read("a = 1\n\nb == 2\n"))[0])
        self.assertIn("nested too deeply", self.said(self.read("a = " + "[" * 100000))[0])

    def test_what_cannot_be_read(self) -> None:
        """Missing, a directory, not in UTF-8, too large."""
        said = [str(read_document(path, {}).problems[0]) for path in (f"{self.folder}/no", self.folder, "a\0")]
        for line, why in zip(said, ("No such file or directory", "Is a directory", "null"), strict=True):
            self.assertIn(why, line)
        self.assertIn("lb.toml:2: it cannot be read: it is not in UTF-8", self.said(self.read(b"# \n\xff"))[0])
        self.assertIn("more than 4 MiB", self.said(self.read(b"#" * (FILE_LIMIT + 1)))[0])

    def test_variables_that_are_not_set(self) -> None:
        """They are named with their places, all of them."""
        self.assertEqual(
            [line.partition(" was given")[0] for line in self.said(self.read('a = ["x",\n"${B}"]\n[pools.x]\nb = "${C}"\n'))],
            ["lb.toml:2: a[1]: '${B}'", "lb.toml:4: pools.x.b: '${C}'"],
        )
