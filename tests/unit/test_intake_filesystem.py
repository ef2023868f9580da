"""File system of a path, from the kernel's mount table."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropscribe.intake.filesystem import (
    FileSystem,
    InotifyLimits,
    filesystem_of,
    inotify_limits,
    mounts_below,
)

MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:50 / /srv/share rw,relatime shared:5 master:2 - nfs4 box:/export rw
41 40 0:51 / /srv/share/local rw - tmpfs none rw
42 27 0:52 / /srv/with\040blank\134 rw - cifs //box/x rw
43 27 0:53 / /srv/over rw - ext4 /dev/vdb rw
44 43 0:54 / /srv/over rw - 9p hostshare rw
45 27 0:55 / /home/u/remote rw - fuse.sshfs u@h: rw
46 27 0:56 / /home/u/pool rw - fuse.mergerfs a:b rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/var/lib/x.db", "ext4", False),
        ("/srv/share", "nfs4", True),
        ("/srv/share/a/b", "nfs4", True),
        ("/srv/shared", "ext4", False),
        ("/srv/share/local/a", "tmpfs", False),
        ("/srv/with blank\\/a", "cifs", True),
        ("/srv/over/a", "9p", True),
        ("/home/u/remote/a", "fuse.sshfs", True),
        ("/home/u/pool/a", "fuse.mergerfs", False),
    ],
)
def test_the_mount_a_path_lies_on(path: str, kind: str, network: bool) -> None:
    where = filesystem_of(Path(path), MOUNTS)
    assert where.type == kind
    assert where.network is network


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "fuse.rclone", "fuse"]
)
def test_network_types(kind: str) -> None:
    assert FileSystem(kind, "/x").network


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "zfs", "overlay", "fuseblk", "unknown"])
def test_local_types(kind: str) -> None:
    assert not FileSystem(kind, "/x").network


def test_mounts_inside_a_folder() -> None:
    assert mounts_below("/srv/share", MOUNTS) == {"/srv/share/local"}
    assert mounts_below("/srv/share/local", MOUNTS) == frozenset()


def test_the_file_system_of_this_machine_is_found(tmp_path: Path) -> None:
    assert filesystem_of(tmp_path).type != "unknown"
    assert filesystem_of(Path("/proc/self")).type == "proc"


def test_limits_are_the_lower_of_machine_and_namespace(tmp_path: Path) -> None:
    machine, namespace = tmp_path / "fs", tmp_path / "user"
    for folder in (machine, namespace):
        folder.mkdir()
    (machine / "max_user_watches").write_text("1000\n")
    (machine / "max_user_instances").write_text("128\n")
    (namespace / "max_inotify_watches").write_text("10\n")
    assert inotify_limits(machine, namespace) == InotifyLimits(10, 128, None)
