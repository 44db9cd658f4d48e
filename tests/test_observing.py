"""Personal numbers, topics, links, addresses and file numbers in texts: what is seen, what is not, and that it stays linear."""

from __future__ import annotations

import functools
import hashlib
import random
import time
from pathlib import Path

import pytest

from gateway import content
from gateway.config import Limits
from gateway.content import walk
from gateway.message import plain
from gateway.policy import watching
from gateway.text import identifiers, links
from gateway.text.normalise import normalise
from gateway.text.observing import HIGHEST, MOST, Observer
from gateway.text.scheme import Scheme
from gateway.text.topics import Topics
from gateway.verdict import Observation, Zone
from tests.content_mail import mail, zipped

ROOT = Path(__file__).parents[1]
TOPIC = "format = 1\n[[topic]]\nname = 'ab'\nsource = 's'\n"
HEAD = "From: a@dept.gov.in\r\nTo: b@finance.nic.in\r\nSubject: {}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"


@functools.cache
def scheme() -> Scheme:
    return watching.load(ROOT / "rules")[0]


def aadhaar(seed: int, *, valid: bool = True) -> str:
    """A number of twelve digits that begins as an Aadhaar number; made up, and with or without a right checksum."""
    first = str(random.Random(seed).randrange(20_000_000_000, 99_999_999_999))
    right = next(digit for digit in "0123456789" if identifiers.checks(first + digit))
    return first + (right if valid else str((int(right) + 1 + seed % 9) % 10))


def spaced(number: str, gap: str = " ") -> str:
    return gap.join((number[:4], number[4:8], number[8:]))


def door(body: str, subject: str = "Papers") -> tuple[Observation, ...]:
    """What a door sees by itself; the inspector has to see the same."""
    octets = (HEAD.format(subject) + body).replace("\r\n", "\n").replace("\n", "\r\n").encode()
    digest = hashlib.sha256(octets).hexdigest()
    seen = plain.inspect(octets, digest, Limits(), scheme())
    assert seen is not None
    slow = walk.read_message(octets, digest, Limits(), scheme(), content.TABLE, want_text=False)
    assert set(slow.observations) == set(seen.observations)
    return seen.observations


def unpacked(octets: bytes) -> tuple[Observation, ...]:
    return content.unpack(octets, sha256=hashlib.sha256(octets).hexdigest(), limits=Limits(), scheme=scheme()).observations


def plain_text(body: str) -> tuple[Observation, ...]:
    """What a gateway sees in a plain text: its door, or its inspector where lines look as if something were packed in them."""
    octets = (HEAD.format("Papers") + body).replace("\n", "\r\n").encode()
    seen = plain.inspect(octets, hashlib.sha256(octets).hexdigest(), Limits(), scheme())
    return unpacked(octets) if seen is None else seen.observations


def kinds(found: tuple[Observation, ...], kind: str) -> list[tuple[str, str, int]]:
    return [(one.name, one.place, one.count) for one in found if one.kind == kind]


def workbook(rows: list[str]) -> bytes:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    sheet = f'<worksheet xmlns="{space}"><sheetData>{"".join(rows)}</sheetData></worksheet>'.encode()
    return zipped(("[Content_Types].xml", b"<Types/>"), ("xl/workbook.xml", b"<workbook/>"), ("xl/worksheets/sheet1.xml", sheet))


def html(body: str) -> bytes:
    return HEAD.format("Papers").replace("text/plain", "text/html").encode() + body.encode() + b"\r\n"


