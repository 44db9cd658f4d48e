"""Which capabilities of the IMAP server a mail program may know.

What it is: ``Offer``, what stays of a list of capabilities, and where such lists stand in a response.
Who calls it: ``wire.imap_responses``; ``doors.imap`` makes the Offer.
Must never: let one through that brings content in unseen, hides what is said, or hides who signs in.
Sources: RFC 9051 section 7.2.2 and 6.1.1; 3516, 4467, 4469, 4978, 5257, 5464, 5524, 7889 (APPENDLIMIT), 8437, 8508, 9590; 5802 (channel
binding).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MECHANISMS = frozenset((b"PLAIN", b"LOGIN", b"XOAUTH2", b"OAUTHBEARER", b"SCRAM-SHA-1", b"SCRAM-SHA-256", b"SCRAM-SHA-512"))
"""Ways to sign in whose user name can be read, and which are not bound to the channel to the server."""

_HIDDEN = frozenset(b"STARTTLS LOGINDISABLED CATENATE URL-PARTIAL BINARY REPLACE UNAUTHENTICATE CONVERT COMPRESS AUTH".split())
_HIDDEN_KINDS = (
    b"COMPRESS=", b"URLAUTH", b"X-REPLACE", b"X-CATENATE",
    # What is written on mailboxes and messages: texts of any size, which others read.
    b"METADATA", b"LIST-METADATA", b"ANNOTATE",
)  # fmt: skip
_LISTED = re.compile(rb"(?:\* |[^ ]+ (?:OK|NO|BAD|BYE|PREAUTH) \[)CAPABILITY ([^\]\r\n]*)", re.IGNORECASE)


def listed(line: bytes) -> list[bytes] | None:
    """The capabilities that a response lists, as they stand; None: it lists none."""
    found = _LISTED.match(line)
    return found[1].split(b" ") if found else None


@dataclass(frozen=True, slots=True)
class Offer:
    """What is told to clients; one object for all sessions under one config."""

    message: int
    """The most octets of a message: what APPENDLIMIT says at most."""
    mechanisms: frozenset[bytes] = MECHANISMS
    clear: bool = False
    """The client is not under TLS yet: no way to sign in is told, STARTTLS and LOGINDISABLED are."""

    def keeps(self, words: list[bytes]) -> list[bytes]:
        """What stays of *words*, each as it stood."""
        kept = []
        for word in words:
            name, equal, value = word.upper().partition(b"=")
            if name in _HIDDEN and not (name == b"AUTH" and equal and value in self.mechanisms and not self.clear):
                continue
            if word.upper().startswith(_HIDDEN_KINDS) or (self.clear and name == b"SASL-IR"):
                continue
            kept.append(self._limited(value) if name == b"APPENDLIMIT" else word)
        return [*kept, b"STARTTLS", b"LOGINDISABLED"] if self.clear else kept

    def line(self, line: bytes) -> bytes:
        """A response, whole, with what stays of the capabilities that it lists."""
        found = _LISTED.match(line)
        if found is None:
            return line
        return line[: found.start(1)] + b" ".join(self.keeps(found[1].split(b" "))) + line[found.end(1) :]

    def _limited(self, value: bytes) -> bytes:
        theirs = int(value) if value.isdigit() and len(value) < 20 else self.message
        return b"APPENDLIMIT=%d" % min(theirs, self.message)
