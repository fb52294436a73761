"""Versions of files show every change, and their hashes are those of one version."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from cloudburst.models import file_versions
from cloudburst.models.file_versions import FileChangedError, FileHashes, FileVersion

CONTENT = bytes(range(256)) * 2500  # more than two blocks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(CONTENT)
    return tmp_path / "a"


def rewrite(path: Path, content: bytes) -> None:
    """Replace the content, and set the time of its change back."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path: Path, content: bytes) -> None:
    """Put another file with the same times in its place."""
    other = path.with_name("other")
    other.write_bytes(content)
    shutil.copystat(path, other)
    other.replace(path)


@pytest.mark.parametrize("change", [rewrite, replace])
def test_a_change_that_hides_its_time_gives_another_version(path, change):
    os.utime(path, ns=(1, 1))
    version = FileVersion.from_path(path)
    assert version == FileVersion.from_path(path)
    change(path, CONTENT[::-1])
    assert version != FileVersion.from_path(path)
    assert FileVersion.from_path(path).mtime_ns == version.mtime_ns == 1


def test_a_new_hard_link_is_no_other_content(path):
    version = FileVersion.from_path(path)
    path.with_name("b").hardlink_to(path)
    path.chmod(0o640)
    assert version.has_content_of(FileVersion.from_path(path))
    assert version.read_block(2, 3) == CONTENT[2:5]


def test_a_hash_is_that_of_all_blocks(path):
    sha256 = FileVersion.from_path(path).compute_sha256()
    assert sha256 == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, len(CONTENT) + 5),
        lambda path: os.truncate(path, 300_000),
        lambda path: os.utime(path, ns=(1, 1)),
    ],
    ids=["grows", "shrinks", "new time"],
)
def test_a_file_that_changes_while_it_is_hashed(path, change):
    version, done = FileVersion.from_path(path), []

    def change_once():
        if not done:
            done.append(change(path))

    with pytest.raises(FileChangedError, match="changed since the run began"):
        version.compute_sha256(change_once)
    with pytest.raises(FileChangedError):
        version.compute_sha256()
    with pytest.raises(FileChangedError):
        version.read_block(0, 10)


def test_a_file_that_grows_without_end_is_not_read_for_ever(path):
    version, blocks = FileVersion.from_path(path), []

    def grow():
        blocks.append(1)
        with path.open("ab") as file:
            file.write(CONTENT)

    with pytest.raises(FileChangedError):
        version.compute_sha256(grow)
    assert len(blocks) <= len(CONTENT) // file_versions.HASH_BLOCK_BYTES + 1


def test_known_hashes_are_bounded(path, monkeypatch):
    monkeypatch.setattr(file_versions, "MAX_KNOWN_HASHES", 2)
    version, hashes = FileVersion.from_path(path), FileHashes()
    first, second, third = (version._replace(inode=number) for number in range(3))
    hashes.add(first, "1")
    hashes.add(second, "2")
    hashes.add(third, "3")
    assert [hashes.get(each) for each in (first, second, third)] == [None, "2", "3"]
    assert len(hashes) == 2
