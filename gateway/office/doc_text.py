"""Text of a Word document as people see it, and its field codes apart.

What it is: ``tell``, from the characters of a story to segments, links and active content; ``plain``, its characters alone.
Who calls it: ``office.doc``.
Must never: drop text because its marks do not match.
Sources: MS-DOC 2.4.1 and 2.8.25 (characters with a meaning, fields); hostile-inputs catalogue D02, D11.
"""

from __future__ import annotations

import re

from gateway.documents import field_codes
from gateway.office.ole_parts import Parts
from gateway.text.markings import Segment
from gateway.verdict import Zone

_FIELD = re.compile("[\x13\x14\x15]")
_PLAIN = str.maketrans({
    "\r": "\n", "\x07": "\n", "\x0b": "\n", "\x0c": "\n", "\x0e": "\n", "\x1e": "-", "\x1f": "\u00ad", "\xa0": " ",
    **dict.fromkeys("\x00\x01\x02\x03\x04\x05\x06\x08\x0f\x10\x11\x12\x16\x17\x18\x19\x1a\x1b\x1c\x1d", None),
})  # fmt: skip
_TARGET = re.compile(
    r"(?:HYPERLINK|INCLUDE\w{1,20}+|LINK|IMPORT)\s[^\"\n]{0,200}+\"([^\"\n]{1,2000}+)\"|\b((?:https?|ftp|file)://[^\s\"\x00-\x1f]{1,2000})"
)
_DDE = re.compile(r"(?i)^\s*DDE(?:AUTO)?\b")
_LOADED = re.compile(r"(?i)^\s*(?:INCLUDETEXT|INCLUDEPICTURE|INCLUDE|IMPORT|LINK|DATABASE)\b")
_FROM_FAR = re.compile(r"(?i)\b(?:https?|ftp|file)://|\\\\")
_BUTTON = re.compile(r"(?i)^\s*MACROBUTTON\b")
_MOST_NESTED = 50


def tell(story: str, zone: Zone, parts: Parts) -> None:
    """Adds the visible text of *story* in *zone*, and its field codes as a property."""
    visible, codes = _fields(story)
    text = visible.translate(_PLAIN)
    if text.strip():
        parts.segments.append(Segment(text, zone))
    for code in codes:
        if _DDE.match(code):
            parts.active["dde"] = None
        elif _LOADED.match(code) and _FROM_FAR.search(code):
            parts.active["external"] = None
        elif _BUTTON.match(code):
            parts.active["macro"] = None
    if codes:
        note_targets("\n".join(code.translate(_PLAIN) for code in codes), parts)


_ENDS = re.compile("\n{2,}")


def plain(story: str) -> str:
    """*story* without the characters that are marks, codes of fields included; without empty lines."""
    return _ENDS.sub("\n", story.translate(_PLAIN))


def note_targets(text: str, parts: Parts) -> None:
    """Adds *text* as a property, and the targets of links in it."""
    if text.strip():
        parts.segments.append(Segment(text, Zone.PROPERTY))
        parts.links.extend(match[1] or match[2] for match in _TARGET.finditer(text))


def _fields(story: str) -> tuple[str, list[str]]:
    """Visible text, and the codes of all fields. Fields may stand within fields."""
    visible: list[str] = []
    codes: list[str] = []
    open_codes: list[list[str]] = []
    in_code: list[bool] = []
    at = 0
    for match in _FIELD.finditer(story):
        _put(story[at : match.start()], visible, open_codes, in_code)
        at = match.end()
        if match[0] == "\x13":
            if len(in_code) < _MOST_NESTED:
                in_code.append(True)
                open_codes.append([])
        elif in_code and match[0] == "\x14":
            in_code[-1] = False
        elif in_code:
            in_code.pop()
            codes.append("".join(open_codes.pop()))
            _put(field_codes.shown(codes[-1]), visible, open_codes, in_code)
    _put(story[at:], visible, open_codes, in_code)
    codes += ["".join(code) for code in open_codes]
    if in_code:  # a field without an end hides nothing
        return _FIELD.sub("\n", story), codes
    return "".join(visible), codes


def _put(text: str, visible: list[str], open_codes: list[list[str]], in_code: list[bool]) -> None:
    for code, inside in zip(open_codes, in_code, strict=True):
        if inside:
            code.append(text)
    if not any(in_code):
        visible.append(text)
