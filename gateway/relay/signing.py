"""DKIM signatures on outbound mail, the last thing done to its octets.

What it is: ``Signer`` over dkimpy, with its two slow steps replaced: the RSA operation is done by ``cryptography`` with the key
loaded once, and the relaxed body form is made by ``bytes.replace`` (same octets, proved by a test against dkimpy).
Who calls it: the relay, at each (re)queue, after the recorded edits were applied.
Must never: change a signed octet; write l=; sign with SHA-1; let a fault in here lose mail (unsignable mail goes unsigned, logged).
Sources: RFC 6376, RFC 8301, RFC 8463; reference protocol.md section 3.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import dkim
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dkim.canonicalization import CanonicalizationPolicy, correct_empty_body, strip_trailing_lines

from gateway import logs, systemd
from gateway.config import Config, ConfigError

ALWAYS = (b"from", b"subject", b"sio-label", b"x-protective-marking")
"""Signed once more than they are there: nobody may add one, also where there is none."""
_IF_PRESENT = frozenset(
    (
        b"date", b"message-id", b"to", b"cc", b"reply-to", b"sender", b"in-reply-to", b"references", b"mime-version", b"content-type",
        b"content-transfer-encoding",
    )
)  # fmt: skip
_ONCE = frozenset(
    (
        b"content-disposition", b"content-id", b"content-description", b"content-language", b"resent-date", b"resent-from",
        b"resent-sender", b"resent-to", b"resent-cc", b"resent-message-id", b"list-id", b"list-help", b"list-unsubscribe",
        b"list-subscribe", b"list-post", b"list-owner", b"list-archive", b"auto-submitted", b"sensitivity", b"sio-label-history",
    )
)  # fmt: skip
# X-Gateway-Reference is not signed: the gateway of the next department writes its own in its place, and the signature must live.
_SIGNED = frozenset(ALWAYS) | _IF_PRESENT | _ONCE
_FROM_DOMAIN = re.compile(rb"@([A-Za-z0-9.\-]{1,255})")
_POLICY = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
_SHA256 = utils.Prehashed(hashes.SHA256())

_log = logs.get("signing")


class SigningError(Exception):
    """A signing key cannot be used. The text names the domain and the file."""


def relaxed_body(body: bytes) -> bytes:
    """The relaxed form of *body* (RFC 6376 section 3.4.4), as dkimpy makes it, in a few linear passes."""
    if b"\t" in body:
        body = body.replace(b"\t", b" ")
    while b"  " in body:
        body = body.replace(b"  ", b" ")
    body = body.replace(b" \r\n", b"\r\n")
    text = body.rstrip(b"\r\n")
    ending = len(body) - len(text)
    if ending >= 2 and text and body.count(b"\r\n", len(text)) * 2 == ending:
        return body[: len(text) + 2]
    result: bytes = correct_empty_body(strip_trailing_lines(body))
    return result


@dataclass(frozen=True, slots=True)
class _Signature:
    signature: bytes


@dataclass(frozen=True, slots=True)
class _Key:
    """A loaded key. ``sign`` takes a SHA-256 digest and answers as dkimpy's code for key objects expects it."""

    domain: str
    selector: str
    algorithm: bytes
    raw: Callable[[bytes], bytes]

    def sign(self, digest: bytes) -> _Signature:
        return _Signature(self.raw(digest))


def _load(domain: str, selector: str, pem: bytes) -> _Key:
    """Raises ValueError in plain words."""
    private = load_pem_private_key(pem, password=None)
    if isinstance(private, rsa.RSAPrivateKey):
        if private.key_size < 2048:
            raise ValueError("an RSA key needs 2048 bits or more")
        scheme = padding.PKCS1v15()
        return _Key(domain, selector, b"rsa-sha256", lambda digest: private.sign(digest, scheme, _SHA256))
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return _Key(domain, selector, b"ed25519-sha256", private.sign)
    raise ValueError("neither an RSA nor an Ed25519 key")


