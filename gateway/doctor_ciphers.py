"""Which TLS versions and suites a Postfix may take as a client, and which of them are not AES with 256 bits.

What it is: the values of ``smtp_tls_mandatory_protocols`` and of Postfix's cipher lists, worked out with this machine's OpenSSL.
Who calls it: ``doctor_transport``.
Must never: leave a suite out that Postfix may offer (it is listed at security level 0, as Postfix's client does); connect anywhere.
Sources: postconf(5): smtp_tls_mandatory_protocols, smtp_tls_mandatory_ciphers, smtp_tls_exclude_ciphers, smtp_tls_policy_maps;
TLS_README; openssl-ciphers(1); RFC 8446 appendix B.4.
"""

from __future__ import annotations

import re
import ssl

from gateway.relay.hop_tls import is_aes_256

VERSIONS = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_NUMBERS = {"2": 0, "300": 1, "301": 2, "302": 3, "303": 4, "304": 5}
GRADES = ("export", "low", "medium", "high", "null")


class NotKnown(ValueError):
    """A value that Postfix would not take, or that is not understood here; the message says which."""


def _version(name: str) -> int:
    for number, version in enumerate(VERSIONS):
        if version.lower() == name.lower():
            return number
    number = _NUMBERS.get(name.lower().removeprefix("0x").lstrip("0"), -1)
    if number < 0:
        raise NotKnown(f"the TLS version {name} is not known here")
    return number


def versions(value: str) -> tuple[str, ...]:
    """The TLS versions that *value* (``>=TLSv1.2``, ``!SSLv2, !TLSv1.3``, ``TLSv1.2``) leaves, oldest first. Raises NotKnown."""
    lowest, highest, taken, out = 0, len(VERSIONS) - 1, set[int](), set[int]()
    for word in re.split(r"[\s,:]+", value.strip()):
        if not word:
            continue
        if word.startswith(">="):
            lowest = _version(word[2:])
        elif word.startswith("<="):
            highest = _version(word[2:])
        elif word.startswith("!"):
            out.add(_version(word[1:]))
        else:
            taken.add(_version(word))
    left = (number for number in range(lowest, highest + 1) if number not in out and (not taken or number in taken))
    return tuple(VERSIONS[number] for number in left)


def suites(base: str, exclusions: str) -> tuple[tuple[str, int], ...]:
    """Name and bits of each suite below TLS 1.3 that the list *base* leaves without *exclusions*. Raises NotKnown."""
    out = [word for word in re.split(r"[\s,]+", exclusions) if word]
    for word in out:
        if word[0] in "!+-@" or ":" in word:
            raise NotKnown(f"the exclusion {word} is none that Postfix takes")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.set_ciphers(":".join(["@SECLEVEL=0", base, *(f"!{word}" for word in out)]))
    except ssl.SSLError:
        return ()
    return tuple((str(one["name"]), int(one.get("strength_bits", 0))) for one in context.get_ciphers() if one.get("protocol") != "TLSv1.3")


def weak(base: str, exclusions: str) -> tuple[str, ...]:
    """Those suites that are not AES with 256 bits. Raises NotKnown, also where no suite is left."""
    found = suites(base, exclusions)
    if not found:
        raise NotKnown("no cipher suite is left, so no mail can be sent")
    return tuple(name for name, bits in found if not is_aes_256((name, "", bits)))
