"""R7 through a whole gateway: what answers or quotes classified mail without its marking, and what of it stands in the store."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import textwrap
from email.message import EmailMessage

import pytest

from tests.e2e.parts import Gateway, Hop
from tests.e2e.test_job import DESK, OFFICER, arrived, note, reference_of, send

pytestmark = pytest.mark.slow  # a whole gateway

CERT = "incident@cert-in.org.in"
CITIZEN = "someone@example.com"
PLAN = (
    "The second company moves from Rampur to the bridge at Sitapur in the night of the fourteenth, with eleven lorries and two guns, "
    "and relieves the picket there before the light comes. Nobody but the commander of the post knows the hour."
)
SECRET = (
    "The frigates leave Karwar on the ninth with their lamps out and wait for the tanker south of the shoal until the cutter has "
    "taken the pilot off, whatever the harbour master may say about it."
)


def mail(subject: str, text: str, to: str, identifier: str, *fields: tuple[str, str]) -> bytes:
    message: EmailMessage = note(subject, text, to)
    message.replace_header("Message-ID", f"<{identifier}@dept.gov.in>")
    for name, value in fields:
        message[name] = value
    return message.as_bytes()


def answers(identifier: str) -> tuple[tuple[str, str], ...]:
    return ("In-Reply-To", f"<{identifier}@dept.gov.in>"), ("References", f"<{identifier}@dept.gov.in>")


def rule_of(gateway: Gateway, content: bytes, to: str) -> str:
    """The rule that decided, as the decision log has it."""
    code, reply = send(gateway, content, [to])
    assert code == 250, reply
    reference = reference_of(reply)
    rows = [row for row in gateway.records("audit", "search", "--to", to, "--limit", "1000") if reference in json.dumps(row)]
    decided = [row for row in rows if row["event"]["dataset"] == "gateway.decision" and row["event"]["action"] != "delivered"]
    rules: set[str] = {row["rule"]["id"] for row in decided if "rule" in row}
    assert len(rules) == 1, rows
    return rules.pop()


def quoted(text: str) -> str:
    return "On Monday the officer wrote:\n" + "\n".join("> " + line for line in textwrap.wrap(text, 50)) + "\n"


@pytest.fixture(scope="module")
def thread(gateway: Gateway, hop: Hop) -> str:
    """The Message-ID of a CONFIDENTIAL message that was delivered."""
    code, reply = send(gateway, mail("Movement", f"CONFIDENTIAL\n\n{PLAN}\n", DESK, "movement-77"), [DESK])
    assert code == 250, reply
    arrived(hop, reference_of(reply), DESK)
    return "movement-77"


def test_R7_an_unmarked_answer_in_a_classified_thread_does_not_leave_government(gateway: Gateway, thread: str) -> None:
    assert rule_of(gateway, mail("Re: Movement", "Noted, thanks.", CERT, "a-1", *answers(thread)), CERT) == "thread-downgraded"
    assert rule_of(gateway, mail("Re: Movement", "Noted, thanks.", DESK, "a-2", *answers(thread)), DESK) == "ordinary-mail"
    assert rule_of(gateway, mail("Re: Movement", "Noted, thanks.", CERT, "a-3", *answers("a-2")), CERT) == "thread-downgraded", "handed on"
    assert rule_of(gateway, mail("Re: Menu", "Noted, thanks.", CERT, "a-4", *answers("another-thread")), CERT) == "ordinary-mail"
    assert rule_of(gateway, mail("Re: Movement", "Noted, thanks.", CITIZEN, "a-5", *answers(thread)), CITIZEN).startswith("outbound-to-")


def test_R7_a_passage_in_a_new_thread_is_recognised_however_it_is_wrapped(gateway: Gateway, thread: str) -> None:
    assert rule_of(gateway, mail("Fwd: for you", f"See below.\n\n{quoted(PLAN)}", CERT, "b-1"), CERT) == "thread-downgraded"
    assert rule_of(gateway, mail("For you", f"See below.\n\n{quoted(PLAN)}", DESK, "b-2"), DESK) == "thread-downgraded", "inside too"
    marked = mail("Fwd: for you", f"CONFIDENTIAL\n\nSee below.\n\n{quoted(PLAN)}", DESK, "b-3")
    assert rule_of(gateway, marked, DESK) == "ordinary-mail"
    assert rule_of(gateway, mail("Fwd: for you", quoted(SECRET), CERT, "b-4"), CERT) == "ordinary-mail", "nobody marked that yet"


def test_R7_what_was_refused_as_secret_is_recognised_without_its_marking(gateway: Gateway) -> None:
    code, _ = send(gateway, mail("Plan", f"SECRET\n\n{SECRET}\n\nSECRET\n", DESK, "c-1"), [DESK])
    assert code == 550
    code, reply = send(gateway, mail("Fwd: Plan", quoted(SECRET), DESK, "c-2"), [DESK])
    assert (code, "probable-secret" in reply) == (550, True), "no certificate to seal to: it is refused"
    assert rule_of(gateway, mail("Re: Plan", "Shall we meet?", CERT, "c-3", *answers("c-1")), CERT) == "thread-downgraded"


def test_R7_a_stranger_cannot_mark_a_thread_of_ours(gateway: Gateway) -> None:
    """On the loopback everybody is listed: the null sender is what is left of strangers; test_threads has the others."""
    content = mail("Report", f"CONFIDENTIAL\n\n{PLAN[::-1]}\n", OFFICER, "d-1")
    assert send(gateway, content, [OFFICER], sender="")[0] == 250
    assert rule_of(gateway, mail("Re: Report", "Noted.", CERT, "d-2", *answers("d-1")), CERT) == "ordinary-mail"


def test_R7_no_word_of_it_can_be_read_in_the_store_and_no_message_id_in_the_memory(gateway: Gateway, thread: str) -> None:
    store = gateway.folder / "state" / "gateway.db"
    octets = b"".join(file.read_bytes() for file in store.parent.glob("gateway.db*"))
    for word in (b"Sitapur", b"sitapur", b"Karwar", b"lorries", b"harbour"):
        assert word not in octets, word
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT * FROM threads").fetchall()
    assert len(rows) > 5
    assert {(len(mark), type(mark)) for mark, *_ in rows} == {(16, bytes)}
    assert {department for *_, department, _ in rows} == {"dept.gov.in"}
