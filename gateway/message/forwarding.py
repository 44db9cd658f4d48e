"""Traces of forwarding in a header section: by a program (a mailbox that is redirected), or by hand.

What it is: ``FIELDS``, every field that may be such a trace; ``auto_forwarded``, ``resent`` and ``resenders``.
Who calls it: ``views.summary_of``.
Must never: take a field for a trace that people's own mail programs write when somebody forwards by hand (X-Forwarded-Message-Id),
nor one that ordinary delivery leaves (Delivered-To, X-Original-To): mail that is sent on by hand still carries those.
Sources: RFC 5322 section 3.6.6 (Resent-*); RFC 3834 section 5 (Auto-Submitted); RFC 2156 appendix A (Autoforwarded, of X.400 gateways);
MS-OXCMAIL section 2.2.3 (X-Auto-Response-Suppress);
Microsoft, "Loop prevention in Exchange Online demystified" (2021); the sources of Pigeonhole and Zimbra; R33 in rules/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_RESENT = frozenset(("resent-from", "resent-to", "resent-sender", "resent-cc", "resent-bcc", "resent-date", "resent-message-id"))
_ALWAYS = frozenset((
    "x-sieve-redirected-from",  # Pigeonhole (Dovecot): the redirect action of a Sieve script
    "x-zimbra-forwarded",  # Zimbra: a filter that redirects
    "x-ms-exchange-forwardingloop",  # Exchange: forwarding is set on the mailbox
))  # fmt: skip
_EXCHANGE = frozenset(("x-ms-exchange-inbox-rules-loop", "x-ms-exchange-generated-message-source"))
_WITH_ADDRESS = frozenset(("x-forwarded-for", "x-forwarded-to"))  # Gmail and qmail's forward; with an IP address it is a web form's
_SAID = frozenset((
    "autoforwarded", "auto-forwarded", "x-autoforward", "x-autoforwarded", "x-auto-forward", "x-auto-forwarded",
    "x-ms-exchange-organization-autoforwarded",
))  # fmt: skip
_ANSWERS = frozenset(("", "none"))
_NOT = frozenset(("", "no", "false", "0"))

FIELDS = _RESENT | _ALWAYS | _EXCHANGE | _WITH_ADDRESS | _SAID
"""Lower-case names: a header section without any of them, and without Auto-Submitted, has no trace."""


def resent(by_name: Mapping[str, Sequence[str]]) -> bool:
    """Whether somebody, or a program, sent on what he had received."""
    return not _RESENT.isdisjoint(by_name)


def resenders(by_name: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """The field value that says who sent it on last: the topmost Resent-Sender, else the topmost Resent-From; empty where neither is."""
    return (by_name.get("resent-sender") or by_name.get("resent-from") or ())[:1]


def auto_forwarded(by_name: Mapping[str, Sequence[str]], auto_submitted: str) -> bool:
    """Whether a field of *by_name* (values by lower-case name) says that a program forwarded the message.

    *auto_submitted* is the keyword of Auto-Submitted, in lower case. Exchange leaves the trace of its inbox rules in its out-of-office
    replies too; those say auto-replied, or ask in X-Auto-Response-Suppress that nobody answers them.
    """
    if auto_submitted == "auto-forwarded" or not _ALWAYS.isdisjoint(by_name):
        return True
    if auto_submitted not in ("", "no") and "resent-from" in by_name:
        return True
    if any("@" in value for name in _WITH_ADDRESS for value in by_name.get(name, ())):
        return True
    if any(value.strip().lower() not in _NOT for name in _SAID for value in by_name.get(name, ())):
        return True
    if auto_submitted == "auto-replied" or any(
        value.strip().lower() not in _ANSWERS for value in by_name.get("x-auto-response-suppress", ())
    ):
        return False
    source = by_name.get("x-ms-exchange-generated-message-source", ())
    return "x-ms-exchange-inbox-rules-loop" in by_name or any("rules agent" in value.lower() for value in source)
