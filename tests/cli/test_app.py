"""The command as a program: exit codes, streams, signals; and nothing is left running."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from PIL import Image
from rich.console import Console

from cloudburst.cli import main
from cloudburst.cli.output import describe_error
from cloudburst.cli.result import RunOutcome, RunRequest
from cloudburst.display.displays import OpenDisplay
from cloudburst.display.live_view import ShownRun
from cloudburst.errors import CapacityError, CloudburstError, ConfigurationError, LaunchError
from cloudburst.models.limits import Timeouts

COMMAND = (sys.executable, "-m", "cloudburst")
STILL = ("--no-zoom", "--size", "480x270")
"""Options of videos that take little CPU time."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with one good scene and one whose sound only decoding finds out."""
    for name in ("AWS_SUBNET_ID", "RESULTS_DIR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (64, 36), "teal").save(tmp_path / name / f"{name}.png")
    with wave.open(str(tmp_path / "good" / "good.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    (tmp_path / "bad" / "bad.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(4000))
    return tmp_path


@pytest.mark.few(1)
@pytest.mark.parametrize("encoding", ["gbk", "ascii", "cp1252"])
def test_output_without_the_characters_is_english_with_question_marks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    (folder / "good" / "good.png").rename(folder / "good" / "场景 ✓ م.png")
    (folder / "good" / "good.wav").rename(folder / "good" / "场景 ✓ م.wav")
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    monkeypatch.setenv("PYTHONUTF8", "1")  # of names of files
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    done = subprocess.run(
        [*COMMAND, "render", "good", *STILL], capture_output=True, timeout=60, check=False
    )
    out = done.stdout.decode(encoding)
    assert done.returncode == 0, done.stderr
    assert ("视频" if encoding == "gbk" else "1 video of 1 scene") in out
    assert ("场景 ? ?" if encoding == "gbk" else "?? ? ?") in out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    form = r"\d+\.\d+\S* \(Python 3\.\d+\.\d+\S*, \w+ \S+\)\n"
    assert re.fullmatch(form, capsys.readouterr().out)


def test_render_with_resume_names_the_command_that_resumes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["render", "folder", "--resume"]) == 2
    assert "To resume a run: cloudburst resume --to FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["render", "--help"], ["demo", "--help"], []])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Usage: cloudburst" in printed
    assert re.search(r"--[a-z0-9-]+\.", printed) is None, "fields of a class are no options"


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("command", "later_sentence"),
    [
        ("init", "While no task runs, only the stored image and logs cost anything."),
        ("doctor", "The exit code is 0 if no check failed, and 1 otherwise"),
        ("cleanup", "Tasks that cloudburst did not start are never stopped."),
        ("emulate", "Each task is a process with an address of its own."),
        ("resume", "keys and credentials come from the environment."),
        ("plan", "The table lists every plan that no other plan beats in both time and cost."),
    ],
)
def test_the_help_of_a_command_is_its_whole_docstring(
    command: str, later_sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([command, "--help"], ["-h", command]):
        assert main(arguments) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert later_sentence in printed
        assert "Parameters ---" not in printed


def collapse_single(text: str) -> str:
    """Without white space: a long path may be wrapped anywhere."""
    return "".join(text.split())


@pytest.mark.few(4, spread=True)
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rendr"], "Unknown command"),
        (["render"], "SCENES requires an argument"),
        (["render", "good", "--workers", "0"], "Must be >= 1"),
        (["render", "good", "--language", "klingon"], "Invalid value"),
        (["render", "good", "--background-opacity", "3"], "--background-opacity is 3.0; expected"),
        (["render", "good", "--font-size", "500"], "--font-size is 500; expected a whole number"),
        (
            ["render", "good", "--outline-color", "red"],
            "--outline-color is 'red'; expected a colour",
        ),
        (
            ["render", "good", "--effects", "random", "--no-zoom"],
            "either --effects or --zoom (--no-zoom)",
        ),
        (["render", "none.json"], "none.json: not found"),
        (["render", "good", "good"], "a unique name"),
        (["render", "good", "--watermark", "none.png"], "no such file"),
        (
            ["render", "good", "--to", "good/good.wav"],
            "good.wav is a file; --to names",
        ),
        (["runs", "--to", "good/good.wav"], "good.wav is a file; --to names"),
        (["resume", "--to", "good/good.wav"], "good.wav is a file; --to names"),
    ],
)
def test_bad_input_is_told_and_the_code_is_2(
    folder: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert collapse_single(told) in collapse_single(captured.out + captured.err)


def test_a_subnet_asks_for_fargate(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (folder / ".env").write_text("AWS_SUBNET_ID=subnet-1,subnet-2\n")
    assert main(["render", "good"]) == 2
    assert "credentials" in capsys.readouterr().err
    assert main(["render", "good", "--backend", "local", "--to", "out", *STILL]) == 0


def test_a_picture_without_a_sound_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudburst.cli.render.run_and_report", lambda *_: 0)
    for name in ("y.jpg", "logo.png", "watermark.png"):
        (folder / "good" / name).touch()
    assert main(["render", "good", "--watermark", "good/logo.png"]) == 0
    told = collapse_single(capsys.readouterr().err)
    assert collapse_single("good/y.jpg: a picture without an audio file of the same name") in told
    assert "logo" not in told
    assert "watermark" not in told


def test_a_path_in_a_warning_stays_whole(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudburst.cli.render.run_and_report", lambda *_: 0)
    monkeypatch.setenv("COLUMNS", "60")
    picture = folder / "good" / f"{'y' * 70}.jpg"
    picture.touch()
    assert main(["render", "good"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["WARNING", f"good/{picture.name}:"]
    assert not any(line.endswith(" ") for line in lines)


class Terminal(io.StringIO):
    """A terminal, and an event that is set when the live view is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.live = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if "checking the scenes" in text:
            self.live.set()
        return super().write(text)


def test_a_warning_is_printed_above_the_live_view(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def render(_request: object, display: OpenDisplay, *_: object) -> RunOutcome:
        async with display(ShownRun()):
            assert await anyio.to_thread.run_sync(terminal.live.wait, 10)
            logging.getLogger("cloudburst").warning("a folder of nobody")
        return RunOutcome()

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("cloudburst.cli.render.render", render)
    main(["render", "good", "--backend", "local"])
    above, _, _ = terminal.getvalue().partition("a folder of nobody")
    line = above.rpartition("\n")[2]
    assert "checking the scenes" in above
    assert "checking" not in line.rpartition("\x1b[2K")[2], "the live view is erased before"


def test_videos_that_exist_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".env").write_text("RESULTS_DIR=films\n")
    (folder / "films").mkdir()
    (folder / "films" / "good.mp4").touch()
    assert main(["render", "good"]) == 2
    assert "films/good.mp4" in capsys.readouterr().err


def without(*modules: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({modules}))\n"
        f"from cloudburst.cli import main; sys.exit(main({arguments}))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("cyclopts", [], "cli"),
        ("fastapi", ["serve"], "serve"),
        ("python_multipart", ["mcp"], "serve"),
    ],
)
def test_without_the_extra_it_says_what_to_install(
    module: str, arguments: list[str], extra: str
) -> None:
    done = without(module, arguments=arguments)
    assert done.returncode == 2
    line = f"cloudburst: this command needs {module}: pip install 'cloudburst-sdk[{extra}]'\n"
    assert done.stderr == line


def test_python_m_cloudburst_is_the_command(folder: Path) -> None:
    for arguments, code in ((["--help"], 0), (["rendr"], 2)):
        words = [[*COMMAND, *arguments], [Path(sys.executable).with_name("cloudburst"), *arguments]]
        module, command = (subprocess.run(each, capture_output=True, check=False) for each in words)
        assert module.returncode == command.returncode == code
        assert (module.stdout, module.stderr) == (command.stdout, command.stderr)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["rendr"], 'Unknown command "rendr". Did you mean "render"?'),
        (["serve", "--help"], "Serve a page, an API and tools"),
        (["--install-completion", "--shell", "bash", "--output", "script"], "script"),
    ],
)
def test_other_commands_work_without_the_extras_of_serve_and_mcp(
    arguments: list[str], output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    extras = ("av", "fastapi", "mcp", "python_multipart", "starlette", "uvicorn")
    done = without(*extras, arguments=arguments)
    assert "Traceback" not in done.stderr
    assert output in " ".join((done.stdout + done.stderr).split())


@pytest.mark.real
@pytest.mark.timeout(90)
def test_a_run_with_one_broken_scene(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "good", "bad", *STILL, "--workers", "1", "--json"]) == 1
    done = capsys.readouterr()
    *events, report = map(json.loads, done.out.splitlines())
    assert report["status"] == "partial"
    assert {event["type"] for event in events} >= {"worker.ready", "scene.completed"}
    video = Path(report["scenes"][0]["video"]["path"])
    assert video == folder / "cloudburst_results" / "good.mp4"
    assert video.stat().st_size > 1000
    assert done.err == ""


@pytest.fixture
def long_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that encodes for a long time, with more scenes than the worker encodes at once."""
    with wave.open(str(folder / "good" / "good.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 8000 * 600))
    files = {"image": "good/good.png", "audio": "good/good.wav"}
    scenes = [{"name": f"scene {n}"} | files for n in range(6)]
    (folder / "scenes.json").write_text(json.dumps(scenes))
    process = subprocess.Popen(
        [*COMMAND, "render", "scenes.json", "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process:
        encoding = (line for line in process.stderr if "encoding on" in line)
        next(encoding)
        time.sleep(0.3)  # until further scenes wait on the worker
        yield process
        process.kill()


def descendants(pid: int) -> list[int]:
    """All processes below one, by /proc."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def all_gone(pids: list[int], seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.real
@pytest.mark.timeout(90)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at /proc")
@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGINT, signal.SIGINT], 130),
    ],
    ids=["ctrl-c", "ctrl-c twice"],
)
def test_signals_leave_no_process(
    long_run: subprocess.Popen[str], folder: Path, signals: list[int], code: int
) -> None:
    below = descendants(long_run.pid)
    assert below
    for signum in signals:
        os.kill(long_run.pid, signum)
        time.sleep(0.05)
    out, err = long_run.communicate(timeout=30)
    assert long_run.returncode == code, err
    assert all_gone(below)
    if len(signals) == 1:
        assert "Interrupted: 0 videos of 6 scenes" in out
        left = [path.name for path in (folder / "cloudburst_results").iterdir()]
        assert left == [".cloudburst"]


@pytest.mark.real
@pytest.mark.timeout(90)
def test_the_reader_of_the_output_goes_away(folder: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "render", "good", *STILL, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_timeouts_are_those_of_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[RunRequest] = []
    monkeypatch.setattr(
        "cloudburst.cli.render.run_and_report", lambda job, _: jobs.append(job) or 0
    )
    assert main(["render", "good"]) == 0
    monkeypatch.setenv("API_TIMEOUT_MINUTES", "2")
    monkeypatch.setenv("API_REQUEST_TIMEOUT_SECONDS", "7")
    assert main(["render", "good"]) == 0
    usual, asked = (job.timeouts for job in jobs)
    assert usual == Timeouts()
    assert (asked.scene, asked.ready) == (120, 7)


def test_an_error_has_what_to_do_unless_its_message_says_it() -> None:
    def lines(error: CloudburstError) -> list[str]:
        console = Console(file=io.StringIO(), width=60)
        console.print(describe_error(error))
        return [line.rstrip() for line in console.file.getvalue().splitlines()]

    assert lines(CapacityError("no room for a task")) == [
        "no room for a task",
        "What to do: try again later, or with another size of tasks.",
    ]
    assert lines(LaunchError("no subnet: run cloudburst doctor")) == [
        "no subnet: run cloudburst doctor"
    ]
    assert lines(ConfigurationError("--tier: 'x'")) == ["--tier: 'x'"]
