"""Messages around a piece of content, and what inspection says about it."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import zipfile
from pathlib import Path

from gateway import content
from gateway.config import Limits
from gateway.policy import watching
from gateway.text.markings import Scheme
from gateway.verdict import Inspection, Leaf

CORPUS = Path(__file__).parent / "corpus" / "content"
ROOT = Path(__file__).parents[1]


@functools.cache
def scheme() -> Scheme:
    """The shipped scheme, with topics and domain lists."""
    return watching.load(ROOT / "rules")[0]


def mail(
    data: bytes,
    name: str = "file.bin",
    media_type: str = "application/octet-stream",
    *,
    subject: str = "papers",
    body: str = "Papers enclosed.",
) -> bytes:
    """A message with the one attachment *data*."""
    head = (
        f"From: a@example.gov.in\r\nTo: b@example.gov.in\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\n'
        f"Content-Transfer-Encoding: 8bit\r\n\r\n{body}\r\n"
        f'--b1\r\nContent-Type: {media_type}; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
    )
    return head.encode("utf-8") + base64.encodebytes(data).replace(b"\n", b"\r\n") + b"--b1--\r\n"


def inspect(message: bytes, *, limits: Limits | None = None) -> Inspection:
    """The whole inspection, with texts."""
    digest = hashlib.sha256(message).hexdigest()
    return content.unpack(message, sha256=digest, limits=limits or Limits(), scheme=scheme(), want_text=True)


def attached(
    data: bytes, name: str = "file.bin", media_type: str = "application/octet-stream", *, limits: Limits | None = None
) -> Inspection:
    """The inspection of a message with the attachment *data*."""
    return inspect(mail(data, name, media_type), limits=limits)


def sample(name: str) -> Inspection:
    """The inspection of a message with the corpus file *name* attached."""
    return attached((CORPUS / name).read_bytes(), name)


def leaf(inspection: Inspection, path: str = "") -> Leaf:
    """The leaf of the attachment (part 2), or of the member *path* in it."""
    top = next(one for one in inspection.leaves if one.path.startswith("2"))
    if not path:
        return top
    return next(one for one in inspection.leaves if one.path == f"{top.path}/{path}")


def text(inspection: Inspection) -> str:
    """All text of the attachment and of what is in it."""
    return "\n".join(words for path, words in inspection.texts if path.startswith("2"))


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of *members*."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return out.getvalue()
