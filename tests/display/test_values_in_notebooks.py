"""Reports, videos and frames as a notebook and `print` show them."""

from __future__ import annotations

import base64
import io
import os
import pickle
import re
import sys
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from cloudburst import Scene, render_frame
from cloudburst.models.locations import S3Object
from cloudburst.models.report import Cost, Report, SceneReport, Status, WorkerReport
from cloudburst.models.scene import Video

HOSTILE = "<script>alert(1)</script>\" onload='x' \u202e"


def video(scene: str, path: Path | S3Object, size: int = 1_234_567) -> Video:
    return Video(scene=scene, path=path, task="t1", size=size, sha256="0", seconds=6.2)


def report(folder: Path, *scenes: SceneReport, **more) -> Report:
    made = video("harbour", folder / "harbour.mp4")
    cost = Cost(encoding=Decimal("0.0123"), billed_seconds=60, final=True)
    return Report(
        run="ab12",
        status=Status.PARTIAL,
        wall_seconds=12.3,
        scenes=(SceneReport(scene="harbour", video=made, usd=Decimal("0.01")), *scenes),
        workers=(WorkerReport(task="t1", backend="fargate", launched_at=0, cost=cost),),
        cost=cost,
        **more,
    )


class Seen(HTMLParser):
    """Tags, attributes and text of a piece of HTML."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"href", "src"}]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text += data


def test_a_report_is_printed_as_the_tables_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    failed = SceneReport(scene="storm", error="EncodeError: no sound in storm.mp3 " + "x " * 60)
    text = str(report(tmp_path, failed))
    assert "harbour" in text
    assert re.search(r"harbour +6\.2 s +0\.0 s +1\.2 MB +\$0\.0100", text)
    assert "1 scene failed: no sound" in text
    assert "\n  storm\n  What to do: correct the file that the message names," in text
    assert "1 video of 2 scenes" in text
    assert "Cost $0.0123 for 1 min billed (final)" in text
    assert "\x1b" not in text
    assert not re.search(r" $", text, re.MULTILINE)
    lines = [line for line in text.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 60


def test_the_repr_of_a_report_is_one_line(tmp_path):
    assert repr(report(tmp_path)) == (
        "<Report of run ab12: partial, 1 of 1 videos, 12.3 s, $0.0123>"
    )


def test_without_rich_a_report_is_one_line(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("cloudburst.display.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    shown = report(tmp_path)
    assert str(shown) == shown.totals
    assert shown._repr_html_() is None


def test_a_report_in_a_notebook_has_its_videos_failures_bill_and_film(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    more = [
        SceneReport(scene=name, error=f"EncodeError: no sound in scene {name}") for name in "ab"
    ]
    seen = Seen(report(tmp_path, *more, film=film)._repr_html_())
    assert seen.links == [
        f"data:video/mp4;base64,{base64.b64encode(b'film').decode()}",
        "harbour.mp4",
    ]
    fix = "What to do: correct the file that the message names, and resume"
    assert f"2 scenes failed: no sound in scene aa, b{fix}" in seen.text
    assert seen.text.count("What to do") == 1
    assert "$0.0100" in seen.text
    assert "Cost $0.0123 for 1 min billed (final): encoding 100%" in seen.text


def test_hostile_names_and_messages_are_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = SceneReport(scene=HOSTILE, video=video(HOSTILE, tmp_path / "a\"'<b>.mp4"))
    failed = SceneReport(scene="x", error=f"Kind: {HOSTILE}")
    shown = report(
        tmp_path, entry, failed, film=S3Object("bucket", 'k"><script>'), film_error=HOSTILE
    )
    seen = Seen(shown._repr_html_())
    assert "script" not in seen.tags
    assert seen.text.count("<script>alert(1)</script>") == 3
    assert "\u202e" not in seen.text
    assert "a%22%27%3Cb%3E.mp4" in seen.links


def test_a_thousand_videos_are_not_a_thousand_rows(tmp_path):
    entries = [
        SceneReport(scene=f"s{n}", video=video(f"s{n}", tmp_path / f"{n}.mp4")) for n in range(999)
    ]
    seen = Seen(report(tmp_path, *entries)._repr_html_())
    assert seen.tags.count("tr") == 51
    assert "… and 950 more" in seen.text


def test_a_small_video_is_played_and_another_one_is_a_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small, large = Path("small.mp4").resolve(), Path("large one.mp4").resolve()
    small.write_bytes(b"abc")
    with large.open("wb") as file:
        file.truncate(20_000_000)
    assert Seen(video("a", small)._repr_html_()).links == ["data:video/mp4;base64,YWJj"]
    assert Seen(video("a", small)._repr_html_()).tags == ["video"]
    undecodable = Path(os.fsdecode(b"caf\xe9.mp4")).resolve()
    for path, href in (
        (undecodable, "caf%E9.mp4"),
        (large, "large%20one.mp4"),
        (Path("gone.mp4").resolve(), "gone.mp4"),
        (S3Object("bucket", "videos/a.mp4"), "s3://bucket/videos/a.mp4"),
    ):
        seen = Seen(video("a", path)._repr_html_())
        assert (seen.tags, seen.links) == (["a"], [href])


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_frame_is_a_picture(make_scene):
    scene = Scene.model_validate(make_scene())
    frame = await render_frame(scene, jpeg=True, width=160)
    assert frame._repr_mimebundle_(include=None, exclude=None) == {"image/jpeg": bytes(frame)}
    assert repr(frame) == f"<Frame: {len(frame)} bytes>"
    assert Image.open(io.BytesIO(frame)).size[0] == 160
    assert pickle.loads(pickle.dumps(frame)) == frame
    png = type(frame)(b"\x89PNG")
    assert png._repr_mimebundle_(include=None, exclude=None) == {"image/png": b"\x89PNG"}
