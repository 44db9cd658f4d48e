"""What encryption of a 7z archive really is, and opening it with a password.

What it is: ``Archive`` (an archive that is being read, with the keys and folders that were opened), ``of_folder`` and ``of_header``
(the protection, proved), ``MemberLock`` and ``ArchiveLock``.
Who calls it: ``archives.sevenzip``; the walk tries the locks.
Must never: call a folder strong because AES is in its list of coders: it must fail without a key and with the empty password, and its
packed octets must look like ciphertext.
Sources: "7zFormat.txt" and 7zAes.cpp of the 7-Zip sources; hostile-inputs catalogue E05, E07; J&K Circular 26-JK(GAD) of 2024 (AES-256).
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.archives import sevenzip_coders
from gateway.archives.sevenzip_header import AES, START, File, Folder, Streams, chain, parse
from gateway.extraction import randomness
from gateway.extraction.base import Budget, Child, OverLimit, Unreadable
from gateway.protection import Protection, ProtectionState

CIPHER = "AES-256-CBC"
STRONG = Protection(ProtectionState.STRONG, "7z", CIPHER, 256)
_DEFAULT_POWER, _DEFAULT_SECONDS = 19, 0.05


@dataclass(slots=True)
class Archive:
    """An archive, and what was opened of it; the same password is not worked out twice."""

    data: bytes
    streams: Streams | None = None
    files: tuple[File, ...] = ()
    ranges: list[tuple[int, int]] = field(default_factory=list)
    keys: dict[tuple[str, int, bytes], bytes] = field(default_factory=dict)
    wrong: set[tuple[int, str]] = field(default_factory=set)
    opened: tuple[int, str, bytes] | None = None

    def packed(self, streams: Streams, folder: Folder) -> tuple[bytes, ...]:
        """The packed octets of each stream of *folder*."""
        places = streams.packed[folder.first_stream : folder.first_stream + len(folder.packed)]
        return tuple(self.data[at : at + size] for at, size in places)

    def unpack(self, streams: Streams, folder: Folder, key: bytes | None, budget: Budget, *, ignore: bool = False) -> bytes:
        """The octets of *folder*, checked against its checksum. *ignore*: as if nothing were encrypted. Raises Unreadable, OverLimit."""
        coders = chain(folder)
        packed = self.packed(streams, folder)[0]
        if ignore:
            coders = tuple((coder, size) for coder, size in coders if coder.method != AES)
            packed = packed if coders else packed[: folder.size]
        out = sevenzip_coders.unpack(packed, coders, key, budget)
        crc = folder.crc
        if crc is None and len(folder.parts) == 1:
            crc = folder.parts[0][1]
        if crc is not None and zlib.crc32(out) != crc:
            raise Unreadable("a member is damaged: size or checksum is wrong")
        if crc is None and (key is not None or ignore) and not _checks(out, folder):
            raise Unreadable("a member is damaged: size or checksum is wrong")
        return out

    def key(self, password: str, folder: Folder, budget: Budget) -> bytes:
        """The key that *password* gives for *folder*. Raises Unreadable or OverLimit."""
        properties = next(coder.properties for coder in folder.coders if coder.method == AES)
        power, salt, _ = sevenzip_coders.aes_parameters(properties)
        known = (password, power, salt)
        if known not in self.keys:
            self.keys[known] = sevenzip_coders.key(password, properties, budget)
        return self.keys[known]

    def open(self, number: int, password: str, budget: Budget) -> bytes | None:
        """The octets of the encrypted folder *number*; None where *password* is wrong. Raises OverLimit."""
        assert self.streams is not None
        if self.opened is not None and self.opened[:2] == (number, password):
            return self.opened[2]
        if (number, password) in self.wrong:
            return None
        folder = self.streams.folders[number]
        try:
            out = self.unpack(self.streams, folder, self.key(password, folder, budget), budget)
        except OverLimit:
            raise
        except Unreadable:
            self.wrong.add((number, password))
            return None
        self.opened = (number, password, out)
        return out


def _checks(out: bytes, folder: Folder) -> bool:
    """Without a checksum of the whole, those of its parts; without any, what is not random any more was opened."""
    at, known = 0, False
    for size, crc in folder.parts:
        if crc is not None:
            known = True
            if zlib.crc32(out[at : at + size]) != crc:
                return False
        at += size
    return known or randomness.disproof(out) != ""


def _unverifiable(reason: str) -> Protection:
    return Protection(ProtectionState.UNVERIFIABLE, "7z", reason=reason)


def of_folder(archive: Archive, streams: Streams, folder: Folder, budget: Budget) -> tuple[Protection, bytes | None]:
    """The protection of *folder*, and its octets where it turns out to open without a secret. Raises OverLimit."""
    try:
        out = archive.unpack(streams, folder, None, budget, ignore=True)
        return Protection(reason="it claims encryption, but its data is plain"), out
    except OverLimit:
        raise
    except Unreadable:
        pass
    # Every stream of the archive goes into an AES coder first; behind another coder it would protect nothing that can be shown.
    first = dict(enumerate(coder for coder in folder.coders for _ in range(coder.inputs)))
    if any(first[entry].method != AES for entry in folder.packed):
        return _unverifiable("not everything in it goes through its encryption"), None
    try:
        for coder in (first[entry] for entry in folder.packed):
            if sevenzip_coders.aes_parameters(coder.properties)[0] > sevenzip_coders.ROUNDS_POWER:
                return _unverifiable("its key derivation is not one that is tried"), None
        key = archive.key("", folder, budget)
    except OverLimit:
        raise
    except Unreadable as error:
        return _unverifiable(str(error)), None
    for packed in archive.packed(streams, folder):
        if len(packed) % 16:
            return _unverifiable("its size does not fit AES encryption"), None
        if why := randomness.disproof(packed):
            return _unverifiable(f"it claims AES-256 encryption, but {why}"), None
        if _unpacks(packed):
            return _unverifiable("it claims AES-256 encryption, but its data can be decompressed without a password"), None
    try:
        return Protection(reason="it opens with an empty password"), archive.unpack(streams, folder, key, budget)
    except OverLimit:
        raise
    except Unreadable:
        return STRONG, None


def of_header(archive: Archive, header: Streams, budget: Budget) -> tuple[Protection, bytes | None]:
    """The protection of an archive whose header is encrypted, and the header where it opens without a secret. Raises OverLimit.

    Which coders the members have cannot be seen, so all of the data must look like ciphertext.
    """
    protection, clear = of_folder(archive, header, header.folders[0], budget)
    if clear is not None or protection.state is not ProtectionState.STRONG:
        return protection, clear
    content = archive.data[START : min((position for position, _ in header.packed), default=START)]
    if not content:
        return protection, None
    if len(content) % 16:
        return _unverifiable("the size of its members does not fit AES encryption"), None
    if why := randomness.disproof(content):
        return _unverifiable(f"its members claim AES-256 encryption, but {why}"), None
    if _unpacks(content):
        return _unverifiable("its members can be decompressed without a password"), None
    return protection, None


def _unpacks(packed: bytes) -> bool:
    """Whether *packed* begins as a raw LZMA or LZMA2 stream that can be read for a while."""
    filters: list[dict[str, int]] = []
    if packed[:1] == b"\x00":
        filters.append({"id": lzma.FILTER_LZMA1, "dict_size": 1 << 24, "lc": 3, "lp": 0, "pb": 2})
    if packed[:1] == b"\x01" or packed[:1] >= b"\xe0":
        filters.append({"id": lzma.FILTER_LZMA2, "dict_size": 1 << 24})
    for one in filters:
        try:
            out = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[one]).decompress(packed[: 1 << 16], 1 << 16)
        except (lzma.LZMAError, MemoryError):
            continue
        if len(out) >= min(1 << 10, len(packed)):
            return True
    return False


def _seconds(folder: Folder) -> float:
    properties = next(coder.properties for coder in folder.coders if coder.method == AES)
    return _DEFAULT_SECONDS * 2.0 ** ((properties[0] & 0x3F if properties else 0) - _DEFAULT_POWER)


@dataclass(frozen=True, slots=True)
class MemberLock:
    """The lock of one member: *size* octets at *at* of the encrypted folder *number*."""

    archive: Archive
    number: int
    at: int
    size: int

    @property
    def seconds(self) -> float:
        """Mostly the derivation of the key."""
        assert self.archive.streams is not None
        return _seconds(self.archive.streams.folders[self.number])

    def open(self, password: str, budget: Budget) -> bytes | None:
        """The member's octets, or None where *password* is wrong. Raises OverLimit."""
        out = self.archive.open(self.number, password, budget)
        return None if out is None else out[self.at : self.at + self.size]


@dataclass(frozen=True, slots=True)
class ArchiveLock:
    """The lock of an archive whose header is encrypted; *read* gives its members once it is open."""

    archive: Archive
    header: Streams
    read: Callable[[Archive, str, Budget], tuple[Child, ...]]

    @property
    def seconds(self) -> float:
        """Mostly the derivation of the key."""
        return _seconds(self.header.folders[0])

    def open(self, password: str, budget: Budget) -> tuple[Child, ...] | None:
        """All members, or None where *password* is wrong. Raises Unreadable or OverLimit when it fits, but they cannot be read."""
        folder = self.header.folders[0]
        try:
            header = self.archive.unpack(self.header, folder, self.archive.key(password, folder, budget), budget)
        except OverLimit:
            raise
        except Unreadable:
            return None
        parsed = parse(header, budget)
        if isinstance(parsed, Streams):
            raise Unreadable("its header is packed too often")
        self.archive.streams, self.archive.files = parsed
        return self.read(self.archive, password, budget)
