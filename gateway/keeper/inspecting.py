"""The keeper's end of the channel to the inspector, which shows it what stands in a held message.

What it is: ``InspectorLink``: one request on a connection of its own, its answer proved to be for it.
Who calls it: ``previews``.
Must never: take an answer that quotes another nonce or another hash; repeat a word that the inspector wrote as if it were ours; take
more octets than were agreed; hold up mail: few requests are under way at once.
Sources: docs/design.md section 2; hostile-inputs catalogue W02, 4.1 rules 5 and 6.
"""

from __future__ import annotations

import asyncio
import secrets

from gateway import logs, rights
from gateway.config import Config
from gateway.ipc import Channel, ChannelError
from gateway.keeper.exceptions import Wrong
from gateway.showing import (
    LARGEST_LEAF,
    LARGEST_PICTURE,
    MOST_IN_ALL,
    PNG,
    REASONS,
    TALLEST,
    WIDEST,
    Draw,
    Drawn,
    NotDone,
    Show,
    ShowAnswer,
    Shown,
    Take,
    Taken,
)

_TRIES = 2
"""A worker that ends takes a question with it, which says nothing about the message; two in a row do."""
_AWAY = "the inspector does not answer at present, so the content cannot be shown; please try again in a minute"
_DIED = "the content cannot be shown: reading it ended the process that reads it"
_log = logs.get("quarantine")


class InspectorLink:
    """The inspector, as the keeper sees it."""

    def __init__(self, config: Config) -> None:
        self._path = rights.place(config.run_dir, "inspector-keeper.sock")
        self._seconds = config.limits.pipeline
        self._slots = asyncio.Semaphore(max(1, config.limits.inspectors // 2))  # the other half is for mail

    async def show(self, sha256: str, message: bytes) -> Shown:
        """What is there to read in *message*. Raises Wrong."""
        answer, _ = await self._ask(Show(secrets.token_hex(16), sha256), message, 0)
        if not isinstance(answer, Shown) or sum(len(one.text) for one in answer.passages) > MOST_IN_ALL:
            raise self._void()
        return answer

    async def draw(self, sha256: str, message: bytes, path: str, page: int) -> tuple[Drawn, bytes]:
        """A page as a PNG. Raises Wrong."""
        answer, octets = await self._ask(Draw(secrets.token_hex(16), sha256, path, page), message, LARGEST_PICTURE)
        if not isinstance(answer, Drawn) or not _is_picture(octets, answer):
            raise self._void()
        return answer, octets

    async def take(self, sha256: str, message: bytes, path: str) -> bytes:
        """The octets of a leaf. Raises Wrong."""
        answer, octets = await self._ask(Take(secrets.token_hex(16), sha256, path), message, LARGEST_LEAF)
        if not isinstance(answer, Taken):
            raise self._void()
        return octets

    async def _ask(self, request: Show | Draw | Take, message: bytes, most: int) -> tuple[Shown | Drawn | Taken, bytes]:
        async with self._slots:
            for _ in range(_TRIES):
                try:
                    channel = await Channel.connect(self._path, ShowAnswer, most)
                except ChannelError as error:
                    raise Wrong(_AWAY, 3) from error
                try:
                    async with asyncio.timeout(self._seconds):
                        answer, octets = await channel.call(request, message)
                except ChannelError:
                    continue
                except TimeoutError as error:
                    raise Wrong(_AWAY, 3) from error
                finally:
                    channel.close()
                if (answer.nonce, answer.sha256) != (request.nonce, request.sha256):
                    raise self._void()
                if isinstance(answer, NotDone):
                    raise Wrong(REASONS.get(answer.why, REASONS["draw"]), 3 if answer.why in ("hash", "tool") else 1)
                return answer, octets
        raise Wrong(_DIED, 3)

    def _void(self) -> Wrong:
        _log.error("the inspector answered another question than was asked")
        return Wrong(_AWAY, 3)


def _is_picture(octets: bytes, said: Drawn) -> bool:
    """Whether *octets* begin as a PNG of the size that was said and allowed; what is in it the browser finds out."""
    if not octets.startswith(PNG) or octets[12:16] != b"IHDR" or len(octets) > LARGEST_PICTURE:
        return False
    width, height = int.from_bytes(octets[16:20]), int.from_bytes(octets[20:24])
    return (width, height) == (said.width, said.height) and 0 < width <= WIDEST and 0 < height <= TALLEST and said.pages > 0
