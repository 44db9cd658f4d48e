"""How well an encrypted CMS object is protected.

What it is: ``assess``, the state by the content-encryption algorithm, the keys it is wrapped with, and the data itself.
Who calls it: ``cms``.
Must never: believe smime-type or a name; call strong what is short, empty, readable, addressed to nobody, or wrapped in a weak key.
Sources: RFC 5652 section 6, RFC 5083 (AuthEnvelopedData), RFC 3565 and 5084 (AES), RFC 3370 (3DES, RC2), RFC 5753 (ECDH), RFC 8551
section 2.7; docs/design.md section 10 ("protection.state"); hostile-inputs catalogue E15, E16, E22.
"""

from __future__ import annotations

from gateway.encryption.der import CONTEXT, INTEGER, OCTETS, OID, SEQUENCE, SET, Node
from gateway.extraction.base import Unreadable
from gateway.extraction.randomness import disproof
from gateway.protection import Protection, ProtectionState

_ENVELOPED, _ENCRYPTED, _AUTHENTICATED = "1.2.840.113549.1.7.3", "1.2.840.113549.1.7.6", "1.2.840.113549.1.9.16.1.23"
KINDS = frozenset((_ENVELOPED, _ENCRYPTED, _AUTHENTICATED))
"""Content types of encrypted objects."""

_AES = "2.16.840.1.101.3.4.1."
_CIPHERS = {
    _AES + "2": ("AES-128-CBC", 128), _AES + "6": ("AES-128-GCM", 128), _AES + "7": ("AES-128-CCM", 128),
    _AES + "22": ("AES-192-CBC", 192), _AES + "26": ("AES-192-GCM", 192), _AES + "27": ("AES-192-CCM", 192),
    _AES + "42": ("AES-256-CBC", 256), _AES + "46": ("AES-256-GCM", 256), _AES + "47": ("AES-256-CCM", 256),
    "1.2.840.113549.3.7": ("3DES-CBC", 112), "1.2.840.113549.3.2": ("RC2-CBC", 40), "1.2.840.113549.3.4": ("RC4", 40),
    "1.3.14.3.2.7": ("DES-CBC", 56), "1.2.840.113533.7.66.10": ("CAST5-CBC", 128),
}  # fmt: skip
_WEAK_WRAPS = frozenset((_AES + "5", _AES + "25", _AES + "8", _AES + "28", "1.2.840.113549.1.9.16.3.6", "1.2.840.113549.1.9.16.3.7"))
"""Key wraps by AES-128, AES-192, 3DES and RC2: the content is no better protected than its key."""
_SHORTEST_KEY = 256  # octets of a key that RSA wrapped: 2,048 bits
_MOST_DATA = 65_536


def assess(kind: str, body: Node) -> Protection:
    """The protection of the object of content type *kind*. Raises Unreadable when its structure is broken."""
    fields = list(body.children())
    at = next((number for number, node in enumerate(fields) if node.is_(SEQUENCE)), -1)
    if at < 0:
        raise Unreadable("a CMS object that is broken")
    cipher, bits, data = _encrypted(fields[at])
    if not cipher:
        reason = "an S/MIME or CMS object: its cipher is not known"
        return Protection(ProtectionState.UNVERIFIABLE, "cms", reason=reason)
    if bits < 256:
        return Protection(ProtectionState.WEAK, "cms", cipher, bits, f"an S/MIME or CMS object encrypted with {cipher} only")
    problem = _problem(kind, fields[:at], cipher, data)
    if problem:
        weak = problem.startswith("its key")
        state = ProtectionState.WEAK if weak else ProtectionState.UNVERIFIABLE
        return Protection(state, "cms", cipher, bits, f"an S/MIME or CMS object: {problem}")
    return Protection(ProtectionState.STRONG, "cms", cipher, bits, f"encrypted with {cipher}")


def payload(body: Node) -> bytes:
    """The octets that are said to be encrypted. Raises Unreadable when the structure is broken."""
    info = next((node for node in body.children() if node.is_(SEQUENCE)), None)
    return _encrypted(info)[2] if info is not None else b""


def _encrypted(info: Node) -> tuple[str, int, bytes]:
    """Cipher, bits and data of EncryptedContentInfo; an empty cipher where it is not known."""
    parts = list(info.children())
    if len(parts) not in (2, 3) or not parts[1].is_(SEQUENCE):
        raise Unreadable("a CMS object that is broken")
    parts[0].oid()
    algorithm = next(parts[1].children(), None)
    if algorithm is None:
        raise Unreadable("a CMS object that is broken")
    cipher, bits = _CIPHERS.get(algorithm.oid(), ("", 0))
    if cipher == "RC2-CBC":
        bits = _rc2_bits(parts[1])
    if len(parts) == 2:
        return cipher, bits, b""
    if not parts[2].is_(0, CONTEXT):
        raise Unreadable("a CMS object that is broken")
    return cipher, bits, parts[2].octets()


def _rc2_bits(algorithm: Node) -> int:
    """Bits of an RC2 key, by the number that stands for them (RFC 2268 section 6)."""
    parameters = list(algorithm.children())[1:]
    numbers = [node for node in parameters[0].children() if node.is_(INTEGER)] if parameters and parameters[0].is_(SEQUENCE) else []
    value = int.from_bytes(numbers[0].content[:4], "big") if numbers else 160
    return {160: 40, 120: 64, 58: 128}.get(value, 40)


def _problem(kind: str, before: list[Node], cipher: str, data: bytes) -> str:
    """Why the claim cannot be proved, or is weaker than its cipher."""
    if kind != _ENCRYPTED:
        recipients = next((node for node in before if node.is_(SET)), None)
        listed = list(recipients.children()) if recipients is not None else []
        if not listed:
            return "it is encrypted to nobody"
        if any(_weak_wrap(node, 0) for node in listed):
            return "its key is wrapped in a weaker one"
        if any(_short_key(node) for node in listed):
            return "its key is wrapped by RSA of less than 2,048 bits"
    if cipher.endswith("CBC") and len(data) % 16:
        return "its data does not have the length of whole blocks"
    return disproof(data[:_MOST_DATA])


def _weak_wrap(node: Node, depth: int) -> bool:
    """Whether an algorithm of a recipient is a weak key wrap."""
    if node.is_(OID):
        return node.oid() in _WEAK_WRAPS or _CIPHERS.get(node.oid(), ("", 256))[1] < 256
    return depth < 6 and node.constructed and any(_weak_wrap(inner, depth + 1) for inner in node.children())


def _short_key(recipient: Node) -> bool:
    """Whether *recipient* is reached by RSA (KeyTransRecipientInfo, the one without a tag) with a short key."""
    if not recipient.is_(SEQUENCE):
        return False
    keys = [node for node in recipient.children() if node.is_(OCTETS)]
    return not keys or len(keys[-1].octets()) < _SHORTEST_KEY
