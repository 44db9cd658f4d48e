"""All strings and embedded files of a PDF, wherever they hang.

What it is: ``read``, one pass over every object of the file, also those that no page points to.
Who calls it: the PDF reader.
Must never: follow references (they may form loops); execute; open an embedded file itself.
Sources: ISO 32000-2 sections 7.11.4 (embedded files), 12.5 (annotations), 12.7 (forms), 14.3 (metadata).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pikepdf

from gateway.content.base import Budget, Child, OverLimit, Unreadable
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_OBJECTS = 300_000
_DEPTH = 50
_SILENT = frozenset(
    "/ID /O /U /OE /UE /Perms /Cert /CharSet /Panose /Registry /Ordering /CreationDate /ModDate /M /DA /Lang /CheckSum /NM".split()  # noqa: SIM905
)
"""Keys whose strings are no words."""
_RUNNING = frozenset(("/Metadata", "/XFA", "/JS", "/RC", "/RV"))
"""Keys whose streams are text: metadata, XFA forms, scripts, rich text."""
_SPEAKS = re.compile(rb"\(|<[0-9a-fA-F]|/(?:EF|JS|JavaScript|Launch|Metadata|EmbeddedFile|XFA|RC|RV|ByteRange)\b")
_ACTIVE = {"/JavaScript": "JavaScript", "/JS": "JavaScript", "/Launch": "a command to start a program"}
_TAGS = re.compile(r"<[^>]{0,2000}>")


@dataclass(frozen=True, slots=True)
class Objects:
    """Strings as segments, embedded files as children, and document properties by name."""

    segments: tuple[Segment, ...]
    children: tuple[Child, ...]
    properties: Mapping[str, str]
    note: str = ""
    """What a reviewer should know: active content."""


class _Pass:
    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.strings: list[str] = []
        self.files: list[tuple[str, pikepdf.Object]] = []
        self.spoken: list[pikepdf.Object] = []
        self.active: set[str] = set()

    def walk(self, value: pikepdf.Object, key: str, depth: int) -> None:
        """Direct values only; indirect ones come by themselves in the pass over all objects."""
        if depth > _DEPTH:
            raise OverLimit("its objects are nested deeper than the limit")
        if isinstance(value, pikepdf.Dictionary | pikepdf.Stream):
            self._dictionary(value, depth)
        elif isinstance(value, pikepdf.Array):
            for item in _items(value):
                self.walk(item, key, depth + 1)
        elif isinstance(value, pikepdf.String) and key not in _SILENT:
            text = str(value)
            if len(text) > 2:
                self.strings.append(_TAGS.sub("\n", text) if "<" in text else text)

    def _dictionary(self, value: pikepdf.Object, depth: int) -> None:
        signature = value.get("/Type") == "/Sig" or "/ByteRange" in value
        for name, item in value.items():
            if name in _ACTIVE or (name == "/S" and isinstance(item, pikepdf.Name) and str(item) in _ACTIVE):
                self.active.add(_ACTIVE.get(name) or _ACTIVE[str(item)])
            if signature and name == "/Contents":
                continue
            if name in _RUNNING:
                self.spoken.extend(_streams(item))
            if name == "/EF" and isinstance(item, pikepdf.Dictionary):
                label = str(value.get("/UF", value.get("/F", "embedded")))
                self.files.extend((label, file) for file in item.values() if isinstance(file, pikepdf.Stream))
            if item.is_indirect if isinstance(item, pikepdf.Object) else False:
                continue
            self.walk(item, name, depth + 1)


def _items(array: pikepdf.Object) -> Iterator[pikepdf.Object]:
    for item in array:
        if isinstance(item, pikepdf.Object) and not item.is_indirect:
            yield item


def read(pdf: pikepdf.Pdf, budget: Budget) -> Objects:
    """Everything that is not page content. Raises OverLimit for too many or too deep objects."""
    state = _Pass(budget)
    objects = pdf.objects  # each look at the property makes the list anew
    if len(objects) > _OBJECTS:
        raise OverLimit("it holds more objects than the limit")
    loose: list[tuple[str, pikepdf.Object]] = []
    for number, item in enumerate(objects):
        if number % 1000 == 0:
            budget.check_time()
        if not isinstance(item, pikepdf.Object):
            continue
        is_stream = isinstance(item, pikepdf.Stream)
        # Most objects (pages, fonts, pictures) hold no string and no key of ours: one look at them as text is enough.
        if not _SPEAKS.search((item.stream_dict if is_stream else item).unparse(resolved=True)):
            continue
        if is_stream and item.get("/Type") == "/EmbeddedFile":
            loose.append(("embedded", item))
        elif is_stream and item.get("/Type") == "/Metadata":
            state.spoken.append(item)
        state.walk(item, "", 0)
    segments = [Segment("\n".join(state.strings), Zone.BODY)] if state.strings else []
    for stream in {item.objgen: item for item in state.spoken}.values():
        segments += [Segment(text, Zone.PROPERTY)] if (text := _text_of(stream, budget)) else []
    children = _files(state.files + loose, budget)
    properties = _properties(pdf)
    segments += [Segment(value, Zone.PROPERTY) for value in properties.values()]
    note = "it holds " + " and ".join(sorted(state.active)) if state.active else ""
    return Objects(tuple(segments), children, properties, note)


def _streams(value: pikepdf.Object) -> Iterator[pikepdf.Object]:
    """The streams that a key of ``_RUNNING`` names: one, or several in an array."""
    if isinstance(value, pikepdf.Stream):
        yield value
    elif isinstance(value, pikepdf.Array):
        yield from (part for part in value if isinstance(part, pikepdf.Stream))


def _text_of(stream: pikepdf.Object, budget: Budget) -> str:
    data = _octets(stream, budget)
    text = data.decode("utf-16", "replace") if data[:2] in (b"\xfe\xff", b"\xff\xfe") else data.decode("utf-8", "replace")
    return _TAGS.sub("\n", text).strip()


def _octets(stream: pikepdf.Object, budget: Budget) -> bytes:
    try:
        packed = len(stream.read_raw_bytes())
        data = stream.read_bytes()
    except (pikepdf.PdfError, pikepdf.DataDecodingError) as error:
        raise Unreadable("a PDF with a damaged part") from error
    if len(data) > budget.room(packed):
        raise OverLimit("an embedded stream unpacks to more than the limit")
    budget.spend_bytes(len(data))
    return data


def _files(files: list[tuple[str, pikepdf.Object]], budget: Budget) -> tuple[Child, ...]:
    children: list[Child] = []
    seen: set[tuple[int, int]] = set()
    for name, stream in files:
        if stream.objgen in seen:
            continue
        seen.add(stream.objgen)
        budget.spend_entries()
        try:
            children.append(Child(name, _octets(stream, budget)))
        except OverLimit:
            raise
        except Unreadable:
            children.append(Child(name, state=LeafState.SUSPECT, reason="an embedded file that could not be unpacked"))
    return tuple(children)


def _properties(pdf: pikepdf.Pdf) -> dict[str, str]:
    """The document information dictionary, custom names included."""
    out: dict[str, str] = {}
    info = pdf.trailer.get("/Info")
    if isinstance(info, pikepdf.Dictionary):
        for name, value in info.items():
            if isinstance(value, pikepdf.String):
                out[name.removeprefix("/")] = str(value)
    return out
