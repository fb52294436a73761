"""The live view of a run: its lines at any size of the window."""

from __future__ import annotations

import io
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from cloudburst.display.live_view import ShownRun, live_view
from cloudburst.events import (
    Event,
    FilmProgress,
    SceneCompleted,
    SceneCopied,
    SceneEncoded,
    SceneEncoding,
    SceneFailed,
    SceneProgress,
    SceneStarted,
    WorkerLaunched,
    WorkerReady,
)
from cloudburst.models.run_progress import RunProgress
from cloudburst.models.scene import Video

CHINESE = "第一章 夜里起了大风，小船找不到回家的路"
LONG = "a-scene-whose-name-goes-on-and-on-until-nobody-wants-to-read-it-any-more"
VIDEO = Video(scene="a", path=Path("/a.mp4"), task="t1", size=1, sha256="0", seconds=6.2)


def lines(
    shown: ShownRun,
    progress: RunProgress | None = None,
    *,
    width: int = 80,
    height: int = 24,
    colour: bool = False,
) -> list[str]:
    file = io.StringIO()
    system = "standard" if colour else None
    console = Console(file=file, width=width, force_terminal=True, color_system=system)
    if shown.view.scenes:
        progress = progress or progress_of(shown)
        shown.progress = lambda: progress
    console.print(live_view(shown, width=width, height=height), end="")
    return [line.rstrip() for line in file.getvalue().splitlines()]


def folded(names: Sequence[str], *events: Event) -> ShownRun:
    shown = ShownRun()
    for name in names:
        shown.view.add(name)
    for event in events:
        shown.view.apply(event)
    return shown


def launched(task: str, size: str = "") -> list[Event]:
    fields = {"at": 3, "task": task, "backend": "b", "place": "fargate" if size else "machine"}
    return [WorkerLaunched(**fields, size=size), WorkerReady(**fields, size=size)]


def encoding(scene: str, task: str, progress: float = 0.5) -> list[Event]:
    return [
        SceneStarted(at=4, scene=scene, task=task, attempt=1),
        SceneEncoding(at=4, scene=scene, task=task),
        SceneProgress(at=5, scene=scene, task=task, progress=progress),
    ]


def failed(scene: str) -> Event:
    return SceneFailed(
        at=6, scene=scene, kind="EncodeError", message="not a picture\nat all", retryable=False
    )


def progress_of(shown: ShownRun, **fields: object) -> RunProgress:
    defaults = {
        "at": 94,
        "scenes": len(shown.view.scenes),
        "done": 0,
        "failed": 1,
        "share": 0.5,
        "encodes": {},
        "film": None,
        "usd": Decimal("0.01234"),
        "max_usd": Decimal("0.5"),
        "seconds_left": 250.2,
        "seconds_left_low": 180,
        "seconds_left_high": 360,
        "workers": tuple(shown.view.workers_progress(())),
    }
    return RunProgress(**defaults | fields)


def large(scenes: int, workers: int) -> ShownRun:
    """A run with scenes in work, done, waiting and failed, and one worker on this machine."""
    names = [f"{number:03}-chapter" for number in range(scenes - 2)] + [LONG, CHINESE]
    events = list[Event]()
    for number in range(workers):
        events += launched(f"t{number}", "2 vCPU, 4 GB" if number else "")
        events += encoding(names[-1 - number], f"t{number}", number / workers)
    events += [SceneCompleted(at=9, scene=name, video=VIDEO) for name in names[:5]]
    return folded(names, *events, *map(failed, names[5:8]))


def test_the_lines_are_the_run_its_workers_its_scenes_and_the_rest() -> None:
    shown = folded(
        [CHINESE, LONG, "c", "d", "e", "f"],
        *launched("t1"),
        *launched("t2", "2 vCPU, 4 GB"),
        WorkerLaunched(at=34, task="t3", backend="b", place="fargate", size="2 vCPU, 4 GB"),
        *encoding(CHINESE, "t1", 0.62),
        SceneStarted(at=3, scene="c", task="t1", attempt=1),
        SceneStarted(at=3, scene=LONG, task="t2", attempt=1),
        SceneEncoded(at=3, scene=LONG, task="t2"),
        failed("d"),
        SceneCompleted(at=9, scene="e", video=VIDEO),
    )
    assert lines(shown, progress_of(shown)) == [
        "━━━━━━━━━━━━━━━━━━━━━━━━━━━━                     about 4 min 10 s left (3–6 min)",
        "1 of 6 scenes · 1 failed  $0.0123 of $0.50",
        "worker 1  this machine  encoding, 2 scenes       1 min 31 s",
        "worker 2  2 vCPU, 4 GB  downloading              1 min 31 s",
        "worker 3  2 vCPU, 4 GB  starting                 1 min",
        "第一章 夜里起了大风，小船找不到回家的路       worker 1  encoding            62%",
        "c                                             worker 1  uploading",
        "a-scene-whose-name-goes-on-and-on-until-nob…  worker 2  downloading",
        "d                                             failed: not a picture",
        "… 1 waiting, 1 done",
    ]


