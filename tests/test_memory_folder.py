"""Temporary files of a test run are kept in memory, where there is room."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from support import memory_folder
from support.memory_folder import temporary_files_in_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/shm")


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A folder in place of /dev/shm, and no folder that the user has chosen."""
    monkeypatch.setattr(memory_folder, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(memory_folder, "FILES_BYTES", 0)
    monkeypatch.setattr(memory_folder, "PROCESSES_BYTES", 0)
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_files_are_in_a_folder_of_the_run_which_is_removed(shared):
    with temporary_files_in_memory():
        (folder,) = shared.iterdir()
        assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(folder)
        Path(tempfile.mkdtemp(), "file").touch()
    assert not list(shared.iterdir())
    assert "TMPDIR" not in os.environ
    assert tempfile.gettempdir() != str(folder)


def test_a_folder_that_the_user_has_chosen_is_kept(shared, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/tmp/chosen")
    with temporary_files_in_memory():
        assert os.environ["TMPDIR"] == "/tmp/chosen"
        assert not list(shared.iterdir())


@pytest.mark.parametrize("limit", ["FILES_BYTES", "PROCESSES_BYTES"])
def test_without_room_the_disk_is_used(shared, monkeypatch, limit):
    monkeypatch.setattr(memory_folder, limit, 2**60)
    with temporary_files_in_memory():
        assert "TMPDIR" not in os.environ
        assert not list(shared.iterdir())
