"""HTML, XHTML, SVG and other tagged text: what a reader sees, what is hidden, and what hangs in attributes.

What it is: the extractor of HTML, and ``strip`` for tagged text of any kind.
Who calls it: ``content.walk`` through the table; the mail reader.
Must never: fetch anything; trust lxml with deep nesting (it returns nothing, silently): depth is counted first.
Sources: HTML Living Standard 13 (parsing); docs/inspection.md, HTML; hostile-inputs catalogue D10.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser

from lxml import etree

from gateway.documents import html_signs, html_styles, ooxml_readings, text_plain
from gateway.extraction.base import Budget, Child, Found, Piece, join_reasons
from gateway.text import legacy_fonts
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

DEEPEST = 200
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:]*)[^>]*?(/?)>")
_VOID = frozenset([
    "area", "base", "basefont", "br", "col", "embed", "frame", "hr", "img", "input", "keygen", "link", "meta", "param", "source", "track",
    "wbr",
])  # fmt: skip
"""Elements without an end."""
_UNENDED = _VOID | {"p", "li", "td", "tr", "th", "dt", "dd", "option", "tbody", "thead"}
"""And those whose end is often left out."""
_INLINE = frozenset((
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd", "label",
    "mark", "nobr", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var",
    "wbr", "o:p", "st1", "tspan",
))  # fmt: skip
_HIDDEN_TAGS = frozenset(["script", "style", "noscript", "template", "title", "head", "noembed", "noframes", "datalist", "rt", "rp"])
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|font-size\s*:\s*[01](?:px|pt|%)?(?![.\d]*[1-9])|mso-hide\s*:\s*all|"
    r"opacity\s*:\s*0(?:\.0+)?\s*(?:;|$)|(?<![\w-])color\s*:\s*(?:#fff(?:fff)?\b|white\b|transparent\b|rgb\(255,\s*255,\s*255)|"
    r"(?:left|top|right|text-indent|margin-left)\s*:\s*-\s*\d{3}|(?:max-)?(?:height|width)\s*:\s*0(?:px)?\s*(?:;|$)|"
    r"clip\s*:\s*rect\(\s*0|clip-path\s*:|font-size\s*:\s*0?\.\d|scale\(\s*0",
    re.I,
)
_LIGHT = re.compile(r"\s*(?:#?fff(?:fff)?|white)\s*$", re.I)
_SPOKEN = ("alt", "title", "value", "placeholder", "label", "summary", "content", "aria-label", "srcdoc", "data-content", "string",
           "open", "close",
           "aria-description", "aria-roledescription", "aria-placeholder", "aria-valuetext")  # fmt: skip
_LINKING = ("href", "src", "action", "formaction", "data", "background", "cite", "poster", "xlink:href", "longdesc")
_MOST_LINKS = 5000
_DRAWING = 800  # characters of the lines of drawings that may show a word; an icon has fewer
_LONGEST_LINK = 4000
_REFRESH = re.compile(r"\s*[\d.]{1,10}\s*[;,]\s*(?:url\s*=)?\s*[\"']?(\S{1,4000})", re.I)
_FONT = re.compile(r"font(?:-family)?\s*:\s*([^;]{1,200})", re.I)
_META = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9._-]{1,40})", re.I)
_XML_DECLARATION = re.compile(rb"^\s*<\?xml[^>]{0,100}encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})", re.I)


class _Collector:
    """Puts text together in reading order: words of inline elements join, blocks stand on lines of their own."""

    def __init__(self, page: str) -> None:
        self._styled = html_styles.hidden(page, _HIDING)
        self._shows_attributes = "attr(" in page
        self.drawn = 0
        """Characters that describe lines of drawings."""
        self.visible: list[str] = []
        self.everything: list[str] = []
        self.aside: list[str] = []
        self.title: list[str] = []
        self.links: dict[str, None] = {}
        self.data: list[str] = []
        """Addresses that are content themselves."""
        self.legacy: dict[str, list[str]] = {}
        """Text in a font that shows other letters than it holds, by the name of the font."""
        self.signs: dict[str, None] = {}
        self._hidden: list[str] = []
        self._fonts: list[tuple[str, str]] = []
        self.has_hidden = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag not in _INLINE:
            self._break()
        if attributes:
            self._attributes(tag, attributes)
        style = html_styles.plain(attributes.get("style", ""))
        if style:
            self.aside.extend(text for text in html_styles.words(style) if not _FONT.search(style))
        hides = (
            (bool(self._styled) and self._is_styled(tag, attributes)) or
            tag in _HIDDEN_TAGS or "hidden" in attributes or bool(style and _HIDING.search(style))
            or (tag == "font" and (_LIGHT.match(attributes.get("color", "")) is not None or attributes.get("size") == "0"))
        )  # fmt: skip
        if (hides or self._hidden) and tag not in _VOID:
            self._hidden.append(tag)

    def _is_styled(self, tag: str, attributes: dict[str, str]) -> bool:
        """Whether a style sheet of the page hides the element."""
        names = [tag, "#" + attributes.get("id", "").lower(), *("." + name for name in attributes.get("class", "").lower().split()[:50])]
        return not self._styled.isdisjoint(names)

    def _attributes(self, tag: str, attributes: dict[str, str]) -> None:
        if self._shows_attributes:
            self.aside.extend(value for name, value in attributes.items() if name.startswith("data-") and 2 < len(value) < _LONGEST_LINK)
        if tag in ("path", "polygon", "polyline"):
            self.drawn += len(attributes.get("d", "")) + len(attributes.get("points", ""))
        for name in _SPOKEN:
            if (value := attributes.get(name)) and value.strip():
                self.aside.append(_bare(value))
        for name in _LINKING:
            if target := attributes.get(name):
                if target.lstrip()[:5].lower() == "data:":
                    self.data.append(target)
                elif ("/" in target or "@" in target) and len(self.links) < _MOST_LINKS:
                    self.links[target.strip()[:_LONGEST_LINK]] = None
        if tag == "meta" and (match := _REFRESH.match(attributes.get("content", ""))) and len(self.links) < _MOST_LINKS:
            self.links[match[1]] = None
        if sign := html_signs.of_tag(tag, attributes):
            self.signs[sign] = None
        face = attributes.get("face", "")
        if not face and (match := _FONT.search(attributes.get("style", ""))):
            face = match[1]
        if face and tag not in _VOID and legacy_fonts.is_legacy(face):
            self._fonts.append((tag, face))

    def text(self, data: str, tag: str = "") -> None:
        if self._fonts:
            self.legacy.setdefault(self._fonts[-1][1], []).append(data)
        if not self._hidden:
            self.visible.append(data)
            self.everything.append(data)
            return
        inner = self._hidden[-1]
        if inner == "title":
            self.title.append(data)
        elif inner == "style":
            self.aside.extend(html_styles.words(html_styles.plain(data)))
            self.aside.append(data)
        elif inner == "script":
            self.aside.append(data)
        elif "head" not in self._hidden or data.strip():
            self.has_hidden = self.has_hidden or bool(data.strip())
            self.everything.append(data)

    def end(self, tag: str) -> None:
        if self._hidden and tag in self._hidden:
            while self._hidden.pop() != tag:
                pass
        if self._fonts and self._fonts[-1][0] == tag:
            self._fonts.pop()
        if tag not in _INLINE:
            self._break()

    def comment(self, data: str) -> None:
        self.aside.append(_bare(data))

    def _break(self) -> None:
        self.visible.append("\n")
        self.everything.append("\n")
        if self._fonts:
            self.legacy.setdefault(self._fonts[-1][1], []).append("\n")

    def segments(self) -> tuple[Segment, ...]:
        out = []
        if title := "".join(self.title).strip():
            out.append(Segment(title, Zone.PROPERTY))
        out.append(Segment(_tidy("".join(self.visible)), Zone.BODY))
        if self.has_hidden:
            out.append(Segment(_tidy("".join(self.everything)), Zone.BODY))
        if aside := "\n".join(self.aside).strip():
            out.append(Segment(aside, Zone.BODY))
        out += [Segment(_tidy("".join(pieces)), Zone.BODY, font=font) for font, pieces in self.legacy.items()]
        return tuple(out)


def _bare(text: str) -> str:
    """*text* without what may be tags in it."""
    end = text.rfind(">") + 1
    return _TAG.sub(" ", text[:end]) + text[end:] if "<" in text[:end] else text


_DECLARED = re.compile(r"<!(?!--|doctype|\[)([^>]{1,4000})|<!doctype(?!\s+html\s*>)([^>]{1,4000})", re.I)
_BLANKS = re.compile(r"[ \t\r\f]+")
_LINES = re.compile(r" ?\n[ \n]*")


def _tidy(text: str) -> str:
    return _LINES.sub("\n", _BLANKS.sub(" ", text)).strip()


class _Target:
    """lxml's events; lxml keeps no tree."""

    def __init__(self, collector: _Collector) -> None:
        self._collector = collector

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._collector.start(tag, attributes)

    def end(self, tag: str) -> None:
        self._collector.end(tag)

    def data(self, data: str) -> None:
        self._collector.text(data)

    def comment(self, data: str) -> None:
        self._collector.comment(data)

    def pi(self, target: str, data: str | None = None) -> None:
        self._collector.comment(f"{target} {data or ''}")

    def close(self) -> None:
        return None


