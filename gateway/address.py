"""Mailbox grammar on raw bytes, and domains as A-labels.

What it is: the only parser of envelope addresses in the project, and the label-wise comparison of domains.
Who calls it: doors on the raw argument of MAIL and RCPT; the policy and the routes for domain comparisons.
Must never: strip, rewrite or guess. A path is exactly what the grammar allows, or AddressError; a domain is compared only as
lower-case A-labels.
Sources: RFC 5321 sections 4.1.2 and 4.5.3.1, RFC 6531 section 3.3, RFC 5890-5893 (IDNA2008, without any mapping).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata

import idna
import msgspec

_PATH = 254  # octets of a mailbox: 256 of a path less its brackets, RFC 5321 4.5.3.1.3
_LOCAL = 64
_DOMAIN = 253

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# What nearly every address is: no percent or bang, two labels or more, the last one not a number, no A-label.
_PLAIN = re.compile(
    rf"[A-Za-z0-9#$&'*+/=?^_`{{|}}~-]+(?:\.[A-Za-z0-9#$&'*+/=?^_`{{|}}~-]+)*"
    rf"@((?:(?![Xx][Nn]--){_LABEL}\.)+(?![Xx][Nn]--)(?!0[Xx])[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?)"
)
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_UTF8_ATOM = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x7f])+"
_UTF8_DOT_ATOM = re.compile(rf"{_UTF8_ATOM}(?:\.{_UTF8_ATOM})*")
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|[^\x00-\x7f]|\\[\x20-\x7e])*)"')
_LDH = re.compile(_LABEL)
_NUMBER = re.compile(r"[0-9]+|0[Xx][0-9A-Fa-f]*")
_VIRAMA = 9  # canonical combining class after which a joiner means something, RFC 5892 appendix A


class AddressError(ValueError):
    """Not a path we take. *code* and *enhanced* are what the door answers; the text is one plain sentence."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.enhanced = enhanced


class Path(msgspec.Struct, frozen=True):
    """A mailbox, or the null reverse-path (both parts empty). ``<postmaster>`` has an empty domain."""

    local: str
    """The local part as sent, case kept."""
    domain: str
    """The domain in lower-case A-labels."""

    @property
    def text(self) -> str:
        """``local@domain`` (``postmaster``, or nothing for the null path): the key and the public form."""
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def is_desk(self) -> bool:
        """Whether this is a postmaster or an abuse desk, of whatever domain (RFC 5321 section 4.5.1, RFC 2142)."""
        return self.local.lower() in ("postmaster", "abuse")

    @property
    def is_null(self) -> bool:
        """Whether this is the null reverse-path ``<>``."""
        return not self.local and not self.domain


NULL_PATH = Path("", "")


def parse(raw: bytes, *, smtputf8: bool) -> Path:
    """The path between the angle brackets of MAIL or RCPT, as it came. *smtputf8*: the transaction asked for SMTPUTF8.

    Nothing is ``NULL_PATH``; ``postmaster`` alone, in any case, is the one mailbox without a domain. Raises AddressError:
    501 5.1.3 where the grammar fails, 553 5.1.3 for forms that the grammar knows and we refuse (source routes, percent and
    bang, quoted local parts that hold anything but a dot-atom, address literals, single-label and numeric domains), 550 5.6.7
    for an internationalized address without SMTPUTF8.
    """
    if not raw:
        return NULL_PATH
    if len(raw) > _PATH:
        raise _bad("The address is too long.")
    if raw.isascii():
        text = raw.decode("ascii")
        plain = _PLAIN.fullmatch(text)
        if plain:
            start = plain.start(1)
            if start <= _LOCAL + 1 and len(text) - start <= _DOMAIN:
                return Path(text[: start - 1], text[start:].lower())
        return _parse(text)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad("The address is not UTF-8.") from None
    path = _parse(text)
    if not smtputf8:
        raise AddressError(550, "5.6.7", "An internationalized address needs SMTPUTF8.")
    return path


def domain_of(text: str) -> str:
    """The domain name *text*, in U- or A-labels and any ASCII case, as lower-case A-labels. Raises AddressError.

    A mailbox is no domain name: take ``Path.domain`` for that.
    """
    if not text or len(text) > 4 * _DOMAIN:
        raise _bad("The domain is empty or too long.")
    labels = [_label(label) for label in text.split(".")]
    name = ".".join(labels)
    if len(name) > _DOMAIN:
        raise _bad("The domain is too long.")
    if len(labels) < 2:
        raise _refused("A domain of one label is not a mail domain.")
    if _NUMBER.fullmatch(labels[-1]):
        raise _refused("A numeric address is not a mail domain.")
    return name


def within(domain: str, suffix: str) -> bool:
    """Whether *domain* is *suffix* or lies below it, label by label. Both in A-labels; case does not matter."""
    domain, suffix = domain.lower(), suffix.lower()
    return bool(suffix) and (domain == suffix or domain.endswith("." + suffix)) and not suffix.startswith(".")


