"""Which file systems are those of a network, and what is done on them."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from cloudburst.outputs.databases import file_system, network_file_system

MOUNTINFO = r"""
22 28 0:20 / /proc rw,nosuid shared:13 - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
90 28 0:40 / /home rw - nfs4 server:/home rw,vers=4.2,addr=192.0.2.1
91 90 254:1 / /home/ann/local rw shared:2 master:3 - xfs /dev/vdb rw
92 28 0:41 / /mnt/my\040videos\011(1) rw - cifs //server/videos rw
93 28 0:42 / /data rw - ext4 /dev/vdc rw
94 28 0:43 / /data rw - fuse.sshfs ann@server:/data rw
95 28 0:44 / /homeless rw - btrfs /dev/vdd rw
a line of some later kernel
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib", "ext4"),
        ("/home", "nfs4"),
        ("/home/ann/out", "nfs4"),
        ("/home/ann/local", "xfs"),
        ("/home/ann/local/out", "xfs"),
        ("/home/ann/locally", "nfs4"),
        ("/homeless/out", "btrfs"),
        ("/mnt/my videos\t(1)/out", "cifs"),
        ("/mnt/my videos", "ext4"),
        ("/data/out", "fuse.sshfs"),  # the later one hides the earlier
    ],
)
def test_the_nearest_mount_point_counts(path, kind):
    assert file_system(MOUNTINFO, PurePosixPath(path)) == kind


def test_nothing_told_is_nothing_known():
    assert file_system("", PurePosixPath("/home")) == ""


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """Says that the folder of this test is mounted from elsewhere."""

    def mount(kind):
        mountinfo = tmp_path / "mountinfo"
        place = str(tmp_path.resolve()).replace(" ", r"\040")
        mountinfo.write_text(f"{MOUNTINFO}\n99 28 0:9 / {place} rw - {kind} it rw\n")
        monkeypatch.setattr("cloudburst.outputs.databases._MOUNTINFO", mountinfo)

    return mount


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"])
def test_network_file_systems(tmp_path, mounted, kind):
    mounted(kind)
    (tmp_path / "out").mkdir()
    assert network_file_system(tmp_path / "out") == kind


@pytest.mark.parametrize("kind", ["ext4", "overlay", "tmpfs", "fuse.lxcfs"])
def test_file_systems_of_this_machine(tmp_path, mounted, kind):
    mounted(kind)
    assert network_file_system(tmp_path) is None


def test_a_link_leads_to_where_the_files_are(tmp_path, mounted, monkeypatch):
    mounted("nfs4")
    (tmp_path / "out").mkdir()
    elsewhere = tmp_path.parent / f"{tmp_path.name}-link"
    elsewhere.symlink_to(tmp_path / "out")
    assert network_file_system(elsewhere) == "nfs4"


def test_a_system_without_that_file_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr("cloudburst.outputs.databases._MOUNTINFO", tmp_path / "nothing")
    assert network_file_system(tmp_path) is None
