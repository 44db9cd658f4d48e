"""The private keys that one message carries, tried on what is encrypted to public keys in it.

What it is: ``Keyring``: keys as readers hand them out and as texts show them, opened by words of the message where a password closes
them, and what they open.
Who calls it: ``content.walk``, when everything else was read.
Must never: let the clock decide what is tried (it counts what each try is said to cost); keep, log or return a key.
Sources: docs/design.md section 10 ("protection.state"): what opens without a secret that is elsewhere is not strong;
hostile-inputs catalogue E05.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.content.joining import failed
from gateway.content.unlocking import Locked, Opened, Trial
from gateway.encryption import secret_keys
from gateway.extraction.base import Budget, StoredKey, ToolFault
from gateway.protection import KEY_GIVEN

CLOSED = "a private key stands in the same message, closed by a password"
_MOST_KEYS = 50
_MOST_TRIES = 2_000
_MOST_TEXT = 2_000_000  # characters of one text


class Keyring:
    """Keys and tries of one message, over all its rounds."""

    __slots__ = ("_closed", "_keys", "_seen", "_spent", "_tried", "_tries")

    def __init__(self) -> None:
        self._keys: list[object] = []
        self._closed: list[StoredKey] = []
        self._seen: set[int] = set()
        """Texts that were looked through, by their hash."""
        self._spent: dict[StoredKey, tuple[float, set[str]]] = {}
        self._tried: dict[tuple[str, int], None] = {}
        self._tries = _MOST_TRIES

    def add(self, keys: Iterable[StoredKey]) -> None:
        """Takes keys that a reader found."""
        for key in keys:
            if len(self._closed) < _MOST_KEYS and key not in self._closed:
                self._closed.append(key)

    @property
    def holds_closed(self) -> bool:
        """Whether a key is left that nothing opened."""
        return any(key.locked for key in self._closed)

    def run(
        self, locked: Sequence[Locked], texts: Iterable[str], candidates: Sequence[str], trial: Trial, budget: Budget
    ) -> tuple[Opened, ...]:
        """What a key of the message opens among *locked*. Raises ToolFault and OverLimit."""
        if not locked:
            return ()
        for text in texts:
            if "KEY" in text and hash(text) not in self._seen:
                self._seen.add(hash(text))
                self.add(secret_keys.in_text(text[:_MOST_TEXT]))
        self._open_keys(candidates, trial, budget)
        opened = [self._try(one, number, budget) for one in locked for number in range(len(self._keys))]
        first: dict[str, Opened] = {}
        for one in opened:
            if one is not None:
                first.setdefault(one.locked.path, one)
        return tuple(first.values())

    def _open_keys(self, candidates: Sequence[str], trial: Trial, budget: Budget) -> None:
        """Opens what can be opened; keys of one owner mostly have one password, so what fits is tried on all."""
        fits: list[str] = []
        for key in tuple(self._closed):
            _, tried = self._spent.setdefault(key, (0.0, set()))
            for word in ("", *fits, *candidates) if key.locked else ("",):
                if word in tried:
                    continue
                if key.locked and not self._afford(key, trial, budget):
                    break
                tried.add(word)
                if keys := key.open(word, budget):
                    self._keys.extend(keys[: _MOST_KEYS - len(self._keys)])
                    self._closed.remove(key)
                    fits.append(word)
                    break

    def _afford(self, key: StoredKey, trial: Trial, budget: Budget) -> bool:
        spent, tried = self._spent[key]
        if not trial.afford(key.seconds, spent, len(tried), budget):
            return False
        self._spent[key] = (spent + key.seconds, tried)
        return True

    def _try(self, one: Locked, number: int, budget: Budget) -> Opened | None:
        if one.key_lock is None or (one.path, number) in self._tried or not self._tries:
            return None
        self._tried[one.path, number] = None
        self._tries -= 1
        try:
            content = one.key_lock.open_with(self._keys[number], budget)
        except ToolFault:
            raise
        except Exception as error:
            return Opened(one, (), failed(error).reason, KEY_GIVEN)
        return Opened(one, content, "", KEY_GIVEN) if content is not None else None
