"""Changes to text on request: Unicode forms and line ends. Without one, text stays as it is."""

# pyright: strict

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from seedbed.data.documents import Document

UnicodeForm = Literal["nfc", "nfkc"]
_FORMS: dict[UnicodeForm, Literal["NFC", "NFKC"]] = {"nfc": "NFC", "nfkc": "NFKC"}


@dataclass
class Normaliser:
    r"""Rewrites documents, and counts those that it changed.

    `unicode`: nfc composes letters and marks; nfkc also makes ligatures, wide letters and the like
    plain. `newlines`: line ends of Windows (CR LF) and of old Macs (CR) become LF.

    >>> normaliser = Normaliser("nfc", newlines=True)
    >>> documents = [Document(text, "a.txt", 1) for text in ("cafe\u0301\r\nnoir", "the\nsame")]
    >>> [document.text for document in normaliser.each(documents)]
    ['café\nnoir', 'the\nsame']
    >>> normaliser.changed
    1
    """

    unicode: UnicodeForm | None = None
    newlines: bool = False
    changed: int = 0

    def each(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents, normalised and stripped of outer white space again."""
        for document in documents:
            text = self._normalised(document.text)
            if text != document.text:
                self.changed += 1
                document = Document(text.strip(), document.source, document.line)
            yield document

    def _normalised(self, text: str) -> str:
        if self.newlines:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return unicodedata.normalize(_FORMS[self.unicode], text) if self.unicode else text
