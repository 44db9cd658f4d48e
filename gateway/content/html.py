"""HTML, XHTML, SVG and other tagged text: what a reader sees, what is hidden, and what hangs in attributes.

What it is: the extractor of HTML, and ``strip`` for tagged text of any kind.
Who calls it: ``content.walk`` through the table; the mail reader.
Must never: fetch anything; trust lxml with deep nesting (it returns nothing, silently): depth is counted first.
Sources: HTML Living Standard 13 (parsing); reference/inspection.md, HTML; hostile-inputs catalogue D10.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from lxml import etree

from gateway.content import text_plain
from gateway.content.base import Budget, Found, Piece, join_reasons
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
_INLINE = frozenset(
    [
        "a",
        "abbr",
        "acronym",
        "b",
        "bdi",
        "bdo",
        "big",
        "cite",
        "code",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "ins",
        "kbd",
        "label",
        "mark",
        "nobr",
        "q",
        "rp",
        "rt",
        "ruby",
        "s",
        "samp",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
        "var",
        "wbr",
        "o:p",
        "st1",
        "tspan",
    ]
)
_HIDDEN_TAGS = frozenset(["script", "style", "noscript", "template", "title", "head", "noembed", "noframes", "datalist"])
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d]*[1-9])|mso-hide\s*:\s*all|opacity\s*:\s*0(?:\.0+)?\s*(?:;|$)",
    re.I,
)
_SPOKEN = ("alt", "title", "value", "placeholder", "label", "summary", "content", "aria-label", "srcdoc", "data-content", "string")
_LINKING = ("href", "src", "action", "formaction", "data", "background", "cite", "poster", "xlink:href", "longdesc")
_MOST_LINKS = 5000
_LONGEST_LINK = 4000
_SCRIPTED = re.compile(r"<\s*script|<\s*(?:object|embed|applet)\b|\bon[a-z]{3,20}\s*=\s*[\"']?[^\s>]|javascript:|vbscript:|<hta:", re.I)
_CSS_TEXT = re.compile(r"content\s*:\s*([\"'])(.{1,500}?)\1", re.I | re.S)
_META = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9._-]{1,40})", re.I)
_XML_DECLARATION = re.compile(rb"^\s*<\?xml[^>]{0,100}encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})", re.I)


class _Collector:
    """Puts text together in reading order: words of inline elements join, blocks stand on lines of their own."""

    def __init__(self) -> None:
        self.visible: list[str] = []
        self.everything: list[str] = []
        self.aside: list[str] = []
        self.title: list[str] = []
        self.links: dict[str, None] = {}
        self._hidden: list[str] = []
        self.has_hidden = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag not in _INLINE:
            self._break()
        if attributes:
            for name in _SPOKEN:
                if (value := attributes.get(name)) and value.strip():
                    self.aside.append(value)
            for name in _LINKING:
                if (target := attributes.get(name)) and ("/" in target or "@" in target) and len(self.links) < _MOST_LINKS:
                    self.links[target.strip()[:_LONGEST_LINK]] = None
        hides = tag in _HIDDEN_TAGS or "hidden" in attributes or bool(_HIDING.search(attributes.get("style", "")))
        if (hides or self._hidden) and tag not in _VOID:
            self._hidden.append(tag)

    def text(self, data: str, tag: str = "") -> None:
        if not self._hidden:
            self.visible.append(data)
            self.everything.append(data)
            return
        inner = self._hidden[-1]
        if inner == "title":
            self.title.append(data)
        elif inner == "style":
            self.aside.extend(match[2] for match in _CSS_TEXT.finditer(data))
        elif inner == "script":
            self.aside.append(data)
        elif "head" not in self._hidden or data.strip():
            self.has_hidden = self.has_hidden or bool(data.strip())
            self.everything.append(data)

    def end(self, tag: str) -> None:
        if self._hidden and tag in self._hidden:
            while self._hidden.pop() != tag:
                pass
        if tag not in _INLINE:
            self._break()

    def comment(self, data: str) -> None:
        self.aside.append(_TAG.sub(" ", data) if "<" in data else data)

    def _break(self) -> None:
        self.visible.append("\n")
        self.everything.append("\n")

    def segments(self) -> tuple[Segment, ...]:
        out = []
        if title := "".join(self.title).strip():
            out.append(Segment(title, Zone.PROPERTY))
        out.append(Segment(_tidy("".join(self.visible)), Zone.BODY))
        if self.has_hidden:
            out.append(Segment(_tidy("".join(self.everything)), Zone.BODY))
        if aside := "\n".join(self.aside).strip():
            out.append(Segment(aside, Zone.BODY))
        return tuple(out)


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

    def unknown_decl(self, data: str) -> None:
        self._collector.text(data.removeprefix("CDATA["))


def _depth(text: str) -> int:
    """The deepest nesting that the tags of *text* could mean; stops counting past the limit."""
    depth = deepest = 0
    for match in _TAG.finditer(text):
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


def read(text: str) -> tuple[tuple[Segment, ...], tuple[str, ...]]:
    """The segments of the tagged *text* (title, what is seen, all with what is hidden, what stands aside), and its link targets."""
    collector = _Collector()
    text = text.replace("\x00", "")
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
    return collector.segments(), tuple(collector.links)


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
    for text in decoded.texts:
        budget.check_time()
        found, targets = read(text)
        segments.extend(found)
        links.update(dict.fromkeys(targets))
    program = "a web page with a program in it" if piece.is_attachment and _SCRIPTED.search(decoded.texts[0]) else ""
    reason = join_reasons(decoded.doubt, program)
    children = text_plain.hidden(piece, decoded.texts[0], budget)
    return Found(tuple(segments), children, LeafState.SUSPECT if reason else LeafState.INSPECTED, reason, links=tuple(links))


def extract_xml(piece: Piece, budget: Budget) -> Found:
    """Tagged text of an unknown kind: as written, and without its tags."""
    found = extract(Piece(piece.data, piece.name, piece.declared, piece.charset, is_attachment=False, scanned=piece.scanned), budget)
    raw = tuple(Segment(text, Zone.BODY) for text in _decode(piece).texts)
    return Found(found.segments + raw, found.children, found.state, found.reason, links=found.links)


def extract_drawing(piece: Piece, budget: Budget) -> Found:
    """SVG: its words are read; what its lines show is not."""
    found = extract(piece, budget)
    if found.state is LeafState.INSPECTED:
        reason = "a drawing: its words were read, its lines were not"
        return Found(found.segments, found.children, LeafState.UNINSPECTABLE, reason, links=found.links)
    return found
