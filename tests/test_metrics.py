"""What is counted, how reports add up, what is exposed and to whom, and when a node is ready."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import metrics, requests
from gateway.audit.audit import AuditChain
from gateway.config import Config, Limits, Tls, Web
from gateway.counting import SERIES, Counts, Report
from gateway.doors import reporting, tls
from gateway.keeper import exposition, machine
from gateway.keeper.metrics import SILENT, Metrics, Parts
from gateway.keeper.readiness import Readiness
from gateway.levels import Level
from gateway.policy import Policy
from gateway.reply import Reply
from gateway.requests import Commit, Committed, Counters, Deferred, Refused, Sample, Stale, Timing
from gateway.stores.base import Batch, DeliveryState, DeliveryUpdate, HoldState
from gateway.verdict import Disposition
from gateway.web.application import application
from tests import smtp_door
from tests.faces import FakeKeeper
from tests.keeper_kit import body, delivery, hold, message, recipient, transaction, verdict
from tests.memory_store import MemoryStore

Values = dict[tuple[str, ...], float]


def parsed(text: str) -> Values:
    """Sample name and label values, in the order of the table, to value."""
    found: Values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            base = sample.name if sample.name in metrics.FAMILIES else re.sub("_(bucket|sum|count)$", "", sample.name)
            order = (*metrics.FAMILIES[base].labels, "le")
            found[(sample.name, *(sample.labels[name] for name in order if name in sample.labels))] = sample.value
    return found


class World:
    """Metrics around a store in memory; everything else stands still."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        self.config = Config(state_dir=folder, max_message_size=1000, limits=Limits(**({"free_disk": 0} | limits)))
        self.counts = Counts()
        self.store = MemoryStore()
        self.degraded = ""
        self.open_deliveries = 0
        self.stopping = False
        writable = cast(Any, self)
        self.readiness = Readiness(self.config, writable, lambda: self.stopping)
        relay = SimpleNamespace(routes=SimpleNamespace(hops=[]), lanes={}, memory=7)
        current = SimpleNamespace(rows=(1, 2), profiles=(SimpleNamespace(name="disaster"),))
        self.sign_ins = SimpleNamespace(counters={"login-accepted": 3, "login-refused": 1}, lost_records=2)
        parts: Any = (
            self.store, AuditChain("c1"), relay, SimpleNamespace(current=current), SimpleNamespace(signed=(5, 1000.0), lag=4),
            self.sign_ins, SimpleNamespace(last_success=0.0), lambda: cast(Policy, SimpleNamespace(version="sha256:r")), self.readiness,
            SimpleNamespace(lacking=frozenset()),
        )  # fmt: skip
        self.metrics = Metrics(self.config, self.counts, Parts(*parts))

    @property
    def counters(self) -> dict[str, int]:
        return {"open_deliveries": self.open_deliveries}

    async def values(self) -> Values:
        self.metrics._made = float("-inf")
        return parsed(await self.metrics.text())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- counting and reports -----------------------------------------------------------------------------------------------


def test_a_histogram_puts_each_value_into_its_bucket() -> None:
    counts = Counts()
    timing = counts.timing("gateway_stage_seconds", "decide")
    for seconds in (0.0001, 0.0002, 70.0):
        timing.observe(seconds)
    assert counts.timing("gateway_stage_seconds", "decide") is timing
    ((key, (buckets, total)),) = counts.timings().items()
    assert key == ("gateway_stage_seconds", "decide")
    assert (buckets[0], buckets[1], buckets[-1], sum(buckets)) == (1, 1, 1, 3), "a bound belongs to its own bucket"
    assert total == pytest.approx(70.0003)


def test_labels_without_a_bound_end_in_one_series() -> None:
    counts = Counts()
    for number in range(SERIES + 50):
        counts.add("gateway_deferrals_total", f"cause {number}")
    counts.add("gateway_deferrals_total", "cause 3")
    assert len(counts.counters()) == SERIES + 1
    assert counts.value("gateway_deferrals_total", metrics.OTHER) == 50
    assert counts.value("gateway_deferrals_total", "cause 3") == 2


