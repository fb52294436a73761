"""Runs from start to end on fake workers: what is told, and what signals do."""

from __future__ import annotations

import io
import json
import os
import signal
import wave
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from PIL import Image
from rich.console import Console

from cloudburst.cli import main
from cloudburst.cli.options import RunOptions, json_display, no_display
from cloudburst.cli.render import interrupt_handler, render
from cloudburst.cli.result import ResultPrinter, RunOutcome, RunRequest
from cloudburst.display.displays import OpenDisplay, line_display, screen_display
from cloudburst.display.live_view import ShownRun
from cloudburst.errors import InvalidScenesError, LaunchError
from cloudburst.events import FilmCompleted
from cloudburst.inputs.preflight import check_scenes
from cloudburst.models.limits import Limits
from cloudburst.models.options import RenderOptions
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.models.tier import Tier
from cloudburst.testing import FakeCloud

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # signals and threads live by the real clock


@pytest.fixture
def scenes(tmp_path: Path) -> list[dict[str, Any]]:
    Image.new("RGB", (32, 18)).save(tmp_path / "a.png")
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    both = {"image": tmp_path / "a.png", "audio": tmp_path / "a.wav"}
    return [{"name": name} | both for name in ("good", "bad", "场景")]


def job(scenes: list[dict[str, Any]], tmp_path: Path, cloud: FakeCloud) -> RunRequest:
    return RunRequest(
        scenes=scenes,
        to=tmp_path / "out",
        options=RenderOptions(),
        backend=cloud.backend,
        tier=Tier.STANDARD,
        limits=Limits(workers=2),
        overwrite=False,
    )


def paper() -> Console:
    return Console(file=io.StringIO(), width=80)


def screen() -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=True, height=20)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def rendered(
    request: RunRequest,
    display: OpenDisplay,
    console: Console | None = None,
    options: RunOptions | None = None,
) -> RunOutcome:
    """The whole of it, with everything that is printed."""
    printer = ResultPrinter(options or RunOptions(), console or paper(), request)
    with interrupt_handler() as signals:
        outcome = await render(request, display, printer, signals)
    await anyio.to_thread.run_sync(printer.print_rest, outcome)
    return outcome


