"""Compound files: older Office documents, Outlook messages, macro projects and embedded objects, by what their streams are.

What it is: the extractor; it hands each group of streams to the reader of its format, and what nobody understands on as a member.
Who calls it: ``content.walk`` through the table.
Must never: call a file inspected while a stream of it was not read; tell a format by the name of the file.
Sources: MS-CFB, MS-DOC, MS-XLS, MS-PPT, MS-OXMSG; hostile-inputs catalogue D03, D05, D13, E12.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.extraction.base import Budget, Child, Found, Piece, Unreadable, join_reasons
from gateway.extraction.strings import sweep
from gateway.office import doc, msg, ole_objects, ole_protection, ppt, property_set, vba, xls
from gateway.office.compound import Compound, Path
from gateway.office.ole_parts import Parts
from gateway.protection import UNPROTECTED
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_KINDS = {
    "WordDocument": "application/msword",
    "Workbook": "application/vnd.ms-excel",
    "Book": "application/vnd.ms-excel",
    "PowerPoint Document": "application/vnd.ms-powerpoint",
    "__properties_version1.0": "application/vnd.ms-outlook",
}
_UNREAD = {
    "visiodocument": "a Visio drawing",
    "quill": "a Publisher document",
    "props9": "a Project plan",
    "props12": "a Project plan",
    "props14": "a Project plan",
    "pp40": "a presentation of PowerPoint 4",
    "pp97_dualstorage": "a presentation of PowerPoint 95",
    "\u4840\u3f3f\u4577\u446c\u3b6a\u45e4\u4824": "an installer",
    "catalog": "a store of small pictures",
    "matost": "a document of Microsoft Works",
    "mm": "a document of Microsoft Works",
}
"""Streams that tell formats without a reader."""
_WORDS = frozenset((
    "_xmlsignatures", "_signatures", "user names", "revision log", "ctls", "_sx_db_cur", "sumtotal", "text_content", "current user",
    "encryptedsummary", "mailstream", "richeditflags", "\x05hwpsummaryinformation", "list", "macrosettings",
))  # fmt: skip


def extract(piece: Piece, budget: Budget) -> Found:
    """Everything in the file. What is broken in one part does not end the reading of the others."""
    compound = Compound.parse(piece.data, budget)
    closed = ole_protection.look(compound, budget)
    if closed is not None and closed.found is not None:
        return closed.found
    data = piece.data
    if closed is not None and closed.opened:
        data = closed.opened
        compound = Compound.parse(data, budget)
    parts = Parts(compound)
    for name, media_type in _KINDS.items():
        if name in compound:
            parts.media_type = parts.media_type or media_type
    _properties(parts, budget)
    readers: tuple[tuple[str, Callable[[], None]], ...] = (
        ("WordDocument", lambda: doc.read(compound, parts, budget)),
        ("Workbook", lambda: xls.read(parts, budget)),
        ("PowerPoint Document", lambda: ppt.read(parts, budget)),
        ("__properties_version1.0", lambda: msg.read(parts, budget, piece)),
    )
    for name, reader in readers:
        if name in compound or (name == "Workbook" and "Book" in compound):
            _guarded(reader, parts)
    _guarded(lambda: _macros(parts, budget), parts)
    _guarded(lambda: _storages(parts, budget), parts)
    _guarded(lambda: _rest(parts), parts)
    if not closed:
        _guarded(lambda: _outside(parts), parts)
    notes: list[str] = []
    protection = UNPROTECTED
    state = LeafState.SUSPECT if parts.problems else LeafState.INSPECTED
    if closed is not None:
        protection = closed.protection
        notes.append(closed.protection.reason)
        if closed.doubt:
            state = LeafState.SUSPECT
    return Found(
        tuple(parts.segments),
        tuple(parts.children),
        state,
        join_reasons(*parts.problems, *notes),
        protection=protection,
        properties=parts.properties,
        container=parts.container,
        media_type=parts.media_type,
        links=tuple(parts.links),
        active=tuple(parts.active),
    )


def _guarded(reader: Callable[[], None], parts: Parts) -> None:
    """Runs one reader; its failure is a reason, and what the others read is kept. Limits of the message end the reading."""
    try:
        reader()
    except Unreadable as error:
        parts.problems[str(error)] = None
    except RecursionError:
        parts.problems["over a limit: it is nested too deep"] = None
    except MemoryError:
        raise
    except Exception as error:
        kind = "it is broken" if isinstance(error, OSError) else f"could not be read: {type(error).__name__}"
        parts.problems[kind] = None


def _properties(parts: Parts, budget: Budget) -> None:
    """Title, author … and what label programs write, of the document itself."""
    for name in property_set.STREAMS:
        if name not in parts.compound:
            continue
        data = parts.take(name)
        try:
            found = property_set.read(data, budget)
        except Unreadable as error:
            parts.problems[str(error)] = None
            parts.segments.append(Segment(sweep(data), Zone.PROPERTY))
            continue
        for key, value in found.texts:
            # Two properties of one name: programs differ in which one they show.
            parts.properties[key if key not in parts.properties else f"{key} {len(parts.properties)}"] = value
        if found.texts:
            names = dict.fromkeys(key for key, _ in found.texts)
            parts.segments.append(Segment("\n".join((*(value for _, value in found.texts), *names)), Zone.PROPERTY))
        for octets in found.binaries:
            parts.loose(octets, "property")


def _macros(parts: Parts, budget: Budget) -> None:
    """Every storage that holds a storage ``VBA``, wherever it stands."""
    storages = {path[: path_index(path)] for path in parts.compound.names() if path_index(path) >= 0}
    for at in sorted(storages):
        view = parts.compound
        for name in at:
            view = view.storage(name)
        if not view.storage("VBA").get("dir") and not view.storage("VBA").get("_VBA_PROJECT"):
            continue
        found = vba.project(view, budget)
        parts.active["macro"] = None
        parts.media_type = parts.media_type or "application/vnd.ms-office.vba"
        if found.problem:
            parts.problems[found.problem] = None
        parts.segments += [Segment(source, Zone.BODY) for source in found.sources]
        for path in view.names():
            if path[0].lower() != "vba":  # the list of the project, forms and their controls
                parts.loose(view.get(*path), path[-1])
        parts.take_storage(*at) if at else _take_all(parts)


_FILES = (b"PK\x03\x04", b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"%PDF-", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")


def _outside(parts: Parts) -> None:
    """What stands in no stream: text that was deleted, or another file behind this one."""
    rest = parts.compound.unallocated()
    if not rest:
        return
    words = sweep(rest)
    if words:
        parts.segments.append(Segment(words, Zone.BODY))
    starts = [at for signature in _FILES if (at := rest.find(signature)) >= 0]
    if starts:
        parts.problems["ambiguous: another file stands in it outside of its streams"] = None
        parts.children.append(Child("appended", rest[min(starts) :]))


def path_index(path: Path) -> int:
    """Where in *path* a storage ``VBA`` stands; -1 where there is none."""
    return next((index for index, name in enumerate(path[:-1]) if name.lower() == "vba"), -1)


def _take_all(parts: Parts) -> None:
    """A file that is nothing but a project of macros."""
    for path in parts.left():
        if path[0].lower() == "vba" or path[-1].lower() in ("project", "projectwm", "projectlk") or len(path) > 1:
            parts.take(*path)


_OBJECT_MARKS = ("\x01ole", "\x01compobj", "\x03objinfo", "contents", "worddocument", "workbook", "book", "powerpoint document", "package",
                 "\x01ole10native", "equation native", "package_stream", "visiodocument")  # fmt: skip


def _storages(parts: Parts, budget: Budget) -> None:
    """Embedded objects, each in a storage of its own, become members."""
    for storage in parts.compound.storages():
        head = parts.compound.storage(storage)
        inner = [(storage, head)]
        if storage.lower() == "objectpool":
            inner = [(name, head.storage(name)) for name in head.storages()]
        for name, view in inner:
            at = (storage,) if name == storage and view is head else (storage, name)
            top = [path for path in view.names() if len(path) == 1]
            if not any(path[0].lower() in _OBJECT_MARKS for path in top):
                continue
            if all(tuple(part.lower() for part in (*at, *path)) in parts.taken for path in view.names()):
                continue
            budget.spend_entries()
            data = view.cut()
            budget.spend_bytes(len(data))
            parts.children.append(Child("object", data))
            parts.take_storage(*at)


def _rest(parts: Parts) -> None:
    """Streams that no reader took: what belongs to an object, what is known to say nothing, and files of an unknown kind."""
    for path in parts.left():
        name = path[-1].lower()
        reason = _UNREAD.get(path[0].lower())
        if ole_objects.take(parts, path):
            continue
        if reason:
            parts.problems[f"{reason}: there is no reader for it"] = None
            parts.segments.append(Segment(sweep(parts.take(*path)), Zone.BODY))
        elif name in _WORDS or path[0].lower() in _WORDS or name.startswith("\x05"):
            parts.loose(parts.take(*path), "stream")
        elif data := parts.take(*path):
            shown = "".join(character for character in path[-1] if character.isprintable())
            parts.children.append(Child(shown or "stream", data))
    if not parts.media_type and not parts.children and not parts.segments:
        parts.problems["an empty compound file"] = None
