"""OpenDocument files: not read yet, but their encryption is seen.

What it is: an extractor that tells whether the manifest claims encryption; the text is a later reader's.
Who calls it: ``content.walk`` through the table.
Must never: return *inspected*; prove encryption by the manifest alone.
Source: OpenDocument 1.3 part 2 section 4 (manifest:encryption-data).
"""

from __future__ import annotations

from gateway.content import zip, zip_directory
from gateway.content.base import Budget, Found, Piece
from gateway.protection import Protection, ProtectionState
from gateway.verdict import LeafState

_SIGNS = frozenset({"mimetype", "META-INF/manifest.xml", "encrypted-package"})
_REASON = "an OpenDocument file: there is no reader for it"


def extract(piece: Piece, budget: Budget) -> Found:
    """Suspect in any case; with *unverifiable* protection where the manifest names encryption. A file that only holds an
    OpenDocument file is read as the archive that it is."""
    directory = zip_directory.read(piece.data, budget)
    if not any(entry.name in _SIGNS for entry in directory.entries):
        return zip.extract(piece, budget)  # the sign stood in a member: an ordinary archive with such a file in it
    claimed = any(
        entry.name in ("META-INF/manifest.xml", "encrypted-package")
        and (entry.name == "encrypted-package" or b"encryption-data" in zip_directory.unpack(piece.data, entry, budget))
        for entry in directory.entries
    )
    if not claimed:
        return Found(state=LeafState.SUSPECT, reason=_REASON)
    why = "its encryption cannot be verified"
    return Found(state=LeafState.SUSPECT, reason=_REASON, protection=Protection(ProtectionState.UNVERIFIABLE, "odf", reason=why))
