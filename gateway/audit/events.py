"""What the decision log says: from a decision or an act to an audit event with ECS names.

What it is: pure functions that make the documents of AuditEvents.
Who calls it: ``act`` (decisions, refusals, deferrals), ``quarantine``, ``exceptions``, ``accounts``, ``login_record``.
Must never: hold a subject, a word of the message, or a secret. Marked words appear as a keyed hash; names of files do not
appear where mail is held or is TOP SECRET or SECRET.
Sources: docs/design.md section 10 ("Decision log"); elastic/ecs 9.5 email and event fields; hostile-inputs catalogue P18, L06.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gateway import handover
from gateway.audit.lines import timestamp
from gateway.envelope import Door, Transaction
from gateway.levels import Level, highest
from gateway.protection import ProtectionState
from gateway.requests import Refused
from gateway.stores.base import AuditEvent
from gateway.verdict import Disposition, Finding, Leaf, RecipientVerdict, Verdict

_MANY = 50
"""Leaves and evidence of one message in the log at most; the full list is in the sealed details."""

_ACTIONS = {
    Disposition.DELIVER: ("message-accepted", "allowed"),
    Disposition.HOLD: ("message-held", "denied"),
    Disposition.REFUSE: ("message-blocked", "denied"),
    Disposition.DEFER: ("message-deferred", "info"),
}

WordsHash = Callable[[str], str]


def level_of(verdict: Verdict) -> Level | None:
    """The level that the message is handled as: the probable one counts where the mail is sealed for it."""
    found = verdict.classification
    return highest((found.level, found.probable)) if verdict.sealed else found.level


def decisions(
    tx: Transaction, verdict: Verdict, codes: Mapping[str, int], now: float, words_hash: WordsHash, hostname: str,
    *, subject: str = "", kept_by: Mapping[str, str] = MappingProxyType({}),
) -> list[AuditEvent]:  # fmt: skip
    """One event a recipient. *codes*: what the client was answered for each address (SMTP code); *subject* is hashed only; *kept_by*:
    who has the mail of each address that we neither deliver nor hold (``mta``, ``mta-hold``, ``mailbox``)."""
    shared = _shared(tx, verdict, words_hash, hostname, subject)
    return [
        _decision(tx, verdict, one, codes.get(one.address, 250), now, shared, kept_by.get(one.address, "")) for one in verdict.recipients
    ]


def _shared(tx: Transaction, verdict: Verdict, words_hash: WordsHash, hostname: str, subject: str) -> dict[str, dict[str, Any]]:
    """The parts of the document that are the same for every recipient."""
    peer, headers, found = tx.peer, verdict.headers, verdict.classification
    level = level_of(verdict)
    hide = verdict.sealed or (level is not None and level >= Level.SECRET)
    # Nor are the files named that somebody only stores for himself.
    hide = hide or tx.door is Door.IMAP or any(one.disposition is Disposition.HOLD for one in verdict.recipients)
    first = found.evidence[0] if found.evidence else None
    label: dict[str, Any] = {"level": level.text if level is not None else None, "conflict": found.conflict, "complete": found.complete}
    for name, value in (("declared", found.declared), ("found", found.found), ("probable", found.probable)):
        if value is not None:
            label[name] = value.text
    if first is not None:
        label |= {"confidence": first.confidence.value, "zone": first.zone.value, "detector": first.detector, "language": first.language}
    attachments = [leaf for leaf in verdict.leaves if leaf.is_attachment][:_MANY]
    gateway: dict[str, Any] = {
        "door": tx.door.value, "label": label, "sha256": tx.sha256, "size": tx.size, "rules_version": verdict.rules_version,
        "exceptions_version": verdict.exceptions_version, "verified_originator": tx.verified_originator, "helo": peer.helo,
    }  # fmt: skip
    if found.evidence:
        gateway["evidence"] = [_evidence(one, hide, words_hash) for one in found.evidence[:_MANY]]
    if attachments:
        gateway["attachments"] = [_protection(leaf, hide, words_hash) for leaf in attachments]
    if verdict.ambiguity:
        gateway["ambiguity"] = list(verdict.ambiguity[:10])
    if subject:
        gateway["subject_hash"] = words_hash(subject)
    if peer.user:
        gateway["user"] = peer.user
    if peer.through:
        gateway["through"] = peer.through  # the load balancer, which is not the source
    if application := verdict.message_facts.get(handover.APPLICATION):
        gateway["application"] = application
    # Other origin fields change no decision, but are recorded.
    if doubts := [name for name in handover.DOUBTS if verdict.message_facts.get(f"message.{name}")]:
        gateway["identity"] = doubts
    email: dict[str, Any] = {"local_id": tx.id, "message_id": headers.message_id}
    named = (("from", headers.from_addresses), ("sender", headers.sender_addresses), ("reply_to", headers.reply_to_addresses))
    for name, addresses in named:
        if addresses := tuple(filter(None, addresses)):
            email[name] = {"address": list(addresses[:10])}
    if attachments:
        email["attachments"] = [{"file": _file(leaf, hide)} for leaf in attachments]
    source = {"ip": peer.ip, "port": peer.port}
    out: dict[str, dict[str, Any]] = {"gateway": gateway, "email": email, "source": source, "host": {"hostname": hostname}}
    if peer.tls_version:
        out["tls"] = {"version_protocol": "tls", "version": peer.tls_version.removeprefix("TLSv"), "cipher": peer.tls_cipher}
    if peer.user:
        out["user"] = {"name": peer.user}
    return out


def _decision(
    tx: Transaction, verdict: Verdict, one: RecipientVerdict, code: int, now: float, shared: Mapping[str, dict[str, Any]], kept_by: str
) -> AuditEvent:
    sender = tx.envelope.sender.text
    action, kind = _ACTIONS[one.disposition]
    gateway = shared["gateway"] | {
        "smtp": {
            "mail_from": sender,
            "rcpt_to": [{"address": one.address, "tier": one.tier.value, "code": code, "enhanced": one.status}],
        }
    }
    if one.exception:
        gateway["exception"] = one.exception
    if one.tags:
        gateway["tags"] = list(one.tags)
    if one.hits:
        gateway["hits"] = list(one.hits)
    watched = [trace.rule for trace in one.trace if trace.hit and trace.mode != "enforce"]
    if watched:
        gateway["monitored"] = watched
    if kept_by:
        gateway["kept_by"] = kept_by
    elif one.require_aes256:
        gateway["require_aes256"] = True  # what others send on is not ours to ask it for
    document: dict[str, Any] = {
        **shared,
        "event": {
            "id": tx.id, "kind": "event", "category": ["email"], "type": [kind], "action": action, "outcome": "success",
            "dataset": "gateway.decision", "code": one.rule, "reason": one.explain,
        },
        "rule": {"id": one.rule, "ruleset": "gateway", "version": verdict.rules_version, "reference": one.source},
        "email": shared["email"] | {"direction": one.direction.value},
        "gateway": gateway,
    }  # fmt: skip
    return AuditEvent(now, tx.reference, tx.department, sender, one.address, one.rule, one.disposition.text, document)


def _path(path: str, hide: bool, words_hash: WordsHash) -> str:
    """A leaf's path; where names may not be seen the part number stays and the names become a keyed hash."""
    number, colon, names = path.partition(":")
    return f"{number}:#{words_hash(names)[-12:]}" if hide and colon and number != "header" else path


