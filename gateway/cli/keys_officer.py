"""``gateway keys security-officer``: a certificate to which mail and backups are sealed, and a private key that stays away from here.

Who calls it: ``keys``.
Must never: write the private key without a passphrase, or into state_dir; say that a certificate will do which cannot be sealed to.
Sources: RFC 5652 section 6.2.1, RFC 5280 section 4.2.1.3 (key usage); docs/design.md section 4 (TOP SECRET and SECRET).
"""

from __future__ import annotations

import datetime
from pathlib import Path as FilePath
from typing import Annotated, Any

import typer

from gateway.cli import custody, output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, load_config

_BITS = 3072
_DAYS = 3 * 365
USES = {"sealed": "messages that are probably TOP SECRET or SECRET", "backup": "backups"}
"""What a certificate may be for."""


def examine(path: FilePath) -> dict[str, Any]:
    """What the certificate *path* is; seals a probe to it. Ends the command when nothing can be sealed to it."""
    import hashlib

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import Encoding

    from gateway.vault import sealing

    try:
        seal = sealing.load(path)
    except sealing.SealingError as error:
        raise Stop(str(error)) from error
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    public = certificate.public_key()
    assert isinstance(public, RSAPublicKey)
    if public.key_size < 2048:
        raise Stop(f"{path}: the key has {public.key_size} bits; 2048 or more are needed")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not usage.key_encipherment:
        raise Stop(f"{path}: this certificate is not for encryption (its key usage lacks keyEncipherment); ask for one that is")
    now = datetime.datetime.now(datetime.UTC)
    ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    if ends <= now:
        raise Stop(f"{path}: this certificate ended on {ends:%Y-%m-%d}")
    if begins > now:
        raise Stop(f"{path}: this certificate is valid from {begins:%Y-%m-%d %H:%M} UTC on; is the clock right?")
    probe = seal.seal("probe", b"probe", "", 0.0)
    assert b"probe" not in probe.ciphertext
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
    return {
        "certificate": str(path), "subject": certificate.subject.rfc4514_string(), "bits": public.key_size,
        "ends": f"{ends:%Y-%m-%d}", "days_left": (ends - now).days, "sha256": digest,
    }  # fmt: skip


def make(key_file: FilePath, certificate_file: FilePath, name: str, phrase: bytes) -> None:
    """Writes a new key, encrypted with *phrase*, and its self-signed certificate. Raises FileExistsError, OSError."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    from gateway.vault import vault

    key = rsa.generate_private_key(65537, _BITS)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=True, data_encipherment=False, key_agreement=False,
        key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=_DAYS)).add_extension(usage, critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(phrase)
    )  # fmt: skip
    vault.make_key_file(key_file, pem)
    vault.make_key_file(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
    certificate_file.chmod(0o644)


def _officer(
    context: typer.Context,
    key_out: Annotated[
        str, typer.Option("--key-out", help="New file for the private key, on what the officer takes away.", metavar="FILE")
    ] = "",
    certificate_out: Annotated[str, typer.Option("--certificate-out", help="New file for the certificate.", metavar="FILE")] = "",
    check: Annotated[str, typer.Option("--check", help="Look at a certificate that is there instead.", metavar="FILE")] = "",
    use: Annotated[str, typer.Option("--for", help="sealed (the security officer's) or backup.", metavar="USE")] = "sealed",
    name: Annotated[str, typer.Option("--name", help="Name in the certificate.", metavar="NAME")] = "",
    passphrase_file: Annotated[
        str, typer.Option("--passphrase-file", help="File with the passphrase; default: typed.", metavar="FILE")
    ] = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Make the security officer's certificate and key, or check one that is there."""
    path = config_path(context, config)
    loaded = load_config(path)
    if use not in USES:
        raise Stop(f"--for: {use!r} is not sealed or backup", 2)
    if check:
        if key_out or certificate_out:
            raise Stop("--check looks at a certificate that is there; it goes without --key-out and --certificate-out", 2)
        row = examine(FilePath(check))
    else:
        if not key_out or not certificate_out:
            raise Stop("--key-out and --certificate-out: name the two files, or --check FILE", 2)
        key_file, certificate_file = FilePath(key_out).absolute(), FilePath(certificate_out).absolute()
        if key_file.resolve().is_relative_to(loaded.state_dir.resolve()):
            raise Stop(f"--key-out: {key_file} is in state_dir; the private key must not stay on the gateway", 2)
        for file in (key_file, certificate_file):
            if file.exists():
                raise Stop(f"{file} is there already; nothing was made")
        phrase = custody.passphrase(passphrase_file, twice=True, what="Passphrase of the private key")
        make(key_file, certificate_file, name or f"Security Officer {loaded.hostname}", phrase)
        row = examine(certificate_file)
        custody.act(loaded, path, "officer-certificate-made", row["sha256"], use)
    if json:
        output.json_lines([row])
        return
    output.write(f"{row['certificate']}: {row['subject']}, RSA {row['bits']}, until {row['ends']}; it can be sealed to.")
    output.write(f"sha256 fingerprint {':'.join(row['sha256'][at : at + 2].upper() for at in range(0, 64, 2))}")
    if not check:
        output.write(
            f"The private key is {key_file}, encrypted. Take it away from this machine: {USES[use]} open with it and nothing else."
        )
    output.write(f'In the config: [{use}] certificate = "{row["certificate"]}"')


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("security-officer")(_officer)