class _Message(dkim.DKIM):  # type: ignore[misc]
    """dkimpy's signer on CRLF content whose header section is parsed once and whose body is never split into lines."""

    def __init__(self, header: bytes, body: bytes) -> None:
        super().__init__(None)
        self.headers, _ = dkim.rfc822_parse(header)
        self.body = body
        self.hasher = hashlib.sha256
        self.body_hash = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest())

    def from_domain(self) -> str:
        """The one domain of the From field in lower case; empty where there is none or more than one."""
        found = {
            match.decode("ascii").lower().rstrip(".")
            for name, value in self.headers
            if name.lower() == b"from"
            for match in _FROM_DOMAIN.findall(value[:10_000])
        }
        return found.pop() if len(found) == 1 else ""

    def field(self, key: _Key, now: float) -> bytes:
        """The DKIM-Signature field with its CRLF. Raises dkim.DKIMException."""
        present = [name.lower() for name, _ in self.headers]
        if b"from" not in present:
            raise dkim.ParameterError("no From field")
        names = [name for name in present if name in _SIGNED]
        names += [name for name in dict.fromkeys(names) if name in _IF_PRESENT]
        names += ALWAYS
        domain = key.domain.encode("ascii")
        fields = [
            (b"v", b"1"),
            (b"a", key.algorithm),
            (b"c", _POLICY.to_c_value()),
            (b"d", domain),
            (b"i", b"@" + domain),
            (b"q", b"dns/txt"),
            (b"s", key.selector.encode("ascii")),
            (b"t", b"%d" % int(now)),
            (b"h", b" : ".join(names)),
            (b"bh", self.body_hash),
            # Room for b= on a line of its own, so that filling it in refolds nothing before it (as in dkimpy).
            (b"b", b"0" * 60),
        ]
        # This value makes gen_header call sign() on the key object; the a= above is what the field says.
        self.signature_algorithm = b"ed25519-sha256"
        value: bytes = self.gen_header(fields, tuple(names), _POLICY, b"DKIM-Signature", key)
        return b"DKIM-Signature: " + value


class Signer:
    """Signs for the domains of the config."""

    def __init__(self, config: Config, now: Callable[[], float]) -> None:
        """Loads the keys. Raises SigningError; *now* gives seconds since the epoch for t=."""
        self._now = now
        self._keys: dict[str, list[_Key]] = {}
        for entry in config.dkim:
            domain = entry.domain.lower().rstrip(".")
            try:
                key = _load(domain, entry.selector, systemd.secret(entry.key_file).read_bytes())
            except (OSError, ValueError, TypeError, ConfigError) as error:
                why = error.strerror if isinstance(error, OSError) else error
                raise SigningError(f"dkim: {domain}: {entry.key_file}: {why}") from error
            self._keys.setdefault(domain, []).append(key)

    def take(self, other: Signer) -> None:
        """Signs with the keys of *other* from now on."""
        self._keys = other._keys

    @property
    def active(self) -> bool:
        """Whether there is any key."""
        return bool(self._keys)

    def _for(self, domain: str) -> list[_Key]:
        """The keys of *domain* or of its nearest parent."""
        while domain:
            if keys := self._keys.get(domain):
                return keys
            domain = domain.partition(".")[2]
        return []

    def sign(self, content: bytes, sender: str) -> bytes:
        """*content* with one signature for each key of the From field's domain, else of *sender*'s; as it is where there is none."""
        if not self._keys:
            return content
        end = content.find(b"\r\n\r\n")
        if end < 0:
            return content
        try:
            header = content[: end + 4]
            found = _FROM_DOMAIN.search(header)
            if found is None and "@" not in sender:
                return content
            message = _Message(header, content[end + 4 :])
            keys = self._for(message.from_domain()) or self._for(sender.rpartition("@")[2].lower())
            signatures = [message.field(key, self._now()) for key in keys]
        except (dkim.DKIMException, IndexError, ValueError, AssertionError) as error:
            _log.warning("a message could not be signed and goes unsigned", cause=type(error).__name__)
            return content
        return b"".join(signatures) + content
