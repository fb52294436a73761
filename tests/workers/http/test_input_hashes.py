"""The hashes that a renderer reports are those of the files that arrived, also after changes."""

from __future__ import annotations

import base64
import hashlib

import pytest

from cloudburst.models.options import RenderOptions
from support.checked_scenes import as_checked
from support.fake_public_image import PublicImage, ignore, to_image
from support.native_client import to_studio

pytestmark = pytest.mark.anyio

FILES = ("image", "audio", "subtitle", "watermark")
THEIRS = dict(zip(("input_image", "input_audio", "subtitle", "watermark"), FILES, strict=True))


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def files(make_scene, tmp_path):
    scene = make_scene()
    options = RenderOptions(watermark=tmp_path / "mark.png")
    options.watermark.write_bytes(b"mark")
    paths = {name: getattr(scene, name) for name in FILES[:-1]} | {"watermark": options.watermark}
    return scene, options, paths


@pytest.mark.parametrize("changed", FILES)
async def test_native_reports_the_hashes_of_the_files_on_the_worker(studio, files, changed):
    scene, options, paths = files
    async with to_studio(studio) as renderer:
        first = await renderer.upload(as_checked(scene, options))
        paths[changed].write_bytes(b"another content")
        upload = await renderer.upload(as_checked(scene, options))
        await renderer.encode(upload, progress=ignore)
    assert set(first.input_hashes) == set(FILES)
    assert upload.input_hashes == first.input_hashes | {changed: sha256(b"another content")}
    assert set(upload.input_hashes.values()) <= set(studio.files)
    (job,) = studio.jobs.values()
    assert {name: job.asked[name] for name in FILES} == upload.input_hashes


@pytest.mark.parametrize("proven", [False, True])
@pytest.mark.parametrize("changed", FILES)
async def test_onestep_reports_the_hashes_of_the_files_in_its_request(files, changed, proven):
    image = PublicImage()
    scene, options, paths = files
    async with to_image(image) as renderer:
        if proven:
            first = await renderer.upload(as_checked(scene, options))
            await renderer.encode(first, progress=ignore)
            paths[changed].write_bytes(b"another content")
        upload = await renderer.upload(as_checked(scene, options))
        await renderer.encode(upload, progress=ignore)
    asked = image.posts[-1].asked
    sent = {name: sha256(base64.b64decode(asked[field])) for field, name in THEIRS.items()}
    assert upload.input_hashes == sent
    assert proven == (upload.input_hashes[changed] == sha256(b"another content"))
