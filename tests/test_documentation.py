"""What can be said, in a file or on the command line, stands in the documentation; what stands there as a file can be read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import attrs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import BACKEND_OPTIONS
from lbproxy.config.fields import field_keys
from lbproxy.config.keys import POOL_KEYS, ROUTE_KEYS, TOP_KEYS, default_of
from lbproxy.config.reading import read_configuration
from lbproxy.option_help import GROUPS
from lbproxy.routing.filters import FILTERS
from lbproxy.routing.model import FixedAnswer, Mirror, Redirect, Split, StaticFiles

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
README = "README.rst"
REFERENCE = "docs/configuration.rst"


def text_of(path: str) -> str:
    """A document."""
    with open(os.path.join(HOME, path), encoding="utf-8") as file:
        return file.read()


def section(text: str, title: str) -> str:
    """What stands below a title, up to the next one of its kind."""
    found = re.search(rf"^{re.escape(title)}\n(?P<line>([-~=])\2*)\n", text, re.MULTILINE)
    assert found is not None, f"there is no section {title!r}"
    mark = found["line"][0]
    higher = "-~"[: "-~".index(mark) + 1]
    end = re.compile(rf"^[^\n]+\n[{higher}]{{3,}}$", re.MULTILINE).search(text, found.end())
    return text[found.end() : len(text) if end is None else end.start()]


def rows(text: str) -> dict[str, str]:
    """The rows of tables whose first column is a key, or several: by key, what stands behind it, in one line."""
    found: dict[str, str] = {}
    keys: list[str] = []
    borders = 0
    for line in text.splitlines():
        borders += line.startswith("===")
        if borders % 3 != 2:
            keys = []
        elif line.startswith("``"):
            first, rest = re.split(r"(?<=``)\s+", line, maxsplit=1) if re.search(r"``\s", line) else (line, "")
            keys = re.findall(r"``([^`]+)``", first)
            found.update(dict.fromkeys(keys, rest))
        else:
            for key in keys:
                found[key] += f" {line.strip()}"
    return found


def toml_blocks(text: str) -> Iterator[str]:
    """The blocks that are marked as TOML."""
    for found in re.finditer(r"^\.\. code-block:: toml\n\n((?:(?: {4}[^\n]*)?\n)+)", text, re.MULTILINE):
        yield re.sub(r"^ {4}", "", found[1], flags=re.MULTILINE)


class ReferenceTests(SynchronousTestCase):
    """The reference of configuration files has each key, and no other."""

    def setUp(self) -> None:
        self.text = text_of(REFERENCE)

    def test_keys_of_the_whole(self) -> None:
        """The table of the top has all keys that no pool has; pools have a table of their own."""
        told = {re.sub(r"[\[\].]|NAME", "", key) for key in rows(section(self.text, "What is said of the whole"))}
        self.assertEqual(told, set(TOP_KEYS - POOL_KEYS))

    def test_keys_of_pools(self) -> None:
        """The table of pools has all that can be said of one, and tells of all options that backends have."""
        pools = section(self.text, "Pools")
        self.assertEqual(set(rows(pools)), set(POOL_KEYS))
        self.assertEqual([option for option in BACKEND_OPTIONS if f"``{option}``" not in pools], [])

    def test_defaults_of_numbers(self) -> None:
        """What is a number or a truth value by default is told as that."""
        told = {**rows(section(self.text, "What is said of the whole")), **rows(section(self.text, "Pools"))}
        for key, rest in told.items():
            default = default_of(key) if key in TOP_KEYS and key != "include" else None
            if isinstance(default, bool):
                self.assertRegex(rest, rf"\b{str(default).lower()}\b", key)
            elif isinstance(default, (int, float)):
                sizes = [f"{default:g}", str(default), f"{default / 1024:g}k"]
                self.assertRegex(rest, rf"\b({'|'.join(map(re.escape, sizes))})\b", key)

    def test_keys_of_routes(self) -> None:
        """The tables of routes have all that can be said of one, and of each target's own keys."""
        told = set(rows(section(self.text, "Routes")))
        self.assertEqual(told, set(ROUTE_KEYS))
        where = section(self.text, "Where it leads")
        for kind in (Split, Redirect, FixedAnswer, StaticFiles, Mirror):
            missing = [key for key in field_keys(kind) if not re.search(rf"\b{key} = ", where)]
            self.assertEqual(missing, [], kind.__name__)

    def test_filters(self) -> None:
        """Each type of filter has a section, whose table has its keys."""
        types = re.findall(r"^([a-z-]+)\n~+$", section(self.text, "Filters"), re.MULTILINE)
        self.assertEqual(types, sorted(FILTERS))
        for name, kind in FILTERS.items():
            self.assertEqual(set(rows(section(self.text, name))), set(field_keys(kind)), name)

    def test_defaults_of_filters(self) -> None:
        """Defaults that are numbers or truth values are told, and what has none must be given."""
        for name, kind in FILTERS.items():
            for key, rest in rows(section(self.text, name)).items():
                default = field_keys(kind)[key].attribute.default
                if default is attrs.NOTHING:
                    self.assertIn("must be given", rest, f"{name}.{key}")
                elif isinstance(default, bool):
                    self.assertRegex(rest, rf"\b{str(default).lower()}\b", f"{name}.{key}")
                elif isinstance(default, (int, float)):
                    self.assertRegex(rest, rf"\b{default:.16g}\b", f"{name}.{key}")


class OptionTests(SynchronousTestCase):
    """The README's tables have each option, and no other."""

    def test_options(self) -> None:
        """All that ``--help`` tells of."""
        told = {found for key in rows(section(text_of(README), "Options")) for found in re.findall(r"^--([a-z-]+)", key)}
        known = {option for options in GROUPS.values() for option in options} - {"help"}
        self.assertEqual(told, known)


class ExampleTests(SynchronousTestCase):
    """Whoever copies an example has something that works."""

    def test_toml(self) -> None:
        """Each block that is a file is read without a mistake, and nothing in it is left unused."""
        for document in (README, REFERENCE):
            blocks = list(toml_blocks(text_of(document)))
            self.assertTrue(blocks, document)
            for number, block in enumerate(blocks):
                path = f"{self.mktemp()}-{number}.toml"
                with open(path, "w", encoding="utf-8") as file:
                    file.write(block)
                self.assertEqual(read_configuration(path).warnings, (), block)

    def test_packaging(self) -> None:
        """Documents and examples are part of what is handed on."""
        manifest = text_of("MANIFEST.in").split("\n")
        self.assertIn("graft docs", manifest)
        self.assertIn("graft examples", manifest)
