"""Killed at any moment, a run on this machine goes on: each video is made once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.output_files import files_of_command
from support.sample_media import quadrants, tone
from support.video_probe import probe

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(120)]

SEEDS = range(30)
SECONDS = {"long": 2.0, "middle": 1.0, "short": 0.5, "tiny": 0.3}
SPAN = 2.0
"""Seconds that a run of them takes, roughly, from its first event on."""
CLI = [sys.executable, "-m", "cloudburst"]
RENDER = ["render", "--backend", "local", "--size", "426x240"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A file with scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    quadrants(640, 360).save(folder / "picture", "PNG")
    for name, seconds in SECONDS.items():
        tone(folder / name, "-f", "wav", seconds=seconds)
    told = [{"name": n, "image": "picture", "audio": n} for n in SECONDS]
    (folder / "scenes.json").write_text(json.dumps(told))
    return folder / "scenes.json"


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CLI, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )


def killed(process: subprocess.Popen[str], after: float) -> list[dict]:
    """Kill it so long after its first event; returns all that it told."""
    first = process.stdout.readline()
    assert first, process.stderr.read()
    try:
        output, _ = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=20)
    return events_of(first + output)


def events_of(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines() if line.endswith("}")]


def completed(events: list[dict]) -> set[str]:
    return {event["scene"] for event in events if event["type"] == "scene.completed"}


def stamps(out: Path, names: set[str]) -> dict[str, int]:
    return {name: (out / f"{name}.mp4").stat().st_mtime_ns for name in names}


@pytest.mark.nightly
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_and_resumed(seed, scenes, watch, tmp_path):
    rng, out = random.Random(seed), tmp_path / "out"
    lives = [[*RENDER, "--workers", "2", str(scenes)]]
    lives += [["resume"]] * rng.randint(0, 1)
    told: set[str] = set()
    before: dict[str, int] = {}
    for words in lives:
        with start(*words, "--to", str(out), "--json") as process:
            told |= completed(killed(process, rng.uniform(0, SPAN)))
        before |= stamps(out, told)
    assert not watch.left_after(4)
    last = subprocess.run(
        [*CLI, "resume", "--to", str(out), "--json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert last.returncode == 0, last.stderr
    events = events_of(last.stdout)
    if told != set(SECONDS) or events:  # else the killed one was through, and said so
        assert completed(events) == set(SECONDS)
        skipped = {e["scene"] for e in events if e.get("skipped")}
        assert told <= skipped
        assert events[-1]["status"] == "complete"
        assert not list(watch.temp.iterdir()), "a service removes what killed ones have left"
    else:
        assert "is complete: 4 videos" in last.stdout
    assert stamps(out, told) == before, "what was done is not touched"
    for name, seconds in SECONDS.items():
        probe(out / f"{name}.mp4").check(size=(426, 240), seconds=seconds)
    assert {path.name for path in out.iterdir()} == files_of_command(SECONDS)


@pytest.mark.nightly
def test_the_last_words_of_an_interrupted_run_are_how_to_go_on(scenes, watch, tmp_path):
    out = tmp_path / "out"
    with start(*RENDER, "--workers", "1", "--to", str(out), str(scenes)) as process:
        while not (done := {path.stem for path in out.glob("*.mp4")}):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        before = stamps(out, done)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    hint = next(line for line in output.splitlines() if line.startswith("Resume with: cloudburst"))
    again = hint.partition("cloudburst ")[2].split()
    assert again[0] == "resume"
    assert again[2:] == ["--to", str(out)]
    with start(*again) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "4 videos of 4 scenes" in output
    assert stamps(out, done) == before, "what was done is not touched"
