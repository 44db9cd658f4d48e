"""Signing in through the IMAP door: our lists and counts first, then the server's own check of the password.

What it is: ``SignIn``, what a session does about LOGIN and AUTHENTICATE.
Who calls it: ``doors.imap``, whose ``ImapSession`` it is a base of.
Must never: show the server a login that the keeper did not permit; let a payload through whose login cannot be read, or is another one
than was asked about; take "could not ask" for yes; put what a client sent into a log.
Sources: RFC 9051 sections 6.2.2, 6.2.3 and 7.1 (RFC 5530 codes), RFC 4959; rules/README.md, R5, R6; hostile-inputs catalogue I01, I12.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from gateway import logs
from gateway.doors.door import PLAIN, Door, Listener
from gateway.doors.imap_passage import Passage
from gateway.envelope import Peer
from gateway.reply import Reply
from gateway.requests import LoggedIn, Permitted
from gateway.wire import imap_commands, sasl
from gateway.wire.imap_events import Authenticate, AuthenticateLine, Login, Plus, Tagged
from gateway.wire.sasl import SaslError

UNNAMED = Reply(554, "5.7.1", "The load balancer did not say where you connect from. Ask your IT cell.")
NOT_CHECKED = Reply(454, "4.7.0", "Sign-in cannot be checked at present. Please try again later.")
TOO_MANY = "Too many failed logins in this session; closing it. Check login and password before you try again."
_LATER = (b"[UNAVAILABLE", b"[LIMIT", b"[INUSE", b"[SERVERBUG", b"[OVERQUOTA")
"""Codes of a NO that says nothing about the password."""
_EMPTY = (b"", b"AQ==")
"""What a client may answer to the reason for which a token was refused (RFC 7628 section 3.2.3)."""
_log = logs.get("gateway.doors.imap")


def words_of(reply: Reply) -> str:
    """*reply* as one line of ASCII, for a response text."""
    line = " ".join(reply.text.split())
    return "".join(letter if " " <= letter <= "~" else "?" for letter in line)[:900]


def code_of(reply: Reply) -> str:
    """The response code of a refused sign-in."""
    if reply.temporary:
        return "UNAVAILABLE"
    return "AUTHENTICATIONFAILED" if reply.code == 535 else "CONTACTADMIN"


class SignIn(Passage):
    """The sign-in of one session."""

    __slots__ = ("_again", "_asking", "_failures", "_login", "_login_tag", "_mechanism", "_permitted", "_responses")

    def __init__(self, door: Door, listener: Listener = PLAIN) -> None:
        super().__init__(door, listener)
        self._permitted: Permitted | None = None
        """Whom the server was shown, or is being."""
        self._login = ""
        """The name in the words of the client."""
        self._login_tag = b""
        """Of the command that the server is deciding."""
        self._mechanism = ""
        self._responses = 0
        """Responses that the server was shown since AUTHENTICATE."""
        self._again = False
        """The server asks for the name once more."""
        self._failures = 0

    # --- what the client wants ----------------------------------------------------------------------------------------

    def _log_in(self, event: Login) -> None:
        def show() -> None:
            self._login_tag = event.tag
            self._send(event.tag, event.steps)

        self._judge(event.tag, _text(event.user), show, in_command=False)

    def _authenticate(self, event: Authenticate) -> None:
        self._mechanism, self._responses, self._again, self._login = event.mechanism, 0, False, ""

        def show() -> None:
            self._login_tag = event.tag
            self._order.sent(event.tag)
            self._to_server.append(event.octets)

        if event.mechanism not in sasl.READABLE:
            self._refuse(event.tag, Reply(535, "5.7.4", "This way of signing in is not offered here."), in_command=False, code="CANNOT")
        elif event.initial is None:
            show()
        else:
            self._responses = 1
            self._judge(event.tag, self._login_in(event.initial), show, in_command=False)

    def _authenticate_line(self, event: AuthenticateLine) -> None:
        def show() -> None:
            self._responses += 1
            self._to_server.append(event.octets)

        if event.response is None:
            self._to_server.append(event.octets)
        elif not self._responses:
            self._judge(event.tag, self._login_in(event.response), show, in_command=True)
        elif self._may_follow(event.response):
            show()
        else:
            self._refuse(event.tag, Reply(535, "5.7.8", "This answer does not belong to the sign-in."), in_command=True)

    def _may_follow(self, response: bytes) -> bool:
        """Whether *response* may go on after the one that held the login."""
        if self._mechanism == "LOGIN":
            if self._again:
                self._again = False
                return self._login_in(response) == self._login
            return self._responses < 3
        if self._mechanism.startswith("SCRAM-"):
            return True  # its second response is a proof, for the login of the first
        return self._mechanism != "PLAIN" and response in _EMPTY

    def _login_in(self, response: bytes) -> str:
        """The login in *response*; empty where it cannot be read, or somebody wants to act for another."""
        try:
            return sasl.login_of(self._mechanism, response)
        except SaslError:
            return ""

    # --- our answer ---------------------------------------------------------------------------------------------------

    def _judge(self, tag: bytes, login: str, show: Callable[[], None], *, in_command: bool) -> None:
        """Asks the keeper about *login*; *show* sends the server what the client said. *in_command*: it has a part of the command."""
        if self._barred:
            self._refuse(tag, UNNAMED, in_command=in_command)
        elif not login:
            self._refuse(tag, Reply(535, "5.7.8", "The login cannot be read."), in_command=in_command)
        else:
            self._login = login
            self._door.spawn(self._ask(tag, login, show, in_command))

    async def _ask(self, tag: bytes, login: str, show: Callable[[], None], in_command: bool) -> None:
        try:
            answer = await self._door.keeper.may_log_in(login, self._ip)
        except Exception:
            _log.error("imap.login_fault", **{"client.ip": self._ip})
            answer = Permitted(NOT_CHECKED)
        yes = answer.reply.code < 300 and bool(answer.login) and bool(answer.mailbox)
        if self._transport is None or self._ended:
            if yes:
                self._tell(answer, accepted=False)
            return
        if not yes:
            self._refuse(tag, answer.reply if answer.reply.code >= 400 else NOT_CHECKED, in_command=in_command)
            return
        self._permitted = answer
        show()
        self._pump()

    def _refuse(self, tag: bytes, reply: Reply, *, in_command: bool, code: str = "") -> None:
        """Whoever guesses waits; so does who mistyped, once."""
        self._door.count("logins not checked" if reply.temporary else "logins refused")
        _log.info("imap.login_failed", code=reply.code, **{"client.ip": self._ip})
        if not reply.temporary and not code:
            self._failures += 1
        if in_command:
            self._let_go()
        octets = imap_commands.no(tag, code or code_of(reply), words_of(reply))

        def answer() -> None:
            if self._transport is None or self._ended:
                return
            if self._failures >= self._settings.config.limits.auth_failures:
                # Its reply and the last words; what the server has of the command ends with the connection to it.
                self._order.say(octets)
                self._end("too many failed logins", TOO_MANY)
                return
            if in_command:
                self._order.instead(tag, octets)
                self._to_server.append(b"*\r\n")
            else:
                self._order.say(octets)
                self._client.answered(tag, ok=False)
            self._pump()

        self._loop.call_later(self._door.error_delay, answer)

    # --- the server's answer ------------------------------------------------------------------------------------------

    def _asked(self, event: Plus) -> None:
        if self._client.go_ahead():
            self._to_client.append(event.octets)
        if self._mechanism == "LOGIN" and self._responses:
            self._again = sasl.asks_for_a_name(event.octets[1:].strip())

    def _replied(self, event: Tagged) -> None:
        if not self._login_tag or event.tag != self._login_tag:
            return
        self._login_tag = b""
        permitted = self._permitted
        if permitted is None:  # cancelled before there was a name
            return
        if event.word == b"OK":
            self._client.signed_in = True
            self._peer = None
            self._door.count("logins")
            _log.info("imap.login", **{"client.ip": self._ip, "user.name": permitted.login})
            self._tell(permitted, accepted=True)
            return
        text = event.octets.split(b" ", 2)[-1].upper()
        refused = event.word == b"NO" and not text.startswith(_LATER)
        self._permitted = None
        self._door.count("logins refused" if refused else "logins not checked")
        self._tell(permitted, accepted=False, refused=refused)
        self._failures += 1
        if self._failures >= self._settings.config.limits.auth_failures:
            self._end("too many failed logins", TOO_MANY)

    def _person(self) -> Peer:
        """The peer with its login."""
        assert self._permitted is not None
        return replace(self._identity(), user=self._permitted.login)

    def _tell(self, whom: Permitted, *, accepted: bool, refused: bool = False) -> None:
        try:
            self._door.keeper.logged_in(LoggedIn(whom.login, self._ip, accepted, refused))
        except Exception:
            _log.exception("imap.login_not_recorded")

    def _let_go(self) -> None:
        """A sign-in that the server has not answered is over."""
        if self._permitted is not None and not self._client.signed_in:
            permitted, self._permitted = self._permitted, None
            self._tell(permitted, accepted=False)


def _text(octets: bytes) -> str:
    """A login as text; empty where it is none."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""
