"""SMTP replies, and the errors that carry them.

What it is: code, enhanced code and text of a reply, its wire form, and ``ReplyError``: an error that knows its public
reply and keeps its private cause apart.
Who calls it: the doors, the pipeline, the keeper.
Must never: put the text of an exception, a path or any private word in a reply.
Sources: RFC 5321 section 4.2, RFC 2034, RFC 3463, RFC 5248.
"""

from __future__ import annotations

import msgspec

_LINE = 510  # octets of a reply line without CRLF, RFC 5321 4.5.3.1.5


class Reply(msgspec.Struct, frozen=True):
    """One SMTP reply; *enhanced* is empty for replies that carry none (greeting, EHLO, 354)."""

    code: int
    enhanced: str
    text: str

    def encode(self) -> bytes:
        """The reply as sent: ASCII, lines of at most 512 octets with CRLF, long text folded into a multi-line reply."""
        if len(self.text) < 400 and self.text.isascii() and self.text.isprintable():
            head = f"{self.code} {self.enhanced} " if self.enhanced else f"{self.code} "
            return f"{head}{self.text}".rstrip(" ").encode("ascii") + b"\r\n"
        lines: list[str] = []
        room = _LINE - len(f"{self.code}-{self.enhanced} ")
        for paragraph in self.text.split("\n"):
            clean = "".join(c if " " <= c <= "~" else "?" for c in paragraph)
            while len(clean) > room:
                cut = clean.rfind(" ", 0, room)
                cut = cut if cut > 0 else room
                lines.append(clean[:cut])
                clean = clean[cut:].lstrip(" ")
            lines.append(clean)
        space = f"{self.enhanced} " if self.enhanced else ""
        last = len(lines) - 1
        return b"".join(
            f"{self.code}{' ' if i == last else '-'}{space}{line}".rstrip(" ").encode("ascii") + b"\r\n" for i, line in enumerate(lines)
        )

    @property
    def temporary(self) -> bool:
        """Whether the sender should try again."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """Whether the sender should give up."""
        return self.code >= 500

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}".replace("  ", " ")


class ReplyError(Exception):
    """Ends what is going on with *reply*; ``__cause__`` or *private* says why, for the log only."""

    def __init__(self, reply: Reply, private: str = "", *, close: bool = False) -> None:
        super().__init__(private or str(reply))
        self.reply = reply
        self.private = private
        self.close = close


# Our own faults: always temporary, never with a reason that is private (rule R36 of the requirements).
OUR_FAULT = Reply(451, "4.3.0", "The mail gateway could not finish checking. Please try again later.")
STORE_FULL = Reply(452, "4.3.1", "The mail gateway has no room at present. Please try again later.")
SHUTTING_DOWN = Reply(421, "4.3.2", "Service is closing. Please try again later.")