def evidence_of(one: Finding, words_hash: WordsHash, path: str = "") -> dict[str, Any]:
    """A finding without its words."""
    return {
        "path": path or one.path, "zone": one.zone.value, "level": one.level.text, "confidence": one.confidence.value,
        "detector": one.detector, "language": one.language, "offset": one.offset, "length": one.length, "words": words_hash(one.text),
    }  # fmt: skip


def _evidence(one: Finding, hide: bool, words_hash: WordsHash) -> dict[str, Any]:
    return evidence_of(one, words_hash, _path(one.path, hide, words_hash))


def _file(leaf: Leaf, hide: bool) -> dict[str, Any]:
    extension = leaf.name.rpartition(".")[2].lower() if "." in leaf.name else ""
    file: dict[str, Any] = {"size": leaf.size, "mime_type": leaf.media_type}
    if extension.isascii() and extension.isalnum() and len(extension) <= 8:
        file["extension"] = extension
    if leaf.sha256:
        file["hash"] = {"sha256": leaf.sha256}
    if leaf.name and not hide:
        file["name"] = leaf.name
    return file


def _protection(leaf: Leaf, hide: bool, words_hash: WordsHash) -> dict[str, Any]:
    found = leaf.protection
    out: dict[str, Any] = {
        "path": _path(leaf.path, hide, words_hash), "state": leaf.state.value, "encrypted": found.state is not ProtectionState.NONE,
        "protection": found.state.value,
    }  # fmt: skip
    if leaf.reason and not hide:
        out["reason"] = leaf.reason
    if found.cipher:
        out |= {"algorithm": found.cipher, "bits": found.bits}
    if leaf.level is not None:
        out["level"] = leaf.level.text
    return out


