"""Formulas in tables that are text: CSV, TSV, SYLK. A spreadsheet program runs them when it opens the file.

What it is: ``active``, which names what they do by ``base.ACTIVE``.
Who calls it: ``documents.text_plain`` for attached text.
Must never: evaluate a formula; cost more than linear time.
Sources: OWASP, CSV injection; SYLK as written by Multiplan and Excel; hostile-inputs catalogue D11.
"""

from __future__ import annotations

import re

# What a formula calls, and what it is then. A cell is looked at only where one of these stands in it.
_CALLS = re.compile(
    r"(?P<dde>\bDDE(?:AUTO)?\s{0,5}\(|(?<=[\w'\"])\||(?<= )\|(?='))|"
    r"(?P<external>\b(?:HYPERLINK|WEBSERVICE|IMPORT(?:XML|DATA|HTML|FEED|RANGE)|IMAGE|RTD)\s{0,5}\()|"
    r"(?P<macro>\b(?:EXEC|CALL|REGISTER|RUN|FOPEN)\s{0,5}\()",
    re.I,
)
_FORMULA = re.compile(r"(?:^|[,;\t]|;E)[ \"']{0,3}[=+\-@]|;E")
_ITEM = re.compile(r"[^\r\n!]{0,300}!")
_CELL = 200
"""Characters before a call that may belong to its formula."""
_MOST = 2000
"""Calls that are looked at."""
_SYLK = re.compile(r"\AID;P", re.I)
_SYLK_MACRO = re.compile(r"^(?:O;|NN;)[^\r\n]{0,200}(?:;E\b|auto_?open)", re.M | re.I)


def active(text: str) -> tuple[str, ...]:
    """The kinds of active content that the formulas of the table *text* are."""
    found: dict[str, None] = {}
    if "|" in text or "(" in text:
        for count, match in enumerate(_CALLS.finditer(text)):
            kind = match.lastgroup or ""
            if kind not in found and _in_formula(text, match.start()) and (match[0] != "|" or _ITEM.match(text, match.end())):
                found[kind] = None
            if count >= _MOST or len(found) == len(_CALLS.groupindex):
                break
    if _SYLK.match(text) and _SYLK_MACRO.search(text):
        found["macro"] = None
    return tuple(found)


def _in_formula(text: str, at: int) -> bool:
    """Whether the cell that holds the place *at* begins with a sign that makes it a formula."""
    before = text[max(0, at - _CELL) : at]
    line = before.rpartition("\n")[2]
    return _FORMULA.search(line) is not None
