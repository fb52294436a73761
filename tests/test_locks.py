"""Locks of this machine: one process or thread holds each, and links are not followed."""

from __future__ import annotations

import pytest

from cloudburst.locks import release_and_remove, take_lock, try_lock


def test_lock_that_is_free_is_taken_and_one_that_is_held_is_not(tmp_path):
    lock = try_lock(tmp_path / "a.lock")
    assert lock is not None
    assert try_lock(tmp_path / "a.lock") is None
    lock.release()
    assert try_lock(tmp_path / "a.lock") is not None


def test_taking_a_lock_that_is_held_raises_an_error_with_its_path(tmp_path):
    lock = take_lock(tmp_path / "a.lock")
    with pytest.raises(OSError, match=r"locked by another process.*a\.lock"):
        take_lock(tmp_path / "a.lock", seconds=0.01)
    lock.release()


def test_lock_that_is_removed_leaves_no_file(tmp_path):
    release_and_remove(try_lock(tmp_path / "a.lock"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", ["symlink_to", "mkdir"])
def test_lock_file_that_is_no_regular_file_is_refused(tmp_path, make):
    other = tmp_path / "other"
    path = tmp_path / "a.lock"
    path.symlink_to(other) if make == "symlink_to" else path.mkdir()
    with pytest.raises(OSError, match=r"not a regular file.*a\.lock"):
        try_lock(path)
    assert not other.exists()
