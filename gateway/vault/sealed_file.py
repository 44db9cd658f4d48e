"""A sealed file: a stream in chunks, each proved in its place, with an end that cannot be cut off unseen.

What it is: ``Writer`` and ``Reader`` of the format below, and ``examine``, which needs no key.

    "GWBACKUP1\\n", then the header: 4 octets of length, JSON (how the data key is sealed, size of a chunk, nonce prefix)
    chunks:          4 octets of length, AES-256-GCM ciphertext with its tag
                     nonce = prefix (7 octets) + number of the chunk (4) + 1 for the last chunk, else 0; AAD = sha256 of the header
    end:             4 octets of zero, sha256 of everything before

The data key is random and used for one file. It is sealed to a certificate (CMS EnvelopedData, RSA and AES-256) or to a passphrase
(argon2id, 256 MB, then AES-256-GCM). The chunks are the STREAM construction: none can be left out, doubled, moved or cut off.
Who calls it: ``gateway backup`` and ``gateway restore``.
Must never: put a clear octet into the file; give out a chunk before its tag was checked; be taken for a signature (who has the
certificate can make a file: the manifest in a backup is signed for that).
Sources: RFC 5652, RFC 9106 (argon2id), NIST SP 800-38D; Hoang, Reyhanitabar, Rogaway and Vizar 2015 (STREAM); catalogue O23.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import IO, Any

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs7

MAGIC = b"GWBACKUP1\n"
CHUNK = 1 << 20
_LENGTH = struct.Struct("!I")
_TAG = 16
_HEADER_CAP = 65_536
_ARGON = {"time": 3, "memory": 262_144, "lanes": 4}
"""RFC 9106 section 4, second recommendation, with four times its memory (KiB)."""
_ARGON_CAP = {"time": 16, "memory": 2_097_152, "lanes": 16}


class SealedFileError(Exception):
    """The file is not whole, or does not open. The text is one plain sentence."""


class WrongKeyError(SealedFileError):
    """The key or the passphrase is not the one that it was sealed to."""


DataKey = bytes


def to_certificate(certificate: x509.Certificate, key: DataKey) -> dict[str, Any]:
    """The header's entry for a file that *certificate*'s private key opens. Raises SealedFileError."""
    if not isinstance(certificate.public_key(), RSAPublicKey):
        raise SealedFileError("an RSA certificate is needed")
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(key).add_recipient(certificate).set_content_encryption_algorithm(AES256)
    cms = builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])
    return {
        "kind": "certificate", "cms": base64.b64encode(cms).decode(), "certificate": certificate.public_bytes(Encoding.PEM).decode(),
        "sha256": hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
    }  # fmt: skip


def to_passphrase(phrase: bytes, key: DataKey) -> dict[str, Any]:
    """The header's entry for a file that *phrase* opens."""
    salt, nonce = os.urandom(16), os.urandom(12)
    wrapped = AESGCM(_argon(phrase, salt, _ARGON)).encrypt(nonce, key, b"gateway backup data key")
    return {"kind": "passphrase", "salt": salt.hex(), "nonce": nonce.hex(), "wrapped": wrapped.hex(), **_ARGON}


def _argon(phrase: bytes, salt: bytes, cost: dict[str, int]) -> bytes:
    from argon2.low_level import Type, hash_secret_raw

    return hash_secret_raw(phrase, salt, cost["time"], cost["memory"], cost["lanes"], 32, Type.ID)


Opener = Callable[[dict[str, Any]], DataKey]
"""From the header's entry to the data key. Raises SealedFileError."""


def by_private_key(pem: bytes, phrase: bytes | None) -> Opener:
    """Opens with the private key *pem* (encrypted with *phrase*)."""

    def opened(entry: dict[str, Any]) -> DataKey:
        if entry["kind"] != "certificate":
            raise WrongKeyError("this file was sealed with a passphrase, not to a certificate: name --passphrase-file")
        try:
            private = load_pem_private_key(pem, phrase)
        except (ValueError, TypeError) as error:
            raise WrongKeyError("the private key cannot be read: it is not PEM, or its passphrase is wrong") from error
        certificate = x509.load_pem_x509_certificate(entry["certificate"].encode("ascii"))
        if not isinstance(private, RSAPrivateKey) or private.public_key() != certificate.public_key():
            raise WrongKeyError(f"this is not the private key of the certificate that it was sealed to ({entry['sha256'][:16]}…)")
        try:
            return pkcs7.pkcs7_decrypt_der(base64.b64decode(entry["cms"]), certificate, private, [])
        except ValueError as error:
            raise SealedFileError("the sealed data key is damaged") from error

    return opened


def by_passphrase(phrase: bytes) -> Opener:
    """Opens with *phrase*."""

    def opened(entry: dict[str, Any]) -> DataKey:
        if entry["kind"] != "passphrase":
            raise WrongKeyError("this file was sealed to a certificate: name its private key with --key")
        cost = {name: int(entry[name]) for name in _ARGON}
        if any(not 1 <= cost[name] <= most for name, most in _ARGON_CAP.items()):
            raise SealedFileError("the header asks for more work than any of our files does")
        key = _argon(phrase, bytes.fromhex(entry["salt"]), cost)
        try:
            return AESGCM(key).decrypt(bytes.fromhex(entry["nonce"]), bytes.fromhex(entry["wrapped"]), b"gateway backup data key")
        except InvalidTag as error:
            raise WrongKeyError("the passphrase is not the one that the file was sealed with") from error

    return opened


