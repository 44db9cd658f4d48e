"""Makes one archive with which the gateway is installed on a machine that has no package index: ``make bundle``.

What it is: the project's own wheel, every wheel of requirements.lock and pip's own, an installer in plain sh, and SHA256SUMS.
The installer takes nothing that is not named with its hash.
Who calls it: the Makefile, on a machine with the package index and the same system as the target (or with --platform).
Must never: put in a package that the lock file does not name, or anything that would have to be compiled at the target.
Sources: pip's "Secure installs" (hash-checking mode) and "Installing from local packages".
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "gov-mail-gateway"


def pip(*arguments: str) -> None:
    """Runs pip; ends with its own words when it fails."""
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments], check=True, cwd=ROOT)


def digest(path: Path) -> str:
    """sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def say(text: str) -> None:
    """A step, on stderr."""
    print(text, file=sys.stderr, flush=True)


def built(source: Path, wheels: Path, lock: str) -> str:
    """Makes the wheel of a package that is published as source only; *lock* then names the wheel's hash instead."""
    name, version = re.fullmatch(r"(.+)-([^-]+?)\.(?:tar\.gz|zip)", source.name).groups()  # type: ignore[union-attr]
    pip("wheel", "--no-deps", "--wheel-dir", str(wheels), str(source))
    source.unlink()
    wheel = next(path for path in wheels.glob("*.whl") if path.name.lower().startswith(f"{name}-{version}-".lower()))
    if not wheel.name.endswith("-none-any.whl"):
        raise SystemExit(f"bundle: {wheel.name} was compiled on this machine and need not run on another; a wheel of it is needed")
    block = re.compile(rf"(?m)^({re.escape(name)}=={re.escape(version)}[^\n]*\n)(?:    --hash=[^\n]*\n)+", re.IGNORECASE)
    lock, count = block.subn(rf"\g<1>    --hash=sha256:{digest(wheel)}\n", lock)
    if count != 1:
        raise SystemExit(f"bundle: {name} {version} does not stand once in requirements.lock")
    return lock


def fill(folder: Path, platforms: list[str], version: str) -> Path:
    """Puts everything into *folder*. Returns the project's own wheel."""
    wheels = folder / "wheelhouse"
    wheels.mkdir()
    say("1/4 the project's own wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), ".")
    own = next(wheels.glob("gov_mail_gateway-*.whl"))
    say("2/4 the wheels of requirements.lock, each with its hash")
    target: list[str] = []
    for platform in platforms:
        target += ["--platform", platform]
    if platforms or version:
        target += ["--python-version", version or sysconfig.get_python_version(), "--implementation", "cp"]
    # The lock names everything, so nothing has to be resolved; --no-deps also lets a package come as source, with its hash.
    pip(
        "download", "--no-deps", "--prefer-binary", "--require-hashes", "--requirement", "requirements.lock", "--dest", str(wheels), *target
    )
    lock = (ROOT / "requirements.lock").read_text("utf-8").rstrip()
    for source in [path for path in wheels.iterdir() if path.suffix != ".whl"]:
        lock = built(source, wheels, lock)
    say("3/4 pip itself, since a bare machine may have none")
    pip("download", "--only-binary", ":all:", "--no-deps", "--dest", str(folder), "pip")
    project = own.name.split("-")[1]
    (folder / "install.lock").write_text(f"{lock}\n{NAME}=={project} \\\n    --hash=sha256:{digest(own)}\n", "utf-8")
    shutil.copy2(ROOT / "packaging" / "install.sh", folder / "install.sh")
    for name in ("README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy2(ROOT / name, folder / name)
    for name in ("systemd", "docs", "samples", "watch"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = "".join(f"{digest(path)}  {path.relative_to(folder)}\n" for path in files)
    (folder / "SHA256SUMS").write_text(sums, "utf-8")
    return own


def pack(folder: Path, archive: Path) -> None:
    """A tar.gz whose octets depend on what is in it, not on when it was made."""
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", "0")) or 1_700_000_000

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = moment
        member.mode = 0o755 if member.isdir() or member.name.endswith(".sh") else 0o644
        return member

    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        for path in [folder, *sorted(folder.rglob("*"))]:
            tar.add(path, arcname=str(Path(folder.name) / path.relative_to(folder)), recursive=False, filter=plain)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="One archive for machines without a package index.")
    parser.add_argument("--out", default="dist", help="folder of the archive")
    parser.add_argument("--platform", action="append", default=[], help="wheels for another system, such as manylinux_2_28_aarch64")
    parser.add_argument("--python-version", default="", help="wheels for another Python, such as 3.12")
    options = parser.parse_args()
    out = (ROOT / options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    version = options.python_version or f"{sys.version_info[0]}.{sys.version_info[1]}"
    system = options.platform[0] if options.platform else sysconfig.get_platform().replace("-", "_").replace(".", "_")
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        folder = Path(temporary) / f"{NAME}-bundle"
        folder.mkdir()
        own = fill(folder, options.platform, options.python_version)
        release = own.name.split("-")[1]
        folder = folder.rename(folder.with_name(f"{NAME}-{release}-py{version}-{system}"))
        archive = out / f"{folder.name}.tar.gz"
        say("4/4 the archive")
        pack(folder, archive)
        count = len(list((folder / "wheelhouse").iterdir()))
    print(f"{archive.relative_to(Path.cwd()) if archive.is_relative_to(Path.cwd()) else archive}")
    print(f"{archive.stat().st_size / 1e6:.0f} MB, {count} wheels, sha256 {digest(archive)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
