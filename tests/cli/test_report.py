"""report as a person or a script sees it."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import webbrowser
from contextlib import closing
from dataclasses import replace

import anyio
import anyio.to_thread
import pytest

from cloudburst.cli import main
from cloudburst.models.locations import S3Prefix
from cloudburst.models.report import Prediction, Status
from cloudburst.outputs.folder import claim_outputs
from cloudburst.outputs.journal.reader import journal_folder
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import end, failure, inline, process, result, scene, task

NOON = 1_790_000_000.0
BEGAN = 1_000.25  # as in the entries of `support.journal_entries`


@pytest.fixture(autouse=True)
def terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESULTS_DIR", raising=False)


def cloudburst(*arguments):
    return main(arguments)


def journal(folder, run, *entries, began=BEGAN):
    async def write():
        async with open_journal(folder, run, call=inline) as journal:
            await journal.write(process(began, run=run), *entries)

    anyio.run(write)


def data(path):
    text = path.read_text("utf-8")
    return json.loads(re.search(r'type="application/json" id="data">(.*?)</script>', text)[1])


def test_newest_run_of_the_folder_is_shown(tmp_path, capsys):
    out = tmp_path / "cloudburst_results"
    journal(out, "old", scene("a"), result("a"), end())
    journal(out, "new", scene("b"), result("b"), task(settled=True), end(), began=NOON)
    assert cloudburst("report") == 0
    assert capsys.readouterr().out == "Report: cloudburst_results/report.html\n"
    page = data(out / "report.html")
    assert (page["run"], page["state"], page["title"]) == ("new", "complete", out.name)
    assert page["resume"] is None
    assert [entry["scene"] for entry in page["report"]["scenes"]] == ["b"]


def test_named_run_is_shown_in_a_named_file(tmp_path):
    out = tmp_path / "out put"
    journal(out, "one", scene("a"), result("a"), scene("b"), failure("b"), end(Status.PARTIAL))
    journal(out, "two", scene("c"), result("c"), end(), began=NOON)
    arguments = ("report", "one", "--to", str(out), "--output", "pages/one.html")
    assert cloudburst(*arguments) == 0
    page = data(tmp_path / "pages/one.html")
    assert page["resume"] == f"cloudburst resume one --to '{out}'"
    assert (page["problems"][0]["code"], page["problems"][0]["names"]) == ("upload", ["b"])


def test_killed_run_is_interrupted_and_one_that_goes_on_is_running(tmp_path):
    out = tmp_path / "cloudburst_results"
    retried = replace(failure("b"), given_up=False)
    journal(out, "killed", scene("a"), result("a"), scene("b"), retried, task())
    assert cloudburst("report") == 0
    page = data(out / "report.html")
    assert page["state"] == "interrupted"
    assert page["problems"] == []
    assert page["report"]["cost"]["final"] is False
    assert page["report"]["wall_seconds"] == 1020.0 - BEGAN

    async def go_on():
        async with claim_outputs(out, ["b"], run="killed", overwrite=False, resume=True):
            assert await anyio.to_thread.run_sync(cloudburst, "report") == 0

    anyio.run(go_on)
    page = data(out / "report.html")
    assert page["state"] == "running"
    assert page["report"]["workers"][0]["stopped_at"] is None
    assert page["resume"] is None


def test_page_of_videos_in_s3_is_in_the_current_folder(tmp_path, monkeypatch, capsys):
    to = S3Prefix(bucket="films", prefix="out/")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    journal(journal_folder(to), "r1", scene("a"), result("a"), end())
    assert cloudburst("report", "--to", "s3://films/out/") == 0
    assert capsys.readouterr().out == "Report: report-r1.html\n"
    assert data(tmp_path / "report-r1.html")["title"] == "s3://films/out/"


def test_page_is_opened_in_the_browser(tmp_path, monkeypatch):
    out, opened = tmp_path / "cloudburst_results", []
    journal(out, "r1", scene("a"), result("a"), end())
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert cloudburst("report", "--open") == 0
    assert opened == [(out / "report.html").as_uri()]


@pytest.mark.parametrize(
    ("run", "said"), [((), "there is no run in "), (("x",), "there is no run x in ")]
)
def test_unknown_run_is_an_error(tmp_path, capsys, run, said):
    assert cloudburst("report", *run) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_another_file_of_that_name_stays(tmp_path, capsys):
    out = tmp_path / "cloudburst_results"
    journal(out, "r1", scene("a"), result("a"), end())
    (out / "report.html").write_text("mine")
    assert cloudburst("report") == 2
    assert "not a report of cloudburst" in " ".join(capsys.readouterr().err.split())
    assert (out / "report.html").read_text() == "mine"


def as_folder(path):
    path.mkdir()


def as_pipe(path):
    os.mkfifo(path)


def as_link(path):
    path.symlink_to("nowhere")


@pytest.mark.parametrize("made", [as_folder, as_pipe, as_link])
def test_what_is_no_file_stays_and_is_an_error(tmp_path, capsys, made):
    out = tmp_path / "cloudburst_results"
    journal(out, "r1", scene("a"), result("a"), end())
    made(out / "report.html")
    kind = (out / "report.html").lstat().st_mode
    assert cloudburst("report") == 2
    assert capsys.readouterr().err.startswith("no report was written:")
    assert (out / "report.html").lstat().st_mode == kind
    assert len(list(out.iterdir())) == 2


def test_place_where_no_file_can_be_is_an_error(tmp_path, capsys):
    journal(tmp_path / "cloudburst_results", "r1", scene("a"), result("a"), end())
    (tmp_path / "file").touch()
    assert cloudburst("report", "--output", "file/report.html") == 2
    assert capsys.readouterr().err.startswith("no report was written:")


@pytest.mark.parametrize(
    ("field", "number"),
    [
        ("seconds", "NaN"),
        ("seconds", "Infinity"),
        ("size", f"{10**400}"),
        ("film_finished_at", "1e300"),
        ("wall_seconds", "NaN"),
    ],
)
def test_number_that_no_page_can_show_is_an_error(tmp_path, capsys, field, number):
    out = tmp_path / "cloudburst_results"
    began = replace(process(BEGAN, run="r1"), predicted=Prediction(wall_seconds=1.0))
    journal(out, "r1", began, scene("a"), result("a"), end())
    with closing(sqlite3.connect(out / ".cloudburst/r1.sqlite")) as changed, changed:
        for table in ("processes", "results", "process_ends"):
            changed.execute(
                f"UPDATE {table} SET entry = "
                f"""replace(entry, '"{field}":', '"{field}":{number},"was":')"""
            )
    assert cloudburst("report") == 2
    assert "cannot be read" in " ".join(capsys.readouterr().err.split())


def test_damaged_journal_is_an_error(tmp_path, capsys):
    out = tmp_path / "cloudburst_results"
    journal(out, "r1", scene("a"), result("a"), end())
    (out / ".cloudburst/r1.sqlite").write_bytes(b"no journal")
    assert cloudburst("report") == 2
    assert "r1.sqlite" in "".join(capsys.readouterr().err.split())


def test_run_that_is_rendered_again_says_when_its_videos_were_made(tmp_path):
    out = tmp_path / "cloudburst_results"
    entries = [scene("a"), result("a"), scene("b"), end(Status.INTERRUPTED)]
    journal(out, "r1", *entries)
    later = replace(result("b"), phases=())
    journal(out, "r1", later, end(ended=NOON + 60), began=NOON)
    assert cloudburst("report") == 0
    page = data(out / "report.html")
    assert page["report"]["wall_seconds"] == 60.0
    assert page["report"]["scenes"][0]["skipped"]
