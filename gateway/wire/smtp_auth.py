"""What a client says after AUTH: PLAIN and LOGIN, decoded.

What it is: ``decode`` and ``plain``, which turn base64 into names and a password, and ``Exchange``, which says what is asked next.
Who calls it: ``wire.smtp_submission``.
Must never: put what it was given into an error, a repr or a reply; take base64 that is not exactly that; ask for a password where
the session is not encrypted (its caller sees to that).
Sources: RFC 4954 section 4 (initial response, ``*``, 501), RFC 4616 (PLAIN), draft-murchison-sasl-login-00 (LOGIN, which many
clients know alone); hostile-inputs catalogue S38.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field

LONGEST = 2048
"""Octets of a base64 response: three times 255 octets of RFC 4616, and room for passwords that are longer."""
MECHANISMS = ("PLAIN", "LOGIN")
"""As offered in the reply to EHLO."""
WEAK = frozenset({"ANONYMOUS", "CRAM-MD5", "DIGEST-MD5", "NTLM", "OTP", "SKEY"})
"""Mechanisms that are known and not good enough; all of them need the password in clear on the server, or none."""

_NAME = 255  # octets of authzid and authcid, RFC 4616 section 2
_SECRET = 1024  # octets of a password
_USERNAME, _PASSWORD, _EMPTY = b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"334 \r\n"


class AuthError(ValueError):
    """A response that is not well formed. The text is one plain sentence that holds nothing of it."""


@dataclass(slots=True)
class Credentials:
    """Somebody signs in: ask the keeper, then answer. Nothing of it is shown or kept."""

    mechanism: str
    login: str = field(repr=False)
    password: str = field(repr=False)
    identity: str = field(default="", repr=False)
    """The authorization identity of PLAIN; empty where it is the login's own."""


class Exchange:
    """One AUTH command and its responses."""

    __slots__ = ("_login", "mechanism")

    def __init__(self, mechanism: str) -> None:
        self.mechanism = mechanism
        self._login: str | None = None

    def challenge(self) -> bytes:
        """The reply that asks for the next response."""
        if self.mechanism == "PLAIN":
            return _EMPTY
        return _USERNAME if self._login is None else _PASSWORD

    def respond(self, response: bytes) -> Credentials | None:
        """Takes a response in base64; None: another one is needed. Raises AuthError."""
        message = decode(response)
        if self.mechanism == "PLAIN":
            return plain(message)
        if self._login is None:
            self._login = _text(message, _NAME, "login")
            return None
        return Credentials(self.mechanism, self._login, _text(message, _SECRET, "password"))


def decode(response: bytes) -> bytes:
    """The octets of a base64 *response*. Raises AuthError."""
    if len(response) > LONGEST:
        raise AuthError("The response is too long.")
    try:
        return binascii.a2b_base64(response, strict_mode=True)
    except binascii.Error:
        raise AuthError("The response is not base64.") from None


def plain(message: bytes) -> Credentials:
    """What a PLAIN *message* holds: identity NUL login NUL password. Raises AuthError."""
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise AuthError("The response of PLAIN is not well formed.")
    identity = _text(parts[0], _NAME, "identity") if parts[0] else ""
    return Credentials("PLAIN", _text(parts[1], _NAME, "login"), _text(parts[2], _SECRET, "password"), identity)


def _text(octets: bytes, longest: int, what: str) -> str:
    if not octets or len(octets) > longest:
        raise AuthError(f"The {what} is empty or too long.")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthError(f"The {what} is not UTF-8.") from None
    # A name goes into logs and records; a password is compared as it is, but no keyboard types NUL.
    if "\0" in text or (what != "password" and not text.isprintable()):
        raise AuthError(f"The {what} holds a control character.")
    return text
