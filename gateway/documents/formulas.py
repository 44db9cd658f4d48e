"""Formulas and formats of spreadsheets as text: what they do, and which words they show that stand nowhere in one piece.

What it is: ``active``, which names what the formulas of a CSV, TSV or SYLK file do, by ``base.ACTIVE``; ``put_together``, the words that a
formula joins; ``cells``, these for the formulas of a text; ``shown_for_numbers``, the words that a format of numbers shows.
Who calls it: ``documents.text_plain`` for attached text; the readers of workbooks.
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
_LITERAL = re.compile(r"\"((?:[^\"]|\"\"){0,2000})\"|\b(?:UNI)?CHAR\(\s*(\d{1,7})\s*\)", re.I)
_JOINS = re.compile(r"&|CHAR\s*\(|CONCAT|JOIN|REPT|SUBSTITUTE|REPLACE", re.I)
_CALCULATED = re.compile(r"(?:^|[,;\t])[ ]{0,3}(\"=(?:[^\"\r\n]|\"\"){1,4000}\"|=[^\r\n]{1,4000})", re.M)
_ESCAPED = re.compile(r"\\(.)|[_*].|\[[^\]]{0,100}\]|\"")
_MOST_FORMULAS = 20_000
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


def put_together(formula: str) -> str:
    """The words that *formula* joins, for a program that reckons it anew; empty where it joins none."""
    if not _JOINS.search(formula):
        return ""
    words = []
    for match in _LITERAL.finditer(formula):
        number = int(match[2]) if match[2] else 0
        words.append(chr(number) if 0 < number < 0xD800 else (match[1] or "").replace('""', '"'))
    return "".join(words)


def cells(text: str) -> str:
    """A line for each formula in the table *text* that joins words."""
    if "=" not in text or not _JOINS.search(text):
        return ""
    lines: dict[str, None] = {}
    for count, match in enumerate(_CALCULATED.finditer(text)):
        formula = match[1]
        if formula[0] == '"':
            formula = formula[1:-1].replace('""', '"')
        lines[put_together(formula)] = None
        if count >= _MOST_FORMULAS:
            break
    return "\n".join(filter(None, lines))


def shown_for_numbers(code: str) -> tuple[str, ...]:
    """The words that the format of numbers *code* shows, for each of its parts."""
    parts = (_ESCAPED.sub(lambda match: match[1] or "", part).replace("\n", " ") for part in code.split(";"))
    return tuple(part for part in parts if part.strip())
