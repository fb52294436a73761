"""Replacement of a file: the old one or the whole new one, and no draft that stays."""

from __future__ import annotations

import pytest

from cloudburst.files import replaced_file


def test_new_file_appears_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "folder" / "a.json"
    with replaced_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_old_file_stays_after_an_error_without_a_draft(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def fail():
        with replaced_file(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
