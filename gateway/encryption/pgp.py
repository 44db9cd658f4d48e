"""OpenPGP: messages, signatures and keys, in octets or in armour.

What it is: ``extract`` (the reader of everything OpenPGP: what is signed, compressed or stored is opened and read, what is encrypted is
weighed in ``pgp_protection``, of keys and signatures all text is read), ``is_signature``, ``begins`` and the reader of signatures.
Who calls it: ``sniff`` and ``content.walk`` through the table.
Must never: take a message (signed, compressed or encrypted) for a signature; believe an armour line about what is in it; check a
signature (the recipient does that).
Sources: RFC 9580 sections 4.2 (packets), 5 (their contents), 6.2 (armour), 10 (which packets follow which); RFC 3156 (PGP/MIME);
hostile-inputs catalogue E13-E15, E17, E18.
"""

from __future__ import annotations

import bz2
import re
import zlib
from dataclasses import dataclass, field

from gateway.encryption import pgp_armour, pgp_lock, pgp_packets, pgp_protection, pgp_secret
from gateway.encryption.cms import ENTITY
from gateway.encryption.pgp_packets import Packet
from gateway.encryption.pgp_protection import Sealed
from gateway.extraction import randomness
from gateway.extraction.base import Budget, Child, Found, Lock, OverLimit, Piece, StoredKey, Unreadable, join_reasons
from gateway.protection import UNPROTECTED, Protection, ProtectionState
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_LARGEST = 20_000
"""Octets of a packet of a key or a signature; the largest usual ones have a tenth of it."""
_SCRAP = 2_000  # octets
_MOST_SIGNATURES = 50
_DEEPEST = 4  # compressed in compressed
_READABLE = re.compile(rb"(?:[\t\n\r -~]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}){6,}")
_KEY_PACKETS = frozenset((
    pgp_packets.SECRET_KEY, pgp_packets.PUBLIC_KEY, pgp_packets.SECRET_SUBKEY, pgp_packets.PUBLIC_SUBKEY, pgp_packets.SIGNATURE,
    pgp_packets.USER_ID, pgp_packets.TRUST, pgp_packets.ONE_PASS, pgp_packets.MARKER, pgp_packets.PADDING,
))  # fmt: skip
_ENCRYPTED = frozenset((pgp_packets.SED, pgp_packets.SEIPD, pgp_packets.AEAD))
_SESSION_KEYS = frozenset((pgp_packets.PKESK, pgp_packets.SKESK))
_VERSIONS = {
    pgp_packets.PKESK: (2, 3, 6), pgp_packets.SIGNATURE: (3, 4, 5, 6), pgp_packets.SKESK: (4, 5, 6), pgp_packets.ONE_PASS: (3, 6),
    pgp_packets.SECRET_KEY: (3, 4, 5, 6), pgp_packets.PUBLIC_KEY: (3, 4, 5, 6), pgp_packets.SEIPD: (1, 2), pgp_packets.AEAD: (1,),
    pgp_packets.COMPRESSED: (0, 1, 2, 3), pgp_packets.LITERAL: tuple(b"btuml1"), pgp_packets.MARKER: (ord("P"),),
}  # fmt: skip
"""What the first octet of a packet may be that begins a file."""
_CLOSED_TO_ITS_END = frozenset((pgp_packets.SED, pgp_packets.COMPRESSED, pgp_packets.LITERAL))
"""Packets of which so little is fixed that only the fitting end of the file proves them."""
_ENDINGS = (".gpg", ".pgp", ".asc")
_OWN_BLOCKS = re.compile(rb"\n(?:begin|=ybegin|\(This file must)", re.I)


def is_signature(data: bytes) -> bool:
    """Whether *data*, armoured or not, is nothing but signature packets."""
    if len(data) > _LARGEST * 2:
        return False
    if data[:1] < b"\x80":
        block = pgp_armour.whole(data)
        if block is None or block.kind != "SIGNATURE" or block.flaw:
            return False
        data = block.data
    try:
        packets, rest = pgp_packets.read(data)
    except Unreadable:
        return False
    return (
        not rest
        and 0 < len(packets) <= _MOST_SIGNATURES
        and all(one.tag == pgp_packets.SIGNATURE and 10 <= len(one.body) <= _LARGEST and one.body[0] in (3, 4, 5, 6) for one in packets)
    )


