"""The check of DKIM signatures, with key records that a door fetched.

What it is: dkimpy behind the rules that dkimpy leaves open.
Who calls it: ``inspector.service`` in a worker, when a request brings key records.
Must never: ask the DNS; honour ``l=``; call a temporary fault a bad signature; raise.
Sources: RFC 6376 sections 6.1 and 3.5 (l=), RFC 8301 (no rsa-sha1, keys of 1024 bits at least), RFC 8601 section 2.7.1.
"""

from __future__ import annotations

import collections
import logging
from collections.abc import Mapping, Sequence

import dkim

from gateway.message import signatures
from gateway.verdict import Authentication

_MINIMUM_KEY = 1024
_MOST = 100  # names of fields that are not covered; no honest message has so many
_silent = logging.Logger("dkim", level=logging.CRITICAL + 1)  # its words may quote the message


def check(content: bytes, headers: Sequence[tuple[str, str]], keys: Mapping[str, str]) -> tuple[Authentication, ...]:
    """One result for each of the first signatures of *content*; *keys* as ``doors.resolver`` gives them."""
    names = signatures.key_names(headers)
    fields = collections.Counter(name.strip().lower() for name, _ in headers)
    return tuple(_one(content, index, name, keys, fields) for index, name in enumerate(names))


def _one(content: bytes, index: int, name: str, keys: Mapping[str, str], present: collections.Counter[str]) -> Authentication:
    domain = name.partition("._domainkey.")[2]
    if not name:
        return Authentication("dkim", "permerror", "", "the signature names no proper domain and selector")
    if keys.get(name, "?") == "?":
        return Authentication("dkim", "temperror", domain, "the key could not be looked up")
    if not keys[name]:
        return Authentication("dkim", "permerror", domain, "there is no key")

    def record(_name: bytes, **_timeout: int) -> bytes:
        return keys[name].encode("ascii", "replace")

    try:
        verifier = dkim.DKIM(content, logger=_silent, minkey=_MINIMUM_KEY)
        passed = verifier.verify(index, dnsfunc=record)
    except dkim.ValidationError:
        return Authentication("dkim", "fail", domain, "the body is not the one that was signed")
    except dkim.KeyFormatError as error:
        return Authentication("dkim", "permerror", domain, f"unusable key: {type(error).__name__}")
    except Exception as error:  # dkimpy raises IndexError, TypeError … on odd messages; none may end the inspection
        return Authentication("dkim", "permerror", domain, f"cannot be checked: {type(error).__name__}")
    fields = verifier.signature_fields or {}
    if fields.get(b"a", b"") == b"rsa-sha1":
        return Authentication("dkim", "policy", domain, "rsa-sha1 is no longer trusted")
    if b"l" in fields:
        return Authentication("dkim", "policy", domain, "the signature covers a part of the body only")
    if not passed:
        return Authentication("dkim", "fail", domain, "the signature does not match")
    covered = collections.Counter(one.strip().lower() for one in fields.get(b"h", b"").decode("ascii", "replace").split(":"))
    unsigned = tuple(sorted(field for field, times in present.items() if covered[field] < times and field != "dkim-signature"))
    return Authentication("dkim", "pass", domain, "", unsigned if len(unsigned) <= _MOST else ("*",))
