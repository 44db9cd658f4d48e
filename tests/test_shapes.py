"""All published shapes of "Inbox Invasion" through the whole inspection: the payload is found, or the message is ambiguous.

The counts stand in the first test, so that no shape is lost unseen; the shapes themselves are in ``mime_shapes``.
"""

from __future__ import annotations

import pytest

from gateway.levels import Level
from gateway.verdict import LeafState
from tests import mime_shapes
from tests.content_mail import inspect

MESSAGES = mime_shapes.messages()
PLAIN = ("nothing wrong [base64]", "nothing wrong [quoted-printable]", "no disposition [base64]", "encoding value 'bASe64' [base64]")


def test_M01_the_families_are_complete() -> None:
    assert len(mime_shapes.structures()) >= 201
    assert len(MESSAGES) >= 402


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name.endswith("[quoted-printable]") else name for name in MESSAGES]
)
def test_M01_every_published_shape_is_found_or_ambiguous(name: str) -> None:
    found = inspect(MESSAGES[name])
    assert found.ambiguity or any(one.level is Level.SECRET for one in found.findings)


@pytest.mark.parametrize("name", PLAIN)
def test_M01_what_is_no_deviation_is_found_and_not_ambiguous(name: str) -> None:
    found = inspect(MESSAGES[name])
    assert not found.ambiguity
    assert all(leaf.state is LeafState.INSPECTED for leaf in found.leaves)
    assert any(one.level is Level.SECRET for one in found.findings)
