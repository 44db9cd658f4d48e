"""The lock that keeps a second keeper out of the folder of a store.

What it is: ``take_lock``, on a file beside the store that stays locked for as long as its descriptor is open.
Who calls it: both stores when they open for writing; commands that work on the store of a stopped gateway.
Must never: wait for another keeper; remove the file (who waits behind it would lock one that nobody sees).
Source: hostile-inputs catalogue O10.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path as FilePath

from gateway.stores.base import StoreError


def take_lock(path: FilePath) -> int:
    """The descriptor that holds the lock file *path* for as long as it is open. Raises StoreError when another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StoreError(f"the store {path.parent} is in use by another keeper (process {owner or 'unknown'}); stop it first") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
