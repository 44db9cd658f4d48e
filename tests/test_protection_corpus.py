"""Every claim of encryption, true and pretended: what the inspection says of it. The cases are ``tests/fixtures/*/protection.toml``.

A case: ``file`` (beside the toml, sent as the only attachment), or ``message`` (a whole mail); ``state``, and where given ``scheme``,
``cipher``, ``bits`` of the leaf ``leaf`` (by default the attachment itself; else the end of its path); ``opens = true`` says that it can
be read without a secret that is not in the message, and then nothing may call it strong.
"""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from gateway.protection import ProtectionState
from gateway.verdict import Inspection, Leaf, LeafState
from tests.content_mail import attached, inspect

FIXTURES = Path(__file__).parent / "fixtures"
_DEAR = (
    "odf/*aes256*", "odf/argon2*", "odf/blowfish*", "odf/listed-twice*", "odf/*gcm*", "office/agile*", "office/*sha512*",
    "crypto/password.age", "crypto/age-body.eml", "crypto/s2k-most.gpg", "crypto/to-key-and-password.gpg", "crypto/luks*",
    "openpgpjs/*argon2*", "archives/*rar5*", "archives/*.7z", "keys/*closed*", "keys/rsa-*", "pdf/attachments-only.pdf",
)  # fmt: skip
"""What asks for much work for each password, or is a whole container of it: with the slow tests."""
_SMALL_FORM = ("odf/aes256.odt", "office/agile-msoffcrypto-word.docx", "keys/rsa-closed-pem.eml")
"""Of these, what runs always."""
_EACH = 6
"""Of the others, each sixth case runs always, and all of them with the slow tests."""


def _cases() -> list[Any]:
    found = []
    for file in sorted(FIXTURES.glob("*/protection.toml")):
        for case in tomllib.loads(file.read_text("utf-8"))["case"]:
            name = case.get("file") or case["message"]
            place = f"{file.parent.name}/{name}"
            dear = any(fnmatch(place, one) for one in _DEAR) or len(found) % _EACH
            marks = (pytest.mark.slow,) if dear and place not in _SMALL_FORM else ()
            found.append(
                pytest.param(file.parent / name, case, id="-".join(filter(None, (file.parent.name, name, case.get("leaf")))), marks=marks)
            )
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


def test_the_corpus_is_as_large_as_it_says() -> None:
    """Cases by scheme: ``-s`` prints them."""
    schemes: dict[str, int] = {}
    for param in _cases():
        case: Any = param.values[1]
        scheme = case.get("scheme") or f"of {param.values[0].parent.name}"
        schemes[scheme] = schemes.get(scheme, 0) + 1
    print(sum(schemes.values()), dict(sorted(schemes.items())))
    assert sum(schemes.values()) >= 550
    assert {"zip", "7z", "rar", "pdf", "pgp", "cms", "odf", "age", "openssl"} <= set(schemes)
