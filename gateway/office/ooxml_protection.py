"""What encryption of an Office document (OOXML in a compound file) really is.

What it is: the extractor of compound files that hold ``EncryptionInfo`` and ``EncryptedPackage``.
Who calls it: ``content.walk`` through the table.
Must never: call a document protected that opens with Office's default password, or whose package is plain.
Sources: MS-OFFCRYPTO 2.3.4.5 (standard), 2.3.4.10 (agile); J&K Circular 26-JK(GAD) of 2024 (AES-256); hostile-inputs catalogue
E11, E12.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass

import olefile
from msoffcrypto.format.ooxml import OOXMLFile

from gateway.documents import xml_charset
from gateway.extraction import randomness
from gateway.extraction.base import Budget, Child, Found, Piece, Unreadable
from gateway.extraction.compound_header import is_sound
from gateway.office import agile_verifier, ole
from gateway.protection import Protection, ProtectionState
from gateway.verdict import LeafState


class _Empty(str):
    """The empty password; msoffcrypto takes one that is false for none at all."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


DEFAULT_PASSWORDS = ("VelvetSweatshop", _Empty())
"""What Office tries by itself, and what a careless program writes."""
_SPINS = 2_000_000
_HASHES = frozenset(("SHA1", "SHA256", "SHA384", "SHA512"))
"""What passwords can be tried with; of any other, of CFB and of keys longer than the hash, nobody here can say whether the
default password opens it."""
_SECONDS_A_SPIN, _STANDARD_SECONDS = 0.65e-6, 0.07
_ALGORITHMS = {0x6801: ("RC4", 128), 0x660E: ("AES-128-ECB", 128), 0x660F: ("AES-192-ECB", 192), 0x6610: ("AES-256-ECB", 256)}
_USUAL = frozenset(("encryptioninfo", "encryptedpackage", "\x05summaryinformation", "\x05documentsummaryinformation"))


@dataclass(frozen=True, slots=True)
class _Claim:
    cipher: str
    bits: int
    openable: bool
    """Whether trying passwords is bounded and supported."""
    seconds: float = _STANDARD_SECONDS
    """Processor time that one try takes."""


def extract(piece: Piece, budget: Budget) -> Found:
    """The document itself as a child when it opens without a secret; else its protection."""
    if not is_sound(piece.data):
        raise Unreadable("a compound file that is cut off, or with a broken header")
    with olefile.OleFileIO(io.BytesIO(piece.data), raise_defects=olefile.DEFECT_INCORRECT) as file:
        streams = ["/".join(name).lower() for name in file.listdir()]
        if "encryptedpackage" not in streams:
            return ole.extract(piece, budget)  # the name stands somewhere in its text
        if any(name.endswith(("drmencrypteddataspace", "drmtransform/\x06primary")) for name in streams):
            return _unverifiable("its rights are managed by a server that cannot be asked")
        if "encryptioninfo" not in streams:
            raise Unreadable("an Office document whose encryption is incomplete")
        others = [name for name in streams if name not in _USUAL and not name.startswith("\x06dataspaces/")]
        info = file.openstream("EncryptionInfo").read(100_000)
        package = file.openstream("EncryptedPackage").read(budget.room(len(piece.data)))
    claim = _claim(info)
    if claim.openable and (opened := _open(piece.data, budget)) is not None:
        protection = Protection(scheme="ooxml", reason="it opens with Office's default password")
        return Found(children=(Child("document", opened),), reason=protection.reason, protection=protection, container=True)
    if not claim.openable and claim.cipher.startswith("AES-256"):
        return _unverifiable("the default passwords could not be tried on it")
    if not claim.bits:
        return _unverifiable("its encryption is of an unknown kind")
    if others:
        return _unverifiable("it holds readable streams beside the encrypted document")
    size = int.from_bytes(package[:8], "little")
    payload = package[8:]
    if size == 0 or len(payload) % 16 or not size <= len(payload) <= size + 4096:
        return _unverifiable("its encrypted package does not have the size it states")
    if why := randomness.disproof(payload):
        return _unverifiable(f"it claims {claim.cipher} encryption, but {why}")
    if len(payload) < 1024:
        return _unverifiable("its encrypted package is too short for a document")
    lock = _Lock(piece.data, claim.seconds) if claim.openable else None
    if claim.bits < 256 or not claim.cipher.startswith("AES-256"):
        weak = Protection(ProtectionState.WEAK, "ooxml", claim.cipher, claim.bits, f"{claim.cipher} is below AES-256")
        return Found(state=LeafState.SUSPECT, reason=weak.reason, protection=weak, lock=lock)
    return Found(state=LeafState.OPAQUE, protection=Protection(ProtectionState.STRONG, "ooxml", claim.cipher, claim.bits), lock=lock)