def begins(data: bytes) -> bool:
    """Whether the octets *data* begin like something of OpenPGP, by the first packet."""
    if len(data) < 12 or not data[0] & 0x80:
        return False
    tag = data[0] & 0x3F if data[0] & 0x40 else data[0] >> 2 & 0x0F
    if tag not in _VERSIONS and tag != pgp_packets.SED:
        return False
    try:
        packets, rest = pgp_packets.read(data)
    except Unreadable:
        # Cut off: the first packet may still be whole, or its version tell.
        at = 1 + (
            (1 if data[1] < 192 else 2 if data[1] < 224 else 5 if data[1] == 255 else 1) if data[0] & 0x40 else (1, 2, 4, 0)[data[0] & 3]
        )
        return (
            tag not in _CLOSED_TO_ITS_END
            and data[at] in _VERSIONS[tag]
            and tag in (pgp_packets.PKESK, pgp_packets.SKESK, pgp_packets.SEIPD)
        )
    if not packets or not packets[0].body:
        return False
    if tag in _CLOSED_TO_ITS_END and (rest or (tag == pgp_packets.SED and len(packets) > 1)):
        return False
    if len(packets) == 1 and rest and tag not in (pgp_packets.PKESK, pgp_packets.SKESK, pgp_packets.SEIPD):
        return False
    return tag == pgp_packets.SED or packets[0].body[0] in _VERSIONS[tag]


def extract_signature(piece: Piece, budget: Budget) -> Found:
    """A signature holds a few hundred octets of numbers; what in it is readable, its notes and its armour's fields, is read."""
    if not is_signature(piece.data):
        raise Unreadable("an OpenPGP signature with other data in it")
    budget.check_time()
    block = pgp_armour.whole(piece.data) if piece.data[:1] < b"\x80" else None
    texts = _Contents()
    for packet in pgp_packets.read(block.data if block is not None else piece.data)[0]:
        texts.readable(packet.body)
    if block is not None:
        texts.readable(block.fields)
    return Found(texts.segments(), media_type="application/pgp-signature", is_signature=True)


def extract(piece: Piece, budget: Budget) -> Found:
    """Packets, one armoured block, or text with such blocks in it."""
    if piece.data[:1] >= b"\x80":
        return _packets(piece.data, piece, budget)
    block = pgp_armour.whole(piece.data)
    if block is not None:
        found = _packets(block.data, piece, budget)
        fields = (Segment(block.fields.decode("utf-8", "replace"), Zone.PROPERTY),) if block.fields else ()
        state, reason = found.state, found.reason
        if block.flaw:
            state, reason = LeafState.SUSPECT, join_reasons(f"OpenPGP data: {block.flaw}", found.reason)
        return Found(
            found.segments + fields, found.children, state, reason, found.protection, container=found.container,
            media_type=found.media_type, lock=found.lock, keys=found.keys, key_lock=found.key_lock,
        )  # fmt: skip
    return _blocks(piece, budget)


def _blocks(piece: Piece, budget: Budget) -> Found:
    """Blocks in a text that is read as text beside: each is a piece of its own, but for signatures of that text."""
    children: list[Child] = []
    texts = _Contents()
    problem = ""
    blocks = pgp_armour.find(piece.data)
    if len(blocks) >= pgp_armour.MOST:
        raise OverLimit("it holds more OpenPGP blocks than the limit")
    # The scan of the whole message hands out the blocks that begin a line, unless it took the place for something else.
    handed_out = piece.scanned and not _OWN_BLOCKS.search(b"\n" + piece.data)
    for number, block in enumerate(blocks, 1):
        budget.spend_entries()
        budget.spend_bytes(len(block.data))
        begins_line = block.start == 0 or piece.data[block.start - 1 : block.start] == b"\n"
        if block.kind == "SIGNATURE" and (
            is_signature(block.data) or (block.flaw and not begins(block.data) and len(block.data) <= _SCRAP)
        ):
            texts.readable(block.data)  # whole, or a scrap of one, as people quote it
            continue
        if not (handed_out and begins_line and block.kind == "MESSAGE" and not block.flaw):
            children.append(Child(f"{block.kind.split()[0].lower()}-{number}", block.data, is_attachment=piece.is_attachment))
        if block.kind == "MESSAGE" and piece.declared == "text/html" and _within_tag(piece.data, block.start):
            problem = "ambiguous: an encrypted block stands within a tag"
        if block.flaw:
            problem = problem or f"OpenPGP data: {block.flaw}"
    if not blocks:
        problem = "OpenPGP armour that is broken"
    return Found(
        texts.segments(), tuple(children), LeafState.SUSPECT if problem else LeafState.INSPECTED, problem, container=bool(children)
    )


