"""Whose login is in what a client sends with AUTHENTICATE: the name alone, read strictly; the payload goes on as it came.

What it is: ``READABLE`` (the mechanisms whose first response tells the login) and ``login_of``.
Who calls it: ``doors.imap_login``, before a response is shown to the IMAP server.
Must never: guess: a payload that two readers could understand in two ways is refused, since the server behind reads it for itself;
put what it was given into an error; look at a password.
Sources: RFC 4422 section 3, RFC 4616 (PLAIN), draft-murchison-sasl-login-00 (LOGIN), RFC 5802 section 7 (SCRAM), RFC 7628 section 3.1
(OAUTHBEARER), RFC 5801 section 4 (GS2 header); Google's description of XOAUTH2; hostile-inputs catalogue I12.
"""

from __future__ import annotations

import binascii

READABLE = frozenset({"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"})
"""In their first response stands, in clear, who signs in."""
_RESPONSE = 65_536  # octets in base64; tokens are long
_NAME = 255


class SaslError(ValueError):
    """The login cannot be read. The text is one plain sentence that holds nothing of the payload."""


def login_of(mechanism: str, response: bytes) -> str:
    """The login in the first *response* (base64) of *mechanism*. Raises SaslError: not well formed, or for somebody else's mailbox."""
    payload = _decoded(response)
    if mechanism == "PLAIN":
        return _plain(payload)
    if mechanism == "LOGIN":
        return _text(payload)
    if mechanism == "XOAUTH2":
        return _xoauth2(payload)
    if mechanism == "OAUTHBEARER":
        return _oauthbearer(payload)
    if mechanism.startswith("SCRAM-") and mechanism in READABLE:
        return _scram(payload)
    raise SaslError("This way of signing in does not show the login.")


def asks_for_a_name(challenge: bytes) -> bool:
    """Whether the base64 *challenge* of LOGIN asks for the user name once more."""
    try:
        return _decoded(challenge).lstrip().lower().startswith(b"user")
    except SaslError:
        return False


def _decoded(response: bytes) -> bytes:
    if len(response) > _RESPONSE:
        raise SaslError("The response is too long.")
    try:
        payload = binascii.a2b_base64(response, strict_mode=True)
    except binascii.Error:
        raise SaslError("The response is not base64.") from None
    if binascii.b2a_base64(payload, newline=False) != response:  # the library still takes a stray "=" and bits that mean nothing
        raise SaslError("The response is not base64.")
    return payload


def _plain(payload: bytes) -> str:
    parts = payload.split(b"\0")
    if len(parts) != 3:
        raise SaslError("The response of PLAIN is not well formed.")
    return _own(_text(parts[1]), parts[0])


def _xoauth2(payload: bytes) -> str:
    fields = payload.split(b"\1")
    if len(fields) < 3 or fields[-2:] != [b"", b""]:
        raise SaslError("The response of XOAUTH2 is not well formed.")
    found = [field for field in fields if field.lower().startswith(b"user=")]
    if len(found) != 1 or fields[0] != found[0] or not found[0].startswith(b"user="):
        raise SaslError("The response of XOAUTH2 does not name one login.")
    return _text(found[0][5:])


def _oauthbearer(payload: bytes) -> str:
    header, separator, _ = payload.partition(b"\1")
    flag, first, rest = header.partition(b",")
    identity, second, more = rest.partition(b",")
    if not separator or not first or not second or more or flag not in (b"n", b"y"):
        raise SaslError("The response of OAUTHBEARER is not well formed.")
    if not identity.startswith(b"a="):
        raise SaslError("The response of OAUTHBEARER does not name the login; let the mail program send it.")
    return _text(_saslname(identity[2:]))


def _scram(payload: bytes) -> str:
    parts = payload.split(b",")
    if len(parts) < 4 or parts[0] not in (b"n", b"y"):
        raise SaslError("The response of SCRAM is not well formed.")
    if not parts[2].startswith(b"n=") or not parts[3].startswith(b"r=") or (parts[1] and not parts[1].startswith(b"a=")):
        raise SaslError("The response of SCRAM is not well formed.")
    return _own(_text(_saslname(parts[2][2:])), _saslname(parts[1][2:]))


def _saslname(octets: bytes) -> bytes:
    """RFC 5802's saslname: ``=2C`` and ``=3D`` are comma and equals sign, and no other equals sign is there."""
    plain = octets.replace(b"=2C", b",").replace(b"=3D", b"")
    if b"=" in plain:
        raise SaslError("A name is not well formed.")
    return octets.replace(b"=2C", b",").replace(b"=3D", b"=")


def _own(login: str, identity: bytes) -> str:
    if identity and identity != login.encode():
        raise SaslError("Nobody signs in for another here.")
    return login


def _text(octets: bytes) -> str:
    if not octets or len(octets) > _NAME:
        raise SaslError("The login is empty or too long.")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("The login is not UTF-8.") from None
    if not text.isprintable():
        raise SaslError("The login holds a control character.")
    return text
