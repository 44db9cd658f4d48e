"""Whether the Postfix before the milter door lets a login write under its own addresses only. The gateway cannot tell.

What it is: the restrictions of each smtpd of master.cf that takes logins and asks the milter door. The gateway has Postfix's word
that somebody has signed in, and does not know which addresses are his.
Who calls it: ``doctor_postfix``, where the config has a milter door.
Must never: change a setting; call it wrong (whose address is whose may be held elsewhere, such as by a policy service).
Sources: postconf(5): smtpd_sender_login_maps, reject_sender_login_mismatch, reject_authenticated_sender_login_mismatch; SASL_README.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.doctor import Finding
from gateway.doctor_postconf import Postfix, Service, words

_LISTS = tuple(f"smtpd_{stage}_restrictions" for stage in ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data"))
_OWN = ("reject_sender_login_mismatch", "reject_authenticated_sender_login_mismatch")
"""Not reject_known_sender_login_mismatch: an address that the table does not have would be everybody's."""
_PAST = ("permit_sasl_authenticated", "permit")
"""What stands behind one of these in its list is not asked of a login."""
NAMES = ("smtpd_sasl_auth_enable", "smtpd_sender_login_maps", *_LISTS)


def examine(postfix: Postfix) -> Iterator[Finding]:
    """A warning for each smtpd where a login may write as anybody."""
    for service in postfix.running("smtpd"):
        if postfix.of(service, "smtpd_sasl_auth_enable") == "yes" and postfix.of(service, "smtpd_milters"):
            lack = _lack(postfix, service)
            if lack:
                yield Finding(
                    "milter", "warning",
                    f"master.cf: {service}: {lack}: whoever has signed in may write under any address, and the rule sender-not-owned does "
                    "not see it; set smtpd_sender_login_maps, and put reject_sender_login_mismatch first in smtpd_sender_restrictions",
                )  # fmt: skip


def _lack(postfix: Postfix, service: Service) -> str:
    if not postfix.of(service, "smtpd_sender_login_maps"):
        return "smtpd_sender_login_maps is not set"
    late = ""
    for name in _LISTS:
        listed = words(postfix.of(service, name))
        place = min((listed.index(one) for one in _OWN if one in listed), default=-1)
        before = [one for one in listed[:place] if one in _PAST] if place >= 0 else []
        if place >= 0 and not before:
            return ""
        if before:
            late = f"{name} has {before[0]} before {listed[place]}"
    return late or "reject_sender_login_mismatch is not in its restrictions"
