"""All strings and embedded files of a PDF, wherever they hang.

What it is: ``read``, one pass over every object of the file, also those that no page points to.
Who calls it: the PDF reader.
Must never: follow references (they may form loops); execute; open an embedded file itself.
Sources: ISO 32000-2 sections 7.11.4 (embedded files), 12.5 (annotations), 12.7 (forms), 14.3 (metadata).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pikepdf

from gateway.documents.pdf_content import Contents
from gateway.documents.pdf_strings import of_key, spelled
from gateway.extraction.base import Budget, Child, OverLimit, Unreadable
from gateway.text import legacy_fonts
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

MOST = 300_000
"""Objects of one file."""
_DEPTH = 50
_SILENT = frozenset(
    "/ID /O /U /OE /UE /Perms /Cert /CharSet /Panose /Registry /Ordering /CreationDate /ModDate /M /DA /Lang /CheckSum /NM".split()  # noqa: SIM905
)
"""Keys whose strings are no words."""
_RUNNING = frozenset(("/Metadata", "/XFA", "/JS", "/RC", "/RV", "/V", "/DV"))
"""Keys whose streams are text: metadata, XFA forms, scripts, rich text, long values of fields."""
_SPEAKS = re.compile(
    rb"\(|<[0-9a-fA-F]|/(?:EF|JS|JavaScript|Launch|Metadata|EmbeddedFile|XFA|RC|RV|ByteRange|AP|CharProcs|PatternType 1|Luminosity|Alpha"
    rb"|ActualText|GoToR|GoToE|SubmitForm|ImportData|Rendition|RichMedia|3D|Movie|Screen|MK"
    rb"|D?V \d+ \d+ R|Type /Template|Subtype /Ink)\b"
)
_BASE_FONT = re.compile(rb"/(?:BaseFont|FontName|FontFamily) ?[/(]([^\s/<>\[\]()]{1,127})")
_MEDIA = re.compile(rb"/Type /(?:Sound|3D)\b|/Subtype /(?:U3D|PRC)\b")
_TEXT_MAP = re.compile(rb"/ToUnicode \d")
_SEVERAL = re.compile(rb"/Contents (?:\[|\d+ \d+ R)")
_ACTIVE = {
    "/JavaScript": ("script", "JavaScript"),
    "/JS": ("script", "JavaScript"),
    "/Launch": ("launch", "a command to start a program"),
    "/SubmitForm": ("form", "a form that sends what is written in it"),
    "/ImportData": ("external", "a part that is loaded from elsewhere"),
    "/GoToR": ("external", "a link to another file"),
    "/GoToE": ("external", "a link to another file"),
    "/RichMedia": ("program", "an embedded player"),
    "/Rendition": ("program", "an embedded player"),
}
"""Types of actions and annotations, and keys: the name of what they do (``base.ACTIVE``), and what a reviewer reads."""
_MARKED = {"/Watermark": Zone.WATERMARK, "/Stamp": Zone.WATERMARK}
_XFA_SCRIPT = re.compile(r"<(?:\w+:)?script\b")
_PICTURE = re.compile(r"<(?:\w{1,20}:)?image\b[^>]{0,2000}>\s*([A-Za-z0-9+/=\s]{16,20000000})</")
_VALUE = re.compile(r"=\s*[\"']([^\"'<>]{4,2000})[\"']")
_TAGS = re.compile(r"<[^>]{0,2000}>")


@dataclass(frozen=True, slots=True)
class Objects:
    """Strings as segments, embedded files as children, and document properties by name."""

    segments: tuple[Segment, ...]
    children: tuple[Child, ...]
    properties: Mapping[str, str]
    contents: Contents
    note: str = ""
    """What a reviewer should know: active content."""
    active: tuple[str, ...] = ()
    legacy: bool = False
    """A font of the file is one of those that show Hindi for Latin letters."""


class _Pass:
    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.strings: list[str] = []
        self.short: list[str] = []
        self.unread: dict[str, str] = {}
        self.files: list[tuple[str, pikepdf.Object]] = []
        self.spoken: list[pikepdf.Object] = []
        self.active: dict[str, str] = {}
        self.children: list[Child] = []
        self.contents = Contents(budget)

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
            text = spelled(value)
            if len(text) <= 2 and key in ("/V", "/Contents", "/TU", "/CA"):
                self.short.append(text)  # forms with a field for each letter
            elif len(text) > 2:
                self.strings.append(_TAGS.sub("\n", text) if "<" in text else text)

    def _dictionary(self, value: pikepdf.Object, depth: int) -> None:
        signature = value.get("/Type") == "/Sig" or "/ByteRange" in value
        self._drawn(value)
        for name, item in value.items():
            if name in ("/S", "/Subtype") and isinstance(item, pikepdf.Name) and spelled(item) in _ACTIVE:
                self.active.update([_ACTIVE[spelled(item)]])
            elif name in ("/JS", "/JavaScript"):
                self.active.update([_ACTIVE[name]])
            if signature and name == "/Contents":
                continue
            if name in _RUNNING:
                self.spoken.extend(_streams(item))
            if name == "/EF" and isinstance(item, pikepdf.Dictionary):
                label = spelled(value.get("/UF", value.get("/F", "embedded"))) or "embedded"
                self.files.extend((label, file) for file in item.values() if isinstance(file, pikepdf.Stream))
            if item.is_indirect if isinstance(item, pikepdf.Object) else False:
                continue
            self.walk(item, name, depth + 1)

    def _drawn(self, value: pikepdf.Object) -> None:
        """What is drawn elsewhere than on the pages: appearances, patterns, glyphs, masks; and what replaces drawn words."""
        if "/AP" in value and isinstance(value.AP, pikepdf.Dictionary):
            zone = _MARKED.get(spelled(value.get("/Subtype", "")), Zone.BODY)
            for states in value.AP.values():
                self.contents.appearance(states, zone)
        if value.get("/Subtype") == "/Ink" and "/AP" not in value:
            self.unread["drawing"] = "a drawing by hand: there is no reader for it"
        if value.get("/Type") == "/Template":
            self.contents.loose(value)
        if "/CharProcs" in value:
            self.contents.glyphs(value.CharProcs)
            self.contents.appearance(value.CharProcs, Zone.BODY, value.get("/Resources"))
        if isinstance(value, pikepdf.Stream) and value.get("/PatternType") == 1:
            self.contents.appearance(value, Zone.BODY)
        if value.get("/S") in ("/Luminosity", "/Alpha") and isinstance(value.get("/G"), pikepdf.Stream):
            self.contents.appearance(value.G, Zone.BODY)
        if "/ActualText" in value and "/S" not in value:  # elements of the structure have a type; property lists of content have not
            self.contents.masked.append(value)


def _items(array: pikepdf.Object) -> Iterator[pikepdf.Object]:
    for item in array:
        if isinstance(item, pikepdf.Object) and not item.is_indirect:
            yield item


def read(pdf: pikepdf.Pdf, budget: Budget) -> Objects:
    """Everything that is not page content. Raises OverLimit for too many or too deep objects."""
    state = _Pass(budget)
    objects = pdf.objects  # each look at the property makes the list anew
    if len(objects) > MOST:
        raise OverLimit("it holds more objects than the limit")
    loose: list[tuple[str, pikepdf.Object]] = []
    pages: list[pikepdf.Object] = []
    legacy = False
    for number, item in enumerate(objects):
        if number % 1000 == 0:
            budget.check_time()
        if not isinstance(item, pikepdf.Object):
            continue
        is_stream = isinstance(item, pikepdf.Stream)
        head = (item.stream_dict if is_stream else item).unparse(resolved=True)
        if is_stream:
            state.contents.stream(item, head)
            if _MEDIA.search(head):
                state.unread["sound or model"] = "a sound or a model in a document: there is no reader for it"
        elif _SEVERAL.search(head):
            pages.append(item)
        if _TEXT_MAP.search(head) and isinstance(item, pikepdf.Dictionary | pikepdf.Stream):
            state.contents.fonts(item)
        if (composite := head.count(b"/Type0")) and composite > len(_TEXT_MAP.findall(head)):
            state.contents.tableless = True
        legacy = legacy or any(legacy_fonts.is_legacy(name.decode("latin-1").rpartition("+")[2]) for name in _BASE_FONT.findall(head))
        # Most objects (pages, fonts, pictures) hold no string and no key of ours: one look at them as text is enough.
        if not _SPEAKS.search(head):
            continue
        if is_stream and item.get("/Type") == "/EmbeddedFile":
            loose.append(("embedded", item))
        elif is_stream and item.get("/Type") == "/Metadata":
            state.spoken.append(item)
        state.walk(item, "", 0)
    for page in pages:
        state.contents.page(page)
    state.contents.check_forms(pages)
    segments = [Segment("\n".join(state.strings), Zone.BODY)] if state.strings else []
    segments += [Segment(" ".join(state.short), Zone.BODY)] if len(state.short) > 2 else []
    for stream in {item.objgen: item for item in state.spoken}.values():
        segments += [Segment(text, Zone.PROPERTY)] if (text := _text_of(stream, budget, state)) else []
    children = _files(state.files + loose, budget) + tuple(state.children)
    children += tuple(Child(name, state=LeafState.UNINSPECTABLE, reason=reason) for name, reason in state.unread.items())
    properties = _properties(pdf)
    segments += [Segment(value, Zone.PROPERTY) for value in properties.values()]
    note = "it holds " + " and ".join(sorted(set(state.active.values()))) if state.active else ""
    return Objects(tuple(segments), children, properties, state.contents, note, tuple(sorted(state.active)), legacy)


def _streams(value: pikepdf.Object) -> Iterator[pikepdf.Object]:
    """The streams that a key of ``_RUNNING`` names: one, or several in an array."""
    if isinstance(value, pikepdf.Stream):
        yield value
    elif isinstance(value, pikepdf.Array):
        yield from (part for part in value if isinstance(part, pikepdf.Stream))


def _text_of(stream: pikepdf.Object, budget: Budget, state: _Pass) -> str:
    data = _octets(stream, budget)
    text = data.decode("utf-16", "replace") if data[:2] in (b"\xfe\xff", b"\xff\xfe") else data.decode("utf-8", "replace")
    if _XFA_SCRIPT.search(text):
        state.active.update([_ACTIVE["/JS"]])
    for match in _PICTURE.finditer(text):
        with contextlib.suppress(binascii.Error, ValueError):
            state.children.append(Child("picture", base64.b64decode(match[1])))
            budget.spend_entries()
    spoken = "\n".join(value for value in _VALUE.findall(text) if "://" not in value)
    return f"{_TAGS.sub(chr(10), text).strip()}\n{spoken}".strip()


def _octets(stream: pikepdf.Object, budget: Budget) -> bytes:
    try:
        packed = len(stream.read_raw_bytes())
        data = stream.read_bytes()
    except pikepdf.PikepdfError as error:
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
                out[of_key(name)] = spelled(value)
    return out
