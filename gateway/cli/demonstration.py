"""``gateway demo``: a whole gateway on this machine's loopback, with a stand-in next hop, fed with the samples.

What it is: what ``make run`` starts: config, gateway, samples through real SMTP, what was decided, then it serves until Ctrl-C.
Who calls it: people who want to see it work in a minute.
Must never: listen beyond loopback; wipe a folder that it did not make; send mail anywhere but to its own stand-in.
Source: README.md, "Try it".
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import fcntl
import getpass
import os
import re
import shutil
import signal
import smtplib
import socket
import time
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from gateway import policy
from gateway.cli import demo_report, output, samples
from gateway.cli.options import Stop, load_config
from gateway.cli.users import page_address

if TYPE_CHECKING:
    from gateway.cli.next_hop import NextHop
    from gateway.config import Config

MARK = ".made-by-gateway-demo"
_STRANGER = "127.0.0.9"
_READY = 120.0  # seconds until the gateway must take mail
_SMTP, _WEB, _HOP = 10025, 18080, 10026  # where it listens, if free; 10080 would not do: browsers refuse to open it


def _port(preferred: int) -> int:
    """*preferred*, or another free port of loopback when it is taken."""
    for port in (preferred, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    raise Stop("No port of 127.0.0.1 is free.")


def _config_text(state: FilePath, smtp: int, web: int, hop: int) -> str:
    return f'''# Made by "gateway demo" at each start: everything on loopback, one stand-in for the department's server and for NIC.
hostname = "gw.dept.gov.in"
state_dir = "{state}"
workers = 2

[contacts]
postmaster = "postmaster@dept.gov.in"
security = "secops@dept.gov.in"

[[listen]]
door = "smtp"
address = "127.0.0.1:{smtp}"

[[listen]]
door = "web"
address = "127.0.0.1:{web}"

[originators]
domains = ["dept.gov.in"]
networks = ["127.0.0.1/32"]

[[route]]
domains = ["dept.gov.in"]
local = true
next_hop = "127.0.0.1:{hop}"
tls = "none"

[[route]]
domains = ["*"]
next_hop = "127.0.0.1:{hop}"
tls = "none"

# A demonstration is looked at without a device for codes; a gateway that works asks for them.
[web]
public_url = "http://127.0.0.1:{web}"
require_totp = false

[limits]
free_disk = "50MB"
'''


def _fresh(folder: FilePath) -> FilePath:
    """*folder*, empty and ours; what an earlier demo left is wiped. Returns its state folder."""
    mark, state = folder / MARK, folder / "state"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise Stop(f"{folder} is there and was not made by the demo; name another folder with --folder", 2)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.touch()
    with contextlib.suppress(FileNotFoundError):
        lock = os.open(state / "run" / "supervisor.lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            raise Stop(f"A demo runs in {folder} already (process {pid}).") from error
        finally:
            os.close(lock)
    for name in ("state", "delivered"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return state


class Demo:
    """One demo in *folder*."""

    def __init__(self, folder: FilePath) -> None:
        self._folder = folder
        self._gateway: asyncio.subprocess.Process | None = None
        self._stop = asyncio.Event()

    async def run(self, *, once: bool) -> int:
        """Starts everything, shows it, serves until it is told to stop (or, with *once*, ends). Returns the exit code."""
        from gateway.cli.next_hop import NextHop
        from gateway.cli.run import start_arguments

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        state = _fresh(self._folder)
        hop = NextHop(self._folder / "delivered")
        hop_port = await hop.start(_port(_HOP))
        path = self._folder / "gateway.toml"
        path.write_text(_config_text(state, _port(_SMTP), _port(_WEB), hop_port), "utf-8")
        config = load_config(path)
        log = os.open(self._folder / "gateway.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        output.write(f"Starting the gateway; its log is {_near(self._folder / 'gateway.log')}")
        flush()
        try:
            self._gateway = await asyncio.create_subprocess_exec(
                *start_arguments(path), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            os.close(log)
            show = asyncio.create_task(self._show(path, config, hop))
            ended = asyncio.create_task(self._gateway.wait())
            stop = asyncio.create_task(self._stop.wait())
            await asyncio.wait({show, ended, stop}, return_when=asyncio.FIRST_COMPLETED)
            if show.done():
                show.result()
                if not once:
                    await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and not stop.done():
                raise Stop(f"The gateway has ended (exit code {self._gateway.returncode}); its last word: {self._tail()}")
            show.cancel()
            return 0
        finally:
            await self._end()
            await hop.stop()

    def _tail(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self._folder / "gateway.log").read_text("utf-8", "replace").splitlines()
            own = [line for line in lines if line.startswith("gateway: ")]
            return (own or lines or [""])[-1]
        return ""

    async def _end(self) -> None:
        if self._gateway is not None and self._gateway.returncode is None:
            output.write("Stopping the gateway.")
            flush()
            with contextlib.suppress(ProcessLookupError):
                self._gateway.terminate()
            try:
                await asyncio.wait_for(self._gateway.wait(), 60)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._gateway.kill()
                await self._gateway.wait()

    async def _show(self, path: FilePath, config: Config, hop: NextHop) -> None:
        await self._until_ready(config)
        await _people(config)
        host, port = samples.listener(config)
        output.write(f"Sending the samples to {host}:{port}")
        flush()
        sent = [await asyncio.to_thread(samples.send, one, host, port, source=_STRANGER if one.stranger else "") for one in samples.load()]
        logged = await _logged(config, sent)
        await _settled(config)
        demo_report.write(sent, logged, policy.load(config.rules_dir, config).rules.rules)
        page = page_address(config)
        logins = {name: f"{page}/login?token={(await _ask(config, 'OneTimeLogin', user=name))[0]['token']}" for name in _PEOPLE}
        gateway, given = _own_name(), f"--config {_near(path)}"
        reports = sum(1 for one in hop.received if not one["sender"])
        output.write(
            f"\nThe stand-in next hop took {len(hop.received)} messages, {reports} of them reports and notices to the originators:"
            f"\n  {_near(hop.folder)}/*.eml"
            "\nHeld mail, in a browser (each link works once, within ten minutes):"
            f"\n  a reviewer, who says the first yes    {logins['reviewer']}"
            f"\n  a second approver (private window)    {logins['approver']}"
            f"{await asyncio.to_thread(_officer, hop)}"
            "\nFrom another terminal:"
            f"\n  {gateway} quarantine list {given}"
            f"\n  {gateway} audit search {given}"
            f"\n  {gateway} users login --as approver {given}    # another link"
            f"\n  {gateway} send-samples {given}   # or any SMTP client, to {host}:{port}"
            "\n\nServing; Ctrl-C stops it."
        )
        flush()

    async def _until_ready(self, config: Config) -> None:
        host, port = samples.listener(config)
        deadline = time.monotonic() + _READY
        while time.monotonic() < deadline:
            if await asyncio.to_thread(_takes_mail, host, port):
                return
            await asyncio.sleep(0.1)
        raise Stop(f"The gateway does not take mail after {_READY:.0f} seconds; its last word: {self._tail()}")


def _takes_mail(host: str, port: int) -> bool:
    try:
        with smtplib.SMTP(host, port, timeout=5) as client:
            client.ehlo("pc7.dept.gov.in")
            return client.mail("asha.verma@dept.gov.in")[0] == 250 and client.rcpt("so.budget@finance.nic.in")[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


async def _ask(config: Config, what: str, /, **fields: Any) -> tuple[dict[str, Any], ...]:
    """The rows of the keeper's answer to the request *what*; none when it fails."""
    from gateway import ipc, requests, rights

    channel = await ipc.Channel.connect(rights.place(config.run_dir, "keeper-admin.sock"), requests.KeeperAnswer)
    try:
        answer, _ = await asyncio.wait_for(channel.call(getattr(requests, what)(**fields)), 30)
    finally:
        channel.close()
    if isinstance(answer, requests.Failed):
        raise Stop(answer.message)
    return answer.rows if isinstance(answer, requests.Rows) else ()


