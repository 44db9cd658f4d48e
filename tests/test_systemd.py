"""The units of systemd: how much each process could still do, whether systemd understands them, and what they promise each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway import doctor_milter, rights, serving
from gateway.config import Config, Limits

UNITS = Path(__file__).resolve().parents[1] / "systemd"
SERVICES = {"keeper": 1.5, "inspector": 0.6, "doors": 1.5, "web": 1.5, "backup": 1.5, "doctor": 1.5}
"""The exposure that systemd-analyze may find at most."""
SOCKETS = {
    "smtp": "25", "submission": "587", "smtps": "465", "web": "127.0.0.1:8080", "imaps": "993", "imap": "143",
    "milter": "/var/spool/postfix/gateway/milter.sock",
}  # fmt: skip
analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


class Unit:
    """A unit file: options by section, each with all its values."""

    def __init__(self, path: Path) -> None:
        self.values: dict[tuple[str, str], list[str]] = {}
        section = ""
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif line and not line.startswith("#"):
                name, _, value = line.partition("=")
                self.values.setdefault((section, name), []).append(value)

    def all(self, section: str, name: str) -> list[str]:
        return " ".join(self.values.get((section, name), [])).split()

    def one(self, section: str, name: str) -> str:
        (value,) = self.values[section, name]
        return value


def service(kind: str) -> Unit:
    return Unit(UNITS / f"gateway-{kind}.service")


@analyze
@pytest.mark.parametrize(("kind", "most"), SERVICES.items())
def test_P24_exposure(kind: str, most: float) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / f"gateway-{kind}.service")],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= most


@analyze
def test_systemd_understands_every_unit(tmp_path: Path) -> None:
    for unit in UNITS.glob("gateway*.*"):
        # The program is not installed where this test runs.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/bin/gateway", shutil.which("true") or "/bin/true"))
    for dropin in (UNITS / "examples").glob("*.d/*.example"):
        (tmp_path / dropin.parent.name).mkdir(exist_ok=True)
        (tmp_path / dropin.parent.name / dropin.name.removesuffix(".example")).write_text(dropin.read_text())
    units = sorted(str(path) for path in tmp_path.glob("gateway*.*") if path.is_file())
    assert len(units) == 16
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
    about_us = [line for line in done.stderr.splitlines() if "gateway" in line]
    assert about_us == []
    assert done.returncode == 0


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_systemd_makes_the_users_and_the_folders(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(UNITS / "sysusers.d" / "gateway.conf")], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0
    assert "not a valid" not in done.stderr
    users = {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[0] for line in (tmp_path / "etc/group").read_text().splitlines()}
    assert set(rights.USERS.values()) <= users
    assert rights.ADMINISTRATORS in groups
    assert rights.ADMINISTRATORS not in users


@pytest.mark.parametrize("kind", serving.KINDS)
def test_each_kind_is_a_user_of_its_own_and_is_watched(kind: str) -> None:
    unit = service(kind)
    assert unit.one("Service", "User") == rights.USERS[kind]
    assert unit.one("Service", "Group") == rights.USERS[kind]
    assert f"--only {kind}" in unit.one("Service", "ExecStart")
    assert unit.one("Service", "Type") == "notify"
    assert unit.one("Service", "NotifyAccess") == "main"
    assert unit.one("Service", "Restart") == "always"
    assert 0 < int(unit.one("Service", "WatchdogSec")) <= 60
    assert "HUP $MAINPID" in unit.one("Service", "ExecReload")
    if kind in ("keeper", "doors"):  # each asks only for what its own user may read
        assert f"gateway describe --only {kind} --config" in unit.one("Service", "ExecReload")
    assert unit.one("Unit", "PartOf") == "gateway.target"
    assert f"gateway-{kind}.service" in Unit(UNITS / "gateway.target").all("Unit", "Wants")


def test_the_doors_open_after_keeper_and_inspector_and_outlive_their_restart() -> None:
    unit = service("doors")
    needed = {"gateway-keeper.service", "gateway-inspector.service"}
    assert needed <= set(unit.all("Unit", "After"))
    assert needed <= set(unit.all("Unit", "Wants"))
    assert not unit.all("Unit", "Requires") + unit.all("Unit", "BindsTo")


def test_the_times_to_stop_leave_room_for_the_drain() -> None:
    drain = Limits().drain
    assert int(service("doors").one("Service", "TimeoutStopSec")) > drain + 2
    assert int(service("keeper").one("Service", "TimeoutStopSec")) > 2 * drain


@pytest.mark.parametrize(("name", "port"), SOCKETS.items())
def test_the_sockets_have_the_names_that_the_config_uses(name: str, port: str) -> None:
    unit = Unit(UNITS / f"gateway-{name}.socket")
    assert unit.one("Socket", "ListenStream") == port
    assert unit.one("Socket", "FileDescriptorName") == name
    assert unit.one("Socket", "Service") == ("gateway-web.service" if name == "web" else "gateway-doors.service")
    # Not in every installation: a socket that no [[listen]] names would let its clients wait for ever.
    assert f"gateway-{name}.socket" not in " ".join(service("doors").all("Service", "Sockets"))


def test_only_the_keeper_comes_to_keys_and_store_and_nobody_else_to_the_network_than_who_needs_it() -> None:
    for kind in ("inspector", "doors", "web"):
        hidden = service(kind).all("Service", "InaccessiblePaths")
        assert {"-/var/lib/gateway", "-/etc/gateway/keys"} <= set(hidden)
        assert not service(kind).all("Service", "StateDirectory")
    for kind in ("inspector", "web"):
        assert service(kind).one("Service", "PrivateNetwork") == "yes"
        assert service(kind).all("Service", "RestrictAddressFamilies") == ["AF_UNIX"]
    # Who looks at the user of a peer must see users.
    assert not service("keeper").all("Service", "PrivateUsers")


def test_each_socket_between_the_processes_has_a_folder_whose_group_is_its_client() -> None:
    lines = [line.split() for line in (UNITS / "tmpfiles.d" / "gateway.conf").read_text().splitlines() if line.startswith("d")]
    folders = {line[1]: (line[2], line[3], line[4]) for line in lines}
    keeper, inspector = rights.USERS["keeper"], rights.USERS["inspector"]
    assert folders["/run/gateway/keeper-doors"] == ("2750", keeper, rights.USERS["doors"])
    assert folders["/run/gateway/keeper-web"] == ("2750", keeper, rights.USERS["web"])
    assert folders["/run/gateway/keeper-admin"] == ("2750", keeper, rights.ADMINISTRATORS)
    assert folders["/run/gateway/inspector"] == ("2750", inspector, rights.USERS["doors"])
    assert folders["/run/gateway/inspector-keeper"] == ("2750", inspector, keeper)
    assert folders["/run/gateway"] == ("0755", "root", "root")
    assert folders["/etc/gateway/keys"] == ("0750", "root", keeper)
    assert folders["/etc/gateway/tls"] == ("0750", "root", rights.USERS["doors"])


def test_the_folder_of_the_sockets_is_an_option(tmp_path: Path) -> None:
    assert Config(state_dir=tmp_path).run_dir == tmp_path / "run"
    assert Config(state_dir=tmp_path, run_dir=Path("/run/gateway")).run_dir == Path("/run/gateway")
    assert rights.place(tmp_path, "keeper-doors.sock") == tmp_path / "keeper-doors.sock"
    (tmp_path / "keeper-doors").mkdir()
    assert rights.place(tmp_path, "keeper-doors.sock") == tmp_path / "keeper-doors" / "keeper-doors.sock"


def test_the_inspector_may_put_its_programs_behind_a_fence() -> None:
    """Without landlock_add_rule a program beside the workers could read nothing, not even its own libraries, and would not start."""
    allowed = service("inspector").all("Service", "SystemCallFilter")
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "prlimit64"} <= set(allowed)
    assert not {"/usr/bin", "/usr"} & set(service("inspector").all("Service", "NoExecPaths"))


def test_postfix_alone_comes_to_the_milters_socket() -> None:
    unit = Unit(UNITS / "gateway-milter.socket")
    assert (unit.one("Socket", "SocketGroup"), unit.one("Socket", "SocketMode")) == ("postfix", "0660")
    assert int(unit.one("Socket", "DirectoryMode"), 8) & 0o022 == 0
    assert unit.one("Socket", "ListenStream") == f"/var/spool/postfix/{doctor_milter.SOCKET}"


def test_the_doctor_reads_everything_and_reaches_the_keeper_only() -> None:
    unit = service("doctor")
    assert unit.one("Service", "CapabilityBoundingSet") == "CAP_DAC_READ_SEARCH"
    assert unit.one("Service", "PrivateNetwork") == "yes"
    assert unit.all("Service", "RestrictAddressFamilies") == ["AF_UNIX"]
    assert unit.all("Service", "SupplementaryGroups") == [rights.ADMINISTRATORS]
    assert "--offline" in unit.one("Service", "ExecStart")
    # With it, Postfix's master would look as if it did not run.
    assert not unit.all("Service", "ProtectProc")
    # A note of the doctor holds for 8 days: one that failed must not be the last.
    assert Unit(UNITS / "gateway-doctor.timer").one("Timer", "OnCalendar").startswith("*-*-* ")
