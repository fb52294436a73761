"""Faults of scenes, found before anything is paid for."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
import unicodedata
import wave
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, WebPImagePlugin

from cloudburst.errors import InvalidScenesError, SceneFault
from cloudburst.inputs import media_checks
from cloudburst.inputs.preflight import check_scenes
from cloudburst.media.subtitles.cues import WORD_TIMES
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.limits import Limits
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import CheckedScene, Scene
from support.sample_media import HEIC
from support.speech_files import CHINESE, FILES, written

MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)  # MPEG 1 layer III, 128 kbit/s, 44.1 kHz
LIMITS = Limits()
SRT = "1\n00:00:00,000 --> 00:00:01,000\nHello 你好\n"


WAV_HEAD = b"RIFF\x24\0\0\0WAVEfmt " + struct.pack("<I2H2I2H", 16, 1, 1, 8000, 16_000, 2, 16)
WAV_HEAD += b"data" + bytes(4)


@cache
def noise(kind: str) -> bytes:
    """Return a picture, made once: WebP takes long for noise."""
    data = BytesIO()
    Image.effect_noise((640, 360), 90).save(data, {"jpg": "JPEG", "webp": "WEBP"}[kind])
    return data.getvalue()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 36), "teal").save(tmp_path / "a.png")
    for kind in ("jpg", "webp"):
        (tmp_path / f"a.{kind}").write_bytes(noise(kind))
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 8000 * 2))
    (tmp_path / "a.mp3").write_bytes(MP3_FRAME * 100)
    (tmp_path / "a.srt").write_text(SRT, encoding="utf-8")
    return tmp_path


def scene(files: Path, **changed: str) -> Scene:
    parts = {"name": "one", "image": "a.png", "audio": "a.wav"} | changed
    return Scene.model_validate(
        {key: value if key == "name" else files / value for key, value in parts.items()}
    )


def checked(
    scenes: Sequence[Scene | Mapping[str, Any]], options: RenderOptions, limits: Limits
) -> tuple[CheckedScene, ...]:
    return check_scenes(scenes, options, limits)


def faults(
    *scenes: Scene | Mapping[str, Any], limits: Limits = LIMITS, **options: Any
) -> list[SceneFault]:
    with pytest.raises(InvalidScenesError) as caught:
        checked(scenes, RenderOptions(**options), limits)
    return list(caught.value.faults)


def good(*scenes: Scene | Mapping[str, Any], limits: Limits = LIMITS) -> tuple[CheckedScene, ...]:
    return checked(scenes, RenderOptions(), limits)


def test_a_good_scene_comes_back_with_its_length_and_size(files: Path) -> None:
    whole = scene(files, subtitle="a.srt")
    (one,) = good(whole)
    assert one.scene == whole
    assert one.audio_seconds == 2.0
    assert one.image_bytes == (files / "a.png").stat().st_size
    assert one.versions == {path: FileVersion.from_path(path) for path in whole.files().values()}


def test_scenes_keep_their_order_and_may_share_files(files: Path) -> None:
    names = [f"scene {n}" for n in range(40)]
    assert [c.scene.name for c in good(*(scene(files, name=n) for n in names))] == names


@pytest.mark.parametrize("subtitle", [{}, {"subtitle_path": None}, {"subtitle_path": ""}])
def test_the_old_dictionaries_do(
    files: Path, monkeypatch: pytest.MonkeyPatch, subtitle: dict[str, str | None]
) -> None:
    monkeypatch.chdir(files)
    old = {"scene_name": "場景", "image_path": "a.jpg", "audio_path": "a.mp3"} | subtitle
    (one,) = good(old)
    assert one.scene == Scene(name="場景", image=files / "a.jpg", audio=files / "a.mp3")
    assert one.audio_seconds == pytest.approx(100 * 1152 / 44100, abs=0.03)


def test_all_faults_of_all_scenes_come_together_and_in_order(files: Path) -> None:
    found = faults(
        {"scene_name": "a/b", "image_path": 3},
        scene(files, name="two", image="none.png", audio="a.png", subtitle="a.png"),
        "three",  # type: ignore[arg-type]
        {"name": "four", "image": "", "audio": str(files / "a.srt"), "subtitel": "x"},
        watermark=files / "a.srt",
    )
    assert [(f.scene, f.field) for f in found] == [
        ("scenes[0]", "scene_name"),
        ("scenes[0]", "image_path"),
        ("scenes[0]", "audio_path"),
        ("two", "image"),
        ("two", "audio"),
        ("two", "subtitle"),
        ("scenes[2]", "scene"),
        ("four", "subtitel"),
        ("four", "image"),
        ("four", "audio"),
        ("options", "watermark"),
    ]
    assert found[0][2:4] == ("'a/b'", "a name without a slash: it becomes a file name")
    assert found[1].found == "3"
    assert found[2].found == "nothing"
    assert found[3].found == f"no such file: {files / 'none.png'}"
    assert found[4].found.startswith("a PNG picture: ")
    assert found[7].expected == "subtitle"
    assert found[10].found.startswith("a text file: ")


def test_no_scenes_at_all() -> None:
    assert faults() == [SceneFault("", "scenes", "none", "at least one scene", "missing")]


def test_a_field_given_under_both_names(files: Path) -> None:
    both = {"name": "a", "scene_name": "b", "image": files / "a.png", "audio": files / "a.wav"}
    (fault,) = faults(both)
    assert str(fault) == "a: scene_name: the field twice; expected name only"
    assert fault.code == "contradiction"


@pytest.mark.parametrize(
    "second", ["Straße", "STRASSE", "straße", unicodedata.normalize("NFD", "straße")]
)
def test_names_that_some_file_system_takes_for_one(files: Path, second: str) -> None:
    first = {"scene_name": "Straße", "image_path": files / "a.png", "audio_path": files / "a.wav"}
    (fault,) = faults(first, first | {"scene_name": second})
    assert fault.field == "scene_name"
    if second == "Straße":
        assert fault.found == "scenes[0] and scenes[1] both have the name 'Straße'"
    else:
        assert fault.found.endswith("scenes[0] 'Straße', which are the same file on some systems")


def test_names_that_differ_are_not_taken_for_one(files: Path) -> None:
    assert len(good(*(scene(files, name=name) for name in ("a", "á", "а", "a1")))) == 4


def test_what_is_no_file(files: Path) -> None:
    os.mkfifo(files / "pipe")
    (files / "empty").touch()
    for name, found in {
        ".": "a folder",
        "pipe": "not a regular file",
        "empty": "an empty file",
        "gone/a.png": "no such file",
        "a.png/x": "a path through something that is not a folder",
        "nul\0": "unreadable",
        "x" * 300: "unreadable",
    }.items():
        for field in ("image", "audio", "subtitle"):
            (fault,) = faults(scene(files, **{field: name}))
            assert fault.field == field
            assert fault.found.startswith(found)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(files: Path) -> None:
    (files / "a.png").chmod(0)
    (fault,) = faults(scene(files))
    assert fault.found.startswith("a file without read permission")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_a_picture_that_was_cut_short(files: Path, name: str) -> None:
    data = (files / name).read_bytes()
    good(scene(files, image=name))
    for keep in (len(data) - 20, len(data) // 2, 40, 9):
        (files / name).write_bytes(data[:keep])
        (fault,) = faults(scene(files, image=name))
        assert fault.field == "image"
    (files / name).write_bytes(data + b"trailing junk \xff\xda")
    good(scene(files, image=name))


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(
    ("of", "filler"),
    [
        ("a.jpg", b"\xff" * 2_000_000),
        ("a.jpg", b"\xff\xe5\x00\x02" + bytes(2_000_000)),
        ("a.jpg", b"\xff\xe5\x00\x02" * 500_000),
        ("a.jpg", (b"\xff\xe5\xff\xff" + bytes(65_533)) * 300),
        ("a.jpg", (b"\xff\xe1\x01\x00Exif\0\0" + bytes(248)) * 2_000),
        ("a.png", chunk(b"prVt") * 200_000),
        ("a.png", chunk(b"prVt", bytes(2**24))),
    ],
    ids=[
        *("padding", "junk", "tiny segments", "large segments", "segments of EXIF data"),
        *("small chunks", "a large chunk"),
    ],
)
def test_pictures_in_endless_parts_cost_little(files: Path, of: str, filler: bytes) -> None:
    data, at = (files / of).read_bytes(), 33 if of == "a.png" else 2
    (files / f"padded {of}").write_bytes(data[:at] + filler + data[at:])
    (fault,) = faults(scene(files, image=f"padded {of}"))
    assert "picture in too many or too large parts" in fault.found


def test_large_parts_of_audio_are_not_read_into_memory(files: Path) -> None:
    atom = (2**25).to_bytes(4, "big") + b"moov" + (2**25 - 8).to_bytes(4, "big") + b"mvhd"
    for name, start in {"a.m4a": b"\0\0\0\x08ftyp" + atom, "a.ogg": b"OggS" + bytes(28)}.items():
        (files / name).write_bytes(start)
        os.truncate(files / name, 100_000_000)
        tracemalloc.start()
        try:
            check_scenes([scene(files, audio=name)], RenderOptions(), Limits(audio_seconds=9_000))
            assert tracemalloc.get_traced_memory()[1] < 2**24
        finally:
            tracemalloc.stop()


def test_pictures_with_large_metadata_and_small_chunks_are_good(files: Path) -> None:
    picture = Image.effect_noise((640, 360), 90)
    picture.save(
        files / "b.jpg", icc_profile=os.urandom(12_000_000), exif=b"Exif\0\0" + bytes(60_000)
    )
    rows = b"".join(b"\0" + os.urandom(4000) for _ in range(4000))
    pixels = zlib.compress(rows, 0)
    header = struct.pack(">IIBBBBB", 4000, 4000, 8, 0, 0, 0, 0)
    chunks = [chunk(b"IDAT", pixels[at : at + 512]) for at in range(0, len(pixels), 512)]
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *chunks, chunk(b"IEND")]
    (files / "b.png").write_bytes(b"".join(parts))
    good(scene(files, image="b.jpg"), scene(files, name="two", image="b.png"))


@pytest.mark.parametrize("end", [2**20 - 1, 2**20, 3_000_000])
def test_the_end_of_a_jpeg_is_found_wherever_it_is(files: Path, end: int) -> None:
    data = (files / "a.jpg").read_bytes()
    start = data.index(b"\xff\xda")
    head = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    (files / "b.jpg").write_bytes(data[:head] + bytes(end) + b"\xff\xd9")
    good(scene(files, image="b.jpg"))
    (files / "b.jpg").write_bytes(data[:head] + bytes(end))
    (fault,) = faults(scene(files, image="b.jpg"))
    assert fault.found.startswith("a JPEG picture that ends too early")


@pytest.mark.parametrize("side", [64, 640])  # the whole file is its end, or only a part of it
def test_the_preview_in_a_jpeg_does_not_pass_for_its_end(files: Path, side: int) -> None:
    Image.effect_noise((side, side), 90).save(files / "a.jpg", quality=95)
    data = (files / "a.jpg").read_bytes()
    assert (len(data) > 2**16) == (side == 640)
    preview = b"\xff\xd8\xff\xda\x00\x02..\xff\xd9"
    app1 = b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview
    (files / "a.jpg").write_bytes(data[:2] + app1 + data[2:])
    good(scene(files, image="a.jpg"))
    (files / "a.jpg").write_bytes((data[:2] + app1 + data[2:])[:-100])
    (fault,) = faults(scene(files, image="a.jpg"))
    assert fault.found.startswith("a JPEG picture that ends too early")


@cache
@pytest.mark.parametrize("name", ["grid_turned", "opacity"])
def test_a_heic_picture_is_upright_and_whole(files: Path, name: str) -> None:
    data = (HEIC / f"{name}.heic").read_bytes()
    (files / "a.heic").write_bytes(data)
    assert good(scene(files, image="a.heic"))[0].upright == (name == "grid_turned")
    (files / "a.heic").write_bytes(data[:-1])
    (fault,) = faults(scene(files, image="a.heic"))
    assert fault.found.startswith("a HEIC or AVIF picture that ends too early")


@cache
def webp_kinds() -> dict[str, bytes]:
    """Pictures of each form that WebP has; the noise makes them large."""
    turned = Image.Exif()
    turned[0x0112] = 6  # shown upright
    picture = Image.effect_noise((900, 500), 90).convert("RGB")
    options: dict[str, dict[str, Any]] = {
        "lossy": {},
        "lossless": {"lossless": True},
        "turned": {"exif": turned},
        "animated": {"save_all": True, "append_images": [picture.rotate(90)], "exif": turned},
        "clear": {"lossless": True, "icc_profile": bytes(3000)},
    }
    made = {name: BytesIO() for name in options}
    for name, more in options.items():
        (picture.convert("RGBA") if name == "clear" else picture).save(
            made[name], "WEBP", quality=95, **more
        )
    return {name: file.getvalue() for name, file in made.items()}


def test_a_webp_is_upright_as_its_exif_data_say(files: Path) -> None:
    kinds = webp_kinds()
    for name, data in kinds.items():
        (files / name).write_bytes(data)
    upright = {name: good(scene(files, image=name))[0].upright for name in kinds}
    assert {name for name, is_upright in upright.items() if is_upright} == {"turned", "animated"}


def test_a_webp_that_is_too_large_for_pillow_is_measured_by_its_start(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_checks, "_MAX_WEBP_BYTES", 10_000)
    monkeypatch.setattr(WebPImagePlugin, "WebPImageFile", None)  # it reads the whole file
    (files / "large.webp").write_bytes(webp_kinds()["lossy"])
    assert not good(scene(files, image="large.webp"))[0].upright


@pytest.mark.parametrize("kind", ["lossy", "lossless", "turned", "animated", "clear"])
def test_a_broken_webp(files: Path, kind: str) -> None:
    data = webp_kinds()[kind]
    pixels = next(data.find(name) for name in (b"ANMF", b"VP8 ", b"VP8L") if name in data)
    length = data[: pixels + 4] + b"\xff\xff\xff\x7f" + data[pixels + 8 :]
    (files / "broken.webp").write_bytes(length)
    (fault,) = faults(scene(files, image="broken.webp"))
    assert fault.found.startswith("a WebP picture, broken")
    (files / "broken.webp").write_bytes(data[:-5])
    (fault,) = faults(scene(files, image="broken.webp"))
    assert fault.found.startswith("a WebP picture that ends too early")


def test_the_ending_of_a_name_is_not_believed(files: Path) -> None:
    (files / "a.png").rename(files / "sound.mp3")
    good(scene(files, image="sound.mp3"))
    (fault,) = faults(scene(files, image="sound.mp3", audio="sound.mp3"))
    assert fault.found.startswith("a PNG picture")


def test_a_picture_with_too_many_pixels_is_refused_by_its_header(files: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    data += struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 9) + b"IDAT"
    (files / "bomb.png").write_bytes(data)
    (fault,) = faults(scene(files, image="bomb.png"))
    assert fault.found.startswith("60000×60000 pixels, 3,600,000,000 in all")
    wide = Image.new("1", (10_000, 9_500))  # above the limit at which Pillow itself would warn
    wide.save(files / "wide.png")
    good(scene(files, image="wide.png"))
    (fault,) = faults(scene(files, image="wide.png"), limits=Limits(image_pixels=94_999_999))
    assert fault.found.startswith("10000×9500 pixels, 95,000,000 in all")
    assert fault.expected == "at most 94,999,999 pixels"


@pytest.mark.parametrize(
    ("size", "kind", "found", "expected"),
    [
        ((33_000, 400), "PNG", "33000×400 pixels", "sides of at most 32,768 pixels"),
        ((101, 1), "PNG", "101×1 pixels", "a longer side at most 100 times the shorter one"),
        (
            (6000, 6000),
            "WEBP",
            "6000×6000 pixels of WebP, which take 648 MB of memory to decode",
            "at most 33,333,333 pixels of this kind",
        ),
    ],
)
def test_a_picture_that_would_cost_a_worker_too_much(
    files: Path, size: tuple[int, int], kind: str, found: str, expected: str
) -> None:
    Image.new("L", size).save(files / "large", kind, method=0)  # WebP's fastest
    for fault in (
        *faults(scene(files, image="large")),
        *faults(scene(files), watermark=files / "large"),
    ):
        assert fault.found.startswith(found)
        assert fault.expected == expected


@pytest.mark.parametrize(
    ("channels", "rate", "found"),
    [
        (64, 8000, "audio with 64 channels"),
        (1, 500, "audio with 500 samples per second"),
        (1, 500_000, "audio with 500,000 samples per second"),
    ],
)
def test_a_sound_that_cannot_be_made_stereo(
    files: Path, channels: int, rate: int, found: str
) -> None:
    with wave.open(str(files / "odd.wav"), "wb") as sound:
        sound.setparams((channels, 2, rate, 0, "NONE", ""))
        sound.writeframes(bytes(2 * channels * 1000))
    (fault,) = faults(scene(files, audio="odd.wav"))
    assert fault.field == "audio"
    assert fault.found.startswith(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SRT.partition("\n")[2] * 51, "51 cues at once at 00:00:00,000"),
        (SRT + "x" * 2001, "a cue of 2,010 characters at 00:00:00,000"),
        (SRT + "\n" * 9_000_000, "more than 8 MB of subtitles"),
        ("[Script Info]\nTitle: x\n", "a SubStation file without any line of dialogue"),
    ],
)
def test_subtitles_that_cannot_be_drawn(files: Path, text: str, found: str) -> None:
    (files / "a.srt").write_text(text, encoding="utf-8")
    (fault,) = faults(scene(files, subtitle="a.srt"))
    assert fault.field == "subtitle"
    assert fault.found.startswith(found)


def test_webvtt_is_taken_whatever_its_name_ends_in(files: Path) -> None:
    (files / "a.srt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000 line:0\nHello\n")
    good(scene(files, subtitle="a.srt"))


@pytest.mark.parametrize("name", FILES)
def test_times_of_words_are_subtitles(files: Path, name: str) -> None:
    (files / "words.json").write_text(written(name, CHINESE), encoding="utf-8")
    good(scene(files, subtitle="words.json"))


def test_other_json_is_a_fault_that_names_the_kinds_that_are_read(files: Path) -> None:
    (files / "words.json").write_text('{"scenes": []}')
    (fault,) = faults(scene(files, subtitle="words.json"))
    assert fault.found.startswith("JSON without any word or line that has a start and an end")
    assert WORD_TIMES in fault.expected


def test_speech_marks_without_words_are_a_fault_that_says_what_they_are(files: Path) -> None:
    (files / "words.json").write_text('{"time":6,"type":"viseme","value":"p"}\n')
    (fault,) = faults(scene(files, subtitle="words.json"))
    assert fault.field == "subtitle"
    found = "speech marks of Amazon Polly without any of a word or sentence"
    assert fault.found == f"{found}: {files / 'words.json'}"
    assert WORD_TIMES in fault.expected


def test_limits_of_bytes_and_seconds(files: Path) -> None:
    (fault,) = faults(scene(files), limits=Limits(file_bytes=30_000))
    assert (fault.field, fault.expected) == ("audio", "at most 0.0 MB")
    (fault,) = faults(scene(files), limits=Limits(audio_seconds=1.5))
    assert fault[2:5] == (f"2 seconds: {files / 'a.wav'}", "at most 1.5 seconds", "too_long")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xf1\x50\x80" + bytes(16_000),
        b"\x1a\x45\xdf\xa3" + bytes(16_000),
        b"\0\0\0\x18ftypiso5" + bytes(16_000),
    ],
    ids=["aac", "webm", "fragmented mp4"],
)
def test_a_sound_whose_header_tells_no_length_is_sorted_by_its_size(
    files: Path, data: bytes
) -> None:
    (files / "sound").write_bytes(data)
    (one,) = good(scene(files, audio="sound"))
    assert one.audio_seconds == pytest.approx(1, rel=0.01)


def test_a_wav_that_was_written_to_a_pipe_is_as_long_as_its_bytes(files: Path) -> None:
    data = bytearray((files / "a.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    (files / "a.wav").write_bytes(data)
    (one,) = good(scene(files))
    assert one.audio_seconds == pytest.approx(2, rel=0.01)


def test_a_wav_with_endless_tiny_parts_costs_little(files: Path) -> None:
    data = (files / "a.wav").read_bytes()
    (files / "a.wav").write_bytes(data[:36] + bytes(30_000_000) + data[36:])
    began = time.process_time()
    (one,) = good(scene(files))
    assert time.process_time() - began < 1
    assert not one.audio_known


def test_a_wav_with_other_parts_around_the_samples_is_as_long_as_the_samples(files: Path) -> None:
    data = (files / "a.wav").read_bytes()
    other = b"LIST" + struct.pack("<I", 1001) + bytes(1002)
    (files / "a.wav").write_bytes(data[:36] + other + data[36:] + other)
    (one,) = good(scene(files))
    assert (one.audio_seconds, one.audio_known) == (2, True)


def rf64(data: bytes, long: int) -> bytes:
    """Return a WAV file of the `wave` module as RF64, with a length of its samples."""
    sizes = b"ds64" + struct.pack("<I3QI", 28, len(data) + 28, long, 0, 0)
    return b"RF64" + b"\xff" * 4 + b"WAVE" + sizes + data[12:40] + b"\xff" * 4 + data[44:]


@pytest.mark.parametrize("long", [32_000, 0])
def test_the_length_of_an_rf64_file_is_guessed(files: Path, long: int) -> None:
    (files / "a.wav").write_bytes(rf64((files / "a.wav").read_bytes(), long))
    (one,) = good(scene(files))
    assert (one.audio_seconds, one.audio_known) == (pytest.approx(2, rel=0.01), False)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"<html>Not Found</html>", "an HTML page"),
        (b"FORM\0\0\1\0AIFFCOMM" + bytes(500), "an aiff file, broken: "),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(500), "a wma file: /"),
        (WAV_HEAD, "a wav file without any audio in it"),
        (WAV_HEAD[:-4] + struct.pack("<I", 32_000), "a wav file without any audio in it"),
        (WAV_HEAD[:-8] + b"LIST" + struct.pack("<I", 500) + bytes(500), "a wav file without any"),
        (b"\n<!DOCTYPE HTML>", "an HTML page"),
        ("这不是声音，只是文字。".encode(), "a text file"),
        (b"\x89PNG\r\n\x1a\n....", "a PNG picture"),
        (bytes(range(256)), "data of an unknown kind"),
        (b"ID3\x04\0\0\0\0\0\0" + bytes(500), "an mp3 file"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a wav file"),
        (b"OggS" + bytes(9), "an ogg file"),
        (b"fLaC" + b"\xff" * 9, "a flac file"),
        (MP3_FRAME[:3], "an mp3 file"),
    ],
)
def test_what_is_no_sound(files: Path, data: bytes, found: str) -> None:
    (files / "sound.mp3").write_bytes(data)
    (fault,) = faults(scene(files, audio="sound.mp3"))
    assert fault.found.startswith(found)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"])
def test_subtitles_in_every_encoding(files: Path, encoding: str) -> None:
    (files / "a.srt").write_bytes(SRT.replace("\n", "\r\n").encode(encoding))
    good(scene(files, subtitle="a.srt"))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\xef\xbb\xbf \r\n", "no text"),
        (b"Just a line.", "text without any line of timing"),
        (b"\xff\xfex", "text in another encoding"),
        (b"\x80\xff" * 7, "text in another encoding"),
        (b"\xff\xd8\xff\xe0" * 7, "a JPEG picture"),
        (b"1\n00:00:01,000 -> 00:00:04,000\nHi", "text without any line of timing"),
    ],
)
def test_what_are_no_subtitles(files: Path, data: bytes, found: str) -> None:
    (files / "a.srt").write_bytes(data)
    (fault,) = faults(scene(files, subtitle="a.srt"))
    assert fault.field == "subtitle"
    assert fault.found.startswith(found)


def test_random_files_bring_forth_faults_and_nothing_else(files: Path) -> None:
    starts = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\1\0\0WEBPVP8 ", b"GIF89a", b"BM"]
    starts += [b"II*\0", b"ID3", b"OggS", b"fLaC", b"RIFF\0\1\0\0WAVEfmt ", b"\0\0\0 ftypavif"]
    starts += [b"\0\0\0 ftypM4A ", b"FORM\0\0\0\1AIFF", b"\xff\xfb\x90"]
    for number, start in enumerate(starts * 3):
        (files / str(number)).write_bytes(start + os.urandom(700))
    numbers = [str(n) for n in range(len(starts) * 3)]
    found = faults(
        *(scene(files, name=n, image=n, audio=n, subtitle=n) for n in numbers),
    )
    assert {fault.scene for fault in found} == set(numbers)


@pytest.mark.parametrize(("hours", "fits"), [(3, True), (5, False)])
def test_audio_of_several_hours_fits_into_a_scene(files: Path, hours: int, fits: bool) -> None:
    with (files / "a.wav").open("r+b") as file:
        head = file.read(40)
        size = hours * 3600 * 16_000
        file.seek(0)
        file.write(head + size.to_bytes(4, "little"))
        file.truncate(44 + size)  # a hole, which takes no room
    if fits:
        assert good(scene(files))[0].audio_seconds == 3 * 3600
    else:
        (fault,) = faults(scene(files))
        assert fault.expected == "at most 14400 seconds"


def test_hundreds_of_scenes_are_quick(files: Path) -> None:
    parts = {name: (files / name).read_bytes() for name in ("a.png", "a.wav", "a.srt")}
    for number in range(300):
        for name, data in parts.items():
            (files / f"{number}{name}").write_bytes(data)
    scenes = [
        scene(files, name=f"{n}", image=f"{n}a.png", audio=f"{n}a.wav", subtitle=f"{n}a.srt")
        for n in range(300)
    ]
    begin = time.process_time()
    assert len(good(*scenes)) == 300
    assert time.process_time() - begin < 1.5
