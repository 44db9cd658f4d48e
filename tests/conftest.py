"""What holds for every test run.

Source: the ten thousand cases that a collection leaves in memory; a full collection of garbage would walk them again and again.
"""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """What was collected stays until the end: the collector of garbage need not look at it."""
    gc.collect()
    gc.freeze()
