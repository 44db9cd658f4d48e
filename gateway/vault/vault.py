"""The vault: content sealed at rest, one data key a body.

What it is: AES-256-GCM envelopes. Each body has its own data key, wrapped by the vault key with the body's id as associated
data, so that swapping two rows is refused and destroying the wrapped key destroys the body. Also sealed fields (subjects,
details) and the keyed hash of marked words.
Who calls it: ``act``, ``relay``, ``quarantine``, ``rotation``, ``audit``; ``gateway keys`` for the files. The keys live in the keeper only.
Must never: give back content whose sha256 is not the recorded one; write a key anywhere but to its file; reuse a data key.
Sources: NIST SP 800-38D (GCM); docs/design.md section 6; hostile-inputs catalogue P18, O20, O22.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.config import Config
from gateway.stores.base import BodyRow

_NONCE = 12
_KEY = 32
EVIDENCE = "evidence.key"
"""Name of the file in state_dir/keys that keeps the key of the hash of marked words over rotations."""


LOST = (
    "{place} is missing and there is a store that needs it; put the key back from your backup or from paper ('gateway keys recover'),"
    " or go on without what it sealed: gateway keys rotate-vault --lost"
)


class VaultError(Exception):
    """A sealed thing cannot be opened, or there is no key. The text is one plain sentence."""


NEXT = "next"
"""What stands first in the name of a key that another node seals with, or will: vault-next-ID.key, or the credential NAME-next."""


class KeyMissing(VaultError):
    """The key that sealed it is not among those that are here: it may be on another node, in a backup, on paper. Nothing is damaged."""


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


@dataclass(frozen=True, slots=True)
class _Ring:
    """The keys of one moment. Each purpose has its own key, so that a hash that leaves the vault says nothing about wrapping."""

    current: str
    wrap: Mapping[str, AESGCM]
    field: Mapping[str, AESGCM]
    evidence: bytes


class Vault:
    """Seals with the key *current*; opens with any of *keys* (key id to 32 octets). *evidence* keys the hash of marked words; absent:
    it is derived from the current key. *problems*: one sentence for each older key that lies there and cannot be read. *ahead*: the ids
    of those that are newer than the current one."""

    def __init__(
        self, keys: Mapping[str, bytes], current: str, evidence: bytes = b"", problems: tuple[str, ...] = (),
        ahead: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        for name, key in keys.items():
            if len(key) != _KEY:
                raise VaultError(f"vault key {name}: {_KEY} octets are needed, there are {len(key)}")
        if current not in keys:
            raise VaultError(f"vault key {current} is missing")
        self._ring = _Ring(
            current,
            {name: AESGCM(_derive(key, b"gateway body key wrap")) for name, key in keys.items()},
            {name: AESGCM(_derive(key, b"gateway field")) for name, key in keys.items()},
            evidence or evidence_key(keys[current]),
        )
        self._chance = _Chance()
        self.problems = problems
        self.ahead = ahead - {current}
        self.missed: set[str] = set()
        """Ids of keys that something needed and that were not here, since somebody last looked (``rotation``)."""

    @property
    def current(self) -> str:
        """The id of the key that seals."""
        return self._ring.current

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all keys that are here."""
        return frozenset(self._ring.wrap)

    def adopt(self, other: Vault) -> None:
        """Takes the keys of *other*, in one step: what is sealed from now on is sealed with its current key."""
        self._ring, self.problems, self.ahead = other._ring, other.problems, other.ahead

    def seal(self, body_id: str, content: bytes, sha256: str) -> BodyRow:
        """The row of *content*, whose sha256 the caller already knows."""
        chance = self._chance.take(_KEY + 2 * _NONCE)
        data_key, nonce, wrap_nonce = chance[:_KEY], chance[_KEY : _KEY + _NONCE], chance[_KEY + _NONCE :]
        identity, ring = body_id.encode(), self._ring
        return BodyRow(
            id=body_id,
            key_id=ring.current,
            wrapped_key=wrap_nonce + ring.wrap[ring.current].encrypt(wrap_nonce, data_key, identity),
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
        identity = row.id.encode()
        try:
            data_key = self._unwrap(row.id, row.key_id, row.wrapped_key)
            content = AESGCM(data_key).decrypt(row.nonce, row.ciphertext, identity)
        except (InvalidTag, ValueError) as error:
            raise VaultError(f"body {row.id} is damaged: it does not open with its key") from error
        if len(content) != row.size or not hmac.compare_digest(content_hash(content), row.sha256):
            raise VaultError(f"body {row.id} is damaged: its hash is not the recorded one")
        return content

    def _unwrap(self, body_id: str, key_id: str, wrapped: bytes) -> bytes:
        wrap = self._ring.wrap.get(key_id)
        if wrap is None:
            self.missed.add(key_id)
            raise KeyMissing(f"body {body_id} needs vault key {key_id}, which is not here; put it back with 'gateway keys recover'")
        return wrap.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], body_id.encode())

    def rewrap(self, body_id: str, key_id: str, wrapped: bytes) -> tuple[str, bytes]:
        """The data key of a body under the current key: its id, and the wrapped key. The content stays as it is. Raises VaultError."""
        ring, nonce = self._ring, self._chance.take(_NONCE)
        try:
            data_key = self._unwrap(body_id, key_id, wrapped)
        except (InvalidTag, ValueError) as error:
            raise VaultError(f"body {body_id} is damaged: its key does not open") from error
        return ring.current, nonce + ring.wrap[ring.current].encrypt(nonce, data_key, body_id.encode())

    def seal_field(self, owner_id: str, text: str | bytes) -> bytes:
        """*text* sealed and bound to the row *owner_id*; empty stays empty."""
        if not text:
            return b""
        clear = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        nonce, ring = self._chance.take(_NONCE), self._ring
        return field_prefix(ring.current) + nonce + ring.field[ring.current].encrypt(nonce, clear, owner_id.encode())

    def open_field(self, owner_id: str, sealed: bytes) -> bytes:
        """What ``seal_field`` was given. Raises VaultError."""
        if not sealed:
            return b""
        end = 1 + sealed[0]
        name = sealed[1:end].decode("ascii", "replace")
        cipher = self._ring.field.get(name)
        if cipher is None:
            self.missed.add(name)
            raise KeyMissing(f"a field of {owner_id} needs vault key {name}, which is not here; put it back with 'gateway keys recover'")
        try:
            return cipher.decrypt(sealed[end : end + _NONCE], sealed[end + _NONCE :], owner_id.encode())
        except (InvalidTag, ValueError) as error:
            raise VaultError(f"a field of {owner_id} is damaged: it does not open with its key") from error

    def words_hash(self, text: str) -> str:
        """A keyed hash of marked words: equal words are seen to be equal, nobody without the key can guess them."""
        # Keyed BLAKE2 rather than HMAC: hashlib's HMAC lets go of the interpreter lock, which costs a hundred times the hash.
        octets = text.encode("utf-8", "surrogateescape")
        return "blake2b-256:" + hashlib.blake2b(octets, digest_size=32, key=self._ring.evidence).hexdigest()

    def pair_hash(self, sender: str, recipient: str) -> bytes:
        """A keyed hash of who writes to whom, 16 octets, with the key that the hash of marked words has: it outlives rotations."""
        octets = f"{sender.casefold()}\0{recipient.casefold()}".encode("utf-8", "surrogateescape")
        return hashlib.blake2b(octets, digest_size=16, key=self._ring.evidence, person=b"correspondents").digest()

    def thread_hash(self, kind: str, value: bytes) -> bytes:
        """A keyed hash of a Message-ID or of a passage's fingerprint, as *kind* says; 16 octets, with the same key."""
        person = f"thread {kind}".encode("ascii")[:16]
        return hashlib.blake2b(value, digest_size=16, key=self._ring.evidence, person=person).digest()

    def thread_hashes(self, kind: str, values: Sequence[bytes]) -> list[bytes]:
        """The same of many *values*: the key is taken in once."""
        keyed = hashlib.blake2b(digest_size=16, key=self._ring.evidence, person=f"thread {kind}".encode("ascii")[:16])
        found = []
        for value in values:
            one = keyed.copy()
            one.update(value)
            found.append(one.digest())
        return found

    def term_hash(self, kind: str, word: str) -> bytes:
        """A keyed hash of a word by which held mail is found, as *kind* says; 16 octets, with the same key."""
        person = f"term {kind}".encode("ascii")[:16]
        return hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=16, key=self._ring.evidence, person=person).digest()

    def link_mac(self, octets: bytes) -> bytes:
        """HMAC-SHA256 for the signed links of officers, under a key of its own that outlives rotations as the hashes above do."""
        return hmac.digest(_derive(self._ring.evidence, b"gateway officer link"), octets, "sha256")


