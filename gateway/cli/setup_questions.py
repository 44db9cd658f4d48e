"""What ``gateway setup`` asks, in order, and what counts as an answer.

What it is: ``QUESTIONS`` and the checks of single answers; every refusal is one sentence that says what to write.
Who calls it: ``setup``, for a person at a terminal and for a file of answers alike.
Must never: connect anywhere, read or write a file.
Source: docs/design.md section 10.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway import address
from gateway.config import is_loopback

PACKS = ("jammu-kashmir", "gujarat", "maharashtra", "rajasthan")
_WIDEST = {4: 8, 6: 19}
"""The shortest prefix of a range that one department can have."""
_PRIVATE = frozenset({
    "gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "rediffmail.com", "rediff.com", "icloud.com",
    "me.com", "aol.com", "proton.me", "protonmail.com", "zohomail.in", "zohomail.com", "gmx.com", "mail.com", "yandex.com",
})  # fmt: skip
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


class NoAnswer(ValueError):
    """The text is no answer to the question; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to know. ``check`` gives the answer in its final form or raises NoAnswer."""

    key: str
    text: str
    hint: str
    check: Callable[[str], str]
    default: str | Callable[[Mapping[str, str]], str] = ""
    """A text, or what earlier answers suggest."""
    optional: bool = False
    """An empty answer is one too."""
    when: Callable[[Mapping[str, str]], bool] | None = None
    """Whether it is asked at all, after the earlier answers; None: always."""
    fits: Callable[[str, Mapping[str, str]], None] | None = None
    """Holds the final form against the earlier answers; raises NoAnswer."""

    def taken(self, text: str, answers: Mapping[str, str]) -> str:
        """The answer *text* in its final form, after the *answers* given so far. Raises NoAnswer."""
        answer = self.check(text) if text.strip() else ""
        if answer and self.fits is not None:
            self.fits(answer, answers)
        return answer

    def asked(self, answers: Mapping[str, str]) -> bool:
        """Whether it is asked after the *answers* given so far."""
        return self.when is None or self.when(answers)

    def suggested(self, answers: Mapping[str, str]) -> str:
        """The default, after the *answers* given so far."""
        return self.default(answers) if callable(self.default) else self.default


def several(text: str) -> list[str]:
    """The items of an answer that may have several: separated by commas or blanks."""
    return [item for item in re.split(r"[\s,;]+", text.strip()) if item]


def host_name(text: str) -> str:
    """A full host name."""
    name = text.strip().rstrip(".").lower()
    if not name.isascii() or "." not in name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise NoAnswer(f"{text!r} is not a full host name; write one such as gw1.dept.gov.in")
    return name


def domains(text: str) -> str:
    """One or more mail domains, as A-labels."""
    found = []
    for item in several(text):
        try:
            name = address.domain_of(item.removeprefix("@").rstrip("."))
        except address.AddressError:
            name = ""
        if "." not in name or "*" in item:
            raise NoAnswer(f"{item!r} is not a mail domain; write what stands after the @, such as dept.gov.in, sub-domains one by one")
        if name in _PRIVATE or name.partition(".")[0] == "yahoo":
            raise NoAnswer(f"{name} is a private mail provider: whoever has an address there would be an official sender; name your own")
        found.append(name)
    if not found:
        raise NoAnswer("at least one domain is needed: without it no mail counts as official")
    return ", ".join(dict.fromkeys(found))


def networks(text: str) -> str:
    """CIDR ranges."""
    found = []
    for item in several(text):
        try:
            network = ipaddress.ip_network(item)
        except ValueError:
            raise NoAnswer(f"{item!r} is not an address range; write for example 10.20.0.0/16 or 10.20.1.5/32") from None
        if network.prefixlen == 0:
            raise NoAnswer(f"{item} is the whole internet: everybody could send official mail; name your own ranges")
        if network.version == 6 and network.subnet_of(ipaddress.IPv6Network("::ffff:0:0/96")):
            raise NoAnswer(f"{item} is an IPv4 range in the dress of IPv6; write it as IPv4, such as 10.20.0.0/16")
        if network.prefixlen < _WIDEST[network.version]:
            raise NoAnswer(
                f"{item} is a large part of the internet: everybody there could send official mail; name your own ranges, none wider than"
                f" /{_WIDEST[network.version]}"
            )
        found.append(str(network))
    return ", ".join(dict.fromkeys(found))


def server(text: str) -> str:
    """host:port of a mail server; port 25 where none is written."""
    value = text.strip()
    if value.startswith("unix:/"):
        return value
    host, colon, port = value.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = value, "25"
    bare = host.strip("[]")
    try:
        bare = str(ipaddress.ip_address(bare))
    except ValueError:
        bare = "localhost" if bare == "localhost" else host_name(bare)
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise NoAnswer(f"{text!r}: the port is a number from 1 to 65535, such as mail.dept.gov.in:25")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def mailbox(text: str) -> str:
    """An address; empty stays empty."""
    if not text.strip():
        return ""
    try:
        path = address.parse(text.strip().encode(), smtputf8=False)
    except address.AddressError as error:
        raise NoAnswer(f"{text!r} is not an address ({error}); write one such as postmaster@dept.gov.in") from None
    if not path.domain:
        raise NoAnswer(f"{text!r} is not an address; write it with its domain, such as postmaster@dept.gov.in")
    return path.text


def packs(text: str) -> str:
    """Names of rule packs; empty for none."""
    found = [item.lower() for item in several(text)]
    for item in found:
        if item not in PACKS:
            raise NoAnswer(f"{item!r} is none of the rule packs {', '.join(PACKS)}; leave it empty for the baseline alone")
    return ", ".join(dict.fromkeys(found))


def folder(text: str) -> str:
    """An absolute path."""
    if not text.strip().startswith("/"):
        raise NoAnswer(f"{text!r} is not an absolute path; write one such as /var/lib/gateway")
    return text.strip()


def file(text: str) -> str:
    """An absolute path, or nothing."""
    return folder(text) if text.strip() else ""


def word(text: str) -> str:
    """A DKIM selector, or nothing."""
    value = text.strip().lower()
    if value and not _LABEL.fullmatch(value):
        raise NoAnswer(f"{text!r} is not a selector; write letters and digits, such as gw1")
    return value


def url(text: str) -> str:
    """An https address, or nothing."""
    value = text.strip().rstrip("/")
    if value and not re.fullmatch(r"https://[A-Za-z0-9.\-]+(:\d+)?(/[\w.\-/]*)?", value):
        raise NoAnswer(f"{text!r} is not an address such as https://gateway.dept.gov.in")
    return value


def yes_or_no(text: str) -> str:
    """``yes`` or ``no``."""
    value = text.strip().lower()
    if value in ("y", "yes", "true"):
        return "yes"
    if value in ("n", "no", "false"):
        return "no"
    raise NoAnswer("write yes or no")


def listen(text: str) -> str:
    """host:port to listen on."""
    host, colon, port = text.strip().rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        host = ""
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise NoAnswer(f"{text!r} is not an address to listen on; write for example 0.0.0.0:25, 127.0.0.1:10025 or [::]:25")
    return text.strip()


def not_itself(hop: str, answers: Mapping[str, str]) -> None:
    """Raises NoAnswer where the server *hop* is the very address that the gateway listens on: mail would go round in a circle."""
    host, _, port = hop.rpartition(":")
    own, _, own_port = answers.get("listen", "").rpartition(":")
    host, own = host.strip("[]"), own.strip("[]")
    if hop.startswith("unix:") or port != own_port or not own:
        return
    address = ipaddress.ip_address(own)
    here = {own, answers.get("hostname", "")}
    if host in here or (is_loopback(hop) and (address.is_unspecified or address.is_loopback)):
        raise NoAnswer(f"{hop} is where this gateway itself listens: mail would go round in a circle; name the server behind it")


def _first(key: str) -> Callable[[Mapping[str, str]], str]:
    return lambda answers: several(answers.get(key, ""))[0] if answers.get(key) else ""


def _at(name: str) -> Callable[[Mapping[str, str]], str]:
    return lambda answers: f"{name}@{_first('domains')(answers)}"


def _has(key: str, *, value: str = "") -> Callable[[Mapping[str, str]], bool]:
    return lambda answers: bool(answers.get(key)) and value in ("", answers[key])


QUESTIONS: tuple[Question, ...] = (
    Question("hostname", "Name of this gateway in the DNS", "It stands in the greeting, in Received and in reports.", host_name),
    Question(
        "domains", "Mail domains of the department", "What stands after the @ of official senders; several with commas.",
        domains, lambda answers: answers.get("hostname", "").partition(".")[2],
    ),
    Question(
        "networks", "Address ranges that send official mail", "The IP white-list: your mail server, your application servers.",
        networks, "127.0.0.1/32",
    ),
    Question(
        "listen", "Address to listen on for SMTP", "Port 25 needs root, a systemd socket, or CAP_NET_BIND_SERVICE.",
        listen, "0.0.0.0:25",
    ),
    Question(
        "local_hop", "Mail server with the department's mailboxes", "host:port; mail to your own domains goes there.",
        server, lambda answers: "mail." + _first("domains")(answers) + ":25", fits=not_itself,
    ),
    Question(
        "next_hop", "Mail server for everything else",
        "host:port of the government mail service's relay, as your agreement names it.", server, fits=not_itself,
    ),
    Question("certificate", "TLS certificate of this gateway (PEM file)", "Empty: no STARTTLS is offered to clients.", file, optional=True),
    Question("key", "Private key of that certificate (PEM file)", "Readable by the gateway only.", folder, when=_has("certificate")),
    Question(
        "submission", "Do officers' mail programs sign in here (ports 587 and 465)?", "Needs the certificate.",
        yes_or_no, "no", when=_has("certificate"),
    ),
    Question(
        "auth_hop", "Server that checks their passwords", "host:port of its submission port; empty: a file of logins on this machine.",
        server, optional=True, when=_has("submission", value="yes"),
    ),
    Question("postmaster", "Address of the postmaster", "What may go to nobody else is listed for it.", mailbox, _at("postmaster")),
    Question("security", "Address of the security team", "Officers are told to write there.", mailbox, _at("security"), optional=True),
    Question("packs", "Rule packs of which governments", f"Any of {', '.join(PACKS)}; empty for the baseline.", packs, optional=True),
    Question("dkim", "DKIM selector for outbound mail", "Empty: mail is not signed.", word, "gw1", optional=True),
    Question(
        "public_url", "Address of the review page as officers reach it", "Empty: bounces carry the reference alone.", url, optional=True
    ),
    Question("state_dir", "Folder for store, keys and logs", "On a local disk.", folder, "/var/lib/gateway"),
)  # fmt: skip


def tls_of(hop: str) -> str:
    """The ``tls`` of a route to *hop*: verified TLS wherever it leaves this machine."""
    return "none" if is_loopback(hop) else "required"
