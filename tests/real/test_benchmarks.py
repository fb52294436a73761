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


def test_eight_scenes_on_emulated_fargate(watch):
    done = run("fargate.py", "--quick", "--no-old")
    said = done.stdout.splitlines()
    assert done.returncode == int("MISSED" in done.stdout), done.stdout + done.stderr
    for what in ("videos of the right size", "tasks left running"):
        (line,) = (line for line in said if what in line)
        assert line.endswith(" met"), done.stdout


def test_the_ideal_schedule_is_the_best_one(watch):
    """The sums are made by hand: start, then what the busiest of four tasks has to do."""
    code = "import fargate; print([round(s.ideal, 2) for s in fargate.SCENARIOS])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=BENCHMARKS
    )
    pipelined = 9 + 20 * 4 / 3 / 10 * 2 + 2 + 2
    hand_made = [9 + 4, 14 + 4, 43 + 20, round(pipelined, 2), 9 + 8]
    assert done.stdout.strip() == str([float(seconds) for seconds in hand_made])


def test_a_fleet_in_virtual_time(watch):
    done = run("fleet.py", "--no-real", "--virtual", "20", "200")
    assert "every scene is done: complete" in done.stdout, done.stdout + done.stderr
    assert "never more tasks: 20 at most" in done.stdout
    assert "none left running: 0" in done.stdout


def test_what_eight_scenes_cost(watch):
    done = run("cost.py", "--seeds", "8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("met ") == 2