_PEOPLE = {"reviewer": ("reviewer", "auditor", "administrator"), "approver": ("second-approver",)}
"""Two people and their roles, so that a release by two can be tried."""


async def _people(config: Config) -> None:
    """Adds them; the first is whoever runs this."""
    there = {str(row.get("name")) for row in await _ask(config, "ListUsers")}
    for name, roles in _PEOPLE.items():
        system = getpass.getuser() if name == "reviewer" else ""
        if name not in there:
            await _ask(config, "AddUser", name=name, system_user=system, email=f"{name}@dept.gov.in", grants=roles)


def _officer(hop: NextHop) -> str:
    """A line with the link of a held message's notice, as its originator finds it in his mailbox; empty where there is none."""
    for one in hop.received:
        content = (hop.folder / one["file"]).read_bytes() if not one["sender"] else b""
        if b"Action: delayed" not in content:
            continue
        for part in email.message_from_bytes(content).walk():
            text = bytes(part.get_payload(decode=True) or b"") if part.get_content_type() == "text/plain" else b""
            if found := re.search(rb"http://127\.0\.0\.1:\d+/officer/[a-z2-7]{72}", text):
                return f"\nThe page of an officer whose mail is held, from the notice to him:\n  {found[0].decode('ascii')}"
    return ""


async def _settled(config: Config) -> None:
    """Waits at most 10 seconds until the relay has nothing open."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not any(row.get("state") in ("scheduled", "leased") for row in await _ask(config, "ListQueue")):
            return
        await asyncio.sleep(0.1)


async def _logged(config: Config, sent: list[samples.Sent]) -> list[dict[str, tuple[str, str]]]:
    """Per sample what the decision log says: recipient to disposition and rule."""
    found: list[dict[str, tuple[str, str]]] = []
    for one in sent:
        logged: dict[str, tuple[str, str]] = {}
        for document in await _ask(config, "ShowAudit", id=one.reference) if one.reference else ():
            logged |= decided(document)
        found.append(logged)
    return found


def decided(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Recipient to disposition and rule, of one record of the decision log."""
    own = document.get("gateway", {})
    if (document.get("event") or {}).get("dataset") != "gateway.decision":
        return {}
    rule = str((document.get("rule") or {}).get("id", ""))
    found = {}
    for entry in (own.get("smtp") or {}).get("rcpt_to", ()):
        if isinstance(entry, dict) and entry.get("address"):
            found[str(entry["address"])] = (str(entry.get("disposition") or own.get("disposition") or ""), str(entry.get("rule") or rule))
    return found


def _own_name() -> str:
    """How the command can be called from where the person is."""
    import sys

    beside = FilePath(sys.executable).with_name("gateway")
    if shutil.which("gateway") or not beside.exists():
        return "gateway"
    return os.path.relpath(beside)


def _near(path: FilePath) -> str:
    """*path* as a person in this folder would write it."""
    here = FilePath.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def flush() -> None:
    """What is printed is seen at once, also through a pipe."""
    import sys

    sys.stdout.flush()
