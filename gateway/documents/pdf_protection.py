"""What encryption of a PDF that opens with no empty password really is.

What it is: ``assess``, from the encryption dictionary and from the octets of the streams.
Who calls it: the PDF reader, after both of its libraries asked for a password.
Must never: take /Encrypt for a proof; the streams of a file that only claims encryption inflate.
Sources: ISO 32000-2 section 7.6 (V 5, R 6, AESV3); docs/inspection.md, PDF encryption; hostile-inputs catalogue E09, E10;
J&K Circular 26-JK(GAD) of 2024 (AES-256).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import pikepdf
import pypdf
from pypdf.errors import PyPdfError
from pypdf.generic import DictionaryObject, NameObject

from gateway.extraction import randomness
from gateway.extraction.base import Budget, Unreadable
from gateway.protection import Protection, ProtectionState

_STREAM = re.compile(rb"(?<!end)stream(?:\r\n|\n|\r)")
_LENGTH = re.compile(rb"/Length\s+(\d{1,10})(?!\d|\s+\d+\s+R)")
_CLEAR = re.compile(rb"/Type\s*/XRef\b")
_METADATA = re.compile(rb"/Type\s*/Metadata\b")
_HEAD = 8192  # octets before a stream in which its dictionary is looked for
_STREAMS = 50_000
_SHORTEST, _WORDS = 64, 24
_PRINTABLE = bytes(range(32, 127)) + b"\t\r\n"
_SPOKEN = re.compile(rb"\([A-Za-z0-9 .,:;/'\"_-]{16,}\)")
_NEVER = re.compile(rb"/(?:O|U|OE|UE|Perms|ID)\s*(?:\[\s*)?\((?:[^()\\]|\\.){0,400}\)", re.S)


@dataclass(frozen=True, slots=True)
class _Claim:
    version: int
    revision: int
    method: str
    """CFM of the streams: V2, AESV2, AESV3, Identity …"""
    strings: str
    """CFM of the strings."""
    bits: int
    files: str
    """CFM of the embedded files."""
    clear_metadata: bool
    handler: str = "Standard"


def assess(data: bytes, budget: Budget) -> Protection:
    """The protection of the PDF *data*. Raises Unreadable when its encryption dictionary cannot be read."""
    claim = _claim(data)
    if claim.handler != "Standard":
        return _unverifiable("it is encrypted by a method other than a password, which cannot be checked")
    if claim.version >= 4 and "Identity" in (claim.method, claim.strings, claim.files):
        return _unverifiable("its encryption leaves streams, strings or embedded files as they are")
    if why := _disproof(data, clear_metadata=claim.clear_metadata, budget=budget):
        return _unverifiable(f"it claims encryption, but {why}")
    if claim.version == 5 and claim.revision in (5, 6) and claim.method == claim.strings == claim.files == "AESV3":
        return Protection(ProtectionState.STRONG, "pdf", "AES-256-CBC", 256)
    if claim.version == 4 and claim.method == "AESV2":
        return _weak("AES-128-CBC", 128)
    if claim.version in (1, 2, 3, 4) and claim.method in ("V2", "RC4", ""):
        return _weak("RC4", claim.bits)
    return _unverifiable("its encryption is of a kind that is not known")


@dataclass(frozen=True, slots=True)
class Closed:
    """The lock of a PDF: a password gives the file without its encryption."""

    data: bytes
    seconds: float

    def open(self, password: str, budget: Budget) -> bytes | None:
        """The file in the clear; None for a wrong password. Raises Unreadable where it fits and the file is broken."""
        try:
            pdf = pikepdf.open(io.BytesIO(self.data), password=password, suppress_warnings=True)
        except pikepdf.PasswordError:
            return None
        except pikepdf.PikepdfError as error:
            raise Unreadable("a PDF that is broken") from error
        with pdf:
            out = io.BytesIO()
            try:
                pdf.save(out, encryption=False, fix_metadata_version=False)
            except (pikepdf.PikepdfError, NotImplementedError) as error:
                raise Unreadable("a PDF that is broken") from error
        budget.spend_bytes(out.tell())
        return out.getvalue()


def lock(data: bytes) -> Closed:
    """The way to try a password on the PDF *data*. A try reads its table of objects, which costs by its length."""
    return Closed(data, 0.004 + len(data) * 1e-8)


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
        handler = str(encrypt.get("/Filter", "")).removeprefix("/")
        if handler != "Standard":
            return _Claim(version, revision, "?", "?", 0, "?", clear_metadata=False, handler=handler)
        method, strings, files = ("V2", "V2", "V2")
        if version >= 4:
            method, strings = _method(encrypt, "/StmF"), _method(encrypt, "/StrF")
            files = _method(encrypt, "/EFF") if "/EFF" in encrypt else method
        clear = encrypt.get("/EncryptMetadata")
        for key, length in (("/O", 32), ("/U", 32)) if version < 5 else (("/O", 48), ("/U", 48), ("/OE", 32), ("/UE", 32)):
            value = encrypt.get(key)
            if value is None or len(getattr(value, "original_bytes", b"")) < length:
                return _Claim(0, 0, "?", "?", 0, "?", clear_metadata=False)
    except (PyPdfError, KeyError, ValueError, TypeError, AttributeError, RecursionError, NotImplementedError) as error:
        raise Unreadable("a PDF whose encryption entry is broken") from error
    return _Claim(version, revision, method, strings, bits, files, clear_metadata=clear is not None and not bool(clear.value))


def _method(encrypt: DictionaryObject, key: str) -> str:
    name = encrypt.get(key, NameObject("/Identity"))
    if name == "/Identity":
        return "Identity"
    filters = encrypt.get("/CF", DictionaryObject()).get_object()
    return str(filters[name].get_object().get("/CFM", "/None")).removeprefix("/").replace("None", "Identity")


def _disproof(data: bytes, *, clear_metadata: bool, budget: Budget) -> str:
    """Why the streams and strings are not all ciphertext, as a plain clause; empty when nothing speaks against it."""
    total, count, behind, payload = 0, 0, 0, bytearray()
    between: list[bytes] = []
    for match in _STREAM.finditer(data):
        if match.start() < behind:
            continue  # inside the octets of the stream before
        count += 1
        if count % 100 == 0:
            budget.check_time()
        if count > _STREAMS:
            return "it has more streams than can be proved"
        head = data[max(behind, match.start() - _HEAD) : match.start()]
        head = head[head.rfind(b" obj") + 1 :]
        end = _end(data, match.end(), head)
        between.append(data[behind : match.start()])
        behind = end
        body = data[match.end() : end]
        if _CLEAR.search(head) or (clear_metadata and _METADATA.search(head)):
            continue
        if len(body) < _SHORTEST:
            if len(body) >= _WORDS and not body.translate(None, _PRINTABLE):
                return "a part of its data is readable text"
            continue
        if why := randomness.disproof(body):
            return why.replace("its data", "a part of its data")
        total += len(body)
        if len(payload) < randomness.SAMPLE:
            payload += body
    between.append(data[behind:])
    if any(_SPOKEN.search(_without_keys(part)) for part in between):
        return "its strings stand in the clear"
    if len(payload) < 1024:
        return "there is too little data to prove it"
    return randomness.disproof(bytes(payload))


def _end(data: bytes, start: int, head: bytes) -> int:
    """Where the octets of a stream end: by its length where that leads to the word that must follow, else at that word."""
    if length := _LENGTH.search(head):
        end = start + int(length[1])
        if data[end : end + 20].lstrip(b"\r\n").startswith(b"endstream"):
            return end
    end = data.find(b"endstream", start)
    if end < 0:
        return len(data)
    return end - (2 if data[end - 2 : end] == b"\r\n" else 1 if data[end - 1 : end] in (b"\r", b"\n") else 0)


def _without_keys(part: bytes) -> bytes:
    """*part* without the strings that are never encrypted: those of the encryption dictionary and the identity of the file."""
    return _NEVER.sub(b"", part)
