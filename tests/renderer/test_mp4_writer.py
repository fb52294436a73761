"""The writer of MP4 files: order, times, index and memory."""

from __future__ import annotations

import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import pytest

from cloudburst.models.video_format import Effect, VideoFormat
from cloudburst.renderer.audio_track import AudioTrack, open_track, open_writer
from cloudburst.renderer.encoder import EncodedPicture
from cloudburst.renderer.gops import GopSource
from cloudburst.renderer.motion import Camera
from cloudburst.renderer.motion_video import MotionVideo
from cloudburst.renderer.mp4_writer import open_mp4
from cloudburst.renderer.planes import to_planes
from cloudburst.renderer.still_video import StillVideo
from cloudburst.renderer.subtitle_track import SubtitleTrack
from support.drawn_frames import SMALL, block_track, header, photo, strict_decode
from support.h264 import (
    SEI,
    annex_b,
    check_counters,
    length_prefixed,
    parameter_sets,
    picture_slices,
    read_sps,
)
from support.video_probe import probe

TICK = Fraction(1, 30)
FORMAT = VideoFormat(SMALL)


def still() -> GopSource:
    track, _ = block_track([10, 40, 300, 7, 600, 300], SMALL)
    return StillVideo(to_planes(photo(SMALL)), track)


def moving() -> GopSource:
    track, _ = block_track([10, 40, 300, 7, 600, 300], SMALL)
    return MotionVideo(to_planes(photo(SMALL)), 451, Camera(Effect.PAN_RIGHT, SMALL), None, track)


def silent_track(path: Path, frames: int) -> AudioTrack:
    with open_writer(path) as writer:
        writer.encode_silence(1600 * frames)
        priming = writer.finish_encoding()
    return AudioTrack(path, frames, False, 0.0, 1600 * frames, priming)


def write(folder: Path, source: GopSource, frames: int) -> Path:
    path = folder / "video.mp4"
    track = silent_track(folder / "track.m4a", frames)
    with open_track(track) as audio, open_mp4(path, FORMAT, audio) as writer:
        for gop in source.gops(frames):
            writer.write(gop, source.encode(gop, 20, lambda _frames: None))
    return path


def boxes(data: bytes) -> list[tuple[str, bytes]]:
    """Return the types and contents of the boxes of an MP4 file."""
    found = []
    while data:
        size, name = struct.unpack(">I4s", data[:8])
        head = 8
        if size == 1:
            (size,) = struct.unpack(">Q", data[8:16])
            head = 16
        assert head <= size <= len(data)
        found.append((name.decode(), data[head:size]))
        data = data[size:]
    return found


class Packet(NamedTuple):
    """Packet of a file. PyAV's own packets are not valid after their file is closed."""

    kind: str
    pts: Fraction
    dts: Fraction
    duration: Fraction
    place: int
    is_keyframe: bool
    data: bytes


def packets(path: Path) -> list[Packet]:
    with av.open(str(path)) as container:
        return [
            Packet(
                packet.stream.type,
                *(n * packet.time_base for n in (packet.pts, packet.dts, packet.duration)),
                *(packet.pos, packet.is_keyframe, bytes(packet)),
            )
            for packet in container.demux()
            if packet.size
        ]


@pytest.mark.few(7, spread=True)
@pytest.mark.parametrize("frames", [1, 2, 5, 29, 31, 149, 150, 151, 299, 300, 301, 451])
@pytest.mark.parametrize("make", [still, moving])
def test_times_and_counters_of_a_whole_file(make, frames, tmp_path):
    path = write(tmp_path, make(), frames)
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.start_time, audio.start_time) == (0, 0)
        assert video.duration * video.time_base == frames * TICK
        assert abs(audio.duration * audio.time_base - frames * TICK) <= TICK
        assert (video.frames, video.average_rate) == (frames, 30)
        assert video.sample_aspect_ratio == 1
        units = parameter_sets(video.codec_context.extradata)
    assert list(units) == annex_b(header(SMALL))
    shown = [packet for packet in packets(path) if packet.kind == "video"]
    assert [p.dts for p in shown] == [(n - 1) * TICK for n in range(frames)]
    assert sorted(p.pts for p in shown) == [n * TICK for n in range(frames)]
    assert all(p.pts >= p.dts and p.duration == TICK for p in shown)
    length = 300 if make is still else 150
    keys = [p.pts for p in shown if p.is_keyframe]
    assert keys == [start * TICK for start in range(0, frames, length)]
    pictures = [length_prefixed(p.data) for p in shown]
    sps = read_sps(units[0])
    positions = [round(p.pts / TICK) % length for p in shown]
    assert check_counters(picture_slices(pictures, sps), positions, sps) == frames
    settings = [number for number, p in enumerate(pictures) if any(u[0] & 31 == SEI for u in p)]
    assert settings == [0]
    assert probe(path).frames == frames


