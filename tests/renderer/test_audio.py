"""Audio files of every kind become an audio track with the same sound in the same place."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
from av.stream import Discard

from cloudburst.renderer import process_limits
from cloudburst.renderer.audio import prepare_audio
from cloudburst.renderer.audio_source import open_source
from cloudburst.renderer.audio_track import AudioTrack
from cloudburst.renderer.job import InputFaultError
from support.audio_probe import (
    damage,
    decoded,
    finish,
    melody,
    noise_ratio,
    played,
    rms,
    write_audio,
)
from support.video_probe import ffmpeg

pytestmark = pytest.mark.real

SECONDS = 1.31
FRAMES = 40  # the 1.31 s are 39.3 frames of the video
MELODY = melody(SECONDS)


def prepared(folder: Path, *options: str, limit: float = 60) -> AudioTrack:
    write_audio(folder / "audio", MELODY, *options)
    return prepare_audio(folder, limit)


def refused(folder: Path, limit: float = 60) -> str:
    with pytest.raises(InputFaultError) as caught:
        prepare_audio(folder, limit)
    fault = caught.value.fault
    assert fault.field == "audio"
    assert str(folder) not in fault.found
    is_long = fault.found.startswith("more than")
    assert ("seconds" in fault.expected) == is_long
    return fault.found


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize(
    ("options", "least"),
    [
        (("-f", "wav"), 30),
        (("-f", "wav", "-c:a", "pcm_u8"), 20),
        (("-f", "wav", "-c:a", "pcm_s24le"), 30),
        (("-f", "wav", "-c:a", "pcm_s32le"), 30),
        (("-f", "wav", "-c:a", "pcm_f32le", "-ar", "96000"), 30),
        (("-f", "wav", "-ar", "44100"), 30),
        (("-f", "wav", "-ar", "8000"), 30),
        (("-f", "w64"), 30),
        (("-f", "wav", "-rf64", "always"), 30),
        (("-f", "flac", "-ar", "44100"), 30),
        (("-f", "mp3", "-b:a", "128k"), 25),
        (("-f", "ipod", "-c:a", "aac", "-ar", "44100"), 20),
        (("-f", "ipod", "-c:a", "alac"), 30),
        (("-f", "aiff"), 30),
        (("-f", "aiff", "-c:a", "pcm_s16le", "-ar", "22050"), 30),  # as macOS writes speech
        (("-f", "caf", "-c:a", "pcm_f32le"), 30),
        (("-f", "caf", "-c:a", "alac"), 30),
        (("-f", "ogg", "-c:a", "libvorbis"), 15),
        (("-f", "ogg", "-c:a", "libopus"), 15),
        (("-f", "webm", "-c:a", "libopus"), 15),
        (("-f", "matroska", "-c:a", "libvorbis"), 15),
        (("-f", "matroska", "-c:a", "pcm_s16le"), 30),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_sound_keeps_its_place_and_level(
    tmp_path: Path, options: tuple[str, ...], least: float
) -> None:
    track = prepared(tmp_path, *options)
    assert (track.frames, track.copied, track.replaced_seconds) == (FRAMES, False, 0)
    sound = played(finish(track, tmp_path / "video.mp4"))
    assert len(sound) == 2 * 1600 * FRAMES
    assert noise_ratio(sound, MELODY) > least
    reference = decoded(tmp_path / "audio")  # LAME makes the sound 5 % quieter
    assert rms(sound[: len(MELODY)]) == pytest.approx(rms(reference), rel=0.02)
    # The codecs' last packets end with rests of up to 2,000 samples, which ogg and mkv cut off.
    assert rms(sound[len(MELODY) + 400 :]) < 0.02


@pytest.mark.parametrize(
    "options",
    [
        ("-f", "mp3", "-q:a", "7", "-write_xing", "0"),
        ("-f", "adts", "-c:a", "aac"),
    ],
    ids=["mp3 without Xing", "adts"],
)
def test_a_file_without_exact_lengths_is_as_long_as_it_decodes(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    track = prepared(tmp_path, *options)
    reference = decoded(tmp_path / "audio")
    assert track.frames == -(-len(reference) // 3200)
    sound = played(finish(track, tmp_path / "video.mp4"))
    assert noise_ratio(sound, reference) > 30


@pytest.mark.parametrize("share", [0.3, 0.77])
def test_a_cut_mp3_plays_up_to_its_end(tmp_path: Path, share: float) -> None:
    write_audio(tmp_path / "audio", MELODY, "-f", "mp3", "-b:a", "128k")
    data = (tmp_path / "audio").read_bytes()
    (tmp_path / "audio").write_bytes(data[: int(len(data) * share)])
    track = prepare_audio(tmp_path, 60)
    assert track.samples / 48_000 == pytest.approx(share * SECONDS, abs=0.08)
    sound = played(finish(track, tmp_path / "video.mp4"))
    assert noise_ratio(sound[: round(2 * 48_000 * (share * SECONDS - 0.1))], MELODY) > 25


def test_the_end_of_an_edit_list_is_applied(tmp_path: Path) -> None:
    """The last packet of AAC at 44.1 kHz has 344 samples of padding: frame 301 of the video."""
    write_audio(tmp_path / "audio", melody(2), "-ar", "44100", "-c:a", "aac", "-f", "ipod")
    assert prepare_audio(tmp_path, 60).frames == 60


def test_mono_is_as_loud_in_both_channels(tmp_path: Path) -> None:
    mono = melody(0.5, 1)
    write_audio(tmp_path / "audio", mono, "-f", "wav", channels=1)
    sound = played(finish(prepare_audio(tmp_path, 60), tmp_path / "video.mp4"))
    assert noise_ratio(sound[::2], mono) > 30
    assert noise_ratio(sound[::2], sound[1::2]) > 70


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize("kind", ["wav", "flac"])
@pytest.mark.parametrize("channels", [3, 4, 5, 6, 8])
def test_more_channels_are_mixed_as_by_ffmpeg(tmp_path: Path, channels: int, kind: str) -> None:
    write_audio(tmp_path / "audio", melody(0.4, channels), "-f", kind, channels=channels)
    mix = ("-af", "aformat=sample_fmts=fltp:channel_layouts=stereo")
    reference = decoded(tmp_path / "audio", *mix)
    sound = played(finish(prepare_audio(tmp_path, 60), tmp_path / "video.mp4"))
    assert noise_ratio(sound, reference) > 25


def test_channels_without_a_known_place_have_the_usual_one(tmp_path: Path) -> None:
    write_audio(tmp_path / "audio", melody(0.4, 6), "-f", "wav", channels=6)
    raw = bytearray((tmp_path / "audio").read_bytes())
    assert raw[20:22] == b"\xfe\xff"  # extensible format, with a mask of loudspeakers at 40
    raw[40:44] = bytes(4)
    (tmp_path / "audio").write_bytes(raw)
    reference = decoded(
        tmp_path / "audio", "-af", "aformat=sample_fmts=fltp:channel_layouts=stereo"
    )
    sound = played(finish(prepare_audio(tmp_path, 60), tmp_path / "video.mp4"))
    assert noise_ratio(sound, reference) > 25


@pytest.mark.few(1)
@pytest.mark.parametrize("order", ["FR+FL", "FR+FL+LFE"])
def test_an_unusual_order_of_channels_does_not_crash(tmp_path: Path, order: str) -> None:
    """In a process of its own: PyAV frees the map of the channels twice, which aborts it."""
    count = order.count("+") + 1
    gains = "|".join(f"c{n}={(n + 1) / count}*c0" for n in range(count))
    pan = ("-af", f"pan={order}|{gains}", "-c:a", "pcm_s16le", "-f", "mov")
    write_audio(tmp_path / "audio", melody(0.5, 1), *pan, channels=1)
    code = f"""
