"""CMS objects that a private key of the same message opens.

What it is: ``key_lock``, which gives a ``extraction.base.KeyLock`` where somebody's public key is among the recipients.
Who calls it: ``cms``.
Must never: take a wrong key for the right one: the wrapped key must unwrap to the length that the cipher has, and the padding or tag of
the content must fit.
Sources: RFC 5652 sections 6.2.1 (key transport) and 6.2.2 (key agreement), RFC 8017 section 7 (RSAES), RFC 4055 (OAEP), RFC 5753 (ECDH),
RFC 3394 (key wrap); docs/design.md section 10 ("protection.state"); hostile-inputs catalogue E05.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from gateway.encryption import cms_lock
from gateway.encryption.cms_lock import Sealed
from gateway.encryption.der import CONTEXT, OCTETS, SEQUENCE, Node
from gateway.extraction.base import Budget, Unreadable

_MOST_RECIPIENTS = 20
_AGREEMENT = 1  # tag of the choice among recipients
_RSA, _OAEP = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.7"
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "1.3.14.3.2.26": hashes.SHA1, "2.16.840.1.101.3.4.2.1": hashes.SHA256, "2.16.840.1.101.3.4.2.2": hashes.SHA384,
    "2.16.840.1.101.3.4.2.3": hashes.SHA512, "2.16.840.1.101.3.4.2.4": hashes.SHA224,
}  # fmt: skip
_WRAPS = {"2.16.840.1.101.3.4.1.5": 16, "2.16.840.1.101.3.4.1.25": 24, "2.16.840.1.101.3.4.1.45": 32}
_SCHEMES: dict[str, type[hashes.HashAlgorithm]] = {
    "1.3.133.16.840.63.0.2": hashes.SHA1, "1.3.132.1.11.0": hashes.SHA224, "1.3.132.1.11.1": hashes.SHA256,
    "1.3.132.1.11.2": hashes.SHA384, "1.3.132.1.11.3": hashes.SHA512, "1.3.133.16.840.63.0.3": hashes.SHA1,
    "1.3.132.1.14.1": hashes.SHA256, "1.3.132.1.14.2": hashes.SHA384, "1.3.132.1.14.3": hashes.SHA512,
}  # fmt: skip
"""Key agreement by ECDH, and the hash of its key derivation."""


@dataclass(frozen=True, slots=True)
class CmsKeyLock:
    """An object that is encrypted to public keys."""

    sealed: Sealed
    recipients: tuple[Node, ...]

    def open_with(self, key: object, budget: Budget) -> bytes | None:
        """The content; None where *key* is not one of those it is encrypted to. Raises OverLimit."""
        for recipient in self.recipients:
            budget.check_time()
            try:
                for session in _keys(recipient, key):
                    opened = cms_lock.content(self.sealed, session)
                    if opened:
                        budget.spend_bytes(len(opened))
                        return opened
            except (ValueError, TypeError, StopIteration, IndexError, InvalidUnwrap, UnsupportedAlgorithm, Unreadable):
                continue
        return None


def key_lock(body: Node) -> CmsKeyLock | None:
    """The lock of the enveloped object *body*; None where no public key is among its recipients, or its cipher is one we do not have.

    Raises Unreadable when its structure is broken.
    """
    sealed, recipients = cms_lock.enveloped(body)
    public = tuple(node for node in recipients if node.is_(SEQUENCE) or node.is_(_AGREEMENT, CONTEXT))[:_MOST_RECIPIENTS]
    return CmsKeyLock(sealed, public) if sealed is not None and public else None


def _keys(recipient: Node, key: object) -> list[bytes]:
    """What *key* makes of the wrapped key. Raises ValueError, InvalidUnwrap and what broken structures raise."""
    if recipient.is_(SEQUENCE):
        return [_transported(recipient, key)] if isinstance(key, RSAPrivateKey) else []
    return _agreed(recipient, key)


def _transported(recipient: Node, key: RSAPrivateKey) -> bytes:
    fields = list(recipient.children())
    algorithm, wrapped = fields[-2], fields[-1].octets()
    name, parameters = algorithm.headed()
    if name.oid() == _RSA:
        return key.decrypt(wrapped, padding.PKCS1v15())
    if name.oid() != _OAEP:
        raise ValueError
    digest = mask = "1.3.14.3.2.26"
    for field in parameters[0].children() if parameters and parameters[0].constructed else ():
        inner = next(field.children())
        if field.is_(0, CONTEXT):
            digest = next(inner.children()).oid()
        elif field.is_(1, CONTEXT):
            mask = next(list(inner.children())[1].children()).oid()
    if digest not in _HASHES or mask not in _HASHES:
        raise ValueError
    return key.decrypt(wrapped, padding.OAEP(padding.MGF1(_HASHES[mask]()), _HASHES[digest](), None))


def _agreed(recipient: Node, key: object) -> list[bytes]:
    """KeyAgreeRecipientInfo: version, [0] originator, [1] user keying material, algorithm, encrypted keys."""
    fields = list(recipient.children())
    originator = next(node for node in fields if node.is_(0, CONTEXT))
    material = next((next(node.children()).octets() for node in fields if node.is_(1, CONTEXT)), None)
    at = next(number for number, node in enumerate(fields) if node.is_(SEQUENCE))
    scheme, wrap = list(fields[at].children())[:2]
    name = next(wrap.children()).oid()
    if scheme.oid() not in _SCHEMES or name not in _WRAPS:
        raise ValueError
    shared = _exchange(originator, key)
    size = _WRAPS[name]
    # ECC-CMS-SharedInfo (RFC 5753 section 7.2)
    info = wrap.whole
    if material is not None:
        info += _der(0xA0, _der(0x04, material))
    info += _der(0xA2, _der(0x04, (size * 8).to_bytes(4, "big")))
    kek = X963KDF(_SCHEMES[scheme.oid()](), size, _der(0x30, info)).derive(shared)
    found: list[bytes] = []
    for one in list(fields[at + 1].children())[:_MOST_RECIPIENTS]:
        wrapped = next(node.octets() for node in one.children() if node.is_(OCTETS))
        try:
            found.append(aes_key_unwrap(kek, wrapped))
        except InvalidUnwrap:
            continue
    return found


def _exchange(originator: Node, key: object) -> bytes:
    """The shared secret with the originator's own key. Raises ValueError where the two are not of one curve."""
    public = next(originator.children())
    if not public.is_(1, CONTEXT):
        raise ValueError
    bits = list(public.children())[-1].content[1:]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(key.curve, bits))
    if isinstance(key, X25519PrivateKey):
        return key.exchange(X25519PublicKey.from_public_bytes(bits))
    raise ValueError


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes((size,)) if size < 128 else bytes((0x81, size)) if size < 256 else b"\x82" + size.to_bytes(2, "big")
    return bytes((tag,)) + length + content
