"""Header sections: octets into fields, strictly.

What it is: ``read`` splits one header section into unfolded fields and says what is not plainly well-formed;
``decode_octets`` turns field octets into text that never holds a surrogate.
Who calls it: ``views`` for each entity, ``plain`` for the whole message.
Must never: raise, guess silently, or take a limit for granted: the section given was measured by ``prescan``.
Sources: RFC 5322 sections 2.2, 3.2.2 and 3.6; RFC 6532 (UTF-8 in fields); hostile-inputs catalogue M02, M14, M15, A24, C07.
"""

from __future__ import annotations

import re

import msgspec

_FIELD = re.compile(r"^([!-9;-~]+):([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n", re.M)
_NAME = re.compile(r"[!-9;-~]+")
_ODD_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_WHITE_LINE = re.compile(r"\r\n[ \t]+\r\n")

_ONCE = ("content-type", "content-transfer-encoding", "content-disposition", "mime-version", "from", "subject")
"""Fields that readers rely on for structure or identity: twice means that they may pick different ones."""
_WRITTEN = {
    "content-type": "Content-Type", "content-transfer-encoding": "Content-Transfer-Encoding",
    "content-disposition": "Content-Disposition", "mime-version": "MIME-Version", "from": "From", "subject": "Subject",
}  # fmt: skip

NOT_A_FIELD = "a line that is no header field"
SPACE_BEFORE_COLON = "white space between a field name and its colon"
LEADING_WHITE = "a header section that begins with white space"
WHITE_LINE = "a line of white space within the header section"
ODD_NAME = "a field name with odd characters"
MBOX_LINE = "a mailbox separator line in the header section"


class Fields(msgspec.Struct, frozen=True):
    """The fields of one header section, in order."""

    items: tuple[tuple[str, str], ...]
    """Name as written, value unfolded, without the white space around it."""
    by_name: dict[str, list[str]]
    """The values of each field by lower-case name."""
    problems: tuple[str, ...]

    def first(self, name: str) -> str:
        """The first value of the field *name* (lower case), or nothing."""
        values = self.by_name.get(name)
        return values[0] if values else ""


def decode_octets(octets: bytes) -> str:
    """*octets* of a field as text: UTF-8, else what is readable of it. Never a surrogate, never an error."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        pass
    replaced = octets.decode("utf-8", "replace")
    # One stray octet must not turn a Hindi subject into Latin mojibake; text without any valid UTF-8 sequence is Latin-1.
    if any(character > "\x7f" and character != "\ufffd" for character in replaced):
        return replaced
    return octets.decode("latin-1")


def read(section: bytes) -> Fields:
    """The fields of *section* (up to and with the CRLF of its last line). Never raises; linear."""
    try:
        text = section.decode()
    except UnicodeDecodeError:
        text = "\r\n".join(decode_octets(line) for line in section.split(b"\r\n"))
    found = _FIELD.findall(text)
    problems: list[str] = []
    # Each match stands for its name, the colon, its value and CRLF: when they add up to the section, nothing else was there.
    if sum(len(name) + len(value) for name, value in found) + 3 * len(found) != len(text):
        found, problems = _read_slowly(text)
    if _WHITE_LINE.search(text):
        problems.append(WHITE_LINE)
    items: list[tuple[str, str]] = []
    by_name: dict[str, list[str]] = {}
    for name, raw in found:
        value = (raw.replace("\r\n", "") if "\r" in raw else raw).strip(" \t")
        items.append((name, value))
        key = name.lower()
        if key in by_name:
            by_name[key].append(value)
        else:
            by_name[key] = [value]
    if _ODD_NAME.search("".join(by_name)):
        problems.append(ODD_NAME)
    if len(by_name) != len(items):
        problems.extend(f"two {_WRITTEN[name]} fields" for name in _ONCE if len(by_name.get(name, ())) > 1)
    return Fields(tuple(items), by_name, tuple(problems))


def _read_slowly(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The fields of a section that is not plainly well-formed, and what is wrong with it.

    Every line that any reader might take for a field is given as one, so that what it says is looked at.
    """
    found: list[tuple[str, str]] = []
    problems: dict[str, None] = {}
    for number, line in enumerate(text.removesuffix("\r\n").split("\r\n")):
        if line[:1] in (" ", "\t"):
            if number == 0:
                problems[LEADING_WHITE] = None
                line = line.lstrip(" \t")
            elif found:
                name, value = found[-1]
                found[-1] = (name, value + "\r\n" + line)
                continue
        name, colon, value = line.partition(":")
        if colon and _NAME.fullmatch(name):
            found.append((name, value))
        elif colon and _NAME.fullmatch(name.rstrip(" \t")):  # before the mailbox separator: "From :" is a From field to many
            problems[SPACE_BEFORE_COLON] = None
            found.append((name.rstrip(" \t"), value))
        elif line.startswith(("From ", ">From ")):
            problems[MBOX_LINE] = None
        elif line or number == 0:
            problems[NOT_A_FIELD] = None
            found.append(("", line))
    return [(name, value.replace("\r", " ").replace("\n", " ") if name == "" else value) for name, value in found], list(problems)
