"""Style sheets of a page: the words that they show, and whose text they hide.

What it is: ``plain`` (a sheet without comments and escapes), ``words`` (its strings, joined as they are shown) and ``hidden`` (classes,
identifiers and elements whose text nobody sees).
Who calls it: ``documents.html``.
Must never: fetch a sheet; take text away: what is hidden is read as well.
Sources: CSS Syntax Module Level 3 section 4.3.7 (escapes); CSS Generated Content Module Level 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.S)
_ESCAPE = re.compile(r"\\(?:([0-9A-Fa-f]{1,6})\s?|\r?\n|(.))", re.S)
_SHEET = re.compile(r"<style\b[^>]{0,2000}>([^<]{1,200000})", re.I)
_DECLARATION = re.compile(r"[^;{}]+")
_STRING = re.compile(r"\"([^\"]{0,2000})\"|'([^']{0,2000})'")
_NAME = re.compile(r"(?:^|(?<=[\s>+~]))([.#]?-?[A-Za-z_][\w-]{0,100})$")


def plain(sheet: str) -> str:
    """*sheet* without comments and escapes."""
    if "\\" not in sheet and "/*" not in sheet:
        return sheet
    return _ESCAPE.sub(_character, _COMMENT.sub("", sheet))


def _character(match: re.Match[str]) -> str:
    if match[1]:
        number = int(match[1], 16)
        return chr(number) if number < 0x110000 else "\ufffd"
    return match[2] or ""


def words(sheet: str) -> Iterator[str]:
    """The strings of each declaration of the plain *sheet*, joined."""
    if '"' not in sheet and "'" not in sheet:
        return
    for match in _DECLARATION.finditer(sheet):
        text = "".join(one or other for one, other in _STRING.findall(match[0]))
        if text.strip():
            yield text


def hidden(page: str, hiding: re.Pattern[str]) -> frozenset[str]:
    """What the sheets of *page* hide: ``.class``, ``#identifier`` and names of elements; *hiding*: declarations that do so."""
    found: set[str] = set()
    if "<style" not in page.lower():
        return frozenset()
    for sheet in _SHEET.findall(page):
        for rule in plain(sheet).split("}"):
            before, _, declarations = rule.rpartition("{")
            if before and hiding.search(declarations):
                for selector in before.rpartition("{")[2].split(","):
                    if match := _NAME.search(selector.strip()):
                        found.add(match[1].lower())
    return frozenset(found - {"body", "html", "head"})