def test_a_report_holds_what_is_new_since_the_last_one_that_was_taken() -> None:
    counts = Counts()
    report = Report("doors", 1, counts)
    counts.add("gateway_sessions_total", by=2)
    counts.timing("gateway_stage_seconds", "decide").observe(0.5)
    first = report.make({("gateway_sessions",): 1.0})
    counts.add("gateway_sessions_total")
    again = report.make({("gateway_sessions",): 9.0})
    assert (again.number, again.counters, again.timings) == (first.number, first.counters, first.timings), "it was not taken"
    assert again.gauges[0].value == 9.0, "but what is now, is now"
    assert first.counters == (Sample("gateway_sessions_total", (), 2.0),)
    assert sum(first.timings[0].counts) == 1
    report.taken()
    second = report.make({})
    assert second.number == first.number + 1
    assert second.counters == (Sample("gateway_sessions_total", (), 1.0),)
    assert second.timings == ()
    assert second.process == first.process


async def test_counts_survive_the_process_that_made_them_and_a_report_that_came_twice(world: World) -> None:
    workers = [(Counts(), Report("doors", number, Counts())) for number in range(2)]
    reports = []
    for counts, _ in workers:
        counts.add("gateway_sessions_total", by=10)
        reports.append(Report("doors", 0, counts))
    for report in reports:
        first = report.make({("gateway_sessions",): 4.0})
        world.metrics.take(first, "doors")
        world.metrics.take(first, "doors")  # only the answer was lost
        report.taken()
    values = await world.values()
    assert values["gateway_sessions_total",] == 20
    assert values["gateway_sessions",] == 8
    assert values["gateway_processes", "doors"] == 2
    # One dies, another takes its place under the same number.
    for process in world.metrics._processes.values():
        process.heard -= SILENT + 1
    fresh = Counts()
    fresh.add("gateway_sessions_total", by=1)
    world.metrics.take(Report("doors", 0, fresh).make({("gateway_sessions",): 1.0}), "doors")
    values = await world.values()
    assert values["gateway_sessions_total",] == 21, "totals only grow"
    assert values["gateway_sessions",] == 1, "and what is now is of the living alone"
    assert values["gateway_process_starts_total", "doors"] == 3


async def test_a_new_keeper_begins_at_nothing_and_gets_only_what_is_new(tmp_path: Path) -> None:
    counts = Counts()
    report = Report("doors", 0, counts)
    counts.add("gateway_sessions_total", by=900)
    World(tmp_path).metrics.take(report.make({}), "doors")
    report.taken()
    counts.add("gateway_sessions_total", by=7)  # while no keeper was there
    after = World(tmp_path)
    after.metrics.take(report.make({}), "doors")
    # 907 here would look like 907 new sessions: Prometheus takes a smaller value for a counter that began at 0.
    assert (await after.values())["gateway_sessions_total",] == 7


@pytest.mark.parametrize(
    "sample",
    [
        Sample("gateway_decisions_total", ("deliver", "smtp", "internal", "none"), 5.0),
        Sample("gateway_committed_bytes_total", (), 5.0),
        Sample("gateway_web_requests_total", ("2xx",), 5.0),
        Sample('evil{x="y"} 1\n', (), 5.0),
        Sample("gateway_sessions_total", ("too", "many"), 5.0),
        Sample("gateway_sessions_total", (), -5.0),
        Sample("gateway_sessions_total", (), float("nan")),
        Sample("gateway_sessions_total", (), float("inf")),
    ],
)
async def test_a_door_can_count_only_what_is_a_doors_own(world: World, sample: Sample) -> None:
    before = await world.values()
    timing = Timing("gateway_stage_seconds", ("decide",), (1, 2), 3.0)
    report = Counters("doors", 0, "p", 1, (sample,), (sample,), (timing, Timing("gateway_store_commit_seconds", (), (1,) * 15, 1.0)))
    world.metrics.take(report, "doors")
    after = await world.values()
    changed = {key[0] for key in after if after[key] != before.get(key) and "timestamp" not in key[0] and "free" not in key[0]}
    assert changed <= {"gateway_process_starts_total", "gateway_processes"}
    if sample.name == "gateway_sessions_total":
        assert after["gateway_sessions_total",] == 0


