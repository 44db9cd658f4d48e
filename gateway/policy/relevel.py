"""A level that a person found, in the place of the one that was decided: for the facts and for the labels of a held message.

What it is: ``facts_at``, the recorded snapshot at another level, and ``edits_at``, the recorded edits with the label of that level.
Who calls it: the keeper, when a held message that somebody reclassified is decided about again or released.
Must never: write UNCLASSIFIED where the originator did not; change another edit than those of labels and of the subject's mark.
Sources: J&K Circular 26-JK(GAD) of 2024; docs/design.md section 10 ("Headers written"); RFC 7444.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.config import Config
from gateway.levels import Level
from gateway.message import labels
from gateway.message.headers import read
from gateway.message.prescan import sections
from gateway.message.views import LABEL_FIELDS
from gateway.policy import Policy, header_edits
from gateway.policy.facts import UNMARKED
from gateway.text.markings import Scheme
from gateway.verdict import Edit

_OURS = frozenset(("sio-label", "x-protective-marking", "sio-label-history"))


def facts_at(message_facts: Mapping[str, object], level: Level) -> dict[str, object]:
    """*message_facts* with *level* as the message's: a person's word counts like a declaration, so that every part inherits it."""
    was = _number(message_facts.get("message.level", UNMARKED))
    raised = level >= was
    found = dict(message_facts)
    found["message.level"] = int(level)
    probable = _number(found.get("message.probable", UNMARKED))
    if not raised:
        found["message.probable"] = min(probable, int(level))
    thread = max(_number(found.get(name, UNMARKED)) for name in ("message.thread_level", "message.passage_level"))
    if "message.thread_conflict" in found:
        found["message.thread_conflict"] = thread > level
    leaves = found.get("leaves")
    if isinstance(leaves, list):
        found["leaves"] = [
            {**leaf, "level": max(_number(leaf["level"]), int(level)) if raised else min(_number(leaf["level"]), int(level))}
            for leaf in leaves
        ]
    return found


def edits_at(
    edits: Sequence[Edit], level: Level, content: bytes, sender: str, config: Config, policy: Policy, now: float,
    *, declared: bool, outbound: bool, signed: bool, subject: str,
) -> tuple[Edit, ...]:  # fmt: skip
    """*edits* as they would stand at *level*. *content*: the message, of which only the label fields are read; *declared*: its
    originator declared this level; *outbound*: the recipient is outside and the mark may stand in the subject; *now* in seconds
    since the epoch."""
    scheme = policy.scheme
    others = {name for name in scheme.label_headers if name not in _OURS}
    rest = [
        one
        for one in edits
        if one.header.lower() not in _OURS
        and not (one.action == "remove" and one.header.lower() in others)
        and not (one.action == "replace" and one.header.lower() == "subject")
    ]
    old = _labels(content, scheme)
    address = sender if sender.isascii() else ""
    made = list(
        labels.label_edits(
            level,
            level.text,
            address,
            config.label_namespace,
            old,
            scheme,
            changed_by=config.hostname,
            changed_at=header_edits.mail_date(now),
        )
    )
    if level is Level.UNCLASSIFIED and not declared:
        # What was there goes; nothing of ours says that it is unclassified.
        made = [Edit("remove", name) for name in dict.fromkeys(("SIO-Label", "X-Protective-Marking", *(e.header for e in made)))]
        made = [one for one in made if one.header.lower() != "sio-label-history"]
    elif config.relay.subject_marking and outbound and not signed:
        made = [*header_edits.subject_edits(subject, level), *made]
    place = next((n for n, one in enumerate(rest) if one.header.lower() == "x-gateway-reference"), len(rest))
    return (*rest[:place], *made, *rest[place:])


def _labels(content: bytes, scheme: Scheme) -> tuple[tuple[str, str], ...]:
    """The label fields of the header section, as the inspection sees them."""
    end, _ = sections(content, 0, len(content))
    names = LABEL_FIELDS | scheme.label_headers
    return tuple((name, value) for name, value in read(content[:end]).items if name.lower() in names)


def _number(value: object) -> int:
    return value if isinstance(value, int) else UNMARKED
