"""The IMAP server's side of a session, without I/O: octets in, events out.

What it is: ``Server``, one object a connection. Responses go on to the client as they came, literals by count and unread; tagged replies,
``+``, the greeting, BYE and CAPABILITY are known, and capabilities that we do not offer are taken out.
Who calls it: ``doors.imap``.
Must never: change any other octet; keep a literal or a long line; raise anything but ImapError.
Sources: RFC 9051 section 7; hostile-inputs catalogue I02, I04, I05, I07, I08.
"""

from __future__ import annotations

import enum
import re

from gateway.wire import imap_namespaces
from gateway.wire.imap_capabilities import Offer, listed
from gateway.wire.imap_events import Bye, Capabilities, Greeting, ImapError, Pass, Plus, ServerEvent, Tagged, Told

_HELD_LINE = 65_536
"""Octets of a line that is read whole: a status, a tagged reply, ``+``, CAPABILITY."""
_LITERAL = 2**32 - 1
"""Octets of a literal, RFC 9051 section 9: number."""
_TAIL = 40  # octets in which the end of a line announces a literal


def _patterns(words: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Responses that go on unread, and those that are read: what begins with one of *words*, and all that is not untagged."""
    words = rb"(?:" + words + rb")[ \r\n]"
    run = re.compile(
        # Lines of data, whole and without a literal; then one that announces a literal, if it follows.
        rb"(?:\* (?!" + words + rb")[^\r\n]++(?<!\})\r\n)*+"
        rb"(?:\* (?!" + words + rb")[^\r\n{]*+(?:\{(?!\d{1,9}\}\r\n)[^\r\n{]*+)*+(?:(?<=[ (])|(?<=[ (]~))\{(\d{1,9})\}\r\n)?",
        re.IGNORECASE,
    )
    return run, re.compile(rb"(?:[^*]|\*[^ ]|\* " + words + rb")", re.IGNORECASE)


_WORDS = rb"OK|NO|BAD|BYE|PREAUTH|CAPABILITY"
_PASSING = _patterns(_WORDS)
_LEARNING = _patterns(_WORDS + rb"|NAMESPACE")
_NAMESPACE = re.compile(rb"\* NAMESPACE ", re.IGNORECASE)
_MARK = re.compile(rb"[ (]~?\{(-?\d+\+?)\}\r?\n\Z")
_STATUS = re.compile(rb"\* (OK|NO|BAD|BYE|PREAUTH|CAPABILITY)[ \r\n]", re.IGNORECASE)
_TAGGED = re.compile(rb"([^\x00-\x20*+]+) (OK|NO|BAD)[ \r\n]", re.IGNORECASE)


class _At(enum.IntEnum):
    """Where the octets that come next stand."""

    START = 0
    """At the begin of a response."""
    LINE = 1
    """In a line of data that goes on as it comes."""
    LITERAL = 2


class Server:
    """One connection. ``receive`` octets; take events until there are none."""

    __slots__ = ("_at", "_buffer", "_greeted", "_held_words", "_left", "_position", "_run", "between", "capabilities", "offer")

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        """May be exchanged, when the client is under TLS."""
        self.between = True
        """What the events so far gave to the client ends with a whole response: replies of ours may follow."""
        self.capabilities: frozenset[bytes] = frozenset()
        """What the server itself offers, in capitals, as it said it last."""
        self._greeted = False
        self._buffer = b""
        self._position = 0
        self._at = _At.START
        self._left = 0
        self._run, self._held_words = _PASSING

    def learn(self, wanted: bool) -> None:
        """From now on an answer to NAMESPACE is an event, and not the client's; or no more."""
        self._run, self._held_words = _LEARNING if wanted else _PASSING

    @property
    def pending(self) -> int:
        """Octets that wait for more: none may be there when TLS begins (I01)."""
        return len(self._buffer) - self._position

    def receive(self, data: bytes) -> None:
        """Takes octets off the wire; then ask for events."""
        self._buffer = self._buffer[self._position :] + data if self._position < len(self._buffer) else data
        self._position = 0

    def next_event(self) -> ServerEvent | None:
        """The next one; None: more octets are needed. Raises ImapError: end the session (BYE)."""
        buffer, start = self._buffer, self._position
        if not start and self._at is _At.LITERAL and 0 < len(buffer) <= self._left:
            self._left -= len(buffer)
            self._position = len(buffer)
            return Pass(buffer)
        place = self._untagged(buffer, start) if self._greeted else start
        if place > start:
            self._position = place
            self.between = self._at is _At.START
            return Pass(buffer[start:place] if start or place < len(buffer) else buffer)
        if place == len(buffer):
            self._buffer, self._position = b"", 0  # a session that is idle keeps nothing of the message it fetched last
            return None
        if self._at is not _At.START:
            return None
        return self._held(buffer, place)

    def _untagged(self, buffer: bytes, place: int) -> int:
        """How far *buffer* goes on unread from *place* on: literals, lines of data."""
        size = len(buffer)
        while place < size:
            if self._at is _At.LITERAL:
                if self._left > size - place:
                    self._left -= size - place
                    return size
                place += self._left
                self._left = 0
                ends = buffer.startswith(b")\r\n", place)
                place += 3 * ends
                self._at = _At.START if ends else _At.LINE
                continue
            if self._at is _At.START:
                run = self._run.match(buffer, place)
                assert run is not None  # it matches nothing as well
                place = run.end()
                if run[1] is not None:
                    self._left, self._at = int(run[1]), _At.LITERAL
                    continue
                if place == size or not self._is_data(buffer, place):
                    break
                self._at = _At.LINE
            end = buffer.find(b"\n", place)
            if end < 0:
                return max(place, size - _TAIL)
            self._at = _At.START
            if buffer.endswith((b"}\r\n", b"}\n"), place, end + 1):
                self._announced(buffer[max(place, end + 1 - _TAIL) : end + 1])
            place = end + 1
        return place

    def _is_data(self, buffer: bytes, place: int) -> bool:
        """Whether the response that begins at *place* is one of data; False as well while that cannot be told."""
        if self._held_words.match(buffer, place):
            return False
        return len(buffer) - place >= len(b"* CAPABILITY ") or buffer.find(b"\n", place) >= 0

    def _announced(self, end: bytes) -> None:
        """Takes note of the literal that the end of a line announces."""
        found = _MARK.search(end)
        if found is None:
            return
        if not found[1].isdigit() or int(found[1]) > _LITERAL:
            raise ImapError("The server announces a literal that cannot be.")
        self._left = int(found[1])
        self._at = _At.LITERAL

    def _held(self, buffer: bytes, start: int) -> ServerEvent | None:
        """A response that is read whole."""
        end = buffer.find(b"\n", start)
        if (len(buffer) if end < 0 else end) - start > _HELD_LINE:
            raise ImapError("A response of the server is too long.")
        if end < 0:
            return None
        if self._run is _LEARNING[0] and _NAMESPACE.match(buffer, start):
            end = imap_namespaces.end_of(buffer, start)
            if end < 0:
                return None
            self._position = end
            self.between = True
            return Told(buffer[start:end])
        self._position = end + 1
        self.between = True
        line = buffer[start : end + 1]
        words = listed(line)
        if words is not None:
            self.capabilities = frozenset(word.upper() for word in words)
            line = self.offer.line(line)
        status = _STATUS.match(line)
        word = status[1].upper() if status else b""
        if not self._greeted:
            if word not in (b"OK", b"PREAUTH", b"BYE"):
                raise ImapError("The server does not greet.")
            self._greeted = True
            return Greeting(word, line)
        if word == b"CAPABILITY":
            return Capabilities(line)
        if status is not None:
            return Bye(line) if word == b"BYE" else Pass(line)
        if line[:1] == b"+":
            return Plus(line)
        tagged = _TAGGED.match(line)
        if tagged is None:
            raise ImapError("The server says what is no response.")
        return Tagged(tagged[1], tagged[2].upper(), line)
