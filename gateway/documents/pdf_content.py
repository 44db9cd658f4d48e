"""The content streams of a PDF before pdfium may parse them: how much they unpack to, how forms are nested, what replaces their text.

What it is: ``Contents``, which sees every object of the file once and then says what must not be parsed; ``unmasked``, the file without
replacement texts (pdfium hands out an ActualText in place of the words that are drawn); ``apart``, a file of what is drawn nowhere on a
page itself: appearances of annotations and fields, patterns, glyphs of Type 3 fonts, masks.
Who calls it: the PDF reader and its pass over all objects.
Must never: unpack more than its limits; follow a reference more than once; change the file that was sent.
Sources: ISO 32000-2 sections 7.4 (filters), 8.7.3 (patterns), 8.10 (forms), 9.6.4 (Type 3), 12.5.5 (appearances), 14.9.4 (ActualText);
docs/inspection.md (formbomb, flatebomb); hostile-inputs catalogue D07.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import pikepdf
from pikepdf import Array, Dictionary, Name

from gateway.documents import pdf_filters, pdf_fonts, pdf_glyphs, pdf_weight
from gateway.extraction.base import Budget, OverLimit, Unreadable
from gateway.verdict import Zone

_STREAM_CAP = 16_000_000  # octets of one page's content: what pdfium makes of them takes up to twenty times as much
_TOTAL_CAP = 300_000_000
_FORMS = 20_000  # forms that one page may come to show, counted as often as they are shown
_DEEPEST = 15  # forms within forms
_APART = 3_000
_PROGRAMS = 100_000_000  # octets of fonts that are compared with what is said of them
_NO_CONTENT = re.compile(
    rb"/Subtype /(?:Image|Type1C|CIDFontType0C|OpenType|XML)\b|/Type /(?:XRef|ObjStm|Metadata|EmbeddedFile)\b"
    rb"|/FunctionType|/ShadingType|/Alternate"
)
_FONT = re.compile(rb"/Length[123] |/Subtype /(?:Type1C|CIDFontType0C|OpenType)\b")
_PICTURE_MASK = re.compile(rb"/S?Mask\b")
_PLAIN_FORM = re.compile(rb"/Subtype /Form\b")
_SHOWS = re.compile(rb"(/[^\s/<>\[\]()]{1,127})\s+Do\b")
_ANY_SHOW = re.compile(rb"\bDo\b")
_MOVES = re.compile(rb"[\d.]\s+m\b")
_INLINE = re.compile(rb"\bBI\b.{0,400}?\bID\b", re.S)
_SIZE = re.compile(rb"/(W|H|Width|Height)\s+(\d{1,6})\b")
_GLYPH = 1_000_000
_OUTLINES = 6
_MASK = b"ActualText"
_NO_MASK = b"Actual-Txt"

ObjGen = tuple[int, int]


class Contents:
    """What the pass over all objects has seen of content."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._total = 0
        self.sizes: dict[ObjGen, int] = {}
        """What content streams weigh, in octets."""
        self.shows: dict[ObjGen, int] = {}
        """How often a form shows another one."""
        self.named: dict[ObjGen, frozenset[str] | None] = {}
        """What a form shows, by the names in its resources: producers give all forms those of the whole file. None: it cannot be told."""
        self.forms: dict[ObjGen, pikepdf.Object] = {}
        self.masked: list[pikepdf.Object] = []
        """Streams and property lists with replacement texts."""
        self.letters: set[ObjGen] = set()
        """Glyphs of Type 3 fonts that are no more than letters."""
        self.masks = False
        """A picture has a mask, which is another picture."""
        self.unreadable = False
        """A font gives out letters as blanks, or as others than its program says they are."""
        self.tableless = False
        """A font with codes of two octets has no table that says which letters they are: what it shows may have no text."""
        self._programs: dict[ObjGen, bytes] = {}
        self._compared = 0
        self.damaged: set[ObjGen] = set()
        self.appearances: dict[ObjGen, tuple[pikepdf.Object, Zone, pikepdf.Object | None]] = {}

    def stream(self, item: pikepdf.Object, head: bytes) -> None:
        """Takes the stream *item*, whose dictionary is written as *head*. Raises OverLimit where it unpacks to too much."""
        self.masks = self.masks or _PICTURE_MASK.search(head) is not None
        is_font = _FONT.search(head) is not None
        if not is_font and _NO_CONTENT.search(head):
            return
        filters = pdf_filters.named(item)
        if len(filters) > pdf_filters.LONGEST:
            raise OverLimit("a stream of it is packed more often than the limit")
        data = self._unpacked(item, filters)
        if data is None:
            self.damaged.add(item.objgen)
            return
        self._total += len(data)
        if self._total > _TOTAL_CAP:
            raise OverLimit("its pages unpack to more than the limit")
        if is_font:
            return
        self.sizes[item.objgen] = pdf_weight.weight(data)
        if _MASK in data:
            self.masked.append(item)
        if _PLAIN_FORM.search(head):
            self.forms[item.objgen] = item
            names = _SHOWS.findall(data)
            self.shows[item.objgen] = len(names)
            told = len(_ANY_SHOW.findall(data)) == len(names) and not any(b"#" in name for name in names)
            self.named[item.objgen] = frozenset(name.decode("latin-1") for name in names) if told else None

    def _unpacked(self, item: pikepdf.Object, filters: list[str]) -> bytes | None:
        """The octets, never more than the limit; None where they are damaged or not packed by something for text."""
        raw = item.read_raw_bytes()
        if len(raw) > _STREAM_CAP:
            raise OverLimit("a page unpacks to more than the limit")
        self._budget.check_time()
        data = pdf_filters.unpacked(raw, filters, _STREAM_CAP)
        if not data or "/DecodeParms" not in item:
            return data
        try:
            return item.read_bytes()  # a predictor does not add to it
        except pikepdf.PikepdfError:
            return None

    def page(self, item: pikepdf.Object) -> None:
        """Takes a page whose content may stand in several streams. Raises OverLimit where they are too much together."""
        contents, total = item.get("/Contents"), 0
        for part in contents if isinstance(contents, pikepdf.Array) else (contents,):
            total += self.sizes.get(part.objgen, 0) if isinstance(part, pikepdf.Object) else 0
            if total > _STREAM_CAP:
                raise OverLimit("a page draws more than the limit")

    def check_forms(self, pages: list[pikepdf.Object]) -> None:
        """Raises OverLimit where forms are nested too deep or come to be shown too often; Unreadable where they hold themselves."""
        within = {place: [one for one in _shown_by(form, self.named[place]) if one in self.forms] for place, form in self.forms.items()}
        weights: dict[ObjGen, tuple[int, int, int]] = {}
        for place in within:
            self._weigh(place, within, weights)
        heavy = {place for place, (count, size, _) in weights.items() if count > 50 or size > _STREAM_CAP // 100}
        if not heavy:
            return
        for page in pages:
            inner = [weights[one] for one in _shown_by(page) if one in weights]
            if inner and (sum(one[0] for one in inner) > _FORMS or sum(one[1] for one in inner) > _STREAM_CAP):
                raise OverLimit("its forms are shown more often than the limit")

    def _weigh(self, start: ObjGen, within: dict[ObjGen, list[ObjGen]], weights: dict[ObjGen, tuple[int, int, int]]) -> None:
        """Forms shown, octets parsed and depth of the form *start* and all within it, without recursion."""
        stack: list[tuple[ObjGen, bool]] = [(start, False)]
        open_: set[ObjGen] = set()
        while stack:
            place, ready = stack.pop()
            if ready:
                open_.discard(place)
                inner = [weights[one] for one in within[place] if one in weights]
                shows = self.shows.get(place, 0) if inner else 0
                count = 1 + shows * max((one[0] for one in inner), default=0)
                size = self.sizes.get(place, 0) + shows * max((one[1] for one in inner), default=0)
                depth = 1 + max((one[2] for one in inner), default=0)
                if count > _FORMS or size > 4 * _STREAM_CAP or depth > _DEEPEST:
                    raise OverLimit("its forms are nested deeper or shown more often than the limit")
                weights[place] = (count, size, depth)
            elif place in open_:
                raise Unreadable("a PDF with a form that holds itself")
            elif place not in weights:
                open_.add(place)
                stack.append((place, True))
                stack.extend((one, False) for one in within[place])

    def glyphs(self, procedures: pikepdf.Object) -> None:
        """Takes the glyphs of a Type 3 font: pictures of letters, unless one shows a whole word."""
        if isinstance(procedures, pikepdf.Dictionary):
            for item in procedures.values():
                if isinstance(item, pikepdf.Stream) and not _is_word(item):
                    self.letters.add(item.objgen)

    def loose(self, page: pikepdf.Object) -> None:
        """Takes a page that stands in no tree of pages, such as one that a script adds."""
        contents = page.get("/Contents")
        for part in contents if isinstance(contents, pikepdf.Array) else [contents]:
            if isinstance(part, pikepdf.Stream):
                self.appearance(part, Zone.BODY, page.get("/Resources"))

    def fonts(self, item: pikepdf.Object) -> None:
        """Takes fonts that say which letters their glyphs are, and looks whether that can be."""
        for font in pdf_fonts.within(item):
            said = pdf_fonts.said(font)
            if pdf_fonts.blank(said):
                self.unreadable = True
            if not said and pdf_fonts.is_composite(font):
                self.tableless = True
            if pdf_fonts.lies(font, said):
                self.masked.append(font)
            if not self.unreadable:
                self.unreadable = self._lies_within(font, said)

    def _lies_within(self, font: pikepdf.Object, said: Mapping[int, int]) -> bool:
        """Whether the program of *font* has other letters than those that are *said*. Programs of more octets than the limit lie."""
        embedded = pdf_glyphs.program(font) if said else None
        if embedded is None:
            return False
        holder, stream = embedded
        self._budget.check_time()
        data = self._programs.get(stream.objgen)
        if data is None:
            data = pdf_glyphs.octets(stream)
            self._programs = {stream.objgen: data}  # fonts that share a program mostly follow each other
        self._compared += len(data)
        if self._compared > _PROGRAMS:
            return True
        return pdf_glyphs.disagree(said, pdf_glyphs.letters(font, holder, data))

    def appearance(self, value: pikepdf.Object, zone: Zone, resources: pikepdf.Object | None = None) -> None:
        """Takes what is drawn elsewhere than on a page: a stream, or a dictionary of them (states, glyphs)."""
        if isinstance(value, pikepdf.Stream):
            if len(self.appearances) >= _APART:
                raise OverLimit("it holds more annotations or patterns than the limit")
            self.appearances.setdefault(value.objgen, (value, zone, resources))
        elif isinstance(value, pikepdf.Dictionary):
            for item in value.values():
                if isinstance(item, pikepdf.Stream | pikepdf.Dictionary) and item is not value:
                    self._states(item, zone, resources)

    def _states(self, value: pikepdf.Object, zone: Zone, resources: pikepdf.Object | None) -> None:
        if isinstance(value, pikepdf.Stream):
            self.appearance(value, zone, resources)
            return
        for item in value.values():
            if isinstance(item, pikepdf.Stream):
                self.appearance(item, zone, resources)


def _is_word(glyph: pikepdf.Object) -> bool:
    """Whether a glyph shows more than one letter: many outlines, another form, or a broad picture."""
    data = pdf_filters.unpacked(glyph.read_raw_bytes()[:_GLYPH], pdf_filters.named(glyph), _GLYPH)
    if data is None or len(_MOVES.findall(data)) >= _OUTLINES or _SHOWS.search(data):
        return True
    picture = _INLINE.search(data)
    if picture is None:
        return False
    sizes = {key: int(value) for key, value in _SIZE.findall(picture[0])}
    width, height = sizes.get(b"W", sizes.get(b"Width", 0)), sizes.get(b"H", sizes.get(b"Height", 0))
    return width >= 2.5 * height >= 15


def _shown_by(holder: pikepdf.Object, names: frozenset[str] | None = None) -> list[ObjGen]:
    """The forms and pictures that the resources of a page or form name; of them those with *names* where these are given."""
    resources = holder.get("/Resources")
    if not isinstance(resources, pikepdf.Dictionary):
        return []
    objects = resources.get("/XObject")
    if not isinstance(objects, pikepdf.Dictionary):
        return []
    wanted = objects.items() if names is None else ((name, item) for name, item in objects.items() if name in names)
    return [item.objgen for _, item in wanted if isinstance(item, pikepdf.Stream)]


def unmasked(pdf: pikepdf.Pdf, contents: Contents, budget: Budget) -> bytes:
    """The file *pdf* with the words that are drawn in place of those that replace them; *pdf* is changed by it."""
    for item in contents.masked:
        if isinstance(item, pikepdf.Stream):
            item.write(item.read_bytes().replace(_MASK, _NO_MASK))
        elif isinstance(item, pikepdf.Dictionary) and "/ActualText" in item:
            del item["/ActualText"]
        elif isinstance(item, pikepdf.Dictionary) and "/ToUnicode" in item:
            del item["/ToUnicode"]
    return _saved(pdf, budget)


def apart(pdf: pikepdf.Pdf, contents: Contents, budget: Budget) -> tuple[bytes, tuple[Zone, ...]]:
    """A file with one page for each appearance, pattern, mask and glyph, and the zone of each page."""
    zones: list[Zone] = []
    with pikepdf.new() as out:
        for item, zone, resources in contents.appearances.values():
            budget.check_time()
            try:
                form = out.copy_foreign(item)
                if resources is not None and "/Resources" not in form:
                    form.Resources = out.copy_foreign(resources if resources.is_indirect else pdf.make_indirect(resources))
                form.Type, form.Subtype = Name.XObject, Name.Form
                box = form.get("/BBox")
                if not isinstance(box, pikepdf.Array) or len(box) != 4:
                    form.BBox = Array([0, 0, 1000, 1000])
                page = out.add_blank_page(page_size=(1000, 1000))
                page.Resources = Dictionary(XObject=Dictionary(X=form))
                page.Contents = out.make_stream(b"/X Do")
            except (pikepdf.PikepdfError, pikepdf.ForeignObjectError, ValueError, TypeError) as error:
                raise Unreadable("a PDF with a damaged annotation") from error
            zones.append(zone)
        return _saved(out, budget), tuple(zones)


def _saved(pdf: pikepdf.Pdf, budget: Budget) -> bytes:
    out = io.BytesIO()
    try:
        pdf.save(out, encryption=False, fix_metadata_version=False)
    except pikepdf.PikepdfError as error:
        raise Unreadable("a PDF with a damaged part") from error
    budget.spend_bytes(out.tell())
    return out.getvalue()
