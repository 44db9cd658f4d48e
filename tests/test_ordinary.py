"""Ordinary mail lives: each kind passes unharmed, by the baseline and with all packs in force, or waits where it must, by name."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import dkim
import pytest

from gateway import address, content, policy
from gateway.config import Config, Contacts, Originators, Route
from gateway.envelope import Door, Envelope, Peer, Recipient, Transaction, new_id
from gateway.message.edits import apply
from gateway.options import Application, Dkim
from gateway.pipeline import Pipeline
from gateway.policy import Policy, decide
from gateway.relay.signing import Signer
from gateway.reply import Reply
from gateway.requests import Committed, ExceptionRow, Exceptions
from gateway.verdict import Disposition, Inspection, Remembered, Thread, Verdict
from tests.ordinary_mail import ADDED, APPROVED, FOLDER, OFFICER, OFFICIALS, Case, above, cases
from tests.test_authentication import pem, record

RULES = Path(__file__).parents[1] / "rules"
PACKS = ("jammu-kashmir", "gujarat", "maharashtra", "rajasthan")
CONFIG = Config(
    hostname="gw1.it.gujarat.gov.in",
    originators=Originators(domains=("it.gujarat.gov.in",), networks=("10.0.0.0/8",)),
    contacts=Contacts(postmaster="postmaster@it.gujarat.gov.in", security="security@it.gujarat.gov.in"),
    application=(
        Application(name="portal", senders=("noreply-portal@it.gujarat.gov.in",)),
        Application(name="e-office", senders=("eoffice-noreply@it.gujarat.gov.in",)),
        Application(name="newsletter", senders=("news@it.gujarat.gov.in",)),
    ),
    route=(
        Route(domains=("it.gujarat.gov.in",), local=True, next_hop="127.0.0.1:10026", tls="none"),
        Route(domains=("*",), next_hop="127.0.0.1:10027", tls="none"),
    ),
)
LISTED = Peer("10.0.0.5", helo="mail.it.gujarat.gov.in", listed=True)
STRANGER = Peer("192.0.2.7", helo="mail.example.org")
SIGNED_IN = Peer(
    "198.51.100.9",
    helo="laptop",
    user=OFFICER,
    senders=(OFFICER,),
    tls_version="TLSv1.3",
    tls_cipher="TLS_AES_256_GCM_SHA384",
    tls_bits=256,
)
CITIZEN = "petitioner@gmail.com"
CASES = cases()
NAMES = [case.name for case in CASES]


@pytest.fixture(scope="module", params=["baseline", "packs"])
def rules(request: pytest.FixtureRequest) -> tuple[str, Policy, Config]:
    config = CONFIG.model_copy(update={"packs": PACKS}) if request.param == "packs" else CONFIG
    return request.param, policy.load(RULES, config), config


class Reads:
    """The inspector without its process."""

    def __init__(self, loaded: Policy) -> None:
        self.scheme = loaded.scheme

    async def inspect(self, octets: bytes, sha256: str, keys: Any = ()) -> Inspection:
        return content.unpack(octets, sha256=sha256, limits=CONFIG.limits, scheme=self.scheme)


class Keeps:
    """The keeper, which keeps every verdict."""

    def __init__(self, *rows: ExceptionRow) -> None:
        self.exceptions = Exceptions("sha256:1", rows)
        self.verdicts: list[Verdict] = []

    async def refresh_exceptions(self) -> None:
        raise AssertionError("nothing changed")

    async def first_times(self, sender: str, recipients: tuple[str, ...]) -> frozenset[str]:
        return frozenset()

    async def thread_levels(self, thread: Thread) -> Remembered:
        return Remembered()

    async def commit(self, tx: Transaction, verdict: Verdict, octets: bytes) -> Committed:
        self.verdicts.append(verdict)
        return Committed(Reply(250, "2.0.0", "accepted"), tx.reference)

    async def deferred(self, tx: Transaction, reply: Reply, cause: str) -> None:
        raise AssertionError(cause)


def transaction(octets: bytes, sender: str, recipients: tuple[str, ...], peer: Peer, door: Door = Door.SMTP) -> Transaction:
    path = address.parse(sender.encode(), smtputf8=True) if sender else address.NULL_PATH
    to = tuple(Recipient(address.parse(one.encode(), smtputf8=True)) for one in recipients)
    return Transaction(
        new_id(), door, peer, Envelope(path, to, eight_bit=True, smtputf8=True), 1_795_000_000.0, len(octets),
        hashlib.sha256(octets).hexdigest(), decide.verified(path, peer, CONFIG),
    )  # fmt: skip


async def judged(tx: Transaction, octets: bytes, loaded: Policy, config: Config = CONFIG, *rows: ExceptionRow) -> Verdict:
    """The verdict that the whole path of a message gives."""
    memory = Keeps(*rows)
    await Pipeline(loaded, config, Reads(loaded), memory).handle(tx, octets)
    (verdict,) = memory.verdicts
    return verdict


def test_every_message_of_the_folder_is_in_the_table_and_the_other_way_round() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.eml")) == sorted(NAMES)
    for path in FOLDER.glob("*.eml"):
        octets = path.read_bytes()
        assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r"), path.name


@pytest.mark.parametrize("case", CASES, ids=NAMES)
async def test_it_is_decided_as_it_should_be_and_not_touched(case: Case, rules: tuple[str, Policy, Config]) -> None:
    which, loaded, config = rules
    octets = case.content
    tx = transaction(octets, case.sender, case.recipients, STRANGER if case.comes_in else LISTED)
    verdict = await judged(tx, octets, loaded, config)
    assert verdict.message_facts["originator.application"] == case.application
    assert verdict.message_facts["message.level"] == -1, "ordinary mail is not classified"
    for one in verdict.recipients:
        got = (one.disposition.text, one.rule if one.disposition is not Disposition.DELIVER else "")
        assert got == case.expected(one.address), (one.address, verdict.ambiguity, [leaf.reason for leaf in verdict.leaves if leaf.reason])
        if one.address != APPROVED:
            assert set(one.tags) == case.tags | (case.packs if which == "packs" else frozenset()), one.address
        assert sorted(above(apply(one.edits, octets), octets)) == sorted(ADDED)
    assert not verdict.session_refusal


# --- who has signed in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mdn-outlook", "vacation-sieve", "calendar-outlook-reply", "signed-pgp-thunderbird", "app-no-date-no-id"])
@pytest.mark.parametrize("null", [False, True])
async def test_on_submission_only_a_date_and_a_name_are_added(name: str, null: bool, rules: tuple[str, Policy, Config]) -> None:
    _, loaded, config = rules
    octets = (FOLDER / f"{name}.eml").read_bytes().replace(b"alarm@it.gujarat", b"asha.verma@it.gujarat")
    tx = transaction(octets, "" if null else OFFICER, OFFICIALS, SIGNED_IN, Door.SUBMISSION)
    verdict = await judged(tx, octets, loaded, config)
    assert [one.disposition for one in verdict.recipients] == [Disposition.DELIVER] * 2
    added = [*ADDED, "date", "message-id"] if name == "app-no-date-no-id" else list(ADDED)
    for one in verdict.recipients:
        assert sorted(above(apply(one.edits, octets), octets)) == sorted(added)


# --- null senders are never answered ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("mdn-outlook", LISTED), ("mdn-outlook", SIGNED_IN), ("vacation-exchange", LISTED), ("vacation-exchange", SIGNED_IN),
        ("mdn-thunderbird", STRANGER), ("dsn-postfix-whole", LISTED), ("dsn-postfix-whole", STRANGER),
    ],
)  # fmt: skip
async def test_a_refused_null_sender_is_refused_in_the_session(name: str, peer: Peer, rules: tuple[str, Policy, Config]) -> None:
    """A report to nobody is impossible: all refused is a reply, some refused is held for the postmaster."""
    _, loaded, config = rules
    octets = (FOLDER / f"{name}.eml").read_bytes()
    verdict = await judged(transaction(octets, "", (CITIZEN,), peer), octets, loaded, config)
    assert (verdict.recipients[0].disposition, verdict.session_refusal) == (Disposition.REFUSE, True)
    verdict = await judged(transaction(octets, "", (CITIZEN, OFFICER), peer), octets, loaded, config)
    assert [one.disposition for one in verdict.recipients] == [Disposition.HOLD, Disposition.DELIVER]
    assert not verdict.session_refusal


async def test_a_returned_classified_message_comes_back_to_its_officer(rules: tuple[str, Policy, Config]) -> None:
    """Its level is found and written on it; a report from outside does not make it leave government a second time."""
    _, loaded, config = rules
    octets = (FOLDER / "dsn-sendmail.eml").read_bytes().replace(b"Subject: Papers", b"Subject: CONFIDENTIAL: Papers")
    verdict = await judged(transaction(octets, "", (OFFICER,), STRANGER), octets, loaded, config)
    assert verdict.recipients[0].disposition is Disposition.DELIVER
    assert verdict.message_facts["message.level"] == 2
    assert "sio-label" in above(apply(verdict.recipients[0].edits, octets), octets)


# --- signatures hold ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["signed-smime-outlook", "signed-smime-opaque"])
async def test_M30_a_signature_of_smime_verifies_behind_the_gateway(name: str, rules: tuple[str, Policy, Config], tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    out = await relayed(name, rules)
    (tmp_path / "out.eml").write_bytes(out)
    done = subprocess.run(
        ["openssl", "cms", "-verify", "-noverify", "-in", "out.eml", "-out", "text"], cwd=tmp_path, capture_output=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert b"The minutes are enclosed" in (tmp_path / "text").read_bytes()
    if name == "signed-smime-outlook":
        broken = out.replace(b"Khadi,120", b"Khadi,121")
        (tmp_path / "out.eml").write_bytes(broken)
        assert subprocess.run(["openssl", "cms", "-verify", "-noverify", "-in", "out.eml"], cwd=tmp_path, capture_output=True).returncode


@pytest.mark.parametrize("name", ["signed-pgp-thunderbird", "signed-pgp-inline"])
async def test_M30_a_signature_of_openpgp_verifies_behind_the_gateway(name: str, rules: tuple[str, Policy, Config], tmp_path: Path) -> None:
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    out = await relayed(name, rules)
    (tmp_path / "home").mkdir(mode=0o700)
    environment = os.environ | {"GNUPGHOME": str(tmp_path / "home")}
    gpg = ["gpg", "--batch", "--quiet", "--no-autostart"]
    subprocess.run([*gpg, "--import", str(FOLDER / "signed-key.asc")], env=environment, check=True, capture_output=True, timeout=30)
    if name.endswith("inline"):
        (tmp_path / "signed").write_bytes(out.partition(b"\r\n\r\n")[2])
        files = [str(tmp_path / "signed")]
    else:
        _, part, signature, _ = out.split(b"--------------out0")
        (tmp_path / "part").write_bytes(part[2:-2])
        (tmp_path / "part.asc").write_bytes(signature.partition(b"\r\n\r\n")[2])
        files = [str(tmp_path / "part.asc"), str(tmp_path / "part")]
    done = subprocess.run([*gpg, "--verify", *files], env=environment, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr


async def relayed(name: str, rules: tuple[str, Policy, Config]) -> bytes:
    """What leaves of the message *name*."""
    _, loaded, config = rules
    octets = (FOLDER / f"{name}.eml").read_bytes()
    verdict = await judged(transaction(octets, OFFICER, (OFFICIALS[0],), LISTED), octets, loaded, config)
    assert verdict.recipients[0].disposition is Disposition.DELIVER
    return apply(verdict.recipients[0].edits, octets)


@pytest.mark.parametrize("name", ["list-mailman3-from-rewritten", "gmail-android", "calendar-google-request", "charset-koi8-r"])
async def test_the_dkim_signature_of_a_stranger_stays_valid(name: str, key: Any, rules: tuple[str, Policy, Config]) -> None:
    _, loaded, config = rules
    octets = (FOLDER / f"{name}.eml").read_bytes()
    octets = dkim.sign(octets, b"s1", b"example.org", pem(key), canonicalize=(b"simple", b"simple")) + octets
    verdict = await judged(transaction(octets, "a@example.org", (OFFICER,), STRANGER), octets, loaded, config)
    out = apply(verdict.recipients[0].edits, octets)
    assert len(out) > len(octets)

    def verifies(message: bytes) -> bool:
        return bool(dkim.verify(message, dnsfunc=lambda *_, **__: record(key).encode()))

    assert verifies(out)
    assert not verifies(out.replace(b"Subject: ", b"Subject: [marked] ", 1))


async def test_the_signature_of_one_gateway_holds_behind_the_next(key: Any, rules: tuple[str, Policy, Config], tmp_path: Path) -> None:
    """Between two departments: the second writes its own reference in the place of the first one's."""
    _, loaded, config = rules
    (tmp_path / "key.pem").write_bytes(pem(key))
    signer = Signer(Config(dkim=[Dkim(domain="example.org", selector="s1", key_file=tmp_path / "key.pem")]), lambda: 1_795_000_000.0)
    octets = (FOLDER / "gmail-android.eml").read_bytes()
    first = signer.sign(b"X-Gateway-Reference: 01CX5B00000G00G00000000001\r\n" + octets, "a@example.org")
    verdict = await judged(transaction(first, "a@example.org", (OFFICER,), STRANGER), first, loaded, config)
    second = apply(verdict.recipients[0].edits, first)
    assert b"01CX5B00000G00G00000000001" not in second
    assert dkim.verify(second, dnsfunc=lambda *_, **__: record(key).encode())


