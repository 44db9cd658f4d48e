"""Codes of a device: RFC 6238 with SHA-1, six digits, 30 seconds, as every authenticator app has them.

What it is: pure functions: a new secret, its ``otpauth`` address, and the check of a code against the time and the last code taken.
Who calls it: ``keeper.account`` (setting up), ``keeper.entry`` (signing in).
Must never: take a code twice, or one from before the last one taken; log a secret or a code.
Sources: RFC 6238 sections 4 and 5.2 (a code is taken once, one step either way), RFC 4226 section 5.3; Key URI Format (otpauth).
"""

from __future__ import annotations

import hmac

import pyotp

STEP = 30
"""Seconds of one code."""
_WINDOW = 1
DIGITS = 6


def new_secret() -> str:
    """160 random bits in base32."""
    return pyotp.random_base32(32)


def uri(secret: str, name: str, issuer: str) -> str:
    """What an authenticator app reads from the picture: *name* and *issuer* are shown in it."""
    return pyotp.TOTP(secret, digits=DIGITS, interval=STEP).provisioning_uri(name=name, issuer_name=issuer)


def taken(secret: str, code: str, now: float, counter: int) -> int:
    """The time step of *code*, which has to be kept; 0 where the code is wrong, too old, or not later than the step *counter*.

    All steps of the window are compared, so that the time does not tell which one fitted.
    """
    digits = "".join(code.split())
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
        return 0
    generator = pyotp.HOTP(secret, digits=DIGITS)
    here, found = int(now // STEP), 0
    for step in range(here - _WINDOW, here + _WINDOW + 1):
        if hmac.compare_digest(generator.at(step), digits) and step > counter:
            found = step
    return found
