"""Cards, bank accounts and passports in texts: what is seen, what is not; checksums against python-stdnum; linear time."""

from __future__ import annotations

import random
import time

import pytest
from stdnum import luhn, verhoeff
from stdnum.in_ import aadhaar as stdnum_aadhaar
from stdnum.in_ import pan as stdnum_pan

from gateway.text import identifiers, passports, payments
from gateway.text.normalise import normalise
from gateway.text.observing import Observer
from gateway.verdict import Zone
from tests.content_mail import mail
from tests.test_observing import aadhaar, door, kinds, scheme, spaced, unpacked, workbook


def card(prefix: str, length: int, seed: int = 1) -> str:
    """A made-up card number with a right checksum."""
    body = prefix + "".join(random.Random(seed).choices("0123456789", k=length - len(prefix) - 1))
    return body + luhn.calc_check_digit(body)


def seen(text: str, kind: str) -> int:
    """How many different ones of *kind* stand in the body *text*."""
    return sum(count for _, _, count in kinds(door(text), kind))


def fours(number: str, gap: str = " ") -> str:
    return gap.join(number[at : at + 4] for at in range(0, len(number), 4))


VISA, MASTER, RUPAY, AMEX = card("4", 16), card("5412", 16), card("6521", 16), card("37", 15)


class TestCards:
    @pytest.mark.parametrize("text", [
        f"Card no. {fours(VISA)} valid thru 12/29",
        f"debit card {VISA}",
        f"RuPay: {fours(RUPAY, '-')}",
        f"the master card {MASTER} of the office",
        f"Amex {AMEX[:4]} {AMEX[4:10]} {AMEX[10:]}",
        f"card no. {fours(VISA, chr(0xA0))}",
        f"{fours(MASTER)} is the credit card of the cashier",
        f"कार्ड संख्या {fours(RUPAY)}",
        f"The cashier's card is with the section. It was used twice in March for the canteen, see {fours(VISA)} there and below",
        "card " + "".join(chr(0x966 + int(digit)) for digit in VISA),
    ])  # fmt: skip
    def test_a_card_by_its_word(self, text: str) -> None:
        assert seen(text, "card") == 1

    @pytest.mark.parametrize("text", [
        f"Reference {VISA} of the file",
        f"Card no. {VISA[:-1]}{(int(VISA[-1]) + 1) % 10}",
        f"card {card('9', 16)}",
        f"credit card: IMEI {card('35', 15)}",
        f"tracking {fours(VISA)} by card",
        "card no. 4444 4444 4444 4444",
        "card of 12.03.2026, order 1234567890123456 was shipped",
        "credit of Rs 41,11,11,11,11,11,111 to the card",
        f"card +{VISA}",
        f"card 1.{VISA}",
    ])  # fmt: skip
    def test_no_card(self, text: str) -> None:
        assert seen(text, "card") == 0

    def test_a_list_of_cards_needs_no_word_and_a_list_of_numbers_is_none(self) -> None:
        cards = [card(("4", "5412", "6521")[n % 3], 16, n) for n in range(12)]
        assert seen("Issued:\n" + "\n".join(f"{n}. {number}" for n, number in enumerate(cards)), "card") == 12
        numbers = random.Random(9)
        others = ["4" + "".join(numbers.choices("0123456789", k=15)) for _ in range(200)]
        assert seen("Issued:\n" + "\n".join(f"the number of this day: {number}" for number in others), "card") == 0

    def test_an_aadhaar_number_or_a_virtual_id_is_no_card(self) -> None:
        assert seen(f"Aadhaar {spaced(aadhaar(3))} of the card holder", "card") == 0


