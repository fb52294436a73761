"""Which file systems are those of a network, and what is done on them."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import PurePosixPath

import pytest

from cloudburst.journal import journal_path, open_journal, read_journal
from cloudburst.journal.file import JournalFile
from cloudburst.journal.mounts import file_system, network_file_system
from cloudburst.journal.writer import SqliteJournal
from support.journal_entries import Model, inline, launch, one_of_each, same

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
        monkeypatch.setattr("cloudburst.journal.mounts._MOUNTINFO", mountinfo)

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
    monkeypatch.setattr("cloudburst.journal.mounts._MOUNTINFO", tmp_path / "nothing")
    assert network_file_system(tmp_path) is None


def mode_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


@pytest.mark.anyio
async def test_a_network_file_system_gets_no_wal_and_a_word(tmp_path, mounted, caplog):
    mounted("nfs4")
    with caplog.at_level(logging.WARNING, "cloudburst"):
        async with open_journal(tmp_path, "r1", call=inline) as journal:
            await journal.write(*one_of_each())
            assert not list(journal.path.parent.glob("*-wal"))
            assert mode_of(journal.path) == "delete"
            assert journal._file._connection.execute("PRAGMA synchronous").fetchone() == (3,)
            assert same(read_journal(journal.path), Model().write(*one_of_each()))
    (told,) = caplog.messages
    assert "on a network file system (nfs4)" in told
    assert str(journal.path) in told


@pytest.mark.anyio
async def test_a_folder_of_this_machine_gets_a_wal_and_no_word(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "cloudburst"):
        async with open_journal(tmp_path, "r1", call=inline) as journal:
            await journal.write(*one_of_each())
            assert journal.path.with_name("r1.sqlite-wal").stat().st_size
            assert mode_of(journal.path) == "wal"
            assert journal._file._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert not caplog.records


@pytest.mark.anyio
async def test_a_journal_that_moved_to_a_network_loses_its_wal(tmp_path, mounted):
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        await journal.write(*one_of_each())
        files = {p.name: p.read_bytes() for p in journal.path.parent.iterdir()}
    for name, contents in files.items():  # as a process leaves them that was killed
        if not name.endswith("-shm"):
            (journal.path.parent / name).write_bytes(contents)
    mounted("cifs")
    async with open_journal(tmp_path, "r1", call=inline) as journal:
        assert same(await journal.read(), Model().write(*one_of_each()))
        await journal.write(launch("more"))
        assert not list(journal.path.parent.glob("*-wal"))
    assert "more" in read_journal(journal.path).launches


@pytest.mark.anyio
async def test_where_sqlite_can_have_no_wal_it_is_told_too(tmp_path, monkeypatch, caplog):
    real = sqlite3.connect

    class WithoutWal(sqlite3.Connection):
        """SQLite answers with the mode that it has when it cannot have the one that was asked."""

        def execute(self, sql, *more):
            return super().execute("PRAGMA journal_mode" if "= WAL" in sql else sql, *more)

    monkeypatch.setattr(
        "cloudburst.journal.file.sqlite3.connect",
        lambda *args, **more: real(*args, factory=WithoutWal, **more),
    )
    journal = SqliteJournal(JournalFile(journal_path(tmp_path, "r1")), call=inline)
    with caplog.at_level(logging.WARNING, "cloudburst"):
        await journal.open()
        await journal.write(*one_of_each())
    assert journal._file._connection.execute("PRAGMA synchronous").fetchone() == (3,)
    assert "without support for WAL" in caplog.text
    await journal.close()
