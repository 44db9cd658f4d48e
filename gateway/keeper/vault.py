"""The vault: content sealed at rest, one data key a body.

What it is: AES-256-GCM envelopes. Each body has its own data key, wrapped by the vault key with the body's id as associated
data, so that swapping two rows is refused and destroying the wrapped key destroys the body. Also sealed fields (subjects,
details) and the keyed hash of marked words.
Who calls it: ``act``, ``relay``, ``quarantine``, ``audit``. The keys live in this process only.
Must never: give back content whose sha256 is not the recorded one; write a key anywhere but to its file; reuse a data key.
Sources: NIST SP 800-38D (GCM); design.md section 6; hostile-inputs catalogue P18, O20, O22.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path as FilePath

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.config import Config
from gateway.stores.base import BodyRow

_NONCE = 12
_KEY = 32


class VaultError(Exception):
    """A sealed thing cannot be opened, or there is no key. The text is one plain sentence."""


class _Chance:
    """Octets from the kernel's generator, fetched a page at a time: each fetch lets go of the interpreter lock, which costs more
    than all the ciphers of a message. What was taken is never given again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._page = b""
        self._place = 0

    def take(self, count: int) -> bytes:
        """The next *count* octets."""
        with self._lock:
            if self._place + count > len(self._page):
                self._page, self._place = os.urandom(8192), 0
            taken = self._page[self._place : self._place + count]
            self._place += count
            return taken


class Vault:
    """Seals with the key *current*; opens with any of *keys* (key id to 32 octets)."""

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        for name, key in keys.items():
            if len(key) != _KEY:
                raise VaultError(f"vault key {name}: {_KEY} octets are needed, there are {len(key)}")
        if current not in keys:
            raise VaultError(f"vault key {current} is missing")
        # Each purpose has its own key, so that a hash that leaves the vault says nothing about the wrapping key.
        self._wrap = {name: AESGCM(_derive(key, b"gateway body key wrap")) for name, key in keys.items()}
        self._field = {name: AESGCM(_derive(key, b"gateway field")) for name, key in keys.items()}
        self._words = _derive(keys[current], b"gateway evidence hash")
        self._pairs = {name: _derive(key, b"gateway correspondents") for name, key in keys.items()}
        self._chance = _Chance()
        self.current = current

    def seal(self, body_id: str, content: bytes, sha256: str) -> BodyRow:
        """The row of *content*, whose sha256 the caller already knows."""
        chance = self._chance.take(_KEY + 2 * _NONCE)
        data_key, nonce, wrap_nonce = chance[:_KEY], chance[_KEY : _KEY + _NONCE], chance[_KEY + _NONCE :]
        identity = body_id.encode()
        return BodyRow(
            id=body_id,
            key_id=self.current,
            wrapped_key=wrap_nonce + self._wrap[self.current].encrypt(wrap_nonce, data_key, identity),
            nonce=nonce,
            ciphertext=AESGCM(data_key).encrypt(nonce, content, identity),
            size=len(content),
            sha256=sha256,
            created=time.time(),
        )

    def open(self, row: BodyRow) -> bytes:
        """The content of *row*. Raises VaultError when the key is missing, or a single bit of the row is not what was sealed."""
        if row.sealed:
            raise VaultError(f"body {row.id} is sealed to the security officer's certificate; only that key opens it")
        wrap = self._wrap.get(row.key_id)
        if wrap is None:
            raise VaultError(f"body {row.id} needs vault key {row.key_id}, which is not here; put it back beside the current one")
        identity = row.id.encode()
        try:
            data_key = wrap.decrypt(row.wrapped_key[:_NONCE], row.wrapped_key[_NONCE:], identity)
            content = AESGCM(data_key).decrypt(row.nonce, row.ciphertext, identity)
        except (InvalidTag, ValueError) as error:
            raise VaultError(f"body {row.id} is damaged: it does not open with its key") from error
        if len(content) != row.size or not hmac.compare_digest(content_hash(content), row.sha256):
            raise VaultError(f"body {row.id} is damaged: its hash is not the recorded one")
        return content

    def seal_field(self, owner_id: str, text: str | bytes) -> bytes:
        """*text* sealed and bound to the row *owner_id*; empty stays empty."""
        if not text:
            return b""
        clear = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        nonce = self._chance.take(_NONCE)
        name = self.current.encode()
        return bytes((len(name),)) + name + nonce + self._field[self.current].encrypt(nonce, clear, owner_id.encode())

    def open_field(self, owner_id: str, sealed: bytes) -> bytes:
        """What ``seal_field`` was given. Raises VaultError."""
        if not sealed:
            return b""
        end = 1 + sealed[0]
        name = sealed[1:end].decode("ascii", "replace")
        cipher = self._field.get(name)
        if cipher is None:
            raise VaultError(f"a field of {owner_id} needs vault key {name}, which is not here")
        try:
            return cipher.decrypt(sealed[end : end + _NONCE], sealed[end + _NONCE :], owner_id.encode())
        except (InvalidTag, ValueError) as error:
            raise VaultError(f"a field of {owner_id} is damaged: it does not open with its key") from error

    def words_hash(self, text: str) -> str:
        """A keyed hash of marked words: equal words are seen to be equal, nobody without the key can guess them."""
        # Keyed BLAKE2 rather than HMAC: hashlib's HMAC lets go of the interpreter lock, which costs a hundred times the hash.
        octets = text.encode("utf-8", "surrogateescape")
        return "blake2b-256:" + hashlib.blake2b(octets, digest_size=32, key=self._words).hexdigest()

    def pair_hashes(self, sender: str, recipient: str) -> tuple[bytes, ...]:
        """Keyed hashes of who writes to whom, 16 octets each: under the current key first, then under the older ones."""
        octets = f"{sender.casefold()}\0{recipient.casefold()}".encode("utf-8", "surrogateescape")
        keys = [self._pairs[self.current], *(key for name, key in self._pairs.items() if name != self.current)]
        return tuple(hashlib.blake2b(octets, digest_size=16, key=key).digest() for key in keys)


