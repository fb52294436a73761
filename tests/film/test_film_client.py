"""Films of runs and folders: what is checked before, made once, replaced, cancelled and left."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import anyio
import av
import pytest
from PIL import Image

from cloudburst import Client, RenderOptions, Status, local, render_all
from cloudburst.errors import (
    ConfigurationError,
    FilmError,
    InvalidScenesError,
    OutputClaimedError,
    OutputExistsError,
)
from cloudburst.film import folder_film
from cloudburst.film.folder import videos_in
from cloudburst.film.folder_film import make_film
from cloudburst.film.plan import FilmPlan, read_fingerprint
from cloudburst.models.film import FilmRequest
from cloudburst.models.report import Report
from cloudburst.testing import FakeCloud
from support.film_scenes import key_frames, scene_video, sine, write_sound
from support.video_probe import probe

pytestmark = [pytest.mark.anyio, pytest.mark.real]

NAMES = ("scene_2", "scene_10", "scene_1")
SMALL = RenderOptions(size="426x240")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The inputs of three short scenes."""
    folder = tmp_path_factory.mktemp("given")
    for name in NAMES:
        Image.new("RGB", (32, 18), "teal").save(folder / f"{name}.png")
        write_sound(folder / f"{name}.wav", sine(0, 24_000))
        (folder / f"{name}.srt").write_text(f"1\n00:00:00,100 --> 00:00:00,300\n{name}\n")
    return [
        {
            "name": name,
            "image": str(folder / f"{name}.png"),
            "audio": str(folder / f"{name}.wav"),
            "subtitle": str(folder / f"{name}.srt"),
        }
        for name in NAMES
    ]


async def source(scenes):
    for scene in scenes:
        yield scene


async def render(given, out, **arguments) -> Report:
    async with Client(local(workers=1), options=SMALL) as client:
        return await client.render_all(given, to=out, **arguments)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".cloudburst")


def texts(film: Path) -> list[str]:
    return re.findall(r"scene_\d+", film.with_suffix(".srt").read_text())


def chapters(film: Path) -> list[str]:
    with av.open(str(film)) as container:
        return [chapter["metadata"]["title"] for chapter in container.chapters()]


async def test_a_run_makes_its_film_once(given, tmp_path):
    out, film = tmp_path / "out", tmp_path / "films" / "story.mp4"
    how = {"film": film, "transition": "crossfade", "transition_seconds": 0.1}
    given = [given[0] | {"transition": "cut"}, *given[1:]]
    natural = ["scene_1", "scene_2", "scene_10"]
    report = await render(given, out, **how)
    assert (report.status, report.film, report.film_error) == (Status.COMPLETE, film, None)
    assert probe(film).seconds == pytest.approx(1.4)
    assert texts(film) == [*NAMES]
    assert files(film.parent) == ["story.jpg", "story.mp4", "story.srt"]
    found = [key_frames(video.path) for video in report.videos]
    assert found == [[0], [0, 12], [0, 3]], "the first ones, and those at transitions"
    videos = videos_in(out, film)
    assert [one.source.name for one in videos] == [*NAMES], "the order of the run"
    assert [str(one.source.subtitle) for one in videos] == [scene["subtitle"] for scene in given]
    (out / "another.mp4").write_bytes(b"")
    assert [one.source.name for one in videos_in(out, film)] == ["another", *natural]
    (out / "another.mp4").unlink()

    made = film.stat().st_mtime_ns
    again = await render(given, out, **how, resume=True)
    assert (again.film, film.stat().st_mtime_ns) == (film, made)

    with pytest.raises(OutputExistsError, match="files of the film exist"):
        await render(given, tmp_path / "other", film=film)

    film.with_suffix(".jpg").write_bytes(b"photo")
    before = {path.name: path.read_bytes() for path in film.parent.iterdir()}
    kept = await render(given[:2], out, **how, resume=True)
    assert (kept.status, kept.film) == (Status.COMPLETE, None)
    assert "is not from an earlier film, or was changed since: move it away" in kept.film_error
    assert {path.name: path.read_bytes() for path in film.parent.iterdir()} == before

    other = await render(source(given[1::-1]), out, **how, resume=True, overwrite=True)
    assert (other.film, film.stat().st_mtime_ns > made) == (film, True)
    assert texts(film) == [*NAMES[1::-1]], "the scenes of a source are in the order they came"
    assert film.with_suffix(".jpg").read_bytes() != b"photo"


