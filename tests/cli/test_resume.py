"""``cloudburst resume``: which run is meant, and what is said when there is none."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import anyio
import anyio.from_thread
import pytest

from cloudburst import Client, Limits, RenderOptions
from cloudburst.cli.app import run
from cloudburst.cli.backend_options import WorkerOptions
from cloudburst.cli.options import RunOptions
from cloudburst.cli.output import error_console
from cloudburst.cli.result import ResultPrinter, RunRequest
from cloudburst.cli.resume import _find_run
from cloudburst.errors import OutputExistsError
from cloudburst.models.film import FilmRequest
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import S3Object, S3Prefix, subfolder
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Report, Status
from cloudburst.models.tier import Tier
from cloudburst.outputs.folder import claim_outputs
from cloudburst.outputs.journal.reader import (
    is_completed,
    journal_folder,
    journal_path,
    read_journal,
)
from cloudburst.outputs.journal.writer import open_journal
from cloudburst.testing import FakeCloud
from support.journal_entries import end, inline, process, result, scene
from support.remote_store import BUCKET, RemoteStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESULTS_DIR", raising=False)
    monkeypatch.setenv("COLUMNS", "400")


async def render(make_scene, to, name, *, scenes="ab", broken=(), backend="fake", **client):
    cloud = FakeCloud(name=backend, broken_scenes=set(broken))
    async with Client(cloud.backend, **client) as c:
        await c.render_all([*map(make_scene, scenes)], to=to, name=name, overwrite=True)


def told(capsys):
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def command(*words):
    return anyio.to_thread.run_sync(run, ["resume", *words])


async def test_no_run(capsys):
    assert await command() == 2
    assert "there is no run in cloudburst_results" in told(capsys)
    assert await command("night") == 2
    said = told(capsys)
    assert "no run night" in said
    assert "cloudburst runs" in said
    assert "--to" in said


SAME_VIDEO = "cloudburst.outputs.earlier_runs._is_same_video"


async def test_complete_is_said_and_good(make_scene, capsys, monkeypatch):
    monkeypatch.setattr(SAME_VIDEO, lambda path, video, **_: True)
    await render(make_scene, "cloudburst_results", "night")
    for words in ((), ("night",), ("night", "--to", "cloudburst_results")):
        assert await command(*words) == 0
        assert "Run night is complete: 2 videos in cloudburst_results" in told(capsys)


async def test_resume_of_a_complete_run_writes_the_page_that_a_killed_process_did_not(
    make_scene, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr(SAME_VIDEO, lambda path, video, **_: True)
    out = tmp_path / "videos"
    await render(make_scene, out, "night")
    (out / ".report.html.0a1b2c3d.new").write_text("half")
    assert await command("--to", str(out)) == 0
    assert "Report: " in told(capsys)
    assert "night" in (out / "report.html").read_text("utf-8")
    assert not list(out.glob(".report*"))
    assert await command("--to", str(out)) == 0
    assert "Report: " not in told(capsys)


async def test_resume_of_a_complete_run_stops_tasks_that_are_left(make_scene, capsys, monkeypatch):
    monkeypatch.setattr(SAME_VIDEO, lambda path, video, **_: True)
    stopped = []
    monkeypatch.setattr(
        "cloudburst.cli.resume.cleanup_command", lambda run: stopped.append(run) or 0
    )
    cloud = FakeCloud(rates=US_EAST_1_RATES, ends_after=1000)
    async with Client(cloud.backend, timeouts=Timeouts(settle=0)) as client:
        await client.render_all([make_scene("a")], to="cloudburst_results", name="night")
    assert await command("night") == 0
    assert "Run night is complete: 1 video" in told(capsys)
    assert stopped == ["night"]


async def test_a_video_that_is_gone_is_made_again_when_the_run_is_named(
    make_scene, capsys, monkeypatch
):
    jobs = []
    monkeypatch.setattr(
        "cloudburst.cli.resume.run_and_report", lambda job, running: jobs.append(job) or 0
    )
    monkeypatch.setattr(
        SAME_VIDEO,
        lambda path, video, **_: video.scene != "a",
    )
    await render(make_scene, "out", "night", backend="local")
    assert await command("--to", "out") == 0
    said = told(capsys)
    assert "Run night is complete: 2 videos in out 1 of them is missing" in said
    assert "cloudburst resume night --to out" in said
    assert not jobs
    assert await command("night", "--to", "out") == 0
    assert [job.run for job in jobs] == ["night"]


async def test_the_newest_that_is_not_complete(make_scene, tmp_path):
    out = tmp_path / "out"
    for name, scenes, broken in (("one", "ab", "a"), ("two", "ab", "a"), ("three", "c", "")):
        await render(make_scene, out, name, scenes=scenes, broken=broken)
    assert _find_run(None, out, custom_folder=True)[:2] == ("two", out)
    assert _find_run("one", out, custom_folder=True)[0] == "one"


async def test_a_run_whose_videos_a_later_run_made_is_not_chosen(make_scene, tmp_path, monkeypatch):
    out = tmp_path / "out"
    await render(make_scene, out, "old", broken="ab")
    await render(make_scene, out, "new")
    assert _find_run(None, out, custom_folder=True)[0] == "new"
    monkeypatch.setattr(SAME_VIDEO, lambda path, video, **_: video.task != "")
    (out / "a.mp4").touch()
    (out / "b.mp4").touch()
    scenes = [make_scene("a"), make_scene("b")]
    async with Client(FakeCloud().backend) as client:
        with pytest.raises(OutputExistsError) as caught:
            await client.render_all(scenes, to=out, name="old", resume=True)
    assert caught.value.reason == "these videos are from run new, which is complete"


def write(to, run, *entries):
    async def written():
        async with open_journal(journal_folder(to), run, call=inline) as journal:
            await journal.write(process(run=run), *entries)

    anyio.run(written)


def test_runs_whose_videos_are_in_s3(tmp_path, monkeypatch, capsys):
    """A complete run is checked by one list of the folder; nothing else is asked of S3."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    out, store = S3Prefix(BUCKET, "out/"), RemoteStore()
    batch, to = subfolder(out, "batch_x"), ["--to", f"s3://{BUCKET}/out"]
    monkeypatch.setattr("cloudburst.cli.resume.open_remote_inputs", lambda _: store.inputs())
    assert run(["resume", *to]) == 2
    assert f"no run of this machine in s3://{BUCKET}/out/; a run that another" in told(capsys)

    write(batch, "x", scene("a"))
    for name in ("x", None):
        assert _find_run(name, out, custom_folder=True)[1] == batch

    covered = result("b")
    video = covered.video.model_copy(update={"cover": Path("b.jpg"), "cover_sha256": "0" * 64})
    results = [result("a"), replace(covered, video=video)]
    write(out, "night", scene("a"), scene("b"), *results, end(Status.COMPLETE))
    for key in ("out/a.mp4", "out/b.mp4", "out/b.jpg"):
        store.put(key, b"")
    read_at = "cloudburst.cli.resume._find_run"
    night = _find_run("night", out, custom_folder=True)
    monkeypatch.setattr(read_at, lambda *_, **__: night)
    assert run(["resume", *to]) == 0
    assert told(capsys) == f"Run night is complete: 2 videos in s3://{BUCKET}/out/"
    del store.files[S3Object(BUCKET, "out/b.jpg")]
    assert run(["resume", *to]) == 0
    said = told(capsys)
    assert "1 of them is missing or changed" in said
    assert said.endswith(f"cloudburst resume night --to s3://{BUCKET}/out/")
    assert not store.ranges


