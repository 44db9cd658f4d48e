"""Reports and notices to originators: what was stopped, why, and what to do next.

What it is: four pure functions that make whole messages: ``failed``, ``held``, ``delayed`` and ``relayed``. The same
arguments give the same octets. They are sent with the null sender, and never to anyone but a verified originator.
Who calls it: the keeper, inside the commit (refused, held) and from the relay (delayed, failed, relayed).
Must never: carry the body of the original; name a recipient who is not the originator's own; repeat the subject of TOP
SECRET or SECRET mail; let octets of the original break a line or a part.
Sources: RFC 3464, RFC 6522, RFC 3834, RFC 6533, RFC 3461 section 6; hostile-inputs catalogue L05.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.config import Contacts
from gateway.levels import Level
from gateway.policy.explanations import Explanations


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """One recipient of a report."""

    address: str
    status: str
    """RFC 3463 code: ``5.7.1`` …; the class is made to fit the report (4 for held and delayed)."""
    explain: str
    """Key of the sentences; for a next hop's refusal ``next-hop-refused``, for an expired delivery ``delivery-expired``."""
    words: dict[str, str] = field(default_factory=dict)
    rule: str = ""
    source: str = ""
    orcpt: str = ""
    """``addr-type;xtext`` as given with RCPT."""
    diagnostic: str = ""
    """The next hop's reply; empty: ours is made from the explanation."""
    remote_mta: str = ""


def failed(
    reference: str, hostname: str, now: float, original_headers: bytes, sender: str, recipients: Sequence[RecipientReport],
    explanations: Explanations, languages: Sequence[str], contacts: Contacts, public_url: str = "", level: Level | None = None,
    envid: str = "", smtputf8: bool = False, note: str = "", *, arrival: float = 0, header_limit: int = 50_000,
) -> bytes:  # fmt: skip
    """The report (Action: failed) for recipients that do not get the message. *now* and *arrival* in seconds since the epoch."""
    raise NotImplementedError


def held(
    reference: str, hostname: str, now: float, original_headers: bytes, sender: str, recipients: Sequence[RecipientReport],
    explanations: Explanations, languages: Sequence[str], contacts: Contacts, public_url: str = "", level: Level | None = None,
    envid: str = "", smtputf8: bool = False, note: str = "", *, deadline: float, arrival: float = 0, header_limit: int = 50_000,
) -> bytes:  # fmt: skip
    """The notice (Action: delayed) for mail that waits for a reviewer until *deadline*."""
    raise NotImplementedError


def delayed(
    reference: str, hostname: str, now: float, original_headers: bytes, sender: str, recipients: Sequence[RecipientReport],
    explanations: Explanations, languages: Sequence[str], contacts: Contacts, public_url: str = "", level: Level | None = None,
    envid: str = "", smtputf8: bool = False, note: str = "", *, until: float, arrival: float = 0, header_limit: int = 50_000,
) -> bytes:  # fmt: skip
    """The notice (Action: delayed) for mail that the next hop has not taken yet; it is tried until *until*."""
    raise NotImplementedError


def relayed(
    reference: str, hostname: str, now: float, original_headers: bytes, sender: str, recipients: Sequence[RecipientReport],
    explanations: Explanations, languages: Sequence[str], contacts: Contacts, public_url: str = "", level: Level | None = None,
    envid: str = "", smtputf8: bool = False, note: str = "", *, arrival: float = 0, header_limit: int = 50_000,
) -> bytes:  # fmt: skip
    """The notice (Action: relayed) that NOTIFY=SUCCESS asked for, where the next hop sends none itself."""
    raise NotImplementedError
