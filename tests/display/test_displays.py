"""Events folded into what a screen shows, and what it looks like."""

from __future__ import annotations

import io
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType

from cloudburst.cli.output import describe_error
from cloudburst.display import displays
from cloudburst.display.displays import (
    failure_line,
    line_display,
    log_line,
    screen_display,
    summary_line,
)
from cloudburst.display.live_view import ShownRun
from cloudburst.display.summary import summary
from cloudburst.display.terminal_texts import safe_text
from cloudburst.display.texts import format_duration, format_size
from cloudburst.errors import (
    CloudburstError,
    ConfigurationError,
    CredentialsError,
    InvalidScenesError,
    OutputExistsError,
    SceneFault,
)
from cloudburst.events import (
    Event,
    SceneCompleted,
    SceneEncoded,
    SceneEncoding,
    SceneFailed,
    SceneProgress,
    SceneQueued,
    SceneRetried,
    SceneStarted,
    SceneUploaded,
    WorkerFailed,
    WorkerLaunched,
    WorkerReady,
    WorkerStopped,
)
from cloudburst.models.report import Prediction, Report, SceneReport, Status, WorkerReport
from cloudburst.models.run_progress import RunProgress
from cloudburst.models.scene import Video

CHINESE = "第一章 夜里起了大风，小船找不到回家的路"
LONG = "a-scene-whose-name-goes-on-and-on-until-nobody-wants-to-read-it-any-more"


