"""The short benchmarks run, and what they compare with a goal is right on a small scale too."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cloudburst.service.job_output import ChildLine
from support.project import ROOT

pytestmark = [pytest.mark.real, pytest.mark.timeout(100)]

BENCHMARKS = ROOT / "benchmarks"


def run(name, *arguments, seconds=90):
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds)


def test_the_service_understands_the_fake_render_process(tmp_path):
    (tmp_path / "job.json").write_text("{}")
    program = BENCHMARKS / "fake_render/render_process.py"
    command = [sys.executable, "-I", "-S", program, "0.01", "5000", tmp_path / "times", tmp_path]
    # It ends all processes of its group when its standard input is closed.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        lines = [ChildLine.model_validate_json(line) for line in process.stdout]
    assert lines[-1].done.size == (tmp_path / "video.mp4").stat().st_size == 5000


@pytest.mark.nightly
def test_the_share_of_encoding_is_printed(watch):
    """Whether the goal is met depends on what else the machine does."""
    done = run("pipeline.py", "overlap", "--scenes", "1")
    assert "goal 95%" in done.stdout, done.stdout + done.stderr
    assert done.returncode == int("MISSED" in done.stdout), done.stdout + done.stderr


@pytest.mark.nightly
def test_the_ideal_schedule_is_the_best_one(watch):
    """Sums by hand: start, one upload, all encodes of the busiest task, and one download."""
    code = "import fargate; print([round(s.ideal, 2) for s in fargate.SCENARIOS])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=BENCHMARKS
    )
    with_transfers = 9 + 20 * 4 / 3 / 10 + 4 + 2
    hand_made = [9 + 4, 14 + 4, 43 + 20, round(with_transfers, 2), 9 + 8]
    assert done.stdout.strip() == str([float(seconds) for seconds in hand_made])


@pytest.mark.nightly
def test_a_fleet_in_virtual_time(watch):
    done = run("fleet.py", "--no-real", "--virtual", "20", "200", "--client", "5", "50")
    assert "every scene is rendered: complete" in done.stdout, done.stdout + done.stderr
    assert "at most 20 tasks at once: 20" in done.stdout
    assert "no task is left running: 0" in done.stdout


@pytest.mark.nightly
def test_what_eight_scenes_cost(watch):
    done = run("cost.py", "--seeds", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("met ") == 2


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_sources_beside_known_lists(watch):
    done = run("schedule.py", "--rows", "sources", "--seeds", "3", seconds=290)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("met ") == 6