class TestAadhaar:
    def test_the_checksum_is_verhoeffs(self) -> None:
        assert identifiers.checks("2363")  # the example of the checksum's literature: 236 has the check digit 3
        assert not identifiers.checks("2364")
        number = aadhaar(1)
        for place in range(11):  # each exchange of neighbours and each wrong digit is seen
            if number[place] != number[place + 1]:
                assert not identifiers.checks(number[:place] + number[place + 1] + number[place] + number[place + 2 :])
            wrong = number[:place] + str((int(number[place]) + 1) % 10) + number[place + 1 :]
            assert not identifiers.checks(wrong)

    @pytest.mark.parametrize("gap", [" ", "-", ".", ""])
    @pytest.mark.parametrize("word", ["Aadhaar No: ", "aadhar card ", "UID ", "आधार संख्या ", "આધાર "])
    def test_with_the_word_by_it(self, gap: str, word: str) -> None:
        assert kinds(door(f"Dear Sir,\n{word}{spaced(aadhaar(2), gap)}\n"), "aadhaar") == [("", "body", 1)]

    def test_the_word_may_stand_behind(self) -> None:
        assert kinds(door(f"Dear Sir,\n{aadhaar(3)} (Aadhaar) is on file\n"), "aadhaar") == [("", "body", 1)]

    def test_digits_of_indian_scripts_and_wide_ones(self) -> None:
        number = spaced(aadhaar(4))
        for zero in "०૦০௦０":
            written = "".join(chr(ord(zero) + int(char)) if char.isdigit() else char for char in number)
            assert kinds(door(f"Dear Sir,\nआधार {written}\n"), "aadhaar") == [("", "body", 1)], zero

    def test_in_groups_without_the_word(self) -> None:
        assert kinds(door(f"Dear Sir,\nnumber {spaced(aadhaar(5))} is his\n"), "aadhaar") == [("", "body", 1)]

    @pytest.mark.parametrize(
        "text",
        [
            "in one piece {0}",
            "Aadhaar of all, phone 91{1}",
            "Aadhaar given. Mobile: {0}",
            "tracking {0}",
            "+{0}",
            "AB{0}",
            "{0}99",
            "1{0}",
            "0.{0}",
            "{2}-1234",
            "1234 {2}",
            "{2} 4444",
            "2019 2020 2021",
            "Aadhaar {3}",
            "a/c {0}",
            "date 2024-01-02 10:33:21",
            "{2}/24",
        ],
    )
    def test_what_is_none(self, text: str) -> None:
        number = aadhaar(6)
        words = text.format(number, "9876543210", spaced(number), aadhaar(7, valid=False))
        assert kinds(door(f"Dear Sir,\n{words}\n"), "aadhaar") == []

    def test_different_ones_are_counted(self) -> None:
        numbers = [aadhaar(seed) for seed in range(20)]
        body = "Name Number\n" + "\n".join(f"{index} Ram {number} 34 M" for index, number in enumerate(numbers + numbers[:5]))
        assert kinds(door(body + "\n" * 3), "aadhaar") == [("", "body", 20)]  # a list without the word: all pass, chance does not

    def test_tables_of_random_numbers_are_none(self) -> None:
        """Of 1,000 tables of numbers that begin and group as these do, at most two are taken for a list (0.2 %)."""
        wrong = 0
        for seed in range(1000):
            rng = random.Random(seed)
            personal = identifiers.Personal()
            rows = [str(rng.randrange(200_000_000_000, 999_999_999_999)) for _ in range(12)]
            personal.look("\n".join(f"row {row if seed % 2 else spaced(row)}" for row in rows))
            wrong += bool(list(personal.aadhaar()))
        assert wrong <= 2

    def test_of_two_loose_numbers_both_must_pass(self) -> None:
        one, other, wrong = spaced(aadhaar(11)), spaced(aadhaar(12)), spaced(aadhaar(13, valid=False))
        assert kinds(door(f"Dear Sir,\nsee {one}\nand {other}\n"), "aadhaar") == [("", "body", 2)]
        assert kinds(door(f"Dear Sir,\nsee {one}\nand {wrong}\n"), "aadhaar") == []

    def test_virtual_ids_only_with_their_name(self) -> None:
        first = "234512345678901"
        number = next(first + digit for digit in "0123456789" if identifiers.checks(first + digit))
        assert kinds(door(f"Dear Sir,\nVID: {number}\n"), "aadhaar") == [("", "body", 1)]
        assert kinds(door(f"Dear Sir,\ncard {number}\n"), "aadhaar") == []

    @pytest.mark.parametrize(
        "row",
        [
            "{n},{spaced}",
            "{spaced},{n}",
            "{n},{spaced},25,M",
            "{n},{solid},25",
            "{n},{solid},12,34,56,789",
            '"{n}","{spaced}","25"',
            '{n},"{solid}",25',
            "{n};{spaced};25",
            "{n};{solid};25,50",
            "{n}\t{spaced}\t25",
            "{n}|{solid}|25",
            "{n},{spaced},9876543210",
            "{n}, {spaced}, 2024",
            "{n},={solid},1.5",
            "{n},{nbsp},25",
            "{n}\t{dash}\t25",
            "{n},{narrow},25",
            "{n},{hyphen},25",
        ],
    )
    def test_rows_of_a_table_that_have_numbers_on_both_sides(self, row: str) -> None:
        rows = []
        for seed in range(40):
            solid = aadhaar(seed)
            gaps = {"nbsp": "\u00a0", "dash": "\u2013", "narrow": "\u202f", "hyphen": "\u2011"}
            written = {name: spaced(solid, gap) for name, gap in gaps.items()}
            rows.append(row.format(n=seed + 1, solid=solid, spaced=spaced(solid), **written))
        text = "\n".join(rows) + "\n"
        assert kinds(door(text), "aadhaar") == [("", "body", 40)]
        assert kinds(unpacked(mail(text.encode(), "list.csv", "text/csv")), "aadhaar") == [("", "attachment", 40)]

    @pytest.mark.parametrize(
        "row",
        [
            "{a}  {b}  {c}", "{a} - {b} - {c}", "{a}-{b} {c}", "{n}.{a} {b} {c}", "{n}. {solid}", "{a} {b} {c}/1980", "{solid}-12/05/1980",
            "{solid} (M)", "AADHAAR{solid}", "Aadhaar No. {a}  {b}  {c}", "UID{a} {b} {c}", "{a} {b} {c}/{solid}",
        ],
    )  # fmt: skip
    def test_lists_as_offices_write_them(self, row: str) -> None:
        rows = []
        for seed in range(20):
            solid = aadhaar(seed)
            rows.append(row.format(n=seed + 1, solid=solid, a=solid[:4], b=solid[4:8], c=solid[8:]))
        text = "Beneficiaries\n" + "\n".join(rows) + "\n"
        assert kinds(plain_text(text), "aadhaar") == [("", "body", 20)]

    @pytest.mark.parametrize("text", [
        "Rs 12,34,56,789 of 98,76,54,321", "Rs 123,456,789,012", "2,345,678,901.25", "1,23,456 7890 1234 and 12,3456",
        "5,2345 6789 0123 4567", "1.{solid}", "0.{solid},5", "12/{solid}", "{solid}:25", "1\u2013{solid}", "2019,2020,2021", "2,{wrong},3",
        "1234\u20135678\u20139012\u20133456",
    ])  # fmt: skip
    def test_amounts_and_parts_of_longer_numbers_are_none(self, text: str) -> None:
        written = text.format(solid=aadhaar(6), wrong=spaced(aadhaar(7, valid=False)))
        assert kinds(door(f"Dear Sir,\nAadhaar of all. Total:\n{written}\n"), "aadhaar") == []

    def test_tables_of_amounts_are_none(self) -> None:
        """Of 1,000 tables of amounts in lakh and crore, with a row number before and a rate behind, none counts."""

        def lakh(value: int) -> str:
            head, tail = str(value)[:-3], str(value)[-3:]
            pairs = [head[max(0, at - 2) : at] for at in range(len(head), 0, -2)][::-1]
            return ",".join([*pairs, tail])

        for seed in range(1000):
            rng = random.Random(seed)
            rows = (f"{row},{lakh(rng.randrange(10**5, 10**14))},{rng.randrange(100)}" for row in range(12))
            personal = identifiers.Personal()
            personal.look("aadhaar seva kendra: expenditure\n" + "\n".join(rows))
            assert not list(personal.aadhaar())

    @pytest.mark.parametrize("cell", [
        "<c><v>{solid}</v></c>", '<c t="n"><v>{solid}.0</v></c>', "<c><v>{exponent}</v></c>", '<c t="str"><v>{spaced}</v></c>',
        '<c t="inlineStr"><is><t>{spaced}</t></is></c>',
    ])  # fmt: skip
    def test_cells_of_a_sheet(self, cell: str) -> None:
        rows = []
        for n in range(20):
            solid = aadhaar(n)
            written = cell.format(solid=solid, spaced=spaced(solid), exponent=f"{solid[0]}.{solid[1:]}0000E11")
            rows.append(f"<row><c><v>{n + 1}</v></c>{written}<c><v>0.123456789012</v></c><c><v>25</v></c></row>")
        assert kinds(unpacked(mail(workbook(rows), "list.xlsx")), "aadhaar") == [("", "attachment", 20)]

    def test_cells_that_hold_no_identifier(self) -> None:
        solid = aadhaar(6)
        values = (f"{solid}.5", f"0.{solid}", f"-{solid}", f"{solid}99999", "nan", "inf", "1e400", f"{solid}x")
        rows = [f"<row><c><v>Aadhaar</v></c><c><v>{value}</v></c></row>" for value in values]
        rows.append(f'<row><c t="s"><v>{solid}</v></c></row>')  # the number of a text elsewhere
        assert kinds(unpacked(mail(workbook(rows), "list.xlsx")), "aadhaar") == []

    def test_a_number_in_an_attachment_and_in_the_subject(self) -> None:
        found = unpacked(mail(f"Aadhaar {aadhaar(8)}\n".encode(), "list.txt", "text/plain"))
        assert kinds(found, "aadhaar") == [("", "attachment", 1)]
        assert kinds(door("Papers\n", f"Aadhaar {aadhaar(9)}"), "aadhaar") == [("", "subject", 1)]

    def test_no_value_leaves_the_inspection(self) -> None:
        number = aadhaar(10)
        found = door(f"Aadhaar {number}, PAN ABCPD1234E, x@gmail.com, https://drive.google.com/secretpath\n")
        assert len(found) == 4
        assert not any(word in repr(found) for word in (number, "abcpd", "ABCPD", "x@gmail", "secretpath"))