from pathlib import Path
from cloudburst.renderer import process_limits
from cloudburst.renderer.audio import prepare_audio
from cloudburst.renderer.audio_source import open_source
print(prepare_audio(Path({str(tmp_path)!r}), 60).frames)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "15\n", "")
    track = AudioTrack(tmp_path / "audio.m4a", 15, False, 0.0, 24_000, 1024)
    sound = played(finish(track, tmp_path / "video.mp4"))
    assert rms(sound[1::2]) < 0.8 * rms(sound[::2])  # the right one is first, and quieter


def test_a_change_of_rate_and_channels_keeps_the_sound(tmp_path: Path) -> None:
    """Joined mp3 files are common; each part is converted from its own format."""
    parts = []
    for options in (("-ar", "24000", "-ac", "1"), ("-ar", "44100"), ("-ar", "48000")):
        write_audio(tmp_path / "part", melody(0.7), "-f", "mp3", *options, "-write_xing", "0")
        parts.append((tmp_path / "part").read_bytes())
    (tmp_path / "audio").write_bytes(b"".join(parts))
    track = prepare_audio(tmp_path, 60)
    assert track.samples / 48_000 == pytest.approx(2.1, abs=0.3)
    sound = played(finish(track, tmp_path / "video.mp4"))
    assert rms(sound[2 * 4_000 : 2 * 90_000]) > 0.14


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
def test_samples_that_are_not_numbers_do_not_stop_the_encoder(tmp_path: Path, value: float) -> None:
    samples = MELODY[:]
    samples[40_000:40_200] = array("f", [value] * 200)
    write_audio(tmp_path / "audio", samples, "-f", "wav", "-c:a", "pcm_f32le")
    sound = played(finish(prepare_audio(tmp_path, 60), tmp_path / "video.mp4"))
    assert noise_ratio(sound[50_000:], MELODY[50_000:]) > 30
    assert max(map(abs, sound)) < 2


