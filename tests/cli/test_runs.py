"""runs as a person or a script sees it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from dataclasses import replace
from decimal import Decimal

import anyio
import pytest
from cyclopts import App

from cloudburst.cli import main
from cloudburst.cli.runs import runs_command
from cloudburst.models.locations import S3Prefix
from cloudburst.models.report import Status
from cloudburst.models.task import usd_billed
from cloudburst.outputs.folder import claim_outputs
from cloudburst.outputs.journal.reader import journal_folder
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import end, failure, inline, process, result, scene, task

NOON = 1_790_000_000.0


def cloudburst(*arguments):
    app = App()
    app.command(runs_command, name="runs")
    return app(arguments, exit_on_error=False, result_action="return_value", print_error=False)


@pytest.fixture(autouse=True)
def terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("RESULTS_DIR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def journal(folder, run, *entries, began=NOON):
    async def write():
        async with open_journal(folder, run, call=inline) as journal:
            await journal.write(process(began, run=run), *entries)

    anyio.run(write)


def scenes(count):
    return [scene(f"s{n}") for n in range(count)]


def results(count, fingerprint="f1"):
    return [result(f"s{n}", fingerprint) for n in range(count)]


def shown(capsys, width=80):
    """The output: no line but the command to copy is wider than the terminal."""
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if not line.startswith("resume with")]
    assert all(len(line) <= width for line in lines), out
    return "\n".join(line.rstrip() for line in out.splitlines())


def test_no_runs(tmp_path, capsys):
    assert cloudburst("runs") == 0
    assert shown(capsys) == "No runs in cloudburst_results."
    assert cloudburst("runs", "--json") == 0
    assert json.loads(shown(capsys)) == []
    assert not list(tmp_path.iterdir())


def test_each_run_is_listed_with_its_state(tmp_path, capsys):
    out = tmp_path / "cloudburst_results"
    journal(out, "a" * 12, *scenes(60), *results(60), task(settled=True), end(Status.COMPLETE))
    journal(out, "b" * 12, *scenes(1000), *results(873), task(), task("t2"), began=NOON + 60)
    journal(out, "c" * 12, *scenes(8), *results(7), failure("s7"), end(Status.PARTIAL))
    journal(out, "d" * 12, *scenes(3), end(Status.BUDGET), began=NOON + 30)
    assert cloudburst("runs") == 0
    assert shown(capsys) == (
        "in cloudburst_results\n"
        "run           state          scenes    workers      cost  started\n"
        "bbbbbbbbbbbb  interrupted  873/1000   2×2 vCPU  ≥$0.0056  2026-09-21 14:14\n"
        "dddddddddddd  budget            0/3                       2026-09-21 14:13\n"
        "aaaaaaaaaaaa  complete        60/60   1×2 vCPU   $0.0028  2026-09-21 14:13\n"
        "cccccccccccc  partial           7/8                       2026-09-21 14:13\n"
        "\n"
        "resume with: cloudburst resume bbbbbbbbbbbb"
    )


def test_the_list_is_chinese_in_a_chinese_locale(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    out = tmp_path / "cloudburst_results"
    journal(out, "a" * 12, *scenes(2), *results(2), task(settled=True), end(Status.COMPLETE))
    journal(out, "b" * 12, *scenes(3), *results(1), task())
    assert cloudburst("runs") == 0
    lines = shown(capsys).splitlines()
    assert lines[0] == "目录 cloudburst_results"
    assert lines[1].split() == ["运行", "状态", "场景", "渲染节点", "费用", "开始时间"]
    assert [line.split()[1] for line in lines[2:4]] == ["完成", "已中断"]
    assert lines[-1] == f"恢复运行：cloudburst resume {'b' * 12}"


def test_a_run_whose_videos_a_later_run_made_is_not_proposed(tmp_path, capsys):
    out = tmp_path / "cloudburst_results"
    journal(out, "old", *scenes(2))
    journal(out, "other", *scenes(3), end(Status.INTERRUPTED), began=NOON - 60)
    journal(out, "new", *scenes(2), *results(2), end(Status.COMPLETE), began=NOON + 60)
    assert cloudburst("runs") == 0
    told = shown(capsys)
    assert "old: its videos are from run new, which is complete" in told
    assert told.endswith("resume with: cloudburst resume other")
    assert cloudburst("runs", "--json") == 0
    listed = {run["run"]: run["successor"] for run in json.loads(capsys.readouterr().out)}
    assert listed == {"old": "new", "other": "", "new": ""}


def test_runs_whose_videos_are_in_s3(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    films, batch = S3Prefix("films", "out/"), S3Prefix("films", "out/batch_1/")
    journal(journal_folder(films), "night", *scenes(2), *results(1))
    journal(journal_folder(batch), "old", *scenes(1), *results(1), end(Status.COMPLETE))
    assert cloudburst("runs", "--to", "s3://films/out") == 0
    told = shown(capsys)
    assert "in s3://films/out/\nrun  " in told
    assert "in s3://films/out/batch_1/\nold" in told
    assert told.endswith("resume with: cloudburst resume night --to s3://films/out/")
    monkeypatch.setenv("RESULTS_DIR", "s3://films/out/")
    assert cloudburst("runs") == 0
    assert shown(capsys).endswith("resume with: cloudburst resume night")
    assert cloudburst("runs", "--to", "s3://films/out/", "--json") == 0
    folders = [run["folder"] for run in json.loads(capsys.readouterr().out)]
    assert folders == ["s3://films/out/", "s3://films/out/batch_1/"]
    assert cloudburst("runs", "--to", "s3://films/other/") == 0
    assert shown(capsys) == "No runs of this machine in s3://films/other/."


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits_the_terminal(tmp_path, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    name = "a-name-of-sixty-four-letters-which-is-the-most-that-a-run-may-be"
    journal(tmp_path / "out", name, *scenes(1000), *results(999), task())
    journal(tmp_path / "out", "b" * 12, *scenes(3))
    assert cloudburst("runs", "--to", "out") == 0
    out = shown(capsys, width)
    assert "999/1000   1×2 vCPU  ≥$0.0028" in out
    assert "interrupted" in out
    assert out.endswith(f"resume with: cloudburst resume {name} --to out")
    table = out.partition("\n\n")[0]
    joined = "".join(line.split("  ")[0] for line in table.splitlines()[2:])
    assert name in joined


def test_a_scene_counts_if_its_video_is_of_what_it_is_now(tmp_path, capsys):
    out = tmp_path / "cloudburst_results"
    journal(out, "a" * 12, *scenes(4), *results(2), *results(1, "an older picture"))
    assert cloudburst("runs") == 0
    assert "interrupted       1/4" in shown(capsys)


def test_a_run_that_goes_on_names_its_process(tmp_path, capsys):
    out = tmp_path / "out"
    journal(out, "a" * 12, *scenes(4))
    journal(out, "b" * 12, *scenes(4), began=NOON - 9)

    async def hold():
        async with claim_outputs(out, ["s1"], run="a" * 12, overwrite=False):
            await anyio.to_thread.run_sync(lambda: cloudburst("runs", "--to", "out"))

    anyio.run(hold)
    told = shown(capsys)
    assert "aaaaaaaaaaaa  running" in told
    assert f"aaaaaaaaaaaa: process {os.getpid()} on " in told
    assert "resume with: cloudburst resume bbbbbbbbbbbb --to out" in told


def test_a_run_of_which_nothing_was_written_cannot_be_resumed(tmp_path, capsys):
    async def begin():
        async with open_journal(tmp_path / "out", "a" * 12, call=inline):
            pass

    anyio.run(begin)
    assert cloudburst("runs", "--to", "out") == 0
    told = shown(capsys)
    assert "aaaaaaaaaaaa  interrupted" in told
    assert "resume" not in told


def test_folders_of_the_folder_are_listed_too(tmp_path, capsys):
    """The calls of old make one for each run."""
    journal(tmp_path / "my results" / "batch_77", "77", *scenes(2), *results(1))
    journal(tmp_path / "my results" / "batch_78", "78", *scenes(2), *results(2), end())
    assert cloudburst("runs", "--to", "my results") == 0
    told = shown(capsys)
    assert "in my results/batch_77\nrun  " in told
    assert "\n77            interrupted" in told
    assert "in my results/batch_78\n78            complete" in told
    assert "resume with: cloudburst resume 77 --to 'my results/batch_77'" in told


def test_an_unreadable_run_hides_no_other(tmp_path, capsys):
    out = tmp_path / "cloudburst_results"
    journal(out, "a" * 12, *scenes(2), end())
    (out / ".cloudburst" / "broken.sqlite").write_bytes(b"garbage" * 999)
    assert cloudburst("runs") == 0
    told = shown(capsys)
    assert "broken        unreadable" in told
    assert "broken.sqlite is damaged" in "".join(told.split("\n"))
    assert "aaaaaaaaaaaa  complete" in told
    assert "resume with" not in told


def test_as_json(tmp_path, capsys):
    out = tmp_path / "cloudburst_results"
    journal(out, "a" * 12, *scenes(3), *results(2), task(), task("t2", usage=None))
    journal(out, "b" * 12, *scenes(3), *results(3), end(Status.COMPLETE, NOON + 8), began=NOON - 9)
    assert cloudburst("runs", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first == {
        "run": "a" * 12,
        "folder": str(out),
        "state": "interrupted",
        "process": "",
        "started_at": "2026-09-21T14:13:20+00:00",
        "ended_at": None,
        "processes": 1,
        "scenes": 3,
        "videos": 2,
        "workers": 2,
        "sizes": ["2 vCPU, 4 GB"],
        "usd": str(usd_billed(task().usage)),
        "final": False,
        "successor": "",
        "error": "",
    }
    assert Decimal(first["usd"]) > 0
    assert (second["state"], second["ended_at"]) == ("complete", "2026-09-21T14:13:28+00:00")
    assert (second["usd"], second["final"]) == (None, True)


def test_the_folder_of_the_settings(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    journal(tmp_path / "results", "a" * 12, *scenes(2))
    assert cloudburst("runs") == 0
    assert "in results\nrun  " in shown(capsys)


def test_nothing_is_written_by_looking(tmp_path, capsys):
    out = tmp_path / "cloudburst_results"
    journal(out, "a" * 12, *scenes(2), end())
    shutil.copytree(out, tmp_path / "before")
    assert cloudburst("runs") == 0
    assert "complete" in shown(capsys)
    for folder in (out, tmp_path / "before"):
        assert [path.name for path in (folder / ".cloudburst").iterdir()] == ["a" * 12 + ".sqlite"]


def test_the_command_itself(tmp_path, capsys):
    journal(tmp_path / "out", "a" * 12, *scenes(2))
    assert main(["runs", "--to", "out"]) == 0
    assert "aaaaaaaaaaaa  interrupted" in shown(capsys)


ARN = "arn:aws:ecs:eu-west-3:123456789012:task/films/0123456789abcdef"


def recent(name=ARN, **more):
    """A task whose process ended a minute ago, before the task had stopped."""
    now = time.time()
    usage = replace(task().usage, created_at=now - 99, pull_started_at=now - 90, last_seen_at=now)
    return replace(task(name), **{"usage": usage, "stopped_at": now - 60} | more)


@pytest.fixture
def silent_aws(monkeypatch):
    """An address at which calls are accepted and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setattr("cloudburst.outputs.final_bills.ANSWER_TIMEOUT", 0.5)
        yield server


