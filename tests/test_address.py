"""The path grammar against the catalogue of hostile inputs, group A."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import NULL_PATH, AddressError, Path, domain_of, matches, parse, within


def code_of(raw: bytes | str, *, smtputf8: bool = True) -> int:
    """The reply code that *raw* earns; 250 when it is a path."""
    try:
        parse(raw.encode() if isinstance(raw, str) else raw, smtputf8=smtputf8)
    except AddressError as error:
        assert error.enhanced == ("5.6.7" if error.code == 550 else "5.1.3")
        assert str(error).isascii()
        assert str(error).endswith(".")
        return error.code
    return 250


def test_plain_addresses() -> None:
    assert parse(b"", smtputf8=False) == NULL_PATH
    assert parse(b"a@gov.in", smtputf8=False) == Path("a", "gov.in")
    assert parse(b"A.b+tag@Sub.GOV.IN", smtputf8=False) == Path("A.b+tag", "sub.gov.in")
    assert parse(b"prvs=1234=a@x.example", smtputf8=False).local == "prvs=1234=a"
    assert parse(b"x@123.example", smtputf8=False).domain == "123.example"
    assert parse(b"x@r3---a.example", smtputf8=False).domain == "r3---a.example"
    assert code_of(b".a@gov.in") == code_of(b"a.@gov.in") == code_of(b"a..b@gov.in") == 501


def test_A01_two_at_signs() -> None:
    assert code_of("user@gov.in@evil.example") == 501


@pytest.mark.parametrize("raw", ["@a.example:user@gov.in", "@gov.in:user@evil.example", "@a.example,@b.example:u@gov.in"])
def test_A02_source_route(raw: str) -> None:
    assert code_of(raw) == 553


@pytest.mark.parametrize("raw", ["@a_b:user@gov.in", "@a.example,b:u@gov.in", "@:u@gov.in", "@a.example:"])
def test_A02_source_route_that_is_none(raw: str) -> None:
    assert code_of(raw) == 501


@pytest.mark.parametrize("raw", ["user%evil.example@gov.in", "evil!user@gov.in", '"user%evil"@gov.in', '"evil!u"@gov.in'])
def test_A03_percent_and_bang(raw: str) -> None:
    assert code_of(raw) == 553


@pytest.mark.parametrize("raw", ['"user@evil.example"@gov.in', '"a>@evil.example,"@gov.in'])
def test_A04_quoted_route(raw: str) -> None:
    assert code_of(raw) == 553


@pytest.mark.parametrize("raw", [r'"x\"@evil.example"@gov.in', r'"a\@b"@gov.in'])
def test_A05_quoted_pairs(raw: str) -> None:
    assert code_of(raw) == 553


@pytest.mark.parametrize("raw", ['"a b"@gov.in', r'"\ "@gov.in', '""@gov.in', '"a..b"@gov.in', '".a"@gov.in'])
def test_A06_quoted_blanks(raw: str) -> None:
    assert code_of(raw) == 553


def test_A06_quoted_dot_atom_is_a_path_and_is_not_rewritten() -> None:
    assert parse(b'"first.last"@gov.in', smtputf8=False) == Path('"first.last"', "gov.in")


@pytest.mark.parametrize("raw", ['"a@gov.in', '"a"b@gov.in', '"a"', '"a"@', '"a\x01"@gov.in'])
def test_A06_quotes_that_are_none(raw: str) -> None:
    assert code_of(raw) == 501


@pytest.mark.parametrize(
    "raw",
    ["user@[127.0.0.1]", "user@[IPv6:::1]", "user@[IPv6:2001:db8::1]", "user@[x400:abc]", "user@2130706433", "user@127.1", "user@1.2.3.4",
     "user@0x7f.0x1", "user@localhost"],
)  # fmt: skip
def test_A07_literals_and_numbers(raw: str) -> None:
    assert code_of(raw) == 553


@pytest.mark.parametrize("raw", ["user@[127.0.0.1", "user@[]", "user@[300.1.1.1]", "user@[IPv6:zz]", "user@[1.2.3.4]x"])
def test_A07_literals_that_are_none(raw: str) -> None:
    assert code_of(raw) == 501


@pytest.mark.parametrize("raw", ["user@gov.in.", "user@gov..in", "user@.gov.in", "user@-gov.in", "user@gov-.in", "user@gov_x.in"])
def test_A08_broken_domains(raw: str) -> None:
    assert code_of(raw) == 501


def test_A09_upper_case_domain_is_the_same_domain() -> None:
    assert parse(b"user@GOV.IN", smtputf8=False) == parse(b"user@gov.in", smtputf8=False)


@pytest.mark.parametrize("domain", ["gov.in.evil.example", "gov.in-evil.example", "evilgov.in", "notgov.in"])
def test_A10_suffix_only_on_a_label_boundary(domain: str) -> None:
    assert parse(f"user@{domain}".encode(), smtputf8=False).domain == domain
    assert not within(domain, "gov.in")


@pytest.mark.parametrize("domain", ["g0v.in", "go\u03bd.in", "g\u043ev.in", "\u0261ov.in"])
def test_A11_look_alikes_keep_their_own_key(domain: str) -> None:
    path = parse(f"user@{domain}".encode(), smtputf8=True)
    assert not within(path.domain, "gov.in")
    assert path.domain.isascii()


@pytest.mark.parametrize(
    "domain",
    ["xn--nonsense-.in", "xn--a.in", "xn--.in", "xn--gov-.in", "xn--ls8h.in", "xn--\u0938.in", "a" * 64 + ".in", ".".join(["a" * 60] * 5),
     "\u0938" * 64 + ".in"],
)  # fmt: skip
def test_A12_invalid_labels(domain: str) -> None:
    assert code_of(f"u@{domain}") == 501


def test_A12_the_a_label_is_the_key() -> None:
    native = parse("u@कर.सरकार.भारत".encode(), smtputf8=True)
    encoded = parse(f"u@{native.domain.upper()}".encode(), smtputf8=False)
    mixed = parse("u@कर.xn--11b7cb3a6a.भारत".encode(), smtputf8=True)
    assert native == encoded == mixed
    assert within(native.domain, "xn--11b7cb3a6a.xn--h2brj9c")


@pytest.mark.parametrize(
    "domain", ["gov\u3002in", "gov\uff0ein", "ⓖov.in", "gov.in\u2024x", "ＧＯＶ.in", "GÖV.in", "go\u0301v\u0301\u00ad.in"]
)
@pytest.mark.parametrize("smtputf8", [True, False])
def test_A13_no_compatibility_mapping(domain: str, smtputf8: bool) -> None:
    assert code_of(f"user@{domain}", smtputf8=smtputf8) == 501


@pytest.mark.parametrize("c", ["\u200d", "\u200c", "\u200f", "\u202e", "\u00a0", "\t", " ", "\u2028", "\ufeff"])
def test_A14_invisible_characters(c: str) -> None:
    assert code_of(f"user@gov.in{c}") == 501
    assert code_of(f"user@gov{c}.in") == 501
    assert code_of(f"us{c}er@gov.in") == 501


def test_A14_a_joiner_after_a_virama_is_spelling() -> None:
    assert parse("क्\u200dष@gov.in".encode(), smtputf8=True).local == "क्\u200dष"


@pytest.mark.parametrize(
    "raw", [b"user@gov.in\0.evil.example", b"u\0@gov.in", b"user@gov.in\r", b"\tuser@gov.in", b"u\n@gov.in", b"u\x7f@gov.in"]
)
def test_A15_controls(raw: bytes) -> None:
    assert code_of(raw) == 501


def test_A16_no_domain() -> None:
    assert code_of("user") == code_of("@gov.in") == code_of("user@") == code_of("@") == 501
    assert parse(b"PostMaster", smtputf8=False) == Path("PostMaster", "")


def test_A17_lengths() -> None:
    assert code_of("a" * 64 + "@gov.in") == 250
    assert code_of("a" * 65 + "@gov.in") == code_of("a" * 1000 + "@gov.in") == code_of("a" * 100_000 + "@gov.in") == 501
    assert code_of("a@" + "b" * 300 + ".in") == code_of("a@" + "b." * 150 + "in") == 501
    assert code_of("\u0938" * 22 + "@gov.in") == 501


@pytest.mark.parametrize("raw", ["(comment)user@gov.in", "user@(c)gov.in", "user@gov.in(c)"])
def test_A18_comments(raw: str) -> None:
    assert code_of(raw) == 501


@pytest.mark.parametrize("raw", ["a@gov.in>,<b@evil.example", "Grp:<a@gov.in>;", "Grp:a@gov.in;", "a@gov.in,b@evil.example"])
def test_A19_lists_and_groups(raw: str) -> None:
    assert code_of(raw) == 501


@pytest.mark.parametrize("raw", ["a@gov.in,evil.example", "a@gov.in;evil.example"])
def test_A20_trailing_rest(raw: str) -> None:
    assert code_of(raw) == 501


def test_A21_the_local_part_is_kept_as_sent() -> None:
    assert parse(b"User+X.y@gov.in", smtputf8=False).text == "User+X.y@gov.in"
    assert parse(b"USER@gov.in", smtputf8=False) != parse(b"user@gov.in", smtputf8=False)


def test_A26_closing_bracket_of_a_comment() -> None:
    assert code_of("alice@gov.in)bob@evil.example") == 501


def test_internationalized_without_smtputf8() -> None:
    assert code_of("u@सरकार.भारत", smtputf8=False) == 550
    assert code_of("सचिव@gov.in", smtputf8=False) == 550
    assert code_of("सचिव@gov.in") == 250
    assert code_of(b"\xff@gov.in") == 501


G, T, F = "gov.in", True, False
A33 = [
    # domain, pattern, within, matches
    ("gov.in", G, T, T), ("x.gov.in", G, T, F), ("a.b.gov.in", G, T, F), ("xgov.in", G, F, F), ("gov.in.evil", G, F, F),
    ("in", G, F, F), ("", G, F, F), ("GOV.IN", G, T, T), ("x.GOV.in", G, T, F), ("gov.inn", G, F, F),
    ("gov-in", G, F, F), ("gov.in-evil", G, F, F), ("-gov.in", G, F, F), (".gov.in", G, T, F), ("gov.co.in", G, F, F),
    ("gov.in", "*.gov.in", F, F), ("x.gov.in", "*.gov.in", F, T), ("a.b.gov.in", "*.gov.in", F, T), ("xgov.in", "*.gov.in", F, F),
    ("gov.in.evil", "*.gov.in", F, F), ("x.gov.in.evil", "*.gov.in", F, F), ("X.GOV.IN", "*.gov.in", F, T), (".gov.in", "*.gov.in", F, F),
    ("", "*.gov.in", F, F), ("in", "*.gov.in", F, F),
    ("gov.in", ".gov.in", F, F), ("x.gov.in", ".gov.in", F, T), ("a.b.gov.in", ".gov.in", F, T), ("xgov.in", ".gov.in", F, F),
    ("gov.in.evil", ".gov.in", F, F), (".gov.in", ".gov.in", F, F), ("x.GOV.in", ".gov.IN", F, T), ("", ".gov.in", F, F),
    ("gov.in", "*", F, T), ("x", "*", F, T), ("", "*", F, F), ("a.b.c", "*", F, T),
    ("gov.in", "", F, F), ("", "", F, F), ("x.gov.in", "", F, F), ("x", ".", F, F), ("x.", ".", F, F), ("gov.in", "*.", F, F),
    ("gov.in", "in", T, F), ("in", "in", T, T), ("evilin", "in", F, F), ("x.in", ".in", F, T), ("in", ".in", F, F),
    ("gov.in.evil", "evil", T, F), ("gov.in.evil", "gov.in.evil", T, T), ("gov.in", "x.gov.in", F, F), ("y.gov.in", "x.gov.in", F, F),
    ("y.x.gov.in", "x.gov.in", T, F), ("yx.gov.in", "x.gov.in", F, F), ("y.x.gov.in", "*.x.gov.in", F, T), ("gov.in", "GOV.IN", T, T),
    ("nic.in", G, F, F), ("xn--h2brj9c", "xn--h2brj9c", T, T), ("xn--11b7cb3a6a.xn--h2brj9c", "xn--h2brj9c", T, F),
    ("x.xn--11b7cb3a6a.xn--h2brj9c", "*.xn--11b7cb3a6a.xn--h2brj9c", F, T),
]  # fmt: skip


def test_A33_table_of_sixty_pairs() -> None:
    assert len(A33) == 60
    for domain, pattern, is_within, is_match in A33:
        assert within(domain, pattern) is is_within, (domain, pattern)
        assert matches(domain, pattern) is is_match, (domain, pattern)


def test_domain_of() -> None:
    assert domain_of("सरकार.भारत") == "xn--11b7cb3a6a.xn--h2brj9c"
    assert domain_of("GOV.in") == "gov.in"
    for text in ("", "a@gov.in", "localhost", "1.2.3.4", "gov.in.", "*.gov.in"):
        with pytest.raises(AddressError):
            domain_of(text)


_pieces = st.sampled_from(
    ["a", "B", "@", ".", "gov.in", '"', "\\", "%", "!", "[", "]", ":", "xn--", "सरकार", "\u200d", "\0", "\u3002", " ", "-", "1"]
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.lists(_pieces, max_size=12).map(lambda parts: "".join(parts).encode())), st.booleans())
def test_parse_returns_a_path_or_raises_its_one_error(raw: bytes, smtputf8: bool) -> None:
    try:
        path = parse(raw, smtputf8=smtputf8)
    except AddressError:
        return
    assert path.domain.isascii()
    assert path.domain == path.domain.lower()
    if path.domain:
        again = parse(path.text.encode(), smtputf8=True)
        assert again == path
        assert raw.rpartition(b"@")[0] == path.local.encode()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_domain_of_returns_a_label_or_raises_its_one_error(text: str) -> None:
    try:
        name = domain_of(text)
    except AddressError:
        return
    assert domain_of(name) == name
