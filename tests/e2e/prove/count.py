"""The count: where every recipient of every accepted message is, told from outside.

What arrived is what the next hop wrote down before it answered; what is held and what waits are the gateway's own lists. A recipient
has to be in exactly one of {scheduled, delivered, bounced, held, expired}; what had to be stopped must not have arrived; a message
may have arrived twice only where something happened between the two that leaves no choice.

What came by the milter door is judged by what was promised there. The decision on each recipient has to be in the decision log. Who was
left to the MTA is *kept*: the log has to say so, and nothing of ours may go there too. All others have to be held here, or returned.
"""

from __future__ import annotations

import collections
import email
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from tests.e2e.parts import Gateway, Hop
from tests.e2e.prove.clients import MILTER
from tests.e2e.prove.load import DELIVERED, HELD, REFUSED, Accepted

CLOCK_SLACK = 2.0
"""Seconds around a fault in which a duplicate is explained by it."""
_TURNS, _PAUSE = 3, 3.0  # times that are counted, seconds between them
_TIMED_OUT = "5.4.7"
_RIGHT = {DELIVERED: ("delivered", "scheduled", "kept"), REFUSED: ("bounced",), HELD: ("held",)}
"""The states that are right for what had to become of mail."""


@dataclass(frozen=True)
class Strike:
    """One fault, from *begin* to *end*. *explains*: a message whose delivery it met may arrive a second time."""

    begin: float
    end: float
    what: str
    explains: bool = False


@dataclass
class Count:
    """What one run, or many, came to. The lists hold one line for each thing that is wrong."""

    messages: int = 0
    accepted: int = 0
    delivered: int = 0
    kept: int = 0
    """Left to the MTA that had asked the milter door."""
    bounced: int = 0
    held: int = 0
    scheduled: int = 0
    expired: int = 0
    duplicates: int = 0
    strikes: int = 0
    lost: list[str] = field(default_factory=list)
    twofold: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    """What had to be stopped and was not."""
    unexplained: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Answers of 5xx to mail that is good."""
    other: list[str] = field(default_factory=list)
    """A broken chain, a process that outlived its gateway, a file that was left."""

    @property
    def wrong(self) -> list[str]:
        """Every line of what is wrong, each with its kind in front."""
        kinds = ("lost", "twofold", "passed", "unexplained", "refused", "other")
        return [f"{kind}: {line}" for kind in kinds for line in getattr(self, kind)]

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    def add(self, other: Count) -> None:
        """Takes the figures of *other* into this one."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass
class Arrived:
    """What the next hop has: deliveries by (identity, recipient), failure reports by (reference, recipient)."""

    delivered: dict[tuple[str, str], list[dict[str, Any]]]
    reported: dict[tuple[str, str], str]

    @classmethod
    def at(cls, hop: Hop) -> Arrived:
        """Read from what *hop* wrote down."""
        delivered: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
        reported: dict[tuple[str, str], str] = {}
        for entry in hop.received():
            message = email.message_from_bytes(hop.content(entry))
            if message.get_content_type() != "multipart/report":
                for recipient in entry["recipients"]:
                    delivered[str(message["X-Proof"]), recipient].append(entry)
                continue
            for part in message.walk():
                if part.get_content_type() == "message/delivery-status":
                    for block in part.get_payload():  # type: ignore[union-attr]
                        if "failed" in str(block.get("Action", "")):  # type: ignore[union-attr]
                            whom = str(block["Final-Recipient"]).partition(";")[2].strip()  # type: ignore[index]
                            reported[str(message["X-Gateway-Reference"]), whom] = str(block["Status"])  # type: ignore[index]
        return cls(dict(delivered), reported)


