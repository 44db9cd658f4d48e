"""What ``gateway demo`` prints of the samples: for each recipient the decision, why, and the circular.

Who calls it: ``demonstration``.
Must never: print a word of a message but the title that ``samples.toml`` gives it.
Source: README.md, "Try it".
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.cli import output

if TYPE_CHECKING:
    from gateway.cli.samples import Sent
    from gateway.policy.rules import Rule

_COLOURS = {"deliver": "green", "hold": "yellow", "refuse": "red", "defer": "magenta"}
_WENT = {"deliver": "to the next hop", "hold": "waits for a reviewer, the originator has a notice", "refuse": "the originator has a report"}


def write(sent: Sequence[Sent], logged: Sequence[Mapping[str, tuple[str, str]]], rules: Sequence[Rule]) -> None:
    """Prints all samples; *logged* has for each what the decision log says (recipient to disposition and rule id)."""
    from rich.text import Text

    out, by_id = output.console(), {rule.id: rule for rule in rules}
    counted: collections.Counter[str] = collections.Counter()
    out.print("\nWhat was decided, and why\n")
    for one, entry in zip(sent, logged, strict=True):
        out.print(Text(output.safe(one.sample.title), "bold"))
        for recipient in one.recipients:
            disposition, identity = entry.get(recipient, ("", ""))
            refused = next((text for address, text in one.refused if address == recipient), "")
            went = _WENT.get(disposition, "")
            if refused or one.code != 250:
                disposition = "refuse" if (refused or str(one.code)).startswith("5") else "defer"
                went = f"{refused[:3] or one.code} in the session; the message is not kept"
            counted[disposition] += 1
            line = Text("  ").append(f"{disposition:<8}", _COLOURS.get(disposition, "")).append(output.safe(f"{recipient}: {went}"))
            out.print(line, soft_wrap=True)
            rule = by_id.get(identity)
            why = [f"{rule.title} ({rule.id})"] if rule else [identity or refused or one.text]
            if rule and disposition != "deliver":
                why.append(rule.source)
            for words in why:
                out.print(Text(output.safe(f"          {words}"), "dim"), soft_wrap=True)
    total = ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
    out.print(f"\n{len(sent)} samples, {counted.total()} recipients: {total}.")
