"""Scenes with a duration and with music, rendered by a worker process on this machine."""

from __future__ import annotations

import anyio
import pytest

from cloudburst import Client, RenderOptions, local
from support.audio_probe import played, rms, tone_samples, window, write_audio
from support.sample_media import PICTURES

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


def test_music_reaches_the_worker_and_silence_needs_no_file(tmp_path):
    PICTURES["png"](tmp_path / "a.png")
    write_audio(tmp_path / "music", tone_samples(0.75, 0.5), "-f", "wav")
    write_audio(tmp_path / "voice", tone_samples(1, 0.3, 300), "-f", "wav")
    scene = {"image": tmp_path / "a.png"}
    scenes = [
        {"name": "silent", "duration": 0.5} | scene,
        {"name": "only music", "duration": 1.5, "options": {"music": tmp_path / "music"}} | scene,
        {"name": "both", "audio": tmp_path / "voice", "options": {"music": tmp_path / "music"}}
        | scene,
    ]
    options = RenderOptions(
        effects=(), size="426x240", music_fade=0, music_volume=0.5, loudness=-20
    )

    async def render():
        async with Client(local(workers=1), options=options) as client:
            return await client.render_all(scenes, to=tmp_path / "out")

    report = anyio.run(render)
    report.raise_for_failures()
    assert [video.seconds for video in report.videos] == [0.5, 1.5, 1]
    levels = [rms(window(played(video.path), 0.2, 0.45)) for video in report.videos]
    assert levels[0] == 0
    # A sine in both channels with this root mean square has -20 LUFS.
    assert levels[1:] == pytest.approx([0.077, 0.077], rel=0.1)
