"""A thousand messages through the real SMTP door and through the real milter door: the same end of every recipient, the same evidence,
the same header fields. And fifty of them through a real Postfix.

Two gateways of the same config and vault key get the same messages in the same order, one by SMTP, one by packets as Postfix sends them,
so that what each remembers of earlier mail is the same too. Both speak through sessions that carry several messages.

What is held against each other, for every message: the reply to each RCPT; what finally happens to each recipient (passed, held,
refused), as seen from outside (what the next hop got; which recipients the milter lets the MTA keep); the whole audit record, but for
``_OWN``; and, octet by octet, the header section (without Received) and the body of what passes.

What is not the same, and is written down here as what must be there instead (``behind_an_mta``, ``fates``):

* Where all recipients of a verified originator are refused, SMTP says 250 and sends a report, the milter says 550, for the MTA has the
  client still before it. Both refuse every one of them.
* What passes is kept by the MTA, and AES-256 is the MTA's to ask for: the audit says ``kept_by`` there, ``require_aes256`` here.
* A message has one header section at an MTA: where recipients in and outside get it, it is held against what those outside get by SMTP.
* A stranger's recipient outside is refused at RCPT by both, in words of their own: by SMTP before the rules are asked (``Relaying``), at
  the milter by the rule of the same name. The words are left out.

Arranged: by SMTP a report has one recipient (RFC 5321 section 4.5.3.1: the client comes again with the others), so all messages with a
null sender have one. Only messages that an MTA hands on unchanged take part: header sections of fields alone, no bare CR or LF, no NUL.
Pictures are not read for words: that ends by the clock, and two clocks are not the same. The doctor has proved the MTA's settings; without
that note classified mail waits at the milter, which the tests of the rules look at.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import re
import shutil
import smtplib
import tempfile
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import link
from gateway.config import load
from gateway.inquiries import NoteMta
from tests.e2e import test_milter
from tests.e2e.parts import Gateway, Hop, running, wait_for
from tests.milter_mta import Mta, Packet
from tests.mixed_mail import Mixed, messages

pytestmark = [pytest.mark.slow, pytest.mark.service]

OFFICE, STRANGE, HELO = "127.0.0.1", "127.200.0.1", "pc1.dept.gov.in"
_IN_A_SESSION = 8
_FIELD = re.compile(rb"([!-9;-~]+):([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n")
_REFERENCE = re.compile(rb"\b[0-9A-HJKMNP-TV-Z]{26}\b", re.I)
_CHANGED_AT = re.compile(rb'changed-at="[^"]*"')
_OWN = (
    "@timestamp", "event.id", "email.local_id", "gateway.reference", "source.port",  # of one transaction
    "seq", "event.sequence", "event.hash", "gateway.seq", "gateway.prev_hash",  # of its place in one chain
    "gateway.door",
    "gateway.exceptions_version",  # the doctor's note is an entry with an id and a time of its own
)  # fmt: skip
"""What an audit record has of its own, by its whole path: no two records have the same."""
Fates = dict[str, str]


@dataclass
class Told:
    """What one door's client was told of one message."""

    rcpt: list[int] = field(default_factory=list)
    code: int = 0
    """The answer to the whole message; 0: no recipient was taken."""
    packets: list[Packet] = field(default_factory=list)


@dataclass
class Side:
    """One way through: answers, the audit's records, and what the next hop got, by reference and recipient."""

    told: list[Told]
    decided: dict[str, deque[list[dict[str, Any]]]]
    """By hash of the content, in order: the records of one message."""
    refusals: list[dict[str, Any]]
    """The records of what was refused before there was a message."""
    delivered: dict[tuple[str, str], bytes] = field(default_factory=dict)


# --- the messages -----------------------------------------------------------------------------------------------------


