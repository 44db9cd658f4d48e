"""Names of logins in the one form in which they are compared, counted and logged; the octets of a password.

What it is: ``prepare`` (a login as somebody typed it to its canonical form), ``address_of`` and ``pattern`` (envelope senders),
``secret`` (a password as octets).
Who calls it: ``login_file`` when it reads the file, ``logins`` for each sign-in, ``gateway logins``.
Must never: change a password; take a name that looks like another one (invisible, control or private-use characters).

The subset of RFC 8265's UsernameCaseMapped (which replaces RFC 4013's SASLprep) that is used here: at most 255 octets of UTF-8;
compatibility characters and full-width forms are mapped (NFKC) and case is folded, then NFKC again; what is left must be letters,
digits, marks or printable ASCII without blanks (the IdentifierClass); a joiner may stand behind a virama alone (CONTEXTJ, which
Indian scripts need). The Bidi rule is not checked. In a name that is an address the part behind the last ``@`` is a domain and is
compared in lower-case A-labels. A password is not prepared at all: its octets are UTF-8 as the client sent them.
Sources: RFC 8265 sections 3.3 and 4.2, RFC 8264 section 4.2, RFC 4013, RFC 4616 section 2.
"""

from __future__ import annotations

import unicodedata

from gateway import address

NAME_MAX = 255
"""Octets of a login."""
SECRET_MAX = 1024
"""Octets of a password."""
_JOINERS = "\u200c\u200d"
_VIRAMA = 9


class LoginNameError(ValueError):
    """Not a login that can be used. The text is one plain sentence without the name."""


def prepare(name: str) -> str:
    """The canonical form of the login *name*; twice prepared is the same as once. Raises LoginNameError."""
    if not name:
        raise LoginNameError("a login is empty")
    try:
        if len(name.encode("utf-8")) > NAME_MAX:
            raise LoginNameError(f"a login is longer than {NAME_MAX} octets")
    except UnicodeEncodeError:
        raise LoginNameError("a login is not UTF-8") from None
    folded = _folded(_folded(name)) if not name.isascii() else name.lower()
    for number, letter in enumerate(folded):
        if letter.isascii():
            usable = "!" <= letter <= "~"
        elif letter in _JOINERS:
            usable = number > 0 and unicodedata.combining(folded[number - 1]) == _VIRAMA
        else:
            usable = unicodedata.category(letter)[0] in "LMN"
        if not usable:
            raise LoginNameError("a login holds a blank, a control character or a character that cannot be seen")
    local, at, domain = folded.rpartition("@")
    if not at:
        return folded
    try:
        folded = f"{local}@{address.domain_of(domain)}"
        if not local:
            raise LoginNameError("a login has nothing before its @")
    except address.AddressError as error:
        raise LoginNameError(f"a login is not an address: {error}") from None
    if len(folded.encode("utf-8")) > NAME_MAX:
        raise LoginNameError(f"a login is longer than {NAME_MAX} octets")
    return folded


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def address_of(name: str) -> str:
    """The canonical login *name* where it is a mailbox that may stand in MAIL FROM; empty where it is none."""
    if "@" not in name:
        return ""
    try:
        path = address.parse(name.encode("utf-8"), smtputf8=True)
    except address.AddressError:
        return ""
    return path.text.lower() if path.domain else ""


def pattern(text: str) -> str:
    """The envelope senders that *text* means, ``a@b`` or ``@b``, in lower case with A-labels. Raises LoginNameError."""
    if text.startswith("@"):
        try:
            return "@" + address.domain_of(text[1:])
        except address.AddressError as error:
            raise LoginNameError(f"{text!r} is no domain: {error}") from None
    if "@" not in text:
        raise LoginNameError(f"{text!r} is neither an address nor a domain; write a@b, or @b for a whole domain")
    try:
        path = address.parse(text.encode("utf-8"), smtputf8=True)
    except (address.AddressError, UnicodeEncodeError) as error:
        raise LoginNameError(f"{text!r} is no address: {error}") from None
    return path.text.lower()


def secret(password: str) -> bytes | None:
    """The octets of *password*; None for one that cannot be right: empty, too long, or with a NUL."""
    try:
        octets = password.encode("utf-8")
    except UnicodeEncodeError:
        return None
    # An empty password must never reach a next hop: a directory behind it may take it for an anonymous bind, and say yes.
    return octets if 0 < len(octets) <= SECRET_MAX and b"\0" not in octets else None