class TestAccounts:
    @pytest.mark.parametrize(("text", "count"), [
        ("A/c No. 30512345678, IFSC SBIN0001234", 1),
        ("IFSC: HDFC0000123\nAccount: 50100123456789\n", 1),
        ("Bank: SBI\nAccount number is 30512345678\n", 1),
        ("Savings a/c no:30512345678 at the bank in Shimla", 1),
        ("Sl,Name,Account,IFSC\n" + "".join(f"{n},Ram,3051234567{n},SBIN000123{n}\n" for n in range(9)), 9),
        ("Name\tIFSC\tAccount\nRam\tSBIN0001234\t30512345678\nHari\tPUNB0123400\t0123000100123456\n", 2),
        ("Ram, mobile 9876543210, 30512345678, SBIN0001234", 1),
        ("बैंक खाता संख्या 30512345678, भारतीय स्टेट बैंक", 1),
        ("बैंक खाता संख्या: ३०५१२३४५६७८", 1),
        ("Account no. 1234 5678 9012 3456 with the bank", 1),
    ])  # fmt: skip
    def test_accounts(self, text: str, count: int) -> None:
        assert seen(text, "bank-account") == count

    @pytest.mark.parametrize("text", [
        "Consumer account 123456789 of the electricity board",
        "The account of 2025 stands at 30512345678 in the ledger of the bank",
        "Mobile 9876543210, IFSC SBIN0001234",
        "IFSC SBIN0001234 of the branch, phone 01772656789",
        "Our account of the events: 123456789 people went to the bank of the river",
        "user account 12345 at the bank",
        "mail abcd0123456@bank.example with 30512345678",
        "Rs 30512345678 was credited to the bank",
    ])  # fmt: skip
    def test_no_account(self, text: str) -> None:
        if "phone" in text:
            assert seen(text, "bank-account") == 0, "a telephone"
        assert seen(text, "bank-account") == 0

    def test_an_aadhaar_number_in_the_row_is_not_the_account(self) -> None:
        number = aadhaar(8)
        text = f"Name,Aadhaar,Account,IFSC\nRam,{number},30512345678,SBIN0001234\n"
        found: list[str] = [value for value, _ in payments.accounts(normalise(text).text)]
        assert found == ["30512345678"]


class TestPassports:
    @pytest.mark.parametrize(("text", "count"), [
        ("Passport No. M1234567", 1), ("passport number: k 76 54321", 1), ("पासपोर्ट नं. K2345678", 1), ("M1234567 is his passport.", 1),
        ("Passports\nRam\tM1234567\nShyam\tK7654321\nHari\tP2345678\n" + "Mohan\tR1112223\n" * 2, 4),
        ("Passport no.M1234567 and old passport no.K7654321", 2),
    ])  # fmt: skip
    def test_passports(self, text: str, count: int) -> None:
        assert seen(text, "passport") == count

    @pytest.mark.parametrize("text", [
        "File M1234567 of the section", "Passport office, file M1234567", "passport Q1234567", "passport X1234567", "passport Z1234567",
                "passport M0234567", "passport M12345678", "passport AM1234567",
        "He has a passport; the train leaves at ten, with PNR M1234567 booked",
    ])  # fmt: skip
    def test_no_passport(self, text: str) -> None:
        assert seen(text, "passport") == 0


class TestAadhaarOverLines:
    @pytest.mark.parametrize("gap", ["\r\n", "\r\n> ", " \n", "\n>> "])
    @pytest.mark.parametrize("at", [4, 8])
    def test_a_number_that_is_wrapped_counts_where_its_word_stands(self, gap: str, at: int) -> None:
        number = aadhaar(5)
        grouped = spaced(number)
        broken = grouped[: 4 if at == 4 else 9] + gap + grouped[5 if at == 4 else 10 :]
        assert seen(f"His Aadhaar number is {broken} and his name is Ram", "aadhaar") == 1
        assert seen(f"His number is {broken} and his name is Ram", "aadhaar") == 0

    def test_a_no_break_space_is_a_blank(self) -> None:
        assert seen(f"Aadhaar {spaced(aadhaar(5), chr(0xA0))}", "aadhaar") == 1
        assert seen(f"Aadhaar {spaced(aadhaar(5), chr(0x202F))}", "aadhaar") == 1

    def test_years_one_below_the_other_are_no_number(self) -> None:
        assert seen("Aadhaar camps were held in\n2021\n2022\n2023\n2024\n2025\n2026\n", "aadhaar") == 0

    @pytest.mark.parametrize("sign", ["\t", ",", ";", " | "])
    def test_a_column_of_other_numbers_of_twelve_digits_hides_nothing(self, sign: str) -> None:
        rows = [sign.join(("", f"Ram {n}", aadhaar(n), aadhaar(900 + n, valid=False))) for n in range(40)]
        assert seen("\n".join(rows), "aadhaar") == 40

    def test_two_columns_of_other_numbers_are_none(self) -> None:
        rows = [f"Ram {n}\t{aadhaar(n, valid=False)}\t{aadhaar(900 + n, valid=False)}" for n in range(40)]
        assert seen("\n".join(rows), "aadhaar") == 0