async def test_another_title_of_a_chapter_makes_the_film_again_and_no_scene(given, tmp_path):
    out, film = tmp_path / "out", tmp_path / "film.mp4"
    first = [given[0] | {"title": "一"}, given[1] | {"options": {"title": "Two"}}]
    await render(first, out, film=film)
    assert chapters(film) == ["一", "Two"]
    rendered = [path.stat().st_mtime_ns for path in sorted(out.glob("*.mp4"))]
    await render([given[0] | {"title": "One"}, first[1]], out, film=film, resume=True)
    assert chapters(film) == ["One", "Two"]
    assert [path.stat().st_mtime_ns for path in sorted(out.glob("*.mp4"))] == rendered


@pytest.mark.nightly
@pytest.mark.parametrize("present", ["own film", "no film", "no subtitles to write"])
async def test_a_resumed_run_keeps_files_that_it_did_not_write(given, tmp_path, present):
    """They have the names of the film's subtitles and cover."""
    out, film = tmp_path / "out", tmp_path / "story.mp4"
    scenes = given
    if present == "no subtitles to write":
        scenes = [{**scene, "subtitle": None} for scene in given]
    await render(scenes, out, film=film)
    subtitles, cover = film.with_suffix(".srt"), film.with_suffix(".jpg")
    if present == "own film":
        scenes = scenes[:2]  # so that the film is made again
    else:
        film.unlink()
    cover.write_bytes(b"photo")
    if present != "own film":
        subtitles.write_text("corrected by hand")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("story.*")}
    report = await render(scenes, out, film=film, resume=True)
    assert report.status is Status.COMPLETE
    assert report.film is None
    assert "is not from an earlier film, or was changed since: move it away" in report.film_error
    assert {path.name: path.read_bytes() for path in tmp_path.glob("story.*")} == before

    report = await render(scenes, out, film=film, resume=True, overwrite=True)
    assert report.film == film
    assert cover.read_bytes() != b"photo"


@pytest.mark.nightly
async def test_a_resumed_run_replaces_the_unchanged_files_of_a_removed_film(given, tmp_path):
    out, film = tmp_path / "out", tmp_path / "story.mp4"
    await render(given, out, film=film)
    film.unlink()
    report = await render(given, out, film=film, resume=True)
    assert (report.film, files(tmp_path)[-3:]) == (film, ["story.jpg", "story.mp4", "story.srt"])


async def test_the_film_is_made_by_the_process_that_resumes_the_run(given, tmp_path):
    film = tmp_path / "film.mp4"
    async with Client(FakeCloud(broken_scenes={NAMES[1]}).backend) as client:
        report = await client.render_all(given, to=tmp_path / "fake", film=film)
    assert (report.status, report.film) == (Status.PARTIAL, None)
    assert "scenes have no video: scene_10; resume the run" in report.film_error
    assert files(tmp_path) == ["fake"]