def plain(content: bytes) -> list[tuple[bytes, bytes]] | None:
    """The fields of a message that an MTA hands on as they are; None where its header section is not only fields."""
    head, blank, _ = content.partition(b"\r\n\r\n")
    fields = _FIELD.findall(head + b"\r\n")
    whole = b"".join(name + b":" + value + b"\r\n" for name, value in fields)
    same = blank and whole == head + b"\r\n" and b"\0" not in content and not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    return fields if same and content.endswith(b"\r\n") else None


def chosen(count: int) -> list[Mixed]:
    """*count* messages that both doors can be given."""
    found = [one for one in messages(count * 2) if plain(one.content) is not None][:count]
    assert len(found) == count
    return [one if one.sender else Mixed(one.name, "", one.recipients[:1], one.content) for one in found]


def sessions(mail: Iterable[Mixed]) -> Iterator[list[Mixed]]:
    """*mail* in its order, as sessions of one client each."""
    for _, run in groupby(mail, lambda one: one.ours):
        whole = list(run)
        yield from (whole[start : start + _IN_A_SESSION] for start in range(0, len(whole), _IN_A_SESSION))


# --- both ways --------------------------------------------------------------------------------------------------------


class Site(Gateway):
    """A gateway with both doors; addresses from 127.128.0.0 on are strangers'."""

    @property
    def socket(self) -> Path:
        return self.folder / "m.sock"

    def write_config(self) -> None:
        if not self.extra:
            self.extra = f'[limits]\nfree_disk = 0\n[[listen]]\ndoor = "milter"\naddress = "unix:{self.socket}"\n'
        super().write_config()
        text = self.config.read_text().replace('networks = ["127.0.0.0/8"]', 'networks = ["127.0.0.0/9"]')
        limits = "ocr_seconds = 0\ngreet_delay = 0\nconnections_per_minute = 100000\nmilter_progress = 1\n"
        self.config.write_text(text.replace("[limits]\n", f"[limits]\n{limits}"))

    def proved(self) -> None:
        """What the doctor says of an MTA that sends under AES-256 only."""
        link.ask(load(self.config), self.config, NoteMta(True, "sha256:" + "0" * 64, "all go on to this machine"))

    def same_keys(self, other: Gateway) -> None:
        """Takes the vault key of *other*: hashes of words are then the same."""
        (self.folder / "state").mkdir(parents=True)
        shutil.copytree(other.folder / "state" / "keys", self.folder / "state" / "keys")

    def side(self, told: list[Told]) -> Side:
        """*told* with what the audit log has."""
        rows = [row for row in self.records("audit", "search", "--limit", "100000") if row["event"]["dataset"] == "gateway.decision"]
        rows.sort(key=lambda row: row["event"]["sequence"])
        decided: dict[str, deque[list[dict[str, Any]]]] = defaultdict(deque)
        for _, group in groupby((row for row in rows if "email" in row), lambda row: row["gateway"]["reference"]):
            whole = list(group)
            decided[whole[0]["gateway"]["sha256"]].append(whole)
        return Side(told, decided, [row for row in rows if "email" not in row])


def by_smtp(port: int, mail: list[Mixed]) -> list[Told]:
    """Sends each message by SMTP to those recipients that are taken."""
    said = []
    for session in sessions(mail):
        source = OFFICE if session[0].ours else STRANGE
        with smtplib.SMTP("127.0.0.1", port, local_hostname=HELO, timeout=120, source_address=(source, 0)) as client:
            client.ehlo()
            for one in session:
                assert client.mail(one.sender, ["BODY=8BITMIME"])[0] == 250
                told = Told([client.rcpt(recipient)[0] for recipient in one.recipients])
                if 250 in told.rcpt:
                    told.code = client.data(one.content)[0]
                else:
                    client.rset()
                said.append(told)
    return said


