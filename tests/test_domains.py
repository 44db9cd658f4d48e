"""Tiers of domains: government on label boundaries only, look-alikes never (hostile-inputs catalogue A10-A12, A33)."""

from pathlib import Path

import idna
import pytest

from gateway.policy import domains
from gateway.policy.source import PolicyError
from gateway.verdict import Tier

RULES = Path(__file__).parents[1] / "rules"


@pytest.fixture(scope="module")
def lists() -> domains.Domains:
    return domains.load(RULES / "domains", RULES)


def a_labels(name: str) -> str:
    return ".".join(label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in name.lower().split("."))


GOVERNMENT = [
    "gov.in", "nic.in", "mil.in", "delhi.gov.in", "jk.gov.in", "a.b.c.gov.in", "finance.nic.in", "army.mil.in", "ips.gov.in", "sci.gov.in",
    "indiancourts.nic.in", "ecourts.gov.in", "sebi.gov.in", "indiapost.gov.in", "GOV.IN", "Delhi.Gov.In", "gov.in.", "external.gov.in",
    "xn--11b7cb3a6a.xn--h2brj9c", "xn--i1b7b6a.xn--11b7cb3a6a.xn--h2brj9c",
]  # fmt: skip


@pytest.mark.parametrize("name", GOVERNMENT)
def test_government(lists: domains.Domains, name: str) -> None:
    info = lists.tier(name)
    assert info.tier is Tier.GOVERNMENT
    assert info.look_alike == ""


def test_government_in_devanagari_is_the_a_label_that_idna_makes(lists: domains.Domains) -> None:
    assert lists.tier(idna.encode("सरकार.भारत").decode()).tier is Tier.GOVERNMENT


@pytest.mark.parametrize("name", ["meity-external.gov.in", "x-external.gov.in", "mail.meity-external.gov.in", "nicsi-external.nic.in"])
def test_contractors_are_outside_of_government(lists: domains.Domains, name: str) -> None:
    assert lists.tier(name).tier is Tier.GOVERNMENT_EXTERNAL


@pytest.mark.parametrize("name", ["cert-in.org.in", "www.cert-in.org.in", "rbi.org.in", "mail.rbi.org.in", "cdac.in"])
def test_approved(lists: domains.Domains, name: str) -> None:
    assert lists.tier(name).tier is Tier.APPROVED


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("gmail.com", "Google Gmail"), ("googlemail.com", "Google Gmail"), ("yahoo.com", "Yahoo"), ("yahoo.co.in", "Yahoo"),
        ("yahoo.in", "Yahoo"), ("yahoo.fr", "Yahoo"), ("rediffmail.com", "Rediff"), ("zohomail.in", "Zoho (private accounts)"),
        ("outlook.com", "Microsoft Outlook"), ("gmx.de", "GMX"), ("gmx.net", "GMX"), ("yandex.ru", "Yandex"), ("bsnl.co.in", "BSNL"),
        ("protonmail.com", "Proton"), ("mail.gmail.com", "Google Gmail"),
    ],
)  # fmt: skip
def test_private_providers_are_named(lists: domains.Domains, name: str, provider: str) -> None:
    info = lists.tier(name)
    assert (info.tier, info.provider) == (Tier.PRIVATE, provider)
    assert info.reason


OUTSIDE = [  # A10, A33: no boundary, or not at the end
    "gov.in.evil.example", "gov.in-evil.example", "evilgov.in", "notgov.in", "xgov.in", "mygov-in.com", "gov.in.example",
    "gov.in.example.com",
    "gov.co.in", "nic.org.in", "nicmail.in", "gov-in.com", "delhi.gov.in.phish.example", "govin.com", "nic-in.com", "nicin.org",
    "delhi-gov.in", "jkgov.in", "gov-india.in", "nic.in.co", "mil.in.ru", "g0v.in", "delhi.g0v.in", "n1c.in", "rnil.in",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_A10_A33_what_only_resembles_government_is_not(lists: domains.Domains, name: str) -> None:
    info = lists.tier(name)
    assert info.tier is Tier.OTHER
    assert info.look_alike in ("gov.in", "nic.in", "mil.in")
    assert info.look_alike in info.reason


@pytest.mark.parametrize(
    "name", ["goν.in", "gоv.in", "ɡov.in", "gόv.in", "gōv.in", "gov.іn", "nіc.in", "ｇov.in", "delhi.gоv.in", "gοv.in.example", "mіl.in"]
)
def test_A11_A12_letters_of_other_scripts_are_seen_through(lists: domains.Domains, name: str) -> None:
    info = lists.tier(a_labels(name))
    assert info.tier is Tier.OTHER
    assert info.look_alike in ("gov.in", "nic.in", "mil.in")


@pytest.mark.parametrize(
    "name", ["xn--gv-lka.in", "xn--nonsense", "xn--", "xn--a", "xn--99999999.in", "x" * 63 + ".in", "a." * 120 + "in", "", "in", "."]
)
def test_A12_strange_labels_are_never_government(lists: domains.Domains, name: str) -> None:
    assert lists.tier(name).tier is Tier.OTHER


@pytest.mark.parametrize(
    "name",
    [
        "example.com", "gujarat.in", "bihar.in", "delhi.in", "up.in", "post.in", "gov.uk", "state.gov", "army.mil", "iitd.ac.in",
        "sbi.bank.in",
        "clinic.in", "tamil.in", "panic.in", "govinda.com", "xn--h2brj9c", "example.xn--h2brj9c", "nic.com", "organic.co.in", "india.com"],
)  # fmt: skip
def test_others_are_other_and_resemble_nothing(lists: domains.Domains, name: str) -> None:
    info = lists.tier(name)
    assert (info.tier, info.look_alike) == (Tier.OTHER, "")


def test_A10_a_look_alike_below_a_private_provider_is_named_as_such(lists: domains.Domains) -> None:
    info = lists.tier("gov.in.com")
    assert (info.tier, info.look_alike) == (Tier.PRIVATE, "gov.in")


def test_services_are_named(lists: domains.Domains) -> None:
    assert lists.tier("www.dropbox.com").service == "cloud"
    assert lists.tier("web.whatsapp.com").service == "messenger"


GOOD = 'tier = "government"\nreason = "r"\n[[domain]]\nname = "gov.in"\nsubdomains = true\n'


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (GOOD + '[[domain]]\nname = "Gov.In"\n', ":7: domain.name"),
        (GOOD + '[[domain]]\nname = "*.gov.in"\n', ":7: domain.name"),
        (GOOD + '[[domain]]\nnmae = "nic.in"\n', ":7: domain.nmae: unknown key"),
        (GOOD + '[[domain]]\nname = "nic.in"\nsubdomains = 1\n', ":8: domain.subdomains"),
        (GOOD + '[[domain]]\nname = "gov.in"\n', ":7: domain.name: gov.in stands in two lists"),
        (GOOD + '[[domain]]\nname = "a.in"\npattern = "b.*"\n', ":6: domain"),
        (GOOD.replace("government", "goverment"), ":1: tier"),
        (GOOD.replace('reason = "r"\n', ""), ":3: domain.reason"),
        ('tier = "other"\nreason = "r"\n[[domain]]\nname = "a.in"\n', "no list names a government domain"),
        ("tier = \n", ":1: not TOML"),
    ],
)
def test_a_bad_list_names_file_line_and_field(tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(PolicyError) as error:
        domains.load(tmp_path, tmp_path)
    assert where in str(error.value)
    assert str(tmp_path) in str(error.value)
