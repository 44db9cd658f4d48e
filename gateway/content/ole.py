"""Older Office documents and other compound files: not read yet, but their encryption is seen.

What it is: an extractor that names the kind and tells whether the file claims encryption; the text is a later reader's.
Who calls it: ``content.walk`` through the table.
Must never: return *inspected*; call RC4 or XOR encryption strong (no older format knows AES-256).
Sources: MS-DOC 2.5.2 (fEncrypted), MS-XLS 2.4.117 (FilePass), MS-PPT 2.3.2 (CryptSession10), MS-CFB; hostile-inputs catalogue E12.
"""

from __future__ import annotations

import io

import olefile

from gateway.content.base import Budget, Found, Piece
from gateway.protection import Protection, ProtectionState
from gateway.verdict import LeafState

_FILE_PASS, _BOF, _END = 0x002F, 0x0809, 0x000A
_ENCRYPTED_WORD = 0x0100  # in the FIB's flags at offset 10
_PPT_ENCRYPTED = b"\xdf\xc4\xd1\xf3"


def extract(piece: Piece, budget: Budget) -> Found:
    """Suspect in any case; with *unverifiable* protection where the file says that it is encrypted."""
    with olefile.OleFileIO(io.BytesIO(piece.data), raise_defects=olefile.DEFECT_INCORRECT) as ole:
        claimed = _word(ole) or _workbook(ole) or _slides(ole)
    reason = "an older Office document or another compound file: there is no reader for it"
    if not claimed:
        return Found(state=LeafState.SUSPECT, reason=reason)
    why = "it is encrypted the way older Office formats are, which is weak at best"
    return Found(state=LeafState.SUSPECT, reason=reason, protection=Protection(ProtectionState.UNVERIFIABLE, "office", reason=why))


def _word(ole: olefile.OleFileIO) -> bool:
    if not ole.exists("WordDocument"):
        return False
    head = ole.openstream("WordDocument").read(12)
    return len(head) == 12 and bool(int.from_bytes(head[10:12], "little") & _ENCRYPTED_WORD)


def _workbook(ole: olefile.OleFileIO) -> bool:
    """FilePass stands among the first records of the workbook."""
    name = next((name for name in ("Workbook", "Book") if ole.exists(name)), "")
    if not name:
        return False
    data, at = ole.openstream(name).read(65_536), 0
    while at + 4 <= len(data):
        kind, length = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 2 : at + 4], "little")
        if kind in (_FILE_PASS, _END):
            return kind == _FILE_PASS
        at += 4 + length
    return False


def _slides(ole: olefile.OleFileIO) -> bool:
    return bool(ole.exists("EncryptedSummary")) or bool(
        ole.exists("Current User") and ole.openstream("Current User").read(16)[12:16] == _PPT_ENCRYPTED
    )
