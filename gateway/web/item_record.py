"""One held record as its page needs it: every field there, in the order in which people read.

What it is: ``record``, from the row of ``ShowHeld`` to what the templates show: the tree of parts, what the decision rests on, the
trace by recipients, and what happened as a story.
Who calls it: ``item_pages``.
Must never: show of sealed mail more than reference, sender, rule, deadline and what became of it; fail for a field that is missing.
Sources: docs/design.md section 10 ("Records"); docs/design.md section 4; hostile-inputs catalogue W01.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.web import told

ACTS = ("release", "refuse", "ask", "level", "forward", "again", "exception", "content")
"""What may be done to an item, in the order of the page; ``approve`` is the second person's ``release``."""
OPEN = ("held", "requested", "approved")
_DEEP = 12
"""Nested levels that the tree shows; what lies deeper stands at this depth."""
_TEXTS = (
    "id", "reference", "state", "rule", "title", "source", "sender", "department", "subject", "assigned", "sha256", "message_id",
    "rules_version", "exceptions_version", "unreadable", "first_yes", "level_proposed", "level_proposed_by", "reason",
)  # fmt: skip
_NUMBERS = ("created", "deadline", "size", "updated", "requested")
_LISTS = ("recipients", "released", "leaves", "evidence", "ambiguity", "from", "to", "approvals", "remarks", "history", "decisions")
_MAPS = ("classification", "authentication", "thread", "titles", "may", "why_not")
_OF_SEALED = (
    "id", "reference", "created", "deadline", "state", "rule", "title", "source", "sender", "department", "sealed", "approvals", "history",
    "remarks", "assigned", "may", "why_not", "unreadable", "requested", "updated",
)  # fmt: skip


@dataclass(slots=True)
class Part:
    """One leaf in the tree; *place* is its place in the record, by which its pages and its download are asked for."""

    place: int
    leaf: Mapping[str, Any]
    inside: list[Part] = field(default_factory=list)


