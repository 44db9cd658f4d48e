"""By what held mail is found: words of its envelope and of its subject, as keyed hashes.

What it is: ``Terms``: the rows that a held record gets, and what a person's search asks for. Words are folded (NFKC, case), and of each
its first 3 to 12 characters are kept too, so that the beginning of a word finds it.
Who calls it: ``act`` at the commit, ``housekeeping`` for records that have none, ``reviews`` for searches.
Must never: keep a word itself; keep anything of sealed mail but reference, sender and rule; take a search for more than words (W12).
Sources: docs/design.md section 6; Unicode Standard Annex 15 (NFKC); hostile-inputs catalogue W12.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Protocol

import idna

from gateway.keeper.exceptions import Wrong
from gateway.stores.base import HoldRow
from gateway.stores.reviewed import TermRow, Word

MOST = 200
"""Terms of one held record."""
_OF_SUBJECT = 80
"""Of these for the words of its subject at least, where it has as many."""
SEARCH_LENGTH = 200
SEARCH_WORDS = 8
"""Characters and words of a search; a longer one is refused."""
_SHORTEST, _LONGEST = 3, 12
_KEPT = 64  # characters of a word that are hashed
_PLAIN, _SUBJECT = "envelope", "subject"


class Hasher(Protocol):
    """What is needed of the vault here."""

    def term_hash(self, kind: str, word: str) -> bytes: ...


class Terms:
    """Makes the hashes."""

    def __init__(self, vault: Hasher) -> None:
        self._vault = vault

    def rows(self, hold: HoldRow, subject: str) -> list[TermRow]:
        """The terms of *hold*, at most ``MOST``; *subject* in the clear is not looked at where the mail is sealed."""
        inside = [] if hold.sealed else _beginnings(_pieces(fold(subject)))
        outside = list(dict.fromkeys(_envelope(hold)))[: MOST - min(len(inside), _OF_SUBJECT)]
        hashes = [self._vault.term_hash(_PLAIN, word) for word in outside]
        hashes += [self._vault.term_hash(_SUBJECT, word) for word in inside[: MOST - len(outside)]]
        return [TermRow(term, hold.id) for term in hashes]

    def of(self, holds: Iterable[HoldRow], subject: str) -> list[TermRow]:
        """The terms of all held records of one message."""
        return [row for hold in holds for row in self.rows(hold, subject)]

    def sought(self, text: str) -> tuple[Word, ...]:
        """What a search for *text* asks for: every word has to be there. Raises Wrong when it is too long."""
        if len(text) > SEARCH_LENGTH:
            raise Wrong(f"search: at most {SEARCH_LENGTH} characters")
        tokens = dict.fromkeys(fold(text).split())
        if len(tokens) > SEARCH_WORDS:
            raise Wrong(f"search: at most {SEARCH_WORDS} words")
        out: dict[tuple[str, str], Word] = {}
        for token in tokens:
            whole = token.strip("<>()[]{}\"',;:")[:_KEPT]
            pieces = _pieces(whole)
            for piece in pieces[:SEARCH_WORDS] or ([whole] if whole else []):
                plain = tuple(self._vault.term_hash(_PLAIN, word) for word in dict.fromkeys((whole, piece)))
                out[whole, piece] = Word(plain, (self._vault.term_hash(_SUBJECT, piece),))
        if len(out) > 2 * SEARCH_WORDS:
            raise Wrong(f"search: at most {SEARCH_WORDS} words")
        if not out and text.strip():
            return (Word((self._vault.term_hash(_PLAIN, ""),)),)  # nothing but signs: nothing has it
        return tuple(out.values())


def fold(text: str) -> str:
    """*text* without case, without the ways to write one character in several, and without characters that cannot be seen."""
    flat = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in flat if unicodedata.category(c) not in ("Cf", "Cc") or c.isspace())


def _pieces(folded: str) -> list[str]:
    """The runs of letters, their marks and digits, each once."""
    spaced = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded)
    return list(dict.fromkeys(word[:_KEPT] for word in spaced.split()))


def _beginnings(words: Iterable[str]) -> list[str]:
    """*words*, then their first characters, each once: the words themselves come first where there is no room for all."""
    whole = dict.fromkeys(word for word in words if word)
    short = (word[:length] for word in whole for length in range(_SHORTEST, min(len(word), _LONGEST + 1)))
    return list(dict.fromkeys((*whole, *short)))


def _envelope(hold: HoldRow) -> Iterator[str]:
    """What *hold* is found by without its subject, the most telling first."""
    reference, rule = fold(hold.reference), fold(hold.rule)
    yield from (reference, rule)
    addresses = [hold.sender] if hold.sealed else [hold.sender, *hold.recipients]
    folded = list(dict.fromkeys(fold(one)[:320] for one in addresses if one))
    for one in folded:
        yield one[:_KEPT]
        yield from _domains(one.rpartition("@")[2])
    if not hold.sealed:
        yield from _domains(fold(hold.department))
    # References of one week begin alike: their first characters tell nothing.
    yield from (reference[:length] for length in range(8, _LONGEST + 1))
    yield from _beginnings(_pieces(rule))
    locals = [one.rpartition("@")[0] for one in folded]
    yield from _beginnings([*locals[:1], *_pieces(locals[0])] if locals else [])
    yield from _beginnings([word for local in locals[1:] for word in (local, *_pieces(local))])
    yield from _beginnings(one.rpartition("@")[2] for one in folded)


def _domains(domain: str) -> Iterator[str]:
    """*domain* and the domains above it, in both spellings of letters outside ASCII; not the last label alone."""
    spellings = [domain]
    if "xn--" in domain:
        try:
            spellings.append(fold(idna.decode(domain)))
        except idna.IDNAError:
            pass
    for one in spellings:
        labels = one.split(".")
        for place in range(max(1, len(labels) - 1)):
            yield ".".join(labels[place:])[:_KEPT]
