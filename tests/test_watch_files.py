"""The dashboard and the alert rules: they name metrics that exist, labels that these have, and a place in the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.metrics import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
ALERTS = ROOT / "watch" / "prometheus-alerts.yml"
DASHBOARD = ROOT / "watch" / "grafana-dashboard.json"
PROMTOOL = shutil.which("promtool")
_SUFFIX = {"histogram": ("_bucket", "_sum", "_count")}
_OF_THE_SCRAPE = {"job", "instance", "le"}
WANTED = {
    "queue not moving": "queue-not-moving", "next hop down": "next-hop-down", "held item near its deadline": "held-near-deadline",
    "inspector dying": "inspector-dying", "store degraded": "store-degraded", "disk reserve": "disk-reserve",
    "chain head stale": "chain-head-stale", "clock not synced": "clock-not-synced", "certificate expires": "certificate-expires",
    "keeper away": "keeper-away", "lost records": "lost-records", "rules reload failed": "reload-failed",
    "unprotected mail waiting": "unprotected-waiting", "auth failures spray": "sign-in-failures",
    "backup old": "backup-old", "not ready": "not-ready", "faults of the program": "faults",
    "archive late": "journal-copies-wait", "vault key missing": "vault-key-missing", "overload": "overload",
}  # fmt: skip


def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text()))


def expressions() -> Iterator[tuple[str, str]]:
    """Where, and what is asked of Prometheus."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for name, fields in alerts().items():
        yield name, fields["expr"]


def alerts() -> dict[str, dict[str, str]]:
    """Name to fields of each rule. The file keeps to one form, which is read here line by line: the project has no need of YAML else."""
    found: dict[str, dict[str, str]] = {}
    fields: dict[str, str] = {}
    key = ""
    for line in ALERTS.read_text().splitlines():
        if match := re.match(r"      - alert: (\w+)$", line):
            assert match[1] not in found, "one name, one rule"
            fields = found[match[1]] = {}
        elif match := re.match(r"        ([a-z]+|  [a-z]+): ?(.*)$", line):
            key = match[1].strip()
            fields[key] = match[2].removeprefix(">-")
        elif line.startswith("          ") and fields:
            fields[key] += " " + line.strip()
    return found


def family_of(name: str) -> str:
    """The metric of the sample *name*."""
    if name in FAMILIES:
        return name
    for suffix in _SUFFIX["histogram"]:
        base = name.removesuffix(suffix)
        if base != name and base in FAMILIES and FAMILIES[base].kind == "histogram":
            return base
    raise AssertionError(f"there is no metric {name}")


@pytest.mark.parametrize(("where", "expression"), [pytest.param(*one, id=one[0]) for one in expressions()])
def test_an_expression_names_metrics_and_labels_that_exist(where: str, expression: str) -> None:
    names = re.findall(r"\bgateway_\w+", expression)
    assert names or where == "GatewayKeeperAway"
    families = [FAMILIES[family_of(name)] for name in names]
    known = _OF_THE_SCRAPE.union(*(family.labels for family in families))
    groups = re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", expression)
    used = {label.strip() for group in groups for label in group.split(",") if label.strip()}
    for selector in re.findall(r"\{([^}]*)\}", expression):
        used.update(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', selector))
    assert used <= known, f"{where}: {used - known}"
    for name in names:  # what grows is asked for its growth, what stands is not
        family = FAMILIES[family_of(name)]
        grown = re.search(rf"(?:rate|increase)\({name}\b", expression)
        if family.kind in ("counter", "histogram"):
            assert grown, f"{where}: {name} only grows"
        elif grown:
            assert name == "gateway_audit_sequence", f"{where}: {name} is a gauge"


def test_no_metric_is_without_a_panel() -> None:
    shown = {family_of(name) for panel in dashboard()["panels"] for name in re.findall(r"\bgateway_\w+", json.dumps(panel))}
    assert shown == set(FAMILIES)


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    found = dashboard()
    assert found["schemaVersion"] >= 38
    assert found["id"] is None, "the server gives it one"
    rows = [panel["title"] for panel in found["panels"] if panel["type"] == "row"]
    assert rows == ["Decisions", "Stage times", "Queue", "Held mail", "Inspector", "Next hops", "Audit chain", "Machine", "Journal copies"]
    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids))
    variables = {one["name"] for one in found["templating"]["list"]}
    assert variables == {"datasource", "job", "instance"}
    assert set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text())) <= variables | {"__rate_interval"}
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, f"{panel['title']} lies over another"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["type"] in ("timeseries", "stat")
        assert panel["title"] and panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in ("ops", "s", "short", "bytes", "Bps")
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert 'job=~"$job",instance=~"$instance"' in target["expr"]


def test_every_alert_says_what_is_wrong_how_bad_it_is_and_where_to_read_on() -> None:
    found = alerts()
    assert len(found) >= len(WANTED)
    for name, fields in found.items():
        assert set(fields) >= {"expr", "for", "labels", "annotations", "summary", "description", "runbook"}, name
        assert re.fullmatch(r"\d+[mh]", fields["for"]), name
        assert fields["labels"] in ("{severity: critical}", "{severity: warning}"), name
        assert fields["summary"].startswith('"') and "$labels.instance" in fields["summary"], name
        assert fields["description"].endswith('."'), name
        assert re.fullmatch(r"docs/operations\.md#[a-z-]+", fields["runbook"]), name
    assert {fields["runbook"].partition("#")[2] for fields in found.values()} == set(WANTED.values())


def test_counters_that_alerts_watch_are_there_from_the_start() -> None:
    from gateway.keeper.metrics import _FROM_THE_START

    there = {key[0] for key in _FROM_THE_START} | {"gateway_next_hop_failures_total"}
    watched = {name for fields in alerts().values() for name in re.findall(r"increase\((gateway_\w+)", fields["expr"])}
    assert watched <= there, "increase() does not see the first step of a series that was absent"
    for name in watched:  # and the very labels
        for label, values in re.findall(rf'{name}\{{(\w+)=~?"([^"]+)"', " ".join(fields["expr"] for fields in alerts().values())):
            assert FAMILIES[name].labels == (label,)
            assert {(name, value) for value in values.split("|")} <= set(_FROM_THE_START)


@pytest.mark.service
@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's package prometheus) is not installed")
def test_promtool_takes_the_rules_and_they_fire_when_they_should(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    checked = subprocess.run([PROMTOOL, "check", "rules", str(ALERTS)], capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    cases = tmp_path / "cases.yml"
    cases.write_text((ROOT / "tests" / "alert_rules.yml").read_text().replace("RULES", str(ALERTS)))
    tested = subprocess.run([PROMTOOL, "test", "rules", str(cases)], capture_output=True, text=True, timeout=60, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.service
@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's package prometheus) is not installed")
def test_promtool_finds_nothing_wrong_with_the_exposition() -> None:
    from gateway.counting import Counts
    from gateway.keeper import exposition

    counts = Counts()
    counts.timing("gateway_stage_seconds", "decide").observe(0.1)
    samples = {(family.name, *("x" for _ in family.labels)): 1.0 for family in FAMILIES.values() if family.kind != "histogram"}
    text = exposition.write(samples, counts.timings())
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