async def test_videos_of_another_renderer_are_an_error_of_the_film(given, tmp_path):
    async with (
        Client(FakeCloud().backend) as client,
        client.stream(given, to=tmp_path / "fake", film=tmp_path / "film.mp4") as run,
    ):
        events = [event async for event in run]
    report = await run.report()
    assert (report.status, report.film) == (Status.COMPLETE, None)
    assert "scene_2" in report.film_error
    assert events[-1].type == "film.failed"
    with pytest.raises(FilmError):
        report.raise_for_failures()
    assert files(tmp_path) == ["fake"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"film": "film.avi"}, r"film: .*ends in \.mp4"),
        ({"film": "film.mp4", "transition": "wipe"}, "transition: 'wipe'; expected one of cut"),
        (
            {"film": "film.mp4", "transition_seconds": 0},
            "transition_seconds: 0; expected 0.1 to 10",
        ),
        ({"film": "film.mp4", "transition_seconds": float("nan")}, "transition_seconds: nan"),
        ({"film": "film.mp4", "transition_seconds": None}, "transition_seconds: None; expected"),
        ({"film": "film.mp4", "film_gap": "1"}, "film_gap: '1'; expected 0.1 to 10 seconds, or"),
        ({"film": "film.mp4", "film_gap": True}, "film_gap: True; expected 0.1 to 10 seconds"),
        ({"film": "film.mp4", "film_gap": 0.05}, "film_gap: 0.05; expected 0.1 to 10 seconds, or"),
        ({"film": "film.mp4", "film_gap": float("nan")}, "film_gap: nan"),
        ({"film": "film.mp4", "film_gap": 1, "transition": "crossfade"}, "1 with crossfade"),
        ({"film_gap": 1}, "film_gap: 1; expected a film"),
        ({"film": "out/scene_1.mp4"}, "is the video or the cover of a scene"),
        ({"film": "con.mp4"}, "film: 'con.mp4'; expected a name"),
        ({"transition": "fade"}, "transition: 'fade'; expected a film"),
        ({"transition_seconds": 1.0}, "transition_seconds: 1.0; expected a film"),
    ],
)
async def test_bad_requests_start_nothing(given, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    cloud = FakeCloud()
    async with Client(cloud.backend) as client:
        with pytest.raises(ConfigurationError, match=reason):
            await client.render_all(given, to="out", **arguments)
    assert not cloud.launched
    assert files(tmp_path) == []


@pytest.mark.parametrize("arguments", [{"fim": "film.mp4"}, {"film": "f.mp4", "path": "f.mp4"}])
async def test_an_unknown_argument_is_a_type_error(given, tmp_path, arguments):
    with pytest.raises(TypeError, match=r"unexpected keyword argument '(fim|path)'"):
        await render_all(given, to=tmp_path, backend=FakeCloud().backend, **arguments)


@pytest.mark.parametrize("linked", [False, True])
async def test_inputs_are_not_replaced(given, tmp_path, linked):
    film = Path(given[0]["image"]).with_suffix(".mp4")
    if linked:
        (tmp_path / "link").symlink_to(film.parent, target_is_directory=True)
        film = tmp_path / "link" / film.name
    async with Client(FakeCloud().backend) as client:
        with pytest.raises(ConfigurationError, match=r"scene_2\.srt is an input of the run"):
            await client.render_all(given, to=tmp_path, film=film, overwrite=True)


async def faults_of(given, tmp_path, **arguments) -> list[tuple[str, str, str, str]]:
    cloud = FakeCloud()
    async with Client(cloud.backend) as client:
        with pytest.raises(InvalidScenesError) as caught:
            await client.render_all(given, to=tmp_path, film=tmp_path / "film.mp4", **arguments)
    assert not cloud.launched
    return [fault[:4] for fault in caught.value.faults]


async def check_that_it_starts(given, tmp_path, **arguments) -> None:
    """Check that a run of these scenes starts. No film is tried, because one scene fails."""
    async with Client(FakeCloud(broken_scenes={given[0]["name"]}).backend) as client:
        report = await client.render_all(
            given, to=tmp_path, film=tmp_path / "film.mp4", **arguments
        )
    assert report.status is Status.PARTIAL


async def test_short_scenes_start_nothing(given, tmp_path):
    silent = {name: value for name, value in given[1].items() if name != "audio"}
    how = {"transition": "crossfade", "transition_seconds": 0.4}
    needed = "at least 0.8 s, for the transitions of the film"
    found = await faults_of(given, tmp_path, **how)
    assert found == [("scene_10", "audio", "0.50 s long", needed)]
    found = await faults_of([given[0], silent | {"duration": 0.7}, given[2]], tmp_path, **how)
    assert found == [("scene_10", "duration", "0.70 s long", needed)]


async def test_a_scene_is_as_long_as_its_own_transitions(given, tmp_path):
    """The transition of a scene, to the next one, overrides that of the film."""
    given = [given[0] | {"transition": "cut"}, *given[1:]]
    needed = "at least 0.6 s, for the transitions of the film"
    how = {"transition": "crossfade", "transition_seconds": 0.6}
    found = await faults_of(given, tmp_path, **how)
    assert found == [(name, "audio", "0.50 s long", needed) for name in ("scene_10", "scene_1")]
    last = given[2] | {"transition": "crossfade"}  # it leads to no scene
    given = [given[0], given[1] | {"transition": "fade"}, last]
    await check_that_it_starts(given, tmp_path, **how)


async def test_a_crossfade_across_a_gap_starts_nothing(given, tmp_path):
    scenes = [given[0], given[1] | {"transition": "crossfade"}, given[2]]
    ((scene, *found),) = await faults_of(scenes, tmp_path, film_gap=1)
    assert (scene, found[:2]) == ("scene_10", ["transition", "crossfade"])


async def test_an_unknown_transition_of_a_scene_starts_nothing(given, tmp_path):
    scenes = [given[0], given[1] | {"transition": "wipe"}]
    expected = "one of cut, fade, crossfade"
    assert await faults_of(scenes, tmp_path) == [("scene_10", "transition", "'wipe'", expected)]


@pytest.mark.parametrize(
    ("first", "second", "fault"),
    [
        ({"is_portrait": False}, {"is_portrait": True}, ("options.is_portrait", "True", "False")),
        ({"fps": 30}, {"fps": 25}, ("options.fps", "25", "30")),
        ({"size": "1080p"}, {"size": "720p"}, ("options.size", "720p", "1080p")),
        ({"size": "square"}, {}, ("options.size", "1080p", "square")),
    ],
)
async def test_other_formats_start_nothing(given, tmp_path, first, second, fault):
    scenes = [given[0] | {"options": first}, given[1] | {"options": second}]
    ((scene, *found, expected),) = await faults_of(scenes, tmp_path)
    assert (scene, *found) == ("scene_10", *fault[:2])
    assert expected.startswith(f"{fault[2]}, as in scene_2: a film has one ")


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("size", "orientation", "is_other"),
    [
        ((18, 32), 1, True),
        ((32, 18), 6, True),  # rotated by 90°
        ((18, 32), 8, False),
        ((32, 18), 3, False),
        ((32, 32), 1, False),
    ],
)
async def test_pictures_of_another_orientation_start_nothing(
    given, tmp_path, size, orientation, is_other
):
    picture = Image.new("RGB", size, "teal")
    picture.getexif()[0x0112] = orientation
    scenes = [*given]
    for place, kind in ((1, "png"), (2, "jpg")):
        path = tmp_path / f"other.{kind}"
        picture.save(path, exif=picture.getexif())
        scenes[place] = given[place] | {"image": str(path)}
    if is_other:
        found = await faults_of(scenes, tmp_path)
        assert [fault[0] for fault in found] == ["scene_10", "scene_1"]
        assert {fault[1:3] for fault in found} == {("image", "a picture whose video has 1080x1920")}
        assert found[0][3].startswith("1920x1080, as in scene_2: a film has one size; ")
        assert "is_portrait=False (--landscape)" in found[0][3]
        scenes = [scene | {"options": {"size": "landscape"}} for scene in scenes]
    await check_that_it_starts(scenes, tmp_path)


