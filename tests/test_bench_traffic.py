"""What the measuring programs rest on: the client, the sink, what they count, and what they say of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway import policy
from gateway.config import Config
from tests.bench import endurance, growth, nodes, processes, traffic
from tests.bench.printing import Rows, table
from tests.bench.sink import SinkProtocol


@asynccontextmanager
async def sink(taken: list[int]) -> AsyncIterator[int]:
    """A sink in this process; its port."""
    server = await asyncio.get_running_loop().create_server(lambda: SinkProtocol(taken.append), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Slow(asyncio.Protocol):
    """Takes a connection and says nothing for a while; then it refuses."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        asyncio.get_running_loop().call_later(0.2, transport.write, b"421 4.3.2 not now\r\n")


@pytest.mark.parametrize("keep", [False, True])
async def test_each_message_of_a_closed_load_is_taken_once_with_all_its_recipients(keep: bool) -> None:
    taken: list[int] = []
    async with sink(taken) as port:
        sent = await traffic.closed(port, itertools.islice(traffic.text(4096, recipients=3), 50), 5, keep=keep)
    assert (sent.taken, sent.errors, taken) == (50, [], [3] * 50)


async def test_a_steady_load_counts_from_the_time_at_which_a_message_was_due() -> None:
    taken: list[int] = []
    async with sink(taken) as port:
        sent = await traffic.steady(port, traffic.text(4096), 200.0, 0.3)
    assert (sent.taken, len(taken), sent.errors) == (60, 60, [])
    assert sent.seconds >= 59 / 200


async def test_what_a_stalled_server_keeps_back_is_in_the_wait() -> None:
    held: list[asyncio.Transport] = []

    class Stalled(SinkProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
            held.append(transport)
            asyncio.get_running_loop().call_later(0.3, transport.resume_reading)
            super().connection_made(transport)

    server = await asyncio.get_running_loop().create_server(Stalled, "127.0.0.1", 0)
    async with server:
        sent = await traffic.steady(server.sockets[0].getsockname()[1], traffic.text(4096), 100.0, 0.2)
    assert sent.taken == 20
    assert min(sent.waits) >= 0.29
    assert len(held) == 20, "messages come when they are due, not when the one before was answered"


async def test_a_refusal_is_no_message_and_a_load_of_refusals_ends() -> None:
    server = await asyncio.get_running_loop().create_server(Slow, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        sent = await traffic.closed(port, traffic.text(4096), 50)
    assert sent.taken == 0
    assert set(sent.errors) == {"421 4.3.2 not now"}


def test_no_two_messages_are_alike_and_their_size_is_the_one_asked_for() -> None:
    for octets in (4096, 409_600):
        one, other = itertools.islice(traffic.text(octets), 2)
        assert one.content != other.content
        assert len(one.content) == pytest.approx(octets, rel=0.05)
        assert one.content.endswith(b"\r\n.\r\n")


async def test_content_that_comes_octet_by_octet_ends_where_it_ends() -> None:
    taken: list[int] = []
    async with sink(taken) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for octet in b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n..\r\n.\r\nQUIT\r\n":
            writer.write(bytes([octet]))
            await writer.drain()
            await asyncio.sleep(0)
        said = await reader.read()
        writer.close()
    assert taken == [1]
    assert said.count(b"250 2.0.0 taken") == 1
    assert said.endswith(b"221 2.0.0 bye\r\n")


def test_percentiles_of_waits() -> None:
    waits = [number / 1000 for number in range(1, 101)]
    assert [round(traffic.percentile(waits, share)) for share in (0.5, 0.99)] == [51, 100]
    assert traffic.percentile([], 0.5) == 0


def test_the_slope_of_memory_is_told_for_ten_thousand_messages() -> None:
    samples = [(number, {"keeper": 1000 + number // 100, "web": 50}) for number in range(0, 20_000, 100)]
    assert round(endurance.slope(samples, "keeper"), 6) == 100
    assert endurance.slope(samples, "web") == 0
    assert endurance.slope(samples[:1], "keeper") == 0


def test_the_drop_of_a_full_store_is_told_of_all_and_of_each_node() -> None:
    found = {
        "postgresql 3": [{"all": 100.0, "gw1": 50.0}, {"all": 120.0, "gw1": 60.0}],
        "postgresql 3 full": [{"all": 99.0, "gw1": 66.0}],
        "sqlite 1": [{"all": 1.0}],
    }
    assert [(row["setup"], row["node"], row["drop"]) for row in nodes.drops(found)] == [
        ("postgresql 3", "all", "10.0 %"),
        ("postgresql 3", "gw1", "-20.0 %"),
    ]


def test_rows_are_lines_of_json_in_a_pipe_and_a_table_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    rows = Rows(as_json=True)
    rows.add({"a": 1, "b": "x"})
    rows.end()
    assert json.loads(capsys.readouterr().out) == {"a": 1, "b": "x"}
    assert table([{"name": "x", "n": 1}, {"name": "longer", "n": 12345.5}]) == ["name           n", "x              1", "longer  12,345.5"]


def test_the_time_of_a_child_that_ended_is_not_lost() -> None:
    before = processes.processor([os.getpid()])
    child = os.fork()
    if child == 0:
        end = os.times().user + 0.1
        while os.times().user < end:
            pass
        os._exit(0)
    os.waitpid(child, 0)
    assert processes.processor([os.getpid()]) - before >= 0.09
    assert processes.tree(os.getpid())[0] == os.getpid()
    assert processes.pss([os.getpid()]) > 1000


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 10])
def test_more_rules_are_rules_in_force_that_do_not_hit(tmp_path: Path, times: int) -> None:
    folder = growth.more_rules(tmp_path / "rules", times)
    shipped = len(policy.load(None, Config()).rules.rules)
    made = policy.load(folder, Config()).rules
    assert len(made.rules) == (shipped * times if times > 1 else shipped + 1)
