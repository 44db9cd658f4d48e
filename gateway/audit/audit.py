"""The audit chain: every decision in its place, hashed over the one before.

What it is: ``AuditChain`` (numbers and hashes events inside the writing transaction), signed heads and closing heads, and ``verify``,
which names the first bad row. The table is the truth; JSON lines are exported from it by ``export``.
Who calls it: the store's writer (append), ``housekeeping`` (heads), ``service`` and ``gateway audit verify``.
Must never: hold the text of a message; give out a line break or a character that is not ASCII; renumber.
Sources: docs/design.md sections 6 and 10 ("Decision log"); RFC 6962 (the idea of signed heads); hostile-inputs catalogue P17, L06, L07,
O15.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Protocol

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

from gateway.audit import chain_keys, lines
from gateway.audit.lines import canonical, columns_hash, hash_of, timestamp
from gateway.audit.ntp import Watch
from gateway.config import Config
from gateway.envelope import new_id
from gateway.stores.base import AuditEvent, AuditRow, HeadRow
from gateway.vault import vault

FIRST = "sha256:" + "0" * 64
"""What the first row of a chain names as the hash before it."""
_UNCHECKED = "; signatures not checked: the signing key is not there"


class AuditChain:
    """One keeper's chain. Used from the writer's thread only, after ``resume``."""

    def __init__(self, chain_id: str, clock: Watch | None = None) -> None:
        """*clock*: whose state every record carries; none in it without."""
        self._id = chain_id
        self._clock = clock
        self._head = self._next = (0, FIRST)

    @property
    def id(self) -> str:
        """The chain's name."""
        return self._id

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last durable row; (0, FIRST) of an empty chain."""
        return self._head

    def resume(self, head: AuditRow | None) -> None:
        """See ``Chain.resume``."""
        self._head = self._next = (head.seq, head.hash) if head is not None else (0, FIRST)

    def append(self, event: AuditEvent) -> AuditRow:
        """See ``Chain.append``: the row with its canonical line. The order is the counter's, whatever the clock says (O15)."""
        seq, before = self._next
        seq += 1
        document = event.document
        place = {"sequence": seq}
        own: dict[str, Any] = {
            "chain": self._id, "seq": seq, "prev_hash": before, "reference": event.reference, "department": event.department,
            "disposition": event.disposition, "columns": columns_hash(event.sender, event.recipient, event.rule),
        }  # fmt: skip
        if self._clock is not None and (synced := self._clock.synced) is not None:
            own["ntp"] = {"synced": synced}
        line = canonical(
            {
                **document,
                "@timestamp": timestamp(event.created),
                "event": {"timezone": "+05:30", **document.get("event", {}), **place},
                "gateway": {**document.get("gateway", {}), **own},
            }
        )
        digest = hash_of(line)
        self._next = (seq, digest)
        return AuditRow(
            self._id, seq, event.created, event.reference, before, digest, line, event.department, event.sender, event.recipient,
            event.rule, event.disposition,
        )  # fmt: skip

    def written(self) -> None:
        """See ``Chain.written``."""
        self._head = self._next

    def discarded(self) -> None:
        """See ``Chain.discarded``."""
        self._next = self._head


# --- signed heads -----------------------------------------------------------------------------------------------------


class Signer:
    """Signs heads with the Ed25519 key in state_dir/keys."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key()
        self.key_id = key_id(self.public)

    def head(self, chain: str, seq: int, digest: str, now: float) -> HeadRow:
        """The signed head of *chain* at *now*."""
        return self._signed(HeadRow(chain, seq, digest, round(now, 3), self.key_id, ""), _HEAD)

    def closing(self, chain: str, seq: int, digest: str, now: float) -> HeadRow:
        """The signed statement of *now* that the rows of *chain* up to *seq*, whose hash is *digest*, were removed for their age."""
        return self._signed(HeadRow(chain, seq, digest, round(now, 3), self.key_id, ""), _CLOSING)

    def sign(self, statement: bytes) -> bytes:
        """Ed25519 over *statement*, which begins with words of its own that no head begins with."""
        return self._key.sign(statement)

    def _signed(self, row: HeadRow, kind: str) -> HeadRow:
        signature = base64.b64encode(self._key.sign(_head_text(row, kind))).decode("ascii")
        return HeadRow(row.chain, row.seq, row.hash, row.created, row.key_id, signature)


def key_id(key: Ed25519PublicKey) -> str:
    """The name of a public key: the first 16 hexadecimal digits of its sha256."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


