"""A client goes on with a run that another one has begun, with real files and a fake cloud."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from cloudburst import Client, Limits, RenderOptions, Status
from cloudburst.errors import (
    BusyError,
    CapacityError,
    ConfigurationError,
    EncodeError,
    JournalError,
    OutputClaimedError,
    OutputExistsError,
)
from cloudburst.events import SceneCompleted
from cloudburst.models.journal_entries import ResultEntry
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.task import Secrets
from cloudburst.outputs.journal.reader import journal_path, journal_paths, read_journal
from cloudburst.ports.backend import new_key
from cloudburst.ports.renderer import DownloadedVideo
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer

NUMBERS = count()
COLORS = {"a": "navy", "b": "blue", "c": "teal"}
"""Their pictures have the same size in bytes, so that scenes have the same work and keep their
order."""

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"  # files are read in threads


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@dataclass
class Writing(FakeRenderer):
    """Writes a small file that tells what it was made of."""

    options: RenderOptions | None = None

    async def upload(self, scene, **more):
        self.made_of = f"{scene.scene.image.read_bytes()}{scene.options}"
        inputs = {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in scene.files().items()
        }
        return replace(await super().upload(scene), input_hashes=inputs)

    async def download(self, output, to, *, on_verified=None, remote=None):
        await anyio.lowlevel.checkpoint()
        self.cloud.made.append(output.scene)
        content = f"{output.scene}{self.made_of}{next(NUMBERS)}".encode()
        part = to.with_name(f"{to.name}.part")
        part.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        download = DownloadedVideo(path=to, size=len(content), sha256=sha256)
        if on_verified is not None:
            await on_verified(download)
        if output.scene in self.cloud.die_before_naming:
            raise EncodeError("as if it was killed here", scene=output.scene)
        part.replace(to)
        return download


@dataclass
class Cloud(FakeCloud):
    made: list[str] = field(default_factory=list)
    die_before_naming: set[str] = field(default_factory=set)
    keys: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        self.keys.append(secrets.key)
        yield Writing(self, address)


@pytest.fixture
def scenes(make_scene):
    return [make_scene(name, color=color) for name, color in COLORS.items()]


async def rendered(cloud, scenes, out, **more):
    """The report of a client of its own; what was rendered is in ``cloud.made``."""
    cloud.made.clear()
    limits = more.pop("limits", Limits(workers=1))
    async with Client(cloud.backend, limits=limits) as client:
        return await client.render_all(scenes, to=out, **more)


async def begun(cloud, scenes, out, *, name="night"):
    """A run whose first scene is done, and that was left then."""
    cloud.encode = lambda scene: 0 if scene == "a" else 1000
    async with (
        Client(cloud.backend, limits=Limits(workers=1)) as client,
        client.stream(scenes, to=out, name=name) as run,
    ):
        async for event in run:
            if isinstance(event, SceneCompleted):
                break
    cloud.encode = 0
    assert (await run.report()).status is Status.INTERRUPTED
    assert cloud.made == ["a"]


def videos(out):
    return sorted(path.name for path in out.iterdir() if path.name != ".cloudburst")


async def test_finished_videos_are_not_rendered_again(scenes, out):
    cloud = Cloud()
    await begun(cloud, scenes, out)
    async with Client(cloud.backend, limits=Limits(workers=1)) as client:
        cloud.made.clear()
        async with client.stream(scenes, to=out, resume=True) as run:
            events = [event async for event in run]
        report = await run.report()
    assert sorted(cloud.made) == ["b", "c"]
    assert report.run == "night"
    assert report.status is Status.COMPLETE
    assert [video.scene for video in report.videos] == ["a", "b", "c"]
    skipped = {e.scene: e.skipped for e in events if isinstance(e, SceneCompleted)}
    assert skipped == {"a": True, "b": False, "c": False}
    assert [path.stem for path in journal_paths(out)] == ["night"]
    past = read_journal(journal_path(out, "night"))
    assert len(past.processes) == 2
    assert past.end.status is Status.COMPLETE
    again = await rendered(cloud, scenes, out, resume=True)
    assert (again.status, cloud.made) == (Status.COMPLETE, [])
    assert len(again.workers) == 2, "of all lives"


async def test_nothing_to_resume_is_a_new_run(scenes, out):
    cloud = Cloud()
    report = await rendered(cloud, scenes, out, resume=True)
    assert report.status is Status.COMPLETE
    assert [path.stem for path in journal_paths(out)] == [report.run]


async def test_a_video_that_was_changed_is_told_from_one_that_the_journal_lacks(scenes, out):
    cloud = Cloud()
    await begun(cloud, scenes, out)
    with (out / "a.mp4").open("ab") as file:
        file.write(b"cut by hand")
    with pytest.raises(OutputExistsError, match="not as the run left them") as caught:
        await rendered(cloud, scenes, out, resume=True)
    assert caught.value.reason == "changed since the run made them"


@pytest.mark.parametrize("name", [None, "fresh"])
async def test_where_there_is_nothing_to_resume_no_file_is_replaced(name, scenes, out):
    cloud = Cloud()
    out.mkdir()
    (out / "a.mp4").write_text("precious")
    with pytest.raises(OutputExistsError, match=r"videos already exist: .*a\.mp4") as caught:
        await rendered(cloud, scenes, out, name=name, resume=True)
    assert "the folder has no journal of a run with these scenes" in caught.value.reason
    assert caught.value.reason in str(caught.value)
    assert (out / "a.mp4").read_text() == "precious"
    assert not cloud.launched
    assert videos(out) == ["a.mp4"]
    assert not journal_paths(out)
    report = await rendered(cloud, scenes, out, name=name, resume=True, overwrite=True)
    assert report.status is Status.COMPLETE


async def test_a_name_begins_once(scenes, out):
    cloud = Cloud()
    await begun(cloud, scenes, out)
    with pytest.raises(ConfigurationError, match=r"night.*resume=True.*another name"):
        await rendered(cloud, [scenes[1]], out, name="night")
    assert not cloud.made
    report = await rendered(cloud, scenes, out, name="night", resume=True)
    assert report.status is Status.COMPLETE


async def test_the_newest_run_with_these_scenes_is_meant(make_scene, scenes, out):
    cloud = Cloud()
    await rendered(cloud, scenes, out, name="first")
    await rendered(cloud, scenes[:2], out, name="second", overwrite=True)
    await rendered(cloud, [make_scene("other")], out, name="third")
    assert (await rendered(cloud, [scenes[2]], out, resume=True)).run == "first"
    assert not cloud.made
    assert (await rendered(cloud, scenes[:1], out, resume=True, overwrite=True)).run == "second"


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize(
    "what", ["image", "audio", "subtitle", "watermark", "options", "options of a scene"]
)
async def test_what_has_changed_is_rendered_again(what, make_scene, scenes, out, tmp_path):
    cloud, options = Cloud(), RenderOptions(effects=())
    subtitle, watermark = tmp_path / "a.srt", tmp_path / "mark.png"
    subtitle.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    shutil.copy(scenes[1]["image_path"], watermark)
    scenes[0] |= {"subtitle_path": subtitle, "options": {"fade_in": 0.2}}
    options = options.model_copy(update={"watermark": watermark})
    await rendered(cloud, scenes, out, options=options)
    before = (out / "a.mp4").read_bytes()
    await rendered(cloud, scenes, out, options=options, resume=True)
    assert not cloud.made
    match what:
        case "image":
            make_scene("a", color="gold")
        case "audio":
            make_scene("a", color="red", seconds=2)
        case "subtitle":
            subtitle.write_text("1\n00:00:00,000 --> 00:00:01,000\ngood bye\n")
        case "watermark":
            shutil.copy(scenes[2]["image_path"], watermark)
        case "options":
            options = options.model_copy(update={"font_size": 30})
        case "options of a scene":
            scenes[0]["options"] = {"fade_in": 0.3}
    report = await rendered(cloud, scenes, out, options=options, resume=True)
    assert report.status is Status.COMPLETE
    of_one = {"image", "audio", "subtitle", "options of a scene"}
    assert sorted(cloud.made) == (["a"] if what in of_one else list("abc"))
    assert (out / "a.mp4").read_bytes() != before, "its own video is replaced without asking"


async def test_only_the_effect_that_is_drawn_counts(scenes, out):
    cloud = Cloud()
    still = RenderOptions(effects=("zoom_in",))
    await rendered(cloud, scenes, out, options=still)
    twice = RenderOptions(effects=("zoom_in", "zoom_in"))
    await rendered(cloud, scenes, out, options=twice, resume=True)
    assert not cloud.made
    await rendered(cloud, scenes, out, options=RenderOptions(effects=("pan_left",)), resume=True)
    assert sorted(cloud.made) == ["a", "b", "c"]


async def test_a_video_that_is_gone_is_made_again(scenes, out):
    cloud = Cloud()
    await rendered(cloud, scenes, out)
    (out / "b.mp4").unlink()
    report = await rendered(cloud, scenes, out, resume=True)
    assert (report.status, cloud.made) == (Status.COMPLETE, ["b"])


async def test_a_file_of_somebody_else_is_not_touched(scenes, out):
    cloud = Cloud()
    await begun(cloud, scenes, out)
    (out / "b.mp4").write_text("precious")
    with (out / "a.mp4").open("ab") as file:
        file.write(b"cut by hand")
    with pytest.raises(OutputExistsError, match="overwrite=True") as caught:
        await rendered(cloud, scenes, out, resume=True)
    assert [path.name for path in caught.value.paths] == ["a.mp4", "b.mp4"]
    assert "the journal of the run does not mention them" in caught.value.reason
    assert "a full disk" in caught.value.reason
    assert (out / "b.mp4").read_text() == "precious"
    assert len(read_journal(journal_path(out, "night")).processes) == 1, "no life began"
    report = await rendered(cloud, scenes, out, resume=True, overwrite=True)
    assert report.status is Status.COMPLETE
    assert sorted(cloud.made) == ["a", "b", "c"]


@pytest.mark.parametrize("before", ["nothing", "an older video"])
async def test_a_video_without_its_name_gets_it(before, scenes, out):
    """Killed between the entry and the name: the video is there, as a part."""
    cloud = Cloud(die_before_naming={"a"})
    out.mkdir()
    if before != "nothing":
        (out / "a.mp4").write_text("older")
    await rendered(cloud, scenes, out, name="x", overwrite=True)
    assert (out / "a.mp4.part").exists()
    assert (out / "a.mp4").exists() == (before != "nothing")
    (out / "b.mp4.part").write_text("a half")
    cloud.die_before_naming.clear()
    report = await rendered(cloud, scenes, out, resume=True)
    assert report.status is Status.COMPLETE
    assert not cloud.made
    assert videos(out) == ["a.mp4", "b.mp4", "c.mp4"]


async def test_a_run_that_is_alive_is_refused_with_who_holds_it(make_scene, scenes, out):
    cloud = Cloud(encode=5)
    async with (
        Client(cloud.backend) as first,
        first.stream(scenes, to=out, name="night"),
    ):
        for these in (scenes, [make_scene("other")]):
            with pytest.raises(OutputClaimedError) as caught:
                await rendered(cloud, these, out, name="night", resume=True)
            assert str(os.getpid()) in caught.value.holder
    assert len(read_journal(journal_path(out, "night")).processes) == 1


async def test_two_runs_share_a_folder(make_scene, scenes, out):
    cloud = Cloud()
    others = [make_scene("d"), make_scene("e")]
    async with Client(cloud.backend) as client, anyio.create_task_group() as tasks:
        for these, name in ((scenes, "one"), (others, "two")):
            tasks.start_soon(lambda t=these, n=name: client.render_all(t, to=out, name=n))
    assert [path.stem for path in journal_paths(out)] == ["one", "two"]
    pasts = [read_journal(journal_path(out, name)) for name in ("one", "two")]
    assert [past.end.status for past in pasts] == [Status.COMPLETE] * 2
    # One that worked on for the other run is not written about any more.
    assert sorted(task for past in pasts for task in past.tasks) == sorted(cloud.launched.values())


async def test_no_secret_is_written_down(scenes, out):
    cloud = Cloud()
    await begun(cloud, scenes, out)
    await rendered(cloud, scenes, out, resume=True)
    kept = b"".join(
        path.read_bytes() for path in (out / ".cloudburst").rglob("*") if path.is_file()
    )
    assert b"fake-1" in kept, "it is the journal that was looked at"
    assert cloud.keys
    for key in cloud.keys:
        assert key.encode() not in kept
    assert isinstance(new_key(), Secrets)


async def test_a_journal_that_cannot_be_read_starts_nothing(scenes, out):
    cloud = Cloud()
    await begun(cloud, scenes, out)
    path = journal_path(out, "night")
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(JournalError, match="night"):
        await rendered(cloud, scenes, out, name="night", resume=True)
    assert not cloud.made
    (out / "a.mp4").unlink()
    report = await rendered(cloud, scenes, out, resume=True)  # as if there were none
    assert report.run != "night"
    assert report.status is Status.COMPLETE


async def test_a_run_that_was_refused_leaves_no_journal(scenes, out):
    cloud = Cloud()
    with pytest.raises(BusyError):
        await rendered(cloud, scenes, out, limits=Limits(queued_scenes=1))
    assert not journal_paths(out)
    await rendered(cloud, scenes, out, name="night")
    before = read_journal(journal_path(out, "night"))
    (out / "a.mp4").unlink()
    (out / "b.mp4").unlink()
    with pytest.raises(BusyError):
        await rendered(cloud, scenes, out, limits=Limits(queued_scenes=1), resume=True)
    assert read_journal(journal_path(out, "night")) == before, "no life began, and none has ended"


async def test_a_folder_may_be_removed_when_its_run_is_over(scenes, out):
    """Also while the worker is kept warm."""
    cloud = Cloud()
    async with Client(cloud.backend, limits=Limits(workers=1, idle=60)) as client:
        for number in range(5):
            await client.render_all(scenes, to=out, name=f"r{number}")
            assert cloud.running, "it is kept warm"
            assert {path.name for path in (out / ".cloudburst").iterdir()} == {f"r{number}.sqlite"}
            shutil.rmtree(out)
    assert not out.exists()


class Slow(Cloud):
    """A launch takes a while to be answered."""

    async def launch(self, request):
        await anyio.sleep(0.5)
        return await super().launch(request)


async def test_a_folder_may_be_removed_when_its_run_was_cut_off(scenes, out):
    """Also while a launch that is kept was not answered yet."""
    limits = Limits(workers=1, idle=60)
    async with Client(Slow(encode=30).backend, limits=limits) as client:
        for number in range(3):
            with anyio.move_on_after(0.2):
                await client.render_all(scenes, to=out, name=f"r{number}")
            assert {path.name for path in (out / ".cloudburst").iterdir()} == {f"r{number}.sqlite"}
            shutil.rmtree(out)


class Full(Cloud):
    """There is room for one task."""

    first = ""

    async def launch(self, request):
        self.first = self.first or request.token
        if request.token != self.first:
            raise CapacityError("no room")
        return await super().launch(request)


async def test_a_run_that_is_over_waits_for_no_launch(scenes, out):
    """A worker that is kept is started although nobody needs it any more."""
    limits = Limits(workers=2, idle=60)
    async with Client(Full().backend, limits=limits) as client:
        began = anyio.current_time()
        report = await client.render_all(scenes, to=out)
        assert anyio.current_time() - began < 10
    assert report.status is Status.COMPLETE


async def test_many_small_runs_leave_nothing_open(scenes, out):
    cloud = Cloud()
    async with Client(cloud.backend) as client:
        for number in range(8):
            await client.render_all(scenes, to=out, name=f"r{number}", overwrite=True)
        await anyio.sleep(0.2)
        assert client._open is not None
        assert not client._open.run_journals._open, (
            "each is closed when its tasks are seen to have stopped"
        )
        assert not client._open.pool.supervisors.writers._writers


async def test_the_entry_is_there_before_the_name(scenes, out):
    seen = []

    class Watching(Cloud):
        @asynccontextmanager
        async def connect(self, address, *, secrets):
            class Renderer(Writing):
                async def download(self, output, to, *, on_verified=None, remote=None):
                    async def then(download):
                        await on_verified(download)
                        past = await anyio.to_thread.run_sync(
                            read_journal, journal_path(out, "night")
                        )
                        seen.append((past.results[output.scene], to.exists()))

                    return await super().download(output, to, on_verified=then)

            yield Renderer(self, address)

    await rendered(Watching(), scenes, out, name="night")
    assert len(seen) == 3
    for entry, exists in seen:
        assert isinstance(entry, ResultEntry)
        assert not exists
        assert [span.phase for span in entry.phases] == ["upload", "encode", "download"]


async def test_a_task_that_still_stops_in_this_client_stays_on_the_bill(scenes, out):
    cloud = Cloud(ends_after=0.3, rates=US_EAST_1_RATES)
    async with Client(cloud.backend, limits=Limits(workers=1)) as client:
        first = await client.render_all(scenes[:1], to=out, name="night")
        second = await client.render_all(scenes[:2], to=out, name="night", resume=True)
        final = await second.settled()
    assert len(first.workers) == 1
    for report in (second, final):
        assert len(report.workers) == 2
        assert all(entry.usd for entry in report.scenes)
    assert final.cost.final


@pytest.fixture
def full_scenes(scenes, tmp_path):
    """Scenes with every kind of file."""
    for scene in scenes:
        path = tmp_path / f"{scene['scene_name']}.srt"
        path.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
        scene["subtitle_path"] = str(path)
    mark = tmp_path / "mark.png"
    shutil.copy(scenes[0]["image_path"], mark)
    return scenes, RenderOptions(watermark=mark)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("kind", ["image_path", "audio_path", "subtitle_path", "watermark"])
async def test_a_file_that_was_another_one_for_a_while_fails_and_is_rendered_by_a_resumed_run(
    full_scenes, out, tmp_path, kind
):
    """Swapped after the run has begun and put back after its end."""
    scenes, options = full_scenes
    path = options.watermark if kind == "watermark" else scenes[2][kind]
    kept = shutil.copy2(path, tmp_path / "kept")

    def encode(scene):
        if scene == "a":  # the last one is not sent yet
            other = scenes[0]["audio_path" if kind == "audio_path" else "image_path"]
            shutil.copy(other, path)
            with Path(path).open("ab") as file:
                file.write(b" ")
        return 0

    cloud = Cloud(encode=encode)
    more = {"options": options, "limits": Limits(workers=1)}
    report = await rendered(cloud, scenes, out, name="night", **more)
    failed = {error.scene for error in report.errors}
    assert "c" in failed <= {"b", "c"}
    assert all("changed since the run began" in str(error) for error in report.errors)
    shutil.copy2(kept, path)
    cloud.encode = 0
    report = await rendered(cloud, scenes, out, name="night", resume=True, **more)
    assert report.status is Status.COMPLETE
    again = {"a", "b", "c"} - set(report.skipped)
    assert again == failed
    assert set(cloud.made) == again


async def source(scenes):
    for scene in scenes:
        yield scene


async def test_resumed_sources_skip_what_is_finished(scenes, make_scene, out):
    cloud = Cloud()

    async def failing():
        yield scenes[0]
        await run.video("a")
        yield scenes[1]
        await run.video("b")
        raise OSError("the model has no answer")

    async with Client(cloud.backend) as client:
        with pytest.raises(OSError, match="no answer"):
            async with client.stream(failing(), to=out, name="r1") as run:
                await run.until_done()
        first = await run.report()
    assert first.status is Status.INTERRUPTED
    assert [video.scene for video in first.videos] == ["a", "b"]
    scenes[1] = make_scene("b", color="red")
    async with (
        Client(cloud.backend) as client,
        client.stream(source(scenes), to=out, resume=True) as run,
    ):
        events = [event async for event in run]
        report = await run.report()
    assert run.name == "r1"
    assert report.status is Status.COMPLETE
    done = {event.scene: event.skipped for event in events if isinstance(event, SceneCompleted)}
    assert done == {"a": True, "b": False, "c": False}
    assert cloud.made == [*"abbc"]


async def test_a_run_that_a_source_left_is_resumed_as_a_list(scenes, out):
    cloud = Cloud(encode=0.3)
    async with Client(cloud.backend, limits=Limits(workers=1)) as client:
        async with client.stream(to=out, name="r1") as run:
            for scene in scenes:
                await run.submit(scene)
            await run.video("a")
        past = read_journal(journal_path(out, "r1"))
        assert [*past.scenes] == [*"abc"]
        report = await client.render_all(
            [entry.scene for entry in past.scenes.values()], to=out, name="r1", resume=True
        )
    assert report.status is Status.COMPLETE
    assert [scene.skipped for scene in report.scenes] == [True, False, False]
