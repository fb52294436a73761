"""The cache of the image builder."""

from __future__ import annotations

import os

import pytest

from cloudburst.errors import ImageError
from cloudburst.image.cache import LEFTOVER_SECONDS, ImageCache, move


@pytest.fixture
def cache(tmp_path):
    made = ImageCache(tmp_path / "cache")
    made.create()
    return made


def test_a_record_is_read_as_it_was_written(cache):
    assert cache.read_record("key") is None
    cache.write_record("key", {"size": 1})
    assert cache.read_record("key") == {"size": 1}


def test_an_empty_record_after_a_power_failure_is_none(cache):
    cache.write_record("key", {"size": 1})
    (path,) = cache.folder.glob("layers/*")
    path.write_bytes(b"")
    assert cache.read_record("key") is None


def test_a_folder_that_another_build_has_moved_stays(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    target = tmp_path / "new" / "target"
    move(tmp_path / "one", target)
    move(tmp_path / "two", target)
    assert [path.name for path in target.iterdir()] == ["one"]
    with pytest.raises(NotADirectoryError):
        move(tmp_path / "three", target / "one")


def test_what_a_killed_build_has_left_is_removed_a_day_later(cache):
    """Until then it may be the folder of a build that is running."""
    folders = [cache.folder / "tmp" / name for name in ("old", "new")]
    for folder in folders:
        (folder / "download").mkdir(parents=True)
    at = folders[0].stat().st_mtime - LEFTOVER_SECONDS - 60
    os.utime(folders[0], (at, at))
    cache.create()
    assert [folder.exists() for folder in folders] == [False, True]


def test_a_cache_that_cannot_be_created_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match=r"the cache .*/file/image cannot be created"):
        ImageCache(tmp_path / "file" / "image").create()