def test_text_in_another_encoding_is_no_fault(tmp_path: Path) -> None:
    write_audio(tmp_path / "audio", melody(0.2), "-f", "wav", "-metadata", "title=Lied XY")
    raw = (tmp_path / "audio").read_bytes()
    assert b"Lied XY" in raw
    (tmp_path / "audio").write_bytes(raw.replace(b"Lied XY", b"Lied \xfc\xff"))
    assert prepare_audio(tmp_path, 60).frames == 6


def test_the_header_is_not_believed(tmp_path: Path) -> None:
    write_audio(tmp_path / "audio", melody(1), "-f", "wav", "-bitexact", "-ar", "8000")
    raw = bytearray((tmp_path / "audio").read_bytes())
    raw[40:44] = struct.pack("<I", 2**31)  # the length of the data: hours
    (tmp_path / "audio").write_bytes(raw)
    assert prepare_audio(tmp_path, 60).frames == 30


def test_the_limit_counts_what_is_decoded(tmp_path: Path) -> None:
    options = ("-f", "mp3", "-q:a", "7", "-write_xing", "0")
    write_audio(tmp_path / "audio", MELODY, *options)
    assert refused(tmp_path, limit=1.25) == "more than 1.25 seconds"
    assert prepare_audio(tmp_path, 1.5).frames >= FRAMES


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no sound at all",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.wav\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile other.wav\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        b"\x89PNG\r\n\x1a\n" + bytes(60),
    ],
    ids=["empty", "text", "playlist", "concat", "sdp", "picture"],
)
def test_what_is_no_sound_is_a_fault(
    tmp_path: Path, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a playlist would find the other file
    write_audio(tmp_path / "other.wav", melody(0.5))
    (tmp_path / "audio").write_bytes(raw)
    assert refused(tmp_path)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("-af", "pan=16c|c0=c0", "-f", "wav"), "16 channels"),
        (("-ar", "500000", "-f", "wav"), "500,000 samples per second"),
        (("-ar", "500", "-f", "wav"), "500 samples per second"),
        (("-c:a", "tta", "-f", "matroska"), ""),
        (("-c:a", "wavpack", "-f", "matroska"), ""),
        (("-c:a", "pcm_s16le", "-f", "avi"), ""),
    ],
    ids=["channels", "high rate", "low rate", "tta", "wavpack", "avi"],
)
def test_sounds_that_are_not_taken(tmp_path: Path, options: tuple[str, ...], found: str) -> None:
    write_audio(tmp_path / "audio", melody(0.3), *options)
    assert found in refused(tmp_path)


