"""Frames cut from a stream, however it arrives in pieces."""

from __future__ import annotations

import random

import pytest

from gateway import ipc


class _Taken(ipc._Frames):
    def __init__(self, body_cap: int = 1_000_000) -> None:
        super().__init__(body_cap)
        self.frames: list[tuple[int, bytes, bytes]] = []
        self.aborted = 0

    def abort(self) -> None:
        self.aborted += 1

    def frame_received(self, sequence: int, header: bytes, body: bytes) -> None:
        self.frames.append((sequence, header, body))


def _frame(sequence: int, header: bytes, body: bytes) -> bytes:
    return ipc._PREFIX.pack(sequence, len(header), len(body)) + header + body


FRAMES = [(1, b"head", b""), (2, b"", b"body"), (3, b"h" * 300, bytes(70_000)), (4, b"", b""), (5, b"x", bytes(range(256)) * 9)]
STREAM = b"".join(_frame(*frame) for frame in FRAMES)


@pytest.mark.parametrize("seed", range(20))
def test_frames_are_the_same_however_the_stream_is_cut(seed: int) -> None:
    chance = random.Random(seed)
    taken, start = _Taken(), 0
    while start < len(STREAM):
        size = chance.choice((1, 2, 15, 16, 17, 100, 5_000, 65_536, len(STREAM)))
        taken.data_received(STREAM[start : start + size])
        start += size
    assert taken.frames == FRAMES


def test_more_pieces_than_are_kept_apart() -> None:
    body = bytes(range(256)) * 40
    taken = _Taken()
    for octet in _frame(7, b"h", body) + _frame(8, b"", b"z"):
        taken.data_received(bytes((octet,)))
        assert len(taken._pieces) <= ipc._PIECES + 1
    assert taken.frames == [(7, b"h", body), (8, b"", b"z")]


def test_a_claimed_length_over_the_cap_ends_the_connection() -> None:
    taken = _Taken(body_cap=100)
    taken.data_received(_frame(1, b"h", bytes(100)))
    assert len(taken.frames) == 1
    taken.data_received(ipc._PREFIX.pack(2, 1, 101))
    assert taken.aborted == 1
    assert len(taken.frames) == 1
