"""RTF, octet by octet: which text stands in which destination, and which octets are packed into it.

What it is: ``read``, our own tokenizer with a stack of groups; it gives a ``Reading`` and knows nothing of what that means.
Who calls it: ``documents.rtf``.
Must never: recurse; drop text because it does not know the destination; believe a length without looking at what is there.
Sources: Rich Text Format specification 1.9.1; MS-OXRTFEX (HTML in RTF); docs/inspection.md, RTF; hostile-inputs catalogue D06.
"""

from __future__ import annotations

import re

from gateway.documents import field_codes
from gateway.documents import rtf_words as words
from gateway.documents.rtf_fonts import Fonts
from gateway.documents.rtf_reading import Blob, Flow, Group, Reading, joined, whole_number
from gateway.extraction.base import Budget
from gateway.verdict import Zone

DEEPEST = 1000
"""Nested groups; those beyond are read as if they were not grouped, and the document is told to be odd."""
MOST_FLOWS = 20_000

_TOKEN = re.compile(
    rb"([^\\{}\r\n\x00]++)|((?:\\'[0-9A-Fa-f]{2})++)|\\([A-Za-z]++)(-?[0-9]++)?+ ?|([{}])|\\([^A-Za-z])|[\r\n\x00]++|\\", re.S
)
_HEX = b"0123456789abcdefABCDEF"
_TEXT, _BLOB, _FONTS, _SILENT = range(4)


def read(data: bytes, budget: Budget) -> Reading:
    """Everything in the RTF document *data*. Linear; raises OverLimit only."""
    reader = _Reader(data, budget)
    reader.run()
    return reader.reading


