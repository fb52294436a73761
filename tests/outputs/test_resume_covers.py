"""Covers in the output folder: resumed runs, and inputs that a cover would replace."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import anyio.lowlevel
import pytest

from cloudburst import Client, Limits, RenderOptions, Status
from cloudburst.errors import EncodeError, InvalidScenesError, OutputExistsError
from cloudburst.models.scene import cover_path
from cloudburst.outputs.earlier_runs import missing_videos
from cloudburst.outputs.journal.reader import journal_paths, read_journal
from cloudburst.ports.renderer import DownloadedVideo
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer

pytestmark = pytest.mark.anyio

NUMBERS = count()
COVER = RenderOptions(cover=True)


@pytest.fixture
def anyio_backend():
    return "asyncio"  # files are read in threads


@dataclass
class Writing(FakeRenderer):
    """Renderer that writes small files in place of videos and covers."""

    async def download(self, output, to, *, on_verified=None, remote=None):
        await anyio.lowlevel.checkpoint()
        self.cloud.made.append(output.scene)
        hashes = []
        for path in (to, cover_path(to)):
            content = f"{path.name} {next(NUMBERS)}".encode()
            path.with_name(f"{path.name}.part").write_bytes(content)
            hashes.append((len(content), hashlib.sha256(content).hexdigest()))
        (size, sha256), (_, cover_sha256) = hashes
        video = DownloadedVideo(
            path=to, size=size, sha256=sha256, cover=cover_path(to), cover_sha256=cover_sha256
        )
        await on_verified(video)
        for path in (cover_path(to), to):
            if path.name in self.cloud.ends_before:
                raise EncodeError("as if the process was killed here", scene=output.scene)
            path.with_name(f"{path.name}.part").replace(path)
        return video


@dataclass
class Cloud(FakeCloud):
    made: list[str] = field(default_factory=list)
    ends_before: set[str] = field(default_factory=set)
    """Names of files before whose rename the process ends."""

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        yield Writing(self, address)


async def rendered(cloud, scenes, out, options=COVER, **more):
    cloud.made.clear()
    async with Client(cloud.backend, limits=Limits(workers=1)) as client:
        return await client.render_all(scenes, to=out, options=options, **more)


def files(out):
    return sorted(path.name for path in out.iterdir() if path.name != ".cloudburst")


@pytest.mark.parametrize("ends_before", ["a.jpg", "a.mp4"])
async def test_files_without_their_names_get_them(make_scene, tmp_path, ends_before):
    cloud, out = Cloud(ends_before={ends_before}), tmp_path / "out"
    await rendered(cloud, [make_scene("a"), make_scene("b")], out)
    assert "a.mp4.part" in files(out)
    assert ("a.jpg.part" in files(out)) == (ends_before == "a.jpg")
    cloud.ends_before.clear()
    report = await rendered(cloud, [make_scene("a"), make_scene("b")], out, resume=True)
    assert (report.status, cloud.made) == (Status.COMPLETE, [])
    assert files(out) == ["a.jpg", "a.mp4", "b.jpg", "b.mp4"]
    assert report.videos[0].cover == out / "a.jpg"


async def test_a_scene_without_its_cover_is_rendered_again(make_scene, tmp_path):
    cloud, out = Cloud(), tmp_path / "out"
    scenes = [make_scene("a"), make_scene("b")]
    await rendered(cloud, scenes, out)
    (out / "b.jpg").unlink()
    (path,) = journal_paths(out)
    assert missing_videos(read_journal(path), out) == ["b"]
    report = await rendered(cloud, scenes, out, resume=True)
    assert (report.status, cloud.made) == (Status.COMPLETE, ["b"])
    assert missing_videos(read_journal(path), out) == []


async def test_covers_move_with_their_folder(make_scene, tmp_path):
    cloud, out, new = Cloud(), tmp_path / "out", tmp_path / "new"
    await rendered(cloud, [make_scene("a")], out)
    out.rename(new)
    report = await rendered(cloud, [make_scene("a")], new, resume=True)
    assert (report.videos[0].cover, cloud.made) == (new / "a.jpg", [])


async def test_a_changed_cover_is_not_replaced(make_scene, tmp_path):
    cloud, out = Cloud(), tmp_path / "out"
    await rendered(cloud, [make_scene("a")], out)
    (out / "a.jpg").write_text("drawn over by hand")
    with pytest.raises(OutputExistsError, match="changed since the run made them") as caught:
        await rendered(cloud, [make_scene("a")], out, resume=True)
    assert caught.value.paths == (out / "a.jpg",)
    assert (out / "a.jpg").read_text() == "drawn over by hand"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("resume", [False, True])
async def test_a_cover_never_replaces_an_input(make_scene, tmp_path, overwrite, resume):
    """The picture of one scene lies where the cover of another one would be."""
    scenes = [make_scene("a"), make_scene("b")]
    picture = tmp_path / "b.jpg"
    (tmp_path / "a.png").rename(picture)
    scenes[0]["image_path"] = picture
    before, cloud = picture.read_bytes(), Cloud()
    with pytest.raises(InvalidScenesError) as caught:
        await rendered(cloud, scenes, tmp_path, overwrite=overwrite, resume=resume)
    (fault,) = caught.value.faults
    assert (fault.scene, fault.field) == ("b", "options.cover")
    assert str(picture) in fault.found
    assert picture.read_bytes() == before
    assert not cloud.launched


async def test_without_covers_pictures_may_lie_beside_the_videos(make_scene, tmp_path):
    scene = make_scene("a")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    scene["image_path"] = tmp_path / "a.jpg"
    cloud = FakeCloud()
    async with Client(cloud.backend) as client:
        video = await client.render(scene, to=tmp_path)
    assert video.cover is None


async def test_a_scene_alone_can_have_a_cover(make_scene, tmp_path):
    scenes = [make_scene("a"), make_scene("b") | {"options": {"cover": "true"}}]
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    with pytest.raises(OutputExistsError) as caught:
        await rendered(Cloud(), scenes, tmp_path, options=RenderOptions())
    assert caught.value.paths == (tmp_path / "b.jpg",)
