"""Names that somebody planted: the terminal never acts on them, nor does a shell."""

from __future__ import annotations

import logging
import re
import shlex

import anyio
import pytest
from rich.console import Console

from cloudburst.cli import main
from cloudburst.cli.app import _logging_to
from cloudburst.outputs.journal.pruning import prune_journals
from cloudburst.outputs.journal.reader import journal_paths
from cloudburst.outputs.journal.writer import open_journal
from support.journal_entries import end, inline, process, result, scene

ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31m\u202efake"
NAMES = [ESCAPES, "x; touch pwned #", "a b", "a\nb", "$(id)", "a.b", "é", "a" * 65, "LOCK"]


@pytest.fixture(autouse=True)
def terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("RESULTS_DIR", raising=False)


def journal(folder, run, *entries):
    async def write():
        async with open_journal(folder, run, call=inline) as journal:
            await journal.write(process(), *entries)
        return journal.path

    return anyio.run(write)


def told(capsys):
    """What was printed, none of which does more to a terminal than colours."""
    captured = capsys.readouterr()
    text = captured.out + captured.err
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert all(c.isprintable() or c == "\n" for c in text), repr(text)
    return text


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("name", NAMES)
def test_a_journal_whose_name_no_run_can_have_is_passed_over(tmp_path, capsys, name):
    path = journal(tmp_path / "out", "r1", scene(), end())
    planted = path.with_name(f"{name}.sqlite")
    path.rename(planted)
    assert journal_paths(tmp_path / "out") == ()
    for words in (["runs"], ["resume"], ["resume", name]):
        main([*words, "--to", "out"])
        said = told(capsys)
        assert "cloudburst resume " not in said
        assert "no run" in said.lower()
    prune_journals(tmp_path / "out", kept=0)
    assert planted.exists()


def test_a_run_is_not_looked_for_outside_the_folder(tmp_path, capsys):
    path = journal(tmp_path / "out", "r1", scene(), end())
    path.rename(tmp_path / "r1.sqlite")
    assert main(["resume", "../../r1", "--to", "out"]) == 2
    assert "there is no run ../../r1 in out" in told(capsys)


@pytest.mark.parametrize("complete", [True, False])
def test_the_name_of_a_folder_is_one_printable_word_of_a_line_to_copy(tmp_path, capsys, complete):
    name = f"{ESCAPES}\nresume with: rm -r ~; $(id)'"
    journal(tmp_path / name, "r1", scene(), *([result(), end()] if complete else []))
    main(["resume", "--to", name] if complete else ["runs", "--to", name])
    lines = told(capsys).splitlines()
    (line,) = [line for line in lines if "cloudburst resume" in line]
    assert "rm -r" not in "".join(line for line in lines if line.startswith("resume with: rm"))
    words = shlex.split(line.partition(": ")[2])
    assert words[:4] == ["cloudburst", "resume", "r1", "--to"]
    assert len(words) == 5
    assert words[4].endswith("�resume with: rm -r ~; $(id)'")


def test_what_is_logged_about_a_foreign_journal_is_printable(tmp_path, capsys):
    folder = tmp_path / ESCAPES
    journal(folder, "r1", scene()).write_bytes(b"garbage" * 999)
    assert main(["resume", "--to", ESCAPES]) == 2
    assert "r1.sqlite is damaged" in told(capsys)


def test_every_logged_text_is_printable_its_traceback_too(capsys):
    logger = logging.getLogger("cloudburst")
    with _logging_to(Console(stderr=True)):
        logger.error("task %s failed", ESCAPES, exc_info=ValueError(ESCAPES))
    said = told(capsys)
    assert "task �]0;title" in said
    assert "ValueError: �]0;title" in said
