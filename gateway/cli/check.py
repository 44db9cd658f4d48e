"""``gateway check``: is this set-up fit to run?

Who calls it: administrators before the first start and after a change; scripts by the exit code.
Must never: change anything; print a secret.
Source: docs/design.md section 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import check_archive, check_doors, check_inspection, check_review, logins, output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, has_config, load_config

if TYPE_CHECKING:
    from gateway.config import Config, Route
    from gateway.doctor import Finding

_CONNECT = 10.0  # seconds for the next hop's answers


def _doors(config: Config) -> Iterator[Finding]:
    """The listeners: what keeps one from starting, and what lets in more than it should."""
    from gateway.doctor import Finding
    from gateway.doors import listen

    lacking = listen.lacking(config)
    for lack in lacking:
        yield Finding("listen", "wrong", lack)
    for one in config.listen:
        if one.door == "web" and one.proxy_protocol:
            yield Finding(
                "listen", "warning", f"proxy_protocol has no effect on the web door ({one.address}): put a proxy for HTTP before it"
            )
        if one.door == "web" and one.networks and one.address.startswith("unix:"):
            yield Finding("listen", "wrong", f"networks on {one.address}: a unix socket has no addresses, so nobody could use the page")
        elif one.door in ("submission", "smtps") and not lacking:
            by = f", behind {', '.join(one.proxies)}" if one.proxies else ""
            yield Finding("listen", "ok", f"{one.door} on {one.address}{by}: for {', '.join(one.networks) or 'any address'}")
    if config.originators.require_auth and not any(one.door in ("submission", "smtps") for one in config.listen):
        yield Finding(
            "listen",
            "wrong",
            'originators.require_auth = true, and nobody can sign in: add a [[listen]] with door = "submission" or "smtps"',
        )


def _rules(config: Config) -> Iterator[Finding]:
    from gateway import policy
    from gateway.cli import check_rules
    from gateway.doctor import Finding

    try:
        loaded = policy.load(config.rules_dir, config)
        failed = [result for result in loaded.test() if not result.ok]
    except policy.PolicyError as error:
        yield Finding("rules", "wrong", str(error))
        return
    yield Finding("rules", "ok", f"{len(loaded.rules.rules)} rules from {config.rules_dir or 'the package'}, version {loaded.version}")
    for result in failed:
        yield Finding("examples", "wrong", f"{result.file}:{result.line}: {result.rule}: {result.name}: {result.reason}")
    if not failed:
        yield Finding("examples", "ok", "every example of every rule holds")
    yield from check_rules.needs(config, loaded)


def _keys(config: Config) -> Iterator[Finding]:
    from gateway.audit import chain_keys
    from gateway.cli.keys import dns_record
    from gateway.doctor import Finding
    from gateway.vault import vault

    own = config.state_dir / "keys" / "vault.key"
    has_store = (config.state_dir / "gateway.db").exists()
    if config.vault.key_file is None and not config.vault.credential:
        if has_store and not own.exists():
            yield Finding("vault", "wrong", vault.LOST.format(place=own))
            text = ""
        elif own.exists():
            text = f"the vault key lies beside the store ({own}): whoever gets the disk gets both; name vault.key_file or vault.credential"
        else:
            text = f"a vault key will be made at {own}; better name vault.key_file or vault.credential"
        if text:
            yield Finding("vault", "warning", text)
    elif config.vault.key_file is not None:
        try:
            vault.read_secret(config.vault.key_file)
        except vault.VaultError as error:
            lost = has_store and not config.vault.key_file.exists()
            text = vault.LOST.format(place=config.vault.key_file) if lost else f"{error}; gateway keys init makes one where there is none"
            yield Finding("vault", "wrong", text)
        else:
            yield Finding("vault", "ok", f"vault key {config.vault.key_file}")
    else:
        yield Finding("vault", "ok", f"vault key from the systemd credential {config.vault.credential}")
    if chain_keys.key_lost(config):
        yield Finding("audit", "wrong", chain_keys.LOST.format(path=chain_keys.key_file(config)))
    for entry in config.dkim:
        try:
            dns_record(entry.key_file)
        except OSError as error:
            yield Finding("dkim", "wrong", f"{entry.key_file}: {error.strerror}; make it with: gateway keys init")
        except Stop as stop:
            yield Finding("dkim", "wrong", str(stop))
        else:
            yield Finding("dkim", "ok", f"{entry.selector}._domainkey.{entry.domain}: {entry.key_file}")
    if not config.dkim:
        yield Finding("dkim", "warning", "no [[dkim]]: outbound mail is not signed")


def certificates(config: Config) -> Iterator[Finding]:
    """Certificates and the keys that go with them: readable, and for how long."""
    import ssl
    from datetime import UTC, datetime

    from cryptography import x509

    from gateway.doctor import Finding

    files = [("tls", config.tls.certificate), ("sealed", config.sealed.certificate)]
    for name, path in files:
        if path is None:
            continue
        try:
            found = x509.load_pem_x509_certificates(path.read_bytes())[0]
        except (OSError, ValueError, IndexError) as error:
            yield Finding(
                name, "wrong", f"{path}: is not a readable PEM certificate ({getattr(error, 'strerror', None) or 'wrong format'})"
            )
            continue
        days = (found.not_valid_after_utc - datetime.now(UTC)).days
        if days < 0:
            yield Finding(name, "wrong", f"{path}: expired on {found.not_valid_after_utc:%Y-%m-%d}; renew it")
        elif days < 21:
            yield Finding(name, "warning", f"{path}: expires in {days} days; renew it")
        else:
            yield Finding(name, "ok", f"{path}: valid until {found.not_valid_after_utc:%Y-%m-%d}")
    if config.tls.certificate is not None and config.tls.key is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.tls.certificate, config.tls.key)
        except (OSError, ssl.SSLError) as error:
            yield Finding("tls", "wrong", f"{config.tls.key}: does not go with {config.tls.certificate} ({error.strerror or error})")
    elif config.tls.certificate is None:
        yield Finding("tls", "warning", "no [tls]: the doors offer no STARTTLS")
    if config.sealed.certificate is None:
        yield Finding("sealed", "warning", "no [sealed]: mail that is probably SECRET or TOP SECRET is refused instead of held")


def _store(config: Config) -> Iterator[Finding]:
    import asyncio

    from gateway.doctor import Finding
    from gateway.stores.base import StoreError
    from gateway.stores.sqlite.store import SqliteStore
    from gateway.vault import vault

    if config.store.shared:
        from gateway.cli import check_store

        yield from check_store.findings(config)
        return
    path = config.state_dir / "gateway.db"
    if not path.exists():
        yield Finding("store", "ok", f"{path} will be made at the first start")
        return

    async def look() -> tuple[int, dict[str, int]]:
        store = SqliteStore(path, read_only=True)
        await store.open()
        try:
            return len(await store.audit_chains()), await store.bodies_by_key()
        finally:
            await store.close()

    try:
        chains, bodies = asyncio.run(look())
    except StoreError as error:
        yield Finding("store", "wrong", str(error))
    else:
        yield Finding("store", "ok", f"{path}, {chains} audit chain{'s' * (chains != 1)}")
        try:
            # Nothing is made here: a key that is not there is what _keys speaks of.
            here = vault.load(config)[0].ids if vault.current_place(config).exists() else frozenset(bodies)
        except vault.VaultError:
            return
        lost = {key: count for key, count in bodies.items() if key not in here}
        if lost:
            text = f"{sum(lost.values())} bodies need vault key {', '.join(sorted(lost))}, which is not here: their mail is on hold"
            yield Finding("vault", "wrong", f"{text}; put it back from your backup or from paper with: gateway keys recover")


def _hop(route: Route) -> Finding:
    """Connects, greets and, where the route wants it, starts TLS; sends no mail."""
    import smtplib
    import socket
    import ssl

    from gateway.doctor import Finding

    name = f"next hop {route.next_hop} for {', '.join(route.domains)}"
    if route.next_hop.startswith("unix:"):
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(_CONNECT)
                sock.connect(route.next_hop[5:])
        except OSError as error:
            return Finding("next hop", "wrong", f"{name}: {error.strerror or error}")
        return Finding("next hop", "ok", name)
    host, _, port = route.next_hop.rpartition(":")
    host = host.strip("[]")
    try:
        with smtplib.SMTP(timeout=_CONNECT) as client:
            client.connect(host, int(port))
            client.ehlo()
            if route.tls == "none":
                return Finding("next hop", "ok", f"{name}: answers, without TLS on this machine")
            if not client.has_extn("starttls"):
                state = "wrong" if route.tls == "required" else "warning"
                return Finding("next hop", state, f"{name}: offers no STARTTLS")
            context = ssl.create_default_context(cafile=str(route.tls_ca) if route.tls_ca else None)
            # smtplib checks the certificate against this name.
            client._host = route.tls_name or host  # type: ignore[attr-defined]
            client.starttls(context=context)
            suite = client.sock.cipher() if isinstance(client.sock, ssl.SSLSocket) else None
            return Finding("next hop", "ok", f"{name}: {suite[1]} {suite[0]}" if suite else name)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        return Finding("next hop", "wrong" if route.tls != "opportunistic" else "warning", f"{name}: {error}")


def _routes(config: Config) -> Iterator[Finding]:
    from gateway.doctor import Finding

    if not config.route:
        yield Finding("next hop", "wrong", "no [[route]]: no mail can be delivered")
    if not config.originators.domains:
        yield Finding("originators", "warning", "originators.domains is empty: no mail counts as official")
    if not config.originators.networks:
        yield Finding("originators", "warning", "originators.networks is empty: only clients that sign in may send official mail")
    yield from hops(config)


def hops(config: Config) -> Iterator[Finding]:
    """Each next hop: whether it answers, and with which cipher."""
    for route in config.route:
        yield _hop(route)


_WORDS = {"ok": "ok", "warning": "warn", "wrong": "WRONG"}


def line(finding: Finding) -> str:
    """*finding* as people read it."""
    return f"{_WORDS[finding.state]:<6} {finding.subject:<12} {output.safe(finding.text)}"


def show_all(findings: Iterator[Finding], json: bool) -> None:
    """One line each; exit code 1 if one of them is wrong."""
    wrong = False
    for finding in findings:
        wrong |= finding.state == "wrong"
        if json:
            output.write(output.json_line(asdict(finding)))
        else:
            output.write(line(finding))
    if wrong:
        raise typer.Exit(1)


def options(config: Config) -> Iterator[dict[str, Any]]:
    """Every option with its value, default and sentence."""
    from pydantic import BaseModel
    from pydantic_core import PydanticUndefined

    def plain(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value if value is None or isinstance(value, (bool, int, float)) else str(value)

    def walk(prefix: str, model: BaseModel) -> Iterator[dict[str, Any]]:
        for name, field in type(model).model_fields.items():
            value = getattr(model, name)
            if isinstance(value, BaseModel):
                yield from walk(f"{prefix}{name}.", value)
                continue
            if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
                for number, item in enumerate(value):
                    yield from walk(f"{prefix}{name}[{number}].", item)
                continue
            default = None if field.default is PydanticUndefined else plain(field.default)
            sentence = field.description or ("None is configured." if value == () else "")
            yield {"option": f"{prefix}{name}", "value": plain(value), "default": default, "sentence": sentence}

    yield from walk("", config)


def _check(
    context: typer.Context,
    show: Annotated[bool, typer.Option("--show", help="Print every option with its value, default and sentence.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not connect to the next hops.")] = False,
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Check config, rules, examples, keys, certificates, store and next hops; each line ok or what to do."""
    from gateway.cli import check_backup
    from gateway.config import Config
    from gateway.doctor import Finding

    path = config_path(context, config)
    if show:
        shown = load_config(path) if has_config(context, config) else Config()
        columns = [("option", "option"), ("value", "value"), ("default", "default"), ("sentence", "what it is")]
        output.show(list(options(shown)), json, columns, empty="")
        return
    loaded = load_config(path)

    def findings() -> Iterator[Finding]:
        yield Finding("config", "ok", str(path))
        yield from _doors(loaded)
        yield from _rules(loaded)
        yield from _keys(loaded)
        yield from certificates(loaded)
        yield from _store(loaded)
        yield from check_backup.findings(loaded)
        yield from check_inspection.findings(loaded)
        yield from logins.findings(loaded, offline=offline)
        yield from check_doors.findings(loaded, offline=offline)
        yield from check_archive.findings(loaded, offline=offline)
        yield from check_review.findings(loaded, offline=offline)
        if not offline:
            yield from _routes(loaded)

    show_all(findings(), json)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command("check")(_check)
