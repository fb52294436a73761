"""The writer of a video reads the audio track beside the pictures."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from cloudburst.renderer.audio import prepare_audio
from cloudburst.renderer.audio_frames import silence
from cloudburst.renderer.audio_track import AudioTrack, open_track, open_writer
from support.audio_probe import finish, melody, noise_ratio, played, write_audio
from support.video_probe import probe

pytestmark = pytest.mark.real


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 31, 47])
def test_encoded_audio_is_exactly_as_long_as_the_video(tmp_path: Path, frames: int) -> None:
    samples = melody(frames / 30 - 0.0104)
    write_audio(tmp_path / "audio", samples, "-f", "wav")
    track = prepare_audio(tmp_path, 60)
    assert (track.frames, track.samples) == (frames, 1600 * frames)
    video = finish(track, tmp_path / "video.mp4")
    sound = played(video)
    assert len(sound) == 2 * 1600 * frames
    assert noise_ratio(sound, samples) > 25
    with av.open(str(video)) as container:
        (audio,) = container.streams.audio
        assert (audio.start_time, audio.duration) == (0, 1600 * frames)
        assert audio.frames == track.packets == -(-(1600 * frames + 1024) // 1024)
        assert audio.profile == "LC"


def test_the_video_decodes_without_an_error(tmp_path: Path) -> None:
    write_audio(tmp_path / "audio", melody(1), "-f", "wav", "-ar", "44100")
    video = finish(prepare_audio(tmp_path, 60), tmp_path / "video.mp4")
    found = probe(video)
    assert found.audio == ("aac", "LC", 48_000, "stereo")
    assert found.frames == 30
    assert 0 <= found.samples - 48_000 < 1024  # ffmpeg 7 and older plays the encoder's padding


def test_packets_come_in_the_order_of_time(tmp_path: Path) -> None:
    write_audio(tmp_path / "audio", melody(1), "-f", "wav")
    track = prepare_audio(tmp_path, 60)
    with open_track(track) as sound:
        starts = [packet.pts for packet in sound.packets_before(1)]
        assert starts == [-1024, 0, 1024]
        assert not list(sound.packets_before(1))
        assert [packet.pts for packet in sound.packets_before(2)] == [2048, 3072]
        rest = list(sound.rest())
        assert not list(sound.rest())
    assert len(starts) + 2 + len(rest) == track.packets
    assert rest[-1].pts + rest[-1].duration == 48_000
    assert {packet.duration for packet in rest[:-1]} == {1024}
    assert all(packet.dts == packet.pts and packet.is_keyframe for packet in rest)


def test_packets_are_read_one_by_one(tmp_path: Path) -> None:
    """An hour of packets must not be in memory at once."""
    write_audio(tmp_path / "audio", melody(1), "-f", "wav")
    track = prepare_audio(tmp_path, 60)
    with open_track(track) as sound:
        first = next(sound.rest())
        track.path.write_bytes(b"")  # what was not read before is gone
        rest = list(sound.rest())
    assert first.pts == -1024
    assert len(rest) < track.packets


def test_the_same_input_makes_the_same_bytes(tmp_path: Path) -> None:
    write_audio(tmp_path / "audio", melody(0.5), "-f", "wav", "-ar", "44100")
    made = [prepare_audio(tmp_path, 60).path.read_bytes() for _ in range(2)]
    assert made[0] == made[1]


def test_a_writer_that_fails_leaves_no_open_file(tmp_path: Path) -> None:
    path = tmp_path / "track.m4a"

    def write() -> None:
        with open_writer(path) as writer:
            writer.encode(silence(480))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    path.unlink(missing_ok=True)
    with open_writer(path) as writer:
        writer.encode_silence(4_800)
        assert writer.finish_encoding() == 1024
    track = AudioTrack(path, 3, False, 0.0, 4_800, 1024)
    with open_track(track) as sound:
        assert len(list(sound.rest())) == 6