def content_hash(content: bytes) -> str:
    """sha256 of *content* in hexadecimal. Small content goes in pieces below the size from which hashlib lets go of the
    interpreter lock: getting it back from the store's writer takes longer than the hash."""
    if len(content) > 65536:
        return hashlib.sha256(content).hexdigest()
    digest, view = hashlib.sha256(), memoryview(content)
    for start in range(0, len(content), 2047):
        digest.update(view[start : start + 2047])
    return digest.hexdigest()


def _derive(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, purpose, "sha256")


def load(config: Config) -> tuple[Vault, bool]:
    """The vault of *config*, and whether its key was made just now. Raises VaultError.

    The current key comes from ``vault.key_file``, else the systemd credential, else state_dir/keys/vault.key. Older keys,
    for reading only, are state_dir/keys/vault-*.key.
    """
    folder = config.state_dir / "keys"
    made = False
    if config.vault.key_file is not None:
        current = _read(config.vault.key_file)
    elif config.vault.credential:
        place = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not place:
            raise VaultError(f"vault.credential is {config.vault.credential}, but no CREDENTIALS_DIRECTORY is set; start it with systemd")
        current = _read(FilePath(place) / config.vault.credential)
    else:
        path = folder / "vault.key"
        if not path.exists():
            if (config.state_dir / "gateway.db").exists():
                raise VaultError(f"{path} is missing and there is a store that needs it; put the key back from your backup")
            make_key_file(path, os.urandom(_KEY).hex().encode() + b"\n")
            made = True
        current = _read(path)
    keys = {}
    for path in sorted(folder.glob("vault-*.key")):
        key = _read(path)
        keys[key_id(key)] = key
    keys[key_id(current)] = current
    return Vault(keys, key_id(current)), made


def key_id(key: bytes) -> str:
    """The name of a key: says nothing about it."""
    return _derive(key, b"gateway key id").hex()[:16]


def make_key_file(path: FilePath, data: bytes) -> None:
    """Writes a new secret file, mode 0600, synced with its folder. Raises FileExistsError rather than replacing one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written under another name first: a crash must not leave half a key under the name that counts.
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
        os.link(half, path)
    finally:
        os.close(descriptor)
        half.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_secret(path: FilePath) -> bytes:
    """The octets of a secret file. Raises VaultError when others may read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o007:
                raise VaultError(f"{path} can be read by everybody; run: chmod 600 {path}")
            return file.read(65536)
    except OSError as error:
        raise VaultError(f"{path}: {error.strerror}") from error


def _read(path: FilePath) -> bytes:
    data = read_secret(path)
    if len(data) == _KEY:
        return data
    try:
        key = bytes.fromhex(data.decode("ascii").strip())
    except (UnicodeDecodeError, ValueError):
        key = b""
    if len(key) != _KEY:
        raise VaultError(f"{path} is not a vault key: 32 octets, or 64 hexadecimal digits, are needed")
    return key