def test_what_a_door_counts_has_its_name() -> None:
    counted = {
        "accepted": 3, "deferred": 1, "closed: idle": 2, "closed: address not listed": 4, "over the session cap": 5, "refusals": 9,
        "proxy: no header": 6, "no_memory": 7, "logins": 8, "faults": 1,
    }  # fmt: skip
    assert reporting.named(counted) == {
        ("gateway_messages_total", "accepted"): 3, ("gateway_messages_total", "deferred"): 1, ("gateway_sessions_ended_total", "idle"): 2,
        ("gateway_connections_refused_total", "address not listed"): 4, ("gateway_connections_refused_total", "over the session cap"): 5,
        ("gateway_connections_refused_total", "proxy: no header"): 6, ("gateway_memory_waits_total",): 7,
        ("gateway_faults_total", "doors"): 1,
    }  # fmt: skip


async def test_a_door_process_reports_again_what_the_keeper_did_not_take(tmp_path: Path) -> None:
    asked: list[Counters] = []
    takes = [False, True, True]

    async def report(counters: Counters) -> bool:
        asked.append(counters)
        return takes[len(asked) - 1]

    counts = Counts()
    async with smtp_door.running(smtp_door.make_config()) as door:
        keeper: Any = SimpleNamespace(report=report, lost_records=1)
        sink: Any = SimpleNamespace(dropped=2)
        sends = reporting.Reporting(door.door, keeper, counts, 0, sink, lambda: "sha256:r", lambda: 5.0)
        for _ in range(3):
            await sends.send()
    assert asked[0].counters == asked[1].counters
    assert {(s.name, *s.labels): s.value for s in asked[0].counters} == {
        ("gateway_lost_records_total", "refusal"): 1.0, ("gateway_log_lines_dropped_total", "doors"): 2.0,
    }  # fmt: skip
    assert asked[2].counters == ()
    gauges = {(s.name, *s.labels): s.value for s in asked[2].gauges}
    assert gauges["gateway_certificate_expiry_timestamp_seconds", "tls"] == 5.0
    assert gauges["gateway_sessions_limit",] == 500.0
    unknown = {s.name for one in asked for s in (*one.counters, *one.gauges)} - set(metrics.FAMILIES)
    assert not unknown


# --- decisions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(250, "2.0.0", "accepted"), {"deliver": 1, "hold": 1}),
        (Reply(550, "5.7.1", "no"), {"refuse": 2}),
        (Reply(451, "4.3.0", "later"), {"defer": 2}),
    ],
)
async def test_a_decision_counts_as_what_became_of_it(world: World, reply: Reply, expected: dict[str, int]) -> None:
    decided = verdict(
        "v", recipient("a@finance.nic.in"), recipient("b@finance.nic.in", Disposition.HOLD, rule="rule-y"), level=Level.TOP_SECRET
    )
    request = Commit(transaction("a@finance.nic.in", "b@finance.nic.in"), decided)
    world.metrics.committed(request, Stale("v2"))
    world.metrics.committed(request, Committed(reply, "R"))
    values = await world.values()
    found = {key[1]: value for key, value in values.items() if key[0] == "gateway_decisions_total"}
    assert found == expected
    assert {key[2:] for key in values if key[0] == "gateway_decisions_total"} == {("smtp", "internal", "top-secret")}
    rules = {key[1:]: value for key, value in values.items() if key[0] == "gateway_rule_decisions_total"}
    assert {key[0] for key in rules} == {"rule-x", "rule-y"}
    assert values["gateway_committed_bytes_total",] == request.transaction.size