def content_hash(content: bytes) -> str:
    """sha256 of *content* in hexadecimal. Small content goes in pieces below the size from which hashlib lets go of the
    interpreter lock: getting it back from the store's writer takes longer than the hash."""
    if len(content) > 65536:
        return hashlib.sha256(content).hexdigest()
    digest, view = hashlib.sha256(), memoryview(content)
    for start in range(0, len(content), 2047):
        digest.update(view[start : start + 2047])
    return digest.hexdigest()


def field_prefix(key_id: str) -> bytes:
    """What a field sealed with the key *key_id* begins with."""
    name = key_id.encode("ascii")
    return bytes((len(name),)) + name


def field_key(sealed: bytes) -> str:
    """The id of the key that sealed a field; empty for an empty one."""
    return sealed[1 : 1 + sealed[0]].decode("ascii", "replace") if sealed else ""


def evidence_key(key: bytes) -> bytes:
    """The key of the hash of marked words, from the vault key *key*."""
    return _derive(key, b"gateway evidence hash")


def _derive(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, purpose, "sha256")


def load(config: Config) -> tuple[Vault, bool]:
    """The vault of *config*, and whether its key was made just now. Raises VaultError for the current key only: an older one that
    cannot be read must not keep new mail out, and is told in ``problems``.

    The current key comes from ``vault.key_file``, else the systemd credential, else state_dir/keys/vault.key. Older keys,
    for reading only, are state_dir/keys/vault-*.key, and credentials whose names begin with the credential's and a hyphen. So is one
    that this node will seal with later (``NEXT``).
    """
    place, made = current_place(config), False
    if config.vault.key_file is None and not config.vault.credential and not place.exists():
        if (config.state_dir / "gateway.db").exists():
            raise VaultError(LOST.format(place=place))
        if config.store.shared:
            raise VaultError(
                f"{place} is missing, and the store is one that many nodes share: all of them need the same vault key. Copy it from another"
                " node, and name it in vault.key_file; on the first node 'gateway keys init' makes it there"
            )
        make_key_file(place, new_key_text())
        made = True
    current = read_key(place)
    keys: dict[str, bytes] = {}
    problems: list[str] = []
    ahead: set[str] = set()
    for path in older_places(config):
        try:
            key = read_key(path)
        except VaultError as error:
            problems.append(str(error))
        else:
            keys[key_id(key)] = key
            if path.name.startswith(f"vault-{NEXT}-") or path.name == f"{config.vault.credential}-{NEXT}":
                ahead.add(key_id(key))
    keys[key_id(current)] = current
    pinned = config.state_dir / "keys" / EVIDENCE
    try:
        evidence = read_key(pinned) if pinned.exists() else b""
    except VaultError as error:
        evidence = b""
        problems.append(str(error))
    return Vault(keys, key_id(current), evidence, tuple(problems), frozenset(ahead)), made