class _Slow(HTMLParser):
    """The parser without recursion, for deep nesting."""

    def __init__(self, collector: _Collector) -> None:
        super().__init__(convert_charrefs=True)
        self._collector = collector

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._collector.start(tag, {name: value or "" for name, value in attrs})

    def handle_endtag(self, tag: str) -> None:
        self._collector.end(tag)

    def handle_data(self, data: str) -> None:
        self._collector.text(data)

    def handle_comment(self, data: str) -> None:
        self._collector.comment(data)

    def handle_decl(self, decl: str) -> None:
        self._collector.comment(decl)

    def handle_pi(self, data: str) -> None:
        self._collector.comment(data)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """As in the base, which gives up on a section without a name that it knows; readers take that for a comment."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def unknown_decl(self, data: str) -> None:
        self._collector.text(data.removeprefix("CDATA["))


def _depth(text: str) -> int:
    """The deepest nesting that the tags of *text* could mean; stops counting past the limit."""
    depth = deepest = 0
    # Behind the last bracket no tag ends: looking for one from each place there would be quadratic.
    for match in _TAG.finditer(text, 0, text.rfind(">") + 1):
        if match[2].lower() in _UNENDED or match[3]:
            continue
        if match[1]:
            depth = max(0, depth - 1)
        else:
            depth += 1
            if depth > deepest:
                deepest = depth
                if deepest > DEEPEST:
                    break
    return deepest


@dataclass(frozen=True, slots=True)
class Page:
    """What a page holds."""

    segments: tuple[Segment, ...]
    """Its title, what is seen, all with what is hidden, what stands aside."""
    links: tuple[str, ...]
    data: tuple[str, ...]
    """Addresses that are content themselves."""
    signs: tuple[str, ...]
    """Active content, by ``base.ACTIVE``."""
    draws: bool = False
    """It holds drawings of lines that may show words."""


def read(text: str) -> Page:
    """Everything in the tagged *text*."""
    text = text.replace("\x00", "")
    collector = _Collector(text)
    if "<" in text:
        if _depth(text) <= DEEPEST and "<![CDATA[" not in text:
            parser = etree.HTMLParser(target=_Target(collector), encoding="utf-8", recover=True, no_network=True, huge_tree=True)
            etree.fromstring(b"<html>" + text.encode("utf-8", "replace") + b"</html>", parser)
        else:
            slow = _Slow(collector)
            slow.feed(text)
            slow.close()
    else:
        collector.text(text)
    for match in _DECLARED.finditer(text):
        # Readers pass over declarations in silence.
        collector.aside.append(match[1] or match[2])
    signs = (*html_signs.in_text(text), *collector.signs)
    return Page(collector.segments(), tuple(collector.links), tuple(collector.data), signs, collector.drawn >= _DRAWING)


def _decode(piece: Piece) -> text_plain.Decoded:
    declared = piece.charset
    if not declared and (match := _META.search(piece.data[:2048]) or _XML_DECLARATION.search(piece.data[:200])):
        declared = match[1].decode("ascii")
        if declared.lower().startswith("utf-16") and b"<" in piece.data[:64] and b"\x00" not in piece.data[:64]:
            declared = "utf-8"  # the declaration was read as ASCII, so it cannot be true
    return text_plain.decode(piece.data, declared)


def extract(piece: Piece, budget: Budget) -> Found:
    """All readings of the page. An attached page with a program in it is suspect: a browser would run it."""
    decoded = _decode(piece)
    segments: list[Segment] = []
    links: dict[str, None] = {}
    children: list[Child] = []
    signs: dict[str, None] = {}
    draws = False
    for text in decoded.texts:
        budget.check_time()
        page = read(text)
        draws = draws or page.draws
        segments.extend(page.segments)
        links.update(dict.fromkeys(page.links))
        signs.update(dict.fromkeys(page.signs))
        for address in page.data:
            if address not in text:  # else the scan of the text finds it
                children.extend(text_plain.packed(address, budget))
    program = "a web page with a program in it" if piece.is_attachment and "script" in signs else ""
    entities = "a page with entities of its own" if any("<!ENTITY" in text for text in decoded.texts) else ""
    reason = join_reasons(decoded.doubt, program, entities)
    children.extend(text_plain.hidden(piece, decoded.texts[0], budget))
    state = LeafState.SUSPECT if reason else LeafState.INSPECTED
    if draws and not reason:
        state, reason = LeafState.UNINSPECTABLE, "a page with drawings: its words were read, its lines were not"
    return Found(tuple(segments), tuple(children), state, reason, links=tuple(links), active=tuple(signs))


def extract_xml(piece: Piece, budget: Budget) -> Found:
    """Tagged text of an unknown kind: as written, and without its tags."""
    found = extract(Piece(piece.data, piece.name, piece.declared, piece.charset, is_attachment=False, scanned=piece.scanned), budget)
    raw = tuple(Segment(text, Zone.BODY) for text in _decode(piece).texts)
    found = replace(found, segments=found.segments + raw + ooxml_readings.spoken(piece.data))
    if b"<FixedPage" in piece.data[:4096] and found.state is LeafState.INSPECTED:
        return replace(found, state=LeafState.SUSPECT, reason="a page whose letters are given by numbers: there is no reader for it")
    return found


def extract_drawing(piece: Piece, budget: Budget) -> Found:
    """SVG: its words are read; what its lines show is not."""
    found = extract(piece, budget)
    if found.state is LeafState.INSPECTED:
        reason = "a drawing: its words were read, its lines were not"
        return replace(found, state=LeafState.UNINSPECTABLE, reason=reason)
    return found
