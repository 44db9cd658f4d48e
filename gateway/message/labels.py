"""Structured labels: read from header fields and document properties.

What it is: ``findings`` and ``property_findings`` turn labels into Findings, ``broken`` names the label fields that cannot be
read; ``label_edits`` (from its own module) writes ours. Rule M5 of the detector.
Who calls it: ``plain`` and ``content`` on header sections, ``content`` on document properties, ``policy`` for the edits.
Must never: keep only one of several values (the highest counts), read a foreign vocabulary as ours, or let a hint of a mail
program be certain.
Sources: RFC 7444, RFC 2634 section 3.2, RFC 2156 section 5.3.4 (Sensitivity), the protective marking header of the Australian
framework (2018.4), Microsoft's label metadata, STANAG 4774 (in SIO-Label as XML), RFC 6477 (MMHS fields; none of them is a
classification, two are free text that may name one).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from gateway.levels import Level
from gateway.message import label_products
from gateway.message.label_edits import label_edits
from gateway.message.label_fields import LabelError, binary, ess_level, pairs, parameters
from gateway.text.scheme import Scheme
from gateway.verdict import Confidence, Finding, Zone

__all__ = ["broken", "findings", "label_edits", "property_findings"]

_EVIDENCE = 200
_SUBJECT_SEC = re.compile(r"\[\s*SEC\s*=\s*([^\],\[]{1,80})", re.IGNORECASE)
_MSIP = re.compile(r"\s*MSIP_Label_([0-9A-Za-z-]{1,64})_([A-Za-z]{1,32})\s*=\s*(.*)", re.DOTALL)
_XML_CLASSIFICATION = re.compile(rb"<(?:[A-Za-z0-9_.-]{1,40}:)?Classification(?:\s[^<>]{0,400})?>\s*([^<>]{1,100}?)\s*</")
_Found = tuple[Level, str, bool, Confidence, str]
"""Level, language, verified, confidence and words of one label."""


def findings(headers: Sequence[tuple[str, str]], scheme: Scheme) -> tuple[Finding, ...]:
    """What the label fields among *headers* (name and unfolded value) say. Broken ones say nothing: see ``broken``."""
    result: list[Finding] = []
    for name, value in headers:
        small = name.lower()
        reader = _READERS.get(small) or _product(small, scheme)
        if reader is None or (reader is _subject and "=" not in value):
            continue
        try:
            found = list(reader(value, scheme))
        except LabelError:
            continue
        result.extend(_finding(item, f"header:{name}", Zone.LABEL) for item in found)
    return tuple(result)


def broken(headers: Sequence[tuple[str, str]], scheme: Scheme) -> tuple[str, ...]:
    """Each label field that does not follow its grammar, or stands there more than once, as one plain clause."""
    reasons: list[str] = []
    seen: set[str] = set()
    for name, value in headers:
        small = name.lower()
        reader = _READERS.get(small)
        if reader is None:
            continue  # fields of other products have no grammar that a sender could be held to
        if small in _AT_MOST_ONCE and small in seen:
            reasons.append(f"{name}: stands there more than once")
        seen.add(small)
        try:
            for _ in reader(value, scheme):
                pass
        except LabelError as error:
            reasons.append(f"{name}: {error}")
    return tuple(dict.fromkeys(reasons))


def property_findings(properties: Mapping[str, str], path: str, scheme: Scheme) -> tuple[Finding, ...]:
    """What the document properties *properties* of the leaf *path* say: Microsoft labels and named classification fields."""
    result: list[Finding] = []
    microsoft = {key: value for key, value in properties.items() if key.lower().startswith("msip_label_")}
    if microsoft:
        try:
            found = list(_microsoft(";".join(f"{key}={value.replace(';', ' ')}" for key, value in microsoft.items()), scheme))
        except LabelError:
            found = []
        result.extend(_finding(item, path, Zone.PROPERTY) for item in found)
    for key, value in properties.items():
        if scheme.is_classification_property(key):
            result.extend(_finding(item, path, Zone.PROPERTY) for item in _words(value, scheme))
        elif key.lower().endswith(_ENDING):
            result.extend(_finding(item, path, Zone.PROPERTY) for item in _exact(value, scheme))
        elif key.lower().startswith("titus"):
            result.extend(_finding(item, path, Zone.PROPERTY) for item in _titus(value, scheme))
    if any(label_products.is_label_xml(key) for key in properties):
        for words in label_products.boldon_james(properties):
            result.extend(_finding(item, path, Zone.PROPERTY) for item in _exact(words, scheme))
    return tuple(result)


def _product(name: str, scheme: Scheme) -> Callable[[str, Scheme], Iterator[_Found]] | None:
    """How a header field of a labelling product is read, by its name in small letters; None for any other field.

    Organisations name such fields themselves: those that the scheme lists are labels, others that are only named so are a hint.
    """
    if name in scheme.label_headers:
        return _words
    if name.startswith("x-titus"):
        return _titus
    if name in _INSTRUCTIONS:
        return _instruction
    if name.endswith(_ENDING) and not name.endswith("declassification") and name.startswith("x-"):
        return _exact
    return None


def _finding(found: _Found, path: str, zone: Zone) -> Finding:
    level, language, verified, confidence, words = found
    text = words[:_EVIDENCE]
    return Finding(level, path, zone, text, language, confidence, "label", verified=verified, length=len(text))


def _words(value: str, scheme: Scheme) -> Iterator[_Found]:
    """The level that a label's display words name; a term among other words is only probable."""
    named = scheme.named(value)
    if named is not None:
        sure = named.exact and named.verified
        yield named.level, named.language, named.verified, Confidence.CERTAIN if sure else Confidence.PROBABLE, value.strip()


