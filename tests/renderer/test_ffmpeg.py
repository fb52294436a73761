"""Finding ffmpeg and font; argument lists and filter graphs as text; ffmpeg's end."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from cloudburst.errors import ConfigurationError
from cloudburst.renderer.ffmpeg import (
    MAX_ERROR_BYTES,
    EncodeSpec,
    Ffmpeg,
    encode_arguments,
    filter_graph,
    find_ffmpeg,
    find_font,
    run_ffmpeg,
)

STILL = EncodeSpec(width=1920, height=1080, frames=90, moving=False, subtitled=False, mono=False)
SOUND = (
    "[1:a:0]aformat=sample_rates=48000:channel_layouts=stereo,"
    "apad=whole_len=144000,atrim=end_sample=144000[a]"
)
TAGS = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
DRAWN = "subtitles=filename=subtitles.ass:fontsdir=fonts:wrap_unicode=1"


@pytest.mark.parametrize(
    ("scene", "video"),
    [
        (STILL, f"[0:v]loop=loop=89:size=1,{TAGS}[v]"),
        (STILL._replace(subtitled=True), f"[0:v]loop=loop=89:size=1,{TAGS},{DRAWN}[v]"),
        (STILL._replace(moving=True), f"[0:v]{TAGS}[v]"),
        (STILL._replace(moving=True, subtitled=True), f"[0:v]{TAGS},{DRAWN}[v]"),
    ],
)
def test_graph(scene, video):
    assert filter_graph(scene) == f"{video};{SOUND}"


def test_mono_keeps_its_loudness():
    mono = filter_graph(STILL._replace(mono=True))
    assert ";[1:a:0]pan=stereo|c0=c0|c1=c0,aformat=" in mono


def test_a_single_frame_is_not_repeated():
    """``loop=0`` is allowed, but one frame less than none would repeat for ever."""
    assert "loop" not in filter_graph(STILL._replace(frames=1))


def pairs(arguments):
    return dict(pairwise(arguments))


def test_arguments_of_a_moving_scene():
    arguments = encode_arguments(STILL._replace(width=1080, height=1920, moving=True))
    said = pairs(arguments)
    assert arguments[arguments.index("-i") + 1] == "pipe:0"
    assert said["-video_size"] == "1080x1920"
    assert said["-frames:v"] == "90"
    assert said["-threads:v"] == "1"
    assert (said["-preset"], said["-crf"]) == ("superfast", "21")
    assert "mbtree=1:rc-lookahead=20" in said["-x264-params"]
    for tag in ("-colorspace", "-color_primaries", "-color_trc"):
        assert said[tag] == "bt709"
    assert said["-movflags"] == "+faststart"
    assert arguments[-1] == "video.mp4.part"


def test_a_still_is_a_file_that_is_read_once():
    arguments = encode_arguments(STILL)
    assert arguments[arguments.index("-i") + 1] == "picture.yuv"
    assert "-loop" not in arguments
    assert pairs(arguments)["-threads:v"] == "2"


def test_sound_may_name_no_other_file():
    said = pairs(encode_arguments(STILL))
    assert said["-protocol_whitelist"] == "file"
    assert not {"hls", "concat", "sdp", "dash"} & set(said["-format_whitelist"].split(","))


def program(path: Path, words: str) -> str:
    path.write_text(f"#!/bin/sh\necho 'ffmpeg version of test'\necho '{words}'\n")
    path.chmod(0o755)
    return str(path)


def test_ffmpeg_by_setting(tmp_path):
    good = program(tmp_path / "good", "--enable-libx264 --enable-libass")
    found = find_ffmpeg({"CLOUDBURST_FFMPEG": good, "PATH": ""})
    assert found == Ffmpeg(good, "ffmpeg version of test")


@pytest.mark.parametrize("words", ["--enable-libx264", "--enable-libass", ""])
def test_a_setting_that_lacks_something_is_an_error(tmp_path, words):
    poor = program(tmp_path / "poor", words)
    with pytest.raises(ConfigurationError, match="libx264 and libass"):
        find_ffmpeg({"CLOUDBURST_FFMPEG": poor})


def test_a_setting_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere"):
        find_ffmpeg({"CLOUDBURST_FFMPEG": str(tmp_path / "nowhere")})


def test_ffmpeg_on_the_path(tmp_path):
    good = program(tmp_path / "ffmpeg", "--enable-libx264 --enable-libass")
    assert find_ffmpeg({"PATH": str(tmp_path)}).path == good


def test_the_wheel_when_the_path_has_a_poor_one(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    poor = program(tmp_path / "ffmpeg", "--enable-libx264")
    found = find_ffmpeg({"PATH": str(tmp_path)})
    assert found.path != poor
    assert found.version.startswith("ffmpeg version")


def test_font_of_the_system_best_first(tmp_path):
    folder = tmp_path / "opentype" / "deep"
    folder.mkdir(parents=True)
    (folder / "wqy-zenhei.ttc").touch()
    assert find_font([tmp_path]).family == "WenQuanYi Zen Hei"
    (folder / "NotoSansCJK-Regular.ttc").touch()
    assert find_font([tmp_path]) == (folder / "NotoSansCJK-Regular.ttc", "Noto Sans CJK SC")


def test_font_of_the_wheel(tmp_path):
    pytest.importorskip("noto_cjk_sans_otc")
    font = find_font([tmp_path, tmp_path / "nowhere"])
    assert font.path.is_file()
    assert font.family == "Noto Sans CJK SC"


@pytest.fixture
def script(tmp_path):
    def write(body):
        path = tmp_path / "script"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return Ffmpeg(str(path), "script")

    return write


ENDLESS = ["-v", "error", "-f", "lavfi", "-i", "color", "-f", "null", "-"]


@pytest.mark.real
def test_ffmpeg_ends_at_its_deadline(tmp_path):
    began = time.monotonic()
    with run_ffmpeg(find_ffmpeg(), ENDLESS, tmp_path, seconds=0.3) as run:
        assert run.process.wait() < 0
    assert time.monotonic() - began < 5


@pytest.mark.real
def test_ffmpeg_ends_with_the_block(tmp_path):
    class GivenUpError(Exception):
        pass

    with (
        pytest.raises(GivenUpError),
        run_ffmpeg(find_ffmpeg(), ENDLESS, tmp_path, seconds=60) as run,
    ):
        raise GivenUpError
    assert run.process.returncode is not None
    assert run.process.returncode < 0


@pytest.mark.real
def test_last_words_are_the_end_of_what_it_said(tmp_path):
    with run_ffmpeg(find_ffmpeg(), ["-i", "nowhere"], tmp_path, seconds=60) as run:
        assert run.process.wait() != 0
    assert "No such file" in run.last_error_lines()
    assert len(run.last_error_lines(1).splitlines()) == 1


@pytest.mark.real
def test_only_the_end_of_a_long_error_output_is_kept(tmp_path, script):
    talkative = script("yes 'a broken packet' | head -c 20000000 >&2; echo 'the end' >&2; exit 1")
    with run_ffmpeg(talkative, [], tmp_path, seconds=60) as run:
        assert run.process.wait() == 1
    assert run.last_error_lines(2) == "a broken packet\nthe end"
    assert len(run.errors) == MAX_ERROR_BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["script"]  # nothing went to the disk