class TestPan:
    @pytest.mark.parametrize("text", ["ABCPD1234E", "his PAN is abcpd1234e", "(AAACT2727Q)", "पैन abcpd1234e", "PAN: ABCPD1234E."])
    def test_seen(self, text: str) -> None:
        assert kinds(door(f"Dear Sir,\n{text}\n"), "pan") == [("", "body", 1)]

    @pytest.mark.parametrize(
        "text",
        [
            "abcpd1234e",
            "ABCDE1234F",
            "ABCPD0000E",
            "XABCPD1234E",
            "ABCPD1234EX",
            "ABCPD1234E/2024",
            "F/ABCPD1234E",
            "27ABCPD1234E1Z5",
            "ABCPD-1234-E",
            "a ABCPD1234E@x.com",
            "ref-ABCPD1234E",
        ],
    )
    def test_not_seen(self, text: str) -> None:
        assert kinds(door(f"Dear Sir,\n{text}\n"), "pan") == []


class TestTopics:
    @pytest.mark.parametrize(
        ("text", "topic"),
        [
            ("The bid evaluation is put up.", "tender"),
            ("minutes of the\r\ntechnical evaluation\r\ncommittee", "tender"),
            ("BID-EVALUATION report", "tender"),
            ("The tender had three bidders; the estimated cost and the price bids are below.", "tender"),
            ("the L1 bidder", "tender"),
            ("a draft  Cabinet Note is enclosed", "cabinet"),
            ("note for the consideration of the cabinet", "cabinet"),
            ("मंत्रिमंडल टिप्पणी और मंत्रिमंडल के लिए टिप्पणी", "cabinet"),
            ("Ｄｒａｆｔ Ｂｉｌｌ", "policy-proposal"),
            ("the approach paper on water", "policy-proposal"),
            ("нолд: draft b\u200bill", "policy-proposal"),
            ("નીતિ પ્રસ્તાવ અને ડ્રાફ્ટ બિલ", "policy-proposal"),
        ],
    )
    def test_seen(self, text: str, topic: str) -> None:
        assert [name for name, _, _ in kinds(door(f"Dear Sir,\n{text}\n"), "topic")] == [topic]

    @pytest.mark.parametrize(
        "text",
        [
            "The tender is due.",
            "tender tender tender tender bid",
            "Notice inviting tender: bidder, bidders, price bid, technical bid, EMD",
            "filing cabinet and cabinet approval",
            "the debit evaluation",
            "bid evaluations",
            "draft billing",
            "मंत्रिमंडल टिप्पणी",
            "my policy",
            "pretender, tenderness, bidding",
            "note on the cabinet",
        ],
    )
    def test_not_seen(self, text: str) -> None:
        assert kinds(door(f"Dear Sir,\n{text}\n"), "topic") == []

    def test_what_is_public_needs_two_strong_terms(self) -> None:
        public = "The tender notice published on the portal; bid evaluation follows."
        assert kinds(door(public + "\n"), "topic") == []
        assert kinds(door(public + " The reserve price is fixed.\n"), "topic") == [("tender", "body", 3)]

    def test_the_subject_counts_for_the_body(self) -> None:
        assert kinds(door("three bidders, the estimated cost and price bids\n", "Tender for the bridge"), "topic") == [
            ("tender", "body", 4)
        ]

    def test_in_the_name_of_a_file(self) -> None:
        found = unpacked(mail(b"x\n", "Draft Cabinet Note.txt", "text/plain"))
        assert kinds(found, "topic") == [("cabinet", "attachment", 3)]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("format = 1\n[[topic]]\nname = 'a'\nsource = 's'\ncolour = 1\n", "line 5: topic.colour: unknown key"),
            ("format = 1\n[[topic]]\nname = 'Big Name'\nsource = 's'\n", "line 3: topic.name: 'Big Name' is not a name"),
            ("format = 1\n[[terms]]\ntopic = 'x'\nlanguage = 'en'\nverified = true\n", "line 3: terms.topic: there is no topic 'x'"),
            (
                TOPIC + "[[terms]]\ntopic = 'ab'\nlanguage = 'en'\nverified = true\nstrong = ['x y', 'X-Y']\n",
                "line 9: terms.strong: 'X-Y' stands here twice for ab",
            ),
            ("format = 1\n[[topic]]\nname = 'ab'\n", "line 2: topic.source: missing"),
            ("format = 2\n", "line 1: format: format 2 is not known"),
            ("[[level]]\n", "line 1: level: unknown table"),
            ("x = \n", "topics: "),
            (
                "format = 1\n[[topic]]\nname = 'ab'\nsource = 's'\n[[terms]]\ntopic = 'ab'\nlanguage = 'en'\nverified = 1\n",
                "line 8: terms.verified: must be true or",
            ),
            (
                TOPIC + "[[terms]]\ntopic = 'ab'\nlanguage = 'en'\nverified = true\nweak = ['x']\n",
                "is not a term of one",
            ),
        ],
    )
    def test_a_broken_file_names_line_and_field(self, text: str, words: str) -> None:
        with pytest.raises(ValueError, match="^") as error:
            Topics.parse(text)
        assert words in str(error.value)

    def test_the_shipped_file_says_which_terms_are_verified(self) -> None:
        assert set(scheme().watch.topics.names) == {"tender", "cabinet", "policy-proposal"}


