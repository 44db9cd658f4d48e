"""What becomes of a decision log whose signing key is gone.

What it is: ``key_file``, ``key_lost`` and ``set_aside``: whether the key that signs the heads is missing beside a store, and the name of a
chain put out of use; ``read_public``, the key by which another node's heads are checked.
Who calls it: ``audit`` when it loads chain and key; ``gateway check``; ``gateway audit verify``.
Must never: keep the gateway from starting (mail flows); let a new key sign on in a chain that another key signed; delete anything.
Source: hostile-inputs catalogue L06, L07.
"""

from __future__ import annotations

from pathlib import Path as FilePath

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway import logs
from gateway.config import Config
from gateway.vault.vault import VaultError

LOST = (
    "{path} is missing and there is a store whose decision log it signed: find out who removed it, put it back from your backup and"
    " restart; without it a start makes a new key and begins a new chain, and what was signed before cannot be checked"
)
_log = logs.get("keeper")


def key_file(config: Config) -> FilePath:
    """Where the key lies that signs heads."""
    return config.state_dir / "keys" / "audit-signing.pem"


def key_lost(config: Config) -> bool:
    """Whether the key is missing though there is a store: it is made before the first store, so somebody has taken it away. Where the
    store is elsewhere, the name of the chain says that something was signed."""
    sign = config.state_dir / ("keys/audit-chain" if config.store.shared else "gateway.db")
    return not key_file(config).exists() and sign.exists()


def read_public(path: FilePath) -> Ed25519PublicKey:
    """The public key in the PEM file *path*. Raises VaultError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise VaultError(f"{path} is not a PEM public key that can be read") from error
    if not isinstance(key, Ed25519PublicKey):
        raise VaultError(f"{path} is not an Ed25519 key")
    return key


def set_aside(config: Config) -> None:
    """Puts the name of the chain out of use: the next load begins a new chain, so that numbers are never given twice."""
    name = config.state_dir / "keys" / "audit-chain"
    if name.exists():
        name.rename(name.with_name(f"audit-chain.{name.stat().st_mtime_ns}"))


def begin_anew(config: Config) -> None:
    """Says that the key is lost, and lets a new chain begin."""
    _log.critical(LOST.format(path=key_file(config)), **{"gateway.key_file": str(key_file(config))})
    set_aside(config)
