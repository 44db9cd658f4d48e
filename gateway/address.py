"""Mailbox grammar on raw bytes, and domains as A-labels.

What it is: the only parser of envelope addresses in the project.
Who calls it: doors on the raw argument of MAIL and RCPT; the policy for domain comparisons.
Must never: strip, rewrite or guess. A path is exactly what the grammar allows, or AddressError.
Sources: RFC 5321 sections 4.1.2 and 4.5.3.1, RFC 6531 section 3.3, RFC 5890-5893 (IDNA2008).
"""

from __future__ import annotations

from dataclasses import dataclass


class AddressError(ValueError):
    """Not a path we take. *code* and *enhanced* are what the door answers; the text is one plain sentence."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.enhanced = enhanced


@dataclass(frozen=True, slots=True)
class Path:
    """A mailbox, or the null reverse-path (both parts empty). ``<postmaster>`` has an empty domain."""

    local: str
    """The local part as sent, case kept."""
    domain: str
    """The domain in lower-case A-labels."""

    @property
    def text(self) -> str:
        """``local@domain`` (``postmaster``, or nothing for the null path): the key and the public form."""
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def is_null(self) -> bool:
        """Whether this is the null reverse-path ``<>``."""
        return not self.local and not self.domain


NULL_PATH = Path("", "")
