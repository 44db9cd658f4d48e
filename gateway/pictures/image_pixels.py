"""The pixels of a picture, grey and of a size that words can be recognised in.

What it is: ``scans`` (which pictures a file holds: pages, frames, appended pictures) and ``decode`` (one of them by Pillow).
Who calls it: ``pictures.image``; ``content.recognition`` through the Scans, within the sandbox.
Must never: decode what its own header, or the file's, says is larger than ``SIDE`` or ``OCTETS`` allow; try any decoder but the one of
the type that the structure proved.
Sources: Pillow's Image.open(formats=), Image.draft; hostile-inputs catalogue D12; docs/inspection.md, OCR.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import struct
import warnings
from collections.abc import Callable, Iterator

from PIL import Image

from gateway.extraction.base import Budget, OverLimit, Picture, Scan, Unreadable

FORMATS = {
    "image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP", "image/bmp": "BMP", "image/tiff": "TIFF",
    "image/jp2": "JPEG2000", "image/avif": "AVIF", "image/x-icon": "ICO",
}  # fmt: skip
"""Types that are decoded, by Pillow's names. Others (HEIC, drawings) have no decoder here."""
OCTETS = 200_000_000
"""Of decoded pixels at most; four for a pixel in colour, one for grey: 50 million pixels are what a good telephone takes."""
SIDE = 30_000
"""Pixels of a side at most; tesseract ends at 32,767."""
FRAMES = 8
"""Frames of an animation that are looked at; one with more is not read in full."""
_LAID_OVER = 12
"""Octets that a pixel of an animation takes while a later frame is laid over those before: the canvas in colour, three times."""
PAGES = 1000
_AREA = 5_000_000
"""Pixels that a larger picture is reduced to: an A4 page at 230 dpi."""
_LEAST = 0.28
"""Reduction at most (of 600 dpi to about 170); a picture that would need more keeps more pixels."""
_SMALL = 1_500_000
"""Pixels under which a picture is doubled: words on screens stand at 96 dpi."""
_RANGE = 60
"""Differences of grey under which a picture is stretched: faint words are words."""

Image.MAX_IMAGE_PIXELS = OCTETS
_WORSE = Image.Resampling.BOX
_SMOOTH = Image.Resampling.BICUBIC


def scans(data: bytes, media_type: str, starts: tuple[int, ...] = (0,)) -> tuple[Scan, ...]:
    """The pictures in the file *data* of *media_type*; *starts*: octets at which whole pictures begin, where there are several."""
    kind = FORMATS.get(media_type)
    if kind is None:
        return ()
    if len(starts) > FRAMES:
        return (*(_scan(data[at:], kind, 0) for at in starts[:FRAMES]), Scan(_too_many))
    if len(starts) > 1:
        return tuple(_scan(data[at:], kind, 0) for at in starts)
    count = _COUNTS[kind](data) if kind in _COUNTS else 1
    if kind == "TIFF":
        if count > PAGES:
            return (Scan(_too_many),)
        return tuple(_scan(data, kind, index, index + 1, count) for index in range(count)) if count > 1 else (_scan(data, kind, 0),)
    if count <= FRAMES:
        return tuple(_scan(data, kind, index) for index in range(max(count, 1)))
    return (*(_scan(data, kind, index) for index in range(FRAMES)), Scan(_too_many))


def _scan(data: bytes, kind: str, index: int, page: int = 0, pages: int = 0) -> Scan:
    return Scan(functools.partial(decode, data, kind, index), page, pages, _pixels(data, kind) if index == 0 else 0)


def _too_many(_: Budget) -> Picture:
    raise OverLimit("it holds more pictures than are looked at")


def _pixels(data: bytes, kind: str) -> int:
    try:
        with _opened(data, kind) as picture:
            return picture.width * picture.height
    except Unreadable:
        return 0


