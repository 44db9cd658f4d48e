"""What an MTA is told to do with a message, from what became of it here.

What it is: ``answer``: all changes, and the one final action.
Who calls it: ``doors.milter``, after the commit.
Must never: let a recipient go on whom the commit did not pass; make a change where the message is refused or dropped.
Sources: docs/design.md section 4, "Milter"; libmilter's smfi_delrcpt, smfi_quarantine; hostile-inputs catalogue T10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.message.milter_edits import operations
from gateway.pipeline import Outcome
from gateway.reply import Reply
from gateway.verdict import Direction, Edit
from gateway.wire.milter_events import Change, DeleteRecipient, Final, Message, Quarantine


def answer(
    outcome: Outcome, fields: Sequence[tuple[bytes, bytes]], written: Mapping[str, Sequence[bytes]], reference: str
) -> tuple[Final | Reply, tuple[Change, ...]]:
    """The final action and the changes before it. Raises ValueError when the edits cannot be written.

    *fields*: what stands in the header section, values as they follow the colon; *written*: for each recipient the paths by which the
    MTA knows it.
    """
    if outcome.reply.code >= 300:
        return outcome.reply, ()
    passed = frozenset(outcome.passed)
    gone = [path for text, paths in written.items() if text not in passed for path in paths]
    if len(gone) == sum(len(paths) for paths in written.values()):
        if outcome.hold_there:
            raise ValueError("a message that is held for nobody")
        return Final.DISCARD, ()
    changes: list[Change] = [*operations(edits_of(outcome), fields), *map(DeleteRecipient, gone)]
    if outcome.hold_there:
        changes.append(Quarantine(f"held for review, reference {reference}"))
    return Final.CONTINUE, tuple(changes)


def edits_of(outcome: Outcome) -> tuple[Edit, ...]:
    """The edits for the one header section that all who pass share: those for recipients outside, who are to be told less."""
    passed = frozenset(outcome.passed)
    there = [one for one in outcome.verdict.recipients if one.address in passed]
    chosen = next((one for one in there if one.direction is Direction.OUTBOUND), there[0] if there else None)
    # The MTA writes its own Received field.
    return tuple(edit for edit in chosen.edits if edit.header != "Received") if chosen is not None else ()


def fields_of(message: Message) -> tuple[tuple[bytes, bytes], ...]:
    """The fields of *message*, values as they follow the colon."""
    return message.fields if message.leading_space else tuple((name, b" " + value) for name, value in message.fields)
