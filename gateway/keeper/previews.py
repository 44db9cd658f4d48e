"""The content of held mail, for people who may see it: text with its marks, pages as pictures, downloads.

What it is: ``Previews``, the answers to ``ShowContent``, ``ShowPage`` and ``DownloadLeaf``.
Who calls it: ``reception``, through its table.
Must never: show anything of sealed mail; open a format: the inspector does, from octets whose hash was proved here; give content away
before it stands in the decision log who got it; keep anything that is shown outside of memory.
Sources: docs/design.md sections 2 and 6; hostile-inputs catalogue W02, W05, W09.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from gateway.keeper import content_rows
from gateway.keeper.access import Who
from gateway.keeper.exceptions import Wrong
from gateway.keeper.held import OPEN, HeldMail, Item, needed
from gateway.keeper.inspecting import InspectorLink
from gateway.keeper.recent import Recent
from gateway.keeper.reception import Table
from gateway.policy import Policy
from gateway.requests import Rows
from gateway.review import DownloadLeaf, ShowContent, ShowPage
from gateway.roles import Act
from gateway.showing import Drawn, Shown
from gateway.stores.base import Batch

ROOM = 64_000_000
"""Octets of pictures and texts that are kept in memory for who looks again."""
KEEP = 900.0
"""Seconds that they are kept."""
VIEWED = 600.0
"""Seconds in which one person looking at one item in one session is one line of the log."""
_VIEWS = 20_000
_LONGEST_PATH = 8_000  # characters
_MOST_PAGES = 20_000
_SEALED = "this message is sealed to the security officer; the gateway cannot open it"
_BIG = 262_144  # octets from which a hash is made in a thread
_NOT_ASCII = re.compile(r"[^0-9A-Za-z]")


class Previews:
    """See the module. *policy* gives the policy now in force."""

    def __init__(
        self, mail: HeldMail, inspector: InspectorLink, policy: Callable[[], Policy], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._mail = mail
        self._inspector = inspector
        self._policy = policy
        self._clock = clock
        self._recent: Recent[Any] = Recent(ROOM, KEEP, clock)
        self._viewed: OrderedDict[tuple[str, bytes, str], float] = OrderedDict()

    def table(self) -> Table:
        """What it answers, and the act that it needs."""
        return {
            ShowContent: (Act.CONTENT, self._show), ShowPage: (Act.CONTENT, self._page), DownloadLeaf: (Act.CONTENT, self._download),
        }  # fmt: skip

    # --- the requests -------------------------------------------------------------------------------------------------

    async def _show(self, request: ShowContent, who: Who) -> Rows:
        item = await self._item(request.id, who)
        content = await self._mail.content(item.hold)
        key = ("text", item.hold.sha256, self._policy().version)
        shown: Shown | None = self._recent.get(key)
        if shown is None:
            shown = await self._inspector.show(item.hold.sha256, content)
            self._recent.put(key, shown, sum(4 * len(one.text) + 300 for one in shown.passages) + 500 * len(shown.leaves))
        row = content_rows.row(shown, content, item.details, self._mail.vault.words_hash, self._policy().scheme.label_headers)
        await self._record_view(item, who)
        return Rows((row | {"id": item.hold.id, "reference": item.hold.reference},))

    async def _page(self, request: ShowPage, who: Who) -> tuple[Rows, bytes]:
        item = await self._item(request.id, who)
        if not 1 <= request.page <= _MOST_PAGES or not 0 < len(request.path) <= _LONGEST_PATH:
            raise Wrong("there is no such page", 1)
        key = ("page", item.hold.sha256, request.path, request.page, self._policy().version)
        kept: tuple[Drawn, bytes] | None = self._recent.get(key)
        if kept is None or item.hold.state not in OPEN:  # of a finished one the content may have been destroyed meanwhile
            content = await self._mail.content(item.hold)
            if kept is None:
                kept = await self._inspector.draw(item.hold.sha256, content, request.path, request.page)
                self._recent.put(key, kept, len(kept[1]) + 500)
        drawn, octets = kept
        await self._record_view(item, who)
        row = {"media_type": "image/png", "pages": drawn.pages, "width": drawn.width, "height": drawn.height, "boxes": drawn.boxes}
        return Rows((row,)), octets

    async def _download(self, request: DownloadLeaf, who: Who) -> tuple[Rows, bytes]:
        reason = needed(request.reason)
        if len(request.path) > _LONGEST_PATH:
            raise Wrong("there is no such part in this message", 1)
        item = await self._item(request.id, who)
        content, name = await self._mail.content(item.hold), f"{_NOT_ASCII.sub('', item.hold.reference)}.eml"
        if request.path:
            content = await self._inspector.take(item.hold.sha256, content, request.path)
            name = f"{_NOT_ASCII.sub('', item.hold.reference)}-part.bin"
        digest = _digest(content) if len(content) < _BIG else await asyncio.to_thread(_digest, content)
        path = self._mail.vault.words_hash(request.path) if request.path else ""
        log = self._mail.events(
            "content-downloaded", item, ("",), who, reason, kind="access", content_sha256=digest, size=len(content), path_hash=path
        )
        await self._mail.write(Batch(audit=log))
        return Rows(({"name": name, "media_type": "application/octet-stream", "size": len(content), "sha256": digest},)), content

    # --- the parts ----------------------------------------------------------------------------------------------------

    async def _item(self, id: str, who: Who) -> Item:
        """Raises Absent, Forbidden, Wrong, StoreError."""
        item = await self._mail.item(id, who, Act.CONTENT, opened=False)
        if item.hold.sealed:
            raise Wrong(_SEALED, 1)
        return item

    async def _record_view(self, item: Item, who: Who) -> None:
        """Once in a while for each person, session and item; raises StoreError, and then nothing is shown."""
        now, key = self._clock(), (who.name, who.session, item.hold.id)
        if self._viewed.get(key, float("-inf")) > now - VIEWED:
            return
        await self._mail.write(Batch(audit=self._mail.events("content-viewed", item, ("",), who, "", kind="access")))
        self._viewed[key] = now
        self._viewed.move_to_end(key)
        while len(self._viewed) > _VIEWS or next(iter(self._viewed.values())) <= now - VIEWED:
            self._viewed.popitem(last=False)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
