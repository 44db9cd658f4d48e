"""The reader of OpenDocument files (text, sheets, slides, drawings; packages and flat files): every member, not only the content.

What it is: the extractors; each XML part goes through ``odf_text``, everything else becomes a child.
Who calls it: ``content.walk`` through the table.
Must never: read only what the manifest lists; prove encryption by the manifest alone; follow a link; use a name as a path.
Sources: OpenDocument 1.3 parts 2 and 3; docs/inspection.md, ODF; hostile-inputs catalogue D01, D04, E22.
"""

from __future__ import annotations

import re

from gateway.archives import zip, zip_directory, zip_protection
from gateway.archives.zip_directory import Directory
from gateway.documents import odf_binary, odf_encryption, odf_manifest, odf_text, run_fonts
from gateway.documents.odf_manifest import Manifest, Member
from gateway.documents.xml_charset import as_utf8
from gateway.extraction.base import Budget, Child, Found, OverLimit, Piece, Unreadable, join_reasons
from gateway.extraction.strings import packed
from gateway.protection import Protection, ProtectionState
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

MANIFEST = "META-INF/manifest.xml"
_SIGNS = frozenset({"mimetype", MANIFEST, "encrypted-package"})
_XML = (".xml", ".rdf", ".xlb", ".xlc", ".xba", ".xdl")
_XML_CAP = 64_000_000
_OPEN = re.compile(r"mimetype|META-INF/(?:manifest|[\w-]*signatures)\.xml")
_PROPERTY = re.compile(r"(?:^|/)(?:meta|settings|manifest|current)\.(?:xml|rdf)$|^META-INF/|^Configurations2/")
_CODE = re.compile(r"^(?:Basic|Scripts|Dialogs)/")
_INDEX = re.compile(r"/(?:script|dialog)-l[bc]\.xml$")
_OBJECT = re.compile(r"(?:^|/)ObjectReplacements/[^/]+$")


def extract(piece: Piece, budget: Budget) -> Found:
    """Text with its zones, properties, and every member that is not XML as a child; or the protection of an encrypted package. A file
    that only holds an OpenDocument file is read as the archive that it is.
    """
    directory = zip_directory.read(piece.data, budget)
    names = {entry.name for entry in directory.entries}
    if not names & _SIGNS:
        return zip.extract(piece, budget)  # the sign stood in a member: an ordinary archive with such a file in it
    if any(zip_protection.claimed(entry) for entry in directory.entries):
        raise Unreadable("a document with encrypted parts inside, which no program writes")
    manifest = _manifest(piece.data, directory, budget)
    problems = list(directory.problems) + _disagreements(directory, manifest)
    claimed = {one.path: one for one in manifest.members if one.encryption is not None}
    reading = _Reading(budget, manifest)
    clear: list[tuple[str, bytes]] = []
    locked: list[odf_encryption.Locked] = []
    # Styles name the fonts of text, so these come first.
    for entry in sorted(directory.entries, key=lambda entry: not entry.name.endswith("styles.xml")):
        if entry.is_folder:
            continue
        data = zip_directory.unpack(piece.data, entry, budget)
        if entry.name in claimed:
            locked.append(odf_encryption.Locked(claimed[entry.name], data))
        else:
            clear.append((entry.name, data))
            reading.member(entry.name, data)
    if claimed.keys() - names:
        problems.append("its manifest names members that are not there")
    if not names & {"content.xml", "encrypted-package"} and not locked:
        problems.append("it has no content")
    found = reading.found(problems)
    return found if not locked else _closed(found, locked, clear, manifest, problems, budget)


def extract_flat(piece: Piece, budget: Budget) -> Found:
    """A whole document in one XML file."""
    if len(piece.data) > _XML_CAP:
        raise OverLimit("it holds more XML than the limit")
    reading = _Reading(budget, Manifest(()))
    data = as_utf8(piece.data)
    reading.text(odf_text.read(data, runs=reading.runs_of(data)))
    return reading.found([])


def _manifest(data: bytes, directory: Directory, budget: Budget) -> Manifest:
    for entry in directory.entries:
        if entry.name == MANIFEST:
            return odf_manifest.read(zip_directory.unpack(data, entry, budget))
    return Manifest(())


def _disagreements(directory: Directory, manifest: Manifest) -> list[str]:
    """Why programs may see different documents in the package."""
    problems: list[str] = []
    paths = [one.path for one in manifest.members]
    if len(set(paths)) != len(paths):
        problems.append("its manifest names a member twice")
    if not manifest.members:
        problems.append("it has no manifest")
    return problems


