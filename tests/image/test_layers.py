"""Layers: tar files that depend on their entries only, whole or not at all in the cache."""

from __future__ import annotations

import hashlib
import io
import tarfile
from itertools import count

import pytest

from cloudburst.errors import ImageError
from cloudburst.image.cache import ImageCache
from cloudburst.image.compression import zstd
from cloudburst.image.entries import Entry, bytes_entry, text_entry, write_tar
from cloudburst.image.layers import cached_layer, layer_key, make_layer

ENTRIES = (
    text_entry("opt/a/two.py", "2"),
    bytes_entry("opt/a/one.so", b"1" * 100_000, 0o755),
    Entry(path="opt/a/link", link="two.py"),
    Entry(path="tmp", mode=0o1777, is_folder=True),
    Entry(path="etc/shadow", read=lambda: b"x", mode=0o640, group=42),
)


@pytest.fixture
def cache(tmp_path):
    made = ImageCache(tmp_path)
    made.create()
    return made


def archive(entries, known=frozenset()):
    buffer = io.BytesIO()
    write_tar(entries, buffer, known_folders=known)
    return buffer.getvalue()


def test_an_archive_depends_on_the_entries_only():
    data = archive(ENTRIES, {"opt", "etc"})
    assert data == archive(ENTRIES[::-1], {"etc", "opt"})
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    assert [(one.name, one.mode, one.type) for one in members] == [
        ("etc/shadow", 0o640, tarfile.REGTYPE),
        ("opt/a", 0o755, tarfile.DIRTYPE),
        ("opt/a/link", 0o777, tarfile.SYMTYPE),
        ("opt/a/one.so", 0o755, tarfile.REGTYPE),
        ("opt/a/two.py", 0o644, tarfile.REGTYPE),
        ("tmp", 0o1777, tarfile.DIRTYPE),
    ]
    assert {(one.uid, one.mtime, one.uname) for one in members} == {(0, 0, "")}
    assert members[0].gid == 42


def test_two_files_with_one_path_are_an_error():
    with pytest.raises(ImageError, match=r"two files for opt/a/two\.py"):
        archive([*ENTRIES, text_entry("opt/a/two.py", "3")])


def test_a_layer_is_found_by_its_key_until_its_blob_is_gone(cache):
    key = layer_key("inputs", 1)
    made = make_layer(cache, key, "name", ENTRIES)
    data = zstd.decompress(cache.blob_path(made.digest).read_bytes())
    assert made.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert (made.unpacked_size, data) == (len(data), archive(ENTRIES))
    assert cached_layer(cache, key) == made
    assert cached_layer(cache, layer_key("inputs", 2)) is None
    whole = cache.blob_path(made.digest).read_bytes()
    cache.blob_path(made.digest).write_bytes(whole[:-1] + b"x")
    assert cached_layer(cache, key) is None


@pytest.mark.parametrize("record", ["", [], {"name": 3}, None, 3])
def test_a_record_of_another_kind_is_no_layer(cache, record):
    cache.write_record("layers", "key", record)
    assert cached_layer(cache, "key") is None


def test_an_interrupted_layer_leaves_nothing(cache):
    """After an error of a file, and after a cancellation, which `check_cancelled` raises."""

    def fail():
        raise OSError("cannot be read")

    with pytest.raises(OSError, match="cannot be read"):
        make_layer(cache, "key", "name", [*ENTRIES, Entry(path="z", read=fail)])
    calls = count()

    def check():
        if next(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        make_layer(cache, "key", "name", ENTRIES, check_cancelled=check)
    assert [path for path in cache.folder.rglob("*") if path.is_file()] == []
