"""The policy in force: rules, domains, scheme and sentences, loaded whole or not at all.

What it is: ``Policy`` and ``load``. The parts are pure; only loading reads files.
Who calls it: every process at start and at reload; ``pipeline`` and the keeper hand the Policy to ``decide``.
Must never: keep part of an old policy beside part of a new one.
Source: design.md section 5.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Config
from gateway.policy import source
from gateway.policy.domains import Domains
from gateway.policy.explanations import Explanations
from gateway.policy.rules import RuleSet
from gateway.policy.source import PolicyError
from gateway.text.markings import Scheme

__all__ = ["Policy", "PolicyError", "load", "shipped_rules"]
