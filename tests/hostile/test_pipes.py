"""Pipes that took the place of files: to open one would wait for ever for its other end."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from cloudburst import RenderOptions
from cloudburst.errors import OutputExistsError, UploadError
from cloudburst.files import open_regular_file
from cloudburst.inputs.media_file import open_media_file
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.journal_entries import JournalState
from cloudburst.models.limits import Limits
from cloudburst.models.report import Status
from cloudburst.models.scene import Scene
from cloudburst.outputs.earlier_runs import missing_videos, recover_outputs
from cloudburst.workers.http.upload import READ_BLOCK_BYTES, hash_file
from cloudburst.workers.local import worker_process
from support.checked_scenes import as_checked
from support.fingerprints import fingerprints_of
from support.journal_entries import end, process, result, scene

SECONDS = 5.0
"""For reading nothing; on an idle core it takes microseconds."""
GIVEN_UP = 10.0
"""After Ctrl-C; on an idle core it takes milliseconds."""

pytestmark = pytest.mark.timeout(120)


def in_time(function, *args):
    """Return what the function returns, or raises; it works in a thread that nobody waits for."""
    outcome = []

    def call():
        try:
            outcome.append(function(*args))
        except Exception as exc:  # noqa: BLE001 - for the thread that waits
            outcome.append(exc)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert outcome, "it still waits for the other end of the pipe"
    return outcome[0]


def fingerprint(path):
    one = Scene(name="one", image=path, audio=path)
    return fingerprints_of([with_versions(one)])


def with_versions(scene, **more):
    """Return a scene whose files have just been checked."""
    checked = as_checked(scene, **more)
    paths = checked.files().values()
    versions = {path: FileVersion.from_path(path) for path in paths}
    return checked.model_copy(update={"versions": versions})


def fingerprint_of_a_watermark(path):
    path.with_name("other").write_bytes(b"other")
    one = Scene(name="one", image=path.with_name("other"), audio=path.with_name("other"))
    options = RenderOptions(watermark=path)
    return fingerprints_of([with_versions(one, options=options)])


def hash_of_an_upload(path):
    return anyio.run(hash_file, path)


def block_of_an_upload(path):
    """The file was hashed when it still was one."""
    return FileVersion.from_path(path).read_block(0, READ_BLOCK_BYTES)


READERS = {
    "input": lambda path: open_media_file(path, "a file", Limits()).__enter__(),
    "fingerprint": fingerprint,
    "fingerprint of a watermark": fingerprint_of_a_watermark,
    "hash of an upload": hash_of_an_upload,
    "block of an upload": block_of_an_upload,
}


@pytest.mark.parametrize("reader", READERS)
def test_an_input_that_became_a_pipe_is_refused(reader, tmp_path):
    os.mkfifo(tmp_path / "input")
    outcome = in_time(READERS[reader], tmp_path / "input")
    assert isinstance(outcome, (InvalidInputError, UploadError, OSError))


def test_the_log_of_a_worker_that_became_a_pipe_has_no_lines(tmp_path):
    os.mkfifo(tmp_path / "w.log")
    assert "cannot be read" in in_time(worker_process._tail, tmp_path / "w.log")


def test_only_regular_files_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with open_regular_file(tmp_path / "link") as file:
        assert file.read() == b"content"
    for path in (tmp_path, tmp_path / "nothing", "/dev/zero"):
        with pytest.raises(OSError, match=r"file"):
            open_regular_file(tmp_path / path)
    with pytest.raises(OSError, match="not a regular file") as caught:
        open_regular_file(tmp_path / "link", follow_links=False)
    assert caught.value.errno == errno.EINVAL


def past_with_a_video_of(size, make_scene):
    """Return the past of a run whose video has this size and nothing but zeros in it."""
    files = Scene.model_validate(make_scene("a"))
    sha256 = hashlib.sha256(bytes(size) if size < 2**20 else b"").hexdigest()
    facts = {"scene": "a", "path": Path("/out/a.mp4"), "size": size, "sha256": sha256}
    entry = replace(result(), video=result().video.model_copy(update=facts), fingerprint="f")
    past = JournalState(processes=(process(),), scenes={"a": replace(scene("a"), scene=files)})
    return replace(past, results={"a": entry}, end=end(Status.COMPLETE))


def stock_taken(past, folder, *, overwrite=False):
    checked = as_checked(past.scenes["a"].scene)
    return recover_outputs(past, [checked], {"a": folder / "a.mp4"}, overwrite=overwrite)


def test_a_pipe_in_place_of_a_video_is_not_the_video(make_scene, tmp_path):
    past = past_with_a_video_of(0, make_scene)
    os.mkfifo(tmp_path / "a.mp4")
    assert in_time(missing_videos, past, tmp_path) == ["a"]
    assert isinstance(in_time(stock_taken, past, tmp_path), OutputExistsError)
    assert in_time(partial(stock_taken, overwrite=True), past, tmp_path) == {}


def test_a_pipe_in_place_of_a_video_that_has_arrived_is_not_the_video(make_scene, tmp_path):
    past = past_with_a_video_of(0, make_scene)
    os.mkfifo(tmp_path / "a.mp4.part")
    assert in_time(stock_taken, past, tmp_path) == {}
    assert not (tmp_path / "a.mp4").exists()


def test_ctrl_c_ends_the_hashing_of_a_video_of_many_gigabytes(make_scene, tmp_path):
    size = 2**35
    past = past_with_a_video_of(size, make_scene)
    with (tmp_path / "a.mp4").open("wb") as file:
        file.truncate(size)
    main_thread = threading.get_ident()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, signal.pthread_kill, (main_thread, signal.SIGINT))
    began = time.monotonic()
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            missing_videos(past, tmp_path)
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, handler)
    assert time.monotonic() - began < GIVEN_UP