class TestLinks:
    @pytest.mark.parametrize(
        ("link", "hosts"),
        [
            ("https://drive.google.com/file/d/1", ("drive.google.com",)),
            ("HTTP://Drive.Google.COM./x", ("drive.google.com",)),
            ("https://gov.in@drive.google.com/x", ("drive.google.com",)),
            ("https://drive.google.com:443@dept.gov.in", ("dept.gov.in",)),
            ("https://dept.gov.in\\@drive.google.com/", ("dept.gov.in",)),
            ("https://user:p@t.me:8443/x", ("t.me",)),
            ("https://drive%2Egoogle.com/x", ("drive.google.com",)),
            ("https:////dropbox.com/x", ("dropbox.com",)),
            ("//dropbox.com/x", ("dropbox.com",)),
            ("https://dept.gov.in#@drive.google.com", ("dept.gov.in",)),
            ("https://dept.gov.in?x=://t.me", ("dept.gov.in",)),
            ("tg://resolve?domain=x", ("t.me",)),
            ("https://भारत.भारत/x", ("xn--h2brj9c.xn--h2brj9c",)),
            ("hxxps://drive[.]google[.]com/x", ("drive.google.com",)),
            ("javascript:alert(1)", ()),
            ("file://server/share", ()),
            ("https://", ()),
            ("https://localhost/", ()),
            ("https://10.0.0.1/", ()),
            ("x", ()),
            ("http://www.w3.org/1999/xhtml", ()),
            ("/relative/path", ()),
            ("https://[::1]/", ()),
            (
                "https://in.safelinks.protection.outlook.com/?url=https%3A%2F%2Fdrive.google.com%2Fx&data=1",
                ("in.safelinks.protection.outlook.com", "drive.google.com"),
            ),
            ("https://urldefense.com/v3/__https://wetransfer.com/x__;!!a", ("urldefense.com", "wetransfer.com")),
            (
                "https://urldefense.proofpoint.com/v2/url?u=https-3A__drive.google.com_x&d=1",
                ("urldefense.proofpoint.com", "drive.google.com"),
            ),
            ("https://www.google.com/url?q=https://t.me/x&sa=1", ("www.google.com", "t.me")),
        ],
    )
    def test_hosts(self, link: str, hosts: tuple[str, ...]) -> None:
        assert links.hosts(link) == hosts

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("see https://drive.google.com/x", "cloud"),
            ("see drive.google.com/x", "cloud"),
            ("www.dropbox.com/s/1", "cloud"),
            ("join t.me/group", "messenger"),
            ("https://chat.whatsapp.com/AbC", "messenger"),
            ("wa.me/911234567890", "messenger"),
            ("(https://wetransfer.com/d)", "cloud"),
            ("https://dept.gov.in/x", "other"),
            ("dept-my.sharepoint.com/x", "cloud"),
            ("whatsapp://send?x", "messenger"),
            ("<HTTPS://MEGA.NZ>", "cloud"),
            ("url=https://evil.example?u=https://drive.google.com", "cloud"),
            ("https://www.icloud.com/x", "cloud"),
        ],
    )
    def test_in_text(self, text: str, name: str) -> None:
        assert name in [found for found, _, _ in kinds(door(f"Dear Sir,\n{text}\n"), "link")]

    @pytest.mark.parametrize(
        "text", ["cat.me/x", "budget.t.me@x", "report.me/ x", "dropbox.com", "and/or", "a://b", "://", "www.", "http://", "xt.me/y"]
    )
    def test_none_in_text(self, text: str) -> None:
        assert [name for name, _, _ in kinds(door(f"Dear Sir,\n{text}\n"), "link") if name != "other"] == []

    def test_in_html(self) -> None:
        found = unpacked(
            html(
                '<p>Text <a href="https://gov.in@drive.google.com/x">dept.gov.in</a><img src="//t.me/p">'
                '<a href="mailto:x@gmail.com">me</a></p>'
            )
        )
        assert kinds(found, "link") == [("cloud", "body", 1), ("messenger", "body", 1)]
        assert kinds(found, "address") == [("private", "body", 1)]

    def test_in_a_document_and_a_pdf(self) -> None:
        import io

        import pikepdf

        rels = (
            b'<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            b'<Relationship Id="r1" Type='
            b'"http://schemas.openxmlformats.org/officeDocument/2006/relationships/hyperlink" '
            b'Target="https://www.dropbox.com/s?a=1&amp;b=2" TargetMode="External"/>'
            b"</Relationships>"
        )
        document = b'<?xml version="1.0"?><w:document xmlns:w="w"><w:p><w:r><w:t>text</w:t></w:r></w:p></w:document>'
        office = zipped(("[Content_Types].xml", b"<Types/>"), ("word/document.xml", document), ("word/_rels/document.xml.rels", rels))
        assert kinds(unpacked(mail(office, "a.docx")), "link") == [("cloud", "attachment", 1)]
        pdf = pikepdf.new()
        page = pdf.add_blank_page()
        action = pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("https://t.me/x"))
        link = pikepdf.Dictionary(Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Link, Rect=[0, 0, 9, 9], A=action)
        page.Annots = pdf.make_indirect(pikepdf.Array([pdf.make_indirect(link)]))
        out = io.BytesIO()
        pdf.save(out)
        assert kinds(unpacked(mail(out.getvalue(), "a.pdf")), "link") == [("messenger", "attachment", 1)]


