"""Every parser of our own as a function of octets, and what it may raise.

What it is: ``TARGETS``, one line a parser or a group of small ones, with files to begin with and words of the format.
Who calls it: ``python -m tests.fuzz`` (atheris) and ``tests/test_fuzz.py`` (a small form in every test run).
Must never: take a fault for an answer: whatever the octets, a target returns; what a parser may raise is caught at its call only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import cutting, files, imap, mail, milter

ROOT = Path(__file__).parents[1]
LONGEST_SEED = 60_000


@dataclass(frozen=True, slots=True)
class Target:
    """One parser, or several small ones of one kind."""

    run: Callable[[bytes], object]
    seeds: tuple[str, ...] = ()
    """Patterns of files under ``tests`` to begin with."""
    words: tuple[bytes, ...] = ()
    """What its format is made of, for the generator."""
    cut: Callable[[bytes], Iterable[bytes]] | None = None
    """Takes the seeds out of a file; None: the file is one."""
    longest: int = 20_000
    """Octets of an input at most; longer seeds are left out, since half a file is seldom one."""

    def seed(self) -> Iterator[bytes]:
        """The seeds, the files in the order of their names."""
        for path in self.files():
            data = path.read_bytes()
            for one in (data,) if self.cut is None else self.cut(data):
                if 0 < len(one) <= self.longest:
                    yield one

    def files(self) -> list[Path]:
        """The files that the seeds stand in."""
        return [path for pattern in self.seeds for path in sorted(ROOT.glob(pattern)) if path.is_file()]


MAIL = ("corpus/mime/*.eml", "corpus/ordinary/*.eml", "corpus/content/*.eml")
MIME = (
    b"\r\n", b"\r\n\r\n", b"--B", b"--B--", b"Content-Type: ", b"multipart/mixed; boundary=B", b"message/rfc822", b"text/plain",
    b"; charset=", b"Content-Transfer-Encoding: ", b"base64", b"quoted-printable", b"x-uuencode", b"=?utf-8?B?", b"?=",
    b"filename*0*=utf-8''%41", b"begin 644 x", b"=ybegin ", b"(This file must be converted with BinHex 4.0)\r\n\r\n:",
    b"data:text/html;base64,", b"U0VDUkVU", b"SECRET", b"yend size=", b"multipart/signed", b"message/partial", b"application/zip",
)  # fmt: skip
PAGE = (
    b"<",
    b">",
    b"</",
    b"<p>",
    b"<!--",
    b"-->",
    b"<![CDATA[",
    b"<script>",
    b"style='display:none'",
    b"href=",
    b'"',
    b"&#x",
    b";",
    b"<svg",
)
RTF = (
    b"{\\rtf1",
    b"{",
    b"}",
    b"\\'",
    b"\\u-1",
    b"\\bin9 ",
    b"{\\*\\objdata ",
    b"{\\pict",
    b"{\\fonttbl",
    b"\\f1",
    b"\\uc2",
    b"\\fromhtml1",
    b"\\v ",
    b"0105000002000000",
)
CARD = (
    b"BEGIN:VCARD\r\n",
    b"BEGIN:VEVENT\r\n",
    b"\r\n ",
    b"ATTACH;ENCODING=BASE64:",
    b"PHOTO;",
    b"QUOTED-PRINTABLE:",
    b"=\r\n",
    b'ALTREP="',
    b"data:,",
    b"\\n",
)
LABEL = (
    b"marking=", b"label=", b"type=", b":ess", b":xml", b'"SECRET"', b"VER=2018.4, NS=gov.in, SEC=SECRET", b";", b",", b"*0*=utf-8''",
    b"MSIP_Label_1_Name=", b'{"Metadata":{"props":[{"n":"Classification","vals":[{"value":"SECRET"}]}]}}', b"MQUCAQM=", b'<element uid="',
)  # fmt: skip
MARKED = (
    b"SECRET", b"TOP SECRET", b"\n", b"Classification: ", b"CONFIDENTIAL", b"//", b"S E C R E T", b"\xe2\x80\x8b", b"\xf0\x9d\x90\x92",
    b"(S)", b"[RESTRICTED]", b"\xe0\xa4\x97\xe0\xa5\x8b\xe0\xa4\xaa\xe0\xa4\xa8\xe0\xa5\x80\xe0\xa4\xaf", b"> ", b"On Mon, A wrote:\n",
)  # fmt: skip
PERSONAL = (
    b"Aadhaar ", b"2341 2341 2346", b"ABCPE1234F", b"PAN: ", b"Passport No. ", b"K1234567", b"4111 1111 1111 1111", b"IFSC SBIN0001234",
    b"a/c ", b"123456789012", b"https://", b"drive.google.com/", b"www.", b"wa.me/", b"password: ", b"pw=", b"F.No. 12/3/2024-X", b"\n> ",
    b"cabinet note", b"tender", b"user@gmail.com", b"%68", b"?url=",
)  # fmt: skip
SMTP = (
    b"EHLO x\r\n", b"HELO x\r\n", b"MAIL FROM:<a@b.in>", b" SIZE=100", b" BODY=8BITMIME", b" SMTPUTF8", b" RET=HDRS", b" ENVID=x+2B",
    b"\r\n", b"RCPT TO:<c@d.in>", b" NOTIFY=NEVER", b" ORCPT=rfc822;c@d.in", b"DATA\r\n", b"\r\n.\r\n", b"..", b"\n.\r\n", b"STARTTLS\r\n",
    b"AUTH PLAIN AGEAYg==\r\n", b"AUTH LOGIN\r\n", b"YQ==\r\n", b"RSET\r\n", b"QUIT\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", b"250-", b"250 SIZE 1\r\n", b"<@a:b@c>", b'"a b"@c.in', b"[IPv6:::1]",
)  # fmt: skip
IMAP = (
    b"a ", b"b ", b"\r\n", b"NOOP\r\n", b"UID FETCH 1:* (BODY[])\r\n", b"APPEND INBOX (\\Seen) ", b'"1-Jan-2026 10:00:00 +0000" ',
    b"{3+}\r\nabc", b"{3}\r\n", b" ~{2+}\r\nab", b" UTF8 (~{1+}\r\na)", b"CATENATE (TEXT {1+}\r\nx)",
    b"LOGIN u ", b"AUTHENTICATE PLAIN", b"AGEAYg==\r\n",
    b"IDLE\r\n", b"DONE\r\n", b"STARTTLS\r\n", b"COMPRESS DEFLATE\r\n", b"SEARCH SUBJECT ", b'"x \\" y"', b"(", b")", b"{501+}\r\n",
    b"* ", b"+ ", b"1 FETCH (BODY[] {4}\r\n", b"OK ", b"NO ", b"BAD ", b"BYE ", b"[CAPABILITY IMAP4rev1 BINARY AUTH=PLAIN APPENDLIMIT=9] ",
    b"{4294967296}\r\n",
)  # fmt: skip
XML = (b"<", b">", b"</", b"/>", b"<!DOCTYPE", b"<!ENTITY", b"&#x53;", b"<w:t>", b"<w:instrText>", b"<text:p>", b"<![CDATA[", b"xmlns:w=")
PGP = ("corpus/content/*.asc", "corpus/content/*.gpg", "corpus/content/*.sig", "fixtures/crypto/*.gpg", "fixtures/crypto/*.asc",
       "fixtures/crypto/*.pgp", "fixtures/openpgpjs/*.gpg", "fixtures/openpgpjs/*.pgp")  # fmt: skip
COVERS = ("corpus/content/*.enc", "fixtures/crypto/*.enc", "fixtures/crypto/*.age", "fixtures/crypto/*.aes", "fixtures/crypto/*.crypt",
          "fixtures/crypto/*.img", "fixtures/crypto/*.bin")  # fmt: skip
ARCHIVES = tuple(
    f"fixtures/archives/*.{kind}"
    for kind in ("tar", "cab", "iso", "cpio", "ar", "xar", "warc", "gz", "bz2", "xz", "lzma", "zst", "lz4", "lz", "Z")
)
PICTURES = tuple(f"{folder}/*.{kind}" for folder in ("corpus/content", "fixtures/scans")
                 for kind in ("png", "jpg", "gif", "tif", "webp", "bmp", "ico"))  # fmt: skip
OFFICE = (
    "corpus/content/*.doc",
    "corpus/content/office-*",
    *(f"fixtures/office/*.{kind}" for kind in ("doc", "xls", "ppt", "msg", "bin", "xlsx")),
)
OOXML = ("corpus/content/[nst]*.???x", "fixtures/office/*.docx", "fixtures/office/*.pptx", "fixtures/office/*.docm")
ODF = ("corpus/content/*.odt", "fixtures/odf/*.o??", "fixtures/odf/*.fod?")

# fmt: off
TARGETS: dict[str, Target] = {
    "prescan": Target(mail.scan_first, MAIL, MIME),
    "mime": Target(mail.mime, MAIL, MIME),
    "plain": Target(mail.door, MAIL, MIME),
    "raw": Target(mail.raw, MAIL, MIME),
    "fields": Target(mail.fields, words=(*MIME, b"<", b">", b"@", b"a@b.in", b'"', b"(", b")", b",", b":", b";", b"\\")),
    "labels": Target(mail.label, words=LABEL),
    "decoding": Target(mail.decoding, words=(*MIME, b"+", b"-", b"+AFM-", b"\x1b(B", b"\x1b$B", b"~{", b"~}", b"\xc1\x93")),
    "text": Target(files.texts, words=(*MIME, b"=cmd|'", b"!A0", b"DDE(", b",", b"ID;P", b"NN;", b"\xff\xfe")),
    "html": Target(files.pages, ("corpus/ordinary/*.eml",), PAGE, cutting.parts_of("text/html")),
    "calendar": Target(files.kinds("calendar"), ("corpus/ordinary/*.eml",), CARD, cutting.parts_of("text/calendar", "text/vcard")),
    "rtf": Target(files.kinds("rtf"), ("corpus/content/*.rtf", "fixtures/*/*.rtf"), RTF, longest=LONGEST_SEED),
    "sniff": Target(files.sniffed, ("corpus/content/*",), (b".js", b"\xe2\x80\xae", b"::$DATA", b"../", b"CON", b"\0")),
    "markings": Target(mail.marked, words=MARKED),
    "observed": Target(mail.observed, words=PERSONAL),
    "legacy_text": Target(mail.legacy, words=(b"\xef\x42", b"\xd8", b"xksiuh;", b"fnYyh", b"Hkkjr", b"\xb3\xa8")),
    "wire": Target(mail.wire, words=SMTP),
    "imap": Target(imap.dialogue, ("conversations/imap/*.txt",), IMAP),
    "milter": Target(milter.session, ("conversations/milter/*.txt",), milter.WORDS, milter.spoken),
    "cms": Target(files.cms, ("corpus/content/*.p7*", "fixtures/crypto/*.p7*"), (b"\x30\x80", b"\x00\x00", b"\x06\x09*\x86H\x86\xf7")),
    "pgp": Target(files.pgp, PGP, (b"-----BEGIN PGP MESSAGE-----\n\n", b"\xd2", b"\xc1", b"\xc3", b"\xcb", b"\xd4", b"\xff")),
    "covers": Target(files.covers, COVERS, (b"age-encryption.org/v1\n", b"-> X25519 ", b"---", b"Salted__", b"LUKS\xba\xbe", b"U2FsdGVk")),
    "zip": Target(files.zipped, ("corpus/content/*.zip", "fixtures/archives/*.zip"), (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"\1\x99\7\0")),
    "sevenzip": Target(files.sevenzip, ("corpus/content/*.7z", "fixtures/archives/*.7z"), (b"\1\4\6", b"\7\x0b\1\0", b"\6\xf1\7\1")),
    "rar": Target(files.rar, ("fixtures/archives/*.rar",), (b"Rar!\x1a\7\1\0", b"Rar!\x1a\7\0", b'{"lsarContents":[')),
    "archives": Target(files.archives, ARCHIVES, (b"ustar", b"070701", b"MSCF", b"CD001", b"!<arch>\n", b"-lh5-")),
    "pictures": Target(files.pictures, PICTURES, (b"IHDR", b"IEND", b"\xff\xd8", b"\xff\xd9", b"GIF89a", b"RIFF", b"II*\0", b"ftyp")),
    "compound": Target(files.compound, OFFICE, longest=LONGEST_SEED),
    "office_streams": Target(files.office_streams, (*OFFICE, *OOXML), cut=cutting.office, longest=LONGEST_SEED),
    "office_parts": Target(files.office_parts, (*OFFICE, *OOXML, *ODF), cut=cutting.office_parts),
    "tnef": Target(files.winmail, ("corpus/ordinary/*winmail.eml",), (b"\x78\x9f\x3e\x22", b"\x02\x07\x90\6"), cutting.tnef),
    "odf": Target(files.odf, ODF, XML, cutting.packages),
    "ooxml": Target(files.ooxml, OOXML, XML, cutting.packages, LONGEST_SEED),
    "pdf": Target(files.pdf, ("corpus/content/*.pdf", "fixtures/pdf/*.pdf"), (b" obj", b"stream\n", b"/Filter", b"/JS", b"BT", b"<~")),
    "unpack": Target(files.unpack, (*MAIL, "fixtures/archives/*.eml", "fixtures/crypto/*.eml", "fixtures/office/*.eml"), MIME),
}
# fmt: on


def check(name: str, data: bytes) -> None:
    """Runs the target *name* on *data*; raises what it may not raise."""
    TARGETS[name].run(data)
