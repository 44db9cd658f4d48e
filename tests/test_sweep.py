"""``gateway sweep`` against a server of a few lines: what it asks for, what it believes, and what it says when something is wrong."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from gateway import policy
from gateway.cli import invoke, sweep, sweep_case, sweep_report, sweep_server
from gateway.cli.options import Stop
from gateway.config import Config

Capture = pytest.CaptureFixture[str]
OWNER, SECRET = "asha.verma@dept.gov.in", "कमल right 7"


def message(to: str = "so.budget@finance.nic.in", text: str = "Agenda", more: str = "") -> bytes:
    return f"From: {OWNER}\r\nTo: {to}\r\n{more}Subject: note\r\nDate: Mon, 05 Jan 2026 10:00:00 +0530\r\n\r\n{text}\r\n".encode()


class Fake:
    """An IMAP server on loopback that answers from a table; *odd* may answer a command in its own way."""

    def __init__(self, boxes: dict[str, list[bytes]], odd: Callable[[Fake, bytes, str], bytes | None] | None = None) -> None:
        self.boxes, self.odd = boxes, odd
        self.greeting = b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] here\r\n"
        self.said: list[str] = []
        self.open = ""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        return f"imap://127.0.0.1:{self.port}"

    def __enter__(self) -> Fake:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(self.greeting)
                for line in lines:
                    self.said.append(line.decode().strip())
                    answer = self._answer(line)
                    if answer is None:
                        connection.shutdown(socket.SHUT_RDWR)  # the forked workers of the command hold this end too
                        return
                    connection.sendall(answer)

    def _answer(self, line: bytes) -> bytes | None:
        tag, _, rest = line.rstrip(b"\r\n").partition(b" ")
        command = rest.decode()
        if self.odd is not None and (own := self.odd(self, tag, command)) is not None:
            return own if own else None
        done = tag + b" OK done\r\n"
        if command == "CAPABILITY":
            return b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" + done
        if command.startswith("AUTHENTICATE"):
            self._tag = tag
            return b"+ \r\n"
        if not rest:  # the credentials
            return self._tag + b" OK [CAPABILITY IMAP4rev1] in\r\n"
        if command.startswith("LIST"):
            marks = {"Sent": "\\Sent", "Drafts": "\\Drafts"}
            listed = [f'* LIST (\\HasNoChildren {marks.get(name, "")}) "/" "{name}"\r\n'.encode() for name in self.boxes]
            return b"".join(listed) + done
        if command.startswith("EXAMINE"):
            self.open = command.partition(" ")[2].strip('"')
            count = len(self.boxes[self.open])
            head = f"* {count} EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 77] v\r\n* OK [UIDNEXT {10 * count + 1}] n\r\n".encode()
            return head + tag + b" OK [READ-ONLY] done\r\n"
        if command.startswith("UID SEARCH"):
            low, high = (int(one) for one in re.findall(r"UID (\d+):(\d+)", command)[0])
            uids = [str(uid) for uid in self._uids() if low <= uid <= high]
            return f"* SEARCH {' '.join(uids)}".rstrip().encode() + b"\r\n" + done
        if command.startswith("UID FETCH"):
            return b"".join(self._fetched(command)) + done
        return b"* BYE\r\n" + done if command == "LOGOUT" else tag + b" BAD what\r\n"

    def _uids(self) -> list[int]:
        return [10 * number for number in range(1, len(self.boxes[self.open]) + 1)]

    def _fetched(self, command: str) -> Iterator[bytes]:
        for number, uid in enumerate(self._uids(), 1):
            if str(uid) not in command.split()[2].split(","):
                continue
            octets = self.boxes[self.open][number - 1]
            if "BODY.PEEK" in command:
                yield f"* {number} FETCH (UID {uid} BODY[]<0> {{{len(octets)}}}\r\n".encode() + octets + b")\r\n"
            else:
                yield f'* {number} FETCH (UID {uid} RFC822.SIZE {len(octets)} INTERNALDATE "05-Jan-2026 10:00:00 +0530")\r\n'.encode()


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped rules take a second to load; here they are loaded once a config."""

    def load(rules_dir: Path | None, config: Config) -> policy.Policy:
        for known, found in LOADED:
            if known == (rules_dir, config.originators, config.limits):
                return found
        LOADED.append(((rules_dir, config.originators, config.limits), LOAD(rules_dir, config)))
        return LOADED[-1][1]

    monkeypatch.setattr(policy, "load", load)


