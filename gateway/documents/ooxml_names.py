"""Which elements and attributes of Office documents matter to a reader of text.

What it is: tables of local names.
Who calls it: ``documents.ooxml_text``.
Must never: decide what is text: all character data is; these names only say where lines end and which attributes speak.
Source: ECMA-376 part 1.
"""

from __future__ import annotations

from gateway.verdict import Zone

BLOCKS = frozenset(
    [
        "p",
        "br",
        "cr",
        "si",
        "c",
        "row",
        "tr",
        "tc",
        "tbl",
        "sp",
        "txBody",
        "comment",
        "footnote",
        "endnote",
        "h",
        "pPr",
        "sectPr",
        "lvl",
        "cell",
        "title",
        "text",
        "author",
        "docPart",
        "graphicFrame",
        "pic",
        "oddHeader",
        "oddFooter",
        "evenHeader",
        "evenFooter",
        "firstHeader",
        "firstFooter",
    ]
)
"""Elements that end a line."""

SHEET_EDGES = {
    "oddHeader": Zone.PAGE_HEADER,
    "evenHeader": Zone.PAGE_HEADER,
    "firstHeader": Zone.PAGE_HEADER,
    "oddFooter": Zone.PAGE_FOOTER,
    "evenFooter": Zone.PAGE_FOOTER,
    "firstFooter": Zone.PAGE_FOOTER,
}
"""Headers and footers of a sheet, which stand as elements in the sheet's own part."""

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "textpath": ("string",),
    "lvlText": ("val",),
    "docVar": ("name", "val"),
    "docPr": ("descr", "title", "name"),
    "cNvPr": ("descr", "title", "name"),
    "shape": ("alt", "title"),
    "imagedata": ("title",),
    "sheet": ("name",),
    "alias": ("val",),
    "tag": ("val",),
    "listItem": ("displayText",),
    "listEntry": ("val",),
    "definedName": ("name", "comment"),
    "dataValidation": ("promptTitle", "prompt", "errorTitle", "error"),
    "fldSimple": ("instr",),
    "default": ("val",),
    "helpText": ("val",),
    "statusText": ("val",),
    "label": ("id", "name"),
    "comment": ("author",),
    "hyperlink": ("tooltip", "display"),
    "hlinkClick": ("tooltip",),
    "ins": ("author",),
    "del": ("author",),
}
"""Attributes that people see, or that carry a label, by element."""
