"""The decision about one message: one verdict a recipient.

What it is: pure functions from a transaction, its inspection and the policy to a Verdict.
Who calls it: ``pipeline`` (decide), the SMTP door (rcpt), the keeper at release (again), ``gateway explain``.
Must never: read a clock, a file or the network; let a recipient's verdict depend on another recipient.
Source: design.md section 4.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.address import Path
from gateway.config import Config
from gateway.envelope import Door, Peer, Transaction
from gateway.policy import Policy
from gateway.requests import Exceptions
from gateway.verdict import Edit, Inspection, RecipientVerdict, Verdict


def decide(tx: Transaction, inspection: Inspection, policy: Policy, exceptions: Exceptions, config: Config) -> Verdict:
    """The verdict about one message. A recipient with DEFER means: answer 4xx for the whole message, commit nothing."""
    raise NotImplementedError


def rcpt(
    sender: Path, recipient: Path, peer: Peer, policy: Policy, exceptions: Exceptions, config: Config,
    *, door: Door = Door.SMTP, now: float = 0.0,
) -> RecipientVerdict:  # fmt: skip
    """What the envelope alone decides: REFUSE when no content could change it, else DEFER ("not known yet: go on")."""
    raise NotImplementedError


def again(
    message_facts: Mapping[str, object], recipient_facts: Mapping[str, object], policy: Policy, waived: frozenset[str] = frozenset(),
    *, exceptions: Exceptions | None = None, now: float = 0.0,
) -> RecipientVerdict:  # fmt: skip
    """The recorded facts under the rules of now, with the *waived* rules (never those that refuse) left out."""
    raise NotImplementedError


def verified(sender: Path, peer: Peer, config: Config) -> bool:
    """Whether *sender* is a verified originator: authenticated, or from a listed network with an official sender of ours or null."""
    raise NotImplementedError


def received_edit(tx: Transaction, hostname: str, now: float) -> Edit:
    """The Received field of this hop; *now* in seconds since the epoch."""
    raise NotImplementedError