def _closed(
    found: Found,
    locked: list[odf_encryption.Locked],
    clear: list[tuple[str, bytes]],
    manifest: Manifest,
    problems: list[str],
    budget: Budget,
) -> Found:
    """A package with encrypted members: what is in the clear was read all the same."""
    open_members = [name for name, data in clear if data and not _OPEN.fullmatch(name)]
    protection = odf_encryption.assess(locked, open_members, keyed=manifest.keyed, budget=budget)
    seconds = sum({(one.member.encryption.salt): odf_encryption.seconds(one.member.encryption)
                   for one in locked if one.member.encryption is not None}.values())  # fmt: skip
    first = min((one for one in locked if one.member.encryption is not None), key=lambda one: len(one.data))
    assert first.member.encryption is not None
    state = LeafState.OPAQUE if protection.state is ProtectionState.STRONG and not problems else LeafState.SUSPECT
    reason = join_reasons("ambiguous: " + "; ".join(problems) if problems else "", protection.reason)
    lock = odf_encryption.Closed(tuple(locked), tuple(clear), min(seconds, odf_encryption.seconds(first.member.encryption)))
    if protection.state is ProtectionState.NONE:
        # The empty password opens it: what is inside is read in its place.
        opened = lock.open("", budget)
        if opened is not None:
            inside = Child("document", opened, state=LeafState.SUSPECT, reason=protection.reason)
            return Found(found.segments, (*found.children, inside), LeafState.SUSPECT, reason, protection, media_type=found.media_type)
    usable = not manifest.keyed and protection.state in (ProtectionState.STRONG, ProtectionState.WEAK)
    return Found(
        found.segments,
        found.children,
        state,
        reason,
        protection,
        found.properties,
        media_type=found.media_type,
        links=found.links,
        lock=lock if usable else None,
        active=found.active,
    )


class _Reading:
    """What the members have given so far."""

    def __init__(self, budget: Budget, manifest: Manifest) -> None:
        self._budget = budget
        self._listed: dict[str, Member] = {one.path: one for one in manifest.members}
        self._media_type = manifest.media_type if re.fullmatch(r"application/[a-z0-9.+-]{1,100}", manifest.media_type) else ""
        self._xml = 0
        self._segments: list[Segment] = []
        self._children: list[Child] = []
        self._properties: dict[str, str] = {}
        self._links: dict[str, None] = {}
        self._active: dict[str, None] = {}
        self._runs: run_fonts.OdfRuns | None = None

    def runs_of(self, data: bytes) -> run_fonts.OdfRuns | None:
        """What follows the fonts of the document, from the first part *data* on that names a legacy font."""
        if self._runs is None and run_fonts.mentioned(data):
            self._runs = run_fonts.OdfRuns()
        return self._runs

    def member(self, name: str, data: bytes) -> None:
        """Reads one member, or makes a child of it. One broken part makes the document unreadable, not only the part."""
        if not data or name == "mimetype":
            if name == "mimetype" and len(data) > 100:
                raise Unreadable("a document whose type is no type")
            return
        if _CODE.match(name) and not _INDEX.search(name):
            self._active["macro"] = None
        is_xml = name.lower().endswith(_XML) or data.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"<?xml")
        if is_xml:
            self._xml += len(data)
            if self._xml > _XML_CAP:
                raise OverLimit("it holds more XML than the limit")
            data = as_utf8(data)
            self.text(odf_text.read(data, is_property=bool(_PROPERTY.search(name)), runs=self.runs_of(data)))
        elif name.rpartition("/")[2] == "layout-cache":
            self._segments += odf_binary.layout_cache(data)
            if inside := packed(data):
                self._children.append(Child(name, inside))
        elif _OBJECT.search(name) and data.startswith(b"VCLMTF"):
            drawing = odf_binary.metafile(data)
            self._segments += drawing.segments
            if drawing.has_pictures:
                reason = "a drawing with pictures in it: there is no reader for them"
                self._children.append(Child(name, declared="image/x-svm", size=len(data), state=LeafState.UNINSPECTABLE, reason=reason))
        else:
            self._children.append(Child(name, data))

    def text(self, part: odf_text.PartText) -> None:
        """Takes what one part gave."""
        self._segments += part.segments
        self._properties.update(part.properties)
        self._links.update(dict.fromkeys(part.links))
        self._active.update(dict.fromkeys(part.active))
        self._media_type = self._media_type or part.kind
        for number, data in enumerate(part.binaries, 1):
            self._budget.spend_bytes(len(data))
            self._budget.spend_entries()
            self._children.append(Child(f"embedded-{number}", data))

    def found(self, problems: list[str]) -> Found:
        """All of it."""
        reason = "ambiguous: " + "; ".join(dict.fromkeys(problems)) if problems else ""
        values = tuple(Segment(value, Zone.PROPERTY) for value in self._properties.values())
        notes = ["it holds macros"] if "macro" in self._active else []
        if "external" in self._active:
            notes.append("it loads a part of itself from outside")
        return Found(
            tuple(self._segments) + values,
            tuple(self._children),
            LeafState.SUSPECT if reason else LeafState.INSPECTED,
            join_reasons(reason, *notes),
            Protection(),
            self._properties,
            media_type=self._media_type,
            links=tuple(self._links),
            active=tuple(self._active),
        )
