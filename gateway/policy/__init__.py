"""The policy in force: rules, domains, scheme and sentences, loaded whole or not at all.

What it is: ``Policy`` and ``load``. The parts are pure; only loading reads files.
Who calls it: every process at start and at reload; ``pipeline`` and the keeper hand the Policy to ``decide``.
Must never: keep part of an old policy beside part of a new one.
Source: docs/design.md section 5.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config import Config
from gateway.levels import Level
from gateway.policy import examples, explanations, rule_loader, source, watching
from gateway.policy.domains import Domains
from gateway.policy.examples import ExampleResult
from gateway.policy.explanations import Explanations
from gateway.policy.rules import RuleSet
from gateway.policy.source import PolicyError
from gateway.text.markings import Scheme
from gateway.verdict import Edit

__all__ = ["ExampleResult", "Policy", "PolicyError", "load", "scheme_of", "shipped_rules"]


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything a decision rests on, besides the message, the register and the config."""

    rules: RuleSet
    domains: Domains
    scheme: Scheme
    explanations: Explanations
    version: str
    """``sha256:`` of every file that was read and of the packs in force; stands in every verdict."""
    folder: Path
    labels: dict[tuple[Level, str, str], tuple[Edit, ...]] = field(default_factory=dict, compare=False, repr=False)
    """Remembered label edits; ``header_edits`` keeps it."""

    def test(self, *, messages: bool = True) -> list[ExampleResult]:
        """What becomes of every example of the rules; inspects the message files where *messages* is set."""
        return examples.run(self, self.folder, messages=messages)


def shipped_rules() -> Path:
    """The folder of the rules that come with the package (or stand beside it in a source tree)."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "shipped" / "rules"
    return inside if inside.is_dir() else package.parent / "rules"


def load(rules_dir: Path | None, config: Config, *, messages: bool = False) -> Policy:
    """The policy of *rules_dir* (None: the shipped one). Raises PolicyError with file, line, field and reason.

    Examples that state facts are always tried; with *messages* those that name message files too, as before a reload.
    """
    root = shipped_rules() if rules_dir is None else rules_dir
    sentences = explanations.load(root / "explanations", root, config.languages, shipped_rules() / "explanations")
    scheme, lists = watching.load(root)
    version = _version(root, config)
    rules = rule_loader.load(root / "policy", root, config.packs, sentences.keys(), version)
    policy = Policy(rules, lists, scheme, sentences, version, root)
    if _version(root, config) != version:
        raise PolicyError(f"{root}: was changed while it was read; try again")
    failed = [result for result in policy.test(messages=messages) if not result.ok]
    if failed:
        first = failed[0]
        raise PolicyError(f"{first.file}:{first.line}: rule.example: {first.rule}: {first.name}: {first.reason}")
    return policy


def scheme_of(config: Config) -> Scheme:
    """What texts are searched for, without the rules: all that an inspector needs. Raises PolicyError."""
    return watching.load(shipped_rules() if config.rules_dir is None else config.rules_dir)[0]


def _version(root: Path, config: Config) -> str:
    """A hash over names and octets of all files that decide, and over the packs in force."""
    digest = hashlib.sha256()
    digest.update("\0".join(config.packs).encode() + b"\0\0")
    for folder in (root, root / "domains", root / "policy", root / "explanations"):
        for path in source.files(folder):
            octets = source.read_bytes(path, root)
            digest.update(str(path.relative_to(root)).encode() + b"\0" + hashlib.sha256(octets).digest())
    return "sha256:" + digest.hexdigest()
