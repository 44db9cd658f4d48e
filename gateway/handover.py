"""What a door hands over of a decision: in full, or without what nobody reads where everybody gets the mail.

What it is: ``commit`` makes the request (a door), ``facts_of`` takes its snapshots of facts out again (the keeper). Where every
recipient gets it, the snapshots are only stored, and travel as the JSON that will stand in the store; of the rules' trace only what hit
is used, and of the words for explanations nothing.
Who calls it: ``doors.peers``; ``keeper.act``; ``audit.events`` takes the names of the facts that the log names.
Must never: leave out what a held, refused or sealed message needs; take JSON into the store that could not be read again.
Source: docs/design.md section 6 (the snapshot of facts).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.envelope import Transaction
from gateway.requests import Commit
from gateway.verdict import Disposition, RecipientVerdict, Verdict

DOUBTS = ("from_ambiguous", "from_spoofed", "from_forged", "resent", "auto_forwarded")
"""Facts ``message.…`` on whose mail it is that the log names where they are true."""
APPLICATION = "originator.application"
LOGGED = (APPLICATION, *(f"message.{name}" for name in DOUBTS))
"""The facts that the log names; they stay in the verdict."""


class _Facts(msgspec.Struct, frozen=True):
    """As ``MessageRow.facts`` is stored."""

    message: msgspec.Raw
    recipients: tuple[msgspec.Raw, ...]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Facts)


def commit(tx: Transaction, verdict: Verdict, until: float = 0.0) -> Commit:
    """The request that makes *verdict* durable; *until* as in ``Commit``."""
    if not _goes_to_all(verdict):
        return Commit(tx, verdict, until)
    facts = _encoder.encode({"message": verdict.message_facts, "recipients": verdict.recipient_facts})
    about = verdict.message_facts
    named = {name: about[name] for name in LOGGED if about.get(name)}
    lean = replace(verdict, recipients=tuple(map(_lean, verdict.recipients)), message_facts=named, recipient_facts=())
    return Commit(tx, lean, until, facts)


def facts_of(request: Commit) -> dict[str, Any] | None:
    """The snapshots of *request* as ``MessageRow.facts`` takes them; None when they are not what they should be."""
    verdict = request.verdict
    if not request.facts:
        return {"message": verdict.message_facts, "recipients": verdict.recipient_facts}
    if not _goes_to_all(verdict):
        return None
    try:
        found = _decoder.decode(request.facts)
        str(request.facts, "utf-8")  # which the decoder leaves unread where it only skips
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return None
    snapshots = (found.message, *found.recipients)
    if len(found.recipients) != len(verdict.recipients) or any(bytes(memoryview(one)[:1]) != b"{" for one in snapshots):
        return None
    return {"message": found.message, "recipients": found.recipients}


def _goes_to_all(verdict: Verdict) -> bool:
    if verdict.sealed or verdict.session_refusal:
        return False
    return all(one.disposition is Disposition.DELIVER for one in verdict.recipients)


def _lean(one: RecipientVerdict) -> RecipientVerdict:
    return replace(one, facts=(), trace=tuple(step for step in one.trace if step.hit))
