"""How long an upload takes is told at the speed of the last one, or of its own first part."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock

from cloudburst.aws.setup.upload_speed import FILE_NAME, UploadSpeed
from cloudburst.registry import PushProgress

pytestmark = pytest.mark.anyio

MB = 10**6


@pytest.fixture
def anyio_backend():
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def progress(done, total=200 * MB):
    return PushProgress(bytes_done=done, bytes_total=total, blobs_done=0, blobs_total=4)


async def test_the_first_upload_is_estimated_by_its_first_part(tmp_path):
    speed = UploadSpeed(tmp_path)
    await speed.load()
    assert speed.estimate(100 * MB) == "the time is known after the first part"
    # Half of the image was in the registry before: that took no time.
    assert speed.first_estimate(progress(0), 100 * MB) is None
    assert speed.first_estimate(progress(100 * MB), 100 * MB) is None
    await anyio.sleep(2)
    assert speed.first_estimate(progress(103 * MB), 100 * MB) is None  # too short to tell
    await anyio.sleep(2)
    told = speed.first_estimate(progress(120 * MB), 100 * MB)
    assert told == "uploading 5.0 MB/s: about 16 s left"
    await anyio.sleep(2)
    assert speed.first_estimate(progress(130 * MB), 100 * MB) is None  # told once


async def test_the_next_upload_is_estimated_by_the_last_one(tmp_path):
    folder = tmp_path / "state"
    await UploadSpeed(folder).save(100 * MB, 20.0)
    await UploadSpeed(folder).save(1000, 0.001)  # says nothing about the connection
    speed = UploadSpeed(folder)
    await speed.load()
    assert speed.estimate(52 * MB) == "about 11 s at 5.0 MB/s, as at the last push"
    assert speed.first_estimate(progress(0), 200 * MB) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"bytes_per_second": "fast"}',
        '{"bytes_per_second": true}',
        '{"bytes_per_second": NaN}',
        '{"bytes_per_second": -1}',
        '{"bytes_per_second": 1e300}',
        '{"bytes_per_second": ' + "9" * 4000 + "}",
        "\xff",
    ],
)
async def test_a_file_that_is_none_of_ours_counts_as_none(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text, encoding="latin-1")
    speed = UploadSpeed(tmp_path)
    await speed.load()
    assert speed.estimate(1) == "the time is known after the first part"


async def test_a_state_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    await UploadSpeed(tmp_path / "file" / "state").save(100 * MB, 1.0)