def current_place(config: Config) -> FilePath:
    """The file of the current key, whether it is there or not. Raises VaultError for a credential without systemd."""
    if config.vault.key_file is not None:
        return config.vault.key_file
    if config.vault.credential:
        place = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not place:
            raise VaultError(f"vault.credential is {config.vault.credential}, but no CREDENTIALS_DIRECTORY is set; start it with systemd")
        return FilePath(place) / config.vault.credential
    return config.state_dir / "keys" / "vault.key"


def next_place(config: Config, id: str) -> FilePath:
    """The file of the key *id* which opens here and does not seal yet."""
    return config.state_dir / "keys" / f"vault-{NEXT}-{id}.key"


def older_places(config: Config) -> list[FilePath]:
    """The files of the other keys: older ones, and those that are to come."""
    places = sorted((config.state_dir / "keys").glob("vault-*.key"))
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if config.vault.credential and folder:
        places += sorted(FilePath(folder).glob(f"{config.vault.credential}-*"))
    return places


def pin_evidence(config: Config, key: bytes) -> None:
    """Keeps the key of the hash of marked words that *key* gave: equal words stay equal after the vault key has changed."""
    path = config.state_dir / "keys" / EVIDENCE
    if not path.exists():
        make_key_file(path, evidence_key(key).hex().encode() + b"\n")


def new_key_text() -> bytes:
    """A new key as its file holds it."""
    return os.urandom(_KEY).hex().encode() + b"\n"


def key_id(key: bytes) -> str:
    """The name of a key: says nothing about it."""
    return _derive(key, b"gateway key id").hex()[:16]


def make_key_file(path: FilePath, data: bytes) -> None:
    """Writes a new secret file, mode 0600, synced with its folder. Raises FileExistsError rather than replacing one."""
    _write_secret(path, data, os.link)


def replace_key_file(path: FilePath, data: bytes) -> None:
    """The same for a file that is there, or not: in one step it holds *data*."""
    _write_secret(path, data, os.replace)


def _write_secret(path: FilePath, data: bytes, put: Callable[[FilePath, FilePath], object]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written under another name first: a crash must not leave half a key under the name that counts.
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        if os.geteuid() == 0:  # an administrator makes it, the folder's owner has to read it
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        os.fsync(descriptor)
        put(half, path)
    finally:
        os.close(descriptor)
        half.unlink(missing_ok=True)
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


def read_key(path: FilePath) -> bytes:
    """The 32 octets of the key file *path*. Raises VaultError."""
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
