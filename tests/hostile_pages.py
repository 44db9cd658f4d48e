"""A keeper whose every text is an attack, for looking at what a real browser makes of the pages.

What it is: ``vectors`` (the attempts of ``fixtures/markup/vectors.txt``), ``poisoned`` (a row with them in every text that comes from
people, mail or rules) and ``keeper_of`` (a stand-in keeper that answers with nothing else).
Who calls it: ``test_web_naughty``.
Must never: poison what the keeper alone makes (ids, states, levels), since then it is a broken keeper that is tested.
Sources: hostile-inputs catalogue W01, W02, W14; review.py for the rows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway import requests, review
from tests import items, log_kit, looks_rows
from tests.faces import HELD, FakeKeeper, person
from tests.keeper_kit import shipped_policy

FILE = Path(__file__).parent / "fixtures" / "markup" / "vectors.txt"
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")
KEPT = frozenset({
    "id", "reference", "state", "level", "confidence", "disposition", "tier", "direction", "mode", "then", "action", "kind", "language",
    "languages", "code", "grants", "acts", "scopes", "token", "step", "states", "levels", "protection", "declared", "found", "probable",
    "level_proposed", "thread_level", "passage_level", "may", "door", "secret", "uri", "phrases",
    "@timestamp", "dataset",
})  # fmt: skip
"""What the keeper makes from tables of its own; and texts of ours."""


def vectors() -> list[str]:
    """One attempt each."""

    def read(match: re.Match[str]) -> str:
        return chr(int(match[1] or match[2] or match[3], 16))

    lines = [line for line in FILE.read_text("utf-8").split("\n") if line and not line.startswith("# ")]
    return [_ESCAPE.sub(read, line).encode("utf-16", "surrogatepass").decode("utf-16") for line in lines]


def poisoned(value: Any, given: Sequence[str], key: str = "") -> Any:
    """*value* with *given* in every text of it: all in one text, one each in a list, where a list's records are repeated."""
    if key in KEPT:
        return value
    if isinstance(value, str):
        return " ".join(given)
    if isinstance(value, dict):
        if value and key in ("tiers", "rules", "departments", "titles"):  # by what people wrote
            return dict(zip(given, itertools.cycle(value.values()), strict=False))
        return {name: poisoned(one, given, name) for name, one in value.items()}
    if isinstance(value, (list, tuple)) and value:
        if all(isinstance(one, str) for one in value):
            return list(given)
        if all(isinstance(one, (dict, list, tuple)) for one in value):
            return [_numbered(poisoned(one, [text], ""), place) for place, (one, text) in enumerate(zip(itertools.cycle(value), given))]
    return value


def _numbered(row: Any, place: int) -> Any:
    """*row* with ids of its own; a header (name and value) and a mark stay what they are."""
    if not isinstance(row, dict):
        return row
    out = dict(row)
    if "id" in out:
        out["id"] = f"0198f2b0-0000-7000-8000-{place:012x}"
    if "reference" in out:
        out["reference"] = f"01CX5B00000G00G0000000{place:04d}"
    if "path" in out and "zone" not in out:
        out["path"] = f"1.{place}:{out['path']}"
    return out


def content(given: Sequence[str]) -> dict[str, Any]:
    """What ``ShowContent`` says: one part a vector, marked through its middle."""
    row = poisoned(items.CONTENT, given) | {"subject_marks": [[0, 9, "CONFIDENTIAL", "certain"]]}
    row["headers"] = [[text, text] for text in given]
    segments = [{"zone": text, "page": 0, "text": text, "marks": [[1, 4, "CONFIDENTIAL", "certain"]]} for text in given]
    row["leaves"] = [
        leaf | {"segments": [segment], "pages": place % 3}
        for place, (leaf, segment) in enumerate(zip(row["leaves"], segments, strict=False))
    ]
    return row  # type: ignore[no-any-return]


