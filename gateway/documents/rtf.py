"""RTF documents: text by its zone, what is hidden, properties, and everything that is packed into them.

What it is: the extractor of RTF, also of the bodies of Outlook messages that are RTF, and of the HTML inside of them.
Who calls it: ``content.walk`` through the table.
Must never: fetch a template or a linked file; call a document read whose groups do not close or that something else follows.
Sources: Rich Text Format specification 1.9.1; MS-OXRTFEX; docs/inspection.md, RTF; hostile-inputs catalogue D06.
"""

from __future__ import annotations

import re

from gateway.documents import rtf_objects, rtf_reader, rtf_words
from gateway.documents.rtf_reading import Blob, Reading, joined
from gateway.extraction.base import Budget, Child, Found, Piece, join_reasons
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_SUFFIX = {"pngblip": "png", "jpegblip": "jpg", "emfblip": "emf", "wmetafile": "wmf", "pmmetafile": "wmf", "dibitmap": "bmp"}
_OUTSIDE = re.compile(r"://|\\\\[^\\]|^//", re.M)
_HYPERLINK = re.compile(r'HYPERLINK\s+(?:\\[a-z]\s+)*"([^"]{1,4000})"', re.I)
_WATERMARK = frozenset(("gtextunicode", "gtext"))
_PROGRAM = re.compile(r"package|equation|ole2link|htmlfile|shell|script|forms\.|mscomctl|word\.macro", re.I)
_NAMES = {"doccomm": "comments"}


def extract(piece: Piece, budget: Budget) -> Found:
    """All text with its zones; objects, pictures and the page within as children."""
    reading = rtf_reader.read(piece.data, budget)
    segments = _segments(reading)
    children: list[Child] = []
    active: dict[str, None] = {}
    reasons = list(reading.problems)
    links = list(reading.links)
    for number, blob in enumerate(reading.blobs, 1):
        budget.check_time()
        if blob.data:
            _blob(number, blob, children, active, reasons, links, budget)
    for instruction in reading.fields:
        _field(instruction, active, links)
    for template in reading.templates:
        if _OUTSIDE.search(template):
            active["external"] = None
            links.append(template)
    if reading.objects & {"objlink", "objautlink", "objupdate", "objsub"}:
        active["external"] = None
    if "objocx" in reading.objects:
        active["program"] = None
    for octets in reading.binaries:
        budget.spend_entries()
        budget.spend_bytes(len(octets))
        children.append(Child("binary", octets))
    if (tail := reading.tail.strip(b"\x00\r\n\t ")) and tail.strip(b"}"):
        budget.spend_bytes(len(tail))
        children.append(Child("behind-the-end", tail))
    if reading.html:
        children.append(Child("page.html", reading.html.encode("utf-8", "replace"), "text/html", "utf-8", piece.is_attachment))
    properties = {_NAMES.get(name, name): value for name, value in reading.properties.items()}
    reason = join_reasons(*reasons)
    return Found(
        tuple(segments),
        tuple(children),
        LeafState.SUSPECT if reason else LeafState.INSPECTED,
        reason,
        properties=properties,
        media_type="text/rtf",
        links=tuple(links),
        active=tuple(active),
    )


def _segments(reading: Reading) -> list[Segment]:
    """The running text first; where something is hidden, what is seen and then everything."""
    segments: list[Segment] = []
    for flow in reading.flows:
        if flow.hides and (seen := flow.visible()).strip():
            segments.append(Segment(seen.strip("\n"), flow.zone))
        if (text := flow.text()).strip():
            segments.append(Segment(text.strip("\n"), flow.zone))
        if flow.uncut is not None:
            segments.append(Segment(joined(flow.uncut).strip("\n"), flow.zone))
        for font, pieces in flow.legacy.items():
            if (text := joined(pieces)).strip():
                segments.append(Segment(text.strip("\n"), flow.zone, font=font))
    for name, value in reading.shapes:
        zone = Zone.WATERMARK if name.lower() in _WATERMARK else Zone.PROPERTY
        segments.append(Segment(value, zone))
    segments += [Segment(f"{name}: {value}", Zone.PROPERTY) for name, value in reading.properties.items()]
    segments += [Segment(text, Zone.PROPERTY) for text in (*reading.fields, *reading.templates) if text]
    return segments


def _blob(
    number: int,
    blob: Blob,
    children: list[Child],
    active: dict[str, None],
    reasons: list[str],
    links: list[str],
    budget: Budget,
) -> None:
    """One stretch of packed octets, as children."""
    data = bytes(blob.data)
    if blob.name == "objdata":
        found = rtf_objects.embedded(data, budget)
        children.extend(found.children)
        if found.linked:
            active["external"] = None
            links.append(found.topic)
        if _PROGRAM.search(found.name):
            active["program"] = None
        if blob.odd:
            reasons.append("an embedded object that is written in a disguised way")
        return
    if blob.name == "datastore":
        children.extend(rtf_objects.stores(data, budget))
        return
    budget.spend_entries()
    budget.spend_bytes(len(data))
    if blob.name == "pict":
        if blob.kind == "dibitmap":
            data = rtf_objects.bitmap(data)
        children.append(Child(f"picture-{number}.{_SUFFIX.get(blob.kind, 'bin')}", data))
    else:
        children.append(Child(blob.name, data))


def _field(instruction: str, active: dict[str, None], links: list[str]) -> None:
    """What the instruction of a field does when the document is opened or its fields are updated."""
    words = instruction.replace("\\*", " ").split()
    name = words[0].upper() if words else ""
    if name in ("DDE", "DDEAUTO"):
        active["dde"] = None
    elif name in rtf_words.LOADING:
        active["external"] = None
    elif name == "MACROBUTTON":
        active["macro"] = None
    elif "DDEAUTO" in instruction.upper():
        active["dde"] = None
    links.extend(match[1] for match in _HYPERLINK.finditer(instruction))