def text(thing: RenderableType, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(Group(thing), crop=False)
    return [line.rstrip() for line in captured.get().splitlines()]


def video(scene: str, folder: Path = Path("/films")) -> Video:
    path = folder / f"{scene}.mp4"
    return Video(scene=scene, path=path, task="t1", size=1_234_567, sha256="0", seconds=6.2)


def folded(names: Iterable[str], *events: Event) -> ShownRun:
    shown = ShownRun()
    for name in names:
        shown.view.add(name)
    for event in events:
        shown.view.apply(event)
    return shown


def launched(*tasks: str) -> list[Event]:
    return [WorkerLaunched(at=1, task=task, backend="local", place="machine") for task in tasks]


def report(
    *scenes: SceneReport, status: Status = Status.COMPLETE, workers: tuple[WorkerReport, ...] = ()
) -> Report:
    return Report(run="r", status=status, wall_seconds=12.5, scenes=scenes, workers=workers)


def done(name: str, folder: Path = Path("/films")) -> SceneReport:
    return SceneReport(scene=name, video=video(name, folder), encode_seconds=3.4, upload_seconds=3)


def test_the_summary_names_every_video_and_their_folder() -> None:
    worker = WorkerReport(task="t", backend="local", launched_at=0, ready_at=1, stopped_at=12)
    lines = text(summary(report(done("one"), done("第一章"), workers=(worker,))), 80)
    assert lines[0].split() == ["scene", "length", "render", "size"]
    assert lines[2].split() == ["one", "6.2", "s", "3.4", "s", "1.2", "MB"]
    assert lines[3].startswith("第一章")
    assert "Videos in /films" in lines
    assert "✓ 2 videos of 2 scenes, 12 s of video in 12 s, speed-up 1.0×" in lines
    assert all(cell_len(line) <= 80 for line in lines)


def test_a_prediction_is_compared_with_a_run_of_one_process_only() -> None:
    worker = WorkerReport(task="t", backend="local", launched_at=0, ready_at=1, stopped_at=12)
    earlier = WorkerReport(task="k", backend="local", launched_at=-30, ready_at=-29, stopped_at=-9)
    predicted = Prediction(wall_seconds=16)
    whole = report(done("a"), workers=(worker,)).model_copy(update={"predicted": predicted})
    assert "16 s predicted, 12 s taken" in text(summary(whole))
    resumed = whole.model_copy(update={"workers": (earlier, worker)})
    assert "predicted" not in "\n".join(text(summary(resumed)))


def test_a_run_that_made_no_video_has_no_speed() -> None:
    worker = WorkerReport(task="t", backend="local", launched_at=0, ready_at=1, stopped_at=12)
    cut = report(SceneReport(scene="a"), status=Status.INTERRUPTED, workers=(worker,))
    assert text(summary(cut))[-1] == "Interrupted: 0 videos of 1 scene after 12 s"


def test_the_summary_of_a_resumed_run_counts_its_own_work_only() -> None:
    worker = WorkerReport(task="t", backend="local", launched_at=0, ready_at=1, stopped_at=12)
    killed = WorkerReport(task="k", backend="local", launched_at=-30, ready_at=-29, stopped_at=-9)
    told = report(
        done("a").model_copy(update={"skipped": True}), done("b"), workers=(killed, worker)
    )
    assert told.skipped == ("a",)
    lines = text(summary(told), 80)
    expected = "✓ 2 videos of 2 scenes (1 already there), 6 s of video in 12 s, speed-up 0.5×"
    assert expected in lines


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("count", [1, 30])
def test_the_summary_keeps_within_any_screen(width: int, count: int) -> None:
    scenes = [done(f"scene_{n:03}") for n in range(count)]
    scenes += [done(LONG, Path("/srv/films/2026/autumn/out")), SceneReport(scene=CHINESE)]
    scenes.append(SceneReport(scene="bad", error="EncodeError: the encoder stopped\nat length"))
    lines = text(summary(report(*scenes, status=Status.PARTIAL)), width)
    whole = "\n".join(lines)
    assert all(cell_len(line) <= width for line in lines)
    assert "1 scene failed: the encoder stopped" in whole
    assert "at length" not in whole
    assert "\n  bad\n  What to do: correct the file that the message names, and resume\n" in whole
    assert f"1 scene not done:\n  {CHINESE}\n" in whole
    assert f"✗ {count + 1} videos of {count + 3} scenes" in whole
    assert "Videos in " in whole


def test_the_same_advice_for_several_failures_is_shown_once_and_speaks_of_no_request() -> None:
    errors = {"a": "too dark", "b": "too loud", "c": "too long"}
    scenes = [
        SceneReport(scene=name, error=f"InvalidScenesError: {error}")
        for name, error in errors.items()
    ]
    lines = text(summary(report(*scenes, status=Status.FAILED)), 80)
    advice = "What to do: correct the faults, and try again"
    assert [line.strip() for line in lines[:7]] == [
        "1 scene failed: too dark",
        "a",
        "1 scene failed: too loud",
        "b",
        "1 scene failed: too long",
        "c",
        advice,
    ]
    shown = ShownRun()
    printed = list[str]()
    for name, error in errors.items():
        shown.view.add(name)
        kind = "InvalidScenesError"
        event = SceneFailed(at=1, scene=name, kind=kind, message=error, retryable=False)
        shown.view.apply(event)
        printed += text(failure_line(event, shown), 80)
    assert printed == [
        "a: failed: too dark",
        f"  {advice}",
        "b: failed: too loud",
        "c: failed: too long",
    ]


def test_names_and_messages_cannot_play_with_the_terminal() -> None:
    assert str(safe_text("a\x1b[31mb\rc")) == "a�[31mb�c"
    lines = text(summary(report(SceneReport(scene="[red]x[/red]", error="\x1b]0;title\x07"))))
    assert lines[:2] == ["1 scene failed: �]0;title�", "  [red]x[/red]"]
    assert "\x1b]0" not in "".join(lines)


def test_a_problem_to_fix_is_reported_once_with_its_page() -> None:
    arn = "arn:aws:ecs:us-east-1:123456789012:task/cloudburst-cluster/0123abcd"
    fault = "WorkerStoppedError: the image is not there: check DOCKER_IMAGE"
    worker = WorkerReport(
        task=arn, backend="fargate", launched_at=0, error=fault, post_mortem=Path("/films/pm.md")
    )
    other = WorkerReport(task="t", backend="fargate", launched_at=0)
    failed = [SceneReport(scene=name, error=fault) for name in "abc"]
    failed.append(SceneReport(scene="d", error="EncodeError: no"))
    told = report(*failed, status=Status.FAILED, workers=(worker, other))
    lines = text(summary(told.model_copy(update={"problem": fault})), 100)
    assert lines[:7] == [
        "3 scenes failed; fix this, then resume: the image is not there: check DOCKER_IMAGE",
        "  a, b, c",
        "  tasks: 0123abcd",
        "  What to do: resume, which renders what is missing",
        "1 scene failed: no",
        "  d",
        "  What to do: correct the file that the message names, and resume",
    ]
    assert lines.count("Post-mortem of task 0123abcd: /films/pm.md") == 1
    assert "fix this" not in "\n".join(text(summary(told)))


EVENTS: list[tuple[Event, str | None]] = [
    (
        WorkerLaunched(at=3, task="t2", backend="local", place="machine"),
        "   3 s  worker 2 is starting (local)",
    ),
    (WorkerReady(at=3, task="t1", backend="local", place="machine"), "   3 s  worker 1 is ready"),
    (
        WorkerStopped(at=3, task="t1", backend="local", reason="done\nlog"),
        "   3 s  worker 1 stopped: done",
    ),
    (
        WorkerFailed(at=3, task="", backend="local", kind="LaunchError", message="no\nroom"),
        "   3 s  a worker failed: no",
    ),
    (SceneQueued(at=3, scene="a", attempt=1), None),
    (SceneStarted(at=3, scene="a", task="t1", attempt=1), "   3 s  a: started on worker 1"),
    (SceneUploaded(at=3, scene="a", task="t1", bytes_sent=1), None),
    (SceneEncoding(at=3, scene="a", task="t1"), "   3 s  a: encoding on worker 1"),
    (SceneProgress(at=3, scene="a", task="t1", progress=0.5), None),
    (SceneEncoded(at=3, scene="a", task="t1"), None),
    (
        SceneRetried(at=3, scene="a", task="t1", kind="E", message="m"),
        "   3 s  a: attempt failed, retrying: m",
    ),
    (
        SceneCompleted(at=61, scene="a", video=video("a")),
        "1 min 01 s  a: done, 1.2 MB, /films/a.mp4",
    ),
    (
        SceneFailed(at=3, scene="a", kind="E", message="m", retryable=True),
        "   3 s  a: failed: m",
    ),
]


@pytest.mark.parametrize(("event", "told"), EVENTS, ids=[event.type for event, _ in EVENTS])
def test_a_line_for_each_event(event: Event, told: str | None) -> None:
    shown = folded(["a"], *launched("t1"), event)
    found = log_line(event, shown)
    assert (None if found is None else str(found)) == told


def test_a_minute_of_a_log_is_summed() -> None:
    shown = folded(["a", "b"], *launched("t1"))
    progress = progress_of(shown)
    shown.progress = lambda: progress
    line = str(summary_line(shown))
    assert line == " 3 min  0 of 2 scenes, $0.0123, about 4 min 10 s left (3–6 min)"
    unknown = progress.model_copy(update={"seconds_left": None, "usd": None})
    shown.progress = lambda: unknown
    assert str(summary_line(shown)) == " 3 min  0 of 2 scenes"


@pytest.mark.anyio
async def test_a_log_has_a_line_about_the_whole_run_each_minute_without_control_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(displays, "_SUMMARY_INTERVAL", 0.05)
    shown = folded(["a", "b"], *launched("t1"))
    console = Console(file=io.StringIO())
    async with line_display(shown, console=console) as display:
        await anyio.sleep(0.12)
        assert written(console) == "", "the scenes are not checked yet"
        await display.show(SceneStarted(at=3, scene="a", task="t1", attempt=1))
        shown.progress = lambda: progress_of(shown)
        with anyio.fail_after(10):
            while "left" not in written(console):  # noqa: ASYNC110 - a test
                await anyio.sleep(0.01)
    first, *summaries = written(console).splitlines()
    assert first == "   3 s  a: started on worker 1"
    about = "  0 of 2 scenes, $0.0123, about 4 min 10 s left (3–6 min)"
    assert all(line.endswith(about) for line in summaries)


def progress_of(shown: ShownRun) -> RunProgress:
    return RunProgress(
        at=180, scenes=len(shown.view.scenes), done=0, failed=0, share=0, encodes={}, film=None,
        workers=(), usd=Decimal("0.0123"), max_usd=None, seconds_left=250,
        seconds_left_low=180, seconds_left_high=360,
    )  # fmt: skip


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.anyio
async def test_what_a_program_prints_to_a_file_stays_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    async with screen_display(ShownRun(), console=console):
        print("a result")  # noqa: T201 - as a program does
    assert capsys.readouterr().out == "a result\n"


def test_a_live_view_has_each_cause_once_above_it_with_what_to_do() -> None:
    def fails(scene: str, at: int) -> Event:
        message = f"scene {scene} is not a picture"
        return SceneFailed(at=at, scene=scene, kind="EncodeError", message=message, retryable=False)

    message = "scene a is not a picture"
    retried = SceneRetried(at=1, scene="a", task="t1", kind="EncodeError", message=message)
    events: list[Event] = [retried, fails("b", 2), fails("a", 3), fails("c", 4)]
    shown = folded("abc", *launched("t1"), *events)
    told = [failure_line(event, shown) for event in events]
    assert [None if one is None else text(one, 50) for one in told] == [
        ["a: attempt failed, retrying: scene a is not a", "picture"],
        [
            "b: failed, as above for a",
            "  What to do: correct the file that the message",
            "  names, and resume",
        ],
        None,
        None,
    ]


LONG_ERROR = (
    "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve "
    "docker.io/example/renderer:1: not found (task {}): check DOCKER_IMAGE"
)
TASKS = [f"{n:x}" * 32 for n in (1, 2, 3)]


def test_a_failure_is_logged_in_full_once() -> None:
    shown = folded("abc")
    events: list[Event] = [
        *launched("t1"),
        WorkerFailed(
            at=3, task="t1", backend="fargate", kind="E", message=LONG_ERROR.format(TASKS[0])
        ),
        SceneRetried(at=3, scene="a", task="t1", kind="E", message=LONG_ERROR.format(TASKS[1])),
        WorkerStopped(at=3, task="t1", backend="fargate", reason=LONG_ERROR.format(TASKS[0])),
        SceneFailed(
            at=4, scene="b", kind="E", message=LONG_ERROR.format(TASKS[2]), retryable=False
        ),
        SceneFailed(at=5, scene="c", kind="E", message="another error", retryable=False),
    ]
    lines: list[str] = []
    for event in events:
        shown.view.apply(event)
        lines.append(str(log_line(event, shown)))
    assert lines[1:] == [
        f"   3 s  worker 1 failed: {LONG_ERROR.format(TASKS[0])}",
        "   3 s  a: attempt failed, retrying, as above for worker 1",
        "   3 s  worker 1 stopped",
        "   4 s  b: failed, as above for worker 1",
        "   5 s  c: failed: another error",
    ]


def test_a_command_in_an_error_is_not_wrapped() -> None:
    advice = "run aws ec2 describe-subnets --region eu-west-1 --subnet-ids subnet-1 subnet-2"
    error = CredentialsError(f"no way: {advice}")
    assert text(describe_error(error), 60) == [f"no way: {advice}"]


def test_a_failure_is_summarised_once_with_its_scenes_and_tasks() -> None:
    scenes = [
        SceneReport(scene=f"s{n}", task=task, error=f"LaunchError: {LONG_ERROR.format(task)}")
        for n, task in enumerate(TASKS)
    ]
    workers = tuple(
        WorkerReport(task=scene.task or "", backend="fargate", launched_at=0, error=scene.error)
        for scene in scenes
    )
    lines = text(summary(report(*scenes, status=Status.FAILED, workers=workers)), 80)
    whole = " ".join(" ".join(lines).split())
    assert whole.count("CannotPullContainerError") == 1
    assert "3 scenes failed: CannotPullContainerError" in whole
    assert "  s0, s1, s2" in lines
    assert "  tasks: 111111111111, 222222222222, 333333333333" in lines
    assert all(cell_len(line) <= 80 for line in lines)


def test_an_error_is_wrapped_between_words_only() -> None:
    path = "/srv/" + "x" * 90
    error = ConfigurationError(f"first line\nthe file {path} cannot be read: correct the setting")
    assert text(describe_error(error), 60) == [
        "first line",
        "the file",
        path,
        "cannot be read: correct the setting",
    ]


def test_a_long_path_is_never_broken() -> None:
    folder = Path("/srv/films") / "/".join(["a-long-folder-name"] * 5)
    lines = text(summary(report(done("one", folder), SceneReport(scene="two"))), 80)
    assert f"Video: {folder}/one.mp4" in lines


def test_faults_are_told_by_scene() -> None:
    faults = [
        SceneFault("one", "image", "no such file: /a.png", "a picture"),
        SceneFault("one", "audio", "a PNG picture: /b.mp3", "a sound"),
        SceneFault("options", "watermark", "text: /w", "a picture"),
        SceneFault("", "to", "s3://films/: no such bucket", "a folder in S3"),
    ]
    assert [line.rstrip() for line in text(describe_error(InvalidScenesError(faults=faults)))] == [
        "one",
        "  image  no such file: /a.png",
        "         expected a picture",
        "  audio  a PNG picture: /b.mp3",
        "         expected a sound",
        "options",
        "  watermark  text: /w",
        "             expected a picture",
        "to  s3://films/: no such bucket",
        "    expected a folder in S3",
        "4 faults; nothing was started.",
    ]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OutputExistsError("", paths=[Path("/a.mp4"), Path("/b.mp4")]),
            ["2 videos there already; --overwrite replaces them:", "  /a.mp4", "  /b.mp4"],
        ),
        (
            OutputExistsError("", paths=[Path("/a.mp4")], reason="changed since"),
            [
                "1 video there already; --overwrite replaces it:",
                "  /a.mp4",
                "Reason: changed since.",
            ],
        ),
        (
            OutputExistsError("", objects=["s3://films/a.mp4", "s3://films/a.jpg"]),
            [
                "2 files there already; --overwrite replaces them:",
                "  s3://films/a.mp4",
                "  s3://films/a.jpg",
            ],
        ),
        (
            InvalidScenesError(faults=[SceneFault("s", "f", "x", "y")] * 130),
            ["… and 30 more", "130 faults; nothing was started."],
        ),
        (ConfigurationError("no [bold]such[/] thing"), ["no [bold]such[/] thing"]),
    ],
)
def test_complaints(error: CloudburstError, told: list[str]) -> None:
    lines = text(describe_error(error))
    assert [line for line in lines if line in told] == told


def test_words() -> None:
    assert [format_duration(s) for s in (0, 59.4, 59.6, 3599, 7325)] == [
        "0 s", "59 s", "1 min", "59 min 59 s", "2 h 02 min",
    ]  # fmt: skip
    assert [format_size(n) for n in (0, 999, 123_456, 1_234_567, 2 * 10**9)] == [
        "0 bytes", "1.0 kB", "123.5 kB", "1.2 MB", "2.00 GB",
    ]  # fmt: skip
