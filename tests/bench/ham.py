"""What inspection says of a folder of ordinary mail: how much of it is ambiguous, held, or cannot be read, and what it costs.

    python -m tests.bench.ham FOLDER [--ocr] [--show]

Figures to hold against: at most 0.5 % ambiguous, at most 0.1 % held for any reason of inspection (suspect). ``--ocr`` reads pictures
with the programs of this machine; ``--show`` names the messages. Nothing of the folder is kept.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from gateway import content
from gateway.config import Limits
from gateway.extraction.base import ToolFault, Tools
from gateway.inspector import tools
from gateway.message.prescan import canonical
from gateway.verdict import Confidence, Inspection, LeafState
from tests.content_mail import scheme


def look(octets: bytes, limits: Limits, programs: Tools | None) -> Inspection:
    for _ in range(20):
        try:
            return content.unpack(octets, sha256="00", limits=limits, scheme=scheme(), tools=programs)
        except ToolFault:  # a machine that does other work as well
            time.sleep(1)
    return content.unpack(octets, sha256="00", limits=limits, scheme=scheme())


def kinds(seen: Inspection) -> set[str]:
    """What is to be counted of one message."""
    states = {leaf.state for leaf in seen.leaves}
    found = {f"{one.level.text} ({one.confidence.value})" for one in seen.findings if one.confidence is not Confidence.POSSIBLE}
    found |= {f"active {one.name}" for one in seen.observations if one.kind == "active"}
    found |= {state.value for state in (LeafState.SUSPECT, LeafState.OPAQUE, LeafState.UNINSPECTABLE) if state in states}
    return found | ({"ambiguous"} if seen.ambiguity else set())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ham", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ocr", action="store_true", help="read words in pictures")
    parser.add_argument("--show", action="store_true", help="name the messages, with the reasons")
    asked = parser.parse_args()
    limits = Limits()
    programs = tools.direct(limits) if asked.ocr else None
    counts: Counter[str] = Counter({"ambiguous": 0, "suspect": 0, "uninspectable": 0})
    times: list[float] = []
    for path in sorted(path for path in asked.folder.rglob("*") if path.is_file()):
        octets = canonical(path.read_bytes())
        start = time.perf_counter()
        seen = look(octets, limits, programs)
        times.append((time.perf_counter() - start) * 1000)
        found = kinds(seen)
        counts.update(found)
        if asked.show and found - {LeafState.UNINSPECTABLE.value}:
            reasons = dict.fromkeys((*seen.ambiguity, *(leaf.reason for leaf in seen.leaves if leaf.state is LeafState.SUSPECT)))
            print(f"{path.name}: {', '.join(sorted(found))}: {'; '.join(filter(None, reasons))}")
    if not times:
        parser.error(f"there is no file in {asked.folder}")
    print(f"{len(times)} messages, words in pictures {'read' if programs is not None and programs.reads_pictures else 'not read'}")
    for name, count in sorted(counts.items()):
        print(f"{name:28} {count:5} {count / len(times):7.2%}")
    times.sort()
    share = {name: times[min(int(len(times) * part), len(times) - 1)] for name, part in (("median", 0.5), ("99 %", 0.99), ("most", 1.0))}
    print(f"ms a message: mean {sum(times) / len(times):.2f}, " + ", ".join(f"{name} {value:.2f}" for name, value in share.items()))


if __name__ == "__main__":
    main()
