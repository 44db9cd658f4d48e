"""Pixels of pictures: what is decoded, and what never is (hostile-inputs catalogue D12)."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from gateway.config import Limits
from gateway.extraction.base import Budget, OverLimit, Picture, Unreadable
from gateway.pictures import image, image_pixels
from gateway.verdict import LeafState
from tests.content_mail import attached, leaf

SCANS = Path(__file__).parent / "fixtures" / "scans"


def saved(kind: str, picture: Image.Image | None = None, **how: object) -> bytes:
    out = io.BytesIO()
    (picture or Image.new("L", (300, 200), 255)).save(out, kind, **how)
    return out.getvalue()


def rendered(data: bytes, media_type: str, starts: tuple[int, ...] = (0,)) -> list[Picture]:
    return [scan.render(Budget(Limits())) for scan in image_pixels.scans(data, media_type, starts)]


def png(width: int, height: int, content: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def bombs() -> dict[str, tuple[bytes, str]]:
    """50,000 by 50,000 pixels in a few octets."""
    jpeg = bytearray(saved("JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 50_000, 50_000)
    gif = bytearray(saved("GIF"))
    gif[6:10] = struct.pack("<HH", 50_000, 50_000)
    tiff = bytearray(saved("TIFF"))
    directory = struct.unpack_from("<I", tiff, 4)[0]
    for entry in range(struct.unpack_from("<H", tiff, directory)[0]):
        place = directory + 2 + 12 * entry
        if struct.unpack_from("<H", tiff, place)[0] in (256, 257):
            struct.pack_into("<HII", tiff, place + 2, 4, 1, 50_000)
    webp = bytearray(saved("WEBP", lossless=True))
    webp[21:25] = struct.pack("<I", (16_382) | (16_382) << 14)
    bmp = bytearray(saved("BMP"))
    bmp[18:26] = struct.pack("<ii", 50_000, 50_000)
    return {
        "png": (png(50_000, 50_000, bytes(2_000_000)), "image/png"),
        "jpeg": (bytes(jpeg), "image/jpeg"),
        "gif": (bytes(gif), "image/gif"),
        "tiff": (bytes(tiff), "image/tiff"),
        "webp": (bytes(webp), "image/webp"),
        "bmp": (bytes(bmp), "image/bmp"),
    }


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "tiff", "webp", "bmp"])
def test_D12_a_pixel_bomb_is_never_decoded(kind: str) -> None:
    data, media_type = bombs()[kind]
    start = time.process_time()
    with pytest.raises((OverLimit, Unreadable)) as caught:
        rendered(data, media_type)
    assert time.process_time() - start < 0.5
    if kind != "webp":  # its decoder compares the header with the data first
        assert isinstance(caught.value, OverLimit)


def test_D12_a_directory_of_a_tiff_that_leads_back_to_itself() -> None:
    data = bytearray(saved("TIFF"))
    directory = struct.unpack_from("<I", data, 4)[0]
    end = directory + 2 + 12 * struct.unpack_from("<H", data, directory)[0]
    data[end : end + 4] = struct.pack("<I", directory)
    found = leaf(attached(bytes(data), "a.tif", "image/tiff"))
    assert (found.state, found.reason) == (LeafState.SUSPECT, "a picture with broken directories")
    start = time.process_time()
    assert len(image_pixels.scans(bytes(data), "image/tiff")) <= image_pixels.PAGES
    assert time.process_time() - start < 1


def test_D12_a_picture_that_lies_about_its_size_is_not_read() -> None:
    with pytest.raises(Unreadable):
        rendered(png(400, 400, bytes(1000)), "image/png")


@pytest.mark.parametrize(("media_type", "kind"), [item for item in image_pixels.FORMATS.items() if item[1] != "ICO"])
def test_every_format_is_decoded(media_type: str, kind: str) -> None:
    picture = Image.new("L", (300, 200), 255)
    picture.paste(0, (50, 50, 100, 100))
    (found,) = rendered(saved(kind, picture.convert("RGB")), media_type)
    assert (found.width, found.height) == (600, 400)  # doubled: a picture for screens
    assert len(found.grey) == 600 * 400
    assert found.grey[150 * 600 + 150] < 30
    assert found.grey[300 * 600 + 500] > 225


@pytest.mark.parametrize(("size", "wanted"), [((2480, 3508), 5_000_000), ((1654, 2339), 1654 * 2339), ((400, 100), 160_000)])
def test_sizes(size: tuple[int, int], wanted: int) -> None:
    for kind in ("PNG", "JPEG"):
        (found,) = rendered(saved(kind, Image.new("L", size, 255)), f"image/{kind.lower()}")
        assert abs(found.width * found.height - wanted) < wanted / 50


def test_a_picture_is_not_reduced_until_its_words_are_gone() -> None:
    assert image_pixels._scale(9000, 9000) == pytest.approx(0.28)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_becomes_grey(mode: str) -> None:
    picture = Image.new("L", (300, 200), 255)
    picture.paste(0, (50, 50, 100, 100))
    if mode == "I;16":
        wide = Image.frombytes("I;16", (300, 200), b"".join(struct.pack("<H", value * 257) for value in picture.tobytes()))
        data = saved("TIFF", wide)
    else:
        data = saved("TIFF", picture.convert(mode))
    (found,) = rendered(data, "image/tiff")
    assert found.grey[150 * 600 + 150] < 30
    assert found.grey[300 * 600 + 500] > 225


def test_words_that_only_a_colour_or_the_transparency_shows() -> None:
    for name in ("equal-brightness.png", "white-on-nothing.png"):
        (found,) = rendered((SCANS / name).read_bytes(), "image/png")
        assert max(found.grey) - min(found.grey) > 100


def test_pages_frames_and_appended_pictures() -> None:
    pages = image_pixels.scans((SCANS / "three-pages.tif").read_bytes(), "image/tiff")
    assert [(scan.page, scan.pages) for scan in pages] == [(1, 3), (2, 3), (3, 3)]
    assert len({scan.render(Budget(Limits())).height for scan in pages}) == 3
    assert len(image_pixels.scans((SCANS / "second-frame.gif").read_bytes(), "image/gif")) == 2
    many = image_pixels.scans((SCANS / "many-frames.gif").read_bytes(), "image/gif")
    assert len(many) == image_pixels.FRAMES + 1
    with pytest.raises(OverLimit):
        many[-1].render(Budget(Limits()))
    first, second = (saved("JPEG", Image.new("L", (80, 60), shade)) for shade in (0, 255))
    assert image.jpegs(first + second, image.Words()) == [0, len(first), len(first) + len(second)]
    shown = rendered(first + second, "image/jpeg", (0, len(first)))
    assert [picture.grey[0] > 127 for picture in shown] == [False, True]


def test_what_has_no_decoder_hands_out_nothing() -> None:
    assert image_pixels.scans(b"x", "image/heic") == ()
    assert image_pixels.scans(b"x", "video/mp4") == ()


@pytest.mark.parametrize("media_type", image_pixels.FORMATS)
@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\xff\xd8\xff\xe0" + bytes(50), b"II*\x00\x08\x00\x00\x00\xff\xff"])
def test_rubbish_is_unreadable(media_type: str, data: bytes) -> None:
    try:
        scans = image_pixels.scans(data, media_type)
    except (Unreadable, struct.error, IndexError):
        return
    for scan in scans[:3]:
        with pytest.raises(Unreadable):
            scan.render(Budget(Limits()))


def test_D12_a_frame_far_beyond_the_screen_is_not_laid_over_the_ones_before() -> None:
    data = bytearray((SCANS / "second-frame.gif").read_bytes())
    first, second = image_pixels.scans(bytes(data), "image/gif")
    assert second.render(Budget(Limits())).height
    places = list(image_pixels._gif_places(bytes(data)))
    at = data.rindex(b"\x2c" + struct.pack("<4H", *places[1]))
    struct.pack_into("<2H", data, at + 1, 18_505, 21_060)
    first, second = image_pixels.scans(bytes(data), "image/gif")
    assert first.render(Budget(Limits())).height
    start = time.process_time()
    with pytest.raises(OverLimit):
        second.render(Budget(Limits()))
    assert time.process_time() - start < 0.5