class Writer(io.RawIOBase):
    """Seals what is written to it into *file*; ``close`` writes the end, and a file without it is not whole."""

    def __init__(self, file: IO[bytes], key: DataKey, entry: dict[str, Any]) -> None:
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()
        self._prefix = os.urandom(7)
        header = json.dumps({"key": entry, "chunk": CHUNK, "nonce": self._prefix.hex(), "cipher": "AES-256-GCM"}).encode("ascii")
        self._aad = hashlib.sha256(header).digest()
        self._cipher = AESGCM(key)
        self._buffer = bytearray()
        self._number = 0
        self._put(MAGIC + _LENGTH.pack(len(header)) + header)

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        self._file.write(data)

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Takes *data*; whole chunks go out at once."""
        self._buffer += data
        while len(self._buffer) > CHUNK:  # the last chunk is kept back: it has to say that it is the last
            self._chunk(bytes(self._buffer[:CHUNK]), last=False)
            del self._buffer[:CHUNK]
        return len(data)

    def _chunk(self, clear: bytes, *, last: bool) -> None:
        nonce = self._prefix + _LENGTH.pack(self._number) + bytes((last,))
        sealed = self._cipher.encrypt(nonce, clear, self._aad)
        self._put(_LENGTH.pack(len(sealed)) + sealed)
        self._number += 1

    def finish(self) -> None:
        """The last chunk and the end. Not called: the file is seen to be cut off."""
        self._chunk(bytes(self._buffer), last=True)
        self._buffer.clear()
        self._put(_LENGTH.pack(0))
        self._file.write(self._hash.digest())


def _header(file: IO[bytes], seen: Callable[[bytes], object]) -> tuple[dict[str, Any], bytes]:
    start = file.read(len(MAGIC) + _LENGTH.size)
    if not start.startswith(MAGIC) or len(start) < len(MAGIC) + _LENGTH.size:
        raise SealedFileError("this is not a backup of the gateway")
    length = _LENGTH.unpack(start[len(MAGIC) :])[0]
    raw = file.read(length) if length <= _HEADER_CAP else b""
    try:
        header = json.loads(raw)
        fits = header["chunk"] == CHUNK and header["cipher"] == "AES-256-GCM" and len(bytes.fromhex(header["nonce"])) == 7
        fits = fits and header["key"]["kind"] in ("certificate", "passphrase")
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise SealedFileError("the header is damaged, or of a newer version")
    seen(start + raw)
    return header, raw


def _sealed_chunk(file: IO[bytes], seen: Callable[[bytes], object]) -> bytes:
    """The next chunk as it stands; empty at the end."""
    length = file.read(_LENGTH.size)
    size = _LENGTH.unpack(length)[0] if len(length) == _LENGTH.size else -1
    if size == 0:
        seen(length)
        return b""
    sealed = file.read(size) if _TAG <= size <= CHUNK + _TAG else b""
    if not sealed or len(sealed) != size:
        raise SealedFileError("the file is cut off or damaged")
    seen(length + sealed)
    return sealed


def examine(file: IO[bytes]) -> dict[str, Any]:
    """Reads the whole *file* without a key: its shape and its hash. The header's entry on the key. Raises SealedFileError.

    That shows damage and a lost end. Who changed the file on purpose could have made the hash anew; the key shows that too.
    """
    digest = hashlib.sha256()
    header, _ = _header(file, digest.update)
    while _sealed_chunk(file, digest.update):
        pass
    if file.read(33) != digest.digest():
        raise SealedFileError("the file is cut off or damaged: its hash is not the one at its end")
    entry: dict[str, Any] = header["key"]
    return entry


class Reader(io.RawIOBase):
    """The clear octets of *file*, each chunk checked before it is given out; ``whole`` only after the last was read."""

    def __init__(self, file: IO[bytes], opener: Opener) -> None:
        """Raises SealedFileError."""
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()
        header, raw = _header(file, self._hash.update)
        self.entry: dict[str, Any] = header["key"]
        try:
            key = opener(self.entry)
        except (KeyError, ValueError, TypeError) as error:
            raise SealedFileError("the header is damaged") from error
        if len(key) != 32:
            raise SealedFileError("the sealed data key is damaged")
        self._cipher = AESGCM(key)
        self._aad = hashlib.sha256(raw).digest()
        self._prefix = bytes.fromhex(header["nonce"])
        self._number = 0
        self._clear = memoryview(b"")
        self._last = False
        self.whole = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next octets; 0 at the proved end. Raises SealedFileError."""
        while not self._clear and not self.whole:
            self._next()
        count = min(len(buffer), len(self._clear))
        buffer[:count] = self._clear[:count]
        self._clear = self._clear[count:]
        return count

    def _next(self) -> None:
        sealed = _sealed_chunk(self._file, self._hash.update)
        if not sealed:
            if not self._last:
                raise SealedFileError("the file is cut off: its last part is missing")
            if self._file.read(33) != self._hash.digest():
                raise SealedFileError("the hash at the end of the file is wrong, or something follows it")
            self.whole = True
            return
        if self._last:
            raise SealedFileError("something follows the last part of the file")
        for last in (False, True):
            nonce = self._prefix + _LENGTH.pack(self._number) + bytes((last,))
            try:
                self._clear = memoryview(self._cipher.decrypt(nonce, sealed, self._aad))
            except InvalidTag:
                continue
            self._last = last
            self._number += 1
            return
        raise SealedFileError(f"part {self._number + 1} of the file is damaged, or not in its place")


def open_file(path: FilePath, opener: Opener) -> tuple[IO[bytes], Reader]:
    """The file *path* and its reader. Raises SealedFileError, OSError."""
    file = path.open("rb")
    try:
        return file, Reader(file, opener)
    except BaseException:
        file.close()
        raise
