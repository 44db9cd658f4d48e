"""Metadata that labelling products write: TITUS, Boldon James, and the label identifiers of Microsoft.

What it is: ``titus``, ``boldon_james`` and ``microsoft``; each turns one product's data into the words that may name a level.
Who calls it: ``labels`` on header fields and document properties.
Must never: raise for broken data (a product's own metadata that is broken is no reason to hold mail: it says nothing), know the names
of an organisation's labels (they are data in the scheme), or read more than a fixed amount.
Sources: metadata as the products write it into mail and documents in public: TITUS as base64 of JSON with "props" of "n" and "vals"
(header fields X-TITUS-Metadata-*, element TitusMetadata); Boldon James as XML in the namespace
http://www.boldonjames.com/2008/01/sie/internal/label (properties bjDocumentLabelXML, bjDocumentLabelXML-0 …); Microsoft's label
metadata. The names of single fields are each organisation's own choice.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping

LONGEST = 60_000
"""Characters of one product's metadata that are read."""
_MOST = 100
_TITUS_XML = re.compile(r"<(?:\w{1,20}:)?(?:value|Value)>([^<>]{1,200})</")
_ELEMENT = re.compile(r"<element\b([^<>]{0,1000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"\b(uid|value)\s*=\s*[\"']([^\"']{0,300})[\"']", re.IGNORECASE)
_PART = re.compile(r"bj(?:document|email|mail)?labelxml(?:-(\d{1,3}))?", re.IGNORECASE)
_IDENTIFIER = re.compile(r"id_(?:classification|newpolicy|protectivemarking|marking)_", re.IGNORECASE)


def titus(value: str) -> Iterator[tuple[str, str]]:
    """Name and value of each property in a TITUS metadata string: base64 of JSON or XML, or one of these as it is."""
    text = "".join(value[:LONGEST].split())
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        plain = value[:LONGEST]
    try:
        data = json.loads(plain)
    except (ValueError, RecursionError):
        for number, match in enumerate(_TITUS_XML.finditer(plain)):
            if number < _MOST:
                yield "", match[1]
        return
    if not isinstance(data, dict):
        return
    inner = data.get("Metadata", data)
    rows = inner.get("props", ()) if isinstance(inner, dict) else ()
    if not isinstance(rows, list):
        return
    for row in rows[:_MOST]:
        if not isinstance(row, dict):
            continue
        values = row.get("vals", ())
        for one in values[:_MOST] if isinstance(values, list) else ():
            found = one.get("value") if isinstance(one, dict) else one
            if isinstance(found, str):
                yield str(row.get("n", "")), found


def boldon_james(properties: Mapping[str, str]) -> Iterator[str]:
    """The identifiers and values of the label elements in the numbered pieces of a Boldon James label."""
    pieces = []
    for name, value in properties.items():
        match = _PART.fullmatch(name.strip())
        if match is not None:
            pieces.append((int(match[1]) if match[1] else -1, value))
    xml = "".join(value for _, value in sorted(pieces))[:LONGEST]
    for number, element in enumerate(_ELEMENT.finditer(xml)):
        if number >= _MOST:
            return
        for _, text in _ATTRIBUTE.findall(element[1]):
            if text:
                # An identifier is often made from the name of the label: id_classification_restricted.
                yield _IDENTIFIER.sub("", text).replace("_", " ")


def is_label_xml(name: str) -> bool:
    """Whether a document property of that name is a piece of a Boldon James label."""
    return _PART.fullmatch(name.strip()) is not None
