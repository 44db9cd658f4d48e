"""The mailboxes of ``[contacts]`` that rules name: which address each is, and whether it may have what a rule sends there.

What it is: pure functions over the config and the domain lists.
Who calls it: ``copies``, ``notify`` and whatever else of the keeper writes to people, the keeper at start, ``gateway check``.
Must never: let a copy of official mail go to an address that is neither ours nor government, or a notice out of the organisation.
Source: rules/README.md, R8, R22, R32.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway import address
from gateway.address import AddressError, Path
from gateway.config import Config
from gateway.policy import Policy
from gateway.verdict import Tier


def mailbox(name: str, config: Config) -> Path | None:
    """The address of the contact *name* (``nodal``, ``registry`` …); None where the config has none, or no address of a domain."""
    written = str(getattr(config.contacts, name, ""))
    try:
        path = address.parse(written.encode("utf-8"), smtputf8=True)
    except AddressError:
        return None
    return path if path.domain else None


def is_within(path: Path, config: Config) -> bool:
    """Whether *path* is in the organisation: a domain of ours, or one that a local route names."""
    return path.domain in config.originators.domains or config.is_local(path.domain)


def within(text: str, config: Config) -> Path | None:
    """*text* as an address in the organisation; None where it is none."""
    try:
        path = address.parse(text.encode("utf-8"), smtputf8=True)
    except (AddressError, UnicodeEncodeError):
        return None
    return path if path.domain and is_within(path, config) else None


def may_have_copies(path: Path, config: Config, policy: Policy) -> bool:
    """Whether copies of mail may go to *path*: it is in the organisation, or of a government domain."""
    return is_within(path, config) or policy.domains.tier(path.domain).tier is Tier.GOVERNMENT


def wrong(config: Config, policy: Policy) -> Iterator[str]:
    """What would send copies to the wrong place: one sentence each. With any of these the keeper does not start."""
    if not config.contacts.registry:
        return
    path = mailbox("registry", config)
    if path is None:
        yield f"contacts.registry: {config.contacts.registry!r} is not an e-mail address"
    elif not may_have_copies(path, config, policy):
        yield (
            f"contacts.registry: {path.text} is neither of a local [[route]] or originators.domains nor of a government domain;"
            " copies of official mail may not go there"
        )


def missing(config: Config, policy: Policy) -> Iterator[str]:
    """What rules in force ask for and the config does not make possible: one sentence each. Mail goes on without it."""
    for rule in policy.rules.rules:
        if rule.mode != "enforce":
            continue
        for name in dict.fromkeys((*rule.copies, *rule.notify)):
            path = mailbox(name, config)
            what = "a copy" if name in rule.copies else "a notice"
            if path is None:
                yield f"the rule {rule.id} sends {what} to contacts.{name}, which is no address: none is sent; set it"
            elif name in rule.notify and not is_within(path, config):
                yield (
                    f"the rule {rule.id} sends a notice to contacts.{name}, but {path.text} is of no local [[route]] and not of"
                    " originators.domains: none is sent"
                )
