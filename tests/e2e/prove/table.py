"""The table of the proof: a line for each kind of fault, a sum, and each thing that is wrong with its seed."""

from __future__ import annotations

from collections.abc import Iterable

from tests.e2e.prove.count import Count
from tests.e2e.prove.run import Result

_COLUMNS = (
    "fault", "runs", "faults", "messages", "accepted", "delivered", "kept", "bounced", "held", "scheduled", "expired", "lost",
    "in 2 states", "passed", "dup", "unexpl.", "5xx", "other", "seeds",
)  # fmt: skip


def line_of(result: Result, number: int, of: int) -> str:
    """One run, as it is printed when it has ended."""
    found, order = result.count, result.order
    parts = (
        f"{found.messages} messages", f"{found.accepted} accepted", f"{found.delivered} delivered",
        f"{found.kept} left to the MTA", f"{found.bounced} bounced",
        f"{found.held} held", f"{found.scheduled} scheduled", f"lost {len(found.lost)}", f"in two states {len(found.twofold)}",
        f"let through {len(found.passed)}", f"duplicates {found.duplicates} (unexplained {len(found.unexplained)})",
        f"5xx {len(found.refused)}", f"faults {found.strikes}", f"{result.seconds:.0f} s",
    )  # fmt: skip
    text = f"run {number}/{of} {order.fault} seed {order.seed}: {', '.join(parts)}"
    did = result.did[:40] if found.wrong else []
    return "\n".join(
        [
            text,
            *(f"    {line}" for line in found.wrong[:8]),
            *(f"    {line}" for line in did),
            *([f"    kept: {result.folder}"] if result.folder else []),
        ]
    )


def table(results: Iterable[Result]) -> str:
    """All of it."""
    kinds: dict[str, list[Result]] = {}
    for result in results:
        kinds.setdefault(result.order.fault, []).append(result)
    everything = [one for some in kinds.values() for one in some]
    rows = [_COLUMNS, *(_row(kind, some) for kind, some in kinds.items()), _row("sum", everything)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines += _times(everything)
    for result in everything:
        lines += [f"seed {result.order.seed} ({result.order.fault}): {line.splitlines()[0][:300]}" for line in result.count.wrong]
    return "\n".join(lines)


def _row(name: str, results: list[Result]) -> tuple[str, ...]:
    total = Count()
    for result in results:
        total.add(result.count)
    seeds = [result.order.seed for result in results]
    values = (
        len(results), total.strikes, total.messages, total.accepted, total.delivered, total.kept, total.bounced, total.held,
        total.scheduled, total.expired, len(total.lost), len(total.twofold), len(total.passed), total.duplicates, len(total.unexplained),
        len(total.refused), len(total.other),
    )  # fmt: skip
    return (name, *map(str, values), f"{min(seeds)}-{max(seeds)}" if seeds else "")


def _times(results: list[Result]) -> list[str]:
    """How soon a process that was killed had a successor, and how long the clients waited, at worst."""
    lines = []
    killed = [one for result in results for one in result.replaced]
    for what, place in (("had a successor after", 1), ("were of use again after", 2)):
        worst: dict[str, float] = {}
        for one in killed:
            worst[one[0]] = max(worst.get(one[0], 0.0), float(one[place]))
        each = ", ".join(f"{role} {seconds:.2f} s" for role, seconds in sorted(worst.items(), key=lambda one: -one[1]))
        if killed:
            lines.append(
                f"{len(killed)} killed processes {what} (longest; over 2 s: {sum(float(one[place]) > 2 for one in killed)}): {each}"
            )
    if results:
        longest = max(results, key=lambda one: one.silence)
        lines.append(f"longest time in which nothing was taken: {longest.silence:.1f} s ({longest.order.fault}, seed {longest.order.seed})")
    return lines
