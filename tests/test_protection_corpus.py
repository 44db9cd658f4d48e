"""Every claim of encryption, true and pretended: what the inspection says of it. The cases are ``tests/fixtures/*/protection.toml``.

A case: ``file`` (beside the toml, sent as the only attachment), or ``message`` (a whole mail); ``state``, and where given ``scheme``,
``cipher``, ``bits`` of the leaf ``leaf`` (by default the attachment itself; else the end of its path); ``opens = true`` says that it can
be read without a secret that is not in the message, and then nothing may call it strong.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.protection import ProtectionState
from gateway.verdict import Inspection, Leaf, LeafState
from tests.content_mail import attached, inspect

FIXTURES = Path(__file__).parent / "fixtures"


def _cases() -> list[Any]:
    found = []
    for file in sorted(FIXTURES.glob("*/protection.toml")):
        for case in tomllib.loads(file.read_text("utf-8"))["case"]:
            name = case.get("file") or case["message"]
            found.append(pytest.param(file.parent / name, case, id="-".join(filter(None, (file.parent.name, name, case.get("leaf"))))))
    return found


def _leaf(found: Inspection, case: dict[str, Any]) -> Leaf:
    if "leaf" in case:
        return next(one for one in found.leaves if one.path.endswith(case["leaf"]))
    return next(one for one in found.leaves if one.is_attachment)


@pytest.mark.parametrize(("path", "case"), _cases())
def test_protection_is_what_it_is(path: Path, case: dict[str, Any]) -> None:
    data = path.read_bytes()
    found = (
        inspect(data) if "message" in case else attached(data, case.get("name", path.name), case.get("type", "application/octet-stream"))
    )
    leaf = _leaf(found, case)
    assert (leaf.protection.state, leaf.state) == (ProtectionState(case["state"]), LeafState(case.get("leaf_state", leaf.state)))
    for field in ("scheme", "cipher", "bits"):
        if field in case:
            assert getattr(leaf.protection, field) == case[field], field
    assert leaf.protection.state is ProtectionState.STRONG or leaf.state is not LeafState.OPAQUE
    if case.get("opens"):
        assert all(one.protection.state is not ProtectionState.STRONG for one in found.leaves if one.path.startswith(leaf.path))
