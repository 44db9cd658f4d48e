"""How ``gateway sweep`` is printed: one line a message, one a recipient, and the sums at the end.

What it is: ``show`` for one record, ``Sums`` for all of them.
Who calls it: ``sweep``.
Must never: grow with the number of messages; print what a terminal could misread.
Source: docs/design.md section 10 ("Records").
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from gateway.cli import output

_MARKS = {"deliver": "DELIVER", "hold": "HOLD", "refuse": "REFUSE", "defer": "DEFER"}
NO_MARKING = "no marking"
TOO_LARGE = "too large"
GONE = "gone meanwhile"
NOT_DECIDED = "not decided"
NO_RECIPIENT = "no recipient"


def show(found: dict[str, Any]) -> None:
    """One record for people. What was simply delivered takes one line a recipient, everything else says why."""
    safe, say = output.safe, output.write
    level = found["classification"]["level"] or NO_MARKING
    probable = found["classification"]["probable"]
    if probable and probable != found["classification"]["level"]:
        level += f", probably {probable}"
    subject = safe(found["message"]["subject"])[:120] or "(no subject)"
    say(f"{safe(found['mailbox'])} {found['uid']}  {found['date'][:10]}  {level}: {subject}")
    for one in found["recipients"]:
        rule = safe(one["rule"]) + (f": {safe(one['title'])}" if one["title"] else "")
        say(f"  {_MARKS[one['disposition']]:<8} {safe(one['address'])}  ({one['tier']}, {one['direction']})  {rule}")
        if one["disposition"] != "deliver":
            for text in list(one["explanation"].values())[:1]:
                say(f"    why    {safe(text)}")
        if one["exception"]:
            say(f"    by     exception {safe(one['exception'])}")
    if found["unread_recipients"]:
        say("  besides  it names somebody whose address is not plainly one: nothing is said of those")
    elif not found["recipients"]:
        say("  nobody   it names no recipient")


class Sums:
    """How many messages and recipients came to what."""

    def __init__(self) -> None:
        self.messages = 0
        self.undecided = 0
        self._decisions: Counter[str] = Counter()
        self._rules: Counter[tuple[str, str]] = Counter()
        self._levels: Counter[str] = Counter()

    def add(self, found: dict[str, Any]) -> None:
        """Counts one record."""
        self.messages += 1
        if found.get("too_large"):
            self._decisions[TOO_LARGE] += 1
        elif found.get("gone"):
            self._decisions[GONE] += 1
        elif "error" in found:
            self.undecided += 1
            self._decisions[NOT_DECIDED] += 1
        else:
            self._levels[found["classification"]["level"] or NO_MARKING] += 1
            if not found["recipients"]:
                self._decisions[NO_RECIPIENT] += 1
            for one in found["recipients"]:
                self._decisions[one["disposition"]] += 1
                self._rules[one["rule"], one["disposition"]] += 1

    def rows(self) -> list[dict[str, Any]]:
        """What the table shows, the most frequent first."""
        found = [{"by": "decision", "what": what, "count": count} for what, count in self._decisions.most_common()]
        found += [{"by": "rule", "what": f"{rule} ({done})", "count": count} for (rule, done), count in self._rules.most_common()]
        return found + [{"by": "level", "what": what, "count": count} for what, count in self._levels.most_common()]

    def show(self) -> None:
        """The table at the end. Decisions and rules count recipients, levels count messages."""
        output.write("")
        columns = [("by", "by"), ("what", "what"), ("count", "count")]
        title = f"{self.messages} message{'' if self.messages == 1 else 's'}"
        output.table(self.rows(), columns, empty="no message", title=f"{title}: decisions and rules by recipient, levels by message")
