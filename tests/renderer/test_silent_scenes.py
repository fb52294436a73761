"""Videos of scenes without sound: their length, and an audio track that can be joined."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from cloudburst.renderer.job import InputFaultError
from support.audio_probe import played
from support.render_job import lay_job, render_here, rendered_here

pytestmark = pytest.mark.real


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.1, 3), (0.7, 21), (2.1, 63), (1.01, 30), (1.02, 31)]
)
def test_a_silent_video_is_as_long_as_its_duration(
    tmp_path: Path, seconds: float, frames: int
) -> None:
    done = rendered_here(lay_job(tmp_path, duration=seconds, size="240x240"))
    assert (done["frames"], done["seconds"], done["warnings"]) == (frames, frames / 30, [])
    sound = played(tmp_path / "video.mp4")
    assert len(sound) == 2 * 1600 * frames
    assert max(map(abs, sound)) < 1e-6


def test_its_streams_are_those_of_a_video_with_sound(tmp_path: Path) -> None:
    descriptions = []
    for name, duration in (("silent", 0.5), ("voiced", None)):
        (tmp_path / name).mkdir()
        rendered_here(lay_job(tmp_path / name, duration=duration, size="240x240"))
        with av.open(str(tmp_path / name / "video.mp4")) as video:
            sound = video.streams.audio[0].codec_context
            descriptions.append((sound.name, sound.profile, sound.rate, sound.extradata))
    assert descriptions[0] == descriptions[1]


def test_a_job_without_audio_and_duration_is_a_fault(tmp_path: Path) -> None:
    lay_job(tmp_path)
    (tmp_path / "audio").unlink()
    with pytest.raises(InputFaultError) as caught:
        render_here(tmp_path)
    assert caught.value.fault.field == "audio"
