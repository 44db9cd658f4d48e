"""``gateway send-samples``: the sample messages through real SMTP, to a running gateway.

What it is: the list of samples (``samples/samples.toml``), and one SMTP session a sample.
Who calls it: people who try a gateway; ``demo``.
Must never: send to anything but the gateway's own listener.
Source: docs/design.md section 10.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, load_config

if TYPE_CHECKING:
    from gateway.config import Config

OURS = "dept.gov.in"
"""The domain of the officers in the samples; it is replaced by the first of ``originators.domains``."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One message with its envelope. *stranger*: it comes from outside, not from a listed network."""

    file: FilePath
    title: str
    sender: str
    recipients: tuple[str, ...]
    stranger: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """What the gateway answered: the final reply, and those of refused recipients."""

    sample: Sample
    sender: str
    recipients: tuple[str, ...]
    code: int
    text: str
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def reference(self) -> str:
        """The reference that the reply names; empty when there is none."""
        words = self.text.replace("\n", " ").split()
        for before, word in itertools.pairwise(words):
            if before in ("accepted", "Ref"):
                return word
        return ""


def folder() -> FilePath:
    """Where the samples are: in the package, or beside it in a source tree."""
    package = FilePath(__file__).resolve().parents[1]
    inside = package / "shipped" / "samples"
    return inside if inside.is_dir() else package.parent / "samples"


def load() -> list[Sample]:
    """The samples in their order."""
    import tomllib

    place = folder()
    entries = tomllib.loads((place / "samples.toml").read_text("utf-8"))["sample"]
    return [Sample(place / one["file"], one["title"], one["from"], tuple(one["to"]), bool(one.get("stranger", False))) for one in entries]


def send(sample: Sample, host: str, port: int, *, ours: str = OURS, source: str = "") -> Sent:
    """Sends one sample; *source* is the local address that the connection comes from. Raises OSError without a connection."""

    def localised(text: str) -> str:
        return text.replace(OURS, ours)

    content = sample.file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").replace(OURS.encode(), ours.encode())
    sender, recipients = localised(sample.sender), tuple(localised(one) for one in sample.recipients)
    refused: list[tuple[str, str]] = []

    def result(code: int, text: bytes) -> Sent:
        return Sent(sample, sender, recipients, code, text.decode("ascii", "replace"), tuple(refused))

    import smtplib

    with smtplib.SMTP(timeout=60, source_address=(source, 0) if source else None) as client:
        code, text = client.connect(host, port)
        if code != 220:
            return result(code, text)
        client.ehlo("mail.example.org" if sample.stranger else f"pc7.{ours}")
        code, text = client.mail(sender, ["BODY=8BITMIME"] if not content.isascii() else [])
        if code != 250:
            return result(code, text)
        for one in recipients:
            code, text = client.rcpt(one)
            if code not in (250, 251):
                refused.append((one, f"{code} {text.decode('ascii', 'replace')}"))
        if len(refused) == len(recipients):
            return result(code, text)
        return result(*client.data(content))


def listener(config: Config) -> tuple[str, int]:
    """Host and port of the first SMTP listener that can be reached over TCP. Ends the command when there is none."""
    for listen in config.listen:
        if listen.door == "smtp" and not listen.address.startswith(("unix:", "systemd:")) and not listen.proxy_protocol:
            host, _, port = listen.address.rpartition(":")
            host = host.strip("[]")
            return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host), int(port)  # noqa: S104
    raise Stop("The config names no SMTP listener that can be reached over TCP.", 2)


def row(sent: Sent) -> dict[str, Any]:
    """As it is printed."""
    return {
        "sample": sent.sample.file.name, "title": sent.sample.title, "from": sent.sender, "to": list(sent.recipients), "code": sent.code,
        "reply": sent.text, "reference": sent.reference, "refused": [list(one) for one in sent.refused],
    }  # fmt: skip


def _send_samples(
    context: typer.Context,
    stranger_from: Annotated[
        str,
        typer.Option(
            "--stranger-from", help="Local address that the strangers' samples come from; absent: they are left out.", metavar="IP"
        ),
    ] = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Send the sample messages to the running gateway, and print what it answered."""
    loaded = load_config(config_path(context, config))
    host, port = listener(loaded)
    ours = loaded.originators.domains[0] if loaded.originators.domains else OURS
    rows = []
    for sample in load():
        if sample.stranger and not stranger_from:
            continue
        try:
            rows.append(row(send(sample, host, port, ours=ours, source=stranger_from if sample.stranger else "")))
        except OSError as error:
            raise Stop(f"{host}:{port}: {error}; is the gateway running?") from error
    columns = [("title", "sample"), ("to", "to"), ("code", "code"), ("reply", "reply")]
    output.show(rows, json, columns, empty="There are no samples.")


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("send-samples")(_send_samples)
