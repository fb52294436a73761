"""Signals at random moments and distances: no task is left, or the last words say how many."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from cloudburst import Settings
from cloudburst.aws.setup.running_tasks import cleanup
from cloudburst.testing import EmulatorConfig, FargateEmulator, Fault

pytestmark = pytest.mark.real

STORMS = 50
SPAN = 3.5
"""Seconds from the first task to the end of six scenes on three tasks, roughly."""
EARLY = 5
"""One storm in so many begins before anything was started."""
ENDED = 60.0
"""Seconds from the last signal to the end of the process, on a machine with much to do."""
BLOCKING = """
import json, sys
from cloudburst.blocking import execute_parallel_batches

scenes = json.load(open(sys.argv[1]))
execute_parallel_batches(scenes, scenes_per_batch=2, max_parallel_tasks=3, saving_dir=sys.argv[2])
"""
CLI = ("-m", "cloudburst", "render", "--backend", "fargate", "--workers", "3")
TOLD = re.compile(r"(?:up to )?(\d+) Fargate tasks? may still run. Stop them: cloudburst cleanup")


def words(program: str, told: Path, out: Path) -> list[str]:
    if program == "cli":
        return [*CLI, "--to", str(out), str(told)]
    return ["-c", BLOCKING, str(told), str(out)]


def await_tasks(aws, process) -> None:
    end = time.monotonic() + ENDED
    while not aws.tasks and process.poll() is None:
        assert time.monotonic() < end, "no task was started"
        time.sleep(0.01)


@pytest.mark.nightly
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(1, STORMS + 1))
def test_a_storm_leaves_no_task_without_a_word(seed, tmp_path, monkeypatch, make_scene):
    rng = random.Random(seed)
    program = ("cli", "blocking")[seed > STORMS // 2]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    told, out, errors = tmp_path / "scenes.json", tmp_path / "out", tmp_path / "errors"
    scenes = [make_scene(f"scene {n}", seconds=0.3) for n in range(6)]
    told.write_text(json.dumps(scenes, default=str))
    facts = EmulatorConfig(
        provisioning=0.2,
        pending=0.3,
        deprovisioning=0.1,
        worker_environment={"STUB_GENERATE_SECONDS": "1"},
    )
    with FargateEmulator(facts) as aws:
        if rng.random() < 0.5:  # stops that take so long that a person loses patience
            aws.add_fault(Fault(operation="StopTask", kind="delay", seconds=4, times=None))
        with (
            errors.open("w") as stderr,
            subprocess.Popen(
                [sys.executable, *words(program, told, out)],
                env=os.environ | aws.environment,
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                process_group=0,  # as a shell with job control: signals go to it alone
            ) as process,
        ):
            try:
                if seed % EARLY:
                    await_tasks(aws, process)
                time.sleep(rng.uniform(0, SPAN))
                sent = []
                for _ in range(rng.randint(1, 10)):
                    if process.poll() is None:
                        sent.append(rng.choice([signal.SIGINT, signal.SIGTERM]))
                        process.send_signal(sent[-1])
                    time.sleep(rng.choice([rng.uniform(0, 0.2), rng.uniform(0, 3)]))
                process.wait(timeout=ENDED)
            finally:
                process.kill()
        left, said = len(aws.live), errors.read_text()
        case = f"seed {seed}, {program}, {sent}, code {process.returncode}: {said}"
        found = TOLD.search(said)
        assert not left or (found and int(found[1]) >= left), f"{left} tasks, {case}"
        assert "Task was destroyed" not in said, case
        assert "Traceback" not in said or program == "blocking" or not aws.tasks, case
        if found:
            assert program == "cli", case
            anyio.run(cleanup, Settings(**aws.environment))
        assert not aws.live, case
    assert not list(out.rglob("*.part")) or found, case
