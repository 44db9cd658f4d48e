"""What ``gateway setup`` writes and prints: gateway.toml, and the lines for the Postfix servers before and behind.

What it is: pure functions from answers to text.
Who calls it: ``setup``.
Must never: read or write a file; put a secret into the config.
Sources: docs/design.md section 10; postconf(5).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from gateway.cli.setup_questions import several, tls_of


def _text(value: str) -> str:
    """*value* as a TOML basic string."""
    return json.dumps(value, ensure_ascii=False)


def _list(value: str) -> str:
    return "[" + ", ".join(_text(item) for item in several(value)) + "]"


_SOCKETS = {25: "smtp", 587: "submission", 465: "smtps"}
"""Ports below 1024 for which there is a systemd socket, so that no process needs a privilege for them."""


def _listening(address: str, units: bool) -> str:
    port = int(address.rpartition(":")[2])
    return f"systemd:{_SOCKETS[port]}" if units and port in _SOCKETS else address


def config(answers: Mapping[str, str], *, units: bool = False) -> str:
    """gateway.toml for *answers*, with a comment where a reader may want to go on. *units*: it runs as the units of systemd."""
    first = several(answers["domains"])[0]
    state = answers["state_dir"]
    lines = [
        "# Written by `gateway setup`. Every option, with its default and a sentence: gateway check --show",
        f"hostname = {_text(answers['hostname'])}",
        f"state_dir = {_text(state)}",
        *(['run_dir = "/run/gateway"         # as the units of systemd have it'] if units else []),
        f"packs = {_list(answers.get('packs', ''))}",
        "",
        "[contacts]",
        f"postmaster = {_text(answers['postmaster'])}",
    ]
    if answers.get("security"):
        lines.append(f"security = {_text(answers['security'])}")
    lines += ["", "[[listen]]", 'door = "smtp"', f"address = {_text(_listening(answers['listen'], units))}"]
    host = answers["listen"].rpartition(":")[0]
    if answers.get("submission") == "yes":
        for door, port in (("submission", 587), ("smtps", 465)):
            lines += ["", "[[listen]]", f'door = "{door}"', f"address = {_text(_listening(f'{host}:{port}', units))}"]
    lines += ["", "[[listen]]", 'door = "web"', 'address = "127.0.0.1:18080"     # behind a web server that speaks TLS']
    if answers.get("certificate"):
        lines += ["", "[tls]", f"certificate = {_text(answers['certificate'])}", f"key = {_text(answers['key'])}"]
    if answers.get("submission") == "yes":
        lines += ["", "[submission]"]
        if answers.get("auth_hop"):
            hop = answers["auth_hop"]
            lines += ['check = "next-hop"                 # the same login and password are shown to that server, over TLS']
            lines += [f"next_hop = {_text(hop)}", *(["implicit_tls = true"] if hop.endswith(":465") else [])]
        else:
            lines += ['check = "file"', 'logins = "/etc/gateway/logins.toml"     # gateway logins hash makes the passwords of it']
    lines += ["", "[originators]                      # whose mail is official", f"domains = {_list(answers['domains'])}"]
    lines += [f"networks = {_list(answers['networks'])}"]
    lines += ["", "[[route]]                          # mail to the department", f"domains = {_list(answers['domains'])}", "local = true"]
    lines += [f"next_hop = {_text(answers['local_hop'])}", f'tls = "{tls_of(answers["local_hop"])}"']
    lines += ["", "[[route]]                          # the way out", 'domains = ["*"]', f"next_hop = {_text(answers['next_hop'])}"]
    lines += [f'tls = "{tls_of(answers["next_hop"])}"']
    if answers.get("dkim"):
        lines += ["", "[[dkim]]", f"domain = {_text(first)}", f"selector = {_text(answers['dkim'])}"]
        lines += [f"key_file = {_text(state + '/keys/dkim-' + answers['dkim'] + '.pem')}"]
    if answers.get("public_url"):
        lines += ["", "[web]", f"public_url = {_text(answers['public_url'])}"]
        lines += ['# proxies = ["127.0.0.1/32"]        # the web server before the page, once it writes X-Forwarded-For']
    return "\n".join(lines) + "\n"


def postfix_before(answers: Mapping[str, str]) -> list[str]:
    """main.cf of the department's server, which hands its outgoing mail to the gateway. Comments have lines of their own there."""
    host, _, port = answers["listen"].rpartition(":")
    local = host.strip("[]") in ("127.0.0.1", "::1")
    where = f"[{host.strip('[]')}]" if local else f"[{answers['hostname']}]"
    encrypt = bool(answers.get("certificate")) and not local
    return [
        "# No other way out: no fallback_relay, and no entry of transport_maps that goes around the gateway.",
        f"relayhost = {where}:{port}",
        "fallback_relay =",
        *([] if encrypt or local else ["# encrypt instead of may, once the gateway has a certificate:"]),
        f"smtp_tls_security_level = {'encrypt' if encrypt else 'may'}",
        "smtp_tls_loglevel = 1",
    ]


def postfix_behind(own_address: str) -> list[str]:
    """main.cf of the servers that take mail from the gateway; *own_address* is what they see it come from."""
    return [
        "# The gateway may relay:",
        f"mynetworks = 127.0.0.0/8 {own_address}/{128 if ':' in own_address else 32}",
        "# CONFIDENTIAL and RESTRICTED need AES-256 on this hop; Postfix's own ciphers will do.",
        "smtpd_tls_security_level = may",
        "smtpd_tls_cert_file = /etc/ssl/mail.pem",
        "smtpd_tls_key_file = /etc/ssl/mail.key",
        "# Nothing in the mail may change, or the DKIM signature breaks:",
        "disable_mime_output_conversion = yes",
    ]
