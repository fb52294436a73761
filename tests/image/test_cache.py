"""The cache of the builder: its size, its locks, and files that are damaged."""

from __future__ import annotations

import os
import subprocess
import sys

import anyio
import pytest

from cloudburst.errors import ImageError
from cloudburst.image.cache import ImageCache, link_or_copy
from cloudburst.image.cache_locks import image_in_use
from cloudburst.image.cache_pruning import KEPT_IMAGES, remove_unused


class OldImage:
    """Stands in for `BuiltImage`, of which only the folder is used."""

    def __init__(self, folder):
        self.folder = folder


@pytest.fixture
def cache(tmp_path):
    made = ImageCache(tmp_path / "cache")
    made.create()
    return made


def add_image(cache, number, size=10):
    """An image with one blob of its own, used at a time in seconds; return its blob."""
    digest = cache.add_data(bytes([number]) * size)
    blobs = cache.images / f"image{number}" / "blobs/sha256"
    blobs.mkdir(parents=True)
    path = cache.blob_path(digest)
    link_or_copy(path, blobs / path.name)
    (blobs.parents[1] / "index.json").touch()
    for used in (path, blobs.parents[1]):
        os.utime(used, (number, number))
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_only_the_newest_images_are_kept_with_their_blobs(cache):
    blobs = [add_image(cache, number) for number in range(KEPT_IMAGES + 2)]
    remove_unused(ImageCache(cache.folder), limit=10 * KEPT_IMAGES)
    assert names(cache.images) == ["image2", "image3", "image4"]
    assert [path.exists() for path in blobs] == [False] * 2 + [True] * KEPT_IMAGES


def test_files_that_were_not_used_for_the_longest_time_are_removed(cache):
    """A file that this build used stays, whatever the clock says and the limit is."""
    image = add_image(cache, 9, size=50)
    files = [cache.wheels / str(number) / "a.whl" for number in range(4)]
    for number, path in enumerate(files):
        path.parent.mkdir()
        path.write_bytes(bytes(20))
        os.utime(path, (number, number))
    cache.write_record("layers", "key", "x" * 20)
    build = ImageCache(cache.folder)
    build.mark_used(files[1])
    os.utime(files[1], (0, 0))
    os.utime(build.folder / "layers" / "key.json", (1, 1))
    remove_unused(build, limit=110)
    assert [path.exists() for path in files] == [False, True, True, True]
    assert names(cache.wheels) == ["1", "2", "3"]
    assert build.read_record("layers", "key") is None
    assert image.exists(), "a blob of an image that is kept takes no space of its own"
    build = ImageCache(cache.folder)
    build.mark_used(cache.images / "image9")
    build.mark_used(files[1])
    remove_unused(build, limit=0)
    assert names(cache.images) == ["image9"]
    assert names(cache.wheels) == ["1"]


def test_a_wheel_whose_name_begins_like_a_temporary_folder_is_not_removed(cache):
    """There is a package with the name download."""
    wheel = cache.wheels / "0" / "download-1-py3-none-any.whl"
    folders = [cache.folder / name for name in ("download-x", "kernels/0/.compile-x")]
    for path in (wheel, *(folder / "file" for folder in folders)):
        path.parent.mkdir(parents=True)
        path.touch()
    cache.remove_leftovers()
    assert wheel.exists()
    assert not any(folder.exists() for folder in folders)


def test_an_image_that_another_process_pushes_is_not_removed_until_that_is_killed(cache):
    for number in range(KEPT_IMAGES + 1):
        add_image(cache, number)
    code = (
        "import anyio, sys, types, pathlib\n"
        "from cloudburst.image.cache_locks import image_in_use\n"
        "async def main():\n"
        "    async with image_in_use(types.SimpleNamespace(folder=pathlib.Path(sys.argv[1]))):\n"
        "        print('taken', flush=True); sys.stdin.read()\n"
        "anyio.run(main)\n"
    )
    command = [sys.executable, "-c", code, str(cache.images / "image0")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == b"taken\n"
        remove_unused(ImageCache(cache.folder))
        assert "image0" in names(cache.images)
        process.kill()
    assert len(list(cache.images.glob("*.use"))) == 1
    remove_unused(ImageCache(cache.folder))
    assert names(cache.images) == ["image1", "image2", "image3"]
    assert list(cache.images.glob("*.use")) == []


def test_an_image_that_was_removed_before_its_push_is_an_error(cache):
    async def push():
        async with image_in_use(OldImage(cache.images / "image0")):
            raise AssertionError

    folder = cache.images / "image0"
    with pytest.raises(ImageError, match=f"^the image {folder} is not .*: run the command again$"):
        anyio.run(push)
    assert list(cache.images.glob("*.use")) == []


def test_a_cancelled_push_leaves_no_lock(cache):
    add_image(cache, 0)

    async def push():
        with anyio.CancelScope() as scope:
            async with image_in_use(OldImage(cache.images / "image0")):
                assert len(list(cache.images.glob("*.use"))) == 1
                scope.cancel()
                await anyio.sleep_forever()

    anyio.run(push)
    assert list(cache.images.glob("*.use")) == []


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data.replace(b"1", b"2")])
def test_a_damaged_record_is_not_read(cache, damage):
    cache.write_record("layers", "key", {"size": 1})
    assert cache.read_record("layers", "key") == {"size": 1}
    (path,) = cache.folder.glob("layers/*")
    path.write_bytes(damage(path.read_bytes()))
    assert cache.read_record("layers", "key") is None