async def by_milter(socket: Path, mail: list[Mixed]) -> list[Told]:
    """Sends each message as Postfix does: macros before each step, what a client resets aborted."""
    said = []
    number = 0
    for session in sessions(mail):
        mta = Mta(*await asyncio.open_unix_connection(str(socket)))
        await mta.negotiate()
        mta.macros(b"C", j="mail.dept.gov.in", daemon_name="mail.dept.gov.in", v="Postfix 3.7.11")
        mta.client(ip=OFFICE if session[0].ours else STRANGE, helo=HELO)
        for one in session:
            number += 1
            mta.macros(b"M", mail_mailer="smtp", mail_host="hop", mail_addr=one.sender)
            assert (await mta.mail(one.sender, "BODY=8BITMIME"))[0] == b"c"
            told = Told()
            for recipient in one.recipients:
                mta.macros(b"R", rcpt_mailer="smtp", rcpt_host="hop", rcpt_addr=recipient)
                command, data = await mta.rcpt(recipient)
                told.rcpt.append(250 if command == b"c" else int(data[:3]))
            said.append(told)
            if 250 not in told.rcpt:
                mta.send(b"A")
                continue
            mta.macros(b"T", i=f"4Q{number:08X}")
            mta.send(b"T")
            for name, value in plain(one.content) or ():
                mta.send(b"L", name + b"\0" + value.replace(b"\r\n", b"\n") + b"\0")
            mta.send(b"N")
            body = one.content.partition(b"\r\n\r\n")[2]
            for start in range(0, len(body), 65_535):
                mta.send(b"B", body[start : start + 65_535])
            mta.macros(b"E", i=f"4Q{number:08X}")
            mta.send(b"E")
            told.packets = await asyncio.wait_for(mta.answers(), 120)
            command, data = told.packets[-1]
            told.code = int(data[:3]) if command == b"y" else {b"c": 250, b"d": 250}.get(command, 451)
        mta.send(b"Q")
        mta.close()
    return said


def landed(hop: Hop) -> dict[tuple[str, str], bytes]:
    """What *hop* got under a reference of ours, for each recipient."""
    found = {}
    for entry in hop.received():
        content = hop.content(entry)
        marked = re.search(rb"^X-Gateway-Reference: (\S+)\r$", content.partition(b"\r\n\r\n")[0] + b"\r", re.M)
        if marked:
            found |= {(marked[1].decode(), recipient): content for recipient in entry["recipients"]}
    return found


# --- what must be the same --------------------------------------------------------------------------------------------


def without_own(row: dict[str, Any]) -> dict[str, Any]:
    """An audit record without what is its own."""
    row = copy.deepcopy(row)
    for path in _OWN:
        *parents, last = path.split(".")
        place = row
        for name in parents:
            place = place.get(name, {})
        place.pop(last, None)
    return row