class TestAddressesAndPlaces:
    def test_R17_a_private_address_in_the_signature(self) -> None:
        body = "Dear Sir,\n\nPlease see the papers.\n\nYours faithfully,\nRam\nSection Officer\nso.ram@gmail.com\n"
        assert kinds(door(body), "address") == [("private", "signature", 1)]
        assert door(body)[0].host == "gmail.com"

    def test_the_separator_and_the_last_lines(self) -> None:
        long = "\n".join(f"line {number}" for number in range(40))
        assert kinds(door(f"x@gmail.com\n{long}\n-- \nRam\ny@yahoo.com\n"), "address") == [
            ("private", "body", 1),
            ("private", "signature", 1),
        ]
        assert kinds(door(f"{long}\nRam, y@yahoo.co.in\n"), "address") == [("private", "signature", 1)]
        assert kinds(door("Write to x@gmail.com please.\nThat is all.\nRam\n"), "address") == [("private", "body", 1)]

    def test_quoted_mail(self) -> None:
        top = "Noted.\n\nRegards\nRam\na@gmail.com\n\nOn Mon, X wrote:\n> text\n> b@yahoo.com\n> more\n"
        assert kinds(door(top), "address") == [("private", "quoted", 1), ("private", "signature", 1)]
        outlook = "Noted.\n\nRegards\nRam\n\n-----Original Message-----\nFrom: b@yahoo.com\nSent: x\nSubject: y\n\nText b2@yahoo.com\n"
        assert kinds(door(outlook), "address") == [("private", "quoted", 2)]
        below = "On Mon, X wrote:\n> b@yahoo.com\n\nNoted and agreed with all of it.\nSecond line.\n-- \nRam\na@gmail.com\n"
        assert kinds(door(below), "address") == [("private", "quoted", 1), ("private", "signature", 1)]

    @pytest.mark.parametrize("text", ["a@dept.gov.in", "@home", "a@b", "x @ gmail.com", "a@10.0.0.1", "a@-", "@@@@"])
    def test_none(self, text: str) -> None:
        assert kinds(door(f"Dear Sir,\n{text}\n"), "address") == []


