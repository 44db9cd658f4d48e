"""Whether a mailbox seems to be the sender's own: self-forwarding to a private account.

What it is: ``resembles`` for two addresses and the display names beside them; ``same_person`` for two display names alone.
Who calls it: ``snapshots`` for recipients of a private or unknown domain, ``decide`` at RCPT and at release.
Must never: take a desk (info, office, dc, collector …) for a person: two desks of one name are not one mailbox. It says what looks
alike; only a rule, and a person after it, says what is forbidden.
Source: Gujarat Circular SCM/10/2018/614021/IT of 29 November 2018, section 6 (R33 in rules/README.md).
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence

from gateway.address import Path

_MOST_WORDS = 4
_SHORTEST = 4
"""Letters of a whole name; three are a desk or an accident."""
_SHORTEST_SHORTENED = 5
"""Letters of a name with initials: akumar."""
_SEPARATORS = re.compile(r"[\s!-/:-@\[-`{-~]+")
"""White space and ASCII punctuation: the signs of Indian scripts that are no letters to a pattern belong to words."""
_DIGITS = re.compile(r"^\d+|\d+$")

_DESKS = frozenset((
    "account", "accounts", "acct", "additional", "addl", "adgp", "adm", "admin", "administration", "administrator", "advisor", "ae",
    "aee", "agm", "ao", "assistant", "asst", "audit", "auditor", "bdo", "billing", "board", "branch", "cabinet", "care", "cell", "ceo",
    "cfo", "chairman", "chairperson", "chief", "cio", "cm", "cmo", "collector", "collectorate", "commissioner", "complaint",
    "complaints", "conservator", "contact", "control", "controller", "cs", "ctio", "cto", "dc", "dcm", "dcp", "dd", "ddo", "deo",
    "department", "dept", "deputy", "desk", "dfo", "dg", "dgp", "dig", "dio", "dir", "director", "directorate", "disaster", "district",
    "div", "division", "divisional", "dm", "dmo", "do", "dpo", "drm", "dso", "dy", "ed", "education", "ee", "election", "engineer",
    "enquiry", "establishment", "estt", "exe", "exec", "executive", "feedback", "finance", "fir", "forest", "ga", "gad", "general",
    "gm", "gov", "governor", "govt", "grievance", "grievances", "head", "health", "help", "helpdesk", "helpline", "hod", "home", "hq",
    "hr", "hrd", "igp", "incharge", "info", "information", "inspector", "it", "jd", "joint", "js", "judge", "law", "legal", "library",
    "magistrate", "mail", "manager", "media", "member", "minister", "ministry", "mission", "mla", "mp", "municipal", "nagar", "nic",
    "nodal", "noreply", "notice", "office", "officer", "officers", "official", "ombudsman", "operator", "order", "osd", "pa",
    "panchayat", "parliament", "pension", "personnel", "pio", "planning", "po", "police", "post", "postmaster", "press", "principal",
    "pro", "procurement", "project", "protocol", "ps", "pso", "public", "purchase", "pwd", "railway", "rc", "receipt", "reception",
    "recruitment", "registrar", "registry", "reply", "revenue", "rti", "sales", "sc", "schools", "sdm", "sdo", "se", "secretariat",
    "secretary", "section", "security", "secy", "service", "services", "sho", "so", "sp", "special", "spl", "ssp", "staff", "state",
    "store", "stores", "superintendent", "supply", "support", "system", "tahsildar", "technical", "tehsildar", "tender", "tenders",
    "transport", "treasury", "under", "us", "user", "web", "webmaster", "works", "zila", "zonal",
))  # fmt: skip
"""Words of designations and offices. A local part of these alone is a desk; one that holds any is a designation."""

_TITLES = frozenset((
    "adv", "capt", "col", "dr", "er", "gen", "ias", "ics", "ifs", "ips", "irs", "itbp", "jkas", "kas", "km", "kps", "kumari", "late",
    "lt", "maj", "md", "mr", "mrs", "ms", "pcs", "prof", "retd", "rtd", "sh", "shri", "smt", "sri", "डॉ", "श्री", "श्रीमती", "सुश्री",
))  # fmt: skip
"""What stands beside a name and says nothing about who it is."""

_PERSONAL = frozenset((
    "gmail", "home", "main", "me", "my", "new", "old", "own", "personal", "personnel", "private", "pvt", "real", "secondary", "yahoo",
))  # fmt: skip
"""What people add to their name where it was taken."""


def resembles(sender: Path, display: str, recipient: Path, shown: str = "") -> bool:
    """Whether *recipient* seems to be the own mailbox of *sender*.

    *display*: the display name of From; *shown*: that of the recipient in To or Cc; both may be empty.
    """
    if not sender.local or not recipient.local:
        return False
    if shown and same_person(display, shown):
        return True
    place = frozenset(sender.domain.split("."))
    own, other = _words(sender.local), _words(recipient.local)
    if not own or not other:
        return False
    if not _is_personal(own):
        # A designation: only the same one in full, and only where it says which (dc.leh, not dc).
        distinct = any(len(word) >= 3 and not _is_desk(word) for word in own)
        return distinct and len("".join(own)) >= _SHORTEST_SHORTENED and "".join(own) == "".join(other)
    other = tuple(word for word in other if word not in _PERSONAL and word not in place)
    if _matches(own, other):
        return True
    named = _name(display)
    return len(named) >= 2 and _matches(named, other)


def same_person(first: str, second: str) -> bool:
    """Whether two display names are one person's, whatever the order of the words, titles and case. Names of desks never are."""
    one, two = _name(first), _name(second)
    return bool(one) and sorted(one) == sorted(two) and len("".join(one)) >= _SHORTEST


