"""One case for ``gateway explain``: who sends what to whom, under which policy, and the record of what would be decided.

What it is: ``Case``, everything but the message; ``record``, the contract's JSON object for one message; ``signed_in``, what the file
of logins says of a login.
Who calls it: ``explain``.
Must never: act, store or send anything; ask the keeper about a login, which would count as a sign-in.
Source: docs/design.md section 10 ("explain --json").
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from gateway.cli.options import Stop

if TYPE_CHECKING:
    from gateway.address import Path
    from gateway.config import Config
    from gateway.envelope import Door, Transaction
    from gateway.levels import Level
    from gateway.policy import Policy
    from gateway.requests import Exceptions
    from gateway.verdict import Inspection, Verdict

TLS = "TLSv1.3"
"""The session of a file counts as encrypted: there was none, and rules on sessions without TLS have nothing to say of a file."""


def signed_in(user: str, client_ip: str, config: Config) -> tuple[str, tuple[str, ...] | None, str]:
    """The canonical form of the login *user*, the senders that it may use (None: not known, any), and a sentence on what is doubtful.

    Ends the command where the file of logins says that nobody signs in by that name.
    """
    from gateway.signin import login_file, login_names

    submission = config.submission
    if not submission.logins and submission.check == "file":
        return user, None, ""
    try:
        table = login_file.load(submission.logins, config) if submission.logins else login_file.NO_LOGINS
    except login_file.LoginFileError as error:
        return user, None, f"explain: every sender counts as the login's own: {error}"
    try:
        name = login_names.prepare(user)
    except login_names.LoginNameError as error:
        raise Stop(f"--user: {user!r}: {error}", 2) from error
    login = table.logins.get(name)
    if login is None and submission.check == "file":
        raise Stop(f"--user: there is no login {name!r} in {submission.logins}, so nobody can sign in as that", 2)
    doubt = ""
    if login is not None and client_ip and not login.may_come_from(client_ip):
        doubt = f"explain: the login {name} may not be used from {client_ip}: the gateway would not let it sign in"
    return name, table.senders(name, client_ip or "127.0.0.1", config.application), doubt


def _official(sender: Path, config: Config) -> bool:
    """Whether the sender's domain is one of ours."""
    return sender.domain in config.originators.domains


class Case:
    """Everything but the message: who sends to whom, under which policy. Calling it with a file gives its record."""

    def __init__(
        self, sender: Path, recipients: tuple[Path, ...], config: Config, policy: Policy, exceptions: Exceptions,
        *, client_ip: str, user: str, want_text: bool, senders: tuple[str, ...] | None = None, thread: Level | None = None,
        door: Door | None = None, shared: bool = False,
    ) -> None:  # fmt: skip
        """*door*: by which it comes; None: submission with a login, else SMTP. *shared*: it is stored where others read it."""
        from gateway.inspector import tools

        self.config, self.policy, self.exceptions, self.want_text = config, policy, exceptions, want_text
        self._tools = tools.direct(config.limits)
        self._thread = thread
        self._named, self._shared = door, shared
        self._come(sender, recipients, client_ip, user, senders)

    def _come(self, sender: Path, recipients: tuple[Path, ...], client_ip: str, user: str, senders: tuple[str, ...] | None) -> None:
        """Who sends to whom, and by which door."""
        import ipaddress

        from gateway.envelope import Door, Peer
        from gateway.policy import decide

        config = self.config
        self._sender, self._recipients = sender, recipients
        self._door = self._named or (Door.SUBMISSION if user else Door.SMTP)
        if self._door is Door.IMAP and not user:
            user = sender.text  # nobody stores anything without a login
        networks = [ipaddress.ip_network(network) for network in config.originators.networks]
        if client_ip or user:
            address = ipaddress.ip_address(client_ip) if client_ip else None
            listed = address is not None and any(address in network for network in networks)
            self._peer = Peer(client_ip or "127.0.0.1", user=user, senders=senders, listed=listed, tls_version=TLS)
            self._verified = decide.verified(sender, self._peer, config)
        else:
            self._verified = _official(sender, config)
            self._peer = Peer(str(networks[0][0]) if networks and self._verified else "192.0.2.1", listed=self._verified, tls_version=TLS)

    def of(
        self, sender: Path, recipients: tuple[Path, ...], *, client_ip: str = "", user: str = "", senders: tuple[str, ...] | None = None
    ) -> Case:
        """The same case for another envelope."""
        import copy

        other = copy.copy(self)
        other._come(sender, recipients, client_ip, user, senders)
        return other

    def transaction(self, content: bytes, sha256: str) -> Transaction:
        """The transaction that would have brought *content* here."""
        import time

        from gateway.envelope import Envelope, Recipient, Transaction, new_id

        return Transaction(
            id=new_id(), door=self._door, peer=self._peer,
            envelope=Envelope(self._sender, tuple(Recipient(path) for path in self._recipients), eight_bit=True, smtputf8=True),
            received_at=time.time(), size=len(content), sha256=sha256, verified_originator=self._verified,
            department=self._sender.domain if self._verified else "", shared=self._shared,
        )  # fmt: skip

    def in_worker(self, file: FilePath) -> dict[str, Any]:
        """``record`` in a process of its own, which ends when the file takes more CPU time than an inspection may."""
        import signal

        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, self.config.limits.inspect_cpu)
        try:
            return self.record(file)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def record(self, file: FilePath, killed: str = "") -> dict[str, Any]:
        """The record of one file. *killed*: reading it ended a process in this way, so that it counts as suspect."""
        try:
            octets = _read(file, self.config.max_message_size)
        except OSError as error:
            return {"file": str(file), "error": error.strerror or str(error)}
        if octets is None:
            return {"file": str(file), "error": f"is larger than max_message_size ({self.config.max_message_size} octets): it is refused"}
        return self.judged(str(file), octets, killed)

    def judged(self, name: str, octets: bytes, killed: str = "") -> dict[str, Any]:
        """The record of the message *octets*, which people know as *name*. *killed*: see ``record``."""
        import hashlib

        from gateway import content as inspection_of
        from gateway.extraction.base import ToolFault
        from gateway.message import prescan
        from gateway.policy import decide
        from gateway.verdict import Remembered

        content = prescan.canonical(octets)
        sha256 = hashlib.sha256(content).hexdigest()
        tx = self.transaction(content, sha256)
        if killed:
            inspection = self._unread(content, sha256, killed)
        else:
            try:
                inspection = inspection_of.unpack(
                    content,
                    sha256=sha256,
                    limits=self.config.limits,
                    scheme=self.policy.scheme,
                    want_text=self.want_text,
                    tools=self._tools,
                )
            except ToolFault as fault:
                return {"file": name, "error": f"not decided, the gateway would defer it: {fault}"}
        verdict = decide.decide(tx, inspection, self.policy, self.exceptions, self.config, remembered=Remembered(thread=self._thread))
        return record(name, content, inspection, verdict, self.policy, self.config.languages, self.want_text)

    def _unread(self, content: bytes, sha256: str, how: str) -> Inspection:
        from gateway.message import plain, prescan, views
        from gateway.verdict import Finding, Headers, Inspection, Leaf, LeafState

        scan = prescan.prescan(content, self.config.limits)
        headers: Headers = Headers()
        findings: tuple[Finding, ...] = ()
        if not scan.over_limit:
            view = views.strict(content, scan, self.config.limits)
            headers = views.summary(view, scan, self.policy.scheme.label_headers)
            findings = plain.root_findings(view.headers, self.policy.scheme)
        reason = f"reading this message ended the process that read it ({how})"
        return Inspection(sha256, headers, (Leaf("1", "", "message/rfc822", len(content), LeafState.SUSPECT, reason),), findings, (reason,))