class TestFileNumbers:
    @pytest.mark.parametrize(
        "text",
        [
            "F. No. 2(22)/2013-EG-II",
            "F. No.L-13/14/2014-IGD",
            "No. LI1019/5/2014-O&M",
            "O.M. No.2(103)/2014-CERT-In",
            "D.O. No. 12/3/2024-HS",
            "D.O. letter No. 5/22/2024",
            "U.O. No. 44/2024-Fin",
            "I.D. Note No. 7(2)/2023",
            "Circular No. 26-JK(GAD) of 2024",
            "Circular No. SCM/10/2018/614021/IT",
            "फा. सं. 12/3/2024-रा.भा.",
            "सं. 5/22/२०२४-स्था",
            "File No: GAD-SEC/12/2024",
            "Order No. 44-PWD of 2024 (12/2024)" and "Order No. 44/PWD/2024",
            "क्रमांक: मशा/2024/प्र.12",
            "f.no.a-12011/1/2024-estt",
        ],
    )
    def test_R32_seen(self, text: str) -> None:
        assert kinds(door(f"Dear Sir,\n{text} dated today\n"), "file-number") == [("", "body", 1)]

    @pytest.mark.parametrize(
        "text",
        [
            "Invoice No. 12345",
            "No. 9876543210",
            "no. 24/7 support",
            "No: 10/12/2024",
            "say no.",
            "No.1 and/or two",
            "casino. 12/3/2024",
            "page no. 3/12",
            "No. and/or",
            "http://x.in/no.1/2/2024",
        ],
    )
    def test_not_seen(self, text: str) -> None:
        assert kinds(door(f"Dear Sir,\n{text} today\n"), "file-number") == []

    def test_in_the_subject(self) -> None:
        assert kinds(door("Papers\n", "F. No. 2/22/2013-EG"), "file-number") == [("", "subject", 1)]