def behind_an_mta(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the audit must say at the milter where it says *rows* of a message by SMTP."""
    rows = [without_own(row) for row in rows]
    none_goes = all(row["event"]["action"] == "message-blocked" for row in rows)
    for row in rows:
        if none_goes:
            row["gateway"]["smtp"]["rcpt_to"][0]["code"] = 550
        if row["event"]["action"] == "message-accepted":
            row["gateway"].pop("require_aes256", None)
            row["gateway"]["kept_by"] = "mta"
    return rows


def wordless(rows: list[dict[str, Any]]) -> list[str]:
    """Refusals at RCPT without their words, in an order of their own: they are recorded beside the messages."""
    rows = [without_own(row) for row in rows]
    for row in rows:
        row["gateway"]["smtp"].pop("text")
    return sorted(repr(sorted(row.items())) for row in rows)


def fates(one: Mixed, told: Told, rows: list[dict[str, Any]], passed: set[str]) -> Fates:
    """What finally happened to each recipient, where *passed* are those who are seen to have it."""
    written = {row["gateway"]["smtp"]["rcpt_to"][0]["address"]: row["event"]["action"] for row in rows}
    words = {"message-accepted": "passed", "message-held": "held", "message-blocked": "refused"}
    taken = [recipient for recipient, code in zip(one.recipients, told.rcpt, strict=True) if code == 250]
    assert all(code in (250, 550) for code in told.rcpt), (one.name, told)
    assert told.code in ((250, 550) if taken else (0,)), (one.name, told)
    ends = {recipient: words[written[recipient]] if recipient in written else "refused" for recipient in one.recipients}
    assert set(written) == (set(taken) if rows else set()), one.name
    assert rows or told.code != 250, one.name
    assert {recipient for recipient, end in ends.items() if end == "passed"} == passed, one.name
    assert told.code != 550 or set(ends.values()) == {"refused"}, one.name
    return ends


def kept(one: Mixed, told: Told) -> set[str]:
    """The recipients that the milter lets the MTA keep."""
    if told.code != 250 or told.packets[-1][0] == b"d":
        return set()
    gone = {data.strip(b"<>\0").decode() for command, data in told.packets if command == b"-"}
    return {recipient for recipient, code in zip(one.recipients, told.rcpt, strict=True) if code == 250} - gone


def changed(one: Mixed, answers: list[Packet]) -> bytes:
    """The header section as the MTA holds it after the answers."""
    fields = list(plain(one.content) or ())
    for command, data in answers:
        assert command in b"mi-cdy", command
        if command in (b"m", b"i"):
            index, (name, value) = int.from_bytes(data[:4], "big"), data[4:].split(b"\0")[:2]
            value = value.replace(b"\n", b"\r\n")
            if command == b"i":
                fields.insert(index, (name, value))
                continue
            places = [number for number, each in enumerate(fields) if each[0].lower() == name.lower()]
            if value:
                fields[places[index - 1]] = (fields[places[index - 1]][0], value)
            else:
                del fields[places[index - 1]]
    return shown(fields)


def shown(fields: list[tuple[bytes, bytes]]) -> bytes:
    """Fields in order, without Received, with one name for every reference and one time for every change of a label."""
    whole = b"".join(name + b":" + value + b"\n" for name, value in fields if name.lower() != b"received")
    return _CHANGED_AT.sub(b"changed-at", _REFERENCE.sub(b"REF", whole))


def parted(content: bytes) -> tuple[bytes, bytes]:
    """Header section as ``shown``, and body."""
    head, _, body = content.partition(b"\r\n\r\n")
    return shown(_FIELD.findall(head + b"\r\n")), body


def hold_against(mail: list[Mixed], smtp: Side, milter: Side) -> Counter[str]:
    """Holds both ways against each other, message by message; how many recipients came to which end, and more that is counted."""
    counts: Counter[str] = Counter()
    for one, first, second in zip(mail, smtp.told, milter.told, strict=True):
        sha256 = hashlib.sha256(one.content).hexdigest()
        rows = smtp.decided[sha256].popleft() if smtp.decided[sha256] and first.code else []
        there = milter.decided[sha256].popleft() if milter.decided[sha256] and second.code else []
        assert first.rcpt == second.rcpt, one.name
        assert [without_own(row) for row in there] == behind_an_mta(rows), one.name
        reference = rows[0]["gateway"]["reference"] if rows else ""
        ends = fates(one, first, rows, {who for who in one.recipients if (reference, who) in smtp.delivered})
        if milter.delivered:
            own = there[0]["gateway"]["reference"] if there else ""
            passed = {who for who in one.recipients if (own, who) in milter.delivered}
        else:
            own, passed = "", kept(one, second)
        assert fates(one, second, there, passed) == ends, one.name
        counts.update(ends.values())
        counts["messages"] += 1
        counts["with evidence"] += any("evidence" in row["gateway"] for row in rows)
        if passed:
            outside = {row["gateway"]["smtp"]["rcpt_to"][0]["address"] for row in rows if row["email"]["direction"] == "outbound"}
            shares = next((who for who in one.recipients if who in passed & outside), next(who for who in one.recipients if who in passed))
            got = parted(smtp.delivered[reference, shares])
            assert got[1] == one.content.partition(b"\r\n\r\n")[2], one.name
            for who in passed if milter.delivered else ():
                assert parted(milter.delivered[own, who]) == got, one.name
            if not milter.delivered:
                assert changed(one, second.packets) == got[0], one.name
            counts["header sections"] += 1
    assert not any(smtp.decided.values()) and not any(milter.decided.values())  # nothing else was decided
    assert wordless(smtp.refusals) == wordless(milter.refusals)
    counts["refused at RCPT"] = len(smtp.refusals)
    return counts


def compare(base: Path, mail: list[Mixed]) -> Counter[str]:
    """Sends *mail* both ways at one time."""
    hop = Hop(base / "hop")
    first, second = Site(base / "smtp", hop.port), Site(base / "milter", hop.port)

    async def both() -> tuple[list[Told], list[Told]]:
        return await asyncio.gather(asyncio.to_thread(by_smtp, first.port, mail), by_milter(second.socket, mail))

    with running(hop, first):
        second.same_keys(first)
        with running(second):
            first.proved()
            second.proved()
            told, answers = asyncio.run(both())
            milter = second.side(answers)
        smtp = first.side(told)
        wait_for(lambda: not first.records("queue", "list"), 120, "all is delivered")
        smtp.delivered = landed(hop)
    return hold_against(mail, smtp, milter)


def test_T04_a_few_messages_come_to_the_same_by_both_doors(tmp_path: Path) -> None:
    assert compare(tmp_path, chosen(25))["messages"] == 25


@pytest.mark.timeout(900)
def test_T04_a_thousand_messages_come_to_the_same_by_both_doors(tmp_path: Path) -> None:
    counts = compare(tmp_path, chosen(1000))
    print("\nboth doors:", ", ".join(f"{name} {number}" for name, number in sorted(counts.items())))
    assert counts["messages"] == 1000
    assert min(counts[name] for name in ("passed", "held", "refused", "refused at RCPT", "with evidence", "header sections")) > 20, counts


@pytest.mark.skipif(test_milter.CANNOT, reason=test_milter.WHY_NOT)
def test_T04_fifty_messages_come_to_the_same_behind_a_real_postfix() -> None:
    # Whom strangers may write to is Postfix's decision too, and comes first.
    mail = [one for one in chosen(100) if one.ours or all(who.endswith("@dept.gov.in") for who in one.recipients)][:50]
    # No mailboxes, and nothing that Postfix of itself adds, drops or folds.
    main = (
        "virtual_mailbox_domains =\nrelay_domains = dept.gov.in\nmynetworks = 127.0.0.0/9\nlocal_header_rewrite_clients =\n"
        "message_drop_headers =\nsmtp_line_length_limit = 0\n"
    )
    # Not below pytest's own folder, which other users may not enter, Postfix's among them.
    with tempfile.TemporaryDirectory(prefix="milter-", ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        hop = Hop(base / "smtp-hop")
        first = Site(base / "smtp", hop.port)
        with running(hop, first):
            (base / "with").mkdir()
            Site(base / "with" / "gw", 0).same_keys(first)
            with test_milter.site(base / "with", main=main, kind=Site) as behind:
                assert isinstance(behind.gateway, Site)
                first.proved()
                behind.gateway.proved()
                told = by_smtp(first.port, mail)
                milter = behind.gateway.side(by_smtp(behind.postfix.port, mail))
                wait_for(lambda: not behind.queue() and not behind.gateway.records("queue", "list"), 120, "Postfix has sent all")
                milter.delivered = landed(behind.hop)
            smtp = first.side(told)
            wait_for(lambda: not first.records("queue", "list"), 120, "all is delivered")
            smtp.delivered = landed(hop)
    counts = hold_against(mail, smtp, milter)
    print("\nbehind Postfix:", ", ".join(f"{name} {number}" for name, number in sorted(counts.items())))
    assert counts["messages"] == 50
    assert counts["passed"] and counts["held"] and counts["refused"], counts
