"""Folders with the journals of runs whose videos are on this machine or in S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudburst.models.locations import S3Prefix
from cloudburst.outputs.journal.reader import folders_with_journals, journal_folder

PREFIXES = ["", "a/", "A/", "a/b/", "a.b/", "a%2eb/", ".cloudburst/", "a/.cloudburst/", "故事/"]


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "cloudburst" / "s3"


def test_a_folder_of_this_machine_has_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert journal_folder(Path("out")) == tmp_path / "out"
    (tmp_path / "out" / "batch_1" / ".cloudburst").mkdir(parents=True)
    (tmp_path / "out" / "batch_2").mkdir()
    assert folders_with_journals(Path("out")) == [Path("out"), Path("out/batch_1")]


def test_each_folder_in_s3_has_one_even_if_the_file_system_ignores_case(state):
    found = [journal_folder(S3Prefix("films", prefix)) for prefix in PREFIXES]
    assert len({str(folder).casefold() for folder in found}) == len(PREFIXES)
    assert all(state / "films" in (folder, *folder.parents) for folder in found)
    assert not any(".cloudburst" in folder.parts for folder in found)
    assert journal_folder(S3Prefix("other", "a/")) != journal_folder(S3Prefix("films", "a/"))


def test_long_names_fit_the_file_system(tmp_path):
    long = [S3Prefix("films", f"{'故' * 300}{end}/") for end in "ab"]
    folders = [journal_folder(prefix) for prefix in long]
    assert folders[0] != folders[1]
    for folder in folders:
        folder.mkdir(parents=True)


def test_subfolders_with_runs_are_found():
    films = S3Prefix("films", "")
    below = [S3Prefix("films", prefix) for prefix in ("A/", "batch_1a/", "故事/")]
    for prefix in [*below, S3Prefix("films", f"{'x' * 300}/"), S3Prefix("films", "a/deep/er/")]:
        (journal_folder(prefix) / ".cloudburst").mkdir(parents=True)
    linked = journal_folder(films) / "linked"
    linked.mkdir()
    (linked / ".cloudburst").symlink_to(journal_folder(below[0]) / ".cloudburst")
    (journal_folder(films) / "Not-Ours" / ".cloudburst").mkdir(parents=True)
    first, *others = folders_with_journals(films)
    assert first == films
    assert {*others} == {*below}