@dataclass(frozen=True, slots=True)
class _Lock:
    """Tries a password; how long that takes, the file itself says (its spin count)."""

    data: bytes
    seconds: float

    def open(self, password: str, budget: Budget) -> bytes | None:
        return _open(self.data, budget, (password,)) if password else None


def _unverifiable(reason: str) -> Found:
    return Found(state=LeafState.SUSPECT, reason=reason, protection=Protection(ProtectionState.UNVERIFIABLE, "ooxml", reason=reason))


def _claim(info: bytes) -> _Claim:
    if len(info) < 8:
        raise Unreadable("an Office document with broken encryption data")
    major, minor, flags = struct.unpack_from("<HHI", info)
    if (major, minor) == (4, 4):
        return _agile(info[8:])
    if minor == 2 and major in (2, 3, 4):
        header = struct.unpack_from("<I", info, 8)[0]
        if header < 32 or 12 + header > len(info):
            raise Unreadable("an Office document with broken encryption data")
        algorithm, _, bits = struct.unpack_from("<III", info, 20)
        # flag 0x20 (fAES) must be set for AES; algorithm 0 means "by the flags"
        if flags & 0x20 and algorithm in _ALGORITHMS and algorithm != 0x6801:
            cipher, proper = _ALGORITHMS[algorithm]
            return _Claim(cipher, proper if bits == proper else min(bits, proper), openable=True)
        return _Claim("AES-128-ECB" if flags & 0x20 else "RC4", 128, openable=bool(flags & 0x20))
    return _Claim("unknown encryption", 0, openable=False)


_ELEMENT = re.compile(r"<(?:\w{1,40}+:)?(?:keyData|encryptedKey)\s([^<>]{0,20000}+)>")
_ATTRIBUTE = re.compile(r"(?<![A-Za-z])([A-Za-z]{1,60}+)\s{0,20}+=\s{0,20}+\"([^\"]{0,4000}+)\"")


def _agile(xml: bytes) -> _Claim:
    """Both the cipher of the data and that of the key must be AES; the weaker of the two counts."""
    if xml_charset.as_utf8(xml) != xml:  # the library that tries passwords on it would look for the declared character set by itself
        raise Unreadable("an Office document with broken encryption data")
    text = xml.decode("utf-8", "replace")
    elements = [dict(_ATTRIBUTE.findall(element)) for element in _ELEMENT.findall(text)]
    if len(elements) < 2 or "<!" in text:
        raise Unreadable("an Office document with broken encryption data")
    ciphers = {element.get("cipherAlgorithm", "") for element in elements}
    try:
        bits = min(int(element.get("keyBits", "0")[:6]) for element in elements)
        spins = max(int(element.get("spinCount", "0")[:12]) for element in elements)
    except ValueError:
        raise Unreadable("an Office document with broken encryption data") from None
    modes = {element.get("cipherChaining", "") for element in elements}
    hashes = {element.get("hashAlgorithm", "") for element in elements}
    name = "AES" if ciphers == {"AES"} else "/".join(sorted(ciphers))[:20]
    mode = {"ChainingModeCBC": "CBC", "ChainingModeCFB": "CFB"}.get(next(iter(modes)) if len(modes) == 1 else "", "")
    triable = spins <= _SPINS and mode == "CBC" and hashes <= _HASHES and ("SHA1" not in hashes or bits == 128)
    if not mode or bits not in (128, 192, 256):
        return _Claim(name or "unknown encryption", 0, openable=False)
    return _Claim(f"{name}-{bits}-{mode}", bits, openable=triable, seconds=0.002 + spins * _SECONDS_A_SPIN)


def _fits(document: OOXMLFile, password: str) -> bool:
    """Whether *password* passes the verifier. The library derives the key twice for that; once is slow enough."""
    if document.type != "agile":
        return True
    return agile_verifier.fits(document.info, password)


def _open(data: bytes, budget: Budget, passwords: tuple[str, ...] = DEFAULT_PASSWORDS) -> bytes | None:
    """The decrypted document, if one of *passwords* opens it."""
    for password in passwords:
        budget.check_time()
        try:
            document = OOXMLFile(io.BytesIO(data))
            if not _fits(document, password):
                continue
            document.load_key(password=password, verify_password=document.type != "agile")
            if document.type == "agile":  # the library keeps the filling of a key of 192 bits
                document.secret_key = document.secret_key[: document.info["passwordKeyBits"] // 8]
            out = io.BytesIO()
            document.decrypt(out)
        except Exception:  # noqa: S112 - the library has no common root for "wrong password" and "broken"
            continue
        opened = out.getvalue()
        if opened.startswith(b"PK"):
            budget.spend_bytes(len(opened))
            return opened
    return None