async def test_runs_in_folders_of_the_folder_are_found(make_scene, tmp_path):
    batch = tmp_path / "out" / "batch_x"
    await render(make_scene, batch, "x", broken="a")
    assert _find_run("x", tmp_path / "out", custom_folder=True)[1] == batch
    assert _find_run(None, tmp_path / "out", custom_folder=True)[1] == batch


def test_a_run_that_goes_on_is_told_with_who_works_on_it(make_scene, tmp_path, capsys):
    out = tmp_path / "out"
    anyio.run(partial(render, make_scene, out, "night", broken="a", backend="local"))
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            claim_outputs(out, ["z"], run="night", overwrite=False, resume=True)
        ),
    ):
        for words in ((), ("night",)):
            assert run(["resume", *words, "--to", "out"]) == 2
            assert f"process {os.getpid()} on " in told(capsys)
    assert len(read_journal(journal_path(out, "night")).processes) == 1


async def test_addresses_are_not_written_down(make_scene, capsys):
    await render(make_scene, "cloudburst_results", "night", broken="a", backend="endpoints")
    assert await command() == 2
    assert "name them with --backend" in told(capsys)


def test_what_the_run_began_with_comes_back(make_scene, tmp_path, monkeypatch):
    made = []

    def opener(self, settings, *, workers):
        made.append((self.backend, workers))
        cloud = FakeCloud()

        @asynccontextmanager
        async def opened(timeouts: Timeouts, tier: Tier):
            made.append(tier)
            made.append((timeouts.scene, timeouts.ready))
            async with cloud.backend(timeouts, tier) as backend:
                yield backend

        return opened

    monkeypatch.setattr(WorkerOptions, "open_backend", opener)
    mark = Path(make_scene("mark")["image_path"])
    options = RenderOptions(watermark=mark.relative_to(tmp_path), font_size=33)
    limits = Limits(workers=7, attempts=2)
    more = {"options": options, "limits": limits, "tier": Tier.HIGH_PERFORMANCE}
    more |= {"broken": "a", "backend": "fargate"}
    anyio.run(partial(render, make_scene, tmp_path / "out", "night", **more))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("API_TIMEOUT_MINUTES", "2")
    monkeypatch.setenv("API_REQUEST_TIMEOUT_SECONDS", "7")
    given = ["--budget", "5", "--hour-usd", "0.25"]
    assert run(["resume", "--to", "../out", *given, "--quiet"]) == 0
    assert made == [("fargate", 7), Tier.HIGH_PERFORMANCE, (120, 7)]
    first, second = read_journal(journal_path(tmp_path / "out", "night")).processes
    assert second.options == first.options == options.model_copy(update={"watermark": mark})
    assert second.limits == Limits(
        workers=7, attempts=2, max_usd=Decimal(5), hour_usd=Decimal("0.25")
    )
    assert second.tier is Tier.HIGH_PERFORMANCE


