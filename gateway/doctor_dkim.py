"""Looks at the DKIM records in the DNS: are they published, and do they hold the keys that mail is signed with.

What it is: one TXT question for each ``[[dkim]]``, to the config's resolvers or the system's, held against the private key.
Who calls it: ``gateway doctor``.
Must never: print a private key; call a record good that another server would not verify with.
Sources: RFC 6376 section 3.6.1, RFC 8463 section 4, RFC 8301 section 3.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterator
from pathlib import Path as FilePath

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from gateway.config import Config
from gateway.doctor import Finding
from gateway.doors.resolver import Resolver


def examine(config: Config) -> Iterator[Finding]:
    """One line a key."""
    names = {f"{entry.selector}._domainkey.{entry.domain}": entry.key_file for entry in config.dkim}
    if not names:
        return
    for name, record in asyncio.run(Resolver(config).keys(tuple(names))):
        state, text = judge(record, names[name])
        yield Finding("dkim dns", state, f"{name}: {text}")


def judge(record: str, key_file: FilePath) -> tuple[str, str]:
    """State and sentence for the DNS *record* ("" none, "?" not asked) of the private key in *key_file*."""
    try:
        kind, octets = _public(key_file)
    except OSError as error:
        return "warning", f"{key_file} cannot be read by this user ({error.strerror}); run this as the gateway's user"
    except ValueError:
        return "wrong", f"{key_file} is no DKIM key (RSA or Ed25519, PEM, without a password)"
    if record == "?":
        return "warning", "the DNS could not be asked; look again, or name resolvers in the config"
    if not record:
        return "wrong", "no record is published, so signatures fail; publish the one that gateway keys prints"
    tags = {key.strip(): value.strip() for key, sign, value in (part.partition("=") for part in record.split(";")) if sign}
    if tags.get("v", "DKIM1") != "DKIM1":
        return "wrong", f"the record says v={tags['v'][:20]}, not DKIM1"
    if not tags.get("p", "").replace(" ", ""):
        return "wrong", "the record has an empty p=, which says that the key is revoked"
    try:
        published = base64.b64decode(tags["p"].replace(" ", ""), validate=True)
    except (ValueError, binascii.Error):
        return "wrong", "the key in the record is not base64; publish the one that gateway keys prints"
    if tags.get("k", "rsa") != kind or published != octets:
        return "wrong", f"the record holds another key than {key_file}: signatures fail; publish the one that gateway keys prints"
    if "y" in tags.get("t", "").split(":"):
        return "warning", "the record says t=y (testing): others may take no notice of the signature; publish it without"
    if tags.get("h") and "sha256" not in tags["h"].split(":"):
        return "wrong", "the record does not allow sha256 (h=), which is what mail is signed with"
    return "ok", f"published, and the key of {key_file}"


def _public(key_file: FilePath) -> tuple[str, bytes]:
    """Kind and published octets of the public half. Raises OSError, ValueError."""
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except TypeError as error:
        raise ValueError("a password is needed") from error
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return "rsa", public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if isinstance(public, ed25519.Ed25519PublicKey):
        return "ed25519", public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    raise ValueError("another kind of key")