async def test_lines_tell_each_step_and_the_code_is_0(
    tmp_path: Path,
    scenes: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = paper()
    monkeypatch.chdir(tmp_path)
    request = job(scenes, Path(), FakeCloud())
    outcome = await rendered(request, partial(line_display, console=console), console)
    assert outcome.exit_code == 0
    told = written(console)
    assert "worker 1 is starting (fake)" in told
    assert "场景: done, 1.0 kB, " in told
    out = capsys.readouterr().out
    assert "Videos in out\n" in out
    assert "✓ 3 videos of 3 scenes" in out


async def test_json_is_one_event_a_line_and_the_report_last(
    tmp_path: Path, scenes: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = FakeCloud(broken_scenes={"bad"})
    options = RunOptions(json=True)
    outcome = await rendered(job(scenes, tmp_path, cloud), json_display, options=options)
    assert outcome.exit_code == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["type"] for entry in told[:3]] == ["scene.queued"] * 3
    last = told[-1]
    assert (last["type"], last["status"], len(last["scenes"])) == ("report", "partial", 3)
    failed = next(entry for entry in told if entry["type"] == "scene.failed")
    assert failed["scene"] == "bad"


async def test_json_has_names_of_files_that_are_not_utf_8(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with json_display(ShownRun()) as display:
        await display.show(FilmCompleted(at=1.0, path=Path("/第/\udcff.mp4")))
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out)["path"] == "/第/\udcff.mp4"


async def test_quiet_says_only_what_failed(
    tmp_path: Path, scenes: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    console = paper()
    cloud = FakeCloud(broken_scenes={"bad"})
    options = RunOptions(quiet=True)
    outcome = await rendered(job(scenes, tmp_path, cloud), no_display, console, options)
    assert outcome.exit_code == 1
    assert written(console) == "bad: the encoder said no\n"
    assert capsys.readouterr().out == ""


async def test_the_picture_moves_and_goes_and_trouble_stays(
    tmp_path: Path, scenes: list[dict[str, Any]]
) -> None:
    console = screen()
    cloud = FakeCloud(encode=0.8, broken_scenes={"bad"})
    display = partial(screen_display, console=console)
    outcome = await rendered(job(scenes, tmp_path, cloud), display, console)
    told = written(console)
    assert outcome.report is not None
    assert outcome.report.status is Status.PARTIAL
    assert "encoding" in told
    assert "worker 1" in told
    assert "bad: failed: the encoder said no" in told
    assert told.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in told[-80:]  # the cursor is back


async def test_a_summary_names_a_fault_of_a_file_once_with_the_file_to_replace(
    tmp_path: Path,
    scenes: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    console, task = paper(), job(scenes, tmp_path, FakeCloud(broken_scenes={"bad"}))
    await rendered(task, partial(line_display, console=console), console)
    told = capsys.readouterr().out
    assert told.count("the encoder said no") == 1
    files = "".join(f"Correct or replace: {file}\n" for file in ("a.png", "a.wav"))
    assert f"{files}Then resume with: cloudburst resume" in told


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moves", [False, True])
async def test_a_signal_stops_everything_and_keeps_what_is_done(
    tmp_path: Path,
    scenes: list[dict[str, Any]],
    signum: int,
    moves: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cloud = FakeCloud(encode=lambda name: 0.0 if name == "good" else 60.0)
    console = screen() if moves else paper()
    display: OpenDisplay = partial(screen_display if moves else line_display, console=console)

    async def strike() -> None:
        while not any(line.startswith("encoded good") for line in cloud.log):  # noqa: ASYNC110 - a list has no event
            await anyio.sleep(0.01)
        await anyio.sleep(0.5)  # it is fetched and written down
        os.kill(os.getpid(), signum)

    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(strike)
            outcome = await rendered(job(scenes, tmp_path, cloud), display, console)
    assert not cloud.running
    assert outcome.exit_code == 128 + signum
    out = capsys.readouterr().out
    assert f"{tmp_path}/out/good.mp4" in out or "Videos in " in out
    assert "Interrupted: 1 video of 3 scenes" in out
    assert "2 scenes not done:" in out
    (journal,) = (tmp_path / "out" / ".cloudburst").iterdir()
    assert journal.suffix == ".sqlite"


async def test_a_signal_before_anything_was_started(
    tmp_path: Path, scenes: list[dict[str, Any]]
) -> None:
    cloud = FakeCloud(stalls=1)

    async def strike() -> None:
        await anyio.lowlevel.checkpoint()
        os.kill(os.getpid(), signal.SIGINT)

    console = paper()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(strike)
        outcome = await rendered(job(scenes, tmp_path, cloud), no_display, console)
    assert not cloud.running
    assert outcome.exit_code == 130
    assert "Interrupted before anything was started." in written(console)


async def test_bad_scenes_raise_before_anything_starts(
    tmp_path: Path, scenes: list[dict[str, Any]]
) -> None:
    cloud, console = FakeCloud(), screen()
    scenes.append({"name": "x", "image": tmp_path / "none.png", "audio": tmp_path / "a.png"})
    with pytest.raises(InvalidScenesError) as caught:
        await rendered(job(scenes, tmp_path, cloud), partial(screen_display, console=console))
    assert len(caught.value.faults) == 2
    assert not cloud.launched
    assert not (tmp_path / "out").exists()


async def test_workers_that_cannot_be_started_fail_the_scenes(
    tmp_path: Path, scenes: list[dict[str, Any]]
) -> None:
    cloud, console = FakeCloud(refuse=[LaunchError("no permission")] * 50), paper()
    display, options = partial(line_display, console=console), RunOptions(quiet=True)
    outcome = await rendered(job(scenes, tmp_path, cloud), display, console, options)
    assert outcome.exit_code == 1
    assert "good, bad, 场景: no permission\n" in written(console)


def billed(**facts: Any) -> FakeCloud:
    return FakeCloud(rates=US_EAST_1_RATES, encode=0.1, **facts)


@pytest.mark.parametrize("moves", [False, True])
async def test_the_summary_does_not_wait_for_the_final_bill(
    tmp_path: Path, scenes: list[dict[str, Any]], moves: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud, console = billed(ends_after=3.0), screen() if moves else paper()
    display: OpenDisplay = partial(screen_display if moves else line_display, console=console)
    seen = list[tuple[float, str]]()

    async def watch() -> None:
        for _ in range(2):
            out = ""
            while "Cost $" not in out:
                await anyio.sleep(0.02)
                out += capsys.readouterr().out
            seen.append((anyio.current_time(), out))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            outcome = await rendered(job(scenes, tmp_path, cloud), display, console)
    (at, summary), (later, rest) = seen
    assert later - at > 2
    assert "✓ 3 videos of 3 scenes" in summary
    assert "(estimate, tasks are stopping)" in summary
    assert "in about 20 s; Ctrl-C is safe." in written(console).splitlines()[-1]
    assert rest.startswith("Cost $")
    assert "(final)" in rest
    assert "3 scenes" not in rest
    assert outcome.exit_code == 0


@pytest.mark.parametrize("form", ["text", "json"])
async def test_a_signal_ends_the_wait_for_the_final_bill_and_nothing_else(
    tmp_path: Path,
    scenes: list[dict[str, Any]],
    form: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cloud, console, options = billed(ends_after=1000.0), paper(), RunOptions(json=form == "json")
    display: OpenDisplay = json_display if options.json else partial(line_display, console=console)
    out = ""

    async def strike() -> None:
        nonlocal out
        while "Cost $" not in out and '"type": "report"' not in out:
            await anyio.sleep(0.02)
            out += capsys.readouterr().out
        os.kill(os.getpid(), signal.SIGINT)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(strike)
            outcome = await rendered(job(scenes, tmp_path, cloud), display, console, options)
    assert outcome.exit_code == 0
    assert not cloud.running
    assert capsys.readouterr().out == ""
    if options.json:
        assert written(console) == ""
        assert json.loads(out.splitlines()[-1])["cost"]["final"] is False
    else:
        said = written(console).splitlines()[-1]
        assert said == "The bill is not final yet. Show it later with: cloudburst runs"


async def test_json_has_the_report_again_once_its_bill_is_final(
    tmp_path: Path, scenes: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    options = RunOptions(json=True)
    await rendered(job(scenes, tmp_path, billed(ends_after=0.5)), json_display, options=options)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    reports = [entry for entry in told if entry["type"] == "report"]
    assert [entry["cost"]["final"] for entry in reports] == [False, True]
    assert told[-2:] == reports


async def test_quiet_does_not_wait_for_a_bill_that_it_does_not_print(
    tmp_path: Path, scenes: list[dict[str, Any]]
) -> None:
    request, options = job(scenes, tmp_path, billed(ends_after=1000.0)), RunOptions(quiet=True)
    with anyio.fail_after(15):
        outcome = await rendered(request, no_display, options=options)
    assert outcome.exit_code == 0


def test_five_faults_of_one_cause_show_the_list_of_formats_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 36)).save("a.png")
    Path("s.srt").write_text("{}")
    scene = {"image": "a.png", "duration": 2, "subtitle": "s.srt"}
    Path("in.json").write_text(json.dumps([scene | {"name": f"{n}"} for n in range(5)]))
    assert main(["render", "in.json", "--backend", "local"]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.count("SubRip") == 1
    assert shown.count("expected as for 0 above") == 4
    with pytest.raises(InvalidScenesError) as caught:
        check_scenes(json.loads(Path("in.json").read_text()), RenderOptions(), Limits())
    assert str(caught.value).count("SubRip") == 1
    assert len({fault.expected for fault in caught.value.faults}) == 1
