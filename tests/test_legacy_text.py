"""text.legacy_fonts and text.iscii: Hindi typed for Kruti Dev, and the Indian eight-bit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.documents import text_plain
from gateway.levels import Level
from gateway.text import iscii, legacy_fonts
from gateway.text.markings import Scheme, Segment, scan
from gateway.verdict import Confidence, Zone
from tests import content_mail

SCHEME = Scheme.parse((Path(__file__).parents[1] / "rules" / "scheme.toml").read_text(encoding="utf-8"))
WORDS = {
    "xksiuh;": "गोपनीय",
    "xqIr": "गुप्त",
    "ije xqIr": "परम गुप्त",
    "izfrcaf/kr": "प्रतिबंधित",
    "fucZaf/kr": "निर्बंधित",
    "izfrcfU/kr": "प्रतिबन्धित",
    "oxhZdj.k": "वर्गीकरण",
    "Hkkjr ljdkj": "भारत सरकार",
    "ea=ky;": "मंत्रालय",
    "iz/kkuea=h": "प्रधानमंत्री",
    "vkfFkZd": "आर्थिक",
    "dk;kZy;": "कार्यालय",
    'jk"Vªh;': "राष्ट्रीय",
    "fo|ky;": "विद्यालय",
    "f'k{kk": "शिक्षा",
    "Kku": "ज्ञान",
    "fLFkfr": "स्थिति",
    "m|ksx": "उद्योग",
    "fnukad": "दिनांक",
    "lwpuk": "सूचना",
    "funsZ'k": "निर्देश",
    'o"kZ': "वर्ष",
    'd`f"k': "कृषि",
    'fo"k;% lhek': "विषय: सीमा",
    "}kjk": "द्वारा",
    "/keZ": "धर्म",
    "lEcU/k": "सम्बन्ध",
    "fu;qfDr": "नियुक्ति",
    "izfØ;k": "प्रक्रिया",
    "egRoiw.kZ": "महत्वपूर्ण",
    "xq#": "गुरु",
    "vkSj": "और",
    "ijarq ,slk": "परंतु ऐसा",
    "bZekunkj": "ईमानदार",
    "lM+d": "सड़क",
    "cSBd esa fu.kZ; fy;k x;kA": "बैठक में निर्णय लिया गया।",
}
LETTER = (
    'fo"k;% lhek lM+d ds fuekZ.k dh izxfr\n\n'
    "egksn;]\n\n"
    'mi;qZDr fo"k; ds lanHkZ esa lwfpr fd;k tkrk gS fd lM+d dk dk;Z iwjk gks x;k gSA '
    "vr% vuqjks/k gS fd vko';d vkns'k tkjh djus dk d\"V djsaA\n\n"
    "Hkonh;\nvoj lfpo"
)


@pytest.mark.parametrize(("typed", "shown"), WORDS.items())
def test_kruti_dev_is_read_as_it_is_shown(typed: str, shown: str) -> None:
    assert legacy_fonts.decode(typed, "Kruti Dev 010") == shown
    assert legacy_fonts.decode(typed, "DevLys 010") == shown


def test_another_font_is_not_read() -> None:
    assert legacy_fonts.decode("xksiuh;", "Arial") is None


def test_a_letter_is_recognised_without_its_font() -> None:
    shown = legacy_fonts.decode(LETTER)
    assert shown is not None
    assert "सड़क का कार्य पूरा हो गया है।" in shown
    assert shown.count("\n") == LETTER.count("\n")


@pytest.mark.parametrize(
    "text",
    [
        "The committee met on Monday and decided to send the papers. " * 20,
        "ls -l; ds; dh; dk; fd 1>&2\nls dk fd ij dj\n",
        "if (x[k] == '.k' && {k: v}[;]) { gS = esa; }\n" * 40,
        "Meesa esa mesa wholesale thesaurus. " * 40,
        "SELECT ds, dh FROM ls WHERE fd = 3;",
        "Q%A Zk 0x4f 9dk1 ls ds " * 50,
        "यह हिन्दी का पत्र है",
        "",
    ],
)
def test_other_text_is_not_taken_for_it(text: str) -> None:
    assert legacy_fonts.decode(text) is None


def test_a_marking_in_a_guessed_font_is_probable_and_stands_on_its_line() -> None:
    text = "dk;kZy; vkns'k\n\noxhZdj.k % xqIr\n\n" + LETTER
    found = [one for one in scan([Segment(text, Zone.BODY)], "1", SCHEME) if one.detector == "control-block"]
    assert [(one.level, one.confidence) for one in found] == [(Level.SECRET, Confidence.PROBABLE)]
    assert text[found[0].offset : found[0].offset + found[0].length] == "oxhZdj.k % xqIr"


def test_a_marking_in_a_named_font_is_certain() -> None:
    (found,) = [one for one in scan([Segment("xksiuh;", Zone.PAGE_HEADER, font="Kruti Dev 010")], "1", SCHEME) if one.text == "गोपनीय"]
    assert (found.level, found.confidence, found.zone) == (Level.CONFIDENTIAL, Confidence.CERTAIN, Zone.PAGE_HEADER)


@given(st.text(max_size=200), st.sampled_from(["", "Kruti Dev 010"]))
def test_fuzz_legacy_fonts_keep_lines(text: str, font: str) -> None:
    shown = legacy_fonts.decode(text, font)
    assert shown is None or shown.count("\n") == text.count("\n")


@pytest.mark.slow
def test_a_flood_stays_linear() -> None:
    for part in ("fZ", "f", "dZ", "d~", " ds esa gS vkSj "):
        assert legacy_fonts.decode(part * 100_000, "Kruti Dev") is not None


# Octets as IS 13194:1991 gives them.
ISCII = {
    "de": (bytes([0xB5, 0xE5, 0xC8, 0xC6, 0xDC, 0xCD]), "गोपनीय"),
    "be": (bytes([0xB5, 0xE5, 0xC8, 0xC6, 0xDC, 0xCE]), "গোপনীয়"),
    "gu": (bytes([0xB5, 0xDD, 0xC8, 0xE8, 0xC2]), "ગુપ્ત"),
    "pa": (bytes([0xB5, 0xDD, 0xC8, 0xC2]), "ਗੁਪਤ"),
    "or": (bytes([0xB5, 0xDD, 0xC8, 0xE8, 0xC2]), "ଗୁପ୍ତ"),
    "te": (bytes([0xCF, 0xD8, 0xD7, 0xE8, 0xCD, 0xA2]), "రహస్యం"),
    "ka": (bytes([0xCF, 0xD8, 0xD7, 0xE8, 0xCD]), "ರಹಸ್ಯ"),
    "ma": (bytes([0xCF, 0xD8, 0xD7, 0xE8, 0xCD, 0xA2]), "രഹസ്യം"),
    "ta": (bytes([0xCC, 0xC6, 0xE8, 0xC2, 0xC1, 0xCC, 0xE8]), "மந்தணம்"),
}


@pytest.mark.parametrize("script", ISCII)
def test_C01_iscii_in_each_script(script: str) -> None:
    octets, text = ISCII[script]
    assert iscii.decode(octets, script) == text.replace("\u09af\u09bc", "\u09df")
    assert iscii.script_of(f"X-ISCII-{script.upper()}") == script


def test_C01_iscii_switches_script_to_the_end_of_the_line() -> None:
    data = ISCII["de"][0] + b" \xefJ" + ISCII["gu"][0] + b"\n" + ISCII["de"][0]
    assert iscii.decode(data, "de") == "गोपनीय ગુપ્ત\nगोपनीय"


def test_C01_iscii_nukta_halant_numerals_and_letters_of_none() -> None:
    assert iscii.decode(b"\xa1\xe9\xdf\xe9\xea\xe9") == "\u0950\u0944\u093d"
    assert iscii.decode(b"\xb3\xe8\xe8\xb3\xe8\xe9") == "क्\u200cक्\u200d"
    assert iscii.decode(b"\xf1\xf2\xfa \xf0\xbf") == "०१९ \u0970"
    assert iscii.decode(b"\xbf\xe9") == "ड़".replace("\u095c", "ड\u093c")
    assert iscii.decode(b"\xff\x90") == "\ufffd\ufffd"


def _as_iscii(text: str) -> bytes:
    octets = bytearray()
    back = {iscii.decode(bytes([octet])): octet for octet in range(0xA1, 0xFB) if octet not in (0xEF, 0xF0, 0xD9)}
    for char in text:
        octets.append(ord(char) if char < "\x80" else back[char])
    return bytes(octets)


def test_C01_plain_iscii_is_told_from_other_charsets() -> None:
    text = "विषय: सीमा सड़क\n\nमहोदय,\n\nउपर्युक्त विषय के संदर्भ में सूचित किया जाता है कि सड़क का कार्य पूरा हो गया है।\n".replace("ड़", "ड\u093c")
    data = _as_iscii(text)
    assert iscii.decode(data) == text
    assert iscii.plainly(data)
    others = [
        ("Следует отметить, что комитет рассмотрел доклад о ходе работы и принял решение.", "koi8-r"),
        ("СЛЕДУЕТ ОТМЕТИТЬ, ЧТО КОМИТЕТ РАССМОТРЕЛ ДОКЛАД О ХОДЕ РАБОТЫ И ПРИНЯЛ РЕШЕНИЕ.", "koi8-r"),
        ("Следует отметить, что комитет рассмотрел доклад о ходе работы и принял решение.", "cp1251"),
        ("Следует отметить, что комитет рассмотрел доклад о ходе работы и принял решение.", "iso8859-5"),
        ("คณะกรรมการได้ประชุมและมีมติให้ส่งเอกสารไปยังหน่วยงานที่เกี่ยวข้องทั้งหมด", "tis-620"),
        ("委员会于星期一举行会议并决定将文件送交各有关部门审议以便采取进一步行动", "gb18030"),
        ("委員会は月曜日に会合を開き、関係部署に文書を送付することを決定しました。", "euc_jp"),
        ("위원회는 월요일에 회의를 열고 관련 부서에 문서를 보내기로 결정하였습니다", "cp949"),
        ("اجتمعت اللجنة يوم الاثنين وقررت إرسال الأوراق إلى الإدارات المعنية", "cp1256"),
        ("Η επιτροπή συνεδρίασε τη Δευτέρα και αποφάσισε να στείλει τα έγγραφα", "iso8859-7"),
        ("הוועדה התכנסה ביום שני והחליטה לשלוח את המסמכים לכל המחלקות", "cp1255"),
        ("Déjà vu à l'été, où l'élève a été très gâté, même à Noël; ça va être dur", "cp1252"),
        ("यह हिन्दी का पत्र है और इसमें कुछ भी गोपनीय नहीं है", "utf-8"),
    ]
    assert [codec for words, codec in others if iscii.plainly((words * 3).encode(codec))] == []


@given(st.binary(max_size=200), st.sampled_from([*iscii._BLOCKS, "xx"]))
def test_fuzz_C01_iscii_reads_any_octets(data: bytes, script: str) -> None:
    assert len(iscii.decode(data, script)) <= 3 * len(data)
    iscii.plainly(data)


def _leaf_text(data: bytes, charset: str) -> tuple[str, ...]:
    return text_plain.decode(data, charset).texts


def test_C01_a_declared_iscii_text_is_read_and_an_undeclared_one_has_it_as_a_view() -> None:
    text = "वर्गीकरण: गुप्त\n\nउपर्युक्त विषय के संदर्भ में सूचित किया जाता है कि कार्य पूरा हो गया है।\n"
    data = _as_iscii(text)
    assert text in _leaf_text(data, "x-iscii-de")
    assert text in _leaf_text(data, "")
    assert text in _leaf_text(data, "iso-8859-1")
    assert not text_plain.decode(data, "x-iscii-de").doubt
    assert not text_plain.decode(b"plain", "x-iscii-de").doubt


def test_C01_a_message_in_iscii_is_classified() -> None:
    body = _as_iscii("वर्गीकरण: गुप्त\n\nउपर्युक्त विषय के संदर्भ में सूचित किया जाता है।\n").replace(b"\n", b"\r\n")
    head = b"From: a@example.gov.in\r\nTo: b@example.gov.in\r\nSubject: patra\r\nMIME-Version: 1.0\r\n"
    head += b"Content-Type: text/plain; charset=x-iscii-de\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    inspection = content_mail.inspect(head + body)
    assert [(one.level, one.confidence) for one in inspection.findings] == [(Level.SECRET, Confidence.CERTAIN)]
    assert not inspection.ambiguity