def was_asked(server):
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_without_an_answer_of_aws_the_bill_stays_as_it_is_known(
    tmp_path, capsys, caplog, silent_aws
):
    journal(tmp_path / "cloudburst_results", "a" * 12, *scenes(1), recent(), end())
    assert cloudburst("runs") == 0
    assert "≥$0.0026" in shown(capsys)
    assert "try again later: AWS did not answer within 0.5 s" in caplog.text
    assert was_asked(silent_aws)


@pytest.mark.parametrize(
    "known",
    [
        recent(settled=True),
        recent(usage=None),
        recent("local-1"),
        recent("http://10.0.0.1:5000#3"),
        task(ARN),
    ],
    ids=["settled", "not billed", "local", "endpoint", "long ago"],
)
def test_aws_is_asked_only_for_what_it_may_know(tmp_path, capsys, silent_aws, known):
    journal(tmp_path / "cloudburst_results", "a" * 12, *scenes(1), known, end())
    assert cloudburst("runs") == 0
    assert not was_asked(silent_aws)


def test_aws_is_asked_for_a_day_after_a_task_was_stopped(tmp_path, capsys, silent_aws):
    """Its client did not see the task in the last days, for example because it had no network."""
    now = time.time()
    usage = replace(recent().usage, last_seen_at=now - 3 * 86_400)
    known = recent(usage=usage, stopped_at=now - 23 * 3600)
    journal(tmp_path / "cloudburst_results", "a" * 12, *scenes(1), known, end())
    assert cloudburst("runs") == 0
    assert was_asked(silent_aws)


