"""Fonts of the machine of the client, on workers whose image has none of them."""

from __future__ import annotations

import pytest

from cloudburst import Client, Limits, RenderOptions, Status, local
from support.scripts import FONTS, SENTENCES
from support.video_probe import frame

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]

OPTIONS = RenderOptions(size="640x360", effects=(), font_size=40)
LANGUAGES = ("arabic", "hindi", "thai")


@pytest.fixture
def scenes(tmp_path, monkeypatch):
    """Two scenes with subtitles in three scripts, and one with a title card."""
    monkeypatch.setenv("CLOUDBURST_FONTS", str(FONTS))
    text = "\n".join(SENTENCES[language][:20] for language in LANGUAGES)
    cues = tmp_path / "cues.srt"
    cues.write_text(f"1\n00:00:00,000 --> 00:00:01,000\n{text}\n", "utf-8")
    scenes = [
        {"name": f"s{number}", "title_card": "1", "duration": 0.2, "subtitle": cues}
        for number in range(2)
    ]
    return [*scenes, {"name": "title", "title_card": text, "duration": 0.2}]


async def test_a_worker_gets_each_font_once_and_draws_the_same(
    scenes, our_account, client_of, tmp_path
):
    with our_account() as aws:
        async with client_of(aws, options=OPTIONS, limits=Limits(workers=1)) as client:
            far = await client.render_all(scenes, to=tmp_path / "far")
    async with Client(local(workers=1), options=OPTIONS) as client:
        near = await client.render_all(scenes[1:], to=tmp_path / "near")
    names = ("NotoSansArabic.ttf", "NotoSansDevanagari.ttf", "NotoSansThai.ttf")
    fonts = sum((FONTS / name).stat().st_size for name in names)
    cues = scenes[0]["subtitle"].stat().st_size
    for report in (far, near):
        assert report.status is Status.COMPLETE, report.errors
        assert not any(video.warnings for video in report.videos)
        assert sum(scene.bytes_sent for scene in report.scenes) <= fonts + cues
    for name in ("s1", "title"):
        pictures = [
            frame(folder / f"{name}.mp4") for folder in (tmp_path / "far", tmp_path / "near")
        ]
        assert pictures[0].tobytes() == pictures[1].tobytes()


@pytest.mark.nightly
async def test_a_resumed_run_keeps_videos_while_their_fonts_are_the_same(
    scenes, tmp_path, monkeypatch
):
    folder = tmp_path / "fonts"
    folder.mkdir()
    for name in ("Arabic", "Devanagari", "Thai"):
        (folder / f"{name}.ttf").write_bytes((FONTS / f"NotoSans{name}.ttf").read_bytes())
    monkeypatch.setenv("CLOUDBURST_FONTS", str(folder))
    latin = {"name": "latin", "title_card": "Plain", "duration": 0.2}
    scenes = [scenes[0], latin]

    async def rendered() -> list[str]:
        async with Client(local(workers=1), options=OPTIONS) as client:
            report = await client.render_all(scenes, to=tmp_path / "out", resume=True, name="run")
        assert report.status is Status.COMPLETE, report.errors
        return [scene.scene for scene in report.scenes if not scene.skipped]

    assert await rendered() == ["s0", "latin"]
    assert await rendered() == []
    with (folder / "Thai.ttf").open("ab") as file:
        file.write(b"\0")
    assert await rendered() == ["s0"]
