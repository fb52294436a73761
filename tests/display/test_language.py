"""Chinese texts of what people read in a terminal."""

from __future__ import annotations

import ast
import io
import re
import string
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from cloudburst.cli import main
from cloudburst.cli.output import describe_error
from cloudburst.display import language
from cloudburst.display.displays import failure_line, log_line
from cloudburst.display.language import is_chinese, say
from cloudburst.display.live_view import ShownRun, live_view
from cloudburst.display.summary import summary
from cloudburst.display.texts import format_duration, pluralize
from cloudburst.engine.report import COST_PARTS
from cloudburst.engine.run_view import SceneStage
from cloudburst.errors import CapacityError, InvalidScenesError, SceneFault
from cloudburst.events import (
    SceneEncoding,
    SceneFailed,
    SceneStarted,
    WorkerLaunched,
    WorkerReady,
)
from cloudburst.models.problems import FIXES
from cloudburst.models.report import Prediction, Report, SceneReport, Status, WorkerReport
from cloudburst.models.run_progress import RunProgress, WorkerActivity
from cloudburst.models.scene import Video

SOURCES = Path(language.__file__).parents[1]
TABLE = language._chinese()
KNOWN = re.compile(
    r"cloudburst [a-z-]+|--[a-z-]+|Fargate|AWS|vCPU|Ctrl-C|STANDARD|[kMG]B|EncodeError|no way"
)


def texts_of(call: ast.Call) -> Iterator[str]:
    """Yield the texts that a call shows, as far as they are in it."""
    match call:
        case ast.Call(func=ast.Name("say"), args=[ast.IfExp(body=one, orelse=other), *_]):
            found = [one, other]
        case ast.Call(func=ast.Name("say"), args=[one, *_]):
            found = [one]
        case ast.Call(func=ast.Name("pluralize"), args=[_, ast.Constant(word)]):
            found = [ast.Constant(f"{{}} {word}")]
        case _:
            found = []
    yield from (str(each.value) for each in found if isinstance(each, ast.Constant))


