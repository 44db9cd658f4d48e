"""Every metric of the gateway once: its name, type, labels and the sentence that explains it.

What it is: ``FAMILIES``, the table that counters are held to, and the bounds of the histograms.
Who calls it: ``counting``, ``keeper.metrics`` (the exposition), and the tests that hold dashboard and alert rules to these names.
Must never: name a metric after something that has no bound (an address, a domain of mail, a reference); change a name without a
line in the changelog: dashboards and alerts of others depend on it.
Source: Prometheus, "Metric and label naming", "Text-based format 0.0.4".
"""

from __future__ import annotations

from typing import Literal, NamedTuple

OTHER = "other"
"""The label of whatever comes beyond the bound of different labels."""


class Family(NamedTuple):
    """One metric. Names of counters end in ``_total``; units are base units (seconds, bytes)."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    labels: tuple[str, ...]
    help: str


_STAGE = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ATTEMPT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_DELIVERED = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0, 432000.0)
_COMMIT = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_GROUP = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)

_TABLE: tuple[Family, ...] = (
    # --- decisions (counted by the keeper when they are durable)
    Family(
        "gateway_decisions_total", "counter", ("disposition", "door", "direction", "level"),
        "Decisions, one a recipient: deliver, hold, refuse or defer; level none is mail without a marking.",
    ),
    Family("gateway_rule_decisions_total", "counter", ("rule", "disposition"), "Decisions, one a recipient, by the rule that decided."),
    Family("gateway_refusals_total", "counter", ("door", "rule"), "Refusals before the text of a message, by what refused."),
    Family("gateway_deferrals_total", "counter", ("cause",), "Messages answered 4xx after DATA through a fault of the gateway, by cause."),
    Family("gateway_committed_bytes_total", "counter", (), "Octets of the messages that were decided about and answered."),
    # --- doors
    Family("gateway_messages_total", "counter", ("result",), "Answers after the text of a message: accepted (2xx), deferred or refused."),
    Family("gateway_stage_seconds", "histogram", ("stage",), "Time of each stage of a message's path, in seconds."),
    Family("gateway_inspections_total", "counter", ("by",), "Messages read: by the door itself (plain text), or by the inspector."),
    Family("gateway_leaves_total", "counter", ("kind", "state"), "Parts of messages by kind of content and by whether they could be read."),
    Family(
        "gateway_inspector_failures_total", "counter", ("reason",),
        "Inspections that gave no answer: died (the worker ended), overtime (it was ended for its processor time), deadline (it "
        "took longer than limits.pipeline), away (nobody listens), poison (the message was given up as suspect).",
    ),
    Family("gateway_sessions", "gauge", (), "SMTP sessions that are open."),
    Family("gateway_sessions_limit", "gauge", (), "SMTP sessions that all door processes may have (limits.connections times workers)."),
    Family("gateway_sessions_total", "counter", (), "SMTP sessions that were let in."),
    Family("gateway_sessions_ended_total", "counter", ("reason",), "SMTP sessions that the gateway ended, by reason."),
    Family("gateway_connections_refused_total", "counter", ("reason",), "Connections that were turned away before a session, by reason."),
    Family("gateway_tls_failures_total", "counter", (), "TLS handshakes of clients that failed."),
    Family(
        "gateway_shed_total", "counter", ("reason",),
        "Messages that were answered 4xx before their text since it would have come in vain: keeper away, store slow, queue full, disk "
        "full, inspection behind, share of memory.",
    ),
    Family("gateway_inspection_wait_seconds", "gauge", (), "Seconds that a newcomer's message would wait for the inspector; the longest."),
    Family("gateway_commit_age_seconds", "gauge", (), "Seconds that the oldest commit under way has taken so far; the longest."),
    Family("gateway_memory_bytes", "gauge", ("process",), "Octets of message bodies in memory: of the doors, and of the relay."),
    Family("gateway_memory_limit_bytes", "gauge", ("process",), "Octets of message bodies that may be in memory (limits.max_inflight)."),
    Family("gateway_memory_waits_total", "counter", (), "Messages answered 452 since no memory was free for their body in time."),
    Family("gateway_sign_ins_total", "counter", ("result",), "Sign-ins (AUTH) by result: accepted, refused or deferred (4xx)."),
    # --- relay
    Family("gateway_deliveries_total", "counter", ("result",), "What became of attempts, one a recipient: delivered, deferred, bounced …"),
    Family("gateway_delivery_attempt_seconds", "histogram", (), "Time of one attempt at the next hop, in seconds."),
    Family("gateway_delivery_seconds", "histogram", (), "Time from the acceptance of a message to its delivery, in seconds."),
    Family("gateway_next_hop_up", "gauge", ("next_hop",), "1 while the next hop takes mail, 0 while it is away."),
    Family("gateway_next_hop_last_success_timestamp_seconds", "gauge", ("next_hop",), "When the next hop last took a message (Unix time)."),
    Family("gateway_next_hop_failures_total", "counter", ("next_hop",), "Attempts that found no connection, or lost it."),
    Family("gateway_next_hop_tls_strength", "gauge", ("next_hop",), "Key bits of the cipher of the last delivery; 0 without TLS."),
    Family("gateway_next_hop_waiting", "gauge", ("next_hop",), "Deliveries in memory that wait for the next hop."),
    Family("gateway_queue_deliveries", "gauge", ("state",), "Open deliveries by state: scheduled, leased, deferred, on-hold."),
    Family("gateway_queue_limit_deliveries", "gauge", (), "Open deliveries at which new mail gets 452 (limits.queue_messages)."),
    Family("gateway_queue_oldest_age_seconds", "gauge", (), "Age of the oldest delivery that is scheduled or deferred; 0 with none."),
    Family("gateway_queue_unprotected_deliveries", "gauge", (), "Deferred deliveries that may leave through an AES-256 hop only."),
    # --- held mail
    Family("gateway_held_messages", "gauge", ("state", "level"), "Held messages that wait for a person, by state and level."),
    Family("gateway_held_oldest_age_seconds", "gauge", (), "Age of the oldest held message; 0 with none."),
    Family("gateway_held_next_deadline_timestamp_seconds", "gauge", (), "When the next held message expires (Unix time)."),
    # --- journal copies
    Family("gateway_archive_copies_total", "counter", ("archive", "result"), "Attempts to file a journal copy: filed or failed."),
    Family("gateway_archive_waiting_copies", "gauge", ("archive",), "Journal copies that are not filed yet."),
    Family("gateway_archive_oldest_age_seconds", "gauge", ("archive",), "Age of the oldest journal copy that is not filed; 0 with none."),
    # --- store and decision log
    Family("gateway_store_commit_seconds", "histogram", (), "Time of COMMIT with its fsync, in seconds."),
    Family("gateway_store_group_batches", "histogram", (), "Batches that shared one transaction."),
    Family("gateway_store_bytes", "gauge", (), "Size of the store with its write-ahead log, in octets."),
    Family("gateway_store_degraded", "gauge", (), "1 while the store cannot be written and all mail is deferred."),
    Family("gateway_disk_free_bytes", "gauge", (), "Free octets on the disk of state_dir."),
    Family("gateway_disk_reserve_bytes", "gauge", (), "Free octets at which new mail gets 452 (limits.free_disk and three messages)."),
    Family("gateway_audit_sequence", "gauge", (), "Number of the last row of the decision log's chain."),
    Family("gateway_audit_signed_sequence", "gauge", (), "Number of the last row under a signed head since this keeper's start."),
    Family("gateway_audit_signed_timestamp_seconds", "gauge", (), "When the head was last signed (Unix time); absent before the first."),
    Family("gateway_audit_export_lag_rows", "gauge", (), "Rows of the decision log that are not yet in decisions.jsonl."),
    Family("gateway_lost_records_total", "counter", ("kind",), "Records of refusals and sign-ins that could not be written to the log."),
    Family("gateway_log_lines_dropped_total", "counter", ("process",), "Lines of the ordinary log that nobody read in time."),
    # --- machine and configuration
    Family("gateway_build_info", "info", ("version", "python"), "The version of the gateway and of its interpreter; always 1."),
    Family("gateway_rules_info", "info", ("process", "version"), "The version of the rules in force in each kind of process; always 1."),
    Family("gateway_start_timestamp_seconds", "gauge", (), "When the keeper started (Unix time); all counters begin then."),
    Family("gateway_process_starts_total", "counter", ("process",), "Processes that gave their first report to this keeper."),
    Family("gateway_processes", "gauge", ("process",), "Processes that have reported in the last 30 seconds."),
    Family("gateway_faults_total", "counter", ("process",), "Faults of the gateway's own code that were caught; the log has each."),
    Family("gateway_reload_successful", "gauge", (), "1 when the keeper's last reload was taken, 0 when it was refused; absent before."),
    Family("gateway_reload_timestamp_seconds", "gauge", (), "When the keeper last took a reload (Unix time); absent before."),
    Family("gateway_certificate_expiry_timestamp_seconds", "gauge", ("certificate",), "Not-after time of a certificate (Unix time)."),
    Family("gateway_clock_synced", "gauge", (), "1 while the kernel says that NTP keeps the clock; absent where it says nothing."),
    Family("gateway_exceptions_active", "gauge", (), "Active entries of the exception register."),
    Family("gateway_profiles_active", "gauge", ("profile",), "Profiles that are on."),
    Family("gateway_vault_keys_missing", "gauge", (), "Vault keys that mail has needed of late and that are not on this node."),
    Family("gateway_backup_last_success_timestamp_seconds", "gauge", (), "When the store was last copied for a backup; absent before."),
    Family("gateway_ready", "gauge", (), "1 while /readyz says yes, 0 while new mail should go to another node."),
    Family("gateway_web_requests_total", "counter", ("status",), "Requests to the web page by class of status: 2xx, 3xx, 4xx, 5xx."),
)  # fmt: skip

FAMILIES: dict[str, Family] = {family.name: family for family in _TABLE}
"""By name."""
BOUNDS: dict[str, tuple[float, ...]] = {
    "gateway_stage_seconds": _STAGE,
    "gateway_delivery_attempt_seconds": _ATTEMPT,
    "gateway_delivery_seconds": _DELIVERED,
    "gateway_store_commit_seconds": _COMMIT,
    "gateway_store_group_batches": _GROUP,
}
"""Upper bounds of the buckets of each histogram, in its unit."""
STAGES = ("receive", "prescan", "inspect", "decide", "commit")
"""Of ``gateway_stage_seconds``: octets arriving; our own reading; the inspector's, with waiting for it; rules; until it is durable."""

SHED_FOR = ("keeper away", "store slow", "queue full", "disk full", "inspection behind", "share of memory")
"""Reasons of ``gateway_shed_total``."""

_KINDS = {
    "application/pdf": "pdf", "application/zip": "archive", "application/x-7z-compressed": "archive", "application/x-rar": "archive",
    "application/vnd.rar": "archive", "application/gzip": "archive", "application/x-tar": "archive", "application/pkcs7-mime": "encrypted",
    "application/x-pkcs7-mime": "encrypted", "application/pgp-encrypted": "encrypted", "application/msword": "office",
    "application/rtf": "office", "application/vnd.ms-excel": "office", "application/vnd.ms-powerpoint": "office",
    "application/octet-stream": "unknown",
}  # fmt: skip
_MAJOR = {"text", "image", "audio", "video", "message", "multipart"}


def kind_of(media_type: str) -> str:
    """The kind of content of *media_type* as ``gateway_leaves_total`` has it: one of about a dozen words."""
    known = _KINDS.get(media_type)
    if known is not None:
        return known
    major, _, minor = media_type.partition("/")
    if major in _MAJOR:
        return major
    return "office" if minor.startswith(("vnd.openxmlformats", "vnd.oasis.opendocument", "vnd.ms-")) else OTHER
