"""Films on the command line: of a folder, of a run, and of a run that is resumed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from cloudburst.cli import main
from cloudburst.film.request import check_scenes_of_film
from cloudburst.inputs.preflight import check_scenes
from support.film_scenes import scene_video, sine, write_sound
from support.video_probe import probe

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

COMMAND = (sys.executable, "-m", "cloudburst")


def cloudburst(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, words)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command in this process, which takes less time."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        code = main(words)
        return subprocess.CompletedProcess(words, code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two finished videos."""
    folder = tmp_path_factory.mktemp("finished")
    for name in ("b", "a"):
        picture = Image.new("RGB", (16, 9), "teal")
        video = scene_video(tmp_path_factory.mktemp("jobs") / name, picture, sine(0, 9600)).video
        shutil.copy(video, folder / f"{name}.mp4")
    return folder


@pytest.fixture
def videos(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "videos")


def test_a_folder_becomes_a_film_once(videos, here):
    film = videos / "film.mp4"
    first = here("film", "videos", "--json")
    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(first.stdout) == {"film": str(film), "scenes": 2, "skipped": False}
    again = here("film", "videos")
    assert again.stderr == ""
    assert again.stdout == "Film already made of the same 2 videos: videos/film.mp4\n"
    how = ("--transition", "fade", "--transition-seconds", "0.2")
    faded = here("film", "videos", *how, "--quiet")
    assert (faded.returncode, faded.stdout, faded.stderr) == (0, "", "")
    assert sorted(path.name for path in videos.iterdir()) == [
        "a.mp4",
        "b.mp4",
        "film.jpg",
        "film.mp4",
    ]


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("film", "nowhere"), 2, "nowhere: not a folder"),
        (("film", "empty"), 2, "no videos in it"),
        (
            ("film", "s3://a/b/"),
            2,
            "cloudburst resume RUN --to s3://a/b/ --film s3://a/b/film.mp4",
        ),
        (("film", "videos", "--to", "s3://a/f.mp4"), 2, "--to: s3://a/f.mp4 is in S3"),
        (("film", "videos", "--to", "film.mkv"), 2, "ends in .mp4"),
        (("film", "videos", "--to", "videos/a.mp4"), 2, "a.mp4: a video, not a film"),
        (("film", "videos", "--to", "videos/a.mp4", "--overwrite"), 2, "a.mp4: a video, not a"),
        (
            ("film", "videos", "--transition", "crossfade", "--transition-seconds", "1"),
            1,
            "a: 0.20 s",
        ),
        (("film", "videos", "--transition-seconds", "0"), 2, "transition"),
    ],
)
def test_what_is_refused(videos, here, words, code, reason):
    (videos.parent / "empty").mkdir()
    done = here(*words)
    assert done.returncode == code, done.stderr
    assert reason in " ".join((done.stderr + done.stdout).split())
    assert sorted(path.name for path in videos.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_resumed_run_makes_a_missing_film_without_rendering(tmp_path, here):
    for name in ("one", "two"):
        Image.new("RGB", (32, 18)).save(tmp_path / f"{name}.png")
        write_sound(tmp_path / f"{name}.wav", sine(0, 9600))
    (tmp_path / "music").mkdir()
    write_sound(tmp_path / "music" / "piece.wav", sine(0, 48_000))
    words = ("--to", "out", "--film", "story.mp4", "--workers", "1", "--size", "480x270")
    words = (*words, "--film-music", "music/piece.wav")
    done = here("render", str(tmp_path), *words)
    assert done.returncode == 0, done.stderr
    assert "Film: story.mp4" in done.stdout
    film = (tmp_path / "story.mp4").read_bytes()
    (tmp_path / "story.mp4").unlink()

    again = here("resume", "--to", "out", "--json")
    assert again.returncode == 0, again.stderr
    *events, report = map(json.loads, again.stdout.splitlines())
    assert (report["film"], report["film_error"]) == (str(tmp_path / "story.mp4"), None)
    assert [scene["skipped"] for scene in report["scenes"]] == [True, True]
    assert [e["type"] for e in events if e["type"].startswith("film.")][-1] == "film.completed"

    third = here("resume", "--to", "out")
    assert "is complete: 2 videos" in third.stdout

    other = here("resume", "--to", "out", "--film", "out/other.mp4", "--json")
    assert other.returncode == 0, other.stderr
    report = json.loads(other.stdout.splitlines()[-1])
    assert report["film"] == str(tmp_path / "out" / "other.mp4")
    assert (tmp_path / "out" / "other.mp4").read_bytes() == film, "it has the music, too"
    assert [scene["skipped"] for scene in report["scenes"]] == [True, True]


@pytest.mark.nightly
def test_a_film_elsewhere_is_made_again_only_if_the_command_line_names_it(tmp_path, here):
    """A journal may be from a stranger; its own folder and the one above are the user's."""
    work, photo = tmp_path / "work", tmp_path / "photo"
    work.mkdir()
    Image.new("RGB", (32, 18)).save(work / "one.png")
    write_sound(work / "one.wav", sine(0, 9600))
    words = ("--to", "work/out", "--film", "photo.mp4", "--workers", "1", "--size", "480x270")
    done = cloudburst("render", "work", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for suffix in (".mp4", ".srt", ".jpg"):
        photo.with_suffix(suffix).unlink(missing_ok=True)
    done = here("resume", "--to", "work/out")
    assert done.returncode == 2
    assert f"is not in {work}: name it with --film" in " ".join(done.stderr.split())
    assert not photo.with_suffix(".mp4").exists()
    done = here("resume", "--to", "work/out", "--film", "photo.mp4")
    assert done.returncode == 0, done.stderr
    assert photo.with_suffix(".mp4").exists()


def test_ctrl_c_leaves_nothing(videos, tmp_path):
    for number in range(300):
        (videos / f"{number}.mp4").hardlink_to(videos / "a.mp4")
    command = [*COMMAND, "film", str(videos), "--to", str(tmp_path / "film.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "film.mp4.part").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (130, b"", b"Joining 302 videos\n")
    assert [path.name for path in tmp_path.glob("film*")] == []


def test_the_scenes_of_the_demo_have_one_shape_and_become_a_film(here, tmp_path, monkeypatch):
    requests = []

    def run(request, _options):
        requests.append(request)
        return 0

    monkeypatch.setattr("cloudburst.cli.demo.run_and_report", run)
    assert here("demo", "--film", "story.mp4", "--transition", "crossfade").returncode == 0
    (request,) = requests
    assert [scene["name"] for scene in request.scenes] == ["1-harbour", "2-storm"]
    assert request.film.path == tmp_path / "story.mp4"
    assert request.film.transition == "crossfade"
    scenes = check_scenes(request.scenes, request.options, request.limits)
    check_scenes_of_film(request.film, scenes, lambda name: tmp_path / f"{name}.mp4")


@pytest.mark.nightly
def test_a_scene_file_has_positions_in_the_voice_of_the_film(here, tmp_path):
    Image.new("RGB", (32, 18), "teal").save(tmp_path / "a.png")
    write_sound(tmp_path / "voice.wav", sine(0, 60_000))
    (tmp_path / "s.csv").write_text("name,image,until\na,a.png,0.5\nb,a.png,\n")
    words = ("--size", "426x240", "--film", "story.mp4", "--film-audio", "voice.wav")
    done = here("render", "s.csv", "--to", "out", "--backend", "local", *words)
    assert done.returncode == 0, done.stderr
    assert probe(tmp_path / "story.mp4").seconds == pytest.approx(1.25, abs=0.04)
    (tmp_path / "story.mp4").unlink()
    done = here("resume", "--to", "out")
    assert done.returncode == 0, done.stderr
    assert probe(tmp_path / "story.mp4").seconds == pytest.approx(1.25, abs=0.04)


def test_videos_of_a_folder_get_music(here, videos, tmp_path):
    write_sound(tmp_path / "music.wav", sine(0, 60_000, 200))
    done = here("film", "videos", "--to", "story.mp4", "--film-music", "music.wav")
    assert (done.returncode, "Film of 2" in done.stdout) == (0, True), done.stderr
    done = here("film", "videos", "--to", "story.mp4", "--film-music", "none.wav")
    assert done.returncode != 0
    assert "film_music:" in done.stderr
