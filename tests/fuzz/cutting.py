"""Seeds that stand within files: the streams of compound files, the members of zip packages, the attachments of messages.

What it is: one function a kind of container, octets of a file in, seeds out; and ``joined`` and ``split``, two streams as one seed.
Who calls it: the table of targets, when it is run.
Must never: raise for a file that is not of the kind.
"""

from __future__ import annotations

import email
import io
import re
import zipfile
from collections.abc import Callable, Iterator

import olefile

_ARMOURED = re.compile(rb"^Content-Type: application/(?:ms-tnef|vnd.ms-outlook)", re.I | re.M)


def joined(first: bytes, second: bytes = b"") -> bytes:
    """Two streams as one: three octets of length, the first, the second."""
    return len(first).to_bytes(3, "little") + first + second


def split(data: bytes) -> tuple[bytes, bytes]:
    """What ``joined`` joined; every input is something."""
    end = 3 + int.from_bytes(data[:3], "little")
    return data[3:end], data[end:]


def streams(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Path in small letters and octets of every stream of a compound file."""
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as file:
            for path in file.listdir():
                yield "/".join(path).lower(), file.openstream(path).read()
    except (OSError, ValueError):
        return


def members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and octets of every member of a zip file that can be unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            for item in file.infolist():
                if item.flag_bits & 1 or item.file_size > 200_000:
                    continue
                yield item.filename, file.read(item)
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zipfile.LargeZipFile, EOFError):
        return


def attachments(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Media type and octets of every attachment of a message."""
    for part in email.message_from_bytes(data).walk():
        content = part.get_payload(decode=True)
        if isinstance(content, bytes) and content:
            yield part.get_content_type(), content


def office(data: bytes) -> Iterator[bytes]:
    """Seeds of the target ``office_streams``: a letter for the kind, then its streams."""
    found = dict(streams(data))
    yield from vba_of(found)
    if "worddocument" in found:
        yield b"D" + joined(found["worddocument"], found.get("1table", found.get("0table", b"")))
    if book := found.get("workbook", found.get("book")):
        yield b"X" + joined(book)
    if "powerpoint document" in found:
        yield b"P" + joined(found["powerpoint document"], found.get("current user", b""))
    if "__properties_version1.0" in found:
        long = max((one for name, one in found.items() if name.startswith("__substg1.0_1009")), key=len, default=b"")
        yield b"M" + joined(found["__properties_version1.0"], long)


def vba_of(found: dict[str, bytes]) -> Iterator[bytes]:
    """The list of modules and one module, from the streams of a compound file."""
    for name, listing in found.items():
        if name.endswith("vba/dir"):
            folder = name.removesuffix("dir")
            module = next((one for other, one in found.items() if other.startswith(folder) and b"\x00Attribut" in one), b"")
            yield b"V" + joined(listing, module)


def office_parts(data: bytes) -> Iterator[bytes]:
    """Small streams with a structure of their own: properties, drawings, packages, encryption headers, fonts, drawings of OpenDocument."""
    for name, stream in (*streams(data), *members(data)):
        if re.search(
            r"summaryinformation|ole10native|dir$|encrypt|data$|pictures|_1009|layout-cache|\.svm|replacements|\.(?:odttf|bin)$", name
        ):
            yield stream


def parts_of(*media_types: str) -> Callable[[bytes], Iterator[bytes]]:
    """The parts of a message that are of one of *media_types*."""

    def cut(data: bytes) -> Iterator[bytes]:
        yield from (content for media_type, content in attachments(data) if media_type in media_types)

    return cut


def tnef(data: bytes) -> Iterator[bytes]:
    """The winmail.dat files of a message."""
    if _ARMOURED.search(data):
        yield from (content for media_type, content in attachments(data) if media_type.endswith("tnef"))


def packages(data: bytes) -> Iterator[bytes]:
    """A package and the text of its parts, a name and a line end before each."""
    yield data
    for name, content in members(data):
        if name.endswith((".xml", ".rels", ".vml")) and content.strip():
            yield name.encode("utf-8") + b"\n" + content
