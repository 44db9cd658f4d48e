"""The walk over one message: every part, every member of a container, down to the leaves.

What it is: ``read_message``; it sniffs, calls the extractor, scans for markings and writes one Leaf for each piece.
Who calls it: ``content.unpack``.
Must never: let one piece end the inspection of the others; call a piece inspected whose reader failed; put text of the message
into a reason.
Sources: design.md section 4 (leaf states); hostile-inputs catalogue 4.1, E23, E24, Z08, Z09.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from msgspec import structs

from gateway.config import Limits
from gateway.content import libmagic, recognition
from gateway.content.base import (
    Budget,
    Child,
    Extractor,
    Found,
    Lock,
    OverLimit,
    Piece,
    Scan,
    ToolFault,
    Tools,
    Unreadable,
    join_reasons,
    worst,
)
from gateway.content.eml import AMBIGUOUS, header_segments
from gateway.content.sniff import Sniffed, sniff
from gateway.message import labels, plain, prescan, rawscan, views
from gateway.message.parts import Part, View
from gateway.protection import Protection, ProtectionState
from gateway.text import markings, passwords
from gateway.text.markings import Scheme, Segment
from gateway.text.observing import Observer
from gateway.verdict import Finding, Inspection, Leaf, LeafState, Zone

_NAME = 255
_AMBIGUITY = 50
_SIGNED = frozenset(("application/pkcs7-mime", "application/x-pkcs7-mime"))
_RANK = {ProtectionState.NONE: 0, ProtectionState.STRONG: 1, ProtectionState.WEAK: 2, ProtectionState.UNVERIFIABLE: 3}


def read_message(
    content: bytes,
    sha256: str,
    limits: Limits,
    scheme: Scheme,
    table: Mapping[str, Extractor],
    *,
    want_text: bool,
    tools: Tools | None = None,
) -> Inspection:
    """The Inspection of *content* by the readers of *table*. Raises ToolFault when *tools* fail."""
    scan = prescan.prescan(content, limits)
    view = views.strict(content, scan, limits)
    walk = _Walk(Budget(limits, tools), scheme, table, want_text=want_text)
    root = plain.root_findings(view.headers, scheme, walk.observer)
    ambiguity = dict.fromkeys((*view.ambiguity, *labels.broken(view.headers, scheme)))
    if not scan.over_limit:
        second = views.lenient(content, view.parts)
        differences = views.disagreements(view, second)
        ambiguity.update(dict.fromkeys(differences))
        walk.parts(view)
        for blob in rawscan.hidden(content, view):
            declared = blob.media_type or ("message/rfc822" if blob.kind == "mime" else "")
            walk.read(f"{blob.path}:{blob.kind}", Child("", blob.data, declared), 1, quoted=rawscan.is_plain(blob))
        if differences:
            walk.unseen(view, second)
        walk.finish(value for name, value in view.headers if name.lower() in _SPOKEN)
    if scan.over_limit or not walk.leaves:
        state = LeafState.SUSPECT if scan.over_limit or ambiguity else LeafState.INSPECTED
        walk.leaves.append(Leaf("1", "", "message/rfc822", len(content), state, scan.over_limit or next(iter(ambiguity), ""), False))
    return Inspection(
        sha256,
        views.summary(view, scan),
        tuple(walk.leaves),
        root + tuple(walk.findings),
        tuple(ambiguity)[:_AMBIGUITY],
        tuple(walk.texts),
        observations=walk.observer.result(),
    )


GIVEN_AWAY = "its password stands in the same message"
_CANDIDATES = 100
_SPOKEN = frozenset(("subject", "comments", "keywords", "from", "to", "cc"))


@dataclass(frozen=True, slots=True)
class _Locked:
    """A leaf that a secret closes."""

    path: str
    depth: int
    child: Child
    lock: Lock


class _Walk:
    """Leaves, findings and texts as they come; one budget for the whole message."""

    def __init__(self, budget: Budget, scheme: Scheme, table: Mapping[str, Extractor], *, want_text: bool) -> None:
        self._budget = budget
        self._scheme = scheme
        self._table = table
        self._want_text = want_text
        self._paths: set[str] = set()
        self.leaves: list[Leaf] = []
        self.findings: list[Finding] = []
        self.texts: list[tuple[str, str]] = []
        self._said: list[str] = []
        """Every text that was read, for the passwords in it."""
        self._locked: list[_Locked] = []
        self._scanned: list[tuple[str, bool, tuple[Scan, ...]]] = []
        self.observer = Observer(scheme)

    def parts(self, view: View) -> None:
        """The parts of the message itself. An enclosed message is a leaf of its own: its header section."""
        enclosed: list[str] = []
        for part in view.parts:
            if part.number.endswith(".header") and part.media_type == "text/rfc822-headers":
                enclosed.append(part.number.removesuffix("header"))
                self._enclosed(part)
                continue
            inside = any(part.number.startswith(prefix) or part.number + "." == prefix for prefix in enclosed)
            name = part.names[0] if part.names else ""
            path = f"{part.number}:{_clean(name)}" if name else part.number
            # A message that is one signed object: what is in it is its body, or says itself that it is attached.
            is_body = part.number == "1" and len(view.parts) == 1 and part.media_type in _SIGNED
            child = Child(name, part.decoded(), part.media_type, part.charset, (part.is_attachment or inside) and not is_body)
            # What ``rawscan.hidden`` looks into, and what it leaves to the readers.
            scanned = part.encoding != "base64" or part.media_type.startswith("text/")
            self.read(path, child, 0, scanned=scanned, names=part.names)
            for other in part.others:
                self.read(path, replace(child, data=other), 0, scanned=scanned)

    def _enclosed(self, part: Part) -> None:
        path = self._unique(part.number.removesuffix(".header"))
        self.leaves.append(Leaf(path, "", "message/rfc822", len(part.raw), LeafState.INSPECTED, container=True))
        self._scan(path, header_segments(part.headers), {}, attached=True)
        self.findings.extend(structs.replace(found, path=path) for found in labels.findings(part.headers, self._scheme))

    def unseen(self, view: View, second: View) -> None:
        """What only the second reader sees, for its evidence; the message is ambiguous anyhow."""
        seen = {part.decoded().rstrip() for part in view.parts}
        for part in second.parts:
            data = part.decoded()
            if data.rstrip() and data.rstrip() not in seen:
                name = part.names[0] if part.names else ""
                self.read(f"~{part.number}", Child(name, data, part.media_type, part.charset, part.is_attachment), 0, scanned=True)

    def read(
        self, path: str, child: Child, depth: int, *, scanned: bool = False, quoted: bool = False, names: tuple[str, ...] = ()
    ) -> Leaf:
        """One piece and everything in it. Returns its leaf, which stands before those of its members.

        *quoted*: header fields and text that somebody quotes in a text that is read as such; how readers would split them, if they
        were a message, is no doubt then.
        """
        path = self._unique(path)
        at = len(self.leaves)
        size = child.size if child.size >= 0 else len(child.data)
        leaf = Leaf(path, child.name[:_NAME], child.declared, size, LeafState.SUSPECT, is_attachment=child.is_attachment)
        self.leaves.append(leaf)
        for name in dict.fromkeys((child.name, *names)):
            if name:
                self._scan(path, (Segment(name, Zone.FILE_NAME),), {}, attached=True)
        if child.scans:
            self._scanned.append((path, child.is_attachment, child.scans))
        if child.lock is not None:
            self._locked.append(_Locked(path, depth, child, child.lock))
        if child.state is not None and not child.data:
            leaf = structs.replace(
                leaf,
                media_type=child.declared or "application/octet-stream",
                state=child.state,
                reason=child.reason,
                protection=child.protection,
            )
            self.leaves[at] = leaf
            return leaf
        found, sniffed = self._found(child, depth, scanned=scanned)
        self._scan(path, found.segments, found.properties, attached=child.is_attachment)
        if found.lock is not None:
            self._locked.append(_Locked(path, depth, child, found.lock))
        if found.scans:
            self._scanned.append((path, child.is_attachment, found.scans))
        for what in found.active:
            self.observer.note("active", what, path, attached=child.is_attachment)
        if found.links:
            self.observer.look_at_links(found.links, path, attached=child.is_attachment)
        if self._want_text:
            self.texts.append((path, "\n".join(segment.text for segment in found.segments)))
        members = [self.read(f"{path}/{_clean(inner.name)}", inner, depth + 1) for inner in found.children]
        state, reason = found.state, found.reason
        if quoted and state is LeafState.SUSPECT and sniffed.kinds == ("mail",) and reason.startswith(AMBIGUOUS):
            state, reason = LeafState.INSPECTED, ""
        if child.state is not None:
            state, reason = worst(state, child.state), join_reasons(child.reason, reason)
        leaf = structs.replace(
            leaf,
            media_type=found.media_type or sniffed.media_type,
            state=state,
            reason=join_reasons(reason, sniffed.note),
            container=found.container or bool(members),
            protection=_of_container(found, members),
            is_attachment=child.is_attachment and not found.is_signature,
            sha256=hashlib.sha256(child.data).hexdigest() if child.is_attachment else "",
        )
        self.leaves[at] = leaf
        return leaf

    def finish(self, spoken: Iterable[str]) -> None:
        """What waits for everything else: secrets that the message itself gives away, and words in pictures.

        *spoken*: header fields in which somebody may write a password. Raises ToolFault.
        """
        self._said.extend(spoken)
        for _ in range(self._budget.limits.archive_depth):
            if not self._locked:
                break
            locked, self._locked = self._locked, []
            self._try(locked, passwords.candidates(self._said, _CANDIDATES))
        if self._scanned:
            self._recognise()

    def _try(self, locked: list[_Locked], candidates: tuple[str, ...]) -> None:
        """Each of *candidates* on each lock, the cheap ones first, within half of the time that is left."""
        end = time.process_time() + self._budget.seconds_left / 2
        for one in sorted(locked, key=lambda one: one.lock.seconds):
            for password in candidates:
                if time.process_time() + one.lock.seconds > end:
                    break
                try:
                    opened = one.lock.open(password, self._budget)
                except ToolFault:
                    raise
                except Exception as error:
                    self._opened(one, (), _failed(error).reason)
                    break
                if opened is not None:
                    self._opened(one, opened, "")
                    break

    def _opened(self, one: _Locked, opened: bytes | tuple[Child, ...], fault: str) -> None:
        """Puts what a password of the message opened in the place of what was closed."""
        at = next(place for place, leaf in enumerate(self.leaves) if leaf.path == one.path)
        before = self.leaves[at]
        protection = structs.replace(before.protection, state=ProtectionState.WEAK, reason=GIVEN_AWAY)
        after, self.leaves = self.leaves, []
        if isinstance(opened, bytes):
            self._paths.discard(one.path)
            child = replace(one.child, data=opened, declared="", state=LeafState.SUSPECT, reason=GIVEN_AWAY, lock=None, scans=())
            self.read(one.path, child, one.depth + 1)
            changed = structs.replace(self.leaves[0], protection=protection, size=before.size, sha256=before.sha256)
            self.leaves[0] = changed
        else:
            reason = join_reasons(GIVEN_AWAY, fault)
            self.leaves.append(structs.replace(before, state=LeafState.SUSPECT, reason=reason, protection=protection, container=True))
            for inner in opened:
                self.read(f"{one.path}/{_clean(inner.name)}", inner, one.depth + 1)
        after[at : at + 1] = self.leaves
        self.leaves = after

    def _recognise(self) -> None:
        """The words in all pictures, at the leaves that they stand for."""
        places = {leaf.path: place for place, leaf in enumerate(self.leaves)}
        results = recognition.recognise([scans for _, _, scans in self._scanned], self._budget)
        for (path, attached, _), result in zip(self._scanned, results, strict=True):
            self._scan(path, result.segments, {}, attached=attached)
            if self._want_text and result.segments:
                self.texts.append((path, "\n".join(segment.text for segment in result.segments)))
            leaf = self.leaves[places[path]]
            if leaf.state is LeafState.UNINSPECTABLE:
                state = LeafState.INSPECTED if result.complete else leaf.state
                reason = result.reason or ("" if result.complete else leaf.reason)
                self.leaves[places[path]] = structs.replace(leaf, state=state, reason=reason)

    def _found(self, child: Child, depth: int, *, scanned: bool) -> tuple[Found, Sniffed]:
        """All kinds that the piece is, joined: the worst state, all segments, all members."""
        piece = Piece(child.data, child.name, child.declared, child.charset, child.is_attachment, scanned)
        sniffed = Sniffed((), child.declared)
        try:
            self._budget.check_depth(depth)
            self._budget.check_time()
            sniffed = sniff(piece)
        except ToolFault:
            raise
        except Exception as error:
            return _failed(error), sniffed
        total: Found | None = None
        for kind in sniffed.kinds:
            found = self._one(kind, piece)
            total = found if total is None else _join(total, found)
        assert total is not None
        if len(sniffed.kinds) > 1 and not _HARMLESS_PAIRS.issuperset(sniffed.kinds):
            total = replace(total, state=LeafState.SUSPECT, reason=join_reasons("ambiguous: it is of more than one type", total.reason))
        if sniffed.kinds == ("unknown",):
            sniffed = replace(sniffed, media_type=libmagic.vote(child.data) or sniffed.media_type)
        return total, sniffed

    def _one(self, kind: str, piece: Piece) -> Found:
        try:
            return self._table[kind](piece, self._budget)
        except ToolFault:
            raise
        except Exception as error:
            return _failed(error)

    def _scan(self, path: str, segments: tuple[Segment, ...], properties: Mapping[str, str], *, attached: bool) -> None:
        if segments:
            self._said.extend(segment.text for segment in segments)
            self.findings.extend(markings.scan(segments, path, self._scheme, self.observer, attached=attached))
        if properties:
            self.findings.extend(labels.property_findings(properties, path, self._scheme))

    def _unique(self, path: str) -> str:
        """*path*, or *path* with a number: two members may have one name."""
        candidate, number = path, 1
        while candidate in self._paths:
            number += 1
            candidate = f"{path}~{number}"
        self._paths.add(candidate)
        return candidate


_HARMLESS_PAIRS = frozenset(("text", "html", "xml", "mail", "script", "pgp", "age", "cms", "salted", "calendar", "drawing"))


def _clean(name: str) -> str:
    """*name* as it may stand in a path of leaves: no control or invisible characters, not endless."""
    clean = "".join(character if character.isprintable() else "\ufffd" for character in name[:_NAME])
    return clean or "unnamed"


def _failed(error: Exception) -> Found:
    match error:
        case OverLimit():
            reason = f"over a limit: {error}"
        case Unreadable():
            reason = str(error)
        case MemoryError():
            reason = "over a limit: it needs too much memory"
        case RecursionError():
            reason = "over a limit: it is nested too deep"
        case OSError():
            reason = "it is broken"  # the library for compound files says so in this way
        case _:
            reason = f"could not be read: {type(error).__name__}"
    return Found(state=LeafState.SUSPECT, reason=reason)


def _join(first: Found, second: Found) -> Found:
    protection = max(first.protection, second.protection, key=lambda one: _RANK[one.state])
    return Found(
        first.segments + second.segments,
        first.children + second.children,
        worst(first.state, second.state),
        join_reasons(first.reason, second.reason),
        protection,
        {**first.properties, **second.properties},
        first.container or second.container,
        first.media_type or second.media_type,
        first.links + second.links,
        first.is_signature and second.is_signature,
        first.lock or second.lock,
        first.scans + second.scans,
        tuple(dict.fromkeys(first.active + second.active)),
    )


def _of_container(found: Found, members: list[Leaf]) -> Protection:
    """A container without text of its own is as well protected as its worst member."""
    if found.protection.state is ProtectionState.NONE and found.container and not found.segments and members:
        full = [member for member in members if member.size]
        if full and all(member.protection.state is ProtectionState.STRONG for member in full):
            return structs.replace(full[0].protection, reason="everything in it is encrypted")
    return found.protection
