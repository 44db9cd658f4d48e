"""The keeper as a process: sockets, who may ask what, drained stop, two at once, faults that stay plain sentences."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest

from gateway import requests
from gateway.audit import audit
from gateway.ipc import Channel, ChannelError
from gateway.keeper import one_time
from gateway.keeper.one_time import Logins
from gateway.levels import Level
from gateway.policy import decide
from gateway.reply import Reply
from gateway.requests import AddException, Commit, Committed, Deferred, Done, Exceptions, Failed, Rows
from gateway.review import As, BeginTotp, ConfirmTotp, Redeem, SetPassword, SignIn, WhoAmI
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import CONTENT, Room, inspection, shipped_policy, transaction

pytestmark = pytest.mark.slow  # keepers as processes, started and killed

ROOT = Path(__file__).parents[1]
CONFIG = """
hostname = "gw1.dept.gov.in"
state_dir = "{folder}"
max_message_size = "1MB"
[contacts]
postmaster = "postmaster@dept.gov.in"
[originators]
domains = ["dept.gov.in"]
networks = ["10.0.0.0/8"]
[[route]]
domains = ["*"]
next_hop = "127.0.0.1:{port}"
tls = "none"
[limits]
free_disk = 0
drain = 3
"""


START = """
import pathlib, sys
from gateway import config
from gateway.keeper import service
service.run(config.load(pathlib.Path(sys.argv[1])))
"""


class Sink:
    """A next hop that takes everything."""

    def __init__(self) -> None:
        self.messages: list[tuple[list[str], bytes]] = []
        self.port = 0

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._session, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        recipients: list[str] = []
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := (await reader.readline()).decode().strip():
                verb = line[:4].upper()
                if verb == "RCPT":
                    recipients.append(line.partition("<")[2].partition(">")[0])
                if verb == "DATA":
                    writer.write(b"354 go\r\n")
                    content = await reader.readuntil(b"\r\n.\r\n")
                    self.messages.append((recipients, content[:-3]))
                    recipients = []
                writer.write({"EHLO": b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n", "QUIT": b"221 bye\r\n"}.get(verb, b"250 ok\r\n"))
        writer.close()

    async def take(self, count: int) -> list[tuple[list[str], bytes]]:
        async with asyncio.timeout(15):
            while len(self.messages) < count:
                await asyncio.sleep(0.02)
        return self.messages


class Running:
    """A keeper process and channels to it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.file = folder / "gateway.toml"
        self.file.write_text(CONFIG.format(folder=folder / "state", port=port))
        (folder / "state" / "run").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log = (folder / "keeper.log").open("ab")
        self.channels: list[Channel] = []

    def launch(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", START, str(self.file)], cwd=ROOT, stderr=self.log)

    async def connect(self) -> None:
        async with asyncio.timeout(20):
            while self.process.poll() is None:
                try:
                    self.admin = await self.channel("admin")  # the socket that is made last
                    break
                except ChannelError:
                    await asyncio.sleep(0.02)
        assert self.process.poll() is None, self.words()
        self.door = await self.channel("doors")

    async def start(self) -> None:
        self.launch()
        await self.connect()

    async def channel(self, kind: str) -> Channel:
        made = await Channel.connect(self.folder / "state" / "run" / f"keeper-{kind}.sock", requests.KeeperAnswer)
        self.channels.append(made)
        return made

    def words(self) -> str:
        return (self.folder / "keeper.log").read_text()

    async def end(self, number: int = signal.SIGTERM) -> int:
        for one in self.channels:
            one.close()
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 20)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    made = Sink()
    await made.start()
    yield made
    made.server.close()


