"""``gateway doctor``: what this machine and its neighbours would do to mail.

Who calls it: administrators; with a milter door each day gateway-doctor.timer, so that what it proves of Postfix stays known.
Must never: change a setting of this machine. It tells the keeper what it found of Postfix's TLS, and nothing else.
Sources: docs/design.md sections 4 ("The hop") and 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import check
from gateway.cli.options import ConfigFile, Json, Stop, config_path, has_config, load_config

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.doctor import Finding
    from gateway.doctor_transport import Proof

_LONGEST = 500  # characters of the sentence for the log


def _doctor(
    context: typer.Context,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the next hops and the DNS.")] = False,
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Look at this machine and its neighbours: interpreter, libraries, disk, permissions, clock, certificates, Postfix, next hops, DKIM in
    the DNS. Each line is ok, or says what to do; nothing keeps the gateway from starting. With a milter door, the running gateway is told
    whether the Postfix here sends on under TLS with AES-256 only; it believes that for 8 days."""
    from gateway import doctor, doctor_clock, doctor_dkim, doctor_hops, doctor_libraries, doctor_postfix
    from gateway.config import Config

    path = config_path(context, config)
    known = has_config(context, config)
    loaded = load_config(path) if known else Config()

    def findings() -> Iterator[Finding]:
        yield from doctor.examine(loaded)
        yield from doctor_libraries.examine()
        yield from doctor_clock.examine()
        yield from check.certificates(loaded)
        yield from doctor_postfix.examine(loaded)
        proof = doctor_postfix.proof(loaded)
        if proof is not None:
            yield from transport(proof)
            yield told(loaded, path, proof)
        if not offline:
            yield from doctor_hops.examine(loaded)
            yield from doctor_dkim.examine(loaded)

    check.show_all(findings(), json)


def transport(proof: Proof) -> Iterator[Finding]:
    """What is proved of the way that mail takes after the milter door, and what to write where it is not."""
    from gateway import doctor_transport
    from gateway.doctor import Finding

    if proof.protected:
        yield Finding("mta tls", "ok", proof.said)
    for gap in proof.gaps:
        yield Finding("mta tls", "warning", f"AES-256 not proved: {gap}")
    if proof.gaps:
        text = "CONFIDENTIAL and RESTRICTED mail that came by the milter is held, unless encrypted attachments carry its content"
        yield Finding("mta tls", "warning", f"{text}; {doctor_transport.WRITE}")
    for remark in proof.remarks:
        yield Finding("mta tls", "warning", remark)


def told(config: Config, path: FilePath, proof: Proof) -> Finding:
    """Tells the keeper, and says whether it knows now."""
    from gateway import inquiries
    from gateway.cli import link
    from gateway.doctor import Finding

    # What stands in somebody's table must not keep the keeper from learning that nothing is proved.
    said = "".join(letter if letter.isprintable() else " " for letter in proof.said)[:_LONGEST]
    try:
        link.ask(config, path, inquiries.NoteMta(proof.protected, proof.settings, said))
    except Stop as stop:
        return Finding("mta tls", "warning", f"the gateway could not be told: {stop}")
    return Finding("mta tls", "ok", f"the gateway knows now that it is {'' if proof.protected else 'not '}proved; that holds for 8 days")


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("doctor")(_doctor)
