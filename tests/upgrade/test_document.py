"""What is handed on comes out as it went in."""

from __future__ import annotations

import json
import os
from typing import Any

import attrs
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import LBProxyError
from lbproxy.upgrade.document import FORMAT, Document, document_file, read_document
from lbproxy.upgrade.successor import numbered
from lbproxy.upgrade.word import Word

from ..support import given

_SOCKETS = st.dictionaries(st.text(), st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 40))))
_CALLS = st.lists(st.tuples(st.text(), st.text(), st.dictionaries(st.text(), st.text() | st.booleans())).map(list))
_DOCUMENTS = st.builds(
    Document, program=st.text(), sockets=_SOCKETS, random_key=st.binary().map(bytes.hex), said=st.text(), calls=_CALLS,
    files=st.dictionaries(st.text(), st.text() | st.lists(st.text())),
)


class DocumentTests(SynchronousTestCase):
    """The document."""

    @given(_DOCUMENTS)
    def test_round_trip(self, document: Document) -> None:
        """Through a file in memory, whatever is in it."""
        self.assertEqual(read_document(document_file(document)), document)

    def test_the_file_is_closed(self) -> None:
        """No descriptor is left over from program to program."""
        fd = document_file(Document(program="1", sockets={}, random_key="", said="", calls=[]))
        read_document(fd)
        self.assertRaises(OSError, os.fstat, fd)

    def test_files_are_known_before_all_else(self) -> None:
        """While options are parsed; the document is read as a whole after that."""
        document = Document(program="1", sockets={}, random_key="", said="", calls=[], files={"/key.pem": "QQ=="})
        fd, link = document_file(document), os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, link)
        self.assertEqual(Word(link, fd).files(), {"/key.pem": "QQ=="})
        self.assertEqual(read_document(fd), document)
        self.assertEqual(Word(link, fd).files(), {})

    def test_another_program(self) -> None:
        """What a later one adds is left out; a document that is written in another way is refused, and so is what is none."""
        document = Document(program="9", sockets={"tcp:80": [(5, 2)]}, random_key="00", said="", calls=[])
        values: dict[str, Any] = {"version": FORMAT, **attrs.asdict(document)}
        self.assertEqual(Document.of(json.dumps({**values, "more": 1})), document)
        self.assertEqual(Document.of(json.dumps({name: one for name, one in values.items() if name != "files"})), document)
        spoilt: list[Any] = [{**values, **one} for one in ({"version": 2}, {"sockets": 3}, {"random_key": "x"})]
        for other in (*spoilt, {"version": FORMAT}, []):
            self.assertRaises(LBProxyError, Document.of, json.dumps(other))
        self.assertRaises(LBProxyError, Document.of, "not JSON")

    @given(_SOCKETS)
    def test_numbers(self, sockets: Any) -> None:
        """Each socket has a number of its own in the new program, beside the link and the document, and keeps its family."""
        theirs, ours = numbered(sockets)
        self.assertEqual(list(ours), list(range(5, 5 + len(ours))))
        back = {place: [(ours[number], family) for number, family in found] for place, found in theirs.items()}
        self.assertEqual(back, sockets)