async def test_names_of_one_size_are_no_difference(given, tmp_path):
    scenes = [given[0] | {"options": {"size": "landscape"}}, given[1] | {"options": {}}]
    await check_that_it_starts(scenes, tmp_path)


async def test_the_extra_is_needed(given, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_film, "REQUIRED_MODULES", ("av", "no_such_module"))
    async with Client(FakeCloud().backend) as client:
        with pytest.raises(ConfigurationError, match=r"no_such_module: pip install .*\[film\]"):
            await client.render_all(given, to=tmp_path, film=tmp_path / "film.mp4")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder with finished videos without a journal."""
    folder, jobs = tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("jobs")
    for name in NAMES:
        picture = Image.new("RGB", (16, 9), "teal")
        scene = scene_video(jobs / name, picture, sine(0, 24_000), size="426x240")
        shutil.copy(scene.video, folder / f"{name}.mp4")
    return folder


def plan_of(videos: Path, film: Path, repeat: int = 1) -> FilmPlan:
    from cloudburst.film.folder_film import film_plan

    found = videos_in(videos, film) * repeat
    return film_plan(FilmRequest(path=film), [v.video for v in found], [v.source for v in found])


@pytest.mark.nightly
@pytest.mark.nightly
async def test_a_film_begins_with_a_title_card(given, tmp_path):
    title = {"name": "title", "title_card": "第一章\nChapter One", "duration": 0.5}
    sound = {"name": "voice", "title_card": "Chapter Two", "audio": given[0]["audio"]}
    film = tmp_path / "film.mp4"
    report = await render(
        [title | {"transition": "fade"}, given[0], sound], tmp_path, film=film, film_gap=0.1
    )
    assert (report.film, report.film_error) == (film, None)
    assert probe(film).seconds == pytest.approx(1.7)


async def test_a_changed_transition_or_gap_makes_another_film(videos, tmp_path):
    plan = plan_of(videos, tmp_path / "film.mp4")
    first, *others, last = plan.scenes
    changed = [
        replace(plan, transition="fade"),
        replace(plan, film_gap=1.0),
        replace(plan, scenes=(replace(first, transition="fade"), *others, last)),
    ]
    assert len({each.fingerprint for each in (plan, *changed)}) == 4
    at_the_end = replace(plan, scenes=(first, *others, replace(last, transition="fade")))
    assert at_the_end.fingerprint == plan.fingerprint


async def test_a_cancelled_film_leaves_nothing(videos, tmp_path):
    """Cancelled at the first progress, and before it."""
    plan = plan_of(videos, tmp_path / "film.mp4", repeat=400)
    for at in (0.0, None):
        with anyio.CancelScope() as scope:
            if at is None:
                scope.deadline = anyio.current_time() + 0.05
            await make_film(plan, lambda _, scope=scope, at=at: at is None or scope.cancel())
        assert scope.cancelled_caught
        assert files(tmp_path) == []
        assert not children()


def children() -> list[str]:
    """Return the command lines of film processes that this process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_text()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and "film_process" in command:
            found.append(command)
    return found