_HEAD = "gateway audit head 1"
_CLOSING = "gateway audit closing 1"
"""What a signature is of: a head cannot be shown as a closing head, which says that rows may be missing."""


_NAMES = {_HEAD: "head", _CLOSING: "closing head"}


def _head_text(row: HeadRow, kind: str = _HEAD) -> bytes:
    return f"{kind}\n{row.chain}\n{row.seq}\n{row.hash}\n{row.created:.3f}\n{row.key_id}\n".encode()


def load(config: Config) -> tuple[AuditChain, Signer]:
    """The chain and the signing key of *config*'s state_dir; both are made at the first start, and anew, with an alarm, where the key
    is lost. Raises vault.VaultError."""
    if chain_keys.key_lost(config):
        chain_keys.begin_anew(config)
    key = signer(config)  # before the name: where there is a name without a key, somebody has taken the key away
    name = config.state_dir / "keys" / "audit-chain"
    if not name.exists():
        vault.make_key_file(name, new_id().encode() + b"\n")
    chain = vault.read_secret(name).decode("ascii", "replace").strip()
    return AuditChain(chain, Watch()), key


def signer(config: Config) -> Signer:
    """The signing key; made when it is not there. Raises vault.VaultError."""
    path = chain_keys.key_file(config)
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        vault.make_key_file(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return read_signer(path)


def read_signer(path: FilePath) -> Signer:
    """The signing key in the PEM file *path*. Raises vault.VaultError."""
    try:
        key = load_pem_private_key(vault.read_secret(path), None)
    except ValueError as error:
        raise vault.VaultError(f"{path} is not a PEM private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise vault.VaultError(f"{path} is not an Ed25519 key")
    return Signer(key)


def new_chain(config: Config) -> AuditChain:
    """A chain with a new name, for a store that was put back to an earlier state: numbers are never given twice."""
    chain_keys.set_aside(config)
    return load(config)[0]


def heads_in(path: FilePath) -> list[HeadRow]:
    """The signed heads that were written to the file *path*; lines that are none are left out."""
    heads: list[HeadRow] = []
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                heads.append(msgspec.json.decode(line, type=HeadRow))
            except (msgspec.DecodeError, msgspec.ValidationError):
                continue  # the torn last line of a crash
    return heads


# --- verifying --------------------------------------------------------------------------------------------------------


class Reader(Protocol):
    """What ``verify`` reads from."""

    async def audit_chains(self) -> list[str]: ...
    async def audit_rows(self, *, chain: str = "", after: int = 0, limit: int = 1000, reference: str = "") -> list[AuditRow]: ...
    async def signed_heads(self, chain: str = "") -> list[HeadRow]: ...
    async def closings(self, chain: str = "") -> list[HeadRow]: ...


@dataclass(frozen=True, slots=True)
class Beginning:
    """A chain whose oldest rows were removed: its first row now, and when (seconds since the epoch) the others went."""

    chain: str
    seq: int
    removed: float


@dataclass(frozen=True, slots=True)
class Bad:
    """The first row that is not what was written."""

    chain: str
    seq: int
    why: str


@dataclass(frozen=True, slots=True)
class Result:
    """What ``verify`` found: how many rows in how many chains, and the first bad one."""

    rows: int
    chains: int
    bad: Bad | None = None
    beginnings: tuple[Beginning, ...] = ()
    unchecked: bool = False
    """There are signed heads, and no key to check them with."""

    @property
    def text(self) -> str:
        """As ``gateway audit verify`` prints it."""
        if self.bad is None:
            begun = "".join(
                f"; chain {one.chain} begins with row {one.seq}, the rows before it were removed for their age on"
                f" {timestamp(one.removed)[:10]}"
                for one in self.beginnings
            )
            return f"ok: {self.rows} rows in {self.chains} chain{'s' * (self.chains != 1)}{begun}{_UNCHECKED * self.unchecked}"
        return f"bad: chain {self.bad.chain} row {self.bad.seq}: {self.bad.why}"


async def verify(store: Reader, public_keys: Iterable[Ed25519PublicKey] = (), kept_heads: Iterable[HeadRow] = ()) -> Result:
    """Reads every chain from its first row (after those that a closing head speaks of), and holds it against its signed heads and
    those kept elsewhere (*kept_heads*)."""
    keys = {key_id(key): key for key in public_keys}
    kept = list(kept_heads)
    chains = sorted({*await store.audit_chains(), *(head.chain for head in kept)})
    rows, unchecked = 0, False
    beginnings: list[Beginning] = []
    for chain in chains:
        heads: dict[int, list[HeadRow]] = {}
        seq, before = 0, FIRST
        for closing in await store.closings(chain):
            why = _bad_signature(closing, keys, _CLOSING)
            if why:
                return Result(rows, len(chains), Bad(chain, closing.seq, why))
            seq, before = closing.seq, closing.hash
            beginnings.append(Beginning(chain, seq + 1, closing.created))
            unchecked |= not keys
        for head in (*await store.signed_heads(chain), *(head for head in kept if head.chain == chain)):
            why = _bad_signature(head, keys)
            unchecked |= not keys
            if why:
                return Result(rows, len(chains), Bad(chain, head.seq, why))
            if head.seq > seq:
                heads.setdefault(head.seq, []).append(head)
            elif head.seq == seq and head.hash != before:
                return Result(rows, len(chains), Bad(chain, seq, "another row was signed in this place"))
        async for row in _rows(store, chain):
            why = _bad_row(row, chain, seq, before) or _bad_head(heads.pop(row.seq, ()), row)
            if why:
                return Result(rows, len(chains), Bad(chain, row.seq if row.seq == seq + 1 else seq + 1, why))
            seq, before, rows = row.seq, row.hash, rows + 1
        if heads:
            why = f"the chain ends here, but a head was signed for row {max(heads)}: rows were cut off, or an old file was put back"
            return Result(rows, len(chains), Bad(chain, seq + 1, why))
    return Result(rows, len(chains), beginnings=tuple(beginnings), unchecked=unchecked)


async def _rows(store: Reader, chain: str) -> AsyncIterator[AuditRow]:
    after = 0
    while rows := await store.audit_rows(chain=chain, after=after, limit=2000):
        for row in rows:
            yield row
        after = max(after + 1, rows[-1].seq)


def _bad_signature(head: HeadRow, keys: Mapping[str, Ed25519PublicKey], kind: str = _HEAD) -> str:
    if not keys:
        return ""
    if head.key_id not in keys:
        return f"its signed {_NAMES[kind]} names the unknown key {head.key_id}"
    try:
        keys[head.key_id].verify(base64.b64decode(head.signature, validate=True), _head_text(head, kind))
    except (InvalidSignature, ValueError):
        return f"the signature of its signed {_NAMES[kind]} is wrong"
    return ""


def _bad_head(heads: Iterable[HeadRow], row: AuditRow) -> str:
    return "another row was signed in this place" if any(head.hash != row.hash for head in heads) else ""


def _bad_row(row: AuditRow, chain: str, seq: int, before: str) -> str:
    if row.seq != seq + 1:
        return f"rows are missing: row {row.seq} follows row {seq}"
    if row.prev_hash != before:
        return "it does not follow the row before it"
    if hash_of(row.line) != row.hash:
        return "its content was changed"
    try:
        document = json.loads(row.line)
        own = document["gateway"]
    except (ValueError, KeyError, TypeError):
        return "its line is not a record"
    expected = (
        (own.get("chain"), chain), (own.get("seq"), row.seq), (own.get("prev_hash"), row.prev_hash), (own.get("reference"), row.reference),
        (document.get("@timestamp"), timestamp(row.created)), (own.get("department"), row.department),
        (own.get("disposition"), row.disposition), (own.get("columns"), columns_hash(row.sender, row.recipient, row.rule)),
    )  # fmt: skip
    if any(said != kept and said != lines.cleaned(kept) for said, kept in expected):
        return "its columns are not those of its line"
    return ""


_BEFORE_HASH = '"dataset":"gateway.decision",'


def with_hash(row: AuditRow) -> str:
    """The exported line: the canonical one with ``event.hash`` in its sorted place."""
    start = row.line.find(_BEFORE_HASH)
    if start >= 0:
        # No string of a line can hold a quote that is not escaped, so this is the key itself.
        end = start + len(_BEFORE_HASH)
        return f'{row.line[:end]}"hash":"{row.hash}",{row.line[end:]}'
    document = json.loads(row.line)
    document["event"]["hash"] = row.hash
    return lines.CAREFUL.encode(document)
