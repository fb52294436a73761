"""Folder in S3 as the destination of a run, against an emulated account."""

from __future__ import annotations

import pytest

from cloudburst.errors import ConfigurationError, OutputClaimedError, OutputExistsError
from cloudburst.models.locations import S3Prefix
from cloudburst.outputs.s3_destination import S3Destination
from support.s3_account import BUCKET, in_folder, put

pytestmark = pytest.mark.anyio


def claim(store, folder, *names, run="r", **more):
    how = {"overwrite": False, "resume": False, "covers": (), **more}
    return S3Destination(folder, store).claim(names or ("a", "b"), run=run, **how)


async def test_a_second_process_of_a_run_on_this_machine_is_refused(store, folder):
    """Both would write to the journal of the run; other runs are not refused."""
    async with claim(store, folder), claim(store, folder, run="other"):
        with pytest.raises(OutputClaimedError, match="already works on run r"):
            async with claim(store, folder, resume=True):
                pass


async def test_existing_videos_and_covers_are_refused(emulator, store, folder):
    for name in ("B.mp4", "a.jpg", "a.mp4x", "in/a.mp4"):
        put(emulator, folder.object(name))
    async with claim(store, folder):
        pass
    with pytest.raises(OutputExistsError, match=r"a\.jpg"):
        async with claim(store, folder, covers=["a"]):
            pass
    put(emulator, folder.object("b.mp4"))
    with pytest.raises(OutputExistsError, match=r"b\.mp4"):
        async with claim(store, folder):
            pass
    for allowed in ({"overwrite": True}, {"resume": True}):
        async with claim(store, folder, **allowed):
            pass


async def test_keys_that_are_too_long_are_refused_before_anything_is_written(emulator, store):
    folder = S3Prefix(BUCKET, f"{'f' * 900}/")
    with pytest.raises(ConfigurationError, match=r"1024 bytes: s3://.*nnn\.mp4"):
        async with claim(store, folder, "a", "n" * 150):
            pass
    assert in_folder(emulator, folder) == []