@pytest.fixture(scope="module")
def key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, 2048)


# --- large mail ---------------------------------------------------------------------------------------------------------


def parted(*parts: bytes) -> bytes:
    head = f"From: Asha Verma <{OFFICER}>\r\nTo: {OFFICIALS[0]}\r\nSubject: Papers\r\nDate: Tue, 17 Nov 2026 17:30:00 +0530\r\n".encode()
    head += b'Message-ID: <large@it.gujarat.gov.in>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="big"\r\n\r\n'
    return head + b"".join(b"--big\r\n" + part + b"\r\n" for part in parts) + b"--big--\r\n"


def attached(name: str, media_type: str, data: bytes) -> bytes:
    head = f'Content-Type: {media_type}; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n'
    return head.encode() + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(data).replace(b"\n", b"\r\n")


TEXT = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nThe papers are enclosed."


async def test_mail_just_below_the_greatest_size_passes(rules: tuple[str, Policy, Config]) -> None:
    """A photograph and a table, 25 MB as they are sent."""
    _, loaded, config = rules
    table = b"".join(b"%06d,village of the district,120,80,40\r\n" % number for number in range(50_000))
    picture = (FOLDER.parent / "content" / "p.jpg").read_bytes()
    room = (
        (config.max_message_size - len(parted(TEXT, attached("a.csv", "text/csv", table), attached("b.jpg", "image/jpeg", b"")))) // 78 * 57
    )
    photo = picture[:-2] + bytes(room - len(picture)) + picture[-2:]
    octets = parted(TEXT, attached("a.csv", "text/csv", table), attached("b.jpg", "image/jpeg", photo))
    assert config.max_message_size - 100_000 < len(octets) <= config.max_message_size
    verdict = await judged(transaction(octets, OFFICER, OFFICIALS, LISTED), octets, loaded, config)
    assert [one.disposition for one in verdict.recipients] == [Disposition.DELIVER] * 2
    assert [leaf.state.value for leaf in verdict.leaves] == ["inspected", "inspected", "uninspectable"]


