"""Looks at the clock: is it kept, by whom, and how far may it be off.

What it is: the kernel's own word, and what chrony or systemd-timesyncd say of their source.
Who calls it: ``gateway doctor``.
Must never: set anything; believe that a clock is kept because a service for it runs.
Sources: CERT-In Directions of 28 April 2022 (NTP of NIC or NPL); adjtimex(2), chronyc(1), timedatectl(1).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator

from gateway.audit import ntp
from gateway.doctor import Finding

SUGGESTED = ("samay1.nic.in", "samay2.nic.in")
"""NIC's time servers, as CERT-In names them; a suggestion, since other ways to the same time are allowed."""
_OFF = 1.0  # seconds of possible error from which records may be out of order with other machines'
_WAIT = 5.0

Run = Callable[[list[str]], str]


def run(words: list[str]) -> str:
    """What the read-only command *words* prints; nothing where it is not here, fails, or takes long."""
    if shutil.which(words[0]) is None:
        return ""
    try:
        done = subprocess.run(words, capture_output=True, timeout=_WAIT, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def source(run: Run = run) -> str:
    """The name of the server that keeps the clock; empty when nobody says."""
    for line in run(["chronyc", "-c", "-N", "tracking"]).splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[1] not in ("", "0.0.0.0"):  # noqa: S104
            return fields[1]
    for line in run(["timedatectl", "show-timesync", "--property=ServerName", "--value"]).splitlines():
        if line.strip():
            return line.strip()
    return ""


def examine(ask: Callable[[], ntp.KernelClock | None] = ntp.kernel_clock, run: Run = run) -> Iterator[Finding]:
    """Whether the kernel's clock is disciplined, and by which server."""
    names = " and ".join(SUGGESTED)
    state = ask()
    kept_by = source(run)
    if state is None:
        yield Finding("clock", "warning", "whether the clock is kept by NTP cannot be known here")
    elif not state.synced:
        why = f" (its source is {kept_by}, which has not set it yet)" if kept_by else ""
        text = f"the clock is not synchronised{why}; records must carry true time: use NTP, for example with {names}"
        yield Finding("clock", "warning", text)
    elif state.error > _OFF:
        yield Finding("clock", "warning", f"the clock is synchronised, but may be off by {state.error:.1f} s; look at its NTP source")
    else:
        yield Finding("clock", "ok", f"the clock is synchronised{f' with {kept_by}' if kept_by else ''}, within {state.error:.3f} s")
    if kept_by and kept_by not in SUGGESTED:
        text = f"its source is {kept_by}; CERT-In asks for the time of NIC ({names}) or NPL, or of servers that follow them"
        yield Finding("clock", "ok", text)
