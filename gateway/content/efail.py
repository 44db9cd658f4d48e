"""Encrypted parts that stand inside of somebody else's HTML.

What it is: ``between_html``: parts around an encrypted one that would carry its text away when a mail program decrypts it and shows all of
them as one page.
Who calls it: ``content.walk``, with the leaves of the message.
Must never: judge an encrypted attachment by itself; this is about the parts beside it.
Sources: Poddebniak and others, "Efail: Breaking S/MIME and OpenPGP Email Encryption using Exfiltration Channels" (2018), direct
exfiltration; CVE-2017-17688, CVE-2017-17689; hostile-inputs catalogue E18.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.message.parts import Part, View
from gateway.protection import ProtectionState
from gateway.verdict import Leaf

_SCHEMES = ("pgp", "cms")
_TAIL = 100_000  # octets at the end of an HTML part in which a tag may have been left open
_DOUBT = "an encrypted part stands between parts of HTML"
_OPEN = "an encrypted part stands behind HTML that ends within a tag"


def between_html(view: View, leaves: Sequence[Leaf]) -> str:
    """Why the message *view*, read as *leaves*, is ambiguous; empty where it is not."""
    closed = {
        leaf.path.partition(":")[0]
        for leaf in leaves
        if "/" not in leaf.path.partition(":")[0]
        and leaf.protection.scheme in _SCHEMES
        and leaf.protection.state is not ProtectionState.NONE
    }
    if not closed:
        return ""
    before: Part | None = None
    encrypted = False
    for part in view.parts:
        if part.number in closed:
            if before is not None and _ends_in_tag(before.decoded()):
                return _OPEN
            encrypted = encrypted or before is not None
        elif part.media_type == "text/html" and not part.is_attachment:
            if encrypted and not _is_footer(part.decoded()):
                return _DOUBT
            before = part
    return ""


def _ends_in_tag(data: bytes) -> bool:
    tail = data[-_TAIL:]
    return tail.rfind(b"<") > tail.rfind(b">")


def _is_footer(data: bytes) -> bool:
    """Whether HTML behind an encrypted part stands on its own: a list's footer, a disclaimer. What goes on with a page that was begun
    before has text before its first tag, or closes what it never opened.
    """
    text = data.lstrip()
    return text.startswith(b"<") and text[1:2] != b"/"