def test_aws_is_not_asked_for_a_run_that_goes_on(tmp_path, capsys, silent_aws):
    out = tmp_path / "cloudburst_results"
    journal(out, "a" * 12, *scenes(1), recent())

    async def hold():
        async with claim_outputs(out, ["s1"], run="a" * 12, overwrite=False):
            await anyio.to_thread.run_sync(lambda: cloudburst("runs"))

    anyio.run(hold)
    assert "running" in shown(capsys)
    assert not was_asked(silent_aws)


@pytest.mark.parametrize("last", [end(Status.COMPLETE), end(Status.PARTIAL), None])
def test_a_run_whose_program_has_further_scenes_is_open(tmp_path, capsys, last):
    """``resume`` is not proposed, because it has nothing to do."""
    out = tmp_path / "cloudburst_results"
    entries = [process(NOON, run="story", source_ended=False), *scenes(2), *results(2)]
    journal(out, "story", *entries, *([last] if last else []))
    journal(out, "begun", process(NOON, run="begun", source_ended=False), *scenes(2), *results(1))
    assert cloudburst("runs") == 0
    told = shown(capsys)
    assert "story         open         " in told
    assert "begun         interrupted  " in told
    assert "story: the program that gives the scenes has not given its last one" in told
    assert told.endswith("resume with: cloudburst resume begun")