async def test_refusals_deferrals_sign_ins_faults_and_reloads_are_counted(world: World) -> None:
    refused = Refused("smtp", "192.0.2.1", "h", "", "a@b.in", "c@d.in", Reply(550, "5.7.1", "no"), "relay-denied", "")
    world.metrics.refused(refused)
    world.metrics.deferred(Deferred(transaction(), Reply(451, "4.3.0", "later"), "the inspector is away"))
    world.metrics.fault()
    values = await world.values()
    assert values["gateway_refusals_total", "smtp", "relay-denied"] == 1
    assert values["gateway_deferrals_total", "the inspector is away"] == 1
    assert values["gateway_faults_total", "keeper"] == 1
    assert [values["gateway_sign_ins_total", result] for result in ("accepted", "refused", "deferred")] == [3, 1, 0]
    assert values["gateway_lost_records_total", "sign-in"] == 2
    assert ("gateway_reload_successful",) not in values
    world.metrics.reloaded(well=True)
    taken = await world.values()
    world.metrics.reloaded(well=False)
    failed = await world.values()
    assert (taken["gateway_reload_successful",], failed["gateway_reload_successful",]) == (1, 0)
    assert taken["gateway_reload_timestamp_seconds",] == failed["gateway_reload_timestamp_seconds",], "the last that was taken"


# --- the exposition -----------------------------------------------------------------------------------------------------


def test_every_metric_has_help_and_follows_the_convention() -> None:
    text = exposition.write({}, {})
    documented = {match[1]: match[2] for match in re.finditer(r"^# HELP (\S+) (.+)$", text, re.M)}
    assert set(documented) == set(metrics.FAMILIES)
    for family in metrics.FAMILIES.values():
        assert re.fullmatch("gateway_[a-z0-9_]+", family.name)
        assert family.help.endswith((".", "…")) and len(family.help) > 15
        assert (family.kind == "counter") == family.name.endswith("_total")
        assert (family.kind == "info") == family.name.endswith("_info")
        assert (family.kind == "histogram") == (family.name in metrics.BOUNDS)
        assert not re.search("_(ms|milliseconds|minutes|hours|days|kb|mb|octets)(_|$)", family.name), "base units"
        assert not {"address", "domain", "sender", "recipient", "reference", "login", "user"} & set(family.labels)
    for bounds in metrics.BOUNDS.values():
        assert list(bounds) == sorted(set(bounds))


async def test_the_state_of_the_store_is_shown(tmp_path: Path, world: World) -> None:
    now = time.time()
    row = message()
    one, two = delivery(row, created=now - 50), delivery(row, created=now - 20, require_aes256=True)
    held = hold(row, level=Level.CONFIDENTIAL, created=now - 500, deadline=now + 1000)
    done = hold(row, state=HoldState.RELEASED, created=now - 9000)
    await world.store.write(Batch(bodies=[body(row.body_id)], messages=[row], deliveries=[one, two], holds=[held, done]))
    update = DeliveryUpdate(two.id, (DeliveryState.SCHEDULED,), DeliveryState.DEFERRED)
    await world.store.write(Batch(delivery_updates=[update]))
    values = await world.values()
    assert values["gateway_queue_deliveries", "scheduled"] == 1
    assert values["gateway_queue_deliveries", "deferred"] == 1
    assert values["gateway_queue_deliveries", "leased"] == 0
    assert 50 <= values["gateway_queue_oldest_age_seconds",] < 60
    assert values["gateway_queue_unprotected_deliveries",] == 1
    assert {key[1:]: value for key, value in values.items() if key[0] == "gateway_held_messages"} == {("held", "confidential"): 1}
    assert 500 <= values["gateway_held_oldest_age_seconds",] < 510
    assert values["gateway_held_next_deadline_timestamp_seconds",] == pytest.approx(now + 1000)
    assert values["gateway_audit_export_lag_rows",] == 4
    assert values["gateway_audit_signed_sequence",] == 5
    assert values["gateway_exceptions_active",] == 2
    assert values["gateway_profiles_active", "disaster"] == 1
    assert values["gateway_memory_bytes", "relay"] == 7
    assert values["gateway_disk_reserve_bytes",] == 3000
    assert values["gateway_store_degraded",] == 0
    assert not {key for key in values if key[0] not in metrics.FAMILIES and key[0].rpartition("_")[0] not in metrics.BOUNDS}


