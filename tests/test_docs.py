"""The documents are true: links, commands, options, config, rules, logins and runbook anchors are those of the code."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import typer
from typer.main import get_command

from gateway import cli, config, doctor_milter, doctor_postfix, doctor_transport, metrics, policy
from gateway.policy import watching
from gateway.signin import login_file
from gateway.text import passwords
from tests import postfix_kit, test_marking_corpus, test_marking_negatives

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
WRITTEN = {"options.md", "commands.md"}
NEEDED = {
    "install.md", "install-rhel.md", "options.md", "commands.md", "rules.md", "officer.md", "officer.hi.md", "reviewer.md",
    "reviewer.hi.md", "operations.md", "submission.md", "systemd.md", "blind-spots.md", "inspection.md", "milter.md", "imap.md",
    "proof.md", "many-nodes.md",
}  # fmt: skip
RUNBOOK = (
    "queue-not-moving", "next-hop-down", "held-near-deadline", "inspector-dying", "store-degraded", "disk-reserve", "chain-head-stale",
    "clock-not-synced", "certificate-expires", "keeper-away", "lost-records", "reload-failed", "unprotected-waiting", "sign-in-failures",
    "backup-old", "not-ready", "faults", "journal-copies-wait",
)  # fmt: skip
BASE = """
hostname = "gw1.example.gov.in"
[tls]
certificate = "/etc/gateway/tls/fullchain.pem"
key = "/etc/gateway/tls/key.pem"
[originators]
domains = ["example.gov.in"]
networks = ["10.0.0.0/8"]
[[route]]
domains = ["*"]
next_hop = "smtp.example.nic.in:25"
"""
"""What a config fragment of the documents is put into."""
NOT_FACTS = {
    "a host of the mail service whose table of ports was never seen": r"mgovcloud",
    "For Official Use Only as a formal class": r"for official use only|केवल सरकारी प्रयोग",
    "an unverified marking of another language": r"ਗੁਪਤ|ரகசியம்|இரகசியம்|మందణం|రహస్యం|ರಹಸ್ಯ|രഹസ്യം|ଗୁପ୍ତ",
    "a penalty": r"imprisonment|\bfine of\b|\bcrore\b|कारावास|जुर्माना",
    "a section of the IT Act": r"70B",
    "the type URI of a NATO label": r"urn:nato:stanag",
    "an ARC status": r"RFC 8617",
}
"""Statements that were never verified and stand in no document, each with what would show it."""


class Box(NamedTuple):
    """One fenced box."""

    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def boxes() -> tuple[Box, ...]:
    found = []
    for page in PAGES:
        kind, start, lines = "", 0, list[str]()
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
            if line.startswith("```"):
                if start:
                    found.append(Box(page.name, start, kind, "\n".join(lines) + "\n"))
                    start = 0
                else:
                    kind, start, lines = line[3:].strip(), number, []
            elif start:
                lines.append(line)
        assert not start, f"{page.name}:{start}: this box has no end"
    return tuple(found)


def of(*kinds: str) -> list[Box]:
    return [box for box in boxes() if box.kind in kinds]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The generator of the two written files."""
    spec = importlib.util.spec_from_file_location("reference_docs", ROOT / "packaging" / "reference_docs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- what is there ------------------------------------------------------------------------------------------------------


def test_every_document_is_there() -> None:
    assert {page.name for page in PAGES} >= NEEDED


def without_boxes(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def anchor(heading: str) -> str:
    """The anchor that a heading gets where Markdown is shown."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> frozenset[str]:
    text = without_boxes(page.read_text("utf-8"))
    named = re.findall(r'<a id="([^"]+)"></a>', text)
    return frozenset(named) | {anchor(heading) for heading in re.findall(r"^#{1,6} (.+)$", text, re.M)}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "rules" / "README.md"], ids=lambda page: str(page.name))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_boxes(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, name = target.partition("#")
        to = (page.parent / file).resolve() if file else page
        assert to.exists(), f"{page.name}: {target} leads nowhere"
        assert not name or name in anchors(to), f"{page.name}: {target}: {to.name} has no such heading"


def test_the_runbook_has_every_anchor() -> None:
    assert not set(RUNBOOK) - anchors(DOCS / "operations.md")


@pytest.mark.parametrize("name", RUNBOOK)
def test_each_part_of_the_runbook_says_all_that_is_needed(name: str) -> None:
    parts = re.split(r"^## (.+)$", (DOCS / "operations.md").read_text("utf-8"), flags=re.M)
    text = next(body for heading, body in zip(parts[1::2], parts[2::2], strict=True) if anchor(heading) == name)
    for words in (f"Alert: `{name}`.", "**You notice:**", "**For mail:**", "**Do", "**Over when**"):
        assert words in text, f"{name}: says nothing of {words}"


@pytest.mark.parametrize("name", ["officer", "reviewer"])
def test_the_hindi_pages_have_the_parts_of_the_english_ones(name: str) -> None:
    counts = [
        [len(re.findall(mark, without_boxes((DOCS / f"{name}{language}.md").read_text("utf-8")), re.M)) for mark in (r"^## ", r"^### ")]
        for language in ("", ".hi")
    ]
    assert counts[0] == counts[1]


def test_alerts_lead_into_the_runbook() -> None:
    for file in sorted((ROOT / "watch").rglob("*")) if (ROOT / "watch").is_dir() else []:
        if file.is_file():
            for name in re.findall(r"operations\.md#([\w-]+)", file.read_text("utf-8", "replace")):
                assert name in anchors(DOCS / "operations.md"), f"{file.name}: operations.md has no #{name}"


def test_metrics_that_are_named_are_there() -> None:
    for page in PAGES:
        for name in re.findall(r"\bgateway_[a-z_]+\b", page.read_text("utf-8")):
            assert name in metrics.FAMILIES, f"{page.name}: there is no metric {name}"


def test_units_that_are_named_are_there() -> None:
    there = {file.name for file in (ROOT / "systemd").iterdir()}
    for page in PAGES:
        for unit in re.findall(r"\bgateway-?[a-z]*\.(?:service|socket|timer|target)\b", page.read_text("utf-8")):
            assert unit in there, f"{page.name}: there is no unit {unit}"


def test_the_hindi_pages_say_that_nobody_has_reviewed_them() -> None:
    for page in DOCS.glob("*.hi.md"):
        top = "\n".join(page.read_text("utf-8").splitlines()[:8])
        assert "No native reader has reviewed" in top and "समीक्षा" in top, page.name


@pytest.mark.parametrize("what", NOT_FACTS)
def test_what_was_never_verified_is_not_stated(what: str) -> None:
    for page in PAGES:
        assert not re.search(NOT_FACTS[what], page.read_text("utf-8"), re.I), f"{page.name}: states {what}"


def test_the_figures_of_inspection_are_those_of_the_tests() -> None:
    page = (DOCS / "inspection.md").read_text("utf-8")
    cases = sum(len(tomllib.loads(file.read_text("utf-8"))["case"]) for file in (ROOT / "tests" / "fixtures").glob("*/protection.toml"))
    assert f"{cases} files and messages, true and pretended" in page
    formats = len({case["file"].rpartition(".")[2] for case in test_marking_corpus.CASES})
    assert f"{len(test_marking_corpus.CASES)} markings that real tools placed in documents of {formats} formats" in page
    assert f"of {len(test_marking_negatives.rows())} ordinary papers" in page
    assert f"at most {passwords.MOST}," in page


# --- written by the generator -------------------------------------------------------------------------------------------


def test_options_and_commands_are_up_to_date(reference: ModuleType) -> None:
    how = "run: .venv/bin/python packaging/reference_docs.py"
    assert (DOCS / "options.md").read_text("utf-8") == reference.options(), how
    assert (DOCS / "commands.md").read_text("utf-8") == reference.commands(), how


def test_the_words_of_the_generator_are_about_real_things(reference: ModuleType) -> None:
    assert set(reference.EXIT_ONE) <= set(reference.tree())
    assert set(config.Config.model_fields) >= reference.STOP_AND_START
    assert set(config.Config.model_fields) >= reference.RENEWED
    assert set(config.Config.model_fields) >= set(reference.NOT_YET)


def test_every_option_and_command_stands_in_its_file(reference: ModuleType) -> None:
    text = (DOCS / "options.md").read_text("utf-8")
    for name, field in config.Config.model_fields.items():
        model, many = reference._model(field.annotation)
        assert (f"## `[[{name}]]`" if many else f"## `[{name}]`" if model else f"| `{name}` |") in text
    commands = (DOCS / "commands.md").read_text("utf-8")
    for path in reference.tree():
        assert f"### gateway {path}\n" in commands


# --- commands -----------------------------------------------------------------------------------------------------------


def calls(text: str) -> Iterator[list[str]]:
    """The words of each call of ``gateway`` in the lines of a shell box; output of a console box has no prompt."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"<<'?(\w+)'?\n.*?\n\1\n", "\n", text, flags=re.S))
    for line in joined.splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if re.fullmatch(r"[();<>|&]+", word):
                if "gateway" in words[:3] and set(words[: words.index("gateway")]) <= {"sudo", "exec"}:
                    yield words[words.index("gateway") + 1 :]
                words = ["in-a-redirection"] if set(word) & {">", "<"} else []
            else:
                words.append(word)


def shell_calls() -> list[tuple[Box, list[str]]]:
    found = []
    for box in of("sh", "console"):
        text = box.text if box.kind == "sh" else "".join(f"{line}\n" for line in box.text.splitlines() if line.startswith("$ "))
        found += [(box, words) for words in calls(text)]
    return found


@cache
def application() -> Any:
    return get_command(cli.application())


def parse(words: list[str]) -> None:
    """Parses a call with the real command line, without running it. Raises TyperException, Exit for --help and --version."""
    at, command, path = 0, application(), "gateway"
    while hasattr(command, "commands"):
        parent = command.make_context(path, words[at:] or ["--help"], allow_interspersed_args=False)
        rest = [*parent._protected_args, *parent.args] if hasattr(parent, "_protected_args") else parent.args
        assert rest, f"{path} wants a command"
        assert rest[0] in command.commands, f"there is no command {path} {rest[0]}"
        at, path, command = len(words) - len(rest) + 1, f"{path} {rest[0]}", command.commands[rest[0]]
    command.make_context(path, words[at:])


def test_every_call_in_a_shell_box_parses() -> None:
    found = shell_calls()
    assert len(found) > 60
    for box, words in found:
        try:
            parse(list(words))
        except typer.Exit:
            continue
        except (typer.TyperException, AssertionError) as error:
            pytest.fail(f"{box}: gateway {' '.join(words)}: {error}")


def test_every_call_in_a_shell_box_of_the_readme_parses() -> None:
    text = "\n".join(re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S))
    found = list(calls(text))
    assert ["doctor"] in found
    for words in found:
        parse(list(words))


@pytest.mark.parametrize("words", [["queue", "lost"], ["queue", "list", "--nope"], ["quarantine", "release"], ["purge"], ["keys"]])
def test_a_call_that_is_wrong_does_not_parse(words: list[str]) -> None:
    with pytest.raises((typer.TyperException, typer.Exit, AssertionError)):
        parse(words)


def test_calls_are_found_in_pipes_and_after_continuations() -> None:
    text = "cat x | gateway logins hash > y && gateway check || true\n# gateway reload\necho gateway nothing\n"
    text += 'gateway quarantine release ID \\\n  --reason "a b"\n'
    assert list(calls(text)) == [["logins", "hash"], ["check"], ["quarantine", "release", "ID", "--reason", "a b"]]


def test_commands_that_the_text_names_exist(reference: ModuleType) -> None:
    known = {path: {name for one in command.params for name in one.opts} for path, command in reference.tree().items()}
    hidden = {"describe"}
    for page in PAGES:
        text = without_boxes(page.read_text("utf-8"))
        for span in re.findall(r"`(gateway [^`\n]+)`", text):
            words = span.replace("…", " ").split()[1:]
            if words[0].startswith(("-", "[")) or words[0].isupper() or words[0] in hidden:
                continue
            nouns = {path.split()[0] for path in known if " " in path}
            path = " ".join(words[:2]) if words[0] in nouns and len(words) > 1 and not words[1].startswith("-") else words[0]
            assert path in known or path in nouns, f"{page.name}: `{span}`: there is no command {path}"
            options = {re.split(r"[=\]]", word.lstrip("["))[0] for word in words if word.lstrip("[").startswith("--")}
            assert options <= known.get(path, set()) | {"--config", "--help"}, f"{page.name}: `{span}`: {options}"


# --- config -------------------------------------------------------------------------------------------------------------


def test_every_toml_box_says_what_it_is() -> None:
    kinds = {"toml config", "toml fragment", "toml rule", "toml domains", "toml explanations", "toml logins", "toml answers"}
    for box in boxes():
        assert not box.kind.startswith("toml") or box.kind in kinds, f"{box}: write one of {sorted(kinds)} after the three marks"


@pytest.mark.parametrize("box", of("toml config"), ids=str)
def test_a_config_loads(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(box.text)
    config.load(file)


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    tables = {name: base[name] | value for name, value in more.items() if isinstance(value, dict) and name in base}
    return base | more | tables


@pytest.mark.parametrize("box", of("toml fragment"), ids=str)
def test_a_fragment_loads_with_a_base(box: Box) -> None:
    config.Config(**merged(tomllib.loads(BASE), tomllib.loads(box.text)))


def test_options_that_the_text_names_exist(reference: ModuleType) -> None:
    tables = {name: reference._model(field.annotation)[0] for name, field in config.Config.model_fields.items()}
    for page in PAGES:
        text = without_boxes(page.read_text("utf-8"))
        for table, option in re.findall(r"`\[?\[?(\w+)\]?\]?[. ](\w+)(?:`| = )", text):
            model = tables.get(table)
            if model is not None:
                assert option in model.model_fields, f"{page.name}: [{table}] has no option {option}"


@pytest.mark.parametrize("box", of("toml logins"), ids=str)
def test_a_logins_file_loads(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "logins.toml"
    file.write_text(box.text)
    file.chmod(0o600)
    table = login_file.load(file, config.Config(**tomllib.loads(BASE)))
    assert table.logins


# --- Postfix ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [DOCS / "milter.md", ROOT / "README.md"], ids=lambda page: str(page.name))
def test_what_stands_in_main_cf_is_well_with_the_doctor(page: Path, tmp_path: Path) -> None:
    main = "".join(re.findall(r"^```text main\.cf\n(.*?)^```", page.read_text("utf-8"), re.M | re.S))
    listen = {"door": "milter", "address": f"unix:{tmp_path}/gateway/milter.sock"}
    postfix = doctor_postfix.reading(config.Config(listen=(listen,)), postfix_kit.postconf(main, folder=tmp_path))
    assert postfix is not None
    assert [one.state for one in doctor_milter.examine(config.Config(listen=(listen,)), postfix)] == ["ok"]
    proof = doctor_transport.prove(postfix)
    assert proof.protected == ("smtp_tls_mandatory_protocols" in main), proof.gaps
    if proof.protected:
        assert all(line.partition(" = ")[2] in doctor_transport.WRITE for line in main.splitlines() if line.startswith("smtp_tls_"))


# --- rules --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the rules with everything that the guide adds to it."""
    folder = tmp_path_factory.mktemp("guide") / "rules"
    shutil.copytree(ROOT / "rules", folder)
    for number, box in enumerate(of("toml domains")):
        (folder / "domains" / f"guide-{number}.toml").write_text(box.text)
    for box in of("toml explanations"):
        with (folder / "explanations" / f"{'hi' if re.search('[ऀ-ॿ]', box.text) else 'en'}.toml").open("a") as file:
            file.write("\n" + box.text)
    for number, box in enumerate(of("toml rule")):
        (folder / "policy" / f"50-guide-{number:02}.toml").write_text(box.text)
    return folder


@pytest.mark.slow
def test_every_rule_of_the_guide_loads_and_its_examples_hold(guide: Path) -> None:
    """Loading tries every example; those that name a message are inspected too."""
    written = [rule for box in of("toml rule") for rule in tomllib.loads(box.text)["rule"]]
    assert len([box for box in of("toml rule") if box.page == "rules.md"]) >= 10
    packs = tuple({tomllib.loads(box.text)["pack"] for box in of("toml rule") if "pack" in tomllib.loads(box.text)})
    loaded = policy.load(guide, config.Config(packs=packs))
    assert {rule["id"] for rule in written} <= {rule.id for rule in loaded.rules.rules}
    results = [result for result in loaded.test() if result.rule in {rule["id"] for rule in written}]
    assert len(results) == sum(len(rule["example"]) for rule in written)
    assert all(result.ok for result in results), [result for result in results if not result.ok]


def test_a_rule_of_the_guide_that_is_wrong_would_be_seen(guide: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "rules"
    shutil.copytree(guide, spoilt)
    first = next(iter(sorted((spoilt / "policy").glob("50-guide-*.toml"))))
    first.write_text(re.sub(r'expect = "\w+"', 'expect = "defer"', first.read_text()))
    with pytest.raises(policy.PolicyError):
        policy.load(spoilt, config.Config())


def test_the_domains_of_the_guide_are_known(guide: Path) -> None:
    _, lists = watching.load(guide)
    for box in of("toml domains"):
        for entry in tomllib.loads(box.text)["domain"]:
            if "name" in entry:
                assert lists.tier(entry["name"]).tier.value == tomllib.loads(box.text)["tier"]
