"""The published message shapes of "Inbox Invasion" (CCS 2024), built anew: families of ambiguity by a line or two each.

The paper's authors sort them into three categories: confusion over header fields, malformed structure, and decoding algorithms. Each
shape is an attachment behind one deviation; ``messages`` gives all of them with a payload in base64 and in quoted-printable (a shape
that is about one encoding, with that one). ``{E}`` stands for the encoding that is used, ``{I}`` for one that is not, ``{P}`` for
the encoded payload.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

NOTE = b"SECRET\r\n\r\nThe neutral payload of this test is a short note about nothing at all.\r\n"
ENCODINGS = ("base64", "quoted-printable")

ROOT = "Content-Type: multipart/mixed; boundary=foo\r\n"
TYPE = "Content-Type: application/octet-stream; name=note.txt\r\n"
DISP = "Content-Disposition: attachment; filename=note.txt\r\n"
CTE = "Content-Transfer-Encoding: {E}\r\n"
TEXT = "Content-Type: text/plain\r\n\r\nPapers enclosed.\r\n"
ID = "Content-ID: 3\r\n"


def part(block: str, *, root: str = ROOT) -> str:
    """A message whose second part has the header section *block*, with what divides it from the body."""
    return f"{root}\r\n--foo\r\n{TEXT}--foo\r\n{block}{{P}}--foo--\r\n"


def lines(root: str, line: str, *, end: str | None = None, blank: bool = False) -> str:
    """A message with the root type *root* whose parts stand behind *line*; *blank*: behind an empty line too."""
    close = f"{line}--" if end is None else end
    return f"{root}\r\n{line}\r\n{TEXT}{line}\r\n" + ("\r\n" if blank else "") + f"{TYPE}{DISP}{CTE}\r\n{{P}}{close}\r\n"


def nested(inner: str, sep: str = "faa", close: str = "faa", *, before: str = "--foo\r\n") -> str:
    """A message whose second part is said to be a multipart, with the parts of that."""
    return f"{ROOT}\r\n--foo\r\n{TEXT}{before}{inner}\r\n--{sep}\r\n{TEXT}--{sep}\r\n{TYPE}{DISP}{CTE}\r\n{{P}}--{close}--\r\n--foo--\r\n"


def _encoding_fields() -> Iterator[tuple[str, str]]:
    """Content-Transfer-Encoding in every deviation."""
    twice = {
        "valid, invalid": "{E}|{I}", "invalid, valid": "{I}|{E}", "invalid, valid, valid": "{I}|{E}|{E}",
        "valid, valid, invalid": "{E}|{E}|{I}", "unknown, valid": "xxxxxxx|{E}", "valid, unknown": "{E}|xxxxxxx",
    }  # fmt: skip
    for name, values in twice.items():
        fields = "".join(f"Content-Transfer-Encoding: {value}\r\n" for value in values.split("|"))
        yield f"several encoding fields: {name}", part(TYPE + DISP + fields + "\r\n")
    for value in (
        "{E}, {I}", "{I}, {E}", '"{E}", {I}', '"{I}", {E}', "\0{E}", "{E}\0", "{E}{E}", "{E}-", "({E})", "=?US-ASCII?Q?{E}?=",
    ):  # fmt: skip
        yield f"encoding value {value!r}", part(f"{TYPE}{DISP}Content-Transfer-Encoding: {value}\r\n\r\n")
    for value in (
        "bASe64", "bas\0e64", "base645", "bas(comment sentence)e64", "=?US-ASCII?Q?base=364?=", "ba=?US-ASCII?Q?se64?=",
        "qUOteD-PrinTAblE", "quot\0ed-printable", "quot(comment sentence)ed-printable", "=?US-ASCII?Q?quote=64=2Dprintable?=",
        "quot=?US-ASCII?Q?ed-printable?=",
    ):  # fmt: skip
        yield f"encoding value {value!r}", part(f"{TYPE}{DISP}Content-Transfer-Encoding: {value}\r\n\r\n")
    for folded in ("bas\r\n e64", "bas(com\r\n ment)e64", "quot\r\n ed-printable", "quot(com\r\n ment)ed-printable"):
        yield f"encoding folded {folded!r}", part(f"{TYPE}Content-Transfer-Encoding: {folded}\r\n{DISP}\r\n")
    name = "Content-Transfer-Encoding"
    for field in (
        f" {name}: {{E}}", f"\0{name}: {{E}}", f"{name} : {{E}}", f"{name}\0: {{E}}", f"{name}:{name}:{{E}}", f"{name}(: ){{E}}",
        "Content-Transfe(r-Encoding: {E}",
    ):  # fmt: skip
        yield f"encoding field {field!r}", part(f"{TYPE}{DISP}{field}\r\n\r\n")
    for field in (f"{name}:\r\n {{E}}", f"{name}\r\n :{{E}}"):
        yield f"encoding field {field!r}", part(f"{TYPE}{field}\r\n{DISP}\r\n")
    for first in (f" {name}: {{E}}", f"\0{name}: {{E}}"):
        yield f"first field {first!r}", part(f"{first}\r\n{TYPE}{DISP}\r\n")
    for end in ("({I}\r\n", "({I}\r", "({I}\n", "({I}\r)", "({I}\n)", "({I}\r)\n"):
        yield f"a comment behind the encoding {end!r}", part(f"{TYPE}{name}: {{E}}{end}{DISP}\r\n")
    yield "a comment that is open, then the field again", part(f"{TYPE}{DISP}{name}: ({{E}}\r\n{name}: {{E}}\r\n\r\n")


def _types() -> Iterator[tuple[str, str]]:
    """Content-Type in every deviation, of the whole and of the part."""
    bar = "Content-Type: multipart/mixed; boundary=bar\r\n"
    octets = "Content-Type: application/octet-stream\r\n"
    yield "two types of the part, the right one first", part(f"{TYPE}{bar}{DISP}{CTE}\r\n")
    yield "two types of the part, the right one last", part(f"{bar}{TYPE}{DISP}{CTE}\r\n")
    for value in ("application/octet-stream, multipart/mixed; boundary=bar", "multipart/mixed, application/octet-stream; boundary=bar"):
        yield f"type of the part {value}", part(f"Content-Type: {value}\r\n{DISP}{CTE}\r\n")
    plain = f"{TYPE}{DISP}{CTE}\r\n"
    yield "two types, the right one first", part(plain, root=ROOT + octets)
    yield "two types, the right one last", part(plain, root=octets + ROOT)
    for value in (
        "multipart/mixed, application/octet-stream", "application/octet-stream, multipart/mixed", "mUltIpARt/mIxeD", "\0multipart/mixed",
        "multipar\0t/mixed", "multipart/mixed\0", "multipart/mixedmultipart/mixed",
    ):  # fmt: skip
        yield f"type {value!r}", part(plain, root=f"Content-Type: {value}; boundary=foo\r\n")
    rest = "multipart/mixed; boundary=foo\r\n"
    for field in (" Content-Type: ", "\0Content-Type: ", "Content-Type : ", "Content-Type\0: ", "Content-Type:Content-Type:"):
        yield f"type field {field!r}", part(plain, root=field + rest)
    yield "a type field without a name", part(f": application/octet-stream; name=note.txt\r\n{DISP}{CTE}\r\n")
    for field in (" Content-Type", "\0Content-Type"):
        yield f"first field of a multipart {field!r}", nested(f"{field}: multipart/mixed; boundary=bar\r\n", "bar", "bar")
    yield "no disposition", part(f"{TYPE}{CTE}\r\n")
    yield "no encoding at all", part(f"{TYPE}{DISP}\r\n")
    yield "nothing wrong", part(plain)


def _between_fields() -> Iterator[tuple[str, str]]:
    """What stands between two fields of a header section."""
    for gap in ("\r", "\n", "\n\r", "\r\r\n", "\r\n\n", "\r\n\r", "\n\r\n", "\r\x13", "\x13\n", "\r{}\n", "\r(\n)"):
        yield f"between fields {gap!r}", part(f"{TYPE}{DISP[:-2]}{gap}{CTE}\r\n")
    for gap in ("\r ", " \n", "\r\n ", "\n "):
        yield f"between fields, with another behind {gap!r}", part(f"{TYPE}{DISP[:-2]}{gap}{CTE}{ID}\r\n")
    yield "between fields, twice folded", part(f"{TYPE}{DISP[:-2]}\r {CTE}{ID}\r\n")
    yield "a line with a mark before a field", part(f"{TYPE}{DISP}{CTE}#{ID}\r\n")
    for gap in ("\r\n ", "\r ", "\n "):
        yield f"behind the encoding {gap!r}", part(f"{TYPE}{DISP}{CTE[:-2]}{gap}{ID}\r\n")
    for gap in ("\r\n", "\r", "\n"):
        yield f"an empty line in the header section {gap!r}", part(f"{TYPE}{gap}{DISP}{CTE}\r\n")


def _header_and_body() -> Iterator[tuple[str, str]]:
    """What stands between the header section and the body."""
    for gap in (
        "\r\n\r", "\r\n\n", "\r\r\n", "\n\r\n", "\r\r", "\n\n", "\n\r", "\r\n", "\r\n\r\r\n", "\r\n\n\r\n", "\r\n\r\n\r", "\r\n\r\n\n",
        "\r\n\r\n\r\n", "\r/\r\n", "\r<>\n\r\n", "\r\nc\n", "\r\n<\r\n", '\r\n\r""\n',
    ):  # fmt: skip
        yield f"header and body {gap!r}", part(f"{TYPE}{DISP}{CTE[:-2]}{gap}")
    for gap in ("(\r\n\r\n", "(\r\n)\r\n", "(\n\r\n"):
        yield f"header and body, behind the name {gap!r}", part(f"{TYPE}{CTE}{DISP[:-2]}{gap}")
    words = "A meaningless sentence.\r\n"
    for name, block in {
        "no empty line": f"{TYPE}{DISP}{CTE}",
        "the encoding in the body": f"{TYPE}{DISP}\r\n{CTE}\r\n",
        "the encoding in the body, no line behind": f"{TYPE}{DISP}\r\n{CTE}",
        "words, then the encoding": f"{TYPE}{DISP}\r\n{words}{CTE}\r\n",
        "words, the encoding, words": f"{TYPE}{DISP}\r\n{words}{CTE}{words}\r\n",
        "words, the encoding, words, no line": f"{TYPE}{DISP}\r\n{words}{CTE}{words}",
        "the encoding in the body, folded": f"{TYPE}{DISP}\r\n {CTE}\r\n",
        "words in the header section": f"{TYPE}{DISP}{words}{CTE}",
    }.items():
        yield f"where does the body start: {name}", part(block)


def _boundaries() -> Iterator[tuple[str, str]]:
    """The parameter, and the lines that use it or another."""
    mixed = "Content-Type: multipart/mixed; "
    for first, last in (("foo", "faa"), ("faa", "foo")):
        two = f"{mixed}boundary={first}\r\n{mixed}boundary={last}\r\n"
        one = f"{mixed}boundary={first}, boundary={last}\r\n"
        for name, root in (("fields", two), ("parameters", one)):
            yield f"two boundary {name}: {first}, {last}", lines(root, "--foo")
            cross = f"{root}\r\n--faa\r\n{TEXT}--foo\r\n{TYPE}{DISP}{CTE}\r\n{{P}}--foo--\r\n--faa--\r\n"
            yield f"two boundary {name}, both used: {first}, {last}", cross
    for value, used in (
        ("foo,faa", ("foo,faa", "foo", "faa")), (" foo", ("foo", " foo")), ('" foo"', ("foo", " foo")), ("\0foo", ("foo", "\0foo")),
        ('"\0foo"', ("foo", "\0foo")), ("foo(foo)foo", ("foo(foo)foo", "foofoo")), ("(foofoofoo)", ("(foofoofoo)", "")),
        ("(foo", ("(foo", "")), ("foo(foo", ("foo(foo", "foo")), ("", ("",)), ('"', ("",)), ('""', ("",)),
        ("=?US-ASCII?Q?foo?=", ("foo", "=?US-ASCII?Q?foo?=")), ("foo ", ("foo",)),
    ):  # fmt: skip
        for line in used:
            yield f"boundary {value!r} used as {line!r}", lines(f"{mixed}boundary={value}\r\n", f"--{line}")
    for value, used in (
        ("foo foo", ("foo", "foo foo")), ('"foo foo"', ("foo foo", '"foo foo"')), ("foo;foo", ("foo", "foo;foo")),
        ('"foo;foo"', ("foo;foo", '"foo;foo"')), ('""foo', ("", "foo", '""foo')), ('"bar"foo', ("bar", "foo", '"bar"foo')),
        (";", ("", ";")), ("(foo)1", ("(foo)1",)),
    ):  # fmt: skip
        for line in used:
            yield f"boundary {value!r} used as {line!r}, empty line", lines(f"{mixed}boundary={value}\r\n", f"--{line}", blank=True)
    yield "boundary folded, half used", lines(f"{mixed}boundary=foo\r\n foo\r\n{ID}", "--foo")
    for field in ("boundary=foo\r\n foo", "boundary=\r\n foofoo", "boundary= \r\n foofoo", "boundary\r\n =foofoo", "boundary \r\n =foofoo"):
        yield f"boundary folded {field!r}", lines(f"{mixed}{field}\r\n{ID}", "--foofoo")
    for field in ("boundary =foo", "boundary\0=foo", "bound=foo"):
        yield f"boundary parameter {field!r}", lines(f"{mixed}{field}\r\n", "--foo")
    yield "no semicolon before the boundary", lines("Content-Type: multipart/mixed boundary=foo\r\n", "--foo", blank=True)
    single = "Content-Type: application/octet-stream; boundary=faa\r\n"
    yield "a boundary of a single part", part(f"{single}{DISP}{CTE}\r\n")
    yield "another boundary than said", f"{ROOT}\r\n--faa\r\n{TEXT}--faa\r\n{single}{DISP}{CTE}\r\n{{P}}--faa--\r\n"
    parts = f"{TYPE}{DISP}{CTE}\r\n{{P}}"
    for first, second, last in ((" ", "", ""), ("", " ", ""), ("", "", " ")):
        yield (
            f"white space before a boundary {first!r}{second!r}{last!r}",
            (f"{ROOT}\r\n{first}--foo\r\n{TEXT}{second}--foo\r\n{parts}{last}--foo--\r\n"),
        )
    yield "no hyphens behind the last boundary", lines(ROOT, "--foo", end="--foo")
    yield "white space behind a boundary", f"{ROOT}\r\n--foo\r\n{TEXT}--foo \r\n{parts}--foo--\r\n"


def _structure() -> Iterator[tuple[str, str]]:
    """Parts where they should not be."""
    plain = f"{TYPE}{DISP}{CTE}\r\n{{P}}"
    faa = "Content-Type: multipart/mixed; boundary=faa\r\n"
    for gap in ("\r", "\r,"):
        yield f"text and boundary {gap!r}", f"{ROOT}\r\n--foo\r\n{TEXT[:-2]}{gap}--foo\r\n\r\n{plain}--foo--\r\n"
    for gap in ("\r", "\r\x13"):
        yield f"boundary and part {gap!r}", nested(faa, before=f"--foo{gap}")
    yield "an empty line behind the boundary", f"{ROOT}\r\n--foo\r\n{TEXT}--foo\r\n\r\n{plain}--foo--\r\n"
    other = f"{TYPE}{DISP}Content-Transfer-Encoding: quoted-printable\r\n\r\nZ=B2=12=E7w=3D\r\n"
    yield "a part before the first boundary", f"{ROOT}\r\n{plain}--foo\r\n{TEXT}--foo\r\n{other}--foo--\r\n"
    yield "a part behind the last boundary", f"{ROOT}\r\n--foo\r\n{TEXT}--foo\r\n{other}--foo--\r\n{plain}"
    yield "the outer boundary within", f"{ROOT}\r\n--foo\r\n{TEXT}--foo\r\n{faa}\r\n--faa\r\n{TEXT}--foo\r\n{plain}--faa--\r\n--foo--\r\n"
    yield "one boundary for both", (f"{ROOT}\r\n--foo\r\n{TEXT}--foo\r\n{ROOT}\r\n--foo\r\n{TEXT}--foo--\r\n{plain}--foo--\r\n")
    yield "no boundary within", nested("Content-Type: multipart/mixed\r\n")
    yield "no boundary within, the outer one used", nested("Content-Type: multipart/mixed\r\n", "foo", "foo")
    yield (
        "a multipart without a body",
        (f"{ROOT}Content-ID: 1\r\n\r\n--foo\r\nContent-Type: multipart/mixed; boundary=bar\r\n{ID}\r\n\r\n--foo\r\n{plain}--foo--\r\n"),
    )


def structures() -> dict[str, str]:
    """Every shape of the first two categories by its name."""
    found: dict[str, str] = {}
    for family in (_encoding_fields, _types, _between_fields, _header_and_body, _boundaries, _structure):
        for name, shape in family():
            assert name not in found, name
            found[name] = shape
    return found


def encoded(encoding: str) -> bytes:
    """The payload, with every octet of it in the encoding."""
    if encoding == "base64":
        return base64.encodebytes(NOTE).replace(b"\n", b"\r\n")
    return b"=\r\n".join(_quoted(NOTE)) + b"\r\n"


def _quoted(data: bytes) -> list[bytes]:
    return [b"".join(b"=%02X" % octet for octet in data[at : at + 22]) for at in range(0, len(data), 22)]


def payloads() -> dict[str, tuple[str, bytes]]:
    """Every deviation of the third category: the encoding, and the encoded payload."""
    dense = base64.b64encode(NOTE)
    rows = [dense[at : at + 60] for at in range(0, len(dense), 60)]
    short = [dense[at : at + 6] for at in range(0, len(dense), 6)]
    base: dict[str, bytes] = {"base64: six characters a line": b"\r\n".join(short)}
    for junk in (b".", b"-", b" ", b"#"):
        base[f"base64: junk {junk!r}"] = b"\r\n".join(row[:10] + junk + row[10:] for row in rows)
    base["base64: four dots"] = dense[:20] + b"...." + dense[20:]
    base["base64: four pads"] = dense[:20] + b"====" + dense[20:]
    base["base64: a pad at the end of each line"] = b"\r\n".join(row + b"=" for row in rows)
    for cut in (1, 2):
        base[f"base64: two streams, {cut}"] = base64.b64encode(NOTE[:cut]) + base64.b64encode(NOTE[cut:])
    found = {name: ("base64", body + b"\r\n") for name, body in base.items()}
    quoted = _quoted(NOTE)
    soft = b"=\r\n"
    kinds: dict[str, bytes] = {}
    for blank in (b"\t", b" "):
        kinds[f"blank {blank!r} before the lines"] = soft.join(blank + line for line in quoted)
        kinds[f"blank {blank!r} behind the lines"] = soft.join(line + blank for line in quoted)
    for gap in (b"\r", b"\n", b"\r\r\n", b"\r\n\n"):
        kinds[f"line break {gap!r}"] = (b"=" + gap).join(quoted)
    for octet in (b"\x09", b"\x12", b"\xaa"):
        kinds[f"octet {octet!r}"] = soft.join(line[:9] + octet + line[9:] for line in quoted)
    for gap in (b"\r", b"\n", b"=\r\n="):
        kinds[f"an escape cut by {gap!r}"] = quoted[0][:-1] + gap + quoted[0][-1:] + soft + soft.join(quoted[1:])
    for escape in (b"=", b"=2", b"=\t", b"= =", b"=\x12", b"=0", b"=0x"):
        kinds[f"{escape!r} at the end"] = soft.join(quoted) + escape
        kinds[f"{escape!r} within"] = soft.join(line[:9] + escape + line[9:] for line in quoted)
    kinds["lower case"] = soft.join(line.lower() for line in quoted)
    kinds["no soft break"] = b"\r\n".join(quoted)
    kinds["an endless line"] = b"".join(quoted)
    found.update({f"quoted-printable: {name}": ("quoted-printable", body + b"\r\n") for name, body in kinds.items()})
    return found


def _only(shape: str) -> tuple[str, ...]:
    """The encodings that *shape* makes sense with."""
    if "{E}" in shape:
        return ENCODINGS
    folded = shape.lower().replace("\r\n ", "")
    if "quot" in folded.split("{p}")[0].rpartition("foo")[2]:
        return ENCODINGS[1:]
    return ENCODINGS[:1] if "64" in folded else ENCODINGS


def messages() -> dict[str, bytes]:
    """Every shape as a message, by a name that says what it is."""
    top = b"From: a@dept.gov.in\r\nTo: b@finance.nic.in\r\nMIME-Version: 1.0\r\nSubject: Papers\r\n"
    found: dict[str, bytes] = {}
    for name, shape in structures().items():
        for encoding in _only(shape):
            filled = shape.replace("{E}", encoding).replace("{I}", "7bit").encode("latin-1")
            found[f"{name} [{encoding}]"] = top + filled.replace(b"{P}", encoded(encoding))
    clean = part(f"{TYPE}{DISP}{CTE}\r\n")
    for name, (encoding, body) in payloads().items():
        found[name] = top + clean.replace("{E}", encoding).encode("latin-1").replace(b"{P}", body)
    return found
