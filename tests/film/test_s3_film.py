"""Films of runs on S3, which a local worker makes, on the emulator's S3."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from cloudburst import Client, RenderOptions, Status, local
from cloudburst.aws.client.client import MAX_ATTEMPTS
from cloudburst.errors import ConfigurationError, InvalidScenesError, OutputExistsError
from cloudburst.film.folder_film import ChapterSource
from cloudburst.film.plan import read_fingerprint
from cloudburst.film.request import check_place_of_film, film_request
from cloudburst.film.s3_film import claimed_s3_film
from cloudburst.models.film import FilmRequest
from cloudburst.models.locations import S3Object
from cloudburst.models.scene import Video
from cloudburst.testing import s3_fault
from support.emulator_calls import client as aws
from support.film_scenes import heard, labelled, sine, write_sound
from support.render_job import subtitle_file
from support.s3_account import (
    BUCKET,
    account,
    content,
    keys,
    obj,
    open_store,
    operations,
    put,
    settings_of,
)
from support.short_waits import repeat_quickly
from support.video_probe import probe

pytestmark = [pytest.mark.anyio, pytest.mark.real]

SMALL = RenderOptions(size="320x240", fps=24)
FILM = f"s3://{BUCKET}/out/film.mp4"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def emulator():
    with account() as running:
        yield running


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def scenes(emulator, tmp_path):
    """Two scenes: one has its files in S3, the other on this machine."""
    Image.new("RGB", (32, 18), "teal").save(tmp_path / "picture.png")
    write_sound(tmp_path / "sound.wav", sine(0, 24_000))
    (tmp_path / "two.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\ntwo\n")
    for name in ("picture.png", "sound.wav"):
        put(emulator, obj(f"in/{name}"), (tmp_path / name).read_bytes())
    put(emulator, obj("in/one.srt"), b"1\n00:00:00,100 --> 00:00:00,300\none\n")
    remote = {field: f"s3://{BUCKET}/in/{name}" for field, name in FILES.items()}
    here = {field: str(tmp_path / name) for field, name in FILES.items()}
    return [
        {"name": "one", "subtitle": f"s3://{BUCKET}/in/one.srt", **remote},
        {"name": "two", "subtitle": str(tmp_path / "two.srt"), **here},
    ]


FILES = {"image": "picture.png", "audio": "sound.wav"}


def film_keys(emulator):
    return [key for key in keys(emulator) if key.startswith("out/film.")]


async def test_a_worker_makes_the_film_once_and_again_if_it_changes(
    emulator, scenes, state, tmp_path
):
    out = f"s3://{BUCKET}/out/"

    async def render(given=scenes, **more):
        async with Client(
            local(workers=1), settings=settings_of(emulator), options=SMALL
        ) as client:
            music = f"s3://{BUCKET}/in/music.wav"
            return await client.render_all(given, to=out, film=FILM, film_music=music, **more)

    def put_music(level):
        write_sound(tmp_path / "music.wav", sine(0, 24_000, level=level))
        put(emulator, obj("in/music.wav"), (tmp_path / "music.wav").read_bytes())

    put_music(level=0.9)

    report = await render(name="first")
    film = S3Object(BUCKET, "out/film.mp4")
    assert (report.status, report.film, report.film_error) == (Status.COMPLETE, film, None)
    assert sum(scene.bytes_sent for scene in report.scenes) < 100_000, (
        "no video passes through this machine"
    )
    assert json.loads(report.model_dump_json())["film"] == FILM
    assert len(report.workers) == 1
    assert film_keys(emulator) == ["out/film.jpg", "out/film.mp4", "out/film.srt"]
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(content(emulator, film))
    assert read_fingerprint(copy) is not None
    assert probe(copy).seconds == pytest.approx(1.0, abs=0.1)
    loud = max(map(abs, heard(copy)))
    assert loud > 0.55
    assert [line for line in content(emulator, obj("out/film.srt")).split(b"\n") if line.isalpha()]
    assert not [key for key in keys(emulator) if ".cloudburst" in key], "the check is gone"

    first = report
    since = len(emulator.calls)
    with pytest.raises(OutputExistsError, match=r"film\.mp4"):
        await render([s | {"name": f"{s['name']}_"} for s in scenes])
    again = await render(resume=True)
    assert (again.run, again.film, again.skipped) == (first.run, film, ("one", "two"))
    assert "CompleteMultipartUpload" not in operations(emulator, since)
    before = aws(emulator, "s3").head_object(Bucket=BUCKET, Key=film.key)

    bare = [{key: value for key, value in s.items() if key != "subtitle"} for s in scenes]
    put_music(level=0.0)
    bare = await render(bare, resume=True, transition="fade", transition_seconds=0.2)
    assert (bare.film, bare.film_error) == (film, None)
    copy.write_bytes(content(emulator, film))
    assert max(map(abs, heard(copy))) < loud - 0.05
    assert film_keys(emulator) == ["out/film.jpg", "out/film.mp4"], "there are no subtitles now"
    after = aws(emulator, "s3").head_object(Bucket=BUCKET, Key=film.key)
    assert after["ETag"] != before["ETag"]

    put(emulator, film, b"of another program")
    with pytest.raises(OutputExistsError, match=r"film\.mp4") as refused:
        await render(resume=True)
    assert refused.value.objects == (str(film),), "the command line names its own option for these"


@pytest.mark.nightly
async def test_a_worker_mixes_the_sound_of_the_film(emulator, scenes, state, tmp_path):
    bare = [{key: value for key, value in s.items() if key != "subtitle"} for s in scenes]
    film = obj("own/film.mp4")
    own = {"film_music": f"s3://{BUCKET}/in/music.wav", "film_subtitle": tmp_path / "own.srt"}
    (tmp_path / "own.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nof the film\n")

    async def render(**more):
        async with Client(
            local(workers=1), settings=settings_of(emulator), options=SMALL
        ) as client:
            return await client.render_all(
                bare, to=f"s3://{BUCKET}/own/", film=str(film), **own, **more
            )

    def level():
        (tmp_path / "copy.mp4").write_bytes(content(emulator, film))
        return max(map(abs, heard(tmp_path / "copy.mp4")))

    write_sound(tmp_path / "music.wav", sine(0, 24_000, level=0.9))
    put(emulator, obj("in/music.wav"), (tmp_path / "music.wav").read_bytes())
    report = await render(name="first")
    assert (report.status, report.film_error) == (Status.COMPLETE, None)
    assert b"of the film" in content(emulator, obj("own/film.srt"))
    loud = level()
    assert loud > 0.55
    since = len(emulator.calls)
    await render(resume=True)
    assert "CompleteMultipartUpload" not in operations(emulator, since)
    write_sound(tmp_path / "music.wav", sine(0, 24_000, level=0.0))
    put(emulator, obj("in/music.wav"), (tmp_path / "music.wav").read_bytes())
    again = await render(resume=True)
    assert (again.skipped, again.film_error) == (("one", "two"), None)
    assert level() < loud - 0.05


@pytest.mark.nightly
async def test_a_worker_draws_the_subtitles_of_the_film(emulator, state, tmp_path):
    write_sound(tmp_path / "voice.wav", sine(0, 48_000))
    put(emulator, obj("in/voice.wav"), (tmp_path / "voice.wav").read_bytes())
    put(emulator, obj("in/words.srt"), subtitle_file((0.25, 0.75, "over a seam")).encode())
    Image.new("RGB", (32, 18), "teal").save(tmp_path / "picture.png")

    async def source():
        for name, end in (("one", 0.5), ("two", 1.0)):
            yield {"name": name, "image": tmp_path / "picture.png", "until": end}

    async with Client(local(workers=1), settings=settings_of(emulator), options=SMALL) as client:
        report = await client.render_all(
            source(),
            to=f"s3://{BUCKET}/drawn/",
            film=f"s3://{BUCKET}/drawn/film.mp4",
            film_subtitle=f"s3://{BUCKET}/in/words.srt",
            film_audio=f"s3://{BUCKET}/in/voice.wav",
        )
    assert (report.status, report.film_error) == (Status.COMPLETE, None)
    (tmp_path / "film.mp4").write_bytes(content(emulator, obj("drawn/film.mp4")))
    assert labelled(tmp_path / "film.mp4") == list(range(6, 18))


def test_a_film_is_where_its_videos_are(tmp_path):
    film = film_request(FILM)
    assert film is not None
    assert film.path == S3Object(BUCKET, "out/film.mp4")
    check_place_of_film(film.path, videos_in_s3=True)
    with pytest.raises(ConfigurationError, match="expected a path on this machine"):
        check_place_of_film(film.path, videos_in_s3=False)
    with pytest.raises(ConfigurationError, match="expected an object in S3"):
        check_place_of_film(tmp_path / "film.mp4", videos_in_s3=True)
    for wrong in (f"s3://{BUCKET}/", f"s3://{BUCKET}/film.avi", "s3:/videos/film.mp4"):
        with pytest.raises(ConfigurationError, match="film: "):
            film_request(wrong)


async def test_a_film_in_s3_does_not_replace_a_file_of_a_scene(emulator, scenes, state):
    async with Client(local(workers=1), settings=settings_of(emulator), options=SMALL) as client:
        for film, used in (("out/two.mp4", "the video"), ("in/one.mp4", "an input")):
            with pytest.raises(ConfigurationError, match=f"is {used}"):
                await client.render_all(
                    scenes, to=f"s3://{BUCKET}/out/", film=f"s3://{BUCKET}/{film}"
                )


async def test_the_folder_of_the_film_is_checked_before_anything_starts(emulator, scenes, state):
    async with Client(local(workers=1), settings=settings_of(emulator), options=SMALL) as client:
        with pytest.raises(InvalidScenesError, match=r"^film: s3://none-such/: .* does not exist"):
            await client.render_all(
                scenes, to=f"s3://{BUCKET}/other/", film="s3://none-such/film.mp4"
            )
    assert not [key for key in keys(emulator) if key.startswith("other/")]


async def test_a_busy_store_does_not_cost_the_film(emulator, state, monkeypatch):
    repeat_quickly(monkeypatch)
    video, film = obj("busy/one.mp4"), obj("busy/film.mp4")
    put(emulator, video)
    made = []

    async def on_worker(wanted, remote, _):
        made.extend(remote.version(part.video) for part in wanted.parts)

    async with (
        open_store(emulator) as store,
        claimed_s3_film(
            store,
            FilmRequest(path=film),
            [ChapterSource("one", "One", None)],
            {},
            run="r",
            overwrite=False,
            resume=False,
            private_inputs=False,
        ) as maker,
    ):
        emulator.add_fault(s3_fault("slow down", "HeadObject", times=2 * MAX_ATTEMPTS))
        finished = Video(scene="one", path=video, task="", size=7, sha256="f" * 64, seconds=1.0)
        assert await maker.make([finished], print, on_worker) == (film, False)
    assert len(made) == 1
