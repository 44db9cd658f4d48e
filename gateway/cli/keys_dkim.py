"""``gateway keys`` for DKIM: new keys, the record to publish, and whether it is published.

Who calls it: ``keys``; ``setup`` for the record.
Must never: print a private key; replace a key that is there; put a key to use by itself (only the config does).
Sources: RFC 6376 sections 3.1 and 3.6.1, RFC 8301 (RSA-2048), RFC 8463 (Ed25519, two signatures side by side).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import custody, output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, load_config

if TYPE_CHECKING:
    from gateway.config import Config

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DNS_SECONDS = 5.0
COLUMNS = [
    ("domain", "domain"),
    ("selector", "selector"),
    ("type", "type"),
    ("used", "signs"),
    ("published", "published"),
    ("place", "key"),
]
Lookup = Callable[[str], list[str]]
"""TXT records of a name; raises Unknown."""


class Unknown(Exception):
    """DNS gave no answer that counts; the text says why."""


def dns_record(key_file: FilePath) -> str:
    """The TXT record that publishes the public half of the DKIM key in *key_file*. Ends the command when it is no key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise Stop(f"{key_file}: is not a PEM private key without a password", 2) from error
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        data = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"v=DKIM1; k=rsa; p={base64.b64encode(data).decode()}"
    if isinstance(public, ed25519.Ed25519PublicKey):
        data = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(data).decode()}"
    raise Stop(f"{key_file}: a DKIM key is RSA or Ed25519", 2)


def make_key(path: FilePath, kind: str = "rsa") -> None:
    """Writes a new private key to *path*, mode 0600. Raises FileExistsError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    from gateway.vault import vault

    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    vault.make_key_file(path, pem)


def zone_lines(name: str, record: str) -> list[str]:
    """The record as it stands in a zone file: strings of at most 255 octets."""
    parts = [record[start : start + 250] for start in range(0, len(record), 250)]
    return [f"{name}. IN TXT (", *(f'    "{part}"' for part in parts), ")"]


def one_line(name: str, record: str) -> str:
    """The same on one line, as the forms of DNS providers want it."""
    return f"{name}. IN TXT {' '.join(line.strip() for line in zone_lines(name, record)[1:-1])}"


def _place(config: Config, domain: str, selector: str) -> FilePath:
    """Where the key of a selector lies: as the config says, else in state_dir/keys."""
    for entry in config.dkim:
        if (entry.domain.lower(), entry.selector.lower()) == (domain, selector):
            return entry.key_file
    return config.state_dir / "keys" / f"dkim-{domain}_{selector}.pem"


def _dkim(
    context: typer.Context,
    domain: Annotated[str, typer.Option("--domain", help="The d= domain.", metavar="D")],
    selector: Annotated[str, typer.Option("--selector", help="The s= selector; a new one for each key.", metavar="S")],
    kind: Annotated[str, typer.Option("--type", help="rsa (2048 bits) or ed25519.", metavar="TYPE")] = "rsa",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Make a DKIM key and print the record to publish; it signs when the config names it."""
    path = config_path(context, config)
    loaded = load_config(path)
    domain, selector = domain.lower().rstrip("."), selector.lower()
    if not all(_LABEL.fullmatch(label) for label in domain.split(".")) or "." not in domain:
        raise Stop(f"--domain: {domain!r} is not a domain name in A-labels", 2)
    if not all(_LABEL.fullmatch(label) for label in selector.split(".")):
        raise Stop(f"--selector: {selector!r} is not a DNS label", 2)
    if kind not in ("rsa", "ed25519"):
        raise Stop(f"--type: {kind!r} is not rsa or ed25519", 2)
    place = _place(loaded, domain, selector)
    if str(place).startswith("credential:"):
        raise Stop(
            f"the key of {selector} is the systemd credential {place}; take a new selector and encrypt its file with systemd-creds", 2
        )
    try:
        make_key(place, kind)
    except FileExistsError as error:
        raise Stop(f"{place} is there already; take a new selector, and see its record with: gateway keys dkim-list") from error
    custody.act(loaded, path, "dkim-key-made", f"{selector}._domainkey.{domain}")
    name, record = f"{selector}._domainkey.{domain}", dns_record(place)
    used = any(entry.key_file == place for entry in loaded.dkim)
    if json:
        output.json_lines([{"domain": domain, "selector": selector, "type": kind, "place": str(place), "name": name, "record": record}])
        return
    output.write(f"made  {place}\n\nPublish in DNS, as a zone file has it:")
    for line in zone_lines(name, record):
        output.write(line)
    output.write("\nor on one line:")
    output.write(one_line(name, record))
    if not used:
        output.write("\nWhen 'gateway keys dkim-list' says that it is published, put it to use (beside the old one, or in its place):")
        for line in ("[[dkim]]", f'domain = "{domain}"', f'selector = "{selector}"', f'key_file = "{place}"'):
            output.write(line)
        output.write("and run: gateway reload")