def test_each_text_has_a_translation_and_each_translation_a_text() -> None:
    activities = get_args(WorkerActivity)
    fixes = {fix for fix in FIXES.values() if not fix.startswith("cloudburst ")}
    said, words = fixes | {*COST_PARTS}, {*COST_PARTS, *SceneStage, *Status, *activities}
    for source in (*SOURCES.glob("display/*.py"), *SOURCES.glob("cli/*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Constant):
                words.add(str(node.value))
            elif isinstance(node, ast.Call):
                said |= {*texts_of(node)}
    assert said - TABLE.keys() == set()
    words |= {f"workers {state}" for state in activities}
    assert TABLE.keys() - said - words - {f"{{}} {word}" for word in words} == set()


def test_a_translation_has_the_places_of_its_text() -> None:
    def places(text: str) -> list[str | None]:
        return [form for _, name, form, _ in string.Formatter().parse(text) if name is not None]

    for text, chinese in TABLE.items():
        assert places(text) == places(chinese), text


@pytest.mark.parametrize(
    ("variables", "chinese"),
    [
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, False),
        ({"LANG": "C", "LC_MESSAGES": "zh_TW"}, True),
        ({"LANG": "zh_CN", "LC_ALL": ""}, True),
        ({}, False),
    ],
)
def test_the_first_variable_of_the_locale_that_is_set_counts(
    variables: dict[str, str], chinese: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_chinese() is chinese
    assert format_duration(185) == ("3 分 05 秒" if chinese else "3 min 05 s")
    assert pluralize(2, "scene") == ("2 个场景" if chinese else "2 scenes")
    assert say("a {brace} of a stranger") == "a {brace} of a stranger"


def test_output_that_has_no_chinese_characters_is_english(
    in_chinese: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for encoding, chinese in {"utf-8": True, "gbk": True, "cp1252": False}.items():
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding))
        assert is_chinese() is chinese
    monkeypatch.setattr("sys.stdout", None)
    assert is_chinese()


@pytest.fixture
def in_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")


def printed(thing: object, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(thing)
    return console.file.getvalue()


def english_in(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]{2,}", KNOWN.sub("", text))


def shown_run() -> ShownRun:
    shown = ShownRun()
    for name in ("1", "2", "3", "4"):
        shown.view.add(name)
    events = (
        WorkerLaunched(at=1, task="t", backend="local", place="machine"),
        WorkerReady(at=2, task="t", backend="local", place="machine"),
        SceneStarted(at=2, scene="1", task="t", attempt=1),
        SceneEncoding(at=3, scene="1", task="t"),
        SceneFailed(at=4, scene="2", kind="EncodeError", message="no way", retryable=False),
    )
    for event in events:
        shown.view.apply(event)
    return shown


def test_the_live_view_is_chinese_and_fits_its_window(in_chinese: None) -> None:
    counts = {"done": 1, "failed": 1, "scenes": 4, "workers_launched": 1, "share": 0.2}
    times = {"at": 9, "seconds_left": 250, "seconds_left_low": 200, "seconds_left_high": 400}
    money = {"usd": Decimal("0.0123"), "max_usd": Decimal("0.5")}
    progress = RunProgress.model_validate(
        counts | times | money | {"film": None, "encodes": {}, "workers": ()}
    )
    shown = shown_run()
    workers = tuple(shown.view.workers_progress(()))
    shown.progress = lambda: progress.model_copy(update={"workers": workers})
    for width in (60, 80, 120):
        text = printed(live_view(shown, width=width, height=24), width)
        assert english_in(text) == []
        assert "0 / 4 个场景 · 1 个失败" in text
        assert "$0.0123 / $0.50" in text
        assert "约剩 4 分 10 秒" in text
        assert "渲染节点 1" in text
        assert all(cell_len(line) <= width for line in text.splitlines())


def test_a_failure_has_a_chinese_head_and_fix(in_chinese: None) -> None:
    shown = shown_run()
    failed = next(iter(shown.view.failures.values())).first
    assert failed is not None
    text = printed(failure_line(failed, shown))
    assert text.startswith("2：失败：no way")
    assert "处理方法：改正消息中的文件后恢复运行" in text
    launched = WorkerLaunched(at=1, task="t", backend="local", place="machine")
    assert str(log_line(launched, shown)).endswith("渲染节点 1 正在启动（本机）")
    started = SceneStarted(at=2, scene="1", task="t", attempt=1)
    assert str(log_line(started, shown)).endswith("1：在渲染节点 1 上开始")


def test_the_summary_is_chinese(in_chinese: None) -> None:
    video = Video(scene="1", path=Path("/1.mp4"), task="t", size=9, sha256="0", seconds=6.2)
    scenes = (SceneReport(scene="1", video=video, encode_seconds=3.4), SceneReport(scene="2"))
    worker = WorkerReport(task="t", backend="local", launched_at=0, ready_at=1, stopped_at=12)
    whole = Report(
        run="r", status=Status.PARTIAL, wall_seconds=12, scenes=scenes, workers=(worker,)
    )
    text = printed(summary(whole))
    assert english_in(text.replace("/1.mp4", "")) == []
    assert "✗ 1 个视频 / 2 个场景，视频共 6 秒，用时 12 秒，加速 0.3×" in text
    complete = whole.model_copy(
        update={
            "status": Status.COMPLETE,
            "scenes": scenes[:1],
            "predicted": Prediction(wall_seconds=16),
        }
    )
    assert "预估 16 秒，实际 12 秒" in printed(summary(complete))


def test_errors_have_chinese_heads(in_chinese: None) -> None:
    fault = SceneFault("1", "image", "a.txt", "a picture", "wrong_type")
    text = printed(describe_error(InvalidScenesError(faults=[fault])))
    assert "应为 图片" in text
    assert "共 1 处错误，没有启动任何东西。" in text
    assert "处理方法：稍后再试，或换一种任务规格。" in printed(
        describe_error(CapacityError("full"))
    )


def test_a_plan_is_chinese(
    in_chinese: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("AWS_SUBNET_ID", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 36), "teal").save(tmp_path / "a.png")
    (tmp_path / "s.json").write_text('[{"name": "1", "image": "a.png", "duration": 4}]')
    assert main(["plan", "s.json"]) == 0
    text = capsys.readouterr().out
    assert english_in(text) == []
    assert "1 个场景，音频共 4 秒" in text
    assert "十次运行中有八次用时" in text
    assert "本机" in text
