"""The submission doors: an SMTP session whose client signs in before it sends.

What it is: ``Submission``, the session of ports 587 (STARTTLS) and 465 (implicit TLS): who may sign in, what a login may send as.
Who calls it: ``doors.entrance`` makes one a connection.
Must never: check a password itself; take mail from a client that has not signed in; take "could not ask" for yes; put what a client
sent with AUTH into a log.
Sources: RFC 6409 sections 4.3 and 6.1, RFC 4954, RFC 8314 section 3; rules/README.md, R6; hostile-inputs catalogue S36-S39.
"""

from __future__ import annotations

from msgspec.structs import replace

from gateway import logs
from gateway.address import Path
from gateway.doors.door import PLAIN, Door, Listener
from gateway.doors.peers import NOT_CHECKED
from gateway.doors.relaying import Refused
from gateway.doors.smtp import Session
from gateway.envelope import Peer
from gateway.policy import identity
from gateway.reply import Reply
from gateway.requests import Authenticated
from gateway.shares import owner_of
from gateway.wire.smtp import Server
from gateway.wire.smtp_auth import Credentials
from gateway.wire.smtp_events import Event, Phase
from gateway.wire.smtp_params import Mail
from gateway.wire.smtp_submission import SubmissionServer

SIGN_IN = Reply(530, "5.7.0", "Sign in before sending.")
START_TLS = Reply(530, "5.7.0", "Start TLS and sign in before sending.")
VPN = Reply(530, "5.7.0", "Connect through the government VPN and sign in before sending.")
UNNAMED = Reply(554, "5.7.1", "The load balancer did not say where you connect from. Ask your IT cell.")
WRONG = Reply(535, "5.7.8", "The login or the password is wrong.")
TOO_MANY = Reply(421, "4.7.0", "Too many failed logins in this session; closing it. Check login and password before you try again.")

_SHOWN = 100  # characters of an address in a reply
_log = logs.get("gateway.doors.smtp")


def not_yours(login: str, sender: Path) -> Reply:
    """The refusal of an envelope sender that does not belong to *login*."""
    return Reply(
        553,
        "5.7.1",
        f"The login {_shown(login)} may not send as {_shown(sender.text)}. "
        "Send from your own address, or ask your mail administrator for the right to send as this one.",
    )


def _shown(text: str) -> str:
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return cut.encode("ascii", "replace").decode("ascii")


class Submission(Session):
    """The decisions of one submission session."""

    __slots__ = ("_failures", "_senders", "_user")
    _codec: SubmissionServer

    def __init__(self, door: Door, listener: Listener = PLAIN) -> None:
        super().__init__(door, listener)
        self._failures = 0
        self._user = ""
        self._senders: tuple[str, ...] = ()

    def _make_codec(self) -> Server:
        return SubmissionServer(self._settings.submission, self._settings.submission.ehlo(tls=False))

    def _welcome(self) -> None:
        """Greets at once: programs that talk too early are none of those that can sign in."""
        vpn = self._settings.vpn
        if self._barred is None and not self._named:
            self._barred = UNNAMED  # its own address must not open what a login's networks or the VPN close
        elif self._barred is None and vpn is not None and self._ip not in vpn:
            self._barred = VPN
        self._codec.barred = self._barred
        if self._listener.implicit_tls:
            self._codec.under_tls(self._ehlo_under_tls())
        self._greet()

    def _is_expected(self) -> bool:
        vpn = self._settings.vpn
        return super()._is_expected() or (vpn is not None and self._ip in vpn)

    def _ehlo_under_tls(self) -> bytes:
        return self._settings.submission.ehlo(tls=True, auth=self._barred is None)

    def _pump(self) -> None:
        super()._pump()
        codec = self._codec
        if codec.phase is Phase.AUTH and codec.pending:
            self._command_since = self._command_since or self._last

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, Credentials):
            self._door.spawn(self._sign_in(event))
        else:
            super()._dispatch(event)

    # --- who it is ----------------------------------------------------------------------------------------------------

    async def _sign_in(self, credentials: Credentials) -> None:
        """Asks the keeper, and answers."""
        login = credentials.login
        if credentials.identity and credentials.identity.lower() != login.lower():
            answer = Authenticated(WRONG)  # nobody acts for another here: shared mailboxes are senders of a login
        else:
            try:
                answer = await self._door.keeper.authenticate(login, credentials.password, self._ip, self._listener.door.value)
            except Exception:
                _log.error("smtp.login_fault", **{"client.ip": self._ip})
                answer = Authenticated(NOT_CHECKED)
        del credentials
        if self._transport is None or self._codec.phase is not Phase.ASKED:
            return
        self._last = self._loop.time()
        if answer.reply.code == 235 and answer.login:
            self._user, self._senders = answer.login, answer.senders
            self._peer = None
            self._door.count("logins")
            _log.info("smtp.login", **{"client.ip": self._ip, "user.name": answer.login})
            self._codec.accept_login(answer.reply)
            self._pump()
        else:
            self._not_signed_in(answer.reply if answer.reply.code >= 400 else NOT_CHECKED)

    def _not_signed_in(self, reply: Reply) -> None:
        self._door.count("logins not checked" if reply.temporary else "logins refused")
        # Without the name: people type passwords where the login goes. The keeper's record has those that are ours.
        _log.info("smtp.login_failed", code=reply.code, **{"client.ip": self._ip})
        if not reply.temporary:
            self._failures += 1
        if self._failures >= self._settings.config.limits.auth_failures:
            self._close("too many failed logins", TOO_MANY)
        else:
            # Whoever guesses waits; so does who mistyped, once.
            self._later(reply, error=True)

    def _owner(self) -> str:
        return owner_of(self._ip, user=self._user, known=self._known)

    def _identity(self) -> Peer:
        peer = super()._identity()
        if self._user and not peer.user:
            peer = self._peer = replace(peer, user=self._user, senders=self._senders)
        return peer

    # --- what it may send ---------------------------------------------------------------------------------------------

    def _mail(self, mail: Mail) -> None:
        """Nothing goes without a login, and nothing under a name that is not the login's."""
        codec = self._codec
        if not self._user or self._barred is not None:
            self._later(self._barred or (SIGN_IN if codec.tls else START_TLS), error=True)
        elif not identity.owns(self._senders, mail.path):
            reply = not_yours(self._user, mail.path)
            self._door.record(self._identity(), mail.path.text, "", Refused(reply, "sender-not-owned"), self._listener.door)
            self._later(reply, error=True)
        else:
            super()._mail(mail)
