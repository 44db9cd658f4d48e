"""The walk over one message: every part, every member of a container, down to the leaves.

What it is: ``read_message``; it sniffs, calls the extractor, scans for markings and writes one Leaf for each piece.
Who calls it: ``content.unpack``.
Must never: let one piece end the inspection of the others; call a piece inspected whose reader failed; put text of the message
into a reason.
Sources: docs/design.md section 4 (leaf states); hostile-inputs catalogue 4.1, E23, E24, Z08, Z09.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from msgspec import structs

from gateway.config import Limits
from gateway.content import efail, libmagic, recognition
from gateway.content.joining import HARMLESS_PAIRS, LONGEST_NAME, clean, failed, join, of_container, pages
from gateway.content.keyring import CLOSED, Keyring
from gateway.content.sniff import Sniffed, sniff
from gateway.content.sought import Sought
from gateway.content.unlocking import Locked, Opened, Trial
from gateway.documents.eml import AMBIGUOUS, header_segments
from gateway.extraction.base import (
    Budget,
    Child,
    Extractor,
    Found,
    Piece,
    Scan,
    ToolFault,
    Tools,
    join_reasons,
    worst,
)
from gateway.message import labels, plain, prescan, rawscan, thread_fields, views
from gateway.message.encoded import decode_words
from gateway.message.parts import Part, View
from gateway.protection import ProtectionState
from gateway.text import markings, passwords
from gateway.text.markings import Scheme, Segment
from gateway.text.observing import Observer
from gateway.verdict import Finding, Inspection, Leaf, LeafState, Zone

_AMBIGUITY = 50
_SIGNED = frozenset(("application/pkcs7-mime", "application/x-pkcs7-mime"))


def read_message(
    content: bytes,
    sha256: str,
    limits: Limits,
    scheme: Scheme,
    table: Mapping[str, Extractor],
    *,
    want_text: bool,
    tools: Tools | None = None,
    sought: Sought | None = None,
) -> Inspection:
    """The Inspection of *content* by the readers of *table*. Raises ToolFault when *tools* fail, Reached when *sought* does."""
    scan = prescan.prescan(content, limits)
    view = views.strict(content, scan, limits)
    walk = _Walk(Budget(limits, tools), scheme, table, want_text=want_text)
    walk.sought = sought
    root = plain.root_findings(view.headers, scheme, walk.observer)
    ambiguity = dict.fromkeys((*view.ambiguity, *labels.broken(view.headers, scheme)))
    if not scan.over_limit:
        second = views.lenient(content, view.parts)
        differences = views.disagreements(view, second)
        ambiguity.update(dict.fromkeys(differences))
        walk.parts(view)
        for blob in rawscan.hidden(content, view):
            if blob.path.partition("@")[0] in walk.whole:
                continue
            declared = blob.media_type or ("message/rfc822" if blob.kind == "mime" else "")
            walk.read(f"{blob.path}:{blob.kind}", Child("", blob.data, declared), 1, quoted=rawscan.is_plain(blob))
        if differences:
            walk.unseen(view, second)
        walk.finish(
            [decode_words(value) for name, value in view.headers if name.lower() in _SPOKEN],
            [decode_words(value) for name, value in view.headers if _ASIDE.match(name)],
        )
        if doubt := efail.between_html(view, walk.leaves):
            ambiguity.setdefault(doubt)
    if scan.over_limit or not walk.leaves:
        state = LeafState.SUSPECT if scan.over_limit or ambiguity else LeafState.INSPECTED
        walk.leaves.append(Leaf("1", "", "message/rfc822", len(content), state, scan.over_limit or next(iter(ambiguity), ""), False))
    return Inspection(
        sha256,
        views.summary(view, scan, scheme.label_headers),
        tuple(walk.leaves),
        root + tuple(walk.findings),
        tuple(ambiguity)[:_AMBIGUITY],
        tuple(walk.texts),
        observations=walk.observer.result(),
        segments=tuple(walk.segments),
        thread=walk.observer.thread(thread_fields.references(view.headers), root + tuple(walk.findings), walk.leaves),
        pages=tuple(walk.pages.items()),
    )


_SPOKEN = frozenset(("subject", "comments", "keywords", "from", "to", "cc", "reply-to", "organization"))
_ASIDE = re.compile(r"(?i)date\Z|message-id\Z|content-description\Z|(?!x-(?:spam|virus|ms-|google|forefront|received))x-")
_ROUNDS = 8
"""How often what was opened may give away the next password."""


class _Walk:
    """Leaves, findings and texts as they come; one budget for the whole message."""

    def __init__(self, budget: Budget, scheme: Scheme, table: Mapping[str, Extractor], *, want_text: bool) -> None:
        self._budget = budget
        self._scheme = scheme
        self._table = table
        self._want_text = want_text
        self.sought: Sought | None = None
        self._read: dict[str, int] = {}
        """Characters of the text of each leaf that was scanned so far: offsets go on from there."""
        self._paths: set[str] = set()
        self.leaves: list[Leaf] = []
        self.findings: list[Finding] = []
        self.texts: list[tuple[str, str]] = []
        self.segments: list[tuple[str, Zone, int, str]] = []
        self.pages: dict[str, int] = {}
        self._near: list[str] = []
        """What the message itself says, and notes at its files: there a password stands first of all."""
        self._far: list[str] = []
        """Text of attachments."""
        self._names: list[str] = []
        self._locked: list[Locked] = []
        self._trial = Trial(budget)
        self._keyring = Keyring()
        self._scanned: list[tuple[str, bool, tuple[Scan, ...]]] = []
        self.whole: set[str] = set()
        """Parts of the message that are one armoured object and nothing else: read as such, so nothing else hides in them."""
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
            path = f"{part.number}:{clean(name)}" if name else part.number
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
        segments = header_segments(part.headers)
        self._scan(path, segments, {}, attached=True)
        self._keep(path, segments)
        self.observer.enclose(next((thread_fields.identifier(value) for name, value in part.headers if name.lower() == "message-id"), ""))
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
        self,
        path: str,
        child: Child,
        depth: int,
        *,
        scanned: bool = False,
        quoted: bool = False,
        names: tuple[str, ...] = (),
        again: bool = False,
    ) -> Leaf:
        """One piece and everything in it. Returns its leaf, which stands before those of its members.

        *quoted*: header fields and text that somebody quotes in a text that is read as such; how readers would split them, if they
        were a message, is no doubt then. *again*: its name was looked at before.
        """
        path = self._unique(path)
        at = len(self.leaves)
        size = child.size if child.size >= 0 else len(child.data)
        leaf = Leaf(path, child.name[:LONGEST_NAME], child.declared, size, LeafState.SUSPECT, is_attachment=child.is_attachment)
        self.leaves.append(leaf)
        for name in dict.fromkeys((child.name, *names)):
            if name and not again:
                self._scan(path, (Segment(name, Zone.FILE_NAME),), {}, attached=True, own=False)
        if child.scans:
            self._scanned.append((path, child.is_attachment, child.scans))
        if child.lock is not None:
            self._locked.append(Locked(path, depth, child, child.lock))
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
        if not depth and sniffed.whole:
            self.whole.add(path.partition(":")[0])
        self._scan(path, found.segments, found.properties, attached=child.is_attachment)
        if found.lock is not None or found.key_lock is not None:
            self._locked.append(Locked(path, depth, child, found.lock, found.key_lock))
        self._keyring.add(found.keys)
        if found.scans:
            self._scanned.append((path, child.is_attachment, found.scans))
        for what in found.active:
            self.observer.note("active", what, path, attached=child.is_attachment)
        if found.links:
            self.observer.look_at_links(found.links, path, attached=child.is_attachment)
        self._keep(path, found.segments)
        if self._want_text and (count := pages(found)):
            self.pages[path] = count
        if self.sought is not None:
            self.sought.meet(path, child, found, sniffed.kinds, self.findings)
        members = [self.read(f"{path}/{clean(inner.name)}", inner, depth + 1) for inner in found.children]
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
            protection=of_container(found, members),
            is_attachment=child.is_attachment and not found.is_signature,
            sha256=hashlib.sha256(child.data).hexdigest() if child.is_attachment else "",
        )
        self.leaves[at] = leaf
        return leaf

    def finish(self, spoken: Iterable[str], aside: Iterable[str]) -> None:
        """What waits for everything else: secrets that the message itself gives away, and words in pictures.

        *spoken*: header fields in which somebody may write a password; *aside*: where few look. Raises ToolFault.
        """
        if not self._locked and not self._scanned:
            return
        self._near[:0] = spoken
        self._far.extend(aside)
        for _ in range(_ROUNDS):
            while self._locked and self._unlock():
                pass
            if not self._scanned:
                break
            self._recognise()  # pictures may show a password, and what a password opened may be pictures
        if self._keyring.holds_closed:
            for one in self._locked:
                if one.key_lock is not None:
                    self._doubt(one.path)

    def _doubt(self, path: str) -> None:
        """What is encrypted to a public key is no better protected than a private key that lies beside it."""
        for place, leaf in enumerate(self.leaves):
            if leaf.protection.state is not ProtectionState.STRONG or (leaf.path != path and not path.startswith(leaf.path + "/")):
                continue
            protection = structs.replace(leaf.protection, state=ProtectionState.UNVERIFIABLE, reason=CLOSED)
            opaque = leaf.state is LeafState.OPAQUE
            state, reason = (LeafState.SUSPECT, CLOSED) if opaque else (leaf.state, leaf.reason)
            self.leaves[place] = structs.replace(leaf, protection=protection, state=state, reason=reason)

    def _unlock(self) -> bool:
        """One round of tries. Whether anything opened, so that there may be more to know and to try."""
        words = passwords.candidates(self._near, self._far, self._names)
        opened = self._trial.run(self._locked, words, self._budget)
        paths = {one.locked.path for one in opened}
        waiting = [one for one in self._locked if one.key_lock is not None and one.path not in paths]
        opened += self._keyring.run(waiting, (*self._near, *self._far), words, self._trial, self._budget)
        done = {id(one.locked) for one in opened}
        self._locked = [one for one in self._locked if id(one) not in done]
        for one in opened:
            self._opened(one)
        return bool(opened)

    def _opened(self, opened: Opened) -> None:
        """Puts what a password or a key of the message opened in the place of what was closed."""
        one, content = opened.locked, opened.content
        at = next(place for place, leaf in enumerate(self.leaves) if leaf.path == one.path)
        before = self.leaves[at]
        protection = structs.replace(before.protection, state=ProtectionState.WEAK, reason=opened.why)
        after, self.leaves = self.leaves, []
        if isinstance(content, bytes):
            self._paths.discard(one.path)
            child = replace(one.child, data=content, declared="", state=LeafState.SUSPECT, reason=opened.why, lock=None, scans=())
            self.read(one.path, child, one.depth + 1, again=True)
            self.leaves[0] = structs.replace(self.leaves[0], protection=protection, size=before.size, sha256=before.sha256)
        else:
            reason = join_reasons(opened.why, opened.fault)
            self.leaves.append(structs.replace(before, state=LeafState.SUSPECT, reason=reason, protection=protection, container=True))
            for inner in content:
                self.read(f"{one.path}/{clean(inner.name)}", inner, one.depth + 1)
        after[at : at + 1] = self.leaves
        for place, leaf in enumerate(after[:at]):
            # What was as well protected as its members is so no longer.
            if leaf.container and leaf.protection.state is ProtectionState.STRONG and one.path.startswith(leaf.path + "/"):
                opaque = leaf.state is LeafState.OPAQUE
                state, reason = (LeafState.SUSPECT, opened.why) if opaque else (leaf.state, leaf.reason)
                weaker = structs.replace(protection, scheme=leaf.protection.scheme)
                after[place] = structs.replace(leaf, protection=weaker, state=state, reason=reason)
        self.leaves = after

    def _recognise(self) -> None:
        """The words in all pictures that wait, at the leaves that they stand for."""
        scanned, self._scanned = self._scanned, []
        places = {leaf.path: place for place, leaf in enumerate(self.leaves)}
        results = recognition.recognise([scans for _, _, scans in scanned], self._budget)
        for (path, attached, _), result in zip(scanned, results, strict=True):
            self._scan(path, result.segments, {}, attached=attached)
            self.findings.extend(recognition.doubted(markings.scan(result.doubtful, path, self._scheme)))
            if result.segments:
                self._keep(path, result.segments)
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
            return failed(error), sniffed
        total: Found | None = None
        for kind in sniffed.kinds:
            found = self._one(kind, piece)
            total = found if total is None else join(total, found)
        assert total is not None
        if len(sniffed.kinds) > 1 and not HARMLESS_PAIRS.issuperset(sniffed.kinds):
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
            return failed(error)

    def _scan(self, path: str, segments: tuple[Segment, ...], properties: Mapping[str, str], *, attached: bool, own: bool = True) -> None:
        """*own*: the texts are of the leaf itself, not its name."""
        if segments:
            for segment in segments:
                if segment.zone is Zone.FILE_NAME:
                    self._names.append(segment.text)
                else:
                    near = not attached or segment.zone is Zone.PROPERTY
                    (self._near if near else self._far).append(segment.text)
            found = markings.scan(segments, path, self._scheme, self.observer, attached=attached)
            before = self._read.get(path, 0) if own else 0
            self.findings.extend(structs.replace(one, offset=one.offset + before) if before else one for one in found)
            if own:
                self._read[path] = before + sum(len(one.text) + 1 for one in segments)
        if properties:
            self.findings.extend(labels.property_findings(properties, path, self._scheme))

    def _keep(self, path: str, segments: tuple[Segment, ...]) -> None:
        if self._want_text:
            self.segments.extend((path, one.zone, one.page, one.text) for one in segments)
            self.texts.append((path, "\n".join(segment.text for segment in segments)))

    def _unique(self, path: str) -> str:
        """*path*, or *path* with a number: two members may have one name."""
        candidate, number = path, 1
        while candidate in self._paths:
            number += 1
            candidate = f"{path}~{number}"
        self._paths.add(candidate)
        return candidate