def _exact(value: str, scheme: Scheme) -> Iterator[_Found]:
    """The level that a value names when it is only that: a field whose meaning is known by its name alone, so probable."""
    named = scheme.named(value)
    if named is not None and named.exact:
        yield named.level, named.language, named.verified, Confidence.PROBABLE, value.strip()


def _titus(value: str, scheme: Scheme) -> Iterator[_Found]:
    """The properties in TITUS metadata; a property that is named for a classification is a label, any other a hint."""
    for name, words in label_products.titus(value):
        if scheme.is_classification_property(name) or name.lower().endswith(_ENDING):
            yield from _words(words, scheme)
        else:
            yield from _exact(words, scheme)


def _instruction(value: str, scheme: Scheme) -> Iterator[_Found]:
    """Handling and message instructions of military mail: free text, in which a level may stand alone."""
    for line in value.split(";")[:20]:
        yield from _exact(line, scheme)


def _sio(value: str, scheme: Scheme) -> Iterator[_Found]:
    """SIO-Label: the marking and the binary label, each for itself, so that a disagreement shows."""
    fields = parameters(value)
    if not fields.keys() & {"marking", "label"}:
        raise LabelError("neither marking nor label")
    if "label" in fields:
        kind = fields.get("type", "").lower()
        if kind in (":ess", ":x411"):
            level = ess_level(fields["label"])
            if level is not None:
                yield level, "", True, Confidence.CERTAIN, f"{kind} {level.text}"
        elif kind == ":xml" or "4774" in kind:
            for match in _XML_CLASSIFICATION.finditer(binary(fields["label"])):
                yield from _words(match[1].decode("utf-8", "replace"), scheme)
        elif not kind:
            raise LabelError("a label without its type")
    if "marking" in fields:
        yield from _words(fields["marking"], scheme)


def _protective(value: str, scheme: Scheme) -> Iterator[_Found]:
    """X-Protective-Marking: every SEC value counts, since readers differ on which of several they keep."""
    items = pairs(value)
    values = [text for key, text in items if key == "SEC"]
    if not values:
        raise LabelError("no SEC value")
    for text in values:
        yield from _words(text, scheme)


def _microsoft(value: str, scheme: Scheme) -> Iterator[_Found]:
    """msip_labels: the Name of each label that is enabled, as the scheme maps it."""
    labels: dict[str, dict[str, str]] = {}
    for item in value.split(";"):
        if not item.strip():
            continue
        match = _MSIP.match(item)
        if match is None:
            raise LabelError("an item that is not MSIP_Label_<id>_<key>=<value>")
        labels.setdefault(match[1].lower(), {})[match[2].lower()] = match[3].strip()
    if not labels:
        raise LabelError("no label in it")
    for identifier, fields in labels.items():
        if fields.get("enabled", "true").lower() not in ("false", "0"):
            yield from _words(fields.get("name", ""), scheme)
            level = scheme.label_level(identifier)
            if level is not None:
                yield level, "", True, Confidence.CERTAIN, identifier


def _sensitivity(value: str, scheme: Scheme) -> Iterator[_Found]:
    """Sensitivity: a hint of the mail program."""
    level = scheme.sensitivity_of(value)
    if level is not None:
        yield level, "", True, scheme.sensitivity_confidence, value.strip()


def _subject(value: str, scheme: Scheme) -> Iterator[_Found]:
    """``[SEC=…]`` in a subject, every one of them."""
    if "=" in value:
        for match in _SUBJECT_SEC.finditer(value):
            yield from _words(match[1], scheme)


_READERS: Mapping[str, Callable[[str, Scheme], Iterator[_Found]]] = {
    "sio-label": _sio,
    "x-protective-marking": _protective,
    "msip_labels": _microsoft,
    "sensitivity": _sensitivity,
    "subject": _subject,
}
_INSTRUCTIONS = frozenset(("mmhs-handling-instructions", "mmhs-message-instructions"))
_ENDING = ("classification", "protective-marking", "protectivemarking", "security-label")
_AT_MOST_ONCE = frozenset(("sio-label", "x-protective-marking", "msip_labels"))