def test_a_video_without_sound_is_a_fault(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=s=64x64:d=0.2", "-f", "mp4", tmp_path / "audio")
    assert refused(tmp_path).startswith("no sound")


def test_pictures_beside_the_sound_are_not_decoded(tmp_path: Path) -> None:
    write_audio(tmp_path / "sound.wav", melody(0.5))
    color = ("-f", "lavfi", "-i", "color=s=64x64:r=30:d=0.5")
    ffmpeg(
        *color,
        "-i",
        tmp_path / "sound.wav",
        "-c:v",
        "ffv1",
        "-c:a",
        "pcm_s16le",
        "-f",
        "matroska",
        tmp_path / "audio",
    )
    assert prepare_audio(tmp_path, 60).frames == 15


def test_other_streams_are_not_read(tmp_path: Path) -> None:
    color = ("-f", "lavfi", "-i", "color=s=64x64:r=30:d=0.5", "-f", "lavfi", "-i", "sine=d=0.5")
    ffmpeg(*color, "-c:v", "libx264", "-f", "mp4", tmp_path / "audio")
    budget = process_limits.DecodeBudget()
    try:
        with open_source(tmp_path / "audio", 60, budget) as source:
            streams = source.stream.container.streams
            assert [stream.type for stream in streams] == ["video", "audio"]
            assert [stream.discard for stream in streams] == [Discard.all, Discard.default]
    finally:
        process_limits.lift_cpu_limit()


def test_a_wrong_file_is_not_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output and error belong to the protocol with the server."""
    write_audio(tmp_path / "audio", MELODY, "-f", "mp3")
    raw = bytearray((tmp_path / "audio").read_bytes())
    raw[4000:9000] = bytes(range(250)) * 20
    (tmp_path / "audio").write_bytes(raw)
    prepare_audio(tmp_path, 60)
    assert capfd.readouterr() == ("", "")


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize(("first", "count"), [(0, 4), (20, 1), (20, 9)])
def test_corrupt_packets_leave_the_rest_in_its_place(
    tmp_path: Path, rate: int, first: int, count: int
) -> None:
    write_audio(tmp_path / "audio", MELODY, "-f", "ipod", "-c:a", "aac", "-ar", str(rate))
    damage(tmp_path / "audio", first, count)
    track = prepare_audio(tmp_path, 60)
    assert (track.frames, track.copied) == (FRAMES, False)
    lost = (count - (first == 0)) * 1024 / rate  # the first packet is priming
    # With PyAV 19, the first valid packet after corrupt priming is replaced, too.
    assert lost - 0.001 <= track.replaced_seconds <= lost + (first == 0) * 1024 / rate + 0.001
    sound = played(finish(track, tmp_path / "video.mp4"))
    begin = max(0, first - 1) * 1024 / rate
    end = begin + lost + 2048 / rate  # a decoder needs one packet to start again
    after = 2 * round(48_000 * end)
    assert noise_ratio(sound[after:], MELODY[after:]) > 20
    if count > 4:
        middle = slice(
            2 * round(48_000 * (begin + 0.05)), 2 * round(48_000 * (begin + lost - 0.05))
        )
        assert max(map(abs, sound[middle])) < 0.01


def test_corrupt_packets_at_the_end_are_not_replaced(tmp_path: Path) -> None:
    write_audio(tmp_path / "audio", MELODY, "-f", "ipod", "-c:a", "aac")
    damage(tmp_path / "audio", 40, 30)
    track = prepare_audio(tmp_path, 60)
    assert track.replaced_seconds == 0
    assert track.frames == 25  # 39 packets after the priming last 0.83 s


@pytest.mark.parametrize(("corrupt", "taken"), [(36, True), (50, False), (63, False)])
def test_a_file_of_corrupt_packets_is_a_fault(tmp_path: Path, corrupt: int, taken: bool) -> None:
    write_audio(tmp_path / "audio", MELODY, "-f", "ipod", "-c:a", "aac")
    damage(tmp_path / "audio", 1, corrupt)
    if taken:
        assert prepare_audio(tmp_path, 60).frames == FRAMES
    else:
        assert "cannot be decoded" in refused(tmp_path) or corrupt == 63