LOAD, LOADED = policy.load, list[tuple[object, policy.Policy]]()


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n", "utf-8")
    return str(file)


def swept(capsys: Capture, server: Fake, secret: str, *words: str, code: int = 0) -> tuple[str, str]:
    with server:
        got = invoke(["sweep", server.url, "--login", OWNER, "--password-file", secret, *words])
    out, err = capsys.readouterr()
    assert got == code, (got, out, err)
    return out, err


def test_sent_and_drafts_are_judged_and_nothing_but_looking_is_asked(capsys: Capture, secret: str) -> None:
    boxes = {
        "INBOX": [message()], "Sent": [message(), message("r.kumar@gmail.com", more="Bcc: b@yahoo.co.in\r\n")], "Drafts": [message("")],
    }  # fmt: skip
    server = Fake(boxes)
    out, err = swept(capsys, server, secret, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert [(one["mailbox"], one["uidvalidity"], one["uid"]) for one in records] == [("Drafts", 77, 10), ("Sent", 77, 10), ("Sent", 77, 20)]
    assert [[(to["address"], to["disposition"]) for to in one["recipients"]] for one in records] == [
        [], [("so.budget@finance.nic.in", "deliver")], [("r.kumar@gmail.com", "refuse"), ("b@yahoo.co.in", "refuse")],
    ]  # fmt: skip
    assert records[1]["file"] == "Sent;UIDVALIDITY=77/;UID=10"
    assert (records[1]["date"], records[1]["sender"], records[1]["official"]) == ("2026-01-05T10:00:00+05:30", OWNER, True)
    assert "no exception counts" in err
    verbs = {re.sub(r"^(UID )?(\w+).*", r"\1\2", line.partition(" ")[2]) for line in server.said}
    assert verbs == {"CAPABILITY", "AUTHENTICATE", "", "LIST", "EXAMINE", "UID SEARCH", "UID FETCH", "LOGOUT"}
    fetched = [line for line in server.said if "BODY" in line]
    assert len(fetched) == 3
    assert all("(BODY.PEEK[]<0.25000001>)" in line for line in fetched)


def test_the_table_at_the_end_counts_decisions_rules_and_levels(capsys: Capture, secret: str) -> None:
    out, _ = swept(capsys, Fake({"Sent": [message(), message("a@gmail.com"), message(text="CONFIDENTIAL")]}), secret)
    assert "Sent 10  2026-01-05  no marking: note" in out
    assert "3 messages" in out
    for row in (
        r"decision +deliver +2",
        r"decision +refuse +1",
        r"rule +outbound-to-private-provider \(refuse\) +1",
        r"level +CONFIDENTIAL +1",
    ):
        assert re.search(row, out), row


def test_what_is_too_large_is_said_and_not_fetched(capsys: Capture, secret: str, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        f'hostname = "gw.dept.gov.in"\nstate_dir = "{tmp_path}"\nmax_message_size = "1KB"\n[contacts]\npostmaster = "p@dept.gov.in"\n'
        '[originators]\ndomains = ["dept.gov.in"]\n'
    )
    server = Fake({"Sent": [message(text="x" * 2000), message()]})
    out, err = swept(capsys, server, secret, "--config", str(config))
    assert "Sent 10: is larger than max_message_size: the gateway would have refused it unread" in err
    assert re.search(r"decision +too large +1", out)
    assert [line.split()[3] for line in server.said if "BODY" in line] == ["20"]


def test_a_size_that_was_a_lie_is_too_large_all_the_same(capsys: Capture, secret: str, tmp_path: Path) -> None:
    big = message(text="x" * 5_000_000)

    def lie(fake: Fake, tag: bytes, command: str) -> bytes | None:
        return b"* 1 FETCH (UID 10 RFC822.SIZE 100)\r\n" + tag + b" OK done\r\n" if "RFC822.SIZE" in command else None

    config = tmp_path / "gateway.toml"
    config.write_text(
        f'hostname = "gw.dept.gov.in"\nstate_dir = "{tmp_path}"\nmax_message_size = "1KB"\n[contacts]\npostmaster = "p@dept.gov.in"\n'
        '[originators]\ndomains = ["dept.gov.in"]\n'
    )
    _, err = swept(capsys, Fake({"Sent": [big]}, lie), secret, "--config", str(config), code=1)
    assert "more octets than were asked for" in err
    assert "0 of 1 messages of 'Sent' were read; go on with --mailbox 'Sent' --after 77:0" in err


@pytest.mark.parametrize("literal", [b"{4294967296}", b"{99999999999999999999}"])
def test_I02_a_literal_without_end_costs_no_memory(capsys: Capture, secret: str, literal: bytes) -> None:
    def huge(fake: Fake, tag: bytes, command: str) -> bytes | None:
        return b"* 1 FETCH (UID 10 BODY[]<0> " + literal + b"\r\nabc" if "BODY" in command else None

    _, err = swept(capsys, Fake({"Sent": [message()]}, huge), secret, code=1)
    assert "more octets than were asked for" in err


@pytest.mark.parametrize("said", [b"* 1 FETCH " + b"(" * 5000, b"* 1 FETCH (ENVELOPE (1))", b"* 1 FETCH (ENVELOPE 7)"])
def test_I04_answers_that_cannot_be_read_are_one_sentence(capsys: Capture, secret: str, said: bytes) -> None:
    def odd(fake: Fake, tag: bytes, command: str) -> bytes | None:
        return said + b"\r\n" + tag + b" OK done\r\n" if "FETCH" in command else None

    _, err = swept(capsys, Fake({"Sent": [message()]}, odd), secret, code=1)
    assert "gave no answer that can be used" in err or "said no" in err
    assert "Traceback" not in err


def test_I02_answers_without_end_are_cut(capsys: Capture, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_server, "SMALL", 20_000)

    def flood(fake: Fake, tag: bytes, command: str) -> bytes | None:
        return b'* LIST () "/" "x"\r\n' * 5000 + tag + b" OK\r\n" if command.startswith("LIST") else None

    _, err = swept(capsys, Fake({"Sent": [message()]}, flood), secret, code=1)
    assert "longer than what was asked for" in err


def test_I01_a_session_that_is_open_before_any_login_is_left(capsys: Capture, secret: str) -> None:
    server = Fake({"Sent": [message()]})
    server.greeting = b"* PREAUTH [CAPABILITY IMAP4rev1] welcome\r\n"
    _, err = swept(capsys, server, secret, code=1)
    assert "somebody is signed in before anybody was" in err
    assert not any("AUTHENTICATE" in line or "LOGIN" in line for line in server.said)


def test_a_mailbox_that_would_be_opened_for_writing_is_left_alone(capsys: Capture, secret: str) -> None:
    def writable(fake: Fake, tag: bytes, command: str) -> bytes | None:
        return b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n" + tag + b" OK [READ-WRITE] done\r\n" if command.startswith("EXAMINE") else None

    server = Fake({"Sent": [message()]}, writable)
    _, err = swept(capsys, server, secret, code=1)
    assert "so it is left alone" in err
    assert not any("FETCH" in line for line in server.said)


def test_a_server_that_is_silent_is_left_after_a_time(capsys: Capture, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_server, "ANSWER", 0.3)
    _, err = swept(capsys, Fake({"Sent": []}, lambda _, tag, command: b"* " if "LIST" in command else None), secret, code=1)
    assert "it took too long" in err


def test_a_connection_that_ends_says_where_to_go_on(capsys: Capture, secret: str) -> None:
    def ends(fake: Fake, tag: bytes, command: str) -> bytes | None:
        return b"" if "BODY" in command and " 30 " in f" {command} " else None

    out, err = swept(capsys, Fake({"Sent": [message()] * 4}, ends), secret, "--json", code=1)
    done = [json.loads(line)["uid"] for line in out.splitlines()]
    assert done in ([], [10], [10, 20])
    assert f"{len(done)} of 4 messages of 'Sent' were read; go on with --mailbox 'Sent' --after 77:{done[-1] if done else 0}" in err


@pytest.mark.slow
def test_it_goes_on_behind_a_message(capsys: Capture, secret: str) -> None:
    words = ("--json", "--mailbox", "Sent", "--after")
    out, _ = swept(capsys, Fake({"Sent": [message()] * 4}), secret, *words, "77:20", "--since", "2026-01-05")
    assert [json.loads(line)["uid"] for line in out.splitlines()] == [30, 40]
    out, _ = swept(capsys, Fake({"Sent": [message()] * 4}), secret, *words, "40")
    assert out == ""
    _, err = swept(capsys, Fake({"Sent": [message()]}), secret, *words, "78:20", code=2)
    assert "its UIDs have changed" in err


def test_a_message_that_goes_meanwhile_is_no_error(capsys: Capture, secret: str) -> None:
    def gone(fake: Fake, tag: bytes, command: str) -> bytes | None:
        return tag + b" OK done\r\n" if "BODY" in command else None

    out, err = swept(capsys, Fake({"Sent": [message()]}, gone), secret)
    assert "has gone from the mailbox meanwhile" in err
    assert re.search(r"decision +gone meanwhile +1", out)


def test_a_message_that_kills_its_reader_is_held(capsys: Capture, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    from gateway import content

    parent = os.getpid()

    def killing(*_: object, **__: object) -> None:
        assert os.getpid() != parent
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(content, "unpack", killing)
    out, _ = swept(capsys, Fake({"Sent": [message()]}), secret, "--json")
    record = json.loads(out)
    assert [to["disposition"] for to in record["recipients"]] == ["hold"]
    assert (record["uid"], record["leaves"][0]["state"]) == (10, "suspect")


def test_a_wrong_password_is_one_sentence_without_it(capsys: Capture, secret: str) -> None:
    def no(fake: Fake, tag: bytes, command: str) -> bytes | None:
        return fake._tag + b" NO [AUTHENTICATIONFAILED] no\r\n" if not command else None

    _, err = swept(capsys, Fake({"Sent": []}, no), secret, code=1)
    assert "does not take this login and password" in err
    assert SECRET not in err


@pytest.mark.slow
def test_the_mailboxes_to_read(capsys: Capture, secret: str) -> None:
    _, err = swept(capsys, Fake({"INBOX": [], "Archive": []}), secret, code=2)
    assert "There is neither a Sent nor a Drafts mailbox: name one with --mailbox (there are: Archive, INBOX)" in err
    _, err = swept(capsys, Fake({"INBOX": []}), secret, "--mailbox", "Outbox", code=2)
    assert "there is no mailbox 'Outbox'" in err
    out, _ = swept(capsys, Fake({"INBOX": [message()], "Sent": [message()]}), secret, "--all", "--json")
    assert [json.loads(line)["mailbox"] for line in out.splitlines()] == ["INBOX", "Sent"]


@pytest.mark.slow
def test_mail_of_strangers_is_a_strangers_also_in_an_officers_mailbox(capsys: Capture, secret: str) -> None:
    stranger = b"From: m.lakshmi@example.org\r\nTo: " + OWNER.encode() + b"\r\nSubject: light\r\nDate: x\r\n\r\nhi\r\n"
    out, _ = swept(capsys, Fake({"INBOX": [stranger, message()], "Sent": [stranger]}), secret, "--json", "--all")
    found = [(one["mailbox"], one["official"], one["recipients"][0]["direction"]) for one in map(json.loads, out.splitlines())]
    assert found[0] == ("INBOX", False, "inbound")
    assert found[1][:2] == ("INBOX", True)
    assert found[2][:2] == ("Sent", True), "what lies in Sent is the owner's, whatever From says"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("imap://mail.example.gov.in", "in clear"), ("https://mail.example.gov.in", "not an address"), ("imaps://", "not an address"),
        ("imaps://asha:secret@mail.example.gov.in", "Take the login out"), ("imaps://mail.example.gov.in/Sent", "write --mailbox"),
        ("imaps://mail.example.gov.in:99999", "not an address"), ("imap://127.0.0.1.example.org", "in clear"),
    ],
)  # fmt: skip
def test_addresses_that_are_not_taken(capsys: Capture, url: str, said: str) -> None:
    assert invoke(["sweep", url, "--login", OWNER]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--login", "a\r\nb"), "no control characters"), (("--login", OWNER, "--all", "--mailbox", "x"), "not said together"),
        (("--login", OWNER, "--after", "5"), "name it with --mailbox"), (("--login", OWNER, "--since", "last week"), "not a date"),
        (("--login", OWNER, "--after", "x", "--mailbox", "Sent"), "neither a UID"), ((), "--login is missing"),
        (("--login", OWNER, "--password-file", "/nowhere"), "No such file"), (("--login", OWNER), "--password-file is missing"),
        (("--login", OWNER, "--password-file", "credential:x"), "no credentials were passed"),
    ],
)  # fmt: skip
def test_calls_that_are_wrong(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    monkeypatch.setattr("sys.stdin", (tmp_path / "empty").open("w+"))
    assert invoke(["sweep", "imap://127.0.0.1:9", *words]) == 2
    assert said in capsys.readouterr().err


def test_no_password_is_an_argument(capsys: Capture) -> None:
    assert invoke(["sweep", "imap://127.0.0.1:9", "--login", OWNER, "--password", "x"]) == 2
    assert "--password" in capsys.readouterr().err


def test_an_empty_password_file_is_no_password(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for octets in (b"", b"\nsecret\n", b"a\x00b\n", b"\xff\n"):
        file.write_bytes(octets)
        with pytest.raises(Stop):
            sweep._password(str(file))
    file.write_bytes("कमल right 7\r\nmore".encode())
    assert sweep._password(str(file)) == "कमल right 7"


def test_the_envelope_of_a_message() -> None:
    config = Config()

    def of(head: str) -> sweep_case.Envelope:
        return sweep_case.envelope(head.encode() + b"\r\n\r\ntext\r\n", config)

    found = of('From: "A, V" <a@dept.gov.in>\r\nTo: B <b@finance.nic.in>, b@finance.nic.in\r\nCc: desk: c@x.org, d@y.org;\r\nBcc: e@z.org')
    assert found.sender.text == "a@dept.gov.in"
    assert [path.text for path in found.recipients] == ["b@finance.nic.in", "c@x.org", "d@y.org", "e@z.org"]
    assert not found.unread
    assert of("From: a@dept.gov.in\r\nTo: undisclosed-recipients:;") == sweep_case.Envelope(found.sender, (), False)
    assert of("From: a@dept.gov.in\r\nTo: b@x.org, somebody, else").unread
    assert of("From: a@dept.gov.in\r\nTo: b@localhost").unread, "an address that no door takes"
    assert of("From: a@dept.gov.in, b@dept.gov.in\r\nTo: b@x.org").sender.is_null
    assert of("Subject: nobody").recipients == ()


def test_windows_of_uids_cover_a_large_mailbox() -> None:
    class Client:
        def __init__(self) -> None:
            self.wire, self.asked = self, list[str]()

        def allow(self, *_: float) -> None:
            pass

        def search(self, wanted: bytes) -> list[int]:
            self.asked.append(wanted.decode())
            low, high = map(int, re.findall(r"\d+", wanted.decode())[:2])
            return [uid for uid in (1, 80_000, 80_001, 200_000) if low <= uid <= high] + [5_000_000]

    server = object.__new__(sweep_server.Server)
    server._client = Client()
    assert server.uids(sweep_server.Opened(1, 200_000, 100_000), 1, date(2026, 1, 31)) == [80_000, 80_001, 200_000]
    assert server._client.asked == [f"UID {low}:{min(low + 79_999, 200_000)} SINCE 31-Jan-2026" for low in (2, 80_002, 160_002)]


def test_sums_hold_no_messages() -> None:
    sums = sweep_report.Sums()
    for number in range(1000):
        sums.add({"too_large": True, "error": f"{number}"})
    assert sums.rows() == [{"by": "decision", "what": "too large", "count": 1000}]
