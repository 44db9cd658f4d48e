"""Runs the targets with atheris: ``python -m tests.fuzz [--seconds N] [--target NAME]…``; all targets without a name.

Each runs in a process of its own with its seeds; a fault ends it with the octets in ``.fuzz/<target>/crash-…`` and exit 1. Where there
is no atheris (it has no wheel for every Python) it says so and exits 0: the small form in ``tests/test_fuzz.py`` runs everywhere.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import ROOT, TARGETS, check

FOLDER = Path(".fuzz")
LONGEST_SEED = 200_000


def main() -> int:
    """Runs what the arguments name; returns the number of targets that failed, at most 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzzes our own parsers with atheris.")
    parser.add_argument("--seconds", type=int, default=120, help="for each target")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="default: all of them")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print(f"skipped: there is no atheris for Python {sys.version_info.major}.{sys.version_info.minor}")
        return 0
    if given.one:
        _one(given.one, given.seconds)
        return 0
    failed = []
    for name in given.target or TARGETS:
        print(f"== {name}: {given.seconds} s", flush=True)
        command = [sys.executable, "-P", "-m", "tests.fuzz", "--one", name, "--seconds", str(given.seconds)]
        if subprocess.run(command, cwd=ROOT.parent, check=False).returncode:
            failed.append(name)
    print(f"{len(given.target or TARGETS) - len(failed)} passed, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    return 1 if failed else 0


def _one(name: str, seconds: int) -> None:
    import atheris

    corpus = FOLDER / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(file for pattern in TARGETS[name].seeds for file in sorted(ROOT.glob(pattern)) if file.is_file()):
        (corpus / f"seed-{number}").write_bytes(file.read_bytes()[:LONGEST_SEED])
    words = FOLDER / name / "words"
    words.write_text("".join('"' + "".join(f"\\x{octet:02x}" for octet in word) + '"\n' for word in TARGETS[name].words), "ascii")
    # Only our own code: the libraries are not what is tested, and instrumenting them takes long.
    atheris.instrument_func(check)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith(("gateway.message", "gateway.text", "gateway.content", "gateway.wire")):
            _instrument(module)
    limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=1500", "-max_len=20000", f"-dict={words}", "-print_final_stats=0"]
    options = [sys.argv[0], *limits, f"-artifact_prefix={FOLDER / name}/", "-verbosity=0", str(corpus)]
    atheris.Setup(options, lambda data: check(name, data))
    atheris.Fuzz()


def _instrument(module: object) -> None:
    """Counts the branches of every function and method of *module*."""
    import inspect

    import atheris

    own = getattr(module, "__name__", "")
    for holder in (module, *(one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == own)):
        for name, one in list(vars(holder).items()):
            if inspect.isfunction(one) and one.__module__ == own:
                try:
                    setattr(holder, name, atheris.instrument_func(one))
                except (ValueError, AttributeError, TypeError):
                    continue  # a generator with an odd table, or a slot; it runs without being counted


if __name__ == "__main__":
    sys.exit(main())
