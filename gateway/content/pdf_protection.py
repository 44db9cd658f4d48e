"""What encryption of a PDF that opens with no empty password really is.

What it is: ``assess``, from the encryption dictionary and from the octets of the streams.
Who calls it: the PDF reader, after both of its libraries asked for a password.
Must never: take /Encrypt for a proof; the streams of a file that only claims encryption inflate.
Sources: ISO 32000-2 section 7.6 (V 5, R 6, AESV3); reference/inspection.md, PDF encryption; hostile-inputs catalogue E09, E10;
J&K Circular 26-JK(GAD) of 2024 (AES-256).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import pypdf
from pypdf.errors import PyPdfError
from pypdf.generic import DictionaryObject, NameObject

from gateway.content import randomness
from gateway.content.base import Unreadable
from gateway.protection import Protection, ProtectionState

_STREAM = re.compile(rb"<<((?:[^<>]|<<|>>|<[0-9A-Fa-f\s]*>){0,20000}?)>>\s*stream\r?\n")
_LENGTH = re.compile(rb"/Length\s+(\d{1,10})(?!\s+\d+\s+R)")
_CLEAR = (b"/XRef",)
_ENOUGH = 4 << 20


@dataclass(frozen=True, slots=True)
class _Claim:
    version: int
    revision: int
    method: str
    """CFM of the streams: V2, AESV2, AESV3, Identity …"""
    strings: str
    """CFM of the strings."""
    bits: int
    clear_metadata: bool


def assess(data: bytes) -> Protection:
    """The protection of the PDF *data*. Raises Unreadable when its encryption dictionary cannot be read."""
    claim = _claim(data)
    if claim.version >= 4 and "Identity" in (claim.method, claim.strings):
        return _unverifiable("its encryption leaves streams or strings as they are")
    if why := _disproof(data, clear_metadata=claim.clear_metadata):
        return _unverifiable(f"it claims encryption, but {why}")
    if claim.version == 5 and claim.revision in (5, 6) and claim.method == claim.strings == "AESV3":
        return Protection(ProtectionState.STRONG, "pdf", "AES-256-CBC", 256)
    if claim.version == 4 and claim.method == "AESV2":
        return _weak("AES-128-CBC", 128)
    if claim.version in (1, 2, 3, 4) and claim.method in ("V2", "RC4", ""):
        return _weak("RC4", claim.bits)
    return _unverifiable("its encryption is of a kind that is not known")


def _weak(cipher: str, bits: int) -> Protection:
    return Protection(ProtectionState.WEAK, "pdf", cipher, bits, f"{cipher} is below AES-256")


def _unverifiable(reason: str) -> Protection:
    return Protection(ProtectionState.UNVERIFIABLE, "pdf", reason=reason)


def _claim(data: bytes) -> _Claim:
    try:
        trailer = pypdf.PdfReader(io.BytesIO(data), strict=False).trailer
        entry = trailer["/Encrypt"]
        encrypt = entry.get_object() if entry is not None else None
        if not isinstance(encrypt, DictionaryObject):
            raise Unreadable("a PDF whose encryption entry is broken")
        version, revision = int(encrypt.get("/V", 0)), int(encrypt.get("/R", 0))
        bits = int(encrypt.get("/Length", 40))
        methods = (_method(encrypt, "/StmF"), _method(encrypt, "/StrF")) if version >= 4 else ("V2", "V2")
        clear = encrypt.get("/EncryptMetadata")
        for key, length in (("/O", 32), ("/U", 32)) if version < 5 else (("/O", 48), ("/U", 48), ("/OE", 32), ("/UE", 32)):
            value = encrypt.get(key)
            if value is None or len(getattr(value, "original_bytes", b"")) < length:
                return _Claim(0, 0, "?", "?", 0, clear_metadata=False)
    except (PyPdfError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable("a PDF whose encryption entry is broken") from error
    return _Claim(version, revision, *methods, bits, clear_metadata=clear is not None and not bool(clear.value))


def _method(encrypt: DictionaryObject, key: str) -> str:
    name = encrypt.get(key, NameObject("/Identity"))
    if name == "/Identity":
        return "Identity"
    filters = encrypt.get("/CF", DictionaryObject()).get_object()
    return str(filters[name].get_object().get("/CFM", "/None")).removeprefix("/").replace("None", "Identity")


def _disproof(data: bytes, *, clear_metadata: bool) -> str:
    """Why the streams are not all ciphertext, as a plain clause; empty when nothing speaks against it."""
    total, payload = 0, bytearray()
    for match in _STREAM.finditer(data):
        length = _LENGTH.search(match[1])
        end = match.end() + int(length[1]) if length else data.find(b"endstream", match.end())
        if end < 0 or end > len(data):
            continue
        body = data[match.end() : end]
        if any(word in match[1] for word in _CLEAR) or (clear_metadata and b"/Metadata" in match[1]):
            continue
        if len(body) < 64:
            continue
        if why := randomness.disproof(body):
            return why.replace("its data", "a part of its data")
        total += len(body)
        if len(payload) < randomness.SAMPLE:
            payload += body
        if total > _ENOUGH:
            break
    if len(payload) < 1024:
        return "there is too little data to prove it"
    return randomness.disproof(bytes(payload))