def _within_tag(data: bytes, at: int) -> bool:
    return data.rfind(b"<", 0, at) > data.rfind(b">", 0, at)


@dataclass(slots=True)
class _Contents:
    """What the packets of one piece hold."""

    children: list[Child] = field(default_factory=list)
    sealed: list[tuple[Sealed, int, int]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    keys: bool = False
    secrets: list[StoredKey] = field(default_factory=list)

    def readable(self, octets: bytes) -> None:
        """Keeps every run of readable text in *octets*: names, notes, and what somebody hid among the numbers."""
        self.texts.extend(run.decode("utf-8", "replace") for run in _READABLE.findall(octets))

    def segments(self) -> tuple[Segment, ...]:
        return tuple(Segment(text, Zone.PROPERTY) for text in dict.fromkeys(self.texts))


def _packets(data: bytes, piece: Piece, budget: Budget) -> Found:
    contents = _Contents()
    _gather(data, piece, budget, contents, 0)
    if len(contents.sealed) == 1 and not contents.children:
        return _one(contents, data, budget)
    for number, (_, start, end) in enumerate(contents.sealed, 1):
        contents.children.append(Child(f"message-{number}", data[start:end]))
    state = LeafState.SUSPECT if contents.problems else LeafState.INSPECTED
    media_type = "application/pgp-keys" if contents.keys and not contents.children else "application/pgp"
    return Found(
        contents.segments(), tuple(contents.children), state, join_reasons(*contents.problems),
        UNPROTECTED, container=bool(contents.children), media_type=media_type, keys=tuple(contents.secrets),
    )  # fmt: skip


def _one(contents: _Contents, data: bytes, budget: Budget) -> Found:
    """Nothing but one encrypted message."""
    sealed, _, _ = contents.sealed[0]
    lock: Lock | None = pgp_lock.lock(sealed)
    empty = lock is not None and lock.seconds <= _MOST_SECONDS and lock.open("", budget) is not None
    octets = pgp_protection.payload(sealed.data)
    readable = _is_readable(octets, budget)
    protection = pgp_protection.assess(sealed, empty_opens=empty, readable=readable)
    children: tuple[Child, ...] = ()
    if protection.state is ProtectionState.UNVERIFIABLE and (readable or (randomness.disproof(octets) and len(octets) > 1)):
        budget.spend_bytes(len(octets))
        children = (Child("data", octets),)  # what is not encrypted is read
    if empty and lock is not None and isinstance(opened := lock.open("", budget), bytes):
        children = (Child("message", opened),)
    if contents.problems and protection.state is ProtectionState.STRONG:
        protection = Protection(ProtectionState.UNVERIFIABLE, "pgp", protection.cipher, protection.bits, join_reasons(*contents.problems))
    state = LeafState.OPAQUE if protection.state is ProtectionState.STRONG else LeafState.SUSPECT
    reason = join_reasons("" if state is LeafState.OPAQUE else protection.reason, *contents.problems)
    return Found(
        contents.segments(), children, state, reason, protection,
        container=bool(children), media_type="application/pgp-encrypted", lock=None if empty else lock,
        keys=tuple(contents.secrets), key_lock=None if children else pgp_secret.PgpKeyLock(sealed),
    )  # fmt: skip


_MOST_SECONDS = 0.5
"""A password that takes longer to try is not tried for being empty: whoever writes that asks for one."""


def _is_readable(octets: bytes, budget: Budget) -> bool:
    """Whether *octets*, which are said to be encrypted, are packets that need no key."""
    if not begins(octets):
        return False
    contents = _Contents()
    try:
        _gather(octets, Piece(b""), budget, contents, 1)
    except Unreadable:
        return False
    return bool(contents.children) and not contents.problems


def _gather(data: bytes, piece: Piece, budget: Budget, contents: _Contents, depth: int) -> None:
    """The packets of *data*, one after the other."""
    packets, rest = pgp_packets.read(data)
    if not packets:
        raise Unreadable("OpenPGP data that is broken")
    contents.secrets.extend(pgp_secret.keys_of(packets))
    pending: list[Packet] = []
    for packet in packets:
        budget.spend_entries()
        if pending and packet.tag not in _ENCRYPTED | _SESSION_KEYS and packet.tag not in (pgp_packets.MARKER, pgp_packets.PADDING):
            contents.problems.append("keys of an OpenPGP message without the message")
            pending = []
        if packet.tag in _SESSION_KEYS:
            pending.append(packet)
        elif packet.tag in _ENCRYPTED:
            sealed = Sealed(tuple(pending), packet)
            if depth:
                # Inside of a compressed one: a piece of its own.
                contents.children.append(Child("message", data[(pending[0] if pending else packet).start : packet.end]))
            else:
                contents.sealed.append((sealed, (pending[0] if pending else packet).start, packet.end))
            pending = []
        elif packet.tag == pgp_packets.LITERAL:
            contents.children.append(_literal(packet.body, piece, budget))
        elif packet.tag == pgp_packets.COMPRESSED:
            if depth >= _DEEPEST:
                raise OverLimit("it is nested deeper than the limit")
            _gather(_decompress(packet.body, budget), piece, budget, contents, depth + 1)
        else:
            _other(packet, contents)
    if pending:
        contents.problems.append("keys of an OpenPGP message without the message")
    if rest.strip(b"\r\n\t \x00"):
        contents.problems.append("OpenPGP data with other data behind its end")
        budget.spend_bytes(len(rest))
        contents.children.append(Child("behind", rest))


def _other(packet: Packet, contents: _Contents) -> None:
    """Keys and signatures: numbers, and names and notes to be read."""
    contents.readable(packet.body)
    if packet.tag == pgp_packets.USER_ATTRIBUTE:
        for kind, content in pgp_packets.subpackets(packet.body):
            if kind != 1 or len(content) < 17:
                contents.problems.append("an OpenPGP key with a note of an unknown kind")
            else:
                contents.children.append(Child("photo.jpg", content[int.from_bytes(content[:2], "little") :]))
        return
    if packet.tag not in _KEY_PACKETS:
        contents.problems.append("OpenPGP data with a packet that has no place there")
        return
    contents.keys = contents.keys or packet.tag in (pgp_packets.PUBLIC_KEY, pgp_packets.SECRET_KEY)
    if len(packet.body) > _LARGEST:
        contents.problems.append("an OpenPGP key or signature that is larger than any")
    elif packet.tag in (pgp_packets.PADDING, pgp_packets.TRUST, pgp_packets.MARKER) and len(packet.body) > 256:
        contents.problems.append("OpenPGP data with padding that may hold something")


def _literal(body: bytes, piece: Piece, budget: Budget) -> Child:
    """The file that a literal packet stores."""
    if len(body) < 6 or len(body) < 6 + body[1]:
        raise Unreadable("an OpenPGP message that is broken")
    name = body[2 : 2 + body[1]].decode("utf-8", "replace")
    content = body[6 + body[1] :]
    budget.spend_bytes(len(content))
    if not name or name == "_CONSOLE":
        name = next(
            (piece.name[: -len(end)] for end in _ENDINGS if piece.name.lower().endswith(end) and len(piece.name) > len(end)), "message"
        )
    declared = "message/rfc822" if ENTITY.match(content) else ""
    return Child(name, content, declared, is_attachment=piece.is_attachment)


def _decompress(body: bytes, budget: Budget) -> bytes:
    """The packets in a compressed one. Raises Unreadable for broken data, OverLimit for too much of it."""
    method, packed = body[0] if body else -1, body[1:]
    room = budget.room(len(packed))
    try:
        if method == 0:
            out, left, whole = packed, b"", True
        elif method in (1, 2):
            engine = zlib.decompressobj(-15 if method == 1 else 15)
            out = engine.decompress(packed, room + 1)
            left, whole = engine.unused_data, engine.eof
        elif method == 3:
            expander = bz2.BZ2Decompressor()
            out = expander.decompress(packed, room + 1)
            left, whole = expander.unused_data, expander.eof
        else:
            raise Unreadable("an OpenPGP message that is compressed in an unknown way")
    except (zlib.error, OSError, ValueError, EOFError):
        raise Unreadable("an OpenPGP message whose compressed data is broken") from None
    if len(out) > room:
        raise OverLimit("it unpacks to more than the limit")
    if not whole:
        raise Unreadable("an OpenPGP message that is cut off")
    if left.strip(b"\x00"):
        raise Unreadable("an OpenPGP message with other data in it")
    budget.spend_bytes(len(out))
    return out
