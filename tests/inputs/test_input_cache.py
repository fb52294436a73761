"""Input files are read once, and not at all if an earlier run has read the same version."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from cloudburst.errors import InvalidScenesError
from cloudburst.inputs import input_cache, scene_fingerprints
from cloudburst.inputs.input_cache import InputCache
from cloudburst.inputs.preflight import check_scenes
from cloudburst.inputs.scene_fingerprints import ReadingStoppedError, add_fingerprints
from cloudburst.models.file_versions import FileHashes, FileVersion
from cloudburst.models.input_file import CHECK_RULES, InputFacts
from cloudburst.models.limits import Limits
from cloudburst.models.options import RenderOptions

LONG_AGO = (1_000_000_000_000_000_000,) * 2


class Opened:
    """Paths of the files that were opened while it is active."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.paths: list[str] = []

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if self.folder is not None and event == "open" and str(args[0]).startswith(self.folder):
            self.paths.append(Path(str(args[0])).name)


OPENED = Opened()
sys.addaudithook(OPENED)  # it cannot be removed


@pytest.fixture
def opened(tmp_path: Path) -> Generator[list[str]]:
    """Names of the opened files below ``tmp_path``, which a test may clear."""
    OPENED.folder, OPENED.paths = str(tmp_path), []
    yield OPENED.paths
    OPENED.folder = None


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Files of a scene that were written long ago."""
    Image.effect_noise((640, 360), 90).save(tmp_path / "a.png", compress_level=0)
    Image.effect_noise((360, 640), 90).save(tmp_path / "a.jpg")
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 8000 * 2))
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    found = {name: tmp_path / f"a.{name}" for name in ("png", "jpg", "wav", "srt")}
    for path in found.values():
        os.utime(path, ns=LONG_AGO)
    return found


def check(files, *, limits=None, **changed):
    """Check a scene as a new process does; return the scene and the files with kept results."""
    scene = {"name": "one", "image": files["png"], "audio": files["wav"], "subtitle": files["srt"]}
    options = RenderOptions(watermark=files["jpg"])
    cache = InputCache()
    checked = check_scenes([scene | changed], options, limits or Limits(), cache=cache)
    (one,) = add_fingerprints(checked, {}, cache=cache)
    return one, kept()


def kept() -> dict[str, tuple[str, str]]:
    """Versions and hashes in the state folder, by the name of the file."""
    if not database().exists():
        return {}
    with closing(sqlite3.connect(database())) as connection:
        rows = connection.execute("SELECT path, version, sha256 FROM inputs").fetchall()
    return {Path(json.loads(path)).name: (version, sha256) for path, version, sha256 in rows}


def database() -> Path:
    return Path(os.environ["XDG_STATE_HOME"]) / "cloudburst" / f"inputs-{CHECK_RULES}.sqlite"


def test_an_unchanged_file_is_not_opened_again(files, opened):
    first, entries = check(files)
    assert set(opened) == {"a.png", "a.jpg", "a.wav", "a.srt"}
    assert len(entries) == 4
    opened.clear()
    again, entries_again = check(files)
    assert again == first
    assert again.audio_seconds == 2.0
    assert entries_again == entries
    assert opened == ["a.srt"]  # for its characters


def test_hashes_of_an_earlier_run_are_known_to_uploads(files, monkeypatch):
    _, entries = check(files)
    hashes = FileHashes()
    monkeypatch.setattr(input_cache, "KNOWN_HASHES", hashes)
    InputCache().load(files.values())
    versions = [FileVersion.from_path(path) for path in files.values()]
    found = sorted(filter(None, map(hashes.get, versions)))
    assert found == sorted(sha256 for _, sha256 in entries.values())


def test_each_byte_is_read_once_apart_from_starts_and_ends(files, tmp_path):
    check(files)  # imports modules
    size = 4_000_000
    with wave.open(str(files["wav"]), "wb") as sound:
        sound.setparams((2, 2, 48000, 0, "NONE", ""))
        sound.writeframes(bytes(size))
    Image.effect_noise((2000, 2000), 90).save(files["png"], compress_level=0)
    for name in ("wav", "png"):
        os.utime(files[name], ns=LONG_AGO)
    before = _bytes_read()
    check(files)
    assert 2 * size < _bytes_read() - before < 2.2 * size
    before = _bytes_read()
    check(files)
    assert _bytes_read() - before < 100_000  # of the database


def _bytes_read() -> int:
    """Number of bytes that this process has read from files and pipes."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(lines[0].removeprefix("rchar: "))


@pytest.mark.parametrize("name", ["png", "jpg", "wav", "srt"])
def test_a_changed_file_is_read_again_even_if_its_time_was_set_back(files, opened, name):
    first, _ = check(files)
    data = files[name].read_bytes()
    files[name].write_bytes(data.replace(b"Hello", b"HELLO") if name == "srt" else data + b"\0")
    os.utime(files[name], ns=LONG_AGO)
    opened.clear()
    changed, _ = check(files)
    assert set(opened) == {f"a.{name}", "a.srt"}
    assert changed.fingerprint != first.fingerprint


def test_a_file_of_the_last_seconds_is_not_kept(files, opened):
    os.utime(files["png"])
    first, entries = check(files)
    assert entries.keys() == {"a.jpg", "a.wav", "a.srt"}
    opened.clear()
    assert check(files)[0] == first
    assert set(opened) == {"a.png", "a.srt"}


