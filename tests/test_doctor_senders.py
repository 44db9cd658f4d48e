"""Who may write under whose address behind the milter door, as ``gateway doctor`` sees it in Postfix's settings."""

from __future__ import annotations

import pytest

from gateway import doctor_postfix, doctor_senders
from tests.postfix_kit import postconf
from tests.test_doctor_milter import GOOD, config

MAPS = "smtpd_sender_login_maps = inline:{{so@dept.gov.in=so}}\n"
LOGINS = GOOD + "smtpd_sasl_auth_enable = yes\n"


def warned(main: str, own: str = "") -> list[str]:
    postfix = doctor_postfix.reading(config(), postconf(main, own=own))
    assert postfix is not None
    found = list(doctor_senders.examine(postfix))
    assert {one.state for one in found} <= {"warning"}
    return [one.text for one in found]


@pytest.mark.parametrize(
    ("main", "own"),
    [
        (GOOD, ""),  # nobody signs in
        (LOGINS + MAPS + "smtpd_sender_restrictions = reject_sender_login_mismatch\n", ""),
        (LOGINS + MAPS + "smtpd_sender_restrictions = permit_mynetworks, reject_authenticated_sender_login_mismatch, permit\n", ""),
        (LOGINS + MAPS + "smtpd_recipient_restrictions = reject_sender_login_mismatch permit_sasl_authenticated reject\n", ""),
        (
            LOGINS + MAPS + "smtpd_sender_restrictions = permit_sasl_authenticated, reject_sender_login_mismatch\n"
            "smtpd_client_restrictions = reject_sender_login_mismatch\n",
            "",
        ),
        (GOOD + MAPS, "smtp/inet/smtpd_sasl_auth_enable = yes\nsmtp/inet/smtpd_sender_restrictions = reject_sender_login_mismatch"),
        (LOGINS, "smtp/inet/smtpd_milters ="),  # of that the milter's own findings speak
    ],
)  # fmt: skip
def test_where_logins_write_under_their_own_addresses_nothing_is_said(main: str, own: str) -> None:
    assert warned(main, own) == []


@pytest.mark.parametrize(
    ("main", "own", "said"),
    [
        (LOGINS, "", "smtp/inet: smtpd_sender_login_maps is not set"),
        (LOGINS + MAPS, "", "reject_sender_login_mismatch is not in its restrictions"),
        (LOGINS + MAPS + "smtpd_sender_restrictions = reject_known_sender_login_mismatch\n", "", "is not in its restrictions"),
        (
            LOGINS + MAPS + "smtpd_sender_restrictions = permit_sasl_authenticated, reject_sender_login_mismatch\n", "",
            "smtpd_sender_restrictions has permit_sasl_authenticated before reject_sender_login_mismatch",
        ),
        (GOOD, "smtp/inet/smtpd_sasl_auth_enable = yes", "smtp/inet: smtpd_sender_login_maps is not set"),
        (
            LOGINS + MAPS + "smtpd_sender_restrictions = reject_sender_login_mismatch\n",
            "smtp/inet/smtpd_sender_restrictions = permit_sasl_authenticated,reject", "is not in its restrictions",
        ),
    ],
)  # fmt: skip
def test_where_a_login_may_write_as_anybody_it_is_a_warning(main: str, own: str, said: str) -> None:
    (text,) = warned(main, own)
    assert said in text
    assert "sender-not-owned" in text


def test_the_doctor_says_it() -> None:
    found = list(doctor_postfix.examine(config(), postconf(LOGINS)))
    assert any(one.state == "warning" and "smtpd_sender_login_maps is not set" in one.text for one in found)
    assert not any(one.state == "wrong" and "smtpd_sender_login_maps" in one.text for one in found)
