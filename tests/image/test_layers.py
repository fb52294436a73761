"""Layers: tar files that depend on their entries only, whole or not at all in the cache."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from cloudburst.errors import ImageError
from cloudburst.image.cache import ImageCache
from cloudburst.image.entries import Entry, text_entry, write_tar
from cloudburst.image.layers import cached_layer, layer_key, make_layer
from cloudburst.net.registry.unpack import zstd_module

ENTRIES = (
    text_entry("opt/cloudburst/two.py", "2"),
    Entry(path="opt/cloudburst/one.so", data=b"1" * 100_000, mode=0o755),
    Entry(path="opt/cloudburst/link", link="two.py"),
    text_entry("usr/lib/python3.13/__pycache__/os.pyc", ""),
    Entry(path="tmp", mode=0o1777, is_folder=True),
    Entry(path="etc/shadow", data=b"x", mode=0o640, group=42),
)


@pytest.fixture
def cache(tmp_path):
    made = ImageCache(tmp_path)
    made.create()
    return made


def archive(entries):
    buffer = io.BytesIO()
    write_tar(entries, buffer)
    return buffer.getvalue()


def test_an_archive_depends_on_the_entries_only():
    """Folders of the base are not among them, so they keep their modes."""
    data = archive(ENTRIES)
    assert data == archive(ENTRIES[::-1])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    assert [(one.name, one.mode, one.type) for one in members] == [
        ("etc/shadow", 0o640, tarfile.REGTYPE),
        ("opt/cloudburst", 0o755, tarfile.DIRTYPE),
        ("opt/cloudburst/link", 0o777, tarfile.SYMTYPE),
        ("opt/cloudburst/one.so", 0o755, tarfile.REGTYPE),
        ("opt/cloudburst/two.py", 0o644, tarfile.REGTYPE),
        ("tmp", 0o1777, tarfile.DIRTYPE),
        ("usr/lib/python3.13/__pycache__", 0o755, tarfile.DIRTYPE),
        ("usr/lib/python3.13/__pycache__/os.pyc", 0o644, tarfile.REGTYPE),
    ]
    assert {(one.uid, one.mtime, one.uname) for one in members} == {(0, 0, "")}
    assert members[0].gid == 42


def test_two_files_with_one_path_are_an_error():
    with pytest.raises(ImageError, match=r"two files for opt/cloudburst/two\.py"):
        archive([*ENTRIES, text_entry("opt/cloudburst/two.py", "3")])


def test_a_layer_is_found_by_its_key_until_its_blob_is_gone(cache):
    key = layer_key("inputs", 1)
    made = make_layer(cache, key, "name", ENTRIES)
    data = zstd_module().decompress(cache.blob_path(made.digest).read_bytes())
    assert made.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert data == archive(ENTRIES)
    assert cached_layer(cache, key) == made
    assert cached_layer(cache, layer_key("inputs", 2)) is None
    whole = cache.blob_path(made.digest).read_bytes()
    cache.blob_path(made.digest).write_bytes(whole[:-1])
    assert cached_layer(cache, key) is None


def test_an_interrupted_layer_leaves_nothing(cache):
    def entries():
        yield from ENTRIES
        raise OSError("cannot be read")

    with pytest.raises(OSError, match="cannot be read"):
        make_layer(cache, "key", "name", entries())
    assert [path for path in cache.folder.rglob("*") if path.is_file()] == []