async def test_hundreds_of_small_parts_are_no_limit(rules: tuple[str, Policy, Config]) -> None:
    """A digest, and a field officer who sends every receipt as a file of its own."""
    _, loaded, config = rules
    octets = parted(TEXT, *(attached(f"receipt-{number}.txt", "text/plain", b"Rs. 120 for diesel\r\n") for number in range(300)))
    verdict = await judged(transaction(octets, OFFICER, OFFICIALS, LISTED), octets, loaded, config)
    assert [one.disposition for one in verdict.recipients] == [Disposition.DELIVER] * 2
    assert len(verdict.leaves) == 301


# --- a logo to a citizen ------------------------------------------------------------------------------------------------


async def test_an_exception_does_not_let_a_picture_out_unseen(rules: tuple[str, Policy, Config]) -> None:
    """Under an exception the text of an officer leaves; with the logo of his signature it waits: a picture may show a secret."""
    _, loaded, config = rules
    row = ExceptionRow("1", OFFICER, CITIZEN, "petition", "a", "b", 0.0, 4_000_000_000.0)
    words = (FOLDER / "flowed-thunderbird.eml").read_bytes()
    logo = (FOLDER / "signature-logo-outlook.eml").read_bytes()
    got = []
    for octets in (words, logo):
        verdict = await judged(transaction(octets, OFFICER, (CITIZEN,), LISTED), octets, loaded, config, row)
        got.append((verdict.recipients[0].disposition.text, verdict.recipients[0].rule))
    assert got == [("deliver", "ordinary-mail"), ("hold", "uninspectable-to-non-government")]