def test_a_time_in_the_future_is_not_trusted(files):
    tomorrow = time.time_ns() + 86_400 * 10**9
    os.utime(files["wav"], ns=(tomorrow, tomorrow))
    assert "a.wav" not in check(files)[1]


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (Limits(file_bytes=20_000), "audio"),
        (Limits(image_pixels=1000), "image"),
        (Limits(audio_seconds=1), "audio"),
    ],
)
def test_limits_of_a_later_run_count(files, limits, field):
    check(files)
    with pytest.raises(InvalidScenesError) as caught:
        check(files, limits=limits)
    assert field in {fault.field for fault in caught.value.faults}


def test_a_file_is_checked_again_as_another_kind(files):
    check(files)
    with pytest.raises(InvalidScenesError) as caught:
        check(files, audio=files["png"])
    (fault,) = caught.value.faults
    assert fault.found.startswith("a PNG picture")


def test_a_file_that_changes_after_its_check(files, monkeypatch):
    real = scene_fingerprints._users

    def change(scenes):
        files["png"].write_bytes(files["png"].read_bytes() + b"\0")
        return real(scenes)

    monkeypatch.setattr(scene_fingerprints, "_users", change)
    with pytest.raises(InvalidScenesError) as caught:
        check(files)
    (fault,) = caught.value.faults
    assert fault.found.startswith("changed since it was checked")


def test_a_known_file_that_changes_after_its_check_although_its_time_is_set_back(
    files, monkeypatch
):
    check(files)
    real = scene_fingerprints._users

    def change(scenes):
        files["srt"].write_text(files["srt"].read_text().replace("Hello", "HELLO"))
        os.utime(files["srt"], ns=LONG_AGO)
        return real(scenes)

    monkeypatch.setattr(scene_fingerprints, "_users", change)
    with pytest.raises(InvalidScenesError) as caught:
        check(files)
    (fault,) = caught.value.faults
    assert fault.found.startswith("changed since it was checked")
    assert fault.field == "subtitle"


def test_a_hard_link_after_the_check_is_no_change(files, monkeypatch):
    real = scene_fingerprints._users

    def link(scenes):
        files["png"].with_name("b.png").hardlink_to(files["png"])
        return real(scenes)

    monkeypatch.setattr(scene_fingerprints, "_users", link)
    _, entries = check(files)
    assert len(entries) == 4
    assert json.loads(entries["a.png"][0]) == list(FileVersion.from_path(files["png"])[1:])


def test_a_stopped_reading_keeps_what_was_read(files, opened):
    cache, stop = InputCache(), threading.Event()
    scene = {"name": "one", "image": files["png"], "audio": files["wav"]}
    checked = check_scenes([scene], RenderOptions(), Limits(), cache=cache)
    stop.set()
    opened.clear()
    with pytest.raises(ReadingStoppedError):
        add_fingerprints(checked, {}, cache=cache, stop=stop)
    assert opened == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"garbage\n" * 2000),
        lambda path: os.truncate(path, 4096),
        lambda path: change_rows(path, "UPDATE inputs SET facts = '{\"mood\": 1}'"),
        lambda path: change_rows(path, "UPDATE inputs SET version = '['"),
    ],
    ids=["garbage", "half", "facts", "version"],
)
def test_a_damaged_file_is_not_used_and_the_warning_says_to_delete_it(
    files, opened, damage, caplog
):
    first, _ = check(files)
    damage(database())
    opened.clear()
    cache = InputCache()
    cache.load(files.values())
    assert f"{database()} is damaged and is not used" in caplog.text
    assert caplog.text.rstrip().endswith("delete it")
    database().unlink()
    assert check(files)[0] == first


def change_rows(path, sql):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql)


def test_the_number_of_files_is_bounded(files, monkeypatch, tmp_path):
    monkeypatch.setattr(input_cache, "MAX_FILES", 3)
    check(files)
    for number in range(3):
        path = tmp_path / f"{number}.png"
        shutil.copy(files["png"], path)
        os.utime(path, ns=LONG_AGO)
        check(files, image=path)
    with closing(sqlite3.connect(database())) as connection:
        rows = connection.execute("SELECT path FROM inputs").fetchall()
    assert len(rows) == 3
    assert "2.png" in {Path(path.strip('"')).name for (path,) in rows}


def test_a_name_that_is_no_text_is_kept(files, opened, tmp_path):
    name = tmp_path / os.fsdecode(b"\xff.png")
    shutil.copy(files["png"], name)
    os.utime(name, ns=LONG_AGO)
    check(files, image=name)
    opened.clear()
    check(files, image=name)
    assert opened == ["a.srt"]  # for its characters


WRITER = """
import sys
from pathlib import Path
from cloudburst import databases
from cloudburst.models.file_versions import FileHashes, FileVersion
from cloudburst.inputs.input_cache import InputCache
from cloudburst.models.input_file import InputFacts
databases.STATE_LOCK_TIMEOUT = 30.0
for number in range(5):
    cache = InputCache()
    version = FileVersion(Path(f"/{sys.argv[1]}/{number}"), 1, 2, 3, 4)
    cache.note_read(version, InputFacts(kind="font"), "0" * 64, began_ns=10**10)
    cache.save()
"""


def test_processes_that_save_at_once_lose_nothing():
    children = [
        subprocess.Popen([sys.executable, "-c", WRITER, f"p{number}"], stderr=subprocess.PIPE)
        for number in range(3)
    ]
    for child in children:
        with child:
            _, errors = child.communicate(timeout=60)
            assert (child.returncode, errors) == (0, b"")
    cache = InputCache()
    paths = [Path(f"/p{process}/{number}") for process in range(3) for number in range(5)]
    cache.load(paths)
    for path in paths:
        known = cache.find(FileVersion(path, 1, 2, 3, 4))
        assert known is not None
        assert known.facts == InputFacts(kind="font")