def _dkim_list(context: typer.Context, json: Json = False, config: ConfigFile = "") -> None:
    """Every DKIM key: whether it signs, and whether DNS has its record."""
    loaded = load_config(config_path(context, config))
    found = rows(loaded, resolver(loaded))
    output.show(found, json, COLUMNS, empty="There is no DKIM key.")
    if not json:
        for row in found:
            if row["published"] != "yes" and row["used"]:
                output.write(f"{row['name']}: signs, and its record is not as it should be: {row['published']}. Publish:")
                output.write(one_line(row["name"], row["record"]))


def keys_of(config: Config) -> Iterable[tuple[str, str, FilePath, bool]]:
    """Domain, selector, file and whether it signs: the keys that the config names, then those that lie ready."""
    named = set()
    for entry in config.dkim:
        named.add(entry.key_file)
        yield entry.domain, entry.selector, entry.key_file, True
    for file in sorted((config.state_dir / "keys").glob("dkim-*_*.pem")):
        if file not in named:
            domain, _, selector = file.name.removeprefix("dkim-").removesuffix(".pem").rpartition("_")
            yield domain, selector, file, False


def rows(config: Config, lookup: Lookup) -> list[dict[str, Any]]:
    """One row a key."""
    made = []
    for domain, selector, file, used in keys_of(config):
        name = f"{selector}._domainkey.{domain}"
        row: dict[str, Any] = {"domain": domain, "selector": selector, "name": name, "place": str(file), "used": used}
        try:
            record = dns_record(file)
        except OSError as error:
            made.append(row | {"type": "", "record": "", "published": f"unknown: the key cannot be read ({error.strerror})"})
            continue
        made.append(row | {"type": _tags(record)["k"], "record": record, "published": _published(name, record, lookup)})
    return made


def _tags(record: str) -> dict[str, str]:
    parts = (part.partition("=") for part in record.split(";"))
    return {name.strip(): re.sub(r"\s+", "", value) for name, _, value in parts if name.strip()}


def _published(name: str, record: str, lookup: Lookup) -> str:
    try:
        found = [_tags(text) for text in lookup(name)]
    except Unknown as error:
        return f"unknown: {error}"
    ours = _tags(record)
    found = [tags for tags in found if "p" in tags]
    if not found:
        return "no"
    if len(found) > 1:
        return "twice: a selector has one record"
    there = found[0]
    if not there["p"]:
        return "revoked (p= is empty)"
    if there["p"] != ours["p"] or there.get("k", "rsa") != ours["k"]:
        return "another key"
    if there.get("t") and "y" in there["t"].split(":"):
        return "as a test (t=y)"
    return "yes"


def resolver(config: Config) -> Lookup:
    """Look-ups by the config's resolvers, else the system's."""
    import dns.exception
    import dns.nameserver
    import dns.resolver

    def lookup(name: str) -> list[str]:
        try:
            asked = dns.resolver.Resolver(configure=not config.resolvers)
            if config.resolvers:
                hosts = [server.rpartition(":") if server.count(":") == 1 else (server, "", "") for server in config.resolvers]
                asked.nameservers = [dns.nameserver.Do53Nameserver(host, int(port or 53)) for host, _, port in hosts]
            asked.lifetime = _DNS_SECONDS
            answer = asked.resolve(name + ".", "TXT", raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return []
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise Unknown(str(error).splitlines()[0][:200] or type(error).__name__) from error
        return [b"".join(row.strings).decode("utf-8", "replace") for row in answer.rrset or ()]

    return lookup


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command("dkim")(_dkim)
    app.command("dkim-list")(_dkim_list)