def record(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with every field that the page asks for, and: ``tree``, ``rests_on``, ``traces``, ``story``, ``decision``, ``outcome``,
    ``waiting`` (decisions of those who wait) and ``open``."""
    sealed = bool(row.get("sealed"))
    known = {name: value for name, value in row.items() if not sealed or name in _OF_SEALED}
    item: dict[str, Any] = {name: "" if known.get(name) is None else known[name] for name in _TEXTS}
    item |= {name: known.get(name) or 0 for name in _NUMBERS}
    item |= {name: list(known.get(name) or ()) for name in _LISTS}
    item |= {name: dict(known.get(name) or {}) for name in _MAPS}
    item |= {"sealed": sealed, "level": known.get("level") or "", "two_people": bool(known.get("two_people"))}
    item["verified_originator"] = bool(known.get("verified_originator"))
    item["leaves"] = [leaf_of(leaf) for leaf in item["leaves"]]
    item["decisions"] = [_decided(one, item["released"], item["state"]) for one in item["decisions"]]
    known_addresses = {one["address"] for one in item["decisions"]}
    item["decisions"] += [
        _decided({"address": one, "disposition": "hold"}, item["released"], item["state"])
        for one in item["recipients"]
        if one not in known_addresses
    ]
    held = set(item["recipients"])
    item["open"] = item["state"] in OPEN
    item["waiting"] = [one for one in item["decisions"] if one["address"] in held and one["address"] not in item["released"]]
    for one in item["decisions"]:
        one["waives"] = [str(item["titles"].get(rule) or rule) for rule in one["hits"]]
    item["approvals"] = [
        {"waives": [str(item["titles"].get(rule) or rule) for rule in one.get("waived") or ()]} | dict(one) for one in item["approvals"]
    ]
    item["tree"] = tree(item["leaves"])
    item["rests_on"] = _rests_on(item["evidence"], item["leaves"])
    item["traces"] = _traces(item["decisions"], item["titles"])
    item["story"] = story(item["history"])
    item["decision"] = told.decision(item)
    item["outcome"] = told.outcome(item)
    return item


def leaf_of(leaf: Mapping[str, Any]) -> dict[str, Any]:
    """A leaf with every field that the page asks for."""
    found = leaf.get("protection")
    protection = dict(found) if isinstance(found, Mapping) else {"state": str(found or "none")}
    out: dict[str, Any] = {name: str(leaf.get(name) or "") for name in ("path", "name", "media_type", "state", "reason", "level", "cut")}
    out |= {name: protection.get(name) or "" for name in ("scheme", "cipher", "bits")}
    out["protection"], out["protection_reason"] = str(protection.get("state") or "none"), str(protection.get("reason") or "")
    out["size"] = leaf.get("size") or 0
    out["container"], out["is_attachment"] = bool(leaf.get("container")), bool(leaf.get("is_attachment"))
    return out


def tree(leaves: Iterable[Mapping[str, Any]]) -> list[Part]:
    """*leaves* as a tree, by their paths: ``1.2:a.zip/b.docx`` lies in ``1.2:a.zip``, that in ``1.2``, that in ``1``."""
    roots: list[Part] = []
    found: dict[str, tuple[Part, int]] = {}
    for place, leaf in enumerate(leaves):
        part, above = Part(place, leaf), _above(str(leaf.get("path") or ""), found)
        if above is None:
            roots.append(part)
            found[str(leaf.get("path") or "")] = part, 1
            continue
        parent, depth = above
        parent.inside.append(part)
        # What is too deep hangs all on one branch: the page stays readable, nothing is left out.
        found[str(leaf.get("path") or "")] = (part, depth + 1) if depth < _DEEP else (parent, depth)
    return roots


def _above(path: str, found: Mapping[str, tuple[Part, int]]) -> tuple[Part, int] | None:
    end = len(path)
    while end > 0:
        end = max(path.rfind(mark, 0, end) for mark in "/:.")
        if end > 0 and path[:end] in found:
            return found[path[:end]]
    return None


def _decided(one: Mapping[str, Any], released: Sequence[str], state: str) -> dict[str, Any]:
    """The decision for one recipient, every field there; ``now`` is what became of him."""
    texts = ("address", "tier", "direction", "disposition", "status", "rule", "title", "source", "explain", "exception")
    out: dict[str, Any] = {name: str(one.get(name) or "") for name in texts}
    out["require_aes256"] = bool(one.get("require_aes256"))
    out["explanation"] = {
        language: {"what": str(said.get("what") or ""), "why": str(said.get("why") or ""), "next": list(said.get("next") or ())}
        for language, said in (one.get("explanation") or {}).items()
        if isinstance(said, Mapping)
    }
    out["trace"], out["hits"] = list(one.get("trace") or ()), list(one.get("hits") or ())
    ended = state if state in ("refused", "expired") else out["disposition"]
    out["now"] = "released" if out["address"] in released else ended if out["disposition"] == "hold" else out["disposition"]
    return out


def _rests_on(evidence: Iterable[Mapping[str, Any]], leaves: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What markings the decision rests on, each place once, the highest and surest first."""
    names = {str(leaf["path"]): (place, str(leaf["name"])) for place, leaf in enumerate(leaves)}
    order = {"TOP SECRET": 0, "SECRET": 1, "CONFIDENTIAL": 2, "RESTRICTED": 3}
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for one in evidence:
        path, zone, level = (str(one.get(name) or "") for name in ("path", "zone", "level"))
        sure = str(one.get("confidence") or "")
        part, name = names.get(path, (-1, ""))
        key = (path, zone, level, sure)
        if key in found:
            found[key]["times"] += 1
            continue
        found[key] = {
            "where": told.place(path, name), "zone": told.ZONES.get(zone, zone), "level": level, "confidence": sure, "part": part,
            "detector": str(one.get("detector") or ""), "language": str(one.get("language") or ""), "times": 1,
        }  # fmt: skip
    surest = ("certain", "probable", "possible")
    return sorted(
        found.values(),
        key=lambda one: (order.get(one["level"], 9), surest.index(one["confidence"]) if one["confidence"] in surest else 9),
    )


def _traces(decisions: Iterable[Mapping[str, Any]], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Which rules hit and which missed; recipients with the same trace stand together."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in decisions:
        steps = [
            {
                "rule": str(step.get("rule") or ""), "title": str(step.get("title") or titles.get(str(step.get("rule")), "")),
                "hit": bool(step.get("hit")), "mode": str(step.get("mode") or ""), "then": str(step.get("then") or ""),
            }
            for step in one["trace"]
        ]  # fmt: skip
        if not steps:
            continue
        key = tuple((step["rule"], step["hit"], step["mode"], step["then"]) for step in steps)
        group = found.setdefault(key, {
            "recipients": [], "hits": [step for step in steps if step["hit"]], "misses": [step for step in steps if not step["hit"]],
        })  # fmt: skip
        group["recipients"].append(one["address"])
    return list(found.values())


def story(history: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What happened, oldest first; one act for several recipients is one line."""
    out: list[dict[str, Any]] = []
    for step in sorted(history, key=lambda one: float(one.get("time") or 0)):
        code, at = str(step.get("action") or ""), float(step.get("time") or 0)
        user, reason, rule = (str(step.get(name) or "") for name in ("user", "reason", "rule"))
        recipient = str(step.get("recipient") or "")
        last = out[-1] if out else None
        if last is not None and (last["action"], last["user"], last["reason"]) == (code, user, reason) and at - last["time"] < 2:
            last["recipients"] += [recipient] if recipient and recipient not in last["recipients"] else []
            continue
        out.append({
            "action": code, "words": told.action(code), "time": at, "iso": iso(at), "user": user,
            "reason": "" if code.startswith("message-") else reason,  # the log's key of an explanation is no word for people
            "rule": rule if code.startswith("message-") else "", "recipients": [recipient] if recipient else [],
        })  # fmt: skip
    return out


def iso(at: float) -> str:
    """A time for machines."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""
