"""The metrics of a running gateway: they agree with what was sent, and do not go back when a process dies."""

from __future__ import annotations

import os
import re
import signal
import smtplib
import time
from collections.abc import Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import metrics
from tests.e2e.parts import Gateway, Hop, wait_for

pytestmark = [pytest.mark.service]  # half a minute: reports come every five seconds

Values = dict[tuple[str, ...], float]
PLAIN = (
    "From: officer@dept.gov.in\r\nTo: desk@finance.nic.in\r\nSubject: note {0}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0530\r\n"
    "Message-ID: <{0}@dept.gov.in>\r\n"
)
SECRET = "X-Protective-Marking: VER=2018.4, NS=gov.in, SEC=TOP-SECRET\r\n" + PLAIN.replace("note", "TOP SECRET")


def scrape(gateway: Gateway) -> Values:
    """All samples by name and label values; nothing while nobody answers."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{gateway.web_port}/metrics", timeout=20)
    except httpx.HTTPError:
        return {}
    if answer.status_code != 200:
        return {}
    found: Values = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[(sample.name, *(value for _, value in sorted(sample.labels.items())))] = sample.value
    return found


def send(gateway: Gateway, numbers: range, text: str = PLAIN, body: str = "hello") -> list[int]:
    """Sends one message a session; the codes of the answers after DATA, or of the one that refused it before."""
    codes = []
    for number in numbers:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
            client.ehlo("pc.dept.gov.in")
            if (code := client.mail("officer@dept.gov.in")[0]) != 250:
                codes.append(code)
                continue
            client.rcpt("desk@finance.nic.in")
            codes.append(client.data((text.format(number) + "\r\n" + body + "\r\n").encode())[0])
    return codes


def until(gateway: Gateway, name: tuple[str, ...], value: float) -> Values:
    """The scrape in which *name* has reached *value*."""
    return dict(wait_for(lambda: v if (v := scrape(gateway)).get(name, -1) >= value else None, 40, f"{name} >= {value}"))


def growing(values: Values) -> Values:
    """What must never be smaller in a later scrape."""

    def grows(name: str) -> bool:
        base = re.sub("_(bucket|sum|count)$", "", name)
        return name.endswith("_total") or base in metrics.BOUNDS

    return {key: value for key, value in values.items() if grows(key[0])}


def no_step_back(before: Values, after: Values) -> None:
    smaller = {key: (value, after.get(key)) for key, value in growing(before).items() if after.get(key, -1.0) < value}
    assert not smaller


def child(gateway: Gateway, belongs: Callable[[str], bool]) -> list[int]:
    return sorted(pid for pid, line in gateway.processes().items() if belongs(line))


def test_the_numbers_agree_with_what_was_sent_and_survive_what_dies(gateway: Gateway, hop: Hop) -> None:
    assert send(gateway, range(12)) == [250] * 12
    assert send(gateway, range(12, 15), SECRET) == [550] * 3
    html = PLAIN + "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n"
    assert send(gateway, range(15, 17), html, "<p>hello</p>") == [250] * 2
    values = until(gateway, ("gateway_deliveries_total", "delivered"), 14)
    values = until(gateway, ("gateway_inspections_total", "inspector"), 2)
    values = until(gateway, ("gateway_messages_total", "accepted"), 14)

    decided = {key[2]: 0.0 for key in values if key[0] == "gateway_decisions_total"}  # labels by name: direction, disposition, door, level
    for key, value in values.items():
        if key[0] == "gateway_decisions_total":
            decided[key[2]] += value
    assert decided == {"deliver": 14, "refuse": 3}
    assert sum(value for key, value in values.items() if key[0] == "gateway_rule_decisions_total") == 17
    assert sum(value for key, value in values.items() if key[0] == "gateway_decisions_total" and key[4] == "top-secret") == 3
    assert values["gateway_messages_total", "refused"] == 3
    assert values["gateway_stage_seconds_count", "commit"] == 17
    assert values["gateway_stage_seconds_count", "receive"] == 17
    assert values["gateway_stage_seconds_count", "inspect"] == values["gateway_inspections_total", "inspector"] == 2
    assert values["gateway_inspections_total", "door"] == 15
    assert values["gateway_delivery_seconds_count",] == 14 == len(hop.received())
    assert values["gateway_sessions_total",] >= 17
    assert values["gateway_processes", "doors"] == 2
    assert values["gateway_ready",] == 1
    assert values["gateway_audit_sequence",] >= 17 + 14
    assert values["gateway_next_hop_up", f"127.0.0.1:{hop.port}"] == 1

    # A door worker dies: what it had reported stays, and another takes its place.
    doors = child(gateway, lambda line: "--only doors" in line)
    assert len(doors) == 3, "a parent and two workers"
    os.kill(doors[-1], signal.SIGKILL)
    wait_for(lambda: len(child(gateway, lambda line: "--only doors" in line)) == 3, 15, "another worker")
    assert send(gateway, range(17, 20)) == [250] * 3
    after = until(gateway, ("gateway_messages_total", "accepted"), 17)
    no_step_back(values, after)
    assert after["gateway_deliveries_total", "delivered"] >= 17

    # The command line prints the same samples.
    printed = {record["name"] for record in gateway.records("metrics")}
    assert printed >= {key[0] for key in after}

    # The keeper dies: its counters begin anew at nothing, all of them, which Prometheus knows as a reset. What the doors had reported
    # before does not come again: it would look like new traffic.
    started = after["gateway_start_timestamp_seconds",]
    keeper = child(gateway, lambda line: "--only keeper" in line)
    os.kill(keeper[0], signal.SIGKILL)
    wait_for(lambda: send(gateway, range(20, 21)) == [250], 30, "mail is taken again")
    assert send(gateway, range(21, 22)) == [250]
    new = until(gateway, ("gateway_messages_total", "accepted"), 2)
    assert new["gateway_start_timestamp_seconds",] > started
    assert new["gateway_messages_total", "accepted"] == 2
    assert sum(value for key, value in new.items() if key[0] == "gateway_decisions_total") == 2
    assert new["gateway_process_starts_total", "doors"] == 2
    time.sleep(6)
    no_step_back(new, scrape(gateway))


def test_the_node_says_that_it_is_not_ready_while_the_keeper_is_away(gateway: Gateway) -> None:
    def ready() -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{gateway.web_port}/readyz", timeout=20)

    wait_for(lambda: ready().status_code == 200, 30, "ready")
    keeper = child(gateway, lambda line: "--only keeper" in line)[0]
    os.kill(keeper, signal.SIGSTOP)
    try:
        answer = ready()
        assert (answer.status_code, answer.json()["reason"]) == (503, "the keeper does not answer")
        assert httpx.get(f"http://127.0.0.1:{gateway.web_port}/healthz", timeout=5).status_code == 200
    finally:
        os.kill(keeper, signal.SIGCONT)
    wait_for(lambda: ready().status_code == 200, 30, "ready again")
