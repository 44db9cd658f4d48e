"""The control words of RTF that matter to a reader of its text, as data.

What it is: tables from control word to meaning, and from the numbers of character sets to codecs.
Who calls it: ``documents.rtf_reader``.
Must never: hold code; leave out a destination because it is seldom: what stands here under no name is read as text.
Sources: Rich Text Format specification 1.9.1; MS-OXRTFEX (HTML in RTF).
"""

from __future__ import annotations

from typing import Final

from gateway.verdict import Zone

FLOWS: Final = {
    "header": Zone.PAGE_HEADER, "headerl": Zone.PAGE_HEADER, "headerr": Zone.PAGE_HEADER, "headerf": Zone.PAGE_HEADER,
    "footer": Zone.PAGE_FOOTER, "footerl": Zone.PAGE_FOOTER, "footerr": Zone.PAGE_FOOTER, "footerf": Zone.PAGE_FOOTER,
    "footnote": Zone.BODY, "annotation": Zone.BODY, "shptxt": Zone.BODY, "txe": Zone.BODY, "rxe": Zone.BODY, "xe": Zone.BODY,
    "tc": Zone.BODY, "tcn": Zone.BODY,
}  # fmt: skip
"""Destinations whose text stands on its own, and where."""

TRANSPARENT: Final = frozenset((
    "shpinst", "shppict", "nonshppict", "shp", "background", "do", "dpgroup", "field", "fldrslt", "result", "object", "listtext",
    "pntext", "moMath", "moMathPara", "mr", "mt", "nonesttables", "shprslt",
))  # fmt: skip
"""Destinations whose text belongs to the text around them, although they may be starred."""

ALONE: Final = frozenset((
    "info", "userprops", "upr", "revtbl", "listtable", "filetbl", "docvar", "generator", "atnid", "atnauthor", "atnref", "atndate",
    "atntime", "atnparent", "atnicn", "bkmkstart", "bkmkend", "sp", "sn", "sv", "pn", "pntxta", "pntxtb", "objclass", "objname",
    "objsect", "nextfile", "template", "private", "mhtmltag", "ftnsep", "ftnsepc", "ftncn", "aftnsep", "aftnsepc", "aftncn", "hl",
    "hlloc", "hlsrc", "hlfr", "xmlnstbl", "xmlname", "xmlattrname", "xmlattrvalue", "xmlopen", "xmlclose", "comment", "picprop",
    "datafield", "formfield", "ffname", "ffhelptext", "ffstattext", "ffdeftext", "ffl", "ffentrymcr", "ffexitmcr", "ffformat",
    "propname", "staticval", "linkval", "protusertbl", "nesttableprops", "title", "subject", "author", "manager", "company",
    "operator", "category", "keywords", "doccomm", "hlinkbase", "creatim", "revtim", "printim", "buptim",
    "writereservation", "writereservhash", "passwordhash", "mailmerge", "mmaddfieldname", "mmmailsubject", "mmconnectstr", "mmquery",
    "mmdatasource", "mmheadersource", "mmodso", "mmodsouda", "mmodsosrc", "mmodsotable", "oldcprops", "oldpprops", "oldtprops",
    "falt", "fname", "fontfile",
))  # fmt: skip
"""Destinations whose text is nobody's running text, also where the star is missing. So is every starred one that is not known."""

SILENT: Final = frozenset(("colortbl", "stylesheet", "latentstyles", "rsidtbl", "listoverridetable", "pgptbl", "panose", "blipuid"))
"""Destinations that hold names of styles and numbers; no text of the document."""

PROPERTIES: Final = frozenset((
    "title", "subject", "author", "manager", "company", "operator", "category", "keywords", "doccomm", "hlinkbase", "comment",
))  # fmt: skip

BLOBS: Final = frozenset(("pict", "objdata", "themedata", "datastore", "colorschememapping", "fontemb"))
"""Destinations that hold octets, in hexadecimal or behind \\bin."""

PICTURES: Final = frozenset(("pngblip", "jpegblip", "emfblip", "wmetafile", "dibitmap", "wbitmap", "macpict", "pmmetafile"))

BREAKS: Final = {
    "par": "\n", "line": "\n", "sect": "\n", "page": "\n", "column": "\n", "row": "\n", "nestrow": "\n", "softline": "\n",
    "tab": "\t", "cell": "\t", "nestcell": "\t",
    "emdash": "\u2014", "endash": "\u2013", "bullet": "\u2022", "lquote": "\u2018", "rquote": "\u2019", "ldblquote": "\u201c",
    "rdblquote": "\u201d", "emspace": "\u2003", "enspace": "\u2002", "qmspace": "\u2005", "zwj": "\u200d", "zwnj": "\u200c",
    "zwbo": "\u200b", "zwnbo": "\u2060", "ltrmark": "\u200e", "rtlmark": "\u200f",
}  # fmt: skip
"""Control words that are characters."""

SYMBOLS: Final = {"~": "\u00a0", "_": "-", "-": "\u00ad", "{": "{", "}": "}", "\\": "\\", "\r": "\n", "\n": "\n", "\t": "\t"}
"""Control symbols that are characters; a hyphen that shows only at the end of a line is a soft hyphen."""

CHARSETS: Final = {
    0: "cp1252", 77: "mac-roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gb18030", 136: "big5hkscs", 161: "cp1253",
    162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 179: "cp1256", 180: "cp1256", 181: "cp1255", 186: "cp1257",
    204: "cp1251", 222: "cp874", 238: "cp1250", 254: "cp437", 255: "cp850",
}  # fmt: skip
"""Codec of a font by the number behind \\fcharset; others are as the document says."""

CODE_PAGES: Final = {
    437: "cp437", 708: "iso8859-6", 819: "latin-1", 850: "cp850", 852: "cp852", 860: "cp860", 862: "cp862", 863: "cp863", 864: "cp864",
    865: "cp865", 866: "cp866", 874: "cp874", 932: "cp932", 936: "gb18030", 949: "cp949", 950: "big5hkscs", 1250: "cp1250",
    1251: "cp1251", 1252: "cp1252", 1253: "cp1253", 1254: "cp1254", 1255: "cp1255", 1256: "cp1256", 1257: "cp1257", 1258: "cp1258",
    1361: "johab", 10000: "mac-roman", 65001: "utf-8",
}  # fmt: skip
"""Codec by the number behind \\ansicpg or \\cpg."""

LOADING: Final = ("INCLUDETEXT", "INCLUDEPICTURE", "INCLUDE", "IMPORT", "LINK", "RD", "DATABASE")
"""Field instructions that load something into the document."""
