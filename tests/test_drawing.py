"""Pages as pictures with boxes, texts with their marks, single leaves: what the inspector makes for people. Hostile-inputs W02, D07."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import pikepdf
import pytest
from msgspec import structs
from PIL import Image, ImageChops
from reportlab.lib.utils import ImageReader  # type: ignore[import-untyped]
from reportlab.pdfgen import canvas  # type: ignore[import-untyped]

from gateway import showing
from gateway.config import Limits
from gateway.inspector import tools
from gateway.inspector.drawing import Reader
from gateway.showing import Draw, Drawn, NotDone, Show, Shown, Take, Taken
from gateway.text import marks
from gateway.text.markings import Segment, scan
from gateway.verdict import Confidence, Zone
from tests.content_mail import CORPUS, ROOT, mail, scheme, zipped

HINDI_PDF = ROOT / "tests" / "fixtures" / "pages" / "hindi.pdf"
Size = tuple[float, float]
A4: Size = (595.0, 842.0)
BLUE, RED, YELLOW = (0, 0, 255), (255, 0, 0), (255, 255, 0)


def pdf(*pages: Callable[[canvas.Canvas], None], size: Size = A4) -> bytes:
    out = io.BytesIO()
    sheet = canvas.Canvas(out, pagesize=size, invariant=1)
    for draw in pages:
        draw(sheet)
        sheet.showPage()
    sheet.save()
    return out.getvalue()


def text(*lines: str, x: float = 72, y: float = 700) -> Callable[[canvas.Canvas], None]:
    def draw(sheet: canvas.Canvas) -> None:
        for row, line in enumerate(lines):
            sheet.drawString(x, y - 20 * row, line)

    return draw


PLAIN = text("The stores were counted on the fourth of May.", "Nothing else was found there.")
MARKED = text("Papers of the committee", "Classification: CONFIDENTIAL", "The committee met on the fourth of May.")


def reader(**limits: float) -> Reader:
    return Reader(Limits(ocr_seconds=0, **limits), scheme())


def draw(message: bytes, path: str, page: int = 1, **limits: float) -> tuple[Drawn | NotDone, bytes]:
    answer, octets = reader(**limits).answer(Draw("n", hashlib.sha256(message).hexdigest(), path, page), message)
    assert isinstance(answer, Drawn | NotDone)
    assert answer.nonce == "n"
    return answer, octets


def show(message: bytes) -> Shown:
    answer, octets = reader().answer(Show("n", hashlib.sha256(message).hexdigest()), message)
    assert isinstance(answer, Shown)
    assert octets == b""
    return answer


def take(message: bytes, path: str, with_tools: bool = False) -> bytes | str:
    made = Reader(Limits(ocr_seconds=0), scheme(), tools.direct(Limits()) if with_tools else None)
    answer, octets = made.answer(Take("n", hashlib.sha256(message).hexdigest(), path), message)
    return octets if isinstance(answer, Taken) else answer.why if isinstance(answer, NotDone) else repr(answer)


def picture(octets: bytes) -> Image.Image:
    assert octets.startswith(showing.PNG)
    found = Image.open(io.BytesIO(octets))
    assert found.mode in ("RGB", "P")
    return found.convert("RGB")


def lines_of(drawn: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """The rectangle around everything that is exactly of *colour*."""
    mask = Image.new("L", drawn.size, 255)
    for band, value in zip(drawn.split(), colour, strict=True):
        mask = ImageChops.darker(mask, band.point([255 * (level == value) for level in range(256)]))
    return mask.getbbox()


def marked_words(shown: Shown, path: str) -> list[tuple[str, str]]:
    return [
        (one.text[mark.start : mark.end], mark.confidence) for one in shown.passages if one.path == path for mark in one.marks
    ]  # fmt: skip


# --- pages ----------------------------------------------------------------------------------------------------------------


def test_marked_words_on_page_three_are_boxed_there_and_nowhere_else() -> None:
    message = mail(pdf(PLAIN, PLAIN, MARKED), "note.pdf", "application/pdf")
    for page in (1, 2):
        answer, octets = draw(message, "2:note.pdf", page)
        assert isinstance(answer, Drawn)
        assert (answer.pages, answer.boxes) == (3, 0)
        assert lines_of(picture(octets), BLUE) is None
    answer, octets = draw(message, "2:note.pdf", 3)
    assert isinstance(answer, Drawn)
    assert answer.boxes == 1
    drawn = picture(octets)
    assert drawn.size == (answer.width, answer.height)
    box = lines_of(drawn, BLUE)
    assert box is not None
    # The word stands 680 points up, 12 points high, right of "Classification: " (72 points of margin).
    scale = drawn.height / 842
    assert abs(box[1] / scale - (842 - 680 - 9)) < 8
    assert abs(box[3] / scale - (842 - 680)) < 8
    assert 72 < box[0] / scale < 170
    inside = drawn.getpixel((box[0] + 5, box[1] + 5))
    assert isinstance(inside, tuple)
    assert inside[2] > inside[0]  # a light tint
    assert drawn.getpixel((0, 0)) == (255, 255, 255)
    assert len(octets) < 100_000


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_the_box_turns_with_the_page(degrees: int) -> None:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf(MARKED))) as document:
        document.pages[0].rotate(degrees, relative=True)
        document.save(out)
    answer, octets = draw(mail(out.getvalue(), "note.pdf"), "2:note.pdf")
    assert isinstance(answer, Drawn)
    assert answer.boxes == 1
    drawn = picture(octets)
    upright = draw(mail(pdf(MARKED), "note.pdf"), "2:note.pdf")
    first, second = lines_of(picture(upright[1]), BLUE), lines_of(drawn.rotate(degrees, expand=True), BLUE)
    assert first is not None
    assert second is not None
    assert max(abs(one - other) for one, other in zip(first, second, strict=True)) <= 4


def test_words_in_the_second_column() -> None:
    def columns(sheet: canvas.Canvas) -> None:
        text("In the left column there is", "nothing to be marked at all", "on any of these lines")(sheet)
        text("SECRET", "the right column goes on", "with other words", x=330)(sheet)

    answer, octets = draw(mail(pdf(columns), "note.pdf"), "2:note.pdf")
    assert isinstance(answer, Drawn)
    assert answer.boxes == 1
    box = lines_of(picture(octets), RED)
    assert box is not None
    assert box[0] / answer.width > 320 / 595


def test_a_page_header_is_boxed_on_each_page_though_only_some_are_reported() -> None:
    def page(sheet: canvas.Canvas) -> None:
        text("RESTRICTED", y=815)(sheet)
        PLAIN(sheet)

    message = mail(pdf(*[page] * 8), "note.pdf")
    for number in (1, 4, 8):
        answer, octets = draw(message, "2:note.pdf", number)
        assert isinstance(answer, Drawn)
        assert answer.boxes >= 1
        box = lines_of(picture(octets), YELLOW)
        assert box is not None
        assert box[3] < answer.height / 10


def test_a_watermark_across_the_page() -> None:
    def page(sheet: canvas.Canvas) -> None:
        PLAIN(sheet)
        sheet.saveState()
        sheet.translate(300, 400)
        sheet.rotate(45)
        sheet.setFont("Helvetica-Bold", 60)
        sheet.drawCentredString(0, 0, "SECRET")
        sheet.restoreState()

    answer, octets = draw(mail(pdf(page, page), "note.pdf"), "2:note.pdf", 2)
    assert isinstance(answer, Drawn)
    assert answer.boxes >= 1
    assert lines_of(picture(octets), RED) is not None


def test_hindi_words_are_boxed() -> None:
    """As LibreOffice writes them, with ligatures and signs out of their order."""
    message = mail(HINDI_PDF.read_bytes(), "note.pdf")
    answer, octets = draw(message, "2:note.pdf")
    assert isinstance(answer, Drawn)
    assert answer.boxes == 1
    box = lines_of(picture(octets), BLUE)
    assert box is not None
    assert 15 < box[3] - box[1] < 60


def test_words_that_the_file_does_not_show_get_no_box() -> None:
    """An older revision holds them: they are found, but stand on no page that is drawn."""
    first = pdf(MARKED)
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf(PLAIN))) as document:
        document.save(out)
    message = mail(first + out.getvalue(), "note.pdf")
    answer, _ = draw(message, "2:note.pdf")
    if isinstance(answer, Drawn):
        assert answer.boxes == 0


def test_leaves_in_containers_and_in_mail_in_mail() -> None:
    note = pdf(PLAIN, MARKED)
    inner = zipped(("note.pdf", note))
    message = mail(zipped(("papers.zip", inner)), "all.zip")
    answer, octets = draw(message, "2:all.zip/papers.zip/note.pdf", 2)
    assert isinstance(answer, Drawn)
    assert (answer.boxes, answer.pages) == (1, 2)
    assert take(message, "2:all.zip/papers.zip") == inner
    assert take(message, "2:all.zip/papers.zip/note.pdf") == note
    enclosed = mail(mail(note, "note.pdf"), "first.eml", "message/rfc822")
    paths = [leaf.path for leaf in show(enclosed).leaves if leaf.path.endswith("note.pdf")]
    assert len(paths) >= 1
    answer, _ = draw(enclosed, paths[0], 2)
    assert isinstance(answer, Drawn)
    assert answer.boxes == 1
    assert take(enclosed, paths[0]) == note


def test_a_part_that_a_password_of_the_message_opens_is_drawn_and_given_as_it_came() -> None:
    closed = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf(MARKED))) as document:
        document.save(closed, encryption=pikepdf.Encryption(owner="Saffron-9-Wular", user="Saffron-9-Wular", R=6))
    message = mail(closed.getvalue(), "note.pdf", body="The password is Saffron-9-Wular")
    answer, _ = draw(message, "2:note.pdf")
    assert isinstance(answer, Drawn)
    assert answer.boxes == 1
    assert take(message, "2:note.pdf") == closed.getvalue()
    answer, _ = draw(mail(closed.getvalue(), "note.pdf"), "2:note.pdf")
    assert isinstance(answer, NotDone)
    assert answer.why == "draw"


@pytest.mark.parametrize("size", [(14_000.0, 200.0), (200.0, 14_000.0), (20.0, 20.0), A4])
def test_D07_a_picture_is_never_larger_than_allowed(size: Size) -> None:
    answer, octets = draw(mail(pdf(PLAIN, size=size), "note.pdf"), "2:note.pdf")
    assert isinstance(answer, Drawn)
    assert 0 < answer.width <= showing.WIDEST
    assert 0 < answer.height <= showing.TALLEST
    assert picture(octets).size == (answer.width, answer.height)


def test_a_page_with_a_photograph_keeps_its_colours() -> None:
    photograph = Image.effect_mandelbrot((300, 200), (-2, -1, 1, 1), 60).convert("RGB")
    noise = Image.merge("RGB", [Image.effect_noise((300, 200), 90) for _ in range(3)])

    def page(sheet: canvas.Canvas) -> None:
        MARKED(sheet)
        sheet.drawImage(ImageReader(Image.blend(photograph, noise, 0.7)), 72, 300, 450, 300)

    answer, octets = draw(mail(pdf(page), "note.pdf"), "2:note.pdf")
    assert isinstance(answer, Drawn)
    assert Image.open(io.BytesIO(octets)).mode == "RGB"
    assert lines_of(picture(octets), BLUE) is not None


def test_what_cannot_be_drawn_is_said_in_a_word() -> None:
    message = mail(pdf(PLAIN), "note.pdf")
    assert [getattr(draw(message, "2:note.pdf", page)[0], "why", "") for page in (0, 2, -1)] == ["page"] * 3
    for path in ("", "3", "2:note.pdf/x", "../../etc/passwd", "2:note.pdf\0"):
        answer, octets = draw(message, path)
        assert isinstance(answer, NotDone)
        assert (answer.why, octets) == ("path", b"")
    for data, name in ((b"words", "a.txt"), (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg"), (b"%PDF-1.7 nothing", "a.pdf")):
        answer, octets = draw(mail(data, name), f"2:{name}")
        assert isinstance(answer, NotDone)
        assert answer.why in ("kind", "draw")
    assert set(showing.REASONS) >= {"hash", "tool", "path", "kind", "page", "draw", "late", "large"}


def test_no_time_left_is_said_and_not_waited_for() -> None:
    answer, _ = draw(mail(pdf(PLAIN), "note.pdf"), "2:note.pdf", inspect_cpu=0)
    assert isinstance(answer, NotDone)
    assert answer.why in ("late", "path", "kind")


def test_another_hash_gets_nothing() -> None:
    for request in (Show("n", "00"), Draw("n", "00", "1", 1), Take("n", "00", "1")):
        answer, octets = reader().answer(request, b"From: a@example.gov.in\r\n\r\nwords\r\n")
        assert isinstance(answer, NotDone)
        assert (answer.why, octets) == ("hash", b"")


# --- texts ----------------------------------------------------------------------------------------------------------------


def test_marks_stand_on_their_words() -> None:
    message = mail(pdf(PLAIN, PLAIN, MARKED), "note.pdf", body="To all.\nClassification: RESTRICTED\nPapers enclosed.")
    shown = show(message)
    assert marked_words(shown, "1") == [("RESTRICTED", "certain")]
    assert [word for word, _ in marked_words(shown, "2:note.pdf")] == ["CONFIDENTIAL"]
    (page,) = [one.page for one in shown.passages if one.path == "2:note.pdf" and one.marks]
    assert page == 3
    assert dict(shown.pages)["2:note.pdf"] == 3
    assert shown.cut == ()


def test_hindi_marks_stand_on_their_words() -> None:
    message = mail("कार्यालय ज्ञापन\nगोपनीय\nयह पत्र केवल कार्यालय के लिए है।\n".encode(), "note.txt", "text/plain")
    words = marked_words(show(message), "2:note.txt")
    assert [word for word, _ in words] == ["गोपनीय"]


def test_docx_and_html_are_text_with_marks() -> None:
    for name in ("w.docx", "w.html"):
        if name == "w.docx":
            document = (
                '<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r>'
                "<w:t>CONFIDENTIAL</w:t></w:r></w:p><w:p><w:r><w:t>The committee met.</w:t></w:r></w:p></w:body></w:document>"
            )
            data = zipped(("[Content_Types].xml", b"<Types/>"), ("word/document.xml", document.encode()))
        else:
            data = b"<html><body><p>CONFIDENTIAL</p><img src='http://example.org/x.png'><script>alert(1)</script><p>words</p></body></html>"
        shown = show(mail(data, name))
        assert "CONFIDENTIAL" in [word for word, _ in marked_words(shown, f"2:{name}")]
        assert dict(shown.pages).get(f"2:{name}", 0) == 0


def test_W02_html_and_drawings_come_as_text_only() -> None:
    vectors = {
        "a.html": b"<html><body><p>words</p><img src=x onerror=alert(1)><iframe src='http://example.org/'></iframe></body></html>",
        "a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script><text>words</text></svg>",
    }
    for name, data in vectors.items():
        shown = show(mail(data, name))
        assert any("words" in one.text for one in shown.passages if one.path == f"2:{name}")
        answer, octets = draw(mail(data, name), f"2:{name}")
        assert isinstance(answer, NotDone)
        assert octets == b""


def test_W02_a_pdf_that_would_load_or_run_something_becomes_a_plain_picture() -> None:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf(MARKED))) as document:
        document.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=pikepdf.String("app.launchURL('http://example.org')"))
        document.Root.AA = pikepdf.Dictionary(WC=pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("http://example.org")))
        document.save(out)
    answer, octets = draw(mail(out.getvalue(), "note.pdf"), "2:note.pdf")
    assert isinstance(answer, Drawn)
    assert b"example.org" not in octets
    assert not picture(octets).info.keys() - {"srgb", "gamma", "dpi"}


def test_names_subjects_and_properties_stand_beside() -> None:
    shown = show(mail(b"words", "SECRET plan.txt", "text/plain", subject="CONFIDENTIAL: the plan"))
    zones = {(one.path, one.zone) for one in shown.beside}
    assert ("header:Subject", Zone.SUBJECT) in zones
    assert ("2:SECRET plan.txt", Zone.FILE_NAME) in zones


def test_a_long_leaf_is_cut_and_what_is_marked_behind_the_cut_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.inspector.drawing.MOST_OF_A_LEAF", 1000)
    monkeypatch.setattr("gateway.inspector.drawing.MOST_IN_ALL", 1500)
    long = ("Classification: RESTRICTED\n" + "words of no weight at all\n" * 100 + "Classification: CONFIDENTIAL\n").encode()
    shown = show(mail(long, "a.txt", "text/plain"))
    assert shown.cut == ("2:a.txt",)
    assert sum(len(one.text) for one in shown.passages if one.path == "2:a.txt") == 1000
    assert [word for word, _ in marked_words(shown, "2:a.txt")] == ["RESTRICTED"]
    assert "CONFIDENTIAL" in [one.text for one in shown.beside]
    many = mail(zipped(*((f"{number}.txt", long) for number in range(4))), "a.zip")
    assert sum(len(one.text) for one in show(many).passages) <= 1500
    assert len(show(many).cut) == 4


@pytest.mark.slow
def test_every_mark_of_the_corpus_is_within_its_text() -> None:
    checked = 0
    for file in sorted(CORPUS.iterdir())[::3]:
        if file.suffix in (".py", ".sh"):
            continue
        message = mail(file.read_bytes(), file.name)
        shown = show(message)
        assert shown.sha256 == hashlib.sha256(message).hexdigest()
        for one in shown.passages:
            for mark in one.marks:
                checked += 1
                assert 0 <= mark.start < mark.end <= len(one.text), file
    assert checked > 10


# --- the places themselves ------------------------------------------------------------------------------------------------


def test_places_are_exact_over_many_segments() -> None:
    texts = ["Classification: CONFIDENTIAL", "गोपनीय", "a 😀 line\nClassification: RESTRICTED\nend", "", "nothing"]
    segments = [Segment(one, Zone.BODY) for one in texts]
    findings = scan(segments, "1", scheme())
    stretches, beside = marks.place(segments, findings)
    words = [[segment.text[one.start : one.end] for one in some] for segment, some in zip(segments, stretches, strict=True)]
    assert words == [["CONFIDENTIAL"], ["गोपनीय"], ["RESTRICTED"], [], []]
    assert beside == ()


def test_a_finding_whose_words_are_not_there_has_no_place() -> None:
    segments = [Segment("Classification: CONFIDENTIAL today", Zone.BODY)]
    (found, *_) = scan(segments, "1", scheme())
    for changed in ({"offset": found.offset + 1}, {"offset": 10_000}, {"offset": -5}, {"length": 0}, {"length": 10_000}):
        stretches, beside = marks.place(segments, [structs.replace(found, **changed)])
        assert stretches == ((),)
        assert len(beside) == 1


def test_of_words_over_each_other_the_higher_level_is_marked() -> None:
    segments = [Segment("Classification: TOP SECRET", Zone.BODY)]
    top = next(one for one in scan(segments, "1", scheme()) if one.level.text == "TOP SECRET")
    lower = structs.replace(top, level=top.level - 1, text="SECRET", offset=top.offset + 4, length=6, confidence=Confidence.POSSIBLE)
    stretches, _ = marks.place(segments, [lower, top])
    assert [one.finding.level.text for one in stretches[0]] == ["TOP SECRET"]


# --- octets ---------------------------------------------------------------------------------------------------------------


def test_leaves_are_given_as_they_came() -> None:
    data = bytes(range(256)) * 20
    message = mail(data, "a.bin")
    assert take(message, "2:a.bin") == data
    assert take(message, "1") == b"Papers enclosed."
    assert take(b"From: a@example.gov.in\r\n\r\nwords\r\n", "1") == b"words\r\n"
    assert take(message, "9") == "path"
    rar = next((file for file in sorted((ROOT / "tests").rglob("*.rar"))), None)
    if rar is not None:
        assert take(mail(rar.read_bytes(), "a.rar"), "2:a.rar") == rar.read_bytes()


def test_a_leaf_that_is_too_large_is_not_given_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.inspector.drawing.LARGEST_LEAF", 100)
    assert take(mail(b"x" * 101, "a.bin"), "2:a.bin") == "large"
