"""What a page does when it is opened: scripts, pages that build a file, forms that send, addresses that are loaded at once.

What it is: ``in_text`` for what stands in the page as written, ``of_tag`` for one element; both name it by ``base.ACTIVE``.
Who calls it: ``documents.html``.
Must never: read or run a script; be the reason to believe that a page is harmless.
Sources: HTML Living Standard 4.8 (frames), 4.10 (forms), 4.12 (scripts); hostile-inputs catalogue D10, M28.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_RUNS = re.compile(
    r"<\s{0,20}script|<\s{0,20}(?:object|embed|applet)\b|\bon[a-z]{3,20}\s{0,20}=\s{0,20}[\"']?[^\s>]|(?:java|vb)script:|<hta:", re.I
)
_DECODES = re.compile(r"\batob\b|fromCharCode|Uint8Array|charCodeAt|decodeURI|unescape|TextDecoder|fromBase64|WebAssembly", re.I)
_HANDS_OVER = re.compile(
    r"\bBlob\b|createObjectURL|msSave(?:OrOpen)?Blob|\.download\b|\bdownload\s{0,20}=|showSaveFilePicker|\bnew\s{1,20}File\b|"
    r"data:application/|document\.write|srcdoc|blob:|execCommand",
    re.I,
)
_LAUNCH = re.compile(r"\bms-(?:word|excel|powerpoint|msdt|officecmd|appinstaller):|\bsearch-ms:|\bmhtml:|\bms-its:", re.I)
_OUTSIDE = re.compile(r"\s{0,20}(?:https?:|ftp:|file:|//|\\\\)", re.I)
_SENDS = re.compile(r"\s{0,20}(?:https?:|ftp:|mailto:|//)", re.I)
_FRAMES = frozenset(("iframe", "frame", "object", "embed", "portal"))


def in_text(text: str) -> tuple[str, ...]:
    """The kinds of active content that stand in the page *text* as it is written."""
    found = []
    if _RUNS.search(text):
        found.append("script")
        if _DECODES.search(text) and _HANDS_OVER.search(text):
            found.append("smuggling")
    if _LAUNCH.search(text):
        found.append("launch")
    return tuple(found)


def of_tag(tag: str, attributes: Mapping[str, str]) -> str:
    """What the element *tag* does by itself; empty for nothing."""
    if _SENDS.match(attributes.get("action", "") if tag == "form" else attributes.get("formaction", "")):
        return "form"
    if tag in _FRAMES and _OUTSIDE.match(attributes.get("src", "") or attributes.get("data", "")):
        return "external"
    if tag == "meta" and attributes.get("http-equiv", "").strip().lower() == "refresh" and "url" in attributes.get("content", "").lower():
        return "external"
    if tag == "link" and "import" in attributes.get("rel", "").lower():
        return "external"
    return ""