def keeper_of(given: Sequence[str], **more: Any) -> FakeKeeper:
    """Everything it says holds *given*; ``reviewer`` may do everything, ``officer`` sees his own mail."""
    held = HELD | {"tiers": {"a": "other"}, "title": "x", "source": "x", "assigned": "x", "approvals": 1, "needed": 2, "requested": 0.0,
                   "updated": HELD["created"], "rule": "x"}  # fmt: skip
    rows = poisoned([held], given)
    item = poisoned(items.ITEM | {"first_yes": "x", "assigned": "x", "unreadable": "x", "ambiguity": ["x"]}, given) | {
        "id": items.ID, "reference": items.REFERENCE, "may": items.ITEM["may"], "approvals": poisoned(items.APPROVED["approvals"], given),
        "level_proposed": "RESTRICTED",
    }  # fmt: skip
    counts = {"total": len(rows), "states": {"held": len(rows)}, "levels": {"CONFIDENTIAL": 1}, "rules": dict.fromkeys(given, 1),
              "departments": dict.fromkeys(given, 1), "oldest": HELD["created"], "next_deadline": 4e9, "due_soon": 1}  # fmt: skip
    people = [person(text, "reviewer", "viewer@home.gov.in", email=text, department=text, system_user=text, created=1_795_000_000.0,
                     disabled=False, oidc=True) for text in given]  # fmt: skip
    rules = [{"id": text, "title": text, "source": text, "then": "hold", "mode": "enforce", "pack": text, "explain": text, "owner": text,
              "what": text, "why": text, "next": [text]} for text in given]  # fmt: skip
    log = poisoned([log_kit.decision(), log_kit.act()], given)
    officer = poisoned(looks_rows.officer_item(shipped_policy(), "en") | {"remarks": []}, given)
    officer["remarks"] = [{"created": 1_795_000_000.0, "kind": "request", "author": "you", "text": text} for text in given]
    officer["way"] = [{"step": "stopped", "at": 1_795_000_000.0}]
    failed = requests.Failed(" ".join(given), 1)
    keeper = FakeKeeper({
        review.SignInWays: _rows({"password": True, "oidc": " ".join(given), "officer": True, "totp": True}),
        review.FindHeld: requests.Rows(tuple(rows)), review.CountHeld: _rows(counts),
        review.ListViews: _rows(*({"id": f"v{n}", "name": text, "filter": {"words": text}} for n, text in enumerate(given))),
        review.ListRules: _rows(*rules), requests.ShowHeld: _rows(item), review.ShowContent: _rows(content(given)),
        review.ShowPage: (_rows({"media_type": "image/png", "pages": 2, "width": 91, "height": 129, "boxes": 1}), items.png()),
        review.Colleagues: _rows(*({"name": text, "email": text} for text in given)),
        review.DecideAgain: _rows(*({"address": text, "disposition": "hold", "rule": text, "explanation": text} for text in given)),
        review.ListTokens: _rows(*({"id": f"t{n}", "name": text, "scopes": ["list"], "created": 1_795_000_000.0, "expires": 4e9, "used": 0}
                                   for n, text in enumerate(given))),
        requests.ListUsers: _rows(*people), review.BeginTotp: _rows({"secret": "JBSWY3DPEHPK3PXP", "uri": f"otpauth://totp/{given[0]}"}),
        review.Dashboard: _rows(poisoned(looks_rows.figures(), given) | {"held": {"held": 1}, "queue": {"scheduled": 1}}),
        requests.SearchAudit: _rows(*log), requests.ShowAudit: _rows(*log),
        requests.ListExceptions: requests.Rows(tuple(poisoned([log_kit.ENTRY], given))),
        review.OfficerWords: looks_rows.keeper().answers[review.OfficerWords], review.OfficerItem: _rows(officer),
        review.MyMail: _rows(*poisoned([{"reference": "x", "created": 1.0, "subject": "x", "state": "held", "token": "t"}], given)),
        requests.RefuseHeld: failed, requests.ReleaseHeld: failed, review.SignIn: failed,
    } | more)  # fmt: skip
    keeper.sessions["session-of-the-reviewer-0123456789"] = person(
        "reviewer", "reviewer", "administrator", "auditor", email=" ".join(given), department=" ".join(given)
    )
    keeper.sessions["session-of-an-officer-0123456789"] = person(given[0], kind="officer", acts={}, grants=[])
    return keeper


def _rows(*rows: dict[str, Any]) -> requests.Rows:
    return requests.Rows(tuple(rows))