class _Reader:
    """One pass over one document."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        self._data = data
        self._budget = budget
        self.reading = Reading()
        self._main = self._flow("rtf", Zone.BODY)
        self._aside = self._flow("", Zone.BODY)
        self._group = Group(self._main)
        self._stack: list[Group] = []
        self._extra = 0
        self._ansi = "cp1252"
        self._fonts = Fonts()
        self._skip = 0
        self._octets: list[bytes] = []
        self._is_html = False
        self._html: list[str] = []
        self._shape = ""
        self._property = ""

    def _flow(self, name: str, zone: Zone) -> Flow:
        flow = Flow(name, zone)
        if len(self.reading.flows) < MOST_FLOWS:
            self.reading.flows.append(flow)
        else:
            self.reading.problems["it has more parts of text than the limit"] = None
            flow = self._aside
        return flow

    def run(self) -> None:
        at = 0
        while at >= 0:
            at = self._run(at)
        self._flush()
        if self._stack:
            self.reading.problems["an RTF document that is cut off"] = None
            while self._stack:
                self._close()
        if self._is_html:
            self.reading.html = joined(self._html)

    def _run(self, start: int) -> int:
        """Reads from *start* on; returns where to go on, -1 at the end."""
        for count, match in enumerate(_TOKEN.finditer(self._data, start), 1):
            if not count % 8192:
                self._budget.check_time()
            kind = match.lastindex
            if kind == 1:
                self._raw(match[1])
            elif kind == 2:
                if self._group.role == _BLOB and self._group.blob is not None:
                    self._group.blob.odd = True
                self._raw(bytes.fromhex(match[2].replace(b"\\'", b"").decode("ascii")))
            elif kind in (3, 4):
                word = match[3].decode("ascii")
                number = whole_number(match[4]) if match[4] else None
                if word == "bin" and number is not None and number > 0:
                    self._binary(self._data[match.end() : match.end() + number])
                    return match.end() + number
                self._word(word, number)
            elif kind == 5:
                if match[5] == b"{":
                    self._open()
                elif not self._stack:
                    self.reading.problems["an RTF document with a closing brace too many"] = None
                else:
                    self._close()
                    if not self._stack:
                        self.reading.tail = self._data[match.end() :]
                        return -1
            elif kind == 6:
                self._symbol(match[6].decode("latin-1"))
        return -1

    # groups

    def _open(self) -> None:
        self._skip = 0
        if len(self._stack) >= DEEPEST:
            self._extra += 1
            self.reading.problems["over a limit: it is nested deeper than the limit"] = None
            return
        if self._group.blob is not None and self._group.blob.name == "objdata":
            self._group.blob.odd = True
        self._stack.append(self._group)
        self._group = self._group.inner()

    def _close(self) -> None:
        self._flush()
        self._skip = 0
        if self._extra:
            self._extra -= 1
            return
        group, outer = self._group, self._stack.pop()
        self._group = outer
        if group.blob is not None and group.blob is not outer.blob:
            group.blob.close()
        if group.name:
            self._ended(group)
        elif outer.name == "docvar":
            outer.flow.all.append("\n")

    def _ended(self, group: Group) -> None:
        """A destination is complete: what its text means."""
        name, reading = group.name, self.reading
        if group.flow is self._aside or group.flow is self._main:
            return
        text = group.flow.text().strip()
        if name in words.PROPERTIES:
            self._keep(name, text)
        elif name == "propname":
            self._property = text
        elif name in ("staticval", "linkval"):
            self._keep(self._property, text)
        elif name == "fldinst":
            reading.fields.append(text)
            if self._group.role == _TEXT and (shown := field_codes.shown(text)):
                self._emit(shown)
        elif name == "template":
            reading.templates.append(text)
        elif name == "sn":
            self._shape = text
        elif name == "sv" and text:
            reading.shapes.append((self._shape, text))
        elif name in ("hlsrc", "hlfr") and text:
            reading.links.append(text)

    def _keep(self, name: str, text: str) -> None:
        """A property; a second one of the same name counts too."""
        if text:
            properties = self.reading.properties
            properties[name if name not in properties else f"{name} {len(properties)}"] = text

    # text

    def _raw(self, octets: bytes) -> None:
        """Octets of text as they stand, or digits of a blob."""
        group = self._group
        if group.role == _BLOB and group.blob is not None:
            if octets.strip(_HEX + b" \t") and octets.translate(None, _HEX + b" \t"):
                group.blob.odd = True
                self._aside.all.append("\n" + octets.decode("latin-1"))
            group.blob.hex.append(octets)
            return
        if self._skip:
            skipped, octets = octets[: self._skip], octets[self._skip :]
            self._skip -= len(skipped)
            if skipped.strip(b"?"):
                # Who knows no \\u shows these instead, and programs count differently how many are to be left out.
                text = skipped.decode("latin-1")
                self._aside.all.append(text)
                if group.role == _TEXT and any(character.isalpha() and character.isascii() for character in text):
                    self._flush()
                    group.flow.leave_in(text)
        if octets and group.role == _TEXT:
            self._octets.append(octets)
        elif octets and group.role == _FONTS:
            self._fonts.name(octets)

    def _flush(self) -> None:
        """Decodes the octets that were collected: they may be halves of characters."""
        if not self._octets:
            return
        octets = b"".join(self._octets)
        self._octets.clear()
        try:
            text = octets.decode(self._group.codec)
        except (UnicodeDecodeError, LookupError):
            try:
                text = octets.decode(self._ansi)
            except (UnicodeDecodeError, LookupError):
                text = octets.decode("latin-1")
        self._emit(text)

    def _emit(self, text: str) -> None:
        group = self._group
        flow = group.flow
        flow.all.append(text)
        if flow.uncut is not None:
            flow.uncut.append(text)
        if group.hidden:
            flow.hides = True
        else:
            flow.seen.append(text)
        if self._fonts.legacy:
            self._fonts.show(flow, group.font, text)
        if self._is_html and (group.html_tag or (not group.html_rtf and flow is self._main)):
            self._html.append("\r\n" if text == "\n" else text)

    def _character(self, text: str) -> None:
        if self._skip:
            self._skip -= 1
            return
        if self._group.role == _TEXT:
            self._flush()
            self._emit(text)

    def _binary(self, octets: bytes) -> None:
        group = self._group
        if group.role == _BLOB and group.blob is not None:
            group.blob.close()
            group.blob.data += octets
        elif octets:
            self.reading.binaries.append(octets)

    # control words

    def _symbol(self, symbol: str) -> None:
        if symbol == "*":
            self._group.starred = True
        elif symbol in words.SYMBOLS:
            self._character(words.SYMBOLS[symbol])
        elif self._skip:
            self._skip -= 1

    def _word(self, word: str, number: int | None) -> None:
        group = self._group
        if word in _HANDLERS:
            _HANDLERS[word](self, number)
        elif word == "u":
            self._unicode(number or 0)
        elif word in words.BREAKS:
            self._character(words.BREAKS[word])
        elif group.starred or word in _DESTINATIONS:
            self._destination(word)
        elif word in words.PICTURES:
            if group.blob is not None:
                group.blob.kind = word
        elif word.startswith("obj"):
            self.reading.objects.add(word)
        elif group.role == _BLOB and group.blob is not None and group.blob.name == "objdata":
            group.blob.odd = True

    def _destination(self, word: str) -> None:
        """The group becomes the destination *word*."""
        self._flush()
        group = self._group
        group.starred = False
        if word in words.TRANSPARENT:
            return
        group.name = word
        if word == "htmltag":
            group.html_tag, group.flow = True, self._aside
        elif word == "fonttbl":
            group.role = _FONTS
        elif word in words.SILENT:
            group.role = _SILENT
        elif word in words.BLOBS:
            group.role, group.blob = _BLOB, Blob(word)
            self.reading.blobs.append(group.blob)
        elif word == "ud":
            group.role, group.flow = _TEXT, group.home
        elif word == "upr":
            group.home, group.flow = group.flow, self._aside
        elif word in words.FLOWS:
            inside = group.flow.zone if word == "shptxt" and group.flow.zone in _PAGE else words.FLOWS[word]
            group.role, group.flow = _TEXT, self._flow(word, inside)
        elif word in _KEPT:
            group.role, group.flow = _TEXT, Flow(word, Zone.PROPERTY)
        elif group.role not in (_FONTS, _SILENT):
            group.role, group.flow = _TEXT, self._aside
            self._aside.all.append("\n")

    def _unicode(self, number: int) -> None:
        if self._skip:
            self._skip -= 1
            return
        if self._group.role == _TEXT:
            self._flush()
            self._emit(chr(number & 0xFFFF))
        self._skip = self._group.uc

    def _default_font(self, number: int | None) -> None:
        self._fonts.default = number or 0

    def _font_word(self, number: int | None) -> None:
        if self._group.role == _FONTS:
            self._fonts.begin(number or 0, self._ansi)
        else:
            self._turn(number or 0)
            self._use(self._fonts.codec(number or 0, self._ansi))

    def _turn(self, font: int) -> None:
        """From here on the text stands in *font*; -1 for that of the document."""
        if self._fonts.legacy and font != self._group.font:
            self._flush()
        self._group.font = font

    def _use(self, codec: str) -> None:
        if codec != self._group.codec:
            self._flush()
            self._group.codec = codec

    def _font_charset(self, number: int | None) -> None:
        if self._group.role == _FONTS:
            self._fonts.charset(number or 0, self._ansi)

    def _font_page(self, number: int | None) -> None:
        if self._group.role == _FONTS:
            self._fonts.page(number or 0)

    def _set_ansi(self, codec: str) -> None:
        self._ansi = codec
        for group in (*self._stack, self._group):
            group.codec = codec

    def _plain(self, number: int | None) -> None:
        self._hide(0)
        self._turn(-1)
        self._use(self._ansi)

    def _hide(self, number: int | None) -> None:
        hidden = number != 0
        if hidden != self._group.hidden:
            self._flush()
            self._group.hidden = hidden

    def _uc(self, number: int | None) -> None:
        self._group.uc = min(max(number or 0, 0), 64) if number is not None else 1

    def _from_html(self, number: int | None) -> None:
        self._is_html = self._is_html or number != 0

    def _html_rtf(self, number: int | None) -> None:
        self._flush()
        self._group.html_rtf = number != 0


_PAGE = (Zone.PAGE_HEADER, Zone.PAGE_FOOTER)
_KEPT = frozenset((
    *words.PROPERTIES, "propname", "staticval", "linkval", "fldinst", "template", "sn", "sv", "hlsrc", "hlfr",
))  # fmt: skip
"""Destinations whose text has a meaning of its own."""

_DESTINATIONS = frozenset((
    *words.FLOWS, *words.ALONE, *words.TRANSPARENT, *words.BLOBS, *words.SILENT, "fldinst", "fonttbl", "ud",
))  # fmt: skip

_HANDLERS = {
    "f": _Reader._font_word,
    "deff": _Reader._default_font,
    "fcharset": _Reader._font_charset,
    "cpg": _Reader._font_page,
    "ansicpg": lambda reader, number: reader._set_ansi(words.CODE_PAGES.get(number or 0, "cp1252")),
    "mac": lambda reader, _: reader._set_ansi("mac-roman"),
    "pc": lambda reader, _: reader._set_ansi("cp437"),
    "pca": lambda reader, _: reader._set_ansi("cp850"),
    "plain": _Reader._plain,
    "v": _Reader._hide,
    "deleted": _Reader._hide,
    "webhidden": _Reader._hide,
    "uc": _Reader._uc,
    "fromhtml": _Reader._from_html,
    "htmlrtf": _Reader._html_rtf,
}
