"""Not collected: Postfix alone, with the gateway as its milter, and with rspamd in the same place, side by side; prints, asserts nothing.

usage: python -m tests.bench.milter PEERS_FOLDER [--secs 8] [--rounds 3] [--kinds a] [--inet] [other options of peers.sh]

PEERS_FOLDER holds peers.sh and what belongs to it: it starts rspamd behind Postfix, the load and the sink, and measures each in
alternation (delivered messages a second until the sink has the last one; user and system time of the whole process tree for each
1,000 messages; what others took meanwhile as "other"). Here stand only the two candidates: candidate_milter.sh with and without a
milter. Kind a is 4 KB of text. Real figures need a machine on which nothing else runs: compare the rounds of one run.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCRIPT = HERE / "candidate_milter.sh"


def main() -> None:
    """Runs peers.sh with the candidates and prints what the milter costs beside the two others."""
    if len(sys.argv) < 2 or not (Path(sys.argv[1]) / "peers.sh").is_file():
        raise SystemExit(__doc__)
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    socket = "inet" if "--inet" in words else "unix"
    words = [word for word in words if word != "--inet"]
    if "--kinds" not in words:
        words += ["--kinds", "a"]
    out = Path(os.environ.get("PEERS_DIR", "/tmp/peers")) / "milter.json"
    candidates = [f"postfix alone={SCRIPT} {{listen}} {{sink}} none", f"postfix+gateway={SCRIPT} {{listen}} {{sink}} {socket}"]
    command = [str(folder / "peers.sh"), "--peers", "postfix+rspamd", "--out", str(out), *words]
    for one in candidates:
        command += ["--candidate", one]
    # The caches of compiled files belong to the folder's owner; it may be read-only.
    subprocess.run(command, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    if "--check-only" not in words:
        compare(json.loads(out.read_text())["rows"])


def compare(rows: list[dict[str, Any]]) -> None:
    """Median rate and processor time of each, beside Postfix alone, kind by kind."""
    for kind in dict.fromkeys(row["kind"] for row in rows):
        print(f"\n{kind}: delivered msg/s, of Postfix alone, CPU s/1000, more than Postfix alone, PSS MiB, errors")
        bare = [row for row in rows if row["kind"] == kind and row["peer"] == "postfix alone"]
        rate0, cpu0 = _median(bare, "rate"), _median(bare, "cpu1000")
        for peer in ("postfix alone", "postfix+rspamd", "postfix+gateway"):
            its = [row for row in rows if row["kind"] == kind and row["peer"] == peer]
            if its:
                rate, cpu = _median(its, "rate"), _median(its, "cpu1000")
                print(
                    f"  {peer:16} {rate:8.1f} {rate / rate0:6.0%} {cpu:8.2f} {cpu - cpu0:+8.2f} {max(row['pss'] for row in its):6.0f} "
                    f"{sum(row['errors'] for row in its)}"
                )


def _median(rows: list[dict[str, Any]], field: str) -> float:
    return statistics.median(row[field] for row in rows)


if __name__ == "__main__":
    main()
