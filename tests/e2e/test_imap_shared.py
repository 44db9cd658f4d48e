"""The IMAP door before a real Dovecot that has mailboxes of others: a public namespace and those of other users, and METADATA."""

from __future__ import annotations

import imaplib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.dovecot import DOVECOT, IMAP, Dovecot
from tests.e2e.parts import free_port, running, wait_for
from tests.e2e.test_imap import COLLEAGUE, OFFICER, SAMPLES, SECRETS, ImapGateway, Pair
from tests.test_smtp_client import certificates

__all__ = ["certificates"]
pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not DOVECOT.exists() or not IMAP.exists(), reason="Dovecot is not here (apt install dovecot-imapd)"),
    pytest.mark.skipif(os.getuid() != 0, reason="Dovecot starts as root only"),
]
NAMESPACES = """
namespace {{
  type = public
  separator = /
  prefix = Public/
  location = maildir:{folder}/mail/public
  subscriptions = no
}}
namespace {{
  type = shared
  separator = /
  prefix = shared/%%u/
  location = maildir:{folder}/mail/%%u
  subscriptions = no
}}
mail_attribute_dict = file:{folder}/mail/attributes
protocol imap {{
  imap_metadata = yes
}}
"""
HELD = SAMPLES["04-confidential-word-clear"]
"""As mail it waits for a reviewer: a classified file that is not encrypted."""


def stand(tmp_path_factory: pytest.TempPathFactory, certificates: Path, shared: str) -> tuple[Dovecot, ImapGateway]:  # noqa: F811
    folder = tmp_path_factory.mktemp("dovecot")
    dovecot = Dovecot(folder, certificates, SECRETS, NAMESPACES.format(folder=folder))
    gateway = ImapGateway(tmp_path_factory.mktemp("gw"), free_port())
    gateway.stand_before(dovecot, certificates)
    gateway.extra = gateway.extra.replace("[limits]", f'shared = "{shared}"\n[limits]')
    return dovecot, gateway


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Pair]:  # noqa: F811
    dovecot, gateway = stand(tmp_path_factory, certificates, "refuse")
    with running(dovecot, gateway):
        bare = dovecot.client(OFFICER)
        assert bare.create("Public/Notices")[0] == "OK", dovecot.log[-800:]
        bare.logout()
        yield Pair(dovecot, gateway)


def held(pair: Pair, mailbox: str) -> int:
    """How many messages are in *mailbox*, as Dovecot itself says."""
    client = pair.bare()
    said, count = client.select(mailbox, readonly=True)
    assert said == "OK", count
    client.logout()
    return int(count[0] or b"0")


def test_I06_dovecot_tells_the_namespaces_and_the_client_sees_its_own_question_only(pair: Pair) -> None:
    client = pair.door()
    said, (names,) = client.namespace()
    assert said == "OK"
    assert names == b'(("" "/")) (("shared/" "/")) (("Public/" "/"))'
    assert client.untagged_responses.get("NAMESPACE") is None
    client.logout()


def test_I06_what_would_be_held_as_mail_is_refused_where_others_read_it(pair: Pair) -> None:
    client = pair.door()
    plain = b"Subject: notice\r\nFrom: <asha.verma@dept.gov.in>\r\n\r\nThe canteen is closed on Friday.\r\n"
    assert client.append('"Public/Notices"', None, None, plain)[0] == "OK"  # type: ignore[arg-type]
    assert held(pair, "Public/Notices") == 1
    said, (words,) = client.append('"Public/Notices"', None, None, HELD)  # type: ignore[arg-type]
    assert said == "NO"
    assert words.startswith(b"[NOPERM] A CONFIDENTIAL attachment is not encrypted with AES-256; the message is not filed. Ref ")
    said, (words,) = client.append(f'"shared/{COLLEAGUE}/INBOX"', None, None, HELD)  # type: ignore[arg-type]
    assert said == "NO", words
    assert client.append("Drafts", None, None, HELD)[0] == "OK", "in one's own mailbox the same is a draft"  # type: ignore[arg-type]
    assert held(pair, "Public/Notices") == 1
    client.logout()

    def tagged() -> int:
        rows = [row["gateway"] for row in pair.gateway.decisions()]
        return sum("imap-shared" in row.get("tags", ()) for row in rows if row.get("door") == "imap")

    wait_for(lambda: tagged() == 3, 20, "all three stand in the log with their tag")


def test_I06_nothing_is_copied_to_others_where_the_config_refuses_it(pair: Pair) -> None:
    client = pair.door()
    client.append("INBOX", None, None, HELD)  # type: ignore[arg-type]
    client.select("INBOX")
    before = held(pair, "Public/Notices")
    for command in (("COPY", "1", '"Public/Notices"'), ("MOVE", "1", f'"shared/{COLLEAGUE}/INBOX"')):
        said, (words,) = client.uid(*command) if command[0] == "COPY" else client._simple_command(*command)  # type: ignore[attr-defined]
        assert (said, b"mailboxes of others" in words) == ("NO", True), words
    assert client.copy("1", "Drafts")[0] == "OK"
    assert client.rename("Drafts", "Public/Drafts")[0] == "NO"
    assert held(pair, "Public/Notices") == before
    client.logout()


def test_I06_metadata_is_hidden_and_no_text_gets_in_by_it(pair: Pair) -> None:
    bare = pair.bare()
    assert "METADATA" in bare.capabilities or b"METADATA" in bare.capability()[1][0]
    for verb in ("SETMETADATA", "GETMETADATA"):
        imaplib.Commands.setdefault(verb, ("AUTH", "SELECTED"))
    assert bare._simple_command("SETMETADATA", "INBOX", '(/private/comment "by Dovecot")')[0] == "OK"  # type: ignore[attr-defined]
    bare.logout()
    client = pair.door()
    assert b"METADATA" not in client.capability()[1][0]
    for command in (('SETMETADATA INBOX (/private/comment "text")'), ("GETMETADATA INBOX /private/comment")):
        verb, _, rest = command.partition(" ")
        with pytest.raises(imaplib.IMAP4.error, match="not offered here"):
            client._simple_command(verb, rest)  # type: ignore[attr-defined]
    client.logout()


def test_I06_copies_to_others_pass_by_default(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> None:  # noqa: F811
    dovecot, gateway = stand(tmp_path_factory, certificates, "pass")
    with running(dovecot, gateway):
        there = Pair(dovecot, gateway)
        client = there.door()
        assert client.create('"Public/Notices"')[0] == "OK"
        client.append("INBOX", None, None, HELD)  # type: ignore[arg-type]
        client.select("INBOX")
        assert client.copy("1", '"Public/Notices"')[0] == "OK"
        assert held(there, "Public/Notices") == 1
        client.logout()