@pytest.mark.few(20, spread=True)
@pytest.mark.parametrize("width", [30, 60, 80, 120, 200])
@pytest.mark.parametrize("height", [3, 10, 24, 50])
@pytest.mark.parametrize(("scenes", "workers"), [(12, 1), (60, 40), (1000, 40)])
def test_the_lines_fit_into_any_window(width: int, height: int, scenes: int, workers: int) -> None:
    shown = large(scenes, workers)
    found = lines(shown, progress_of(shown), width=width, height=height)
    assert len(found) < height
    assert all(cell_len(line) <= width for line in found)
    if height >= 24 and width >= 60:
        shown_workers = sum("this machine" in one or "vCPU" in one for one in found)
        assert shown_workers == (1 if workers == 1 else height // 3 - 1)
        assert found[-1].endswith("5 done")


def test_of_many_scenes_those_that_are_encoded_or_failed_come_first() -> None:
    names = [str(number) for number in range(40)]
    uploads = [SceneStarted(at=4, scene=name, task="t1", attempt=1) for name in names[:30]]
    shown = folded(names, *launched("t1"), *uploads, *encoding("35", "t1"), failed("39"))
    found = lines(shown, width=100, height=12)
    assert found[2].startswith("35  worker 1  encoding")
    assert found[3].split() == ["39", "failed:", "not", "a", "picture"]
    assert found[-1] == "… 24 in work, 8 waiting"


@pytest.mark.parametrize("width", [60, 120])
def test_the_whole_run_has_bill_cap_and_time_left_with_its_range(width: int) -> None:
    shown = folded(["a", "b"], failed("b"))
    head = "  ".join(lines(shown, progress_of(shown), width=width))
    for part in ("0 of 2 scenes · 1 failed  $0.0123 of $0.50", "about 4 min 10 s left (3–6 min)"):
        assert part in head
    assert (
        "about 4 min 10 s + film (3–6 min)"
        in lines(shown, progress_of(shown, film=0.0), width=140)[0]
    )
    exact = progress_of(shown, seconds_left_low=250, seconds_left_high=250.4, max_usd=None)
    assert lines(shown, exact, width=90)[0].endswith("$0.0123  about 4 min 10 s left")
    unknown = progress_of(shown, seconds_left=None, usd=None)
    assert lines(shown, unknown, width=60)[0].endswith("1 failed  1 min 34 s")
    shown.stopping = True
    assert lines(shown, progress_of(shown), width=90)[0].endswith(
        "· stopping  $0.0123 of $0.50  1 min 34 s"
    )


def test_a_film_is_joined_when_all_scenes_are_done() -> None:
    shown = folded(
        ["a"], SceneCompleted(at=9, scene="a", video=VIDEO), FilmProgress(at=10, progress=0.5)
    )
    progress = progress_of(shown, film=0.5, usd=None, seconds_left=5, seconds_left_low=None)
    assert lines(shown, progress, width=62)[0] == (
        "━━━━╸      1 of 1 scene · joining the film 50%  about 5 s left"
    )


def test_a_worker_that_is_stopped_says_so_and_a_copy_is_named() -> None:
    shown = folded(
        ["a"],
        *launched("t1"),
        *launched("t2"),
        *encoding("a", "t1"),
        SceneCopied(at=9, scene="a", task="t2"),
    )
    progress = progress_of(shown, workers=tuple(shown.view.workers_progress({"t2"})))
    _, first, second, scene = lines(shown, progress, width=120)
    assert first.split()[4] == "encoding"
    assert second.split()[4] == "stopping"
    assert scene.split()[:6] == ["a", "worker", "1", "encoding", "+", "copy"]


def test_the_rest_of_a_bar_is_drawn_in_colour_or_not_at_all() -> None:
    shown = folded(["a"], *launched("t1"), *encoding("a", "t1"))
    plain, coloured = lines(shown), lines(shown, colour=True)
    assert plain[0].count("━") < coloured[0].count("━")
    assert "\x1b[" in coloured[0]
    assert "\x1b" not in "".join(plain)


def test_names_cannot_play_with_the_terminal() -> None:
    name = "a\x1b[31mb\rc\n"
    shown = folded([name, "a longer name"], *launched("t1"), *encoding(name, "t1"))
    assert "a�[31mb�c�" in lines(shown)[2]


def test_before_the_scenes_are_known() -> None:
    assert lines(ShownRun()) == ["checking the scenes"]
