"""Taking a held message, or one part of it, out of the gateway.

What it is: the route ``POST /held/{id}/download``.
Who calls it: ``application``.
Must never: name a file by anything that the message says; send what a browser could take for a page, a picture or a script (W09).
Sources: hostile-inputs catalogue W09, W14; RFC 6266.
"""

from __future__ import annotations

import re

from fastapi import APIRouter, Form
from fastapi.responses import Response

from gateway import requests
from gateway.review import DownloadLeaf
from gateway.web.door import Refused, Visitor
from gateway.web.item_pages import ItemPage
from gateway.web.secured import DOWNLOAD_CSP
from gateway.web.site import Site

_PART = re.compile(r"[0-9]{1,5}", re.ASCII)


def router(site: Site) -> APIRouter:
    """The route."""
    routes, entered, shows = APIRouter(), site.entered, ItemPage(site)

    @routes.post("/held/{id}/download")
    async def download(id: str, visitor: Visitor = entered, part: str = Form(""), reason: str = Form("")) -> Response:
        """The whole message (*part* empty), or the leaf at that place of the record."""
        item = await shows.item(visitor, id)
        typed = {"part": part[:5], "reason": reason[:4_000]}
        if part and not (_PART.fullmatch(part) and int(part) < len(item["leaves"])):
            raise Refused(requests.Failed("there is no such part in this message", requests.ABSENT))
        path = str(item["leaves"][int(part)]["path"]) if part else ""
        try:
            _, octets = await visitor.answer(DownloadLeaf(str(item["id"]), path, typed["reason"]))
        except Refused as error:
            return await shows.refused(visitor, id, error, "download", typed)
        return Response(octets, headers={
            "content-type": "application/octet-stream", "content-security-policy": DOWNLOAD_CSP,
            "content-disposition": f'attachment; filename="{_name(str(item["reference"]), part)}"',
        })  # fmt: skip

    return routes


def _name(reference: str, part: str) -> str:
    """ASCII letters and digits of the reference alone, and the number of the part, counted from 1."""
    plain = re.sub(r"[^0-9A-Za-z]", "", reference)[:40] or "message"
    return f"{plain}-part-{int(part) + 1}.bin" if part else f"{plain}.eml"
