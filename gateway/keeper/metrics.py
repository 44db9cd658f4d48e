"""The numbers of this node: what the keeper counts, what doors and web report, and their Prometheus exposition.

What it is: ``Metrics``: the sums of counters over all processes since the keeper's start, the state of the parts at the moment of a
question, and the text of both.
Who calls it: ``service`` (counts decisions, hands on reports, answers GetMetrics and Health).
Must never: hold up a commit; let a process count what is not its own; show an address, a domain of mail or a word of a message.

Counters are sums in memory: a process that dies leaves what it had reported, and all of them begin at 0 when the keeper starts, which
Prometheus knows as a reset. Processes report what is new since their last report was taken, so what they counted while the keeper
was away is not lost, and what an earlier keeper had added is not added again.

Sources: Prometheus, "Text-based format 0.0.4" and "Writing exporters"; docs/design.md section 2.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway import __version__, logs, requests
from gateway.audit.audit import AuditChain
from gateway.audit.ntp import Watch
from gateway.config import Config
from gateway.counting import Counts
from gateway.keeper import exposition, machine
from gateway.keeper.act import free_octets
from gateway.keeper.backup import Backups
from gateway.keeper.exceptions import Register
from gateway.keeper.housekeeping import Housekeeping
from gateway.keeper.readiness import Readiness, full_at
from gateway.keeper.rotation import Rotation
from gateway.levels import Level
from gateway.metrics import FAMILIES, OTHER, SHED_FOR
from gateway.policy import Policy
from gateway.relay.relay import Relay
from gateway.requests import Commit, Committed, Deferred, Refused
from gateway.signin.logins import SignIns
from gateway.stores.base import Store, StoreError
from gateway.stores.figures import Figures
from gateway.verdict import Disposition, Verdict

FRESH = 5.0
"""Seconds for which a text is used again, whoever asks: reading a long queue costs the store's reader a tenth of a second."""
SILENT = 30.0
"""Seconds after its last report at which a process is gone."""
_PROCESSES = 500  # that are remembered
_LEVELS: dict[Level | None, str] = {None: "none"} | {level: level.name.lower().replace("_", "-") for level in Level}
_DISPOSITIONS = {one: one.text for one in Disposition}
_OWN: dict[str, frozenset[str]] = {
    "doors": frozenset({
        "gateway_messages_total", "gateway_stage_seconds", "gateway_inspections_total", "gateway_leaves_total",
        "gateway_inspector_failures_total", "gateway_sessions_total", "gateway_sessions_ended_total", "gateway_connections_refused_total",
        "gateway_tls_failures_total", "gateway_memory_waits_total", "gateway_lost_records_total", "gateway_log_lines_dropped_total",
        "gateway_faults_total", "gateway_shed_total", "gateway_inspection_wait_seconds", "gateway_commit_age_seconds",
        "gateway_sessions", "gateway_sessions_limit", "gateway_memory_bytes", "gateway_memory_limit_bytes",
        "gateway_certificate_expiry_timestamp_seconds", "gateway_rules_info",
    }),
    "web": frozenset({"gateway_web_requests_total", "gateway_log_lines_dropped_total", "gateway_faults_total"}),
}  # fmt: skip
_WORST = frozenset({"gateway_inspection_wait_seconds", "gateway_commit_age_seconds"})
"""Gauges that say the longest of all processes, not the sum."""
_FROM_THE_START = (
    *(("gateway_inspector_failures_total", reason) for reason in ("died", "overtime", "deadline", "away", "poison")),
    *(("gateway_lost_records_total", kind) for kind in ("refusal", "sign-in")),
    *((name, process) for name in ("gateway_log_lines_dropped_total", "gateway_faults_total") for process in ("doors", "keeper", "web")),
    *(("gateway_messages_total", result) for result in ("accepted", "deferred", "refused")),
    *(("gateway_sign_ins_total", result) for result in ("accepted", "refused", "deferred")),
    *(("gateway_deliveries_total", result) for result in ("delivered", "deferred", "bounced", "expired", "on-hold")),
    *(("gateway_process_starts_total", process) for process in ("doors", "web")),
    *(("gateway_shed_total", reason) for reason in SHED_FOR),
    ("gateway_sessions_total",), ("gateway_tls_failures_total",), ("gateway_memory_waits_total",), ("gateway_committed_bytes_total",),
)  # fmt: skip
"""Counters that are shown as 0 until they grow: an alert on their growth would not see the first step of one that was absent."""
Samples = dict[tuple[str, ...], float]


