"""What postconf of a Postfix 3.7 would print for given settings, for tests without a Postfix."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.doctor_postconf import Run

DEFAULTS = {
    "compatibility_level": "3.6", "queue_directory": "/var/spool/postfix", "milter_default_action": "tempfail", "milter_protocol": "6",
    "milter_connect_timeout": "30s", "milter_command_timeout": "30s", "milter_content_timeout": "300s",
    "milter_mail_macros": "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}",
    "milter_helo_macros": "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}", "milter_end_of_data_macros": "i",
    "default_transport": "smtp", "relay_transport": "relay", "local_transport": "local:gw1.dept.gov.in", "virtual_transport": "virtual",
    "smtp_tls_mandatory_ciphers": "medium", "smtp_tls_mandatory_protocols": ">=TLSv1", "lmtp_tls_mandatory_ciphers": "medium",
    "lmtp_tls_mandatory_protocols": ">=TLSv1", "tls_high_cipherlist": "aNULL:-aNULL:HIGH:@STRENGTH",
    "tls_medium_cipherlist": "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH", "tls_null_cipherlist": "eNULL:!aNULL",
    "tls_config_file": "default", "address_verify_default_transport": "smtp", "address_verify_relay_transport": "relay",
}  # fmt: skip
MASTER = """smtp inet n - y - - smtpd
pickup unix n - y 60 1 pickup
cleanup unix n - y - 0 cleanup
smtp unix - - y - - smtp
relay unix - - y - - smtp
error unix - - y - - error
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - y - - lmtp
maildrop unix - n n - - pipe flags=DRXhu user=vmail argv=/usr/bin/maildrop
"""


def postconf(
    main: str = "", *, master: str = MASTER, own: str = "", tables: dict[str, str] | None = None, folder: Path | None = None
) -> Run:
    """A ``run`` that answers as Postfix with the lines of *main*, of *master* and of *own* (``service/type/name = value``) would."""
    set_here = dict(re.findall(r"^(\w+)\s*=[ \t]*(.*)$", main, re.M))
    everything = DEFAULTS | ({"queue_directory": str(folder)} if folder else {}) | set_here

    def lines(values: dict[str, str]) -> str:
        return "".join(f"{name} = {value}\n" for name, value in values.items())

    def run(words: list[str]) -> str | None:
        if words[0] == "postmap":
            return (tables or {}).get(words[2])
        if words[0] != "postconf":
            return None
        if words[1] == "-x":
            return lines({name: everything.get(name, "") for name in words[2:]})
        if words[1] == "-h":
            return everything[words[2]] + "\n"
        return {"-n": lines(set_here), "-xP": own, "-P": own, "-M": master}[words[1]]

    return run
