"""Sessions in the keeper's memory: their two ends, how many there are, and that a token stands nowhere."""

from __future__ import annotations

from gateway.keeper.sessions import Sessions, hash_of


class Now:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def make(each: int = 5) -> tuple[Sessions, Now]:
    now = Now()
    return Sessions(900, 8 * 3600, each, now), now


def test_W04_a_session_ends_when_it_was_idle_for_15_minutes() -> None:
    sessions, now = make()
    key = hash_of(sessions.begin("asha"))
    now.at += 899
    assert sessions.find(key) is not None
    now.at += 899
    assert sessions.find(key) is not None
    now.at += 900
    assert sessions.find(key) is None
    assert len(sessions) == 0


def test_W04_a_session_ends_after_8_hours_whatever_is_done() -> None:
    sessions, now = make()
    key = hash_of(sessions.begin("asha"))
    for _ in range(47):
        now.at += 600
        assert sessions.find(key) is not None
    now.at += 600
    assert sessions.find(key) is None


def test_W04_an_open_page_keeps_no_session_alive() -> None:
    sessions, now = make()
    key = hash_of(sessions.begin("asha"))
    for _ in range(8):
        now.at += 100
        assert sessions.find(key, passive=True) is not None
    now.at += 100
    assert sessions.find(key, passive=True) is None


def test_W04_tokens_are_256_random_bits_and_are_not_kept() -> None:
    sessions, _ = make()
    tokens = {sessions.begin(f"p{number}") for number in range(200)}
    assert len(tokens) == 200
    assert all(len(token) == 43 for token in tokens)
    held = repr(sessions.__dict__)
    assert not any(token in held for token in tokens)


def test_one_person_has_no_more_sessions_than_the_config_says() -> None:
    sessions, now = make(each=2)
    keys = [hash_of(sessions.begin("asha"))]
    other = hash_of(sessions.begin("bina"))
    for _ in range(3):
        now.at += 1
        keys.append(hash_of(sessions.begin("asha")))
    assert [sessions.find(key) is not None for key in keys] == [False, False, True, True]
    assert sessions.find(other) is not None


def test_sessions_that_have_ended_do_not_count() -> None:
    sessions, now = make(each=2)
    first = hash_of(sessions.begin("asha"))
    now.at += 600
    second = hash_of(sessions.begin("asha"))
    now.at += 600  # the first one is over
    third = hash_of(sessions.begin("asha"))
    assert [sessions.find(key) is not None for key in (first, second, third)] == [False, True, True]


def test_all_of_a_person_end_but_the_one_that_is_kept() -> None:
    sessions, _ = make()
    keys = [hash_of(sessions.begin("asha")) for _ in range(3)]
    officer = hash_of(sessions.begin("asha", officer=True))
    assert sessions.end_all("asha", keep=keys[1]) == 2
    assert [sessions.find(key) is not None for key in keys] == [False, True, False]
    assert sessions.find(officer) is not None, "the login of a mailbox is another person's kind of session"
    sessions.end(keys[1])
    sessions.end(keys[1])
    assert sessions.find(keys[1]) is None