class TestBounds:
    @pytest.mark.parametrize(
        "text",
        [
            "1" * 1_000_000,
            "2345 " * 200_000,
            "234567890123 " * 77_000,
            "www." * 300_000,
            "@" * 1_000_000,
            "a@" * 500_000,
            "a@b.c " * 160_000,
            "://" * 330_000,
            "http://" * 140_000,
            "t.me/" * 200_000,
            "tender " * 140_000,
            "bid evaluation " * 66_000,
            "no. 1/2/2024 " * 76_000,
            "f. no" * 200_000,
            "abcpd1234e " * 90_000,
            "pan " * 250_000,
            "uid 2" * 200_000,
            "a." * 500_000 + "@",
            "x@" + "a." * 400_000,
            "> " * 400_000 + "x@gmail.com",
            "x@gmail.com\n> " * 70_000,
            "aadhaar " * 60_000 + "234567890123 " * 40_000,
            "https://urldefense.com/v3/__" * 35_000,
            "\n" * 900_000 + "x@gmail.com",
            "f.no." + "(" * 900_000,
            "technical\n" * 100_000,
            "http://" + "%41" * 300_000,
            "१" * 300_000,
            "regards\n" * 120_000 + "x@gmail.com",
        ],
        ids=lambda text: text[:12].strip(),
    )
    def test_hostile_text_is_linear(self, text: str) -> None:
        normal = normalise(text)
        observer = Observer(scheme())
        began = time.process_time()
        observer.look(normal, Zone.BODY, "1", attached=False)
        assert time.process_time() - began < 2.0
        assert all(one.count <= HIGHEST for one in observer.result())

    def test_counts_and_observations_are_capped(self) -> None:
        observer = Observer(scheme())
        text = " ".join(f"u{number}@gmail.com" for number in range(3000))
        observer.look(normalise(text), Zone.BODY, "1", attached=True)
        (only,) = observer.result()
        assert only.count == HIGHEST
        assert MOST == 50


def test_terms_are_the_same_whether_all_places_are_proved_or_only_those_asked_for() -> None:
    rng, topics = random.Random(13), scheme().watch.topics
    terms = [" ".join(term.words) for term in topics._shapes]
    for count in (1, 5, 40, 40, 400, 4000):
        text = "".join(rng.choice(terms) + rng.choice((" ", "\n", "-", "s ", ", no. ", " www.")) for _ in range(count))
        every = topics.search(text, text.encode())
        signs, lazily = topics.look(text, text.encode())
        assert signs == [(kind, place) for kind, place, term in every if term is None]
        found = {term: list(begins) for term, begins in lazily.items()}
        expected: dict[object, list[int]] = {}
        for _, place, term in every:
            if term is not None:
                expected.setdefault(term, []).append(place)
        assert {term: begins for term, begins in found.items() if begins} == expected