def matches(domain: str, pattern: str) -> bool:
    """Whether *domain* is meant by the config's *pattern*: ``b`` is b alone, ``.b`` or ``*.b`` what lies below it, ``*`` all.

    Both in A-labels; case does not matter. No domain at all matches nothing.
    """
    domain, pattern = domain.lower(), pattern.lower()
    if not domain or domain.startswith("."):
        return False
    if pattern == "*":
        return True
    pattern = pattern.removeprefix("*") if pattern.startswith("*.") else pattern
    if pattern.startswith("."):
        return len(pattern) > 1 and domain.endswith(pattern)
    return domain == pattern


def _bad(text: str) -> AddressError:
    return AddressError(501, "5.1.3", text)


def _refused(text: str) -> AddressError:
    return AddressError(553, "5.1.3", text)


def _parse(text: str) -> Path:
    """The grammar in full, for what the plain pattern does not cover."""
    if any(c < " " or c == "\x7f" for c in text):
        raise _bad("The address holds a control character.")
    if text.startswith("@"):
        return _source_route(text)
    quoted = text.startswith('"')
    if quoted:
        local, domain = _split_quoted(text)
    else:
        local, at, domain = text.partition("@")
        if not at:
            if local.isascii() and local.lower() == "postmaster":
                return Path(local, "")
            raise _bad("The address has no domain.")
        _check_atoms(local)
    if len(local.encode("utf-8")) > _LOCAL:
        raise _bad("The local part is longer than 64 octets.")
    if domain.startswith("["):
        _check_literal(domain)
        raise _refused("Address literals are not accepted as mail domains.")
    name = _checked_domain(domain)
    if quoted:
        content = local[1:-1]
        if "\\" in content or not _UTF8_DOT_ATOM.fullmatch(content) or "%" in content or "!" in content:
            raise _refused("A quoted local part may hold a plain name only.")
        _check_characters(content)
    elif "%" in local or "!" in local:
        raise _refused("Percent and bang addresses are not relayed.")
    return Path(local, name)


def _source_route(text: str) -> Path:
    """Never returns: a well-formed route is refused, any other is no path."""
    route, colon, mailbox = text.partition(":")
    if not colon or not mailbox:
        raise _bad("The address has no local part.")
    for hop in route.split(","):
        if not hop.startswith("@") or not all(_LDH.fullmatch(label) for label in hop[1:].split(".")):
            raise _bad("The address is not well formed.")
    raise _refused("Source routes are not accepted.")


def _split_quoted(text: str) -> tuple[str, str]:
    match = _QUOTED.match(text)
    if not match or match.end() >= len(text) or text[match.end()] != "@":
        raise _bad("The quoted local part is not well formed.")
    return match[0], text[match.end() + 1 :]


def _check_atoms(local: str) -> None:
    if not (_DOT_ATOM if local.isascii() else _UTF8_DOT_ATOM).fullmatch(local):
        raise _bad("The local part is not well formed.")
    if not local.isascii():
        _check_characters(local)


def _check_characters(local: str) -> None:
    """Refuses what nobody can see or type: controls, format characters, blanks, private use.

    A joiner after a virama is ordinary spelling in Indian scripts and stays (RFC 5892 appendix A.1, A.2).
    """
    for index, c in enumerate(local):
        if c < "\x80":
            continue
        if c in "\u200c\u200d" and index and unicodedata.combining(local[index - 1]) == _VIRAMA:
            continue
        if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"):
            raise _bad("The local part holds an invisible character.")


def _check_literal(domain: str) -> None:
    inner = domain[1:-1]
    if not domain.endswith("]") or not inner:
        raise _bad("The address literal is not well formed.")
    try:
        if inner[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(inner[5:])
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        tag, colon, rest = inner.partition(":")  # General-address-literal
        if not (
            colon and rest and tag.lower() != "ipv6" and _LDH.fullmatch(tag) and all("!" <= c <= "~" and c not in "[\\]" for c in rest)
        ):
            raise _bad("The address literal is not well formed.") from None


def _checked_domain(domain: str) -> str:
    if not domain:
        raise _bad("The address has no domain.")
    return domain_of(domain)


def _label(label: str) -> str:
    """One label as a lower-case A-label or LDH label. No mapping: what IDNA2008 does not allow as it stands is refused."""
    if label.isascii():
        if not _LDH.fullmatch(label):
            raise _bad("The domain is not well formed.")
        lower = label.lower()
        if not lower.startswith("xn--"):
            return lower
        try:
            # An A-label must be the encoding of a valid U-label, and of no other (RFC 5891 section 5.3).
            unicode = idna.ulabel(lower)
            if idna.alabel(unicode) != lower.encode("ascii") or unicode.isascii():
                raise _bad("The domain holds an invalid internationalized label.")
        except (idna.IDNAError, UnicodeError, ValueError, IndexError) as error:
            if isinstance(error, AddressError):
                raise
            raise _bad("The domain holds an invalid internationalized label.") from None
        return lower
    try:
        encoded = idna.alabel(label).decode("ascii")
    except (idna.IDNAError, UnicodeError, ValueError, IndexError):
        raise _bad("The domain holds a character that domain names may not have.") from None
    if any("A" <= c <= "Z" for c in label) or len(encoded) > 63:
        raise _bad("The domain holds an invalid internationalized label.")
    return encoded