async def test_a_film_that_cannot_be_written_is_an_error(videos, tmp_path):
    plan = plan_of(videos, tmp_path / "nowhere" / "film.mp4")
    with pytest.raises(FilmError, match=r"nowhere.*cannot be written: No such file"):
        await make_film(plan, lambda _: None)


def test_a_folder_is_in_natural_order(videos, tmp_path):
    found = videos_in(videos, tmp_path / "film.mp4")
    assert [one.source.name for one in found] == ["scene_1", "scene_2", "scene_10"]
    assert [one.source.subtitle for one in found] == [None] * 3


async def test_an_earlier_film_is_no_scene_and_no_video_is_replaced(videos, tmp_path):
    shutil.copytree(videos, tmp_path / "all")
    earlier = tmp_path / "all" / "earlier.mp4"
    await make_film(plan_of(videos, earlier), lambda _: None)
    found = videos_in(tmp_path / "all", tmp_path / "film.mp4")
    assert [one.source.name for one in found] == ["scene_1", "scene_2", "scene_10"]
    assert videos_in(tmp_path / "all", earlier) == found
    with pytest.raises(ConfigurationError, match=r"scene_2\.mp4: a video, not a film"):
        videos_in(tmp_path / "all", tmp_path / "all" / "scene_2.mp4")


async def test_two_processes_do_not_write_one_film(videos, tmp_path):
    from cloudburst.film.folder_film import claimed_film

    request = FilmRequest(path=tmp_path / "film.mp4")
    async with claimed_film(request, [], run="one", overwrite=True):
        with pytest.raises(OutputClaimedError, match=r"is writing .*film\.mp4"):
            async with claimed_film(request, [], run="two", overwrite=True):
                pass


def test_a_fingerprint_is_read_only_from_whole_films(videos, tmp_path):
    async def make() -> FilmPlan:
        plan = plan_of(videos, tmp_path / "film.mp4")
        await make_film(plan, lambda _: None)
        return plan

    plan = anyio.run(make)
    film = tmp_path / "film.mp4"
    assert read_fingerprint(film) == plan.fingerprint
    with film.open("ab") as file:
        file.truncate(film.stat().st_size - 1)
    assert read_fingerprint(film) is None
    assert read_fingerprint(videos / "scene_1.mp4") is None


async def test_a_scene_of_a_source_that_does_not_fit_the_film_fails(given, tmp_path):
    """It has the format of the first scene, and room for a transition to a further one."""
    scenes = [
        given[0],
        given[1] | {"options": {"fps": 25}},
        given[2] | {"name": "short", "audio": None, "duration": 0.3},
        given[2],
    ]
    film = {"film": tmp_path / "film.mp4", "transition": "crossfade", "transition_seconds": 0.2}
    async with Client(FakeCloud().backend, options=SMALL) as client:
        report = await client.render_all(source(scenes), to=tmp_path / "fake", **film)
    assert [video.scene for video in report.videos] == ["scene_2", "scene_1"]
    rate, short = report.errors
    assert "as in scene_2: a film has one frame rate" in str(rate)
    assert "short: duration: 0.30 s long; expected at least 0.4 s" in str(short)
    assert "no video: scene_10, short; fix them and run the program again" in report.film_error


async def test_a_source_without_scenes_makes_no_film(tmp_path):
    film = tmp_path / "film.mp4"
    async with Client(FakeCloud().backend) as client:
        report = await client.render_all(source([]), to=tmp_path / "fake", film=film)
    assert (report.status, report.film) == (Status.COMPLETE, None)
    assert report.film_error == "no film was made, because no scene came"
    assert not film.exists()


async def test_the_place_of_a_film_is_checked_before_the_first_scene(given, tmp_path):
    async with Client(FakeCloud().backend) as client:
        with pytest.raises(ConfigurationError, match="because the videos are there"):
            await client.render_all(source(given), to=tmp_path, film="s3://bucket/film.mp4")
