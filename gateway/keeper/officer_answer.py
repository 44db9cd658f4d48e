"""The answer to an officer who asked for release: that his message was sent on.

What it is: ``OfficerAnswer``, which makes the mail of a release. Of a refusal and of an expiry the ordinary report tells.
Who calls it: ``releasing``, which writes it with the release.
Must never: write to anybody outside the organisation, or where nobody asked; stop a release.
Sources: RFC 3834; hostile-inputs catalogue L05.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.keeper.act import Deliverer
from gateway.keeper.held import HeldMail, Item
from gateway.policy import Policy, contacts, officer_mail
from gateway.policy.officer_mail import Frame
from gateway.relay.notices import Report, make_message
from gateway.vault.officer_links import OfficerLinks


class OfficerAnswer:
    """See the module. *policy* gives the sentences now in force."""

    def __init__(self, mail: HeldMail, relay: Deliverer, policy: Callable[[], Policy]) -> None:
        self._mail = mail
        self._relay = relay
        self._policy = policy
        self._links = OfficerLinks(mail.config, mail.vault)

    def released(self, item: Item, recipients: Sequence[str], waiting: int, now: float) -> list[Report]:
        """The mail that *item* was released to *recipients*, while *waiting* others still wait; none where release was not asked for."""
        hold, config = item.hold, self._mail.config
        to = contacts.within(hold.sender, config) if hold.requested and hold.verified_originator else None
        if to is None:
            return []
        url = self._links.url(hold.reference, hold.sender, now)
        frame = Frame(to.text, config.hostname, now, self._policy().explanations, config.languages)
        content = officer_mail.released(hold.reference, recipients, waiting, url, frame)
        return [
            make_message(
                content, to.text, self._mail.vault, now, self._relay.incarnation, about=hold.reference, department=hold.department,
                level=None, require_aes256=False, door="notice",
            )
        ]  # fmt: skip
