"""S/MIME and CMS: signatures, signed content, and what is encrypted.

What it is: the extractor of CMS objects (DER, BER or PEM). What is signed, digested, authenticated or compressed is opened and read; a
signature beside its content must hold nothing but a signature; what is encrypted is weighed in ``cms_protection``.
Who calls it: ``content.walk`` through the table.
Must never: believe the declared type or the name (the object says what it is); call a signature clean that has room for a
document; check a signature (the recipient does that, on unchanged bytes).
Sources: RFC 5652 (CMS), RFC 8551 (S/MIME 4.0), RFC 2634 section 3.2 (ESSSecurityLabel), RFC 3274 (compressed data);
hostile-inputs catalogue M30, E16, E22.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Iterator

from gateway.encryption import cms_key_lock, cms_lock, cms_protection, der
from gateway.encryption.der import CONTEXT, INTEGER, OCTETS, OID, SEQUENCE, SET, Node
from gateway.extraction.base import Budget, Child, Found, OverLimit, Piece, Unreadable
from gateway.extraction.randomness import disproof
from gateway.levels import Level
from gateway.protection import Protection, ProtectionState
from gateway.verdict import LeafState

LARGEST_SIGNATURE = 200_000
"""Octets of certificates, lists and attributes beyond which a signature is suspect."""
_LARGEST_CERTIFICATE = 16_000
_LARGEST_ATTRIBUTE = 8_000  # a time stamp with its own certificates is the largest usual one
_MOST = 200  # certificates, signers or attributes

_SIGNED = "1.2.840.113549.1.7.2"
_DATA = "1.2.840.113549.1.7.1"
_LABEL = "1.2.840.113549.1.9.16.2.2"
_COMPRESSED = "1.2.840.113549.1.9.16.1.9"
_NAMES = {
    "1.2.840.113549.1.7.5": "digested data",
    _COMPRESSED: "compressed data",
    "1.2.840.113549.1.9.16.1.2": "authenticated data",
    "1.2.840.113549.1.7.4": "signed and enveloped data",
}
_PLAIN = frozenset(("1.2.840.113549.1.7.5", _COMPRESSED, "1.2.840.113549.1.9.16.1.2"))
"""Content types whose content stands in the clear."""
_ARMOUR = re.compile(rb"-----BEGIN (PKCS7|CMS|PKCS #7 SIGNED DATA)-----\s([A-Za-z0-9+/=\s]+)-----END \1-----")
_WHOLE = re.compile(rb"\s*+-----BEGIN (PKCS7|CMS|PKCS #7 SIGNED DATA)-----[ \t]*+\r?\n([A-Za-z0-9+/\s]++={0,2})\s*+-----END \1-----\s*+")
_BEGIN = re.compile(
    rb"\x30(?:[\x20-\x80]|\x81.|\x82..|\x83...|\x84....)\x06[\x09\x0b]\x2a\x86\x48\x86\xf7\x0d\x01(?:\x07|\x09\x10\x01)", re.S
)
"""A sequence that begins with one of the content types of CMS."""
ENTITY = re.compile(rb"\A\s{0,4}(?:content-|mime-version:|from:|to:|subject:|date:|received:|message-id:)", re.I)
"""How content begins that is an entity with its header section."""
_DOCUMENT = re.compile(rb"PK\x03\x04|PK\x05\x06|%PDF-|\xd0\xcf\x11\xe0\xa1\xb1|Rar!\x1a|7z\xbc\xaf\x27|\{\\rtf")
_ENDINGS = (".p7m", ".p7s", ".p7c", ".p7b", ".pkcs7", ".cms", ".sig")
_LEVELS = {level.ess: level for level in Level}


def extract(piece: Piece, budget: Budget) -> Found:
    """What the object is by its own content type. Raises Unreadable for a broken one."""
    data = _octets(piece.data)
    nodes = list(der.read(data))
    if len(nodes) != 1 or not nodes[0].is_(SEQUENCE):
        raise Unreadable("a CMS object with other data behind its end")
    outer = list(nodes[0].children())
    kind = outer[0].oid() if outer else ""
    if len(outer) != 2 or not outer[1].is_(0, CONTEXT):
        raise Unreadable("a CMS object without content")
    budget.check_time()
    body = _only(outer[1])
    if kind == _SIGNED:
        return _signed(body, len(data), piece)
    if kind == _DATA:
        return Found(children=(_child(body.octets(), piece),), container=True, media_type="application/pkcs7-mime")
    if kind in cms_protection.KINDS:
        return _encrypted(kind, body, budget)
    if kind in _PLAIN:
        return _plain(kind, body, len(data), piece, budget)
    raise Unreadable(f"a CMS object of {_NAMES.get(kind, 'an unknown kind')}: there is no reader for it")


def _encrypted(kind: str, body: Node, budget: Budget) -> Found:
    """What is encrypted, or says so."""
    lock = cms_lock.lock(body)
    # More than a second for one try is nothing that a careless program writes with an empty password.
    opened = lock.open("", budget) if lock is not None and lock.seconds < 1 else None
    protection = cms_protection.assess(kind, body)
    children: tuple[Child, ...] = ()
    if opened is not None:
        reason = "an S/MIME or CMS object whose password is empty"
        protection = Protection(ProtectionState.WEAK, "cms", protection.cipher, protection.bits, reason)
        children, lock = (Child("content", opened, "message/rfc822" if ENTITY.match(opened) else ""),), None
    elif protection.state is ProtectionState.UNVERIFIABLE and (data := cms_protection.payload(body)) and disproof(data):
        budget.spend_bytes(len(data))
        children = (Child("data", data),)  # what is not encrypted is read
    state = LeafState.OPAQUE if protection.state is ProtectionState.STRONG else LeafState.SUSPECT
    return Found(
        (), children, state, protection.reason, protection, container=bool(children), media_type="application/pkcs7-mime", lock=lock,
        key_lock=None if children else cms_key_lock.key_lock(body),
    )  # fmt: skip


def _plain(kind: str, body: Node, size: int, piece: Piece, budget: Budget) -> Found:
    """Digested, authenticated or compressed content: it can be read by everybody."""
    wrapped = next((node for node in body.children() if node.is_(SEQUENCE) and _is_content(node)), None)
    if wrapped is None:
        raise Unreadable(f"a CMS object of {_NAMES[kind]} that is broken")
    content = _content(list(wrapped.children()))
    # What stands beside the content: digests, and for authenticated data its recipients.
    problem = "a CMS object with more beside its content than any" if size - len(content) > LARGEST_SIGNATURE else ""
    if kind == _COMPRESSED:
        content = _inflate(content, budget)
    if not content:
        raise Unreadable(f"a CMS object of {_NAMES[kind]} without content")
    state = LeafState.SUSPECT if problem else LeafState.INSPECTED
    return Found((), (_child(content, piece),), state, problem, container=True, media_type="application/pkcs7-mime")


def _is_content(node: Node) -> bool:
    """Whether *node* is EncapsulatedContentInfo: a content type, and the content in its tag."""
    parts = list(node.children())
    return len(parts) == 2 and parts[0].is_(OID) and parts[1].is_(0, CONTEXT)


def _inflate(packed: bytes, budget: Budget) -> bytes:
    """Raises Unreadable for what is no zlib, OverLimit for too much of it."""
    room = budget.room(len(packed))
    engine = zlib.decompressobj()
    try:
        out = engine.decompress(packed, room + 1)
    except zlib.error:
        raise Unreadable("a CMS object of compressed data that is broken") from None
    if len(out) > room:
        raise OverLimit("it unpacks to more than the limit")
    if not engine.eof or engine.unused_data:
        raise Unreadable("a CMS object of compressed data that is broken")
    budget.spend_bytes(len(out))
    return out


def _octets(data: bytes) -> bytes:
    """The object itself: out of its armour, without the line end behind it."""
    if data[:1] == b"\x30":
        return data
    found = list(_ARMOUR.finditer(data))
    if len(found) != 1:
        raise Unreadable("a CMS object in broken armour" if not found else "several CMS objects in one text")
    try:
        return binascii.a2b_base64(found[0][2])
    except binascii.Error:
        raise Unreadable("a CMS object in broken armour") from None


def armoured(data: bytes) -> bool:
    """Whether the text *data* is one object in armour and nothing else, every character of which is read."""
    block = _WHOLE.fullmatch(data)
    if block is None or len(digits := b"".join(block[2].split())) % 4:
        return False
    return _BEGIN.match(binascii.a2b_base64(digits[:64])) is not None


def _only(node: Node) -> Node:
    """The one value in *node*."""
    inner = list(node.children())
    if len(inner) != 1:
        raise Unreadable("a CMS object that is broken")
    return inner[0]


def _signed(body: Node, size: int, piece: Piece) -> Found:
    """SignedData: version, digest algorithms, content, certificates, revocation lists, signers."""
    fields = list(body.children())
    if len(fields) < 4 or not fields[0].is_(INTEGER) or not fields[1].is_(SET) or not fields[2].is_(SEQUENCE):
        raise Unreadable("a CMS object that is broken")
    if not fields[-1].is_(SET) or any(not (node.is_(0, CONTEXT) or node.is_(1, CONTEXT)) for node in fields[3:-1]):
        raise Unreadable("a signature with fields that no program writes")
    wrapped = list(fields[2].children())
    content = _content(wrapped)
    problem = _oddity(fields, size - len(content))
    label = _label(fields[-1])
    state = LeafState.SUSPECT if problem else LeafState.INSPECTED
    properties = {"Security Classification": label.text} if label is not None else {}
    if not content:
        return Found((), (), state, problem, properties=properties, media_type="application/pkcs7-signature", is_signature=not problem)
    child = _child(content, piece)
    return Found((), (child,), state, problem, properties=properties, container=True, media_type="application/pkcs7-mime")


def _content(wrapped: list[Node]) -> bytes:
    """The octets that are signed, where they are in the object; what is no octet string is taken as it is written."""
    if not wrapped or len(wrapped) > 2:
        raise Unreadable("a CMS object that is broken")
    wrapped[0].oid()
    if len(wrapped) == 1:
        return b""
    if not wrapped[1].is_(0, CONTEXT):
        raise Unreadable("a CMS object that is broken")
    inner = _only(wrapped[1])
    return inner.octets() if inner.is_(OCTETS) else inner.whole


def _child(content: bytes, piece: Piece) -> Child:
    """The content as a piece: an entity with its header section, or a file by the object's name."""
    if ENTITY.match(content):
        return Child("signed", content, "message/rfc822", is_attachment=piece.is_attachment)
    name = piece.name
    for ending in _ENDINGS:
        name = name.removesuffix(ending).removesuffix(ending.upper())
    return Child(name if name and name != piece.name else "signed", content)