async def test_metrics_are_there_while_the_store_cannot_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.stores.base import StoreError

    async def fails() -> None:
        raise StoreError("disk I/O error")

    monkeypatch.setattr(world.store, "figures", fails)
    world.degraded = "disk I/O error"
    values = await world.values()
    assert values["gateway_store_degraded",] == 1
    assert values["gateway_ready",] == 0
    assert ("gateway_queue_oldest_age_seconds",) not in values, "what is not known is not 0"


async def test_many_who_ask_cost_one_reading(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    figures = world.store.figures

    async def counted() -> Any:
        nonlocal read
        read += 1
        return await figures()

    monkeypatch.setattr(world.store, "figures", counted)
    texts = await asyncio.gather(*(world.metrics.text() for _ in range(20)))
    assert (read, len(set(texts))) == (1, 1)


def test_the_next_hops_and_the_key_bits() -> None:
    assert machine.bits_of("TLSv1.3 TLS_AES_256_GCM_SHA384 256 verified") == 256
    assert machine.bits_of("TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 128 unverified") == 128
    assert machine.bits_of("loopback") == machine.bits_of("") == 0
    breaker = SimpleNamespace(error=None)
    used: Any = SimpleNamespace(name="mail.nic.in:25")
    fresh: Any = SimpleNamespace(name="new.nic.in:25")
    gone: Any = SimpleNamespace(name="old.nic.in:25")
    lane = SimpleNamespace(
        breakers={False: breaker, True: SimpleNamespace(error=OSError())}, jobs=[SimpleNamespace(rows=(1, 2, 3))], served=9.0,
        way="TLSv1.3 TLS_AES_256_GCM_SHA384 256 verified",
    )  # fmt: skip
    relay: Any = SimpleNamespace(routes=SimpleNamespace(hops=[_Hop(used), _Hop(fresh)]), lanes={_Hop(used): lane, _Hop(gone): lane})
    assert machine.next_hops(relay) == {
        ("gateway_next_hop_up", "mail.nic.in:25"): 0.0, ("gateway_next_hop_waiting", "mail.nic.in:25"): 3.0,
        ("gateway_next_hop_last_success_timestamp_seconds", "mail.nic.in:25"): 9.0,
        ("gateway_next_hop_tls_strength", "mail.nic.in:25"): 256.0,
    }  # fmt: skip


class _Hop(str):
    """A next hop that is its name."""

    def __new__(cls, of: Any) -> _Hop:
        made = super().__new__(cls, of.name)
        made.name = of.name
        return made


def test_the_end_of_a_certificate_is_read_as_a_library_reads_it(tmp_path: Path) -> None:
    from cryptography import x509

    made = smtp_door.make_certificate(tmp_path)
    assert made.certificate is not None
    known = x509.load_pem_x509_certificate(made.certificate.read_bytes()).not_valid_after_utc.timestamp()
    assert tls.not_after(made) == known == machine._not_after(made.certificate)
    assert tls.not_after(Tls()) == 0.0
    for wrong in (b"", b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", b"\xff"):
        made.certificate.write_bytes(wrong)
        assert tls.not_after(made) == machine._not_after(made.certificate) == 0.0


# --- readiness ----------------------------------------------------------------------------------------------------------


def reported(open_: float, used: float) -> list[Sample]:
    return [
        Sample("gateway_sessions", (), open_), Sample("gateway_sessions_limit", (), 100.0),
        Sample("gateway_memory_bytes", ("doors",), used), Sample("gateway_memory_limit_bytes", ("doors",), 1000.0),
    ]  # fmt: skip


def test_a_node_is_not_ready_before_it_would_refuse(world: World) -> None:
    limits, ready = world.config.limits, world.readiness
    assert ready.lacks() == ""
    world.open_deliveries = int(0.9 * limits.queue_messages)
    assert ready.lacks() == "the queue is nearly full"
    assert world.open_deliveries < limits.queue_messages, "mail is still taken at this point"
    world.open_deliveries = 0
    ready.sessions("p1", reported(95, 0))
    ready.sessions("p2", reported(10, 0))
    assert ready.lacks() == "", "another process has room"
    ready.sessions("p2", reported(90, 0))
    assert ready.lacks() == "nearly all sessions are taken"
    ready.gone("p1")
    ready.sessions("p2", reported(1, 950))
    assert ready.lacks() == "the memory for messages is nearly full"
    world.degraded = "disk I/O error on /var/lib"
    assert ready.lacks() == "the store cannot be written"
    world.stopping = True
    assert ready.lacks() == "the gateway is stopping"


def test_a_node_whose_disk_is_near_its_reserve_is_not_ready(tmp_path: Path) -> None:
    from gateway.keeper.act import free_octets

    free = free_octets(Config(state_dir=tmp_path))
    assert World(tmp_path, free_disk=free // 2).readiness.lacks() == ""
    near = World(tmp_path, free_disk=free * 2)
    assert near.readiness.lacks() == "the disk is nearly full"


# --- who may read them --------------------------------------------------------------------------------------------------


def client(address: str, config: Config, keeper: FakeKeeper) -> httpx.AsyncClient:
    app = application(config, keeper.ask)
    transport = httpx.ASGITransport(app=app, client=(address, 40000))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("address", "headers", "web", "code"),
    [
        ("127.0.0.1", {}, {}, 200),
        ("::1", {}, {}, 200),
        ("::ffff:127.0.0.1", {}, {}, 200),
        ("10.0.0.7", {}, {}, 403),
        ("10.0.0.7", {}, {"metrics_networks": ("10.0.0.0/24",)}, 200),
        ("127.0.0.1", {}, {"metrics_networks": ("10.0.0.0/24",)}, 403),
        ("127.0.0.1", {}, {"metrics_networks": ()}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}, {}, 403),
        ("127.0.0.1", {"Forwarded": "for=203.0.113.9"}, {}, 403),
        ("127.0.0.1", {"Host": "gateway.dept.gov.in"}, {"public_url": "https://gateway.dept.gov.in"}, 403),
        ("127.0.0.1", {}, {"public_url": "https://gateway.dept.gov.in"}, 200),
        ("not-an-address", {}, {}, 403),
    ],
)
async def test_metrics_are_for_named_networks_and_not_through_a_proxy(
    address: str, headers: dict[str, str], web: dict[str, Any], code: int
) -> None:
    keeper = FakeKeeper({requests.GetMetrics: requests.Rows(({"text": "gateway_ready 1.0\n"},))})
    async with client(address, Config(web=Web(**web)), keeper) as asks:
        answer = await asks.get("/metrics", headers=headers)
    assert answer.status_code == code
    assert bool(keeper.asked) == (code == 200), "who may not read costs the keeper nothing"
    if code == 200:
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.text == "gateway_ready 1.0\n"


async def test_without_a_keeper_there_are_no_metrics() -> None:
    async with client("127.0.0.1", Config(), FakeKeeper({})) as asks:
        assert (await asks.get("/metrics")).status_code == 503
