"""One gateway and one recording next hop for all end-to-end tests that only read what comes out of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.parts import Gateway, Hop, running


@pytest.fixture(scope="module")
def hop(tmp_path_factory: pytest.TempPathFactory) -> Hop:
    """The recording next hop."""
    return Hop(tmp_path_factory.mktemp("hop"))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, hop: Hop) -> Iterator[Gateway]:
    """A running gateway in front of it."""
    folder: Path = tmp_path_factory.mktemp("gw")
    part = Gateway(folder, hop.port, extra="[limits]\nfree_disk = 0\n")
    with running(hop, part):
        yield part
