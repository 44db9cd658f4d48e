"""AUTH in the SMTP codec, without I/O: its order, its continuation lines, its octets; nothing of it is shown anywhere."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.reply import Reply
from gateway.wire import smtp_auth, smtp_params
from gateway.wire.smtp import Server
from gateway.wire.smtp_auth import AuthError, Credentials, Exchange
from gateway.wire.smtp_events import Close, Error, Offer
from gateway.wire.smtp_params import ArgumentError, Mail
from gateway.wire.smtp_submission import SubmissionServer

OFFER = Offer("gw.example", 10_000, starttls=True, auth=True)
YES = Reply(235, "2.7.0", "Signed in.")
NO = Reply(535, "5.7.8", "The login or the password is wrong.")


def b64(text: str | bytes) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


class Dialogue:
    """A session after EHLO; the password "right" is right."""

    def __init__(self, *, tls: bool = True, server: Server | None = None) -> None:
        self.server = server or SubmissionServer(OFFER)
        self.logins: list[Credentials] = []
        self.closed: str | None = None
        if tls:
            self.server.tls_started(OFFER.ehlo(tls=True, auth=True))
        else:
            self.server.greet()
        self.server.receive(b"EHLO c.example\r\n")
        self.server.next_event()
        self.hello = self.server.output()

    def send(self, data: bytes) -> bytes:
        server = self.server
        server.receive(data)
        while (event := server.next_event()) is not None:
            if isinstance(event, Credentials):
                self.logins.append(event)
                if event.password == "right" and isinstance(server, SubmissionServer):
                    server.accept_login(YES)
                else:
                    server.answer(NO, error=True)
            elif isinstance(event, Mail):
                server.accept_mail(event)
            elif isinstance(event, Error):
                server.answer(event.reply)
            elif isinstance(event, Close):
                self.closed = event.reason
        return server.output()


def code(said: bytes) -> list[bytes]:
    return [line[:10].rstrip() for line in said.split(b"\r\n") if line]


def test_S36_auth_is_offered_where_it_can_be_used_and_nowhere_else() -> None:
    assert b"AUTH" not in Dialogue(tls=False).hello
    assert b"250-AUTH PLAIN LOGIN\r\n" in Dialogue().hello
    plain = replace(OFFER, auth=False)
    assert b"AUTH" not in plain.ehlo(tls=True, auth=True)
    assert b"AUTH" not in OFFER.ehlo(tls=True, auth=False)


@pytest.mark.parametrize("command", [b"AUTH PLAIN", b"AUTH PLAIN AGEAYg==", b"AUTH LOGIN", b"AUTH CRAM-MD5", b"AUTH"])
def test_S36_before_tls_nothing_is_asked_and_nothing_taken(command: bytes) -> None:
    session = Dialogue(tls=False)
    assert session.send(command + b"\r\n").startswith(b"538 5.7.11 ")
    assert session.logins == []
    on_port_25 = Dialogue(server=Server(replace(OFFER, auth=False)))
    assert on_port_25.send(command + b"\r\n").startswith(b"503 5.5.1 ")
    assert on_port_25.logins == []


def test_plain_with_and_without_initial_response() -> None:
    for sent in ([b"AUTH PLAIN " + b64("\0a@dept.gov.in\0right")], [b"auth plain", b64("\0a@dept.gov.in\0right")]):
        session = Dialogue()
        for line in sent[:-1]:
            assert session.send(line + b"\r\n") == b"334 \r\n"
        assert session.send(sent[-1] + b"\r\n").startswith(b"235 2.7.0 ")
        (login,) = session.logins
        assert (login.mechanism, login.login, login.password, login.identity) == ("PLAIN", "a@dept.gov.in", "right", "")
        assert session.send(b"AUTH PLAIN\r\n").startswith(b"503 5.5.1 ")
        assert session.send(b"MAIL FROM:<a@dept.gov.in>\r\n").startswith(b"250")


def test_login_asks_for_both_and_takes_the_name_at_once() -> None:
    session = Dialogue()
    assert session.send(b"AUTH LOGIN\r\n") == b"334 VXNlcm5hbWU6\r\n"
    assert session.send(b64("राम@dept.gov.in") + b"\r\n") == b"334 UGFzc3dvcmQ6\r\n"
    assert session.send(b64("wrong") + b"\r\n").startswith(b"535 5.7.8 ")
    assert session.send(b"AUTH LOGIN " + b64("a") + b"\r\n") == b"334 UGFzc3dvcmQ6\r\n"
    assert session.send(b64("right") + b"\r\n").startswith(b"235 ")
    assert [login.login for login in session.logins] == ["राम@dept.gov.in", "a"]


def test_octets_may_come_one_by_one_and_commands_may_follow() -> None:
    session = Dialogue()
    said = b"".join(session.send(bytes([octet])) for octet in b"AUTH LOGIN\r\n" + b64("a") + b"\r\n" + b64("right") + b"\r\nNOOP\r\n")
    assert code(said) == [b"334 VXNlcm", b"334 UGFzc3", b"235 2.7.0", b"250 2.0.0"]
    assert code(Dialogue().send(b"AUTH LOGIN\r\n" + b64("a") + b"\r\n" + b64("right") + b"\r\nNOOP\r\n")) == code(said)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b"AUTH PLAIN", b"*"], b"501 5.7.0"),
        ([b"AUTH LOGIN", b"*"], b"501 5.7.0"),
        ([b"AUTH LOGIN", b64("a"), b"*"], b"501 5.7.0"),
        ([b"AUTH PLAIN *"], b"501 5.7.0"),
        ([b"AUTH PLAIN ="], b"501 5.5.2"),
        ([b"AUTH PLAIN", b""], b"501 5.5.2"),
        ([b"AUTH PLAIN " + b64("a\0right")], b"501 5.5.2"),
        ([b"AUTH PLAIN " + b64("\0a\0right\0")], b"501 5.5.2"),
        ([b"AUTH PLAIN " + b64("\0a\0b\0right")], b"501 5.5.2"),
        ([b"AUTH PLAIN " + b64("aright")], b"501 5.5.2"),
        ([b"AUTH PLAIN " + b64("\0\0right")], b"501 5.5.2"),
        ([b"AUTH PLAIN " + b64("\0a\0")], b"501 5.5.2"),
        ([b"AUTH PLAIN " + b64(b"\0a\0\xff\xfe")], b"501 5.5.2"),
        ([b"AUTH PLAIN " + b64("\0a\r\nb\0right")], b"501 5.5.2"),
        ([b"AUTH PLAIN AGEAYg"], b"501 5.5.2"),
        ([b"AUTH PLAIN AGE AYg=="], b"501 5.5.2"),
        ([b"AUTH PLAIN AGEA!Yg=="], b"501 5.5.2"),
        ([b"AUTH LOGIN", b64("a" * 256)], b"501 5.5.2"),
        ([b"AUTH LOGIN", b64("a"), b64("p" * 1025)], b"501 5.5.2"),
        ([b"AUTH"], b"501 5.5.4"),
        ([b"AUTH SCRAM-SHA-256"], b"504 5.5.4"),
        ([b"AUTH CRAM-MD5"], b"534 5.7.9"),
        ([b"AUTH ANONYMOUS"], b"534 5.7.9"),
    ],
)
def test_S38_what_is_not_well_formed(lines: list[bytes], said: bytes) -> None:
    session = Dialogue()
    for line in lines[:-1]:
        assert session.send(line + b"\r\n").startswith(b"334 ")
    assert session.send(lines[-1] + b"\r\n").startswith(said + b" ")
    assert (session.logins, session.closed) == ([], None)
    assert session.send(b"NOOP\r\n").startswith(b"250")


def test_S38_an_identity_of_another_is_handed_on_as_such() -> None:
    session = Dialogue()
    assert session.send(b"AUTH PLAIN " + b64("minister@dept.gov.in\0a@dept.gov.in\0wrong") + b"\r\n").startswith(b"535")
    assert session.logins[0].identity == "minister@dept.gov.in"


@pytest.mark.parametrize("start", [b"AUTH PLAIN ", b"AUTH PLAIN\r\n", b"AUTH LOGIN\r\n", b"AUTH LOGIN\r\nYQ==\r\n"])
def test_S38_100_kB_end_the_session_before_they_are_kept(start: bytes) -> None:
    session = Dialogue()
    said = session.send(start + b"QUFB" * 400)
    said += session.send(b"QUFB" * 25_000)
    assert code(said)[-1].startswith(b"500 5.5.")
    assert session.closed
    assert (session.logins, session.server.pending) == ([], 0)


def test_a_password_of_the_longest_kind_comes_through() -> None:
    session = Dialogue()
    assert session.send(b"AUTH PLAIN\r\n") == b"334 \r\n"
    session.send(b64("\0" + "a" * 255 + "\0" + "p" * 1024) + b"\r\n")
    assert len(session.logins[0].password) == 1024
    session.send(b"AUTH PLAIN " + b64("\0" + "a" * 64 + "\0" + "p" * 400) + b"\r\n")  # over the 512 octets of a command
    assert len(session.logins[1].password) == 400


def test_a_bare_lf_ends_the_session() -> None:
    session = Dialogue()
    assert code(session.send(b"AUTH PLAIN\r\n" + b64("\0a\0right") + b"\n")) == [b"334", b"500 5.5.2"]
    assert (session.closed, session.logins) == ("bare LF in a response", [])


def test_auth_has_its_place() -> None:
    session = Dialogue()
    session.send(b"MAIL FROM:<a@dept.gov.in>\r\n")
    assert session.send(b"AUTH PLAIN\r\n").startswith(b"503 ")
    session.send(b"HELO c.example\r\n")
    assert session.send(b"AUTH PLAIN\r\n").startswith(b"503 ")
    silent = SubmissionServer(OFFER)
    silent.tls_started(b"250 x\r\n")
    silent.receive(b"AUTH PLAIN\r\n")
    assert silent.next_event() is None
    assert silent.output().startswith(b"503 ")


def test_whoever_is_barred_is_told_so_before_a_password_is_asked_for() -> None:
    session = Dialogue()
    assert isinstance(session.server, SubmissionServer)
    session.server.barred = Reply(530, "5.7.0", "Connect through the government VPN and sign in before sending.")
    assert session.send(b"AUTH LOGIN\r\n").startswith(b"530 5.7.0 Connect through")


def test_errors_of_auth_count_as_errors() -> None:
    session = Dialogue()
    for _ in range(25):
        session.send(b"AUTH PLAIN\r\n*\r\n")
    assert session.closed == "too many errors"


def test_S38_nothing_secret_in_any_repr() -> None:
    shown = repr(Credentials("PLAIN", "a@dept.gov.in", "hunter2", "boss"))
    assert shown == "Credentials(mechanism='PLAIN')"
    exchange = Exchange("LOGIN")
    exchange.respond(b64("somebody"))
    assert "somebody" not in repr(exchange)
    session = Dialogue()
    session.send(b"AUTH PLAIN " + b64("\0a\0hunter2") + b"\r\n")
    assert b64("\0a\0hunter2") not in session.server._buffer  # and it does not wait in memory for the next command
    for octets in (b"hunter2", b"\0hunter2\0\0", b"\0a\0hunter2\xff"):
        with pytest.raises(AuthError) as caught:
            Exchange("PLAIN").respond(b64(octets))
        assert "hunter2" not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (b"<>", True),
        (b"a@dept.gov.in", True),
        (b"e+3Dmc2@example.com", True),
        (b"", False),
        (b"a b", False),
        (b"a+3", False),
        (b"a" * 501, False),
    ],
)
def test_auth_parameter_of_mail(value: bytes, good: bool) -> None:
    argument = b"FROM:<a@dept.gov.in> AUTH=" + value
    if good:
        assert smtp_params.mail(argument, esmtp=True, max_size=10, auth=True).path.text == "a@dept.gov.in"
    else:
        with pytest.raises(ArgumentError):
            smtp_params.mail(argument, esmtp=True, max_size=10, auth=True)
    with pytest.raises(ArgumentError) as caught:
        smtp_params.mail(argument, esmtp=True, max_size=10)
    assert caught.value.code in (501, 555)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=3000),
        st.builds(b64, st.binary(max_size=400)),
        st.builds(lambda p: b64(b"\0".join(p)), st.lists(st.binary(max_size=300), max_size=4)),
    )
)
def test_S38_any_response_is_understood_or_the_named_error(response: bytes) -> None:
    for exchange in (Exchange("PLAIN"), Exchange("LOGIN")):
        try:
            found = exchange.respond(response)
        except AuthError as error:
            assert str(error).isascii()
        else:
            assert found is None or (0 < len(found.login.encode()) <= 255 and found.login.isprintable() and "\0" not in found.password)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b"AUTH PLAIN", b"AUTH LOGIN ", b"AGEAYg==", b"*", b"\r\n", b"\r\n", b"EHLO a\r\n", b"=", b"MAIL FROM:<a@b.in>"]
            ),
        ),
        max_size=20,
    )
)
def test_S38_any_octets_in_any_chunks_never_raise(parts: list[bytes]) -> None:
    session = Dialogue()
    for part in parts:
        for line in session.send(part).split(b"\r\n"):
            assert len(line) <= 510
            assert line.isascii()


def test_the_longest_response_is_what_the_limit_says() -> None:
    assert smtp_auth.decode(b"A" * smtp_auth.LONGEST) == b"\0" * (smtp_auth.LONGEST // 4 * 3)
    with pytest.raises(AuthError):
        smtp_auth.decode(b"A" * (smtp_auth.LONGEST + 4))
