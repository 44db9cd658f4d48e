"""Which elements and attributes of OpenDocument files matter to a reader of text.

What it is: tables of local names.
Who calls it: ``documents.odf_text``.
Must never: decide what is text: all character data is; these names only say where lines end, which attributes speak and what loads.
Source: OpenDocument 1.3 part 3.
"""

from __future__ import annotations

from gateway.verdict import Zone

BLOCKS = frozenset((
    *("p", "h", "list-item", "list-header", "table-row", "table-cell", "covered-table-cell",),
    *("table", "section", "frame", "custom-shape", "rect", "text-box", "page",),
    *("notes", "line", "caption", "annotation", "note", "note-body", "index-title",),
    *("tracked-changes", "changed-region", "change-info", "deletion", "insertion", "creator", "date",),
    *("desc", "title", "header", "footer", "master-page", "forms", "form",),
    *("data-style", "number-style", "user-defined", "keyword", "config-item", "file-entry", "module",),
    *("shape-text", "sender-firstname", "option", "item", "button", "textarea",),
))  # fmt: skip
"""Elements that begin and end a line."""

ZONES = {
    "header": Zone.PAGE_HEADER,
    "header-left": Zone.PAGE_HEADER,
    "header-first": Zone.PAGE_HEADER,
    "footer": Zone.PAGE_FOOTER,
    "footer-left": Zone.PAGE_FOOTER,
    "footer-first": Zone.PAGE_FOOTER,
    "header-decl": Zone.PAGE_HEADER,
    "footer-decl": Zone.PAGE_FOOTER,
}
"""Elements whose text stands in a zone of its own."""

ASIDE = frozenset((
    *("note", "annotation", "frame", "text-box", "custom-shape", "rect", "ellipse",),
    *("line", "polyline", "polygon", "path", "connector", "caption", "g",),
    *("desc", "title", "deletion", "change-info", "ruby-text", "object", "object-ole",),
    *("image", "control",),
))  # fmt: skip
"""Elements that may stand inside a paragraph and must not split its words."""

ATTRIBUTES = frozenset((
    *("string-value", "string-value-if-true", "string-value-if-false", "string-value-if-empty", "description", "help-text", "label",),
    *("title", "current-value", "placeholder", "formula", "condition", "expression", "num-prefix",),
    *("num-suffix", "prompt", "name", "caption", "text", "alternative", "message",),
    *("author", "dde-topic", "dde-item", "dde-application",),
))  # fmt: skip
"""Attributes that people see, or that carry a label, each a text of its own. Others are told together, but for those of ``NAMES``."""

NAMES = frozenset((
    *("name", "id", "idref", "href", "family", "font-family", "font-family-asian", "font-family-complex", "family-generic", "class",),
    *("style", "type", "media-type", "full-path", "class-names", "about", "property", "datatype", "content",),
))  # fmt: skip
"""Attributes that name styles, fonts and parts: nobody sees them."""

PROPERTY_ELEMENTS = frozenset((
    *("user-defined", "title", "subject", "description", "keyword", "creator", "initial-creator",),
    *("printed-by", "language", "generator", "template", "publisher", "contributor", "coverage",),
    *("rights", "source", "relation", "identifier", "type", "format", "config-item",),
))  # fmt: skip
"""Elements of the metadata and settings whose text is the value of a property."""

LOADED = frozenset((
    *("image", "object", "object-ole", "plugin", "applet", "floating-frame", "section-source",),
    *("table-source", "cell-range-source", "fill-image", "template", "background-image", "list-level-style-image", "font-face-uri",),
    *("sound", "auto-reload", "database-source",),
))  # fmt: skip
"""Elements whose target is loaded when the document is opened, or by a click on something that is no link."""