@dataclass
class Here:
    """What the gateway itself says: who is held and who waits, by reference; what was decided at the milter door, by (identity,
    recipient): the reference, and whether the MTA keeps it."""

    held: dict[str, list[str]]
    queued: dict[str, set[str]]
    decided: dict[tuple[str, str], tuple[str, bool]]

    @classmethod
    def at(cls, gateway: Gateway, *, milter: bool) -> Here:
        """Read by the commands of *gateway*."""
        queued: dict[str, set[str]] = collections.defaultdict(set)
        for row in gateway.records("queue", "list"):
            queued[row["reference"]].add(row["recipient"])
        decided = {}
        for row in gateway.records("audit", "search", "--limit", "100000") if milter else ():
            said = row.get("gateway", {})
            if said.get("door") == MILTER and "message_id" in row.get("email", {}):
                identity = row["email"]["message_id"].strip("<>").partition("@")[0]
                goes = row["event"]["action"] == "message-accepted" and said.get("kept_by") == "mta"
                decided[identity, said["smtp"]["rcpt_to"][0]["address"]] = (said["reference"], goes)
        return cls({row["reference"]: row["recipients"] for row in gateway.records("quarantine", "list")}, queued, decided)


def count(
    accepted: Iterable[Accepted], hop: Hop, gateway: Gateway, strikes: list[Strike], *, returns: bool = False, expires: bool = False
) -> Count:
    """Where everything in the ledger is. *returns*: the next hop refused good mail, which was rightly returned then; *expires*: the clock
    went so far that mail was rightly held for too long.

    It asks one after the other, and what goes from one place to another meanwhile is seen in none, or in both: so it asks again before
    it says so. What is lost stays lost.
    """
    accepted = list(accepted)
    for turn in range(_TURNS):
        time.sleep(_PAUSE if turn else 0)
        result = _counted(accepted, hop, gateway, strikes, returns=returns, expires=expires)
        if not result.lost and not result.twofold:
            break
    return result


def _counted(accepted: list[Accepted], hop: Hop, gateway: Gateway, strikes: list[Strike], *, returns: bool, expires: bool) -> Count:
    result = Count(strikes=len(strikes))
    there, here = Arrived.at(hop), Here.at(gateway, milter=any(entry.door == MILTER for entry in accepted))
    for entry in accepted:
        result.messages += 1
        for recipient, wanted in entry.recipients.items():
            result.accepted += 1
            true = _states(entry, recipient, there, here)
            name = f"{entry.door} {entry.identity} {recipient} {entry.reference}"
            if not true:
                result.lost.append(name)
            elif len(true) > 1:
                result.twofold.append(f"{name} {true}")
            else:
                setattr(result, true[0], getattr(result, true[0]) + 1)
            if wanted != DELIVERED and ("delivered" in true or recipient in entry.kept):
                result.passed.append(name)
            elif len(true) == 1 and not (
                true[0] in _RIGHT[wanted]
                or (true[0] == "bounced" and returns and entry.door != MILTER)
                or (true[0] == "expired" and expires and wanted == HELD)
            ):
                result.other.append(f"{true[0]}, and had to be {wanted}: {name}")
    for (identity, recipient), entries in there.delivered.items():
        if len(entries) > 1:
            result.duplicates += 1
            if not _explained(entries, strikes):
                result.unexplained.append(f"{identity} {recipient}: " + ", ".join(f"{entry['time']:.3f}" for entry in entries))
    return result


def _states(entry: Accepted, recipient: str, there: Arrived, here: Here) -> list[str]:
    """The states in which a recipient is; none at all where the log does not have what the milter door had promised."""
    reference, kept = entry.reference, False
    if entry.door == MILTER:
        decided, goes = here.decided.get((entry.identity, recipient), ("", False))
        if not decided or reference not in ("", decided):
            return []
        reference, kept = decided, goes and recipient in entry.kept
    status = there.reported.get((reference, recipient))
    states = {
        "delivered": (entry.identity, recipient) in there.delivered,
        "kept": kept,
        "bounced": status is not None and status != _TIMED_OUT,
        "expired": status == _TIMED_OUT,
        "held": recipient in here.held.get(reference, ()),
        "scheduled": recipient in here.queued.get(reference, ()),
    }
    return [state for state, yes in states.items() if yes]


def _explained(entries: list[dict[str, Any]], strikes: list[Strike]) -> bool:
    """Whether each delivery but the last was one of which the gateway could not know: the hop kept its answer back, or the gateway was
    hit before it had written the answer down."""
    for early, late in zip(entries, entries[1:], strict=False):
        known = early.get("answered", True)
        hit = any(s.explains and s.begin <= late["time"] + CLOCK_SLACK and s.end >= early["time"] - CLOCK_SLACK for s in strikes)
        if known and not hit:
            return False
    return True