def test_the_checksums_are_those_of_python_stdnum() -> None:
    numbers = random.Random(3)
    for _ in range(300):
        number = "".join(numbers.choices("0123456789", k=12))
        assert identifiers.checks(number) is verhoeff.is_valid(number)
    for seed in range(50):
        assert stdnum_aadhaar.is_valid(aadhaar(seed)) or aadhaar(seed) == aadhaar(seed)[::-1]
    for text in ("ABCPK1234L", "ABCDK1234L", "ABCPK0000L"):
        found = list(identifiers.pans(text.lower(), lambda start, end, text=text: text[start:end]))  # type: ignore[misc]
        assert bool(found) is stdnum_pan.is_valid(text)


def test_what_stands_in_a_workbook_is_counted_there() -> None:
    rows = [
        f'<row><c t="inlineStr"><is><t>Ram {n}</t></is></c><c t="inlineStr"><is><t>3051234567{n}</t></is></c>'
        f'<c t="inlineStr"><is><t>SBIN000123{n}</t></is></c></row>'
        for n in range(9)
    ]
    octets = mail(workbook(rows), "list.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
    assert kinds(unpacked(octets), "bank-account") == [("", "attachment", 9)]


@pytest.mark.parametrize("piece", [
    "4111 1111 1111 1111 ", "ifsc sbin0001234 30512345678 ", "passport m1234567 ", "aadhaar 2345 6789\n0123 ", "a/c no 123456789 bank ",
    "4" * 16 + ",",
])  # fmt: skip
@pytest.mark.slow
def test_linear(piece: str) -> None:
    """Four times the text costs about four times the time."""

    def cost(count: int) -> float:
        normal = normalise(piece * count)
        began = time.process_time()
        Observer(scheme()).look(normal, Zone.BODY, "1", attached=False)
        return time.process_time() - began

    small, large = min(cost(4000) for _ in range(3)), min(cost(16000) for _ in range(2))
    assert large < 8 * small + 0.05
    assert large < 3


def test_signs_of_passports_are_folded() -> None:
    assert all(normalise(sign).text == sign for sign in passports.SIGNS)


def test_digits_of_scripts_that_no_number_is_written_in_have_no_checksum() -> None:
    three = "\u0e53"  # a Thai digit
    text = f"aadhaar 234{three} {three * 4} {three * 4}, vid 234{three * 13}, phone 123456789012"
    assert not identifiers.checks("234" + three)
    number = identifiers.Personal()
    number.look(text)
    assert not list(number.aadhaar())
    assert door(text) == ()


def test_the_stretches_with_digits_hold_every_number_of_the_text() -> None:
    rng = random.Random(11)
    pieces = (
        "aadhaar ", "uid", "2341 2341 2346", "234123412346", "4111 1111 1111 1111", "3782 822463 10005", "4111111111111111",
        "x0000000000123", "2019-2020", "पत्र ", " ", "\n", "-", "\u2013", ".", "/", ":", "17.", "0", "9",
        "words between the numbers that are longer than what is looked at ",
    )  # fmt: skip
    seen = 0
    for _ in range(3000):
        text = "".join(rng.choice(pieces) for _ in range(rng.randrange(2, 14)))
        spans, whole = identifiers.stretches(text), ((0, len(text)),)
        cards = list(payments.cards(text, whole))
        assert list(payments.cards(text, spans)) == cards, text
        quick, full = identifiers.Personal(), identifiers.Personal()
        quick.look(text, spans)
        full.look(text, whole)
        numbers = list(full.aadhaar())
        assert list(quick.aadhaar()) == numbers, text
        seen += len(cards) + len(numbers)
    assert seen > 200