def test_limits_that_are_given_count():
    assert RunOptions(workers=5).limits(Limits(workers=3)) == Limits(workers=5)
    assert RunOptions().limits(Limits(workers=3)) == Limits(workers=3)
    spent = Limits(workers=3, max_usd=Decimal(2), hour_usd=Decimal(4))
    assert WorkerOptions().limits(spent) == spent
    given = WorkerOptions(budget=Decimal(1), hour_usd=Decimal(0)).limits(spent)
    assert given == Limits(workers=3, max_usd=Decimal(1), hour_usd=Decimal(0))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "cloudburst resume r1"),
        ({"custom_folder": True}, "cloudburst resume r1 --to 'my out'"),
        (
            {"custom_folder": True, "to": S3Prefix("films", "my out/")},
            "cloudburst resume r1 --to 's3://films/my out/'",
        ),
        ({"spot": True}, "cloudburst resume r1 --spot"),
        (
            {"custom_folder": True, "overwrite": True},
            "cloudburst resume r1 --to 'my out' --overwrite",
        ),
    ],
)
def test_how_to_go_on(facts, expected):
    job = RunRequest(
        scenes=[],
        options=RenderOptions(),
        backend=FakeCloud().backend,
        tier=Tier.STANDARD,
        limits=Limits(),
        **{"overwrite": False, "to": Path("my out")} | facts,
    )
    assert job.resume_command("r1") == expected


def test_rendering_again_names_the_run_that_can_be_resumed(make_scene, tmp_path, capsys):
    anyio.run(partial(render, make_scene, "out", "night", broken="b"))
    (tmp_path / "out" / "a.mp4").touch()
    (tmp_path / "a.json").write_text(json.dumps([make_scene("a")]))
    assert run(["render", "a.json", "--to", "out", "--backend", "local"]) == 2
    said = told(capsys)
    assert "1 video there already; --overwrite replaces it: out/a.mp4" in said
    assert "Run night is not complete; it made this video." in said
    assert said.endswith("Resume it with: cloudburst resume night --to out")


@pytest.mark.parametrize("entries", [(), (scene("a"), result("a"), end(Status.COMPLETE))])
def test_only_the_program_of_a_source_makes_the_film_of_an_open_run(tmp_path, capsys, entries):
    async def write(ended):
        film = FilmRequest(path=tmp_path / "film.mp4")
        async with open_journal(tmp_path / "out", "story", call=inline) as journal:
            await journal.write(process(run="story", film=film, source_ended=ended), *entries)

    anyio.run(write, False)
    assert run(["resume", "--to", "out"]) == 1
    said = told(capsys)
    assert f"Run story is open: {len(entries) // 3} video" in said
    assert "run it again with resume=True for the rest and the film" in said
    assert is_completed(journal_path(tmp_path / "out", "story")) is False
    anyio.run(write, True)
    assert is_completed(journal_path(tmp_path / "out", "story")) is bool(entries)


@pytest.mark.parametrize("is_open", [False, True])
def test_a_film_that_only_the_program_can_make_is_not_to_be_resumed(capsys, is_open):
    request = RunRequest(
        scenes=[],
        to=Path("out"),
        options=RenderOptions(),
        backend=FakeCloud().backend,
        tier=Tier.STANDARD,
        limits=Limits(),
        overwrite=False,
        is_open=is_open,
    )
    printer = ResultPrinter(RunOptions(), error_console(), request)
    report = Report(run="r1", status=Status.COMPLETE, wall_seconds=1, film_error="no film")
    printer.print_report(report)
    assert ("Resume with: cloudburst resume r1" in told(capsys)) is not is_open