@pytest.fixture
async def keeper(tmp_path: Path, sink: Sink) -> AsyncIterator[Running]:
    made = Running(tmp_path, sink.port)
    await made.start()
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One keeper for the tests that leave it whole; its next hop is not there, so nothing leaves."""
    made = Running(tmp_path_factory.mktemp("keeper"), 1)
    made.launch()
    yield made
    made.process.kill()
    made.process.wait()


@pytest.fixture
async def shared(long_lived: Running) -> AsyncIterator[Running]:
    await long_lived.connect()
    yield long_lived
    for channel in long_lived.channels:
        channel.close()
    long_lived.channels.clear()


async def register(keeper: Running) -> Exceptions:
    answer, _ = await keeper.door.call(requests.GetExceptions())
    assert isinstance(answer, Exceptions)
    return answer


async def send(keeper: Running, tx: Any, read: Any = None) -> Any:
    from gateway import config

    made = decide.decide(tx, read or inspection(), shipped_policy(), await register(keeper), config.load(keeper.file))
    answer, _ = await keeper.door.call(Commit(tx, made), CONTENT)
    return answer


async def rows(keeper: Running, request: Any) -> list[dict[str, Any]]:
    answer, _ = await keeper.admin.call(request)
    assert isinstance(answer, Rows), answer
    return list(answer.rows)


async def test_mail_goes_in_is_delivered_and_finished(keeper: Running, sink: Sink) -> None:
    tx = transaction("desk@finance.nic.in")
    answer = await send(keeper, tx)
    assert answer == Committed(Reply(250, "2.0.0", f"accepted {tx.reference}"), tx.reference)
    ((recipients, content),) = await sink.take(1)
    assert recipients == ["desk@finance.nic.in"]
    assert content.endswith(CONTENT)
    async with asyncio.timeout(10):
        while (await rows(keeper, requests.ListQueue(all=True)))[0]["state"] != "delivered":
            await asyncio.sleep(0.02)
    assert await rows(keeper, requests.ListQueue()) == []
    (row,) = await rows(keeper, requests.ShowDelivery(tx.reference))
    assert row["recipient"] == "desk@finance.nic.in"
    log = await rows(keeper, requests.ShowAudit(tx.id))
    assert [line["event"]["action"] for line in log] == ["message-accepted", "message-delivered"]
    assert [line["seq"] for line in log] == [1, 2]
    assert await rows(keeper, requests.SearchAudit(recipient="desk@finance.nic.in", rule="nothing")) == []
    decisions = keeper.folder / "state" / "log" / "decisions.jsonl"
    async with asyncio.timeout(10):
        while not decisions.exists() or len(decisions.read_text().splitlines()) < 2:
            await asyncio.sleep(0.05)
    assert await keeper.end() == 0
    state = keeper.folder / "state"
    store = SqliteStore(state / "gateway.db", read_only=True)
    await store.open()
    heads = audit.heads_in(state / "log" / "audit-heads.jsonl")
    result = await audit.verify(store, [audit.read_signer(state / "keys" / "audit-signing.pem").public], heads)
    assert result.text == "ok: 2 rows in 1 chain"
    assert await store.body(tx.id) is None, "delivered content is destroyed"
    assert heads[-1].seq == 2, "a last head is signed at the stop"
    await store.close()


async def test_held_mail_is_released_over_the_socket(keeper: Running, sink: Sink) -> None:
    tx = transaction("desk@finance.nic.in")
    assert (await send(keeper, tx, inspection(attached=Level.CONFIDENTIAL))).reply.code == 250
    (held,) = await rows(keeper, requests.ListHeld())
    assert held["subject"] == "the heron flies"
    assert (held["reference"], held["state"], held["level"], held["sealed"]) == (tx.reference, "held", "CONFIDENTIAL", False)
    await sink.take(1)  # the notice
    for name in ("asha", "bina"):
        await rows(keeper, requests.AddUser(name))
    said, _ = await keeper.admin.call(requests.ReleaseHeld(held["id"], "seen", (), "nobody"))
    assert said == Failed("there is no reviewer 'nobody'; add one with: gateway users add", 1)
    assert (await rows(keeper, requests.ReleaseHeld(held["id"], "seen", (), "asha")))[0]["message"] == "approved 1 of 2"
    (shown,) = await rows(keeper, requests.ShowHeld(tx.reference))
    assert shown["leaves"][1]["name"] == "heron plan.docx"
    assert shown["approvals"][0]["user"] == "asha"
    searched = await rows(keeper, requests.ShowAudit(tx.reference))
    approved = next(row for row in searched if row["event"]["action"] == "held-approved")
    assert approved["gateway"]["act"]["system_user"], "who acted as asha is recorded"
    assert "words" in shown["evidence"][0]
    assert shown["evidence"][0]["words"].startswith("blake2b-256:")
    assert (await rows(keeper, requests.ReleaseHeld(held["id"], "yes", (), "bina")))[0]["message"].startswith("released")
    messages = await sink.take(2)
    assert messages[1][0] == ["desk@finance.nic.in"]
    exported, body = await keeper.admin.call(requests.ExportHeld("nothing", "x", "asha"))
    assert isinstance(exported, Failed)
    assert body == b""


async def test_P20_a_socket_takes_only_what_its_peers_may_ask(shared: Running) -> None:
    door, web = await shared.channel("doors"), await shared.channel("web")
    with pytest.raises(ChannelError):
        await door.call(requests.ListHeld())
    with pytest.raises(ChannelError):
        await web.call(requests.ReleaseHeld("x", "y"))
    web = await shared.channel("web")
    with pytest.raises(ChannelError):
        await web.call(requests.ListHeld())
    answer, _ = await shared.admin.call(requests.Health())
    assert isinstance(answer, Rows)
    assert answer.rows[0]["state"] == "ok"


async def test_a_one_time_login_is_made_by_an_administrator_and_redeemed_once_by_the_web(shared: Running) -> None:
    web = await shared.channel("web")
    said, _ = await shared.admin.call(requests.OneTimeLogin(user="lata"))
    assert isinstance(said, Failed)
    await rows(shared, requests.AddUser("lata", grants=("administrator",)))
    (made,) = await rows(shared, requests.OneTimeLogin(user="lata"))
    assert made["user"] == "lata"
    answer, _ = await web.call(Redeem(made["token"], "127.0.0.1"))
    session = answer.rows[0]["session"]
    answer, _ = await web.call(As(session, WhoAmI()))
    assert (answer.rows[0]["name"], answer.rows[0]["fresh"]) == ("lata", True)
    for token in (made["token"], "", "x" * 32):
        again, _ = await web.call(Redeem(token))
        assert isinstance(again, Failed)
    refused, _ = await web.call(As(session, requests.ListUsers()))
    assert isinstance(refused, Failed)
    assert refused.code == requests.FORBIDDEN, "codes have to be set up first"
    away, _ = await web.call(As("x" * 43, WhoAmI()))
    assert isinstance(away, Failed)
    assert away.code == requests.SIGNED_OUT


async def test_a_person_comes_in_with_password_and_code_through_the_socket(shared: Running) -> None:
    web = await shared.channel("web")
    await rows(shared, requests.AddUser("usha", grants=("administrator",)))
    (made,) = await rows(shared, requests.InviteUser("usha"))
    answer, _ = await web.call(Redeem(made["token"]))
    session = answer.rows[0]["session"]
    assert await web.call(As(session, SetPassword("heron-lotus-banyan-42"))) == (Done(), b"")
    answer, _ = await web.call(As(session, BeginTotp()))
    code = pyotp.TOTP(answer.rows[0]["secret"])
    assert await web.call(As(session, ConfirmTotp(code.at(int(time.time()) - 30)))) == (Done(), b"")
    answer, _ = await web.call(SignIn("usha", "heron-lotus-banyan-42", code.now(), "127.0.0.1"))
    listed, _ = await web.call(As(answer.rows[0]["session"], requests.ListUsers()))
    assert "usha" in {row["name"] for row in listed.rows}
    assert "heron-lotus" not in shared.words()


async def test_mistakes_of_people_are_plain_sentences(shared: Running) -> None:
    for request, code in (
        (AddException("a@b", "c@d", "why", "x", "x", 9e9), 1),
        (AddException("a@b", "c@d", "", "x", "y", 9e9), 2),
        (requests.ExpireException("nothing"), 1),
        (requests.ActOnQueue("shred", ("x",)), 2),
        (requests.ActOnQueue("retry"), 2),
        (requests.ActOnQueue("retry", ("nothing",)), 1),
        (requests.AddUser("two words"), 2),
        (requests.RefuseHeld("x", "y"), 1),
    ):
        answer, _ = await shared.admin.call(request)
        assert isinstance(answer, Failed), request
        assert answer.code == code, answer
        assert "Traceback" not in answer.message
    assert await rows(shared, requests.ShowHeld("nothing")) == []
    done, _ = await shared.door.call(Deferred(transaction("desk@finance.nic.in"), Reply(451, "4.3.0", "x"), "why"))
    assert done == Done()


async def test_O16_a_second_keeper_ends_with_a_sentence(shared: Running) -> None:
    second = Running(shared.folder, 1)
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", START, str(second.file)], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert "in use by another keeper" in done.stderr
    assert "Traceback" not in done.stderr
    assert isinstance((await shared.admin.call(requests.Health()))[0], Rows), "the first one goes on"


async def test_O13_a_stop_under_load_loses_nothing(keeper: Running, sink: Sink) -> None:
    accepted: list[str] = []

    async def sender() -> None:
        while True:
            tx = transaction("desk@finance.nic.in")
            try:
                answer = await send(keeper, tx)
            except (ChannelError, AssertionError):
                return
            if isinstance(answer, Committed):
                accepted.append(tx.id)

    senders = [asyncio.create_task(sender()) for _ in range(8)]
    async with asyncio.timeout(20):
        while len(accepted) <= 10:
            await asyncio.sleep(0.05)
    keeper.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(keeper.process.wait, 20)
    await asyncio.gather(*senders)
    assert keeper.process.returncode == 0, keeper.words()
    assert len(accepted) > 10
    store = SqliteStore(keeper.folder / "state" / "gateway.db", read_only=True)
    await store.open()
    assert {row.state.value for row in await store.deliveries(all=True, limit=100_000)} <= {"delivered", "scheduled"}
    for identifier in accepted:
        assert await store.message(identifier) is not None
    assert (await audit.verify(store)).bad is None
    await store.close()


async def test_O12_a_killed_keeper_delivers_what_it_had_accepted_after_its_restart(keeper: Running, sink: Sink) -> None:
    accepted = set()
    for _ in range(20):
        tx = transaction("desk@finance.nic.in")
        assert (await send(keeper, tx)).reply.code == 250
        accepted.add(tx.reference)
    await keeper.end(signal.SIGKILL)
    again = Running(keeper.folder, sink.port)
    await again.start()
    async with asyncio.timeout(20):
        while await rows(again, requests.ListQueue()):
            await asyncio.sleep(0.05)
    assert {row["reference"] for row in await rows(again, requests.ListQueue(all=True)) if row["state"] == "delivered"} == accepted
    assert await again.end() == 0


async def test_O17_a_bad_rule_folder_or_key_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    for change, words in (("rules_dir = '/nonexistent'\n", "nonexistent"), ("", "vault")):
        folder = tmp_path / words
        folder.mkdir()
        made = Running(folder, 1)
        made.file.write_text(change + made.file.read_text())
        if not change:
            (folder / "state" / "keys").mkdir()
            (folder / "state" / "keys" / "vault.key").write_text("short")
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", START, str(made.file)], cwd=ROOT, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr


async def test_O13_a_keeper_that_stood_still_begins_no_commit_that_its_client_has_given_up(
    keeper: Running, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway import config
    from gateway.doors import peers
    from gateway.reply import ReplyError

    monkeypatch.setattr(peers, "_COMMIT", 0.5)
    monkeypatch.setattr(peers, "_SETTLE", 0.2)
    link = peers.KeeperLink(config.load(keeper.file))
    await link.start()
    tx = transaction("desk@finance.nic.in")
    made = decide.decide(tx, inspection(), shipped_policy(), link.exceptions, config.load(keeper.file))
    keeper.process.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(5):
            with pytest.raises(ReplyError, match="did not answer within"):
                await link.commit(tx, made, CONTENT)
    finally:
        keeper.process.send_signal(signal.SIGCONT)
    again = await link.commit(tx, made, CONTENT)
    assert isinstance(again, Committed)
    async with asyncio.timeout(10):
        while not sink.messages:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    assert len(sink.messages) == 1, "the client that came again has it delivered once"
    assert "a commit came too late" in keeper.words()
    await link.close()


async def test_L07_a_store_put_back_gets_a_new_chain_and_an_alarm(keeper: Running, sink: Sink) -> None:
    import shutil

    await send(keeper, transaction("desk@finance.nic.in"))
    assert await keeper.end() == 0
    state = keeper.folder / "state"
    shutil.copy(state / "gateway.db", keeper.folder / "old.db")
    second = Running(keeper.folder, sink.port)
    await second.start()
    await send(second, transaction("desk@finance.nic.in"))
    assert await second.end() == 0
    for file in state.glob("gateway.db*"):
        file.unlink()
    shutil.copy(keeper.folder / "old.db", state / "gateway.db")
    third = Running(keeper.folder, sink.port)
    await third.start()
    assert "an old file was put back" in third.words()
    await send(third, transaction("desk@finance.nic.in"))
    assert await third.end() == 0
    db = sqlite3.connect(state / "gateway.db")
    chains = [name for (name,) in db.execute("SELECT DISTINCT chain FROM audit")]
    db.close()
    assert len(chains) == 2
    store = SqliteStore(state / "gateway.db", read_only=True)
    await store.open()
    result = await audit.verify(store, (), audit.heads_in(state / "log" / "audit-heads.jsonl"))
    assert result.bad is not None
    assert "old file was put back" in result.bad.why
    await store.close()


# --- people -----------------------------------------------------------------------------------------------------------


def test_O15_logins_end_by_a_clock_that_never_steps() -> None:
    now = [100.0]
    logins = Logins(lambda: now[0])
    token, late = logins.make("asha"), logins.make("bina")
    assert logins.redeem(token) == "asha"
    assert logins.redeem(token) == ""
    now[0] += one_time.TOKEN_SECONDS
    assert logins.redeem(late) == ""


async def test_O15_a_jump_of_the_clock_expires_no_held_mail(tmp_path: Path) -> None:
    from gateway.keeper.housekeeping import GRACE, Housekeeping

    room = await Room(tmp_path).open()
    made = decide.decide(
        tx := transaction("desk@finance.nic.in"), inspection(attached=Level.CONFIDENTIAL), room.policy, room.register.current, room.config
    )
    await room.commit(tx, made)

    class Clock:
        wall, steady = room.now, 0.0

        def time(self) -> float:
            return self.wall

        def monotonic(self) -> float:
            return self.steady

    clock = Clock()
    keys = audit.signer(room.config)
    house = Housekeeping(room.config, room.store, room.chain, keys, room.register, room.quarantine, clock, room.notifier, room.relay)
    assert await house.expire() == 0
    clock.wall += 365 * 86400
    room.now = clock.wall
    assert await house.expire() == 0
    clock.steady += GRACE / 2
    clock.wall += GRACE / 2
    assert await house.expire() == 0
    clock.wall -= 365 * 86400
    room.now = clock.wall
    clock.steady += GRACE
    clock.wall += GRACE
    assert await house.expire() == 0, "the clock was put right: nothing is lost"
    clock.steady += 20 * 86400
    clock.wall += 20 * 86400
    room.now = clock.wall
    assert await house.expire() == 1
    await room.close()


async def test_the_register_is_listed_by_pages(keeper: Running) -> None:
    for number in range(3):
        await rows(keeper, AddException("officer@dept.gov.in", f"c{number}@gmail.com", "grievance", "a", "b", time.time() + 60))
    every = await rows(keeper, requests.ListExceptions())
    assert len(every) == 3
    assert await rows(keeper, requests.ListExceptions(limit=2)) == every[:2]
    assert await rows(keeper, requests.ListExceptions(limit=2, after=every[1]["id"])) == every[2:]


async def test_the_doctor_notes_what_the_settings_of_an_mta_prove_over_the_administrators_socket(keeper: Running) -> None:
    note = requests.NoteMta(True, "sha256:" + "a" * 64, "smtp_tls_security_level is verify, AES-256 only")
    [on] = await rows(keeper, note)
    register, _ = await keeper.door.call(requests.GetExceptions())
    assert isinstance(register, Exceptions)
    assert [(row.id, row.name) for row in register.profiles] == [(on["id"], "mta-tls")]
    assert await rows(keeper, requests.ListProfiles()) == [on]
    answer, _ = await keeper.admin.call(requests.EndProfile("mta-tls", "no"))
    assert isinstance(answer, Failed)
    assert await rows(keeper, requests.NoteMta(False, note.settings, "smtp_tls_security_level is may")) == []
    assert await rows(keeper, requests.ListProfiles()) == []
    answer, _ = await keeper.admin.call(requests.NoteMta(True, "", "x"))
    assert isinstance(answer, Failed)


async def test_profiles_first_times_and_removal_are_asked_over_the_sockets(keeper: Running) -> None:
    asked = requests.StartProfile("disaster", "flood", "asha", "bina", time.time() + 3600)
    [on] = await rows(keeper, asked)
    register, _ = await keeper.door.call(requests.GetExceptions())
    assert isinstance(register, Exceptions)
    assert [row.id for row in register.profiles] == [on["id"]]
    assert await rows(keeper, requests.ListProfiles()) == [on]
    answer, _ = await keeper.admin.call(requests.StartProfile("disaster", "flood", "asha", "asha", time.time() + 3600))
    assert isinstance(answer, Failed)
    assert answer.code == 1
    [ended] = await rows(keeper, requests.EndProfile("disaster", "all well"))
    assert (ended["id"], ended["state"]) == (on["id"], "ended")
    assert await rows(keeper, requests.ListProfiles()) == []
    assert [row["state"] for row in await rows(keeper, requests.ListProfiles(all=True))] == ["ended"]
    first, _ = await keeper.door.call(requests.FirstTimes("so@dept.gov.in", ("a@nic.in",)))
    assert first == requests.FirstTime(("a@nic.in",))
    [gone] = await rows(keeper, requests.Purge())
    assert gone == {
        "audit": 0,
        "messages": 0,
        "correspondents": 0,
        "threads": 0,
        "counts": 0,
        "entries": 0,
        "copies": 0,
        "files": 0,
        "finished": True,
    }


async def test_a_keeper_whose_registry_is_a_private_mailbox_does_not_start(tmp_path: Path) -> None:
    from gateway.config import Config, Contacts
    from gateway.keeper.service import CannotStart, Keeper

    keeper = Keeper(Config(state_dir=tmp_path, contacts=Contacts(registry="registry@gmail.com")))
    with pytest.raises(CannotStart, match=r"contacts.registry: registry@gmail.com is neither"):
        await keeper.start()