def _words(local: str) -> tuple[str, ...]:
    """The words of a local part: small letters, without plus tag, digits at the ends, titles; empty where nothing is left."""
    folded = unicodedata.normalize("NFKC", local).casefold().partition("+")[0]
    words = (_DIGITS.sub("", word) for word in _SEPARATORS.split(folded))
    return tuple(word for word in words if word and word not in _TITLES)[: _MOST_WORDS + 1]


def _name(display: str) -> tuple[str, ...]:
    """The words of a person's display name; empty for a desk's. What stands in brackets is his office."""
    folded = unicodedata.normalize("NFKC", re.sub(r"\([^()]*\)|\[[^\[\]]*\]", " ", display)).casefold()
    if "@" in folded:
        return ()
    words = tuple(word for word in _SEPARATORS.split(folded) if word and word not in _TITLES)
    return words if words and len(words) <= _MOST_WORDS and _is_personal(words) else ()


def _is_personal(words: Sequence[str]) -> bool:
    return not any(_is_desk(word) for word in words)


def _is_desk(word: str) -> bool:
    """Whether *word* is one of ``_DESKS``, or two of them written together (dcoffice, infodesk)."""
    if word in _DESKS:
        return True
    return any(
        word[:cut] in _DESKS and word[cut:] in _DESKS and max(cut, len(word) - cut) >= 4 for cut in range(2, len(word) - 1)
    )  # fmt: skip


def _matches(own: Sequence[str], other: Sequence[str]) -> bool:
    """Whether *other* is *own* in any order and with any separators, in full or with initials."""
    if not other or len(own) > _MOST_WORDS:
        return False
    joined = "".join(other)
    whole = "".join(own)
    if len(whole) >= _SHORTEST and (joined == whole or sorted(own) == sorted(other)):
        return True
    if not any(word in joined for word in own if len(word) > 2):
        return False
    return (len(joined) >= _SHORTEST and joined in _orders(own)) or (len(joined) >= _SHORTEST_SHORTENED and joined in _shortened(own))


def _orders(words: Sequence[str]) -> set[str]:
    return {"".join(order) for order in itertools.permutations(words)}


def _shortened(words: Sequence[str]) -> set[str]:
    """Every way to write the name *words* with one word or more as an initial or left out, at least two standing, one of them whole."""
    forms: set[str] = set()
    for cut in itertools.product((0, 1, 2), repeat=len(words)):
        parts = [word if how == 0 else word[0] for word, how in zip(words, cut, strict=True) if how != 2]
        whole = [word for word, how in zip(words, cut, strict=True) if how == 0]
        if len(parts) >= 2 and any(len(word) >= _SHORTEST for word in whole):
            forms |= _orders(parts)
    return forms