def deferred(tx: Transaction, code: int, enhanced: str, cause: str, now: float, hostname: str) -> list[AuditEvent]:
    """One event a recipient of a message that was answered 4xx after DATA."""
    sender = tx.envelope.sender.text
    return [
        AuditEvent(now, tx.reference, tx.department, sender, one.path.text, "", Disposition.DEFER.text, {
            "event": {
                "id": tx.id, "kind": "event", "category": ["email"], "type": ["info"], "action": "message-deferred",
                "outcome": "failure", "dataset": "gateway.decision", "reason": cause,
            },
            "source": {"ip": tx.peer.ip, "port": tx.peer.port}, "host": {"hostname": hostname}, "email": {"local_id": tx.id},
            "gateway": {
                "door": tx.door.value, "sha256": tx.sha256, "size": tx.size, "helo": tx.peer.helo,
                "smtp": {"mail_from": sender, "rcpt_to": [{"address": one.path.text, "code": code, "enhanced": enhanced}]},
            },
        })
        for one in tx.envelope.recipients
    ]  # fmt: skip


def refused(request: Refused, now: float, hostname: str) -> AuditEvent:
    """A refusal before DATA."""
    reply = request.reply
    document: dict[str, Any] = {
        "event": {
            "kind": "event", "category": ["email"], "type": ["denied"], "action": "message-blocked", "outcome": "success",
            "dataset": "gateway.decision", "code": request.rule,
        },
        "rule": {"id": request.rule, "ruleset": "gateway"}, "source": {"ip": request.client_ip}, "host": {"hostname": hostname},
        "gateway": {
            "door": request.door, "helo": request.helo,
            "smtp": {
                "mail_from": request.sender, "text": reply.text,
                "rcpt_to": [{"address": request.recipient, "code": reply.code, "enhanced": reply.enhanced}],
            },
        },
    }  # fmt: skip
    if request.user:
        document["user"] = {"name": request.user}
    return AuditEvent(now, request.reference, "", request.sender, request.recipient, request.rule, Disposition.REFUSE.text, document)


def act(
    action: str, now: float, user: str, reason: str, *, reference: str = "", department: str = "", sender: str = "", recipient: str = "",
    rule: str = "", kind: str = "change", **more: Any,
) -> AuditEvent:  # fmt: skip
    """Something that a person (or the clock) did: ``held-released``, ``exception-added`` …; *more* goes under ``gateway.act``."""
    gateway: dict[str, Any] = {"act": more} if more else {}
    if sender or recipient:
        gateway["smtp"] = {"mail_from": sender, "rcpt_to": [{"address": recipient}] if recipient else []}
    document: dict[str, Any] = {
        "event": {
            "kind": "event", "category": ["email"], "type": [kind], "action": action, "outcome": "success",
            "dataset": "gateway.act", "reason": reason,
        },
        "gateway": gateway,
    }  # fmt: skip
    if user:
        document["user"] = {"name": user}
    if rule:
        document["rule"] = {"id": rule}
    return AuditEvent(now, reference, department, sender, recipient, rule, action, document)


def sign_in(
    action: str, now: float, name: str, ip: str, door: str, cause: str, department: str, hostname: str, *, count: int = 1, since: float = 0,
    **more: Any,
) -> AuditEvent:  # fmt: skip
    """A sign-in on a submission door, the IMAP door or the review page: ``login-accepted``, ``login-refused``, ``login-deferred``.

    *name* is the canonical login, empty where it is none of ours (a password may have been typed in its place; ``name_hash`` in *more*
    then); *count* sums up the same since *since*.
    """
    accepted = action == "login-accepted"
    event: dict[str, Any] = {
        "kind": "event", "category": ["authentication"], "type": ["start" if accepted else "denied"], "action": action,
        "outcome": "success" if accepted else "failure", "dataset": "gateway.login", "reason": cause,
    }  # fmt: skip
    login: dict[str, Any] = {"count": count, **more}
    if since:
        event["start"] = timestamp(since)
    document: dict[str, Any] = {
        "event": event, "source": {"ip": ip}, "host": {"hostname": hostname}, "gateway": {"door": door, "login": login},
    }  # fmt: skip
    if name:
        document["user"] = {"name": name}
    rule = {"web": "web-login", "imap": "imap-login"}.get(door, "submission-login")
    return AuditEvent(now, "", department, "", "", rule, action, document)