@pytest.mark.parametrize("make", [still, moving])
def test_the_ffmpeg_program_decodes_the_file(make, tmp_path):
    strict_decode(write(tmp_path, make(), 451))


def test_the_index_comes_first(tmp_path):
    path = write(tmp_path, still(), 301)
    names = [name for name, _ in boxes(path.read_bytes())]
    assert names[0] == "ftyp"
    assert names.index("moov") < names.index("mdat")
    assert names.count("moov") == names.count("mdat") == 1
    assert "moof" not in names


@pytest.mark.parametrize("make", [still, moving])
def test_packets_lie_in_the_order_of_their_times(make, tmp_path):
    """A player that reads the file from a network needs no more than a second of it at once."""
    path = write(tmp_path, make(), 400)
    by_place = sorted(packets(path), key=lambda packet: packet.place)
    latest = {"video": 0.0, "audio": 0.0}
    for packet in by_place:
        latest[packet.kind] = float(packet.dts)
        assert abs(latest["video"] - latest["audio"]) < 0.15
    assert latest["video"] == pytest.approx(398 / 30)
    assert latest["audio"] > 13.2


def test_the_same_pictures_make_the_same_bytes(tmp_path):
    """A file says nothing about the time or the library's state."""
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files.append(write(tmp_path / name, still(), 301).read_bytes())
    assert files[0] == files[1]


def test_an_older_file_is_replaced(tmp_path):
    (tmp_path / "video.mp4").write_bytes(bytes(10_000_000))
    path = write(tmp_path, still(), 31)
    assert path.stat().st_size < 1_000_000
    strict_decode(path)


def test_a_name_that_looks_like_an_address_is_a_file(tmp_path):
    folder = tmp_path / "http:" / "a%d"
    folder.mkdir(parents=True)
    strict_decode(write(folder, still(), 31))


def test_an_error_closes_the_file(tmp_path):
    track = silent_track(tmp_path / "track.m4a", 30)

    def fail() -> None:
        with open_track(track) as audio, open_mp4(tmp_path / "video.mp4", FORMAT, audio):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    opened = [path.resolve() for path in Path("/proc/self/fd").iterdir() if path.exists()]
    assert not [path for path in opened if path.is_relative_to(tmp_path)]


def resident_bytes() -> int:
    """Return the memory of this process that is not shared with other processes or with files."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text.partition("RssAnon:")[2].split()[0])


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_length(tmp_path):
    """10 minutes need little more memory than one: an index of 46,000 packets, 7 MB."""
    source = StillVideo(to_planes(photo(SMALL)), SubtitleTrack())
    unit = b"\0\0\0\1\x0c" + b"\xff" * 2000  # filler data, which decoders skip
    frames = 10 * 60 * 30
    track = silent_track(tmp_path / "track.m4a", frames)
    with open_track(track) as audio, open_mp4(tmp_path / "video.mp4", FORMAT, audio) as writer:
        for gop in source.gops(frames):
            if gop.number == 6:
                before = resident_bytes()
                tracemalloc.start()
            pictures = source.encode(gop, 20, lambda _frames: None)
            writer.write(gop, [EncodedPicture(unit + p.data, p.position) for p in pictures])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        grown = resident_bytes() - before
    assert (tmp_path / "video.mp4").stat().st_size > 36_000_000
    assert peak < 4_000_000
    assert grown < 20_000_000
