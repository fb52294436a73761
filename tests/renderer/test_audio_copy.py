"""AAC packets are copied if they play exactly as in the input, and otherwise encoded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from cloudburst.renderer.audio import prepare_audio
from cloudburst.renderer.audio_frames import IS_PYAV_18
from support.audio_probe import (
    damage,
    finish,
    melody,
    noise_ratio,
    played,
    write_audio,
)
from support.video_probe import ffmpeg

pytestmark = pytest.mark.real

MELODY = melody(1.31)
AAC = ("-c:a", "aac", "-b:a", "128k")


def packets(path: Path) -> list[bytes]:
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def remuxed(
    source: Path,
    target: Path,
    *,
    start: int = -1024,
    hole: int = 0,
    cut: int = 0,
    timescale: int = 48_000,
) -> None:
    """Write the packets with other times: the first starts at ``start``, the 20th has a hole."""
    data = packets(source)
    options = {"movie_timescale": str(timescale)}
    with (
        av.open(str(source)) as container,
        av.open(str(target), "w", format="ipod", options=options) as out,
    ):
        stream = out.add_stream_from_template(container.streams.audio[0])
        for number, content in enumerate(data):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, 48_000)
            packet.pts = packet.dts = start + 1024 * number + (hole if number >= 20 else 0)
            packet.duration = 1024 - (cut if number == len(data) - 1 else 0)
            packet.is_keyframe = True
            out.mux(packet)


def test_packets_are_the_same_bytes_and_play_the_same(tmp_path: Path) -> None:
    write_audio(tmp_path / "audio", MELODY, *AAC, "-f", "ipod")
    track = prepare_audio(tmp_path, 60)
    assert (track.copied, track.frames, track.priming) == (True, 40, 1024)
    assert track.samples == len(MELODY) // 2  # within a frame of the video, not padded
    video = finish(track, tmp_path / "video.mp4")
    assert packets(video) == packets(tmp_path / "audio")
    assert played(video) == played(tmp_path / "audio")
    assert noise_ratio(played(video), MELODY) > 20


@pytest.mark.parametrize("start", [0, -1, -1024, -2112, -4096])
def test_priming_of_other_encoders_is_kept(tmp_path: Path, start: int) -> None:
    write_audio(tmp_path / "source", MELODY, *AAC, "-f", "ipod")
    remuxed(tmp_path / "source", tmp_path / "audio", start=start, cut=300)
    track = prepare_audio(tmp_path, 60)
    assert (track.copied, track.priming) == (True, -start)
    assert track.samples == 1024 * len(packets(tmp_path / "source")) + start - 300
    video = finish(track, tmp_path / "video.mp4")
    assert packets(video) == packets(tmp_path / "source")
    assert played(video) == played(tmp_path / "audio")


@pytest.mark.skipif(not IS_PYAV_18, reason="PyAV 19 skips the priming in later packets instead")
@pytest.mark.parametrize("corrupt", [1, 2])
def test_corrupt_priming_is_not_replaced(tmp_path: Path, corrupt: int) -> None:
    """The first two packets play nothing: both are priming."""
    write_audio(tmp_path / "source", MELODY, *AAC, "-f", "ipod")
    remuxed(tmp_path / "source", tmp_path / "audio", start=-2112)
    damage(tmp_path / "audio", 0, corrupt)
    track = prepare_audio(tmp_path, 60)
    assert (track.copied, track.replaced_seconds) == (False, 0)


def test_a_start_that_was_cut_off_is_copied_without_it(tmp_path: Path) -> None:
    write_audio(tmp_path / "source", MELODY, *AAC, "-f", "ipod")
    ffmpeg("-ss", "0.5", "-i", tmp_path / "source", "-c", "copy", "-f", "ipod", tmp_path / "audio")
    track = prepare_audio(tmp_path, 60)
    assert track.copied
    assert played(finish(track, tmp_path / "video.mp4")) == played(tmp_path / "audio")


def test_the_sound_of_a_video_is_copied(tmp_path: Path) -> None:
    write_audio(tmp_path / "source", MELODY, *AAC, "-f", "ipod")
    color = ("-f", "lavfi", "-i", "color=s=64x64:r=30:d=1")
    ffmpeg(*color, "-i", tmp_path / "source", "-c:a", "copy", "-f", "mp4", tmp_path / "audio")
    track = prepare_audio(tmp_path, 60)
    assert track.copied
    assert packets(track.path) == packets(tmp_path / "source")


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize(
    "options",
    [
        (*AAC, "-ar", "44100", "-f", "ipod"),
        (*AAC, "-ac", "1", "-f", "ipod"),
        (*AAC, "-f", "adts"),
        (*AAC, "-f", "matroska"),
        ("-c:a", "alac", "-f", "ipod"),
    ],
    ids=["44.1 kHz", "mono", "adts", "mkv", "alac"],
)
def test_other_audio_is_encoded(tmp_path: Path, options: tuple[str, ...]) -> None:
    write_audio(tmp_path / "audio", MELODY, *options)
    assert not prepare_audio(tmp_path, 60).copied


@pytest.mark.parametrize("start", [48, 4_800, -4_097])
def test_a_start_that_an_edit_list_cannot_express_is_encoded(tmp_path: Path, start: int) -> None:
    write_audio(tmp_path / "source", MELODY, *AAC, "-f", "ipod")
    remuxed(tmp_path / "source", tmp_path / "audio", start=start)
    assert not prepare_audio(tmp_path, 60).copied


@pytest.mark.parametrize("timescale", [600, 1000, 48_000])
def test_the_end_of_the_edit_list_is_kept(tmp_path: Path, timescale: int) -> None:
    """Some encoders leave the last packet at full length and cut it by the edit list only."""
    write_audio(tmp_path / "source", MELODY, *AAC, "-f", "ipod")
    remuxed(tmp_path / "source", tmp_path / "audio", timescale=timescale)
    raw = bytearray((tmp_path / "audio").read_bytes())
    at = raw.index(b"elst") + 12  # the duration of the only edit
    assert int.from_bytes(raw[at - 4 : at]) == 1
    raw[at : at + 4] = round(1.31 * timescale).to_bytes(4)
    (tmp_path / "audio").write_bytes(raw)
    track = prepare_audio(tmp_path, 60)
    assert track.copied
    assert track.samples == round(1.31 * timescale) * 48_000 // timescale
    assert played(finish(track, tmp_path / "video.mp4")) == played(tmp_path / "audio")


def test_a_wrong_duration_in_the_header_cuts_nothing(tmp_path: Path) -> None:
    write_audio(tmp_path / "source", MELODY, *AAC, "-f", "ipod")
    remuxed(tmp_path / "source", tmp_path / "audio", start=0)
    raw = bytearray((tmp_path / "audio").read_bytes())
    at = raw.index(b"mdhd") + 20
    raw[at : at + 4] = (4_800).to_bytes(4)
    (tmp_path / "audio").write_bytes(raw)
    track = prepare_audio(tmp_path, 60)
    assert track.samples == 1024 * len(packets(tmp_path / "source"))


@pytest.mark.parametrize("hole", [1, 1024, 480])
def test_a_hole_between_packets_is_encoded(tmp_path: Path, hole: int) -> None:
    write_audio(tmp_path / "source", MELODY, *AAC, "-f", "ipod")
    remuxed(tmp_path / "source", tmp_path / "audio", hole=hole)
    assert not prepare_audio(tmp_path, 60).copied


def test_he_aac_is_not_taken_for_lc(tmp_path: Path) -> None:
    """A configuration that announces spectral band replication at the same rate."""
    write_audio(tmp_path / "audio", MELODY, *AAC, "-f", "ipod")
    raw = (tmp_path / "audio").read_bytes()
    assert raw.count(b"\x11\x90\x56\xe5\x00") == 1
    (tmp_path / "audio").write_bytes(raw.replace(b"\x11\x90\x56\xe5\x00", b"\x11\x90\x56\xe5\x80"))
    assert not prepare_audio(tmp_path, 60).copied


def test_a_corrupt_packet_is_not_copied(tmp_path: Path) -> None:
    write_audio(tmp_path / "audio", MELODY, *AAC, "-f", "ipod")
    data = packets(tmp_path / "audio")[30]
    raw = (tmp_path / "audio").read_bytes()
    assert raw.count(data) == 1
    (tmp_path / "audio").write_bytes(raw.replace(data, b"\x6e" * len(data)))
    track = prepare_audio(tmp_path, 60)
    assert not track.copied
    assert track.replaced_seconds == pytest.approx(1024 / 48_000)


def test_a_high_bit_rate_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_audio(tmp_path / "audio", MELODY, *AAC, "-f", "ipod")
    assert prepare_audio(tmp_path, 60).copied
    monkeypatch.setattr("cloudburst.renderer.audio_copy.MAX_BIT_RATE", 64_000)
    assert not prepare_audio(tmp_path, 60).copied


def test_a_packet_that_is_too_large_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_audio(tmp_path / "audio", MELODY, *AAC, "-f", "ipod")
    largest = max(map(len, packets(tmp_path / "audio")))
    monkeypatch.setattr("cloudburst.renderer.audio_copy.MAX_PACKET_BYTES", largest)
    assert prepare_audio(tmp_path, 60).copied
    monkeypatch.setattr("cloudburst.renderer.audio_copy.MAX_PACKET_BYTES", largest - 1)
    assert not prepare_audio(tmp_path, 60).copied


def test_the_limit_holds_for_copies(tmp_path: Path) -> None:
    from cloudburst.renderer.job import InputFaultError

    write_audio(tmp_path / "audio", MELODY, *AAC, "-f", "ipod")
    with pytest.raises(InputFaultError, match=r"more than 1\.2 seconds"):
        prepare_audio(tmp_path, 1.2)
    assert prepare_audio(tmp_path, 1.31 + 1024 / 48_000).copied