def _oddity(fields: list[Node], size: int) -> str:
    """Why the object may hold more than a signature; empty when it does not."""
    if size > LARGEST_SIGNATURE:
        return "a signature that is larger than any"
    for node in fields[3:-1]:
        if not node.constructed:
            return "a signature with fields that no program writes"
        for number, item in enumerate(node.children()):
            if number >= _MOST or (node.tag == 0 and (len(item.whole) > _LARGEST_CERTIFICATE or not item.constructed)):
                return "a signature with certificates that are larger or more than any"
    for signer in fields[-1].children():
        for attribute in _attributes(signer):
            if len(attribute.whole) > _LARGEST_ATTRIBUTE:
                return "a signature with an attribute that is larger than any"
    if any(_DOCUMENT.search(node.whole) for node in fields[3:]):
        return "a signature with a document in it"
    return ""


def _attributes(signer: Node) -> Iterator[Node]:
    """The signed and the unsigned attributes of one signer."""
    for field in signer.children():
        if field.kind == CONTEXT and field.tag in (0, 1) and field.constructed:
            for number, attribute in enumerate(field.children()):
                if number >= _MOST:
                    raise Unreadable("a signature with more attributes than the limit")
                yield attribute


def _label(signers: Node) -> Level | None:
    """The highest classification that a security label among the signed attributes says."""
    levels: list[Level] = []
    for signer in signers.children():
        for attribute in _attributes(signer):
            name, values = attribute.headed()
            if name.oid() != _LABEL:
                continue
            for value in values:
                for label in value.children():
                    numbers = [int.from_bytes(part.content, "big", signed=True) for part in label.children() if part.is_(INTEGER)]
                    levels += [_LEVELS[number] for number in numbers if number in _LEVELS]
    return max(levels, default=None)
