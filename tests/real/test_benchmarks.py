"""The benchmarks run, and what they hold against a goal is right on a small scale too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(100)]

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(name, *arguments):
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=90)


def test_moving_files_hides_behind_encoding(watch):
    done = run("pipeline.py", "--scenes", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "goal 95%: met" in done.stdout


def test_a_line_that_is_too_slow_to_hide_misses_the_goal(watch):
    done = run("pipeline.py", "--scenes", "3", "--rate", "4")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "goal 95%: MISSED" in done.stdout


def test_no_file_is_ever_whole_in_memory(watch):
    done = run("memory.py", "--scenes", "4", "--megabytes", "80", "--no-render")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("met") == 2