def _opened(data: bytes, kind: str) -> Image.Image:
    """The header only."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=(kind,))
    except Image.DecompressionBombError:
        raise OverLimit("a picture with more pixels than are looked at") from None
    except Exception:  # whatever a decoder makes of a broken header
        raise Unreadable("a picture that cannot be decoded") from None


def decode(data: bytes, kind: str, index: int, budget: Budget) -> Picture:
    """Frame or page *index* of the picture *data*. Raises Unreadable, OverLimit."""
    budget.check_time()
    with _opened(data, kind) as picture, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _check(picture)
            if index:
                width, height = _gif_canvas(data, index) if kind == "GIF" else picture.size
                if kind != "TIFF" and width * height * _LAID_OVER > OCTETS:
                    raise OverLimit("an animation with more pixels than are looked at")
                picture.seek(index)
                _check(picture)
            if kind == "JPEG":
                width, height, scale = picture.width, picture.height, _scale(picture.width, picture.height)
                picture.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
            picture.load()
            _check(picture)
            return _picture(picture)
        except (MemoryError, OverLimit):
            raise
        except Exception:
            raise Unreadable("a picture that cannot be decoded") from None


def _check(picture: Image.Image) -> None:
    width, height = picture.size
    octets = 1 if picture.mode in ("1", "L", "P") else 2 if picture.mode.startswith(("I;16", "LA")) else 4
    if max(width, height) > SIDE or width * height * octets > OCTETS:
        raise OverLimit("a picture with more pixels than are looked at")


def _picture(picture: Image.Image) -> Picture:
    grey = _grey(picture)
    width, height = grey.size
    scale = _scale(width, height)
    if scale != 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        grey = grey.resize(size, _SMOOTH if scale > 1 else _WORSE)
    low, high = _extremes(grey)
    if 8 < high - low < _RANGE:
        grey = grey.point([min(255, max(0, (value - low) * 255 // (high - low))) for value in range(256)])
    return Picture(grey.width, grey.height, grey.tobytes())


def _scale(width: int, height: int) -> float:
    area = width * height
    if area > _AREA:
        return max(_LEAST, math.sqrt(_AREA / area))
    return 2.0 if area < _SMALL and max(width, height) < SIDE // 2 else 1.0


def _extremes(grey: Image.Image) -> tuple[int, int]:
    low, high = grey.getextrema()
    assert isinstance(low, int)
    assert isinstance(high, int)
    return low, high


def _grey(picture: Image.Image) -> Image.Image:
    """As somebody sees it on white; where that shows nothing, the channel that shows most."""
    mode = picture.mode
    if mode.startswith("I") or mode == "F":
        wide = picture.convert("F")
        low, high = (float(value) for value in wide.getextrema() if isinstance(value, (int, float)))
        return wide.point(lambda value: value * (255 / (high - low or 1)) - low * 255 / (high - low or 1)).convert("L")
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        full = picture.convert("RGBA")
        alpha = full.getchannel("A")
        white = Image.new("RGBA", full.size, "white")
        flat = Image.alpha_composite(white, full).convert("RGB")
        return _most((flat.convert("L"), alpha, *flat.split()))
    if mode in ("1", "L"):
        return picture.convert("L")
    colours = picture.convert("RGB")
    return _most((colours.convert("L"), *colours.split()))


def _most(channels: tuple[Image.Image, ...]) -> Image.Image:
    """The first channel, unless it is nearly even and another is not."""
    first = channels[0]
    low, high = _extremes(first)
    if high - low > _RANGE:
        return first
    return max(channels, key=lambda one: _extremes(one)[1] - _extremes(one)[0])


def _gif_places(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, width and height of the pictures between header and trailer, by the blocks; of no more than are looked at, and one."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    count = 0
    while at + 2 <= len(data) and count <= FRAMES:
        if data[at] == 0x2C and at + 10 <= len(data):
            count += 1
            yield struct.unpack_from("<4H", data, at + 1)
            at += 11 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0)
        elif data[at] == 0x21:
            at += 2
        else:
            break
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1


def _gif_frames(data: bytes) -> int:
    return sum(1 for _ in _gif_places(data))


def _gif_canvas(data: bytes, index: int) -> tuple[int, int]:
    """What all frames up to *index* take: one that lies beyond the screen of the header makes it larger for every decoder that follows."""
    width, height = struct.unpack_from("<2H", data, 6)
    for left, top, wide, high in itertools.islice(_gif_places(data), index + 1):
        width, height = max(width, left + wide), max(height, top + high)
    return width, height


def _tiff_pages(data: bytes) -> int:
    order = "<" if data[:2] == b"II" else ">"
    at, count = struct.unpack_from(order + "I", data, 4)[0], 0
    while at and count <= PAGES and at + 2 <= len(data):
        count += 1
        entries = struct.unpack_from(order + "H", data, at)[0]
        if at + 6 + 12 * entries > len(data):
            break
        at = struct.unpack_from(order + "I", data, at + 2 + 12 * entries)[0]
    return count


def _declared_frames(data: bytes, kind: str) -> int:
    try:
        with _opened(data, kind) as picture:
            return int(getattr(picture, "n_frames", 1))
    except Unreadable:
        return 1  # whoever decodes it says why it cannot be


_COUNTS: dict[str, Callable[[bytes], int]] = {
    "GIF": _gif_frames,
    "TIFF": _tiff_pages,
    "PNG": functools.partial(_declared_frames, kind="PNG"),
    "WEBP": functools.partial(_declared_frames, kind="WEBP"),
    "AVIF": functools.partial(_declared_frames, kind="AVIF"),
}