def _read(file: FilePath, most: int) -> bytes | None:
    """The octets of *file*; None where there are more than *most*. Raises OSError."""
    with file.open("rb") as stream:
        octets = stream.read(most + 1)
    return None if len(octets) > most else octets


def record(
    name: str, content: bytes, inspection: Inspection, verdict: Verdict, policy: Policy, languages: tuple[str, ...], want_text: bool
) -> dict[str, Any]:
    """The contract's JSON object for one message."""
    from gateway.verdict import Disposition

    texts = dict(inspection.texts)
    segments: dict[str, list[dict[str, Any]]] = {}
    for path, zone, page, text in inspection.segments:
        segments.setdefault(path, []).append({"zone": str(zone), "page": page, "text": text})
    found = verdict.classification
    going = [one for one in verdict.recipients if one.disposition in (Disposition.DELIVER, Disposition.HOLD)]
    edits = {(edit.action, edit.header, edit.value): None for one in going for edit in one.edits}
    rules = {rule.id: rule for rule in policy.rules.rules}

    def level(value: Any) -> str | None:
        return None if value is None else value.text

    def explanation(key: str, facts: tuple[tuple[str, str], ...]) -> dict[str, str]:
        if not key:
            return {}
        said = {lang: policy.explanations.sentence(key, lang, dict(facts)) for lang in languages}
        return {lang: " ".join((one.what, one.why[:1].upper() + one.why[1:], *one.next)) for lang, one in said.items()}

    return {
        "file": name,
        "message": {
            "sha256": inspection.sha256, "size": len(content), "subject": inspection.headers.subject,
            "ambiguous": bool(inspection.ambiguity), "ambiguity": list(inspection.ambiguity),
        },
        "classification": {
            "level": level(found.level), "declared": level(found.declared), "found": level(found.found), "probable": level(found.probable),
            "conflict": found.conflict, "complete": found.complete,
            "evidence": [
                {
                    "level": one.level.text, "path": one.path, "zone": str(one.zone), "text": one.text, "language": one.language,
                    "confidence": str(one.confidence), "detector": one.detector,
                }
                for one in found.evidence
            ],
        },
        "leaves": [
            {
                "path": leaf.path, "name": leaf.name, "media_type": leaf.media_type, "size": leaf.size, "state": str(leaf.state),
                "reason": leaf.reason, "level": level(leaf.level),
                "protection": {
                    "state": str(leaf.protection.state), "scheme": leaf.protection.scheme, "cipher": leaf.protection.cipher,
                    "bits": leaf.protection.bits, "reason": leaf.protection.reason,
                },
            } | ({"text": texts.get(leaf.path, ""), "segments": segments.get(leaf.path, [])} if want_text else {})
            for leaf in verdict.leaves
        ],
        "observations": [
            {"kind": one.kind, "name": one.name, "place": one.place, "count": one.count} for one in inspection.observations
        ],
        "recipients": [
            {
                "address": one.address, "tier": str(one.tier), "direction": str(one.direction), "disposition": one.disposition.text,
                "status": one.status, "rule": one.rule, "title": getattr(rules.get(one.rule), "title", ""), "source": one.source,
                "explanation": explanation(one.explain, one.facts), "exception": one.exception, "tags": list(one.tags),
                "trace": [{"rule": step.rule, "hit": step.hit, "mode": step.mode} for step in one.trace],
            }
            for one in verdict.recipients
        ],
        "edits": [{"action": action, "header": header, "value": value} for action, header, value in edits],
        "rules_version": verdict.rules_version,
        "exceptions_version": verdict.exceptions_version,
    }  # fmt: skip
