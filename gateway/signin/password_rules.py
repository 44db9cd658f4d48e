"""Which passwords people of the review pages may choose.

What it is: ``prepare`` (the octets that are hashed) and ``lacking`` (why a new password will not do).
Who calls it: ``keeper.account`` for a new password, ``keeper.entry`` for one that is tried.
Must never: log or keep a password; cut one short; ask for kinds of characters (people then write Password@123).
Sources: NIST SP 800-63B section 5.1.1.2 (length, a list of common ones, no composition rules); RFC 8265 section 4.2 (NFC).
"""

from __future__ import annotations

import re
import unicodedata

SHORTEST, LONGEST = 12, 128
"""Characters."""
_WORDS = """
password passw0rd p@ssword p@ssw0rd password1 admin administrator root welcome letmein qwerty qwertyuiop asdfghjkl zxcvbnm iloveyou
sunshine princess football monkey dragon master superman abc123 india bharat jaihind incredibleindia government sarkar nic gov
gateway email mail secret changeme default test user login namaste krishna ganesh sairam omnamahshivaya jaishreeram cricket
mother father computer internet samsung google facebook qazwsx qwerty123 trustno1 1q2w3e4r 1qaz2wsx zaq12wsx
"""
_COMMON = frozenset(_WORDS.split())
"""What is left of the commonest passwords when digits and signs at their ends are taken away; compared in lower case."""
_RUNS = ("0123456789" * 13, "9876543210" * 13, "abcdefghijklmnopqrstuvwxyz" * 5, "qwertyuiopasdfghjklzxcvbnm" * 5)
_ENDS = re.compile(r"^[\W\d_]+|[\W\d_]+$")


def prepare(password: str) -> bytes | None:
    """The octets of *password* in NFC; None for one that cannot be right: too long, or not text."""
    if not 0 < len(password) <= LONGEST:
        return None
    try:
        octets = unicodedata.normalize("NFC", password).encode("utf-8")
    except UnicodeEncodeError:
        return None
    return octets if b"\0" not in octets else None


def lacking(password: str, *names: str) -> str:
    """Why *password* will not do for the person with *names* (name, address), one plain sentence; empty where it will."""
    if len(password) < SHORTEST:
        return f"a password has at least {SHORTEST} characters; four or five words that belong to nobody else are easy to remember"
    if len(password) > LONGEST:
        return f"a password has at most {LONGEST} characters"
    if prepare(password) is None or any(unicodedata.category(letter) in ("Cc", "Cs", "Cn") for letter in password):
        return "this password holds a character that cannot be typed everywhere"
    lowered = unicodedata.normalize("NFKC", password).casefold()
    for name in names:
        for part in (name.casefold(), name.casefold().partition("@")[0]):
            if len(part) >= 3 and (rest := lowered.replace(part, "")) != lowered and len(rest) < SHORTEST - 4:
                return "a password must not be made of your name or address"
    if len(set(lowered)) < 5 or any(lowered in run for run in _RUNS) or _is_repeated(lowered):
        return "this password is a row or a repetition; anybody would try it"
    core = _ENDS.sub("", lowered)
    if len(core) < 4 or core in _COMMON or _pieces(core) <= _COMMON:
        return "this password is among the first that anybody would try"
    return ""


def _is_repeated(text: str) -> bool:
    """Whether *text* is one piece of up to six characters again and again."""
    return any(text == (text[:size] * (len(text) // size + 1))[: len(text)] for size in range(1, 7))


def _pieces(text: str) -> set[str]:
    return {piece for piece in re.split(r"[\W\d_]+", text) if piece}
