"""Which system user may connect to which of our sockets, and where the socket lies.

What it is: ``place`` finds a socket's path, ``admitted`` makes the test for its peers. Two arrangements: *one user* (``gateway
run``: every kind runs as the same user, who alone may connect) and *own users* (systemd: each kind is a user of its own; a socket
lies in a folder whose group is the kind that may connect, and the kernel's word on the peer must name that user as well).
Who calls it: keeper and inspector for what they serve; doors, web, supervisor and command line to connect.
Must never: admit a user because another check exists; take a user by a number that somebody else could have written.
Sources: docs/design.md section 2; unix(7) SO_PEERCRED; user_namespaces(7) on what a peer without a mapping looks like.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path as FilePath

from gateway.ipc import Credentials

USERS = {"keeper": "gateway-keeper", "inspector": "gateway-inspect", "doors": "gateway-doors", "web": "gateway-web"}
"""The system user of each kind; systemd/sysusers.d makes them."""
ADMINISTRATORS = "gateway-admin"
"""The group whose members may use the keeper's administration socket."""
_NOBODY = 65534  # /proc/sys/kernel/overflowuid, which a sandboxed unit does not see


def place(run_dir: FilePath, name: str) -> FilePath:
    """Path of the socket *name* (``keeper-doors.sock``): in the folder of its own that tmpfiles.d made, else in *run_dir* itself."""
    folder = run_dir / name.removesuffix(".sock")
    return (folder if folder.is_dir() else run_dir) / name


def installed() -> bool:
    """Whether this machine has the users of the systemd units."""
    return all(_uid(user) is not None for user in USERS.values())


def separated(kind: str) -> bool:
    """Whether this process, of *kind*, runs as the system user of that kind."""
    return _uid(USERS[kind]) == os.geteuid()


def admitted(server: str, client: str) -> Callable[[Credentials], bool]:
    """The test for peers of a socket that the kind *server* serves to the kind *client* (``doors``, ``web`` or ``admin``).

    One user: that user and root. Own users: exactly the user of *client*; for ``admin`` root and the members of
    ``gateway-admin``.
    """
    if not separated(server):
        own = (0, os.geteuid())
        return lambda peer: peer.uid in own
    if client == "admin":
        return lambda peer: peer.uid == 0 or _administrates(peer.uid)
    uid = _uid(USERS[client])
    if uid is None:
        return lambda _: False
    wanted = _seen(uid)
    return lambda peer: peer.uid == wanted


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _administrates(uid: int) -> bool:
    """Whether *uid* is in the group of the administrators now; looked up each time, since people come and go."""
    try:
        group, user = grp.getgrnam(ADMINISTRATORS), pwd.getpwuid(uid)
    except KeyError:
        return False
    return user.pw_gid == group.gr_gid or user.pw_name in group.gr_mem


def _seen(uid: int) -> int:
    """How *uid* looks to us in SO_PEERCRED: as nobody when our user namespace (PrivateUsers=) does not know it.

    Then the group and mode of the socket's folder are what tells users apart.
    """
    try:
        ranges = FilePath("/proc/self/uid_map").read_text("ascii").split()
    except OSError:
        return uid
    starts, lengths = ranges[0::3], ranges[2::3]
    known = any(int(start) <= uid < int(start) + int(length) for start, length in zip(starts, lengths, strict=True))
    return uid if known else _NOBODY