@dataclass(slots=True)
class _Process:
    kind: str
    number: int = 0
    heard: float = 0.0
    gauges: tuple[requests.Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """What is asked at each exposition."""

    store: Store
    chain: AuditChain
    relay: Relay
    register: Register
    housekeeping: Housekeeping
    sign_ins: SignIns
    backups: Backups
    policy: Callable[[], Policy]
    readiness: Readiness
    rotation: Rotation


class Metrics:
    """The numbers of one node. *counts* are the keeper's own; *sink* is its ordinary log."""

    def __init__(self, config: Config, counts: Counts, parts: Parts, sink: logs.Sink | None = None) -> None:
        self._config = config
        self._counts = counts
        self._parts = parts
        self._sink = sink
        self._processes: dict[str, _Process] = {}
        self._started = time.time()
        self._reload: tuple[bool, float] | None = None
        self._mailboxes = tuple(one for one in config.archive if one.kind == "imap")
        self._certificates = machine.Certificates(config)
        self._clock = Watch()
        self._one = asyncio.Lock()
        self._text = ""
        self._made = float("-inf")

    # --- what the keeper counts ---------------------------------------------------------------------------------------

    def committed(self, request: Commit, answer: object) -> None:
        """A decision became durable, or was recorded as a refusal or a deferral of the whole message."""
        if not isinstance(answer, Committed):
            return
        tx, code = request.transaction, answer.reply.code
        whole = None if code < 300 else Disposition.DEFER if answer.reply.temporary else Disposition.REFUSE
        self._decided(request.verdict, tx.door, whole)
        self._counts.add("gateway_committed_bytes_total", by=tx.size)

    def _decided(self, verdict: Verdict, door: str, whole: Disposition | None) -> None:
        level, add = _LEVELS[verdict.classification.level], self._counts.add
        for one in verdict.recipients:
            disposition = _DISPOSITIONS[one.disposition if whole is None else whole]
            add("gateway_decisions_total", disposition, door, one.direction, level)
            add("gateway_rule_decisions_total", one.rule, disposition)

    def deferred(self, request: Deferred) -> None:
        """A message was answered 4xx after DATA."""
        self._counts.add("gateway_deferrals_total", request.cause[:80])

    def refused(self, request: Refused) -> None:
        """A refusal before DATA."""
        self._counts.add("gateway_refusals_total", request.door, request.rule[:80])

    def fault(self) -> None:
        """A request failed through a fault of ours."""
        self._counts.add("gateway_faults_total", "keeper")

    def reloaded(self, *, well: bool) -> None:
        """A reload was taken, or refused."""
        before = self._reload[1] if self._reload is not None else 0.0
        self._reload = (well, time.time() if well else before)

    # --- what others report -------------------------------------------------------------------------------------------

    def take(self, report: requests.Counters, kind: str) -> None:
        """Adds a report of a process of *kind*; one that was taken before is only looked at for what is now."""
        own = _OWN.get(kind, frozenset())
        process = self._processes.pop(report.process, None)
        if process is None:
            process = _Process(kind)
            self._counts.add("gateway_process_starts_total", kind)
            if len(self._processes) >= _PROCESSES:
                self._processes.pop(next(iter(self._processes)))
        self._processes[report.process] = process  # the one that was heard last stands last
        process.heard = time.monotonic()
        process.gauges = tuple(sample for sample in report.gauges[:200] if sample.name in own)
        self._parts.readiness.sessions(report.process, process.gauges)
        if report.number > process.number:
            process.number = report.number
            self._counts.take(
                [sample for sample in report.counters if sample.name in own], [timing for timing in report.timings if timing.name in own]
            )

    # --- the exposition -----------------------------------------------------------------------------------------------

    async def text(self) -> str:
        """All metrics, at most 5 s old; those of a store that cannot be read are absent."""
        async with self._one:
            if time.monotonic() - self._made >= FRESH:
                samples = self._counted() | self._reported() | self._state()
                with contextlib.suppress(StoreError):
                    samples |= self._unfiled() | _stored(await self._parts.store.figures())
                timings = self._counts.timings()
                # In a thread: the library is loaded there at the first time, and formatting takes some milliseconds.
                self._text = await asyncio.to_thread(exposition.write, samples, timings)
                self._made = time.monotonic()
            return self._text

    def _counted(self) -> Samples:
        """The sums, with those that are counted elsewhere in the keeper."""
        parts = self._parts
        samples: Samples = dict.fromkeys(_FROM_THE_START, 0.0)
        samples |= {("gateway_next_hop_failures_total", hop.name): 0.0 for hop in parts.relay.routes.hops}
        samples |= {("gateway_archive_copies_total", one.name, result): 0.0 for one in self._mailboxes for result in ("filed", "failed")}
        samples |= self._counts.counters()
        for result, count in parts.sign_ins.counters.items():
            samples["gateway_sign_ins_total", result.removeprefix("login-")] = count
        samples["gateway_lost_records_total", "sign-in"] = parts.sign_ins.lost_records
        if self._sink is not None:
            samples["gateway_log_lines_dropped_total", "keeper"] = self._sink.dropped
        return samples

    def _reported(self) -> Samples:
        """The state of the other processes: summed, but for what is the same in all of them."""
        samples: Samples = {}
        now = time.monotonic()
        living: dict[str, int] = {"doors": 0, "web": 0}
        for name in [name for name, process in self._processes.items() if now - process.heard > SILENT]:
            # Its number is forgotten too. It comes with a later one if it was only slow, and counts as a new process.
            del self._processes[name]
            self._parts.readiness.gone(name)
        for process in self._processes.values():
            living[process.kind] = living.get(process.kind, 0) + 1
            for name, labels, value in ((s.name, s.labels, s.value) for s in process.gauges):
                family = FAMILIES.get(name)
                if family is None or family.kind not in ("gauge", "info") or len(labels) != len(family.labels):
                    continue
                key = (name, *(label[:80] for label in labels))
                if family.kind == "info":
                    samples[key] = 1.0
                elif name in _WORST:
                    samples[key] = max(value, samples.get(key, value))
                elif name.endswith("_timestamp_seconds"):
                    samples[key] = min(value, samples.get(key, value))
                else:
                    samples[key] = samples.get(key, 0.0) + value
        return samples | {("gateway_processes", kind): float(count) for kind, count in living.items()}

    def _unfiled(self) -> Samples:
        """Zeros for the archives for which nothing waits."""
        names = ("gateway_archive_waiting_copies", "gateway_archive_oldest_age_seconds")
        return {(name, one.name): 0.0 for one in self._mailboxes for name in names}

    def _state(self) -> Samples:
        parts, limits = self._parts, self._config.limits
        samples: Samples = {
            ("gateway_build_info", __version__, platform.python_version()): 1.0,
            ("gateway_rules_info", "keeper", parts.policy().version): 1.0,
            ("gateway_start_timestamp_seconds",): self._started,
            ("gateway_ready",): 0.0 if parts.readiness.lacks() else 1.0,
            ("gateway_memory_bytes", "relay"): parts.relay.memory,
            ("gateway_memory_limit_bytes", "relay"): limits.max_inflight,
            ("gateway_queue_limit_deliveries",): limits.queue_messages,
            ("gateway_store_degraded",): 1.0 if parts.readiness.degraded else 0.0,
            ("gateway_disk_free_bytes",): free_octets(self._config),
            ("gateway_disk_reserve_bytes",): full_at(self._config),
            ("gateway_audit_sequence",): parts.chain.head[0],
            ("gateway_audit_signed_sequence",): parts.housekeeping.signed[0],
            ("gateway_audit_export_lag_rows",): parts.housekeeping.lag,
            ("gateway_vault_keys_missing",): len(parts.rotation.lacking),
            ("gateway_exceptions_active",): len(parts.register.current.rows),
        }
        for profile in parts.register.current.profiles:
            key = ("gateway_profiles_active", profile.name)
            samples[key] = samples.get(key, 0.0) + 1.0
        synced = self._clock.synced
        optional: Mapping[tuple[str, ...], float | None] = {
            ("gateway_audit_signed_timestamp_seconds",): parts.housekeeping.signed[1] or None,
            ("gateway_clock_synced",): None if synced is None else float(synced),
            ("gateway_backup_last_success_timestamp_seconds",): parts.backups.last_success or None,
            ("gateway_reload_successful",): None if self._reload is None else float(self._reload[0]),
            ("gateway_reload_timestamp_seconds",): (self._reload[1] or None) if self._reload is not None else None,
        }
        samples |= {key: value for key, value in optional.items() if value is not None}
        return samples | machine.next_hops(parts.relay) | self._certificates.samples()


def _stored(figures: Figures) -> Samples:
    """What lies in the store."""
    now = time.time()
    samples: Samples = {
        ("gateway_store_bytes",): figures.octets,
        ("gateway_queue_oldest_age_seconds",): max(0.0, now - figures.oldest_due) if figures.oldest_due else 0.0,
        ("gateway_queue_unprotected_deliveries",): figures.unprotected,
        ("gateway_held_oldest_age_seconds",): max(0.0, now - figures.oldest_held) if figures.oldest_held else 0.0,
    }
    samples |= {("gateway_queue_deliveries", state): 0.0 for state in ("scheduled", "leased", "deferred", "on-hold")}
    samples |= {("gateway_queue_deliveries", state): float(count) for state, count in figures.queue.items()}
    for held in figures.held:
        level = next((word for known, word in _LEVELS.items() if known == held.level), OTHER)
        samples["gateway_held_messages", held.state, level] = held.count
    for copies in figures.unfiled:
        samples["gateway_archive_waiting_copies", copies.name] = float(copies.count)
        samples["gateway_archive_oldest_age_seconds", copies.name] = max(0.0, now - copies.oldest)
    if figures.next_deadline:
        samples[("gateway_held_next_deadline_timestamp_seconds",)] = figures.next_deadline
    return samples
