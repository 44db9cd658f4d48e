"""The table of fonts of an RTF document: in which charset each writes, and which show other letters than they store.

What it is: ``Fonts``, filled while the table is read, asked while the text is.
Who calls it: ``documents.rtf_reader``.
Must never: keep more than the limits; take text away from the running text.
Sources: Rich Text Format specification 1.9.1, font table; ``text.legacy_fonts``.
"""

from __future__ import annotations

from gateway.documents import rtf_words as words
from gateway.documents.rtf_reading import Flow
from gateway.text import legacy_fonts

MOST = 5_000
_LONGEST = 100


class Fonts:
    """Fonts by their number."""

    def __init__(self) -> None:
        self._codecs: dict[int, str] = {}
        self._names: dict[int, str] = {}
        self.legacy: dict[int, str] = {}
        """Names of those that show Hindi for Latin letters."""
        self._current = -1
        self.default = -1

    def begin(self, number: int, codec: str) -> None:
        """What follows describes the font *number*, which writes in *codec* unless something else is said."""
        self._current = number
        if len(self._codecs) < MOST:
            self._codecs.setdefault(number, codec)

    def name(self, octets: bytes) -> None:
        """A piece of the name of the current font."""
        if self._current in self._codecs:
            name = (self._names.get(self._current, "") + octets.decode("latin-1"))[:_LONGEST]
            self._names[self._current] = name
            if legacy_fonts.is_legacy(name):
                self.legacy[self._current] = name.strip(" ;")

    def charset(self, number: int, ansi: str) -> None:
        """The current font's charset by its number; 0 is that of the document, *ansi*."""
        if self._current in self._codecs:
            self._codecs[self._current] = words.CHARSETS.get(number, ansi) if number else ansi

    def page(self, number: int) -> None:
        """The current font's code page."""
        if self._current in self._codecs and number in words.CODE_PAGES:
            self._codecs[self._current] = words.CODE_PAGES[number]

    def codec(self, number: int, ansi: str) -> str:
        """The codec of the font *number*."""
        return self._codecs.get(number, ansi)

    def show(self, flow: Flow, font: int, text: str) -> None:
        """Keeps *text* of *flow* apart where its font shows other letters. What stands between in other fonts ends a line there."""
        name = self.legacy.get(self.default if font < 0 else font)
        for other, pieces in flow.legacy.items():
            if other != name and pieces[-1] != "\n":
                pieces.append("\n")
        if name is not None:
            flow.legacy.setdefault(name, []).append(text)
