"""Many faults at once, and the client is killed; the next one brings the run to its end."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, replace
from decimal import Decimal
from pprint import pformat

import anyio
import pytest

from cloudburst import Timeouts
from cloudburst.aws.fargate.run_registry import registered_runs
from support.fault_mixes import ATTEMPTS, drawn
from support.killable_render import rendering, stopped
from support.output_files import files_of_client
from support.run_invariants import EXACT, PARTS, bill

pytestmark = [
    pytest.mark.real,
    pytest.mark.chaos,
    pytest.mark.timeout(300),
]

SEEDS = range(40)
"""Each takes half a minute."""
TIMEOUTS = Timeouts(call=4, launch=90, ready=20, scene=60, silence=8, stop=30, settle=40)
STARTING = 3.0
"""Seconds from the start of a client to its first event, roughly."""
SPAN = 6.0
"""Seconds from there to the end of a run with a few faults, roughly."""
OVER = 200.0
"""Seconds for the last life, on a machine that has more to do."""

SCRIPT = """
import json, sys, anyio
from cloudburst import Client, Limits, Settings, Timeouts, fargate
from cloudburst.models import task as billing

billing.MINIMUM_BILLED_SECONDS = 0  # tasks live for seconds here: all bills would be the same
scenes, out, told = json.load(open(sys.argv[1])), sys.argv[2], json.loads(sys.argv[3])

async def main():
    backend = fargate(Settings(**told["settings"]))
    timeouts, limits = Timeouts(**told["timeouts"]), Limits(**told["limits"])
    async with Client(backend, limits=limits, timeouts=timeouts) as client:
        async with client.stream(scenes, to=out, resume=True) as run:
            async for event in run:
                print(event.model_dump_json(), flush=True)
            report = await run.settled()
            told_report = {"type": "report", "report": report.model_dump(mode="json")}
            print(json.dumps(told_report), flush=True)

anyio.run(main)
"""


def lives_of(rng):
    """Seconds after its first event, or negative ones after its start, at which each is killed."""
    for _ in range(rng.choice([1, 1, 2])):
        early = rng.random() < 0.15
        yield -rng.uniform(0, STARTING) if early else rng.uniform(0, SPAN)


def ours(mix):
    """The same mix with our service in each task: a task that lives may be taken over."""
    del mix.config["worker_environment"]
    mix.scenes = min(mix.scenes, 5)
    # What only the small worker can be told to do it does not do.
    mix.tasks = {n: replace(fault, environment={}) for n, fault in mix.tasks.items()}
    mix.config["task_faults"] = mix.tasks
    return mix


def killed(child, moment):
    """Let it live until then."""
    if moment < 0:
        time.sleep(-moment)
    else:
        while not child.events and child.process.poll() is None:
            time.sleep(0.01)
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(timeout=moment)
    child.send(signal.SIGKILL)
    assert child.end() in {0, -signal.SIGKILL}, child


def of_type(events, kind):
    return [event for event in events if event["type"] == kind]


@pytest.mark.long(30)
@pytest.mark.nightly
@pytest.mark.parametrize("seed", SEEDS)
def test_clients_killed_amid_random_faults_lose_no_video(
    seed, account, our_account, scenes, tmp_path
):
    rng = random.Random(f"lives {seed}")
    mix, opened = drawn(seed), account
    if seed % 4 == 1:
        mix, opened = ours(mix), our_account
    deaths, told = list(lives_of(rng)), set()
    child = None
    try:
        with opened(**mix.config) as aws:
            for fault in mix.calls:
                aws.add_fault(fault)
            inputs = scenes(mix.scenes)
            facts = {
                "settings": aws.environment | mix.settings,
                "timeouts": asdict(TIMEOUTS),
                "limits": {"workers": mix.workers, "attempts": ATTEMPTS},
            }
            place = (str(tmp_path / "scenes.json"), str(tmp_path / "out"))
            program = ("-c", SCRIPT, *place, json.dumps(facts))
            for moment in deaths:
                with rendering(aws, inputs, tmp_path, program=program) as child:
                    killed(child, moment)
                told |= {event["scene"] for event in of_type(child.events, "scene.completed")}
            with rendering(aws, inputs, tmp_path, program=program) as child:
                child.process.wait(timeout=OVER)
                assert child.end() == 0, child
            hold(aws, mix, child.events, told, tmp_path / "out")
        assert not anyio.run(registered_runs), "nobody need look for its tasks any more"
    except BaseException as exc:
        exc.add_note(f"killed at {deaths}\n{pformat(mix)}\n{child}")
        raise


def hold(aws, mix, events, told, out):
    """What must be so, however the lives before have ended."""
    (last,) = of_type(events, "report")
    report, names = last["report"], [f"scene {number}" for number in range(mix.scenes)]
    assert report["status"] == "complete"
    hold_videos(report, events, names, told, out)
    hold_bill(aws, mix, report)


def hold_videos(report, events, names, told, out):
    """Each is there once and whole, and what was told to be done was not done again."""
    done = of_type(events, "scene.completed")
    assert Counter(event["scene"] for event in done) == Counter(names)
    assert told <= {event["scene"] for event in done if event["skipped"]}
    videos = [entry["video"] for entry in report["scenes"]]
    assert [video["scene"] for video in videos] == names
    assert {path.name for path in out.iterdir()} == files_of_client(names)
    for video in videos:
        content = (out / f"{video['scene']}.mp4").read_bytes()
        assert len(content) == video["size"]
        assert hashlib.sha256(content).hexdigest() == video["sha256"]


def hold_bill(aws, mix, report):
    """No task lives, and each of all lives is on the bill as the account has it."""
    assert not aws.live
    tasks = stopped(aws)
    costs = {worker["task"]: worker["cost"] for worker in report["workers"] if worker["task"]}
    assert set(costs) == {task.arn for task in tasks}, "the tasks of all lives"
    whole = report["cost"]
    if not tasks:
        assert whole is None
        return
    for task in tasks:
        cost = costs[task.arn]
        seconds, usd = bill(task, public=mix.settings["public_address"])
        assert cost["billed_seconds"] == seconds, task
        assert abs(Decimal(cost["usd"]) - usd) <= EXACT, task  # prices per second are rounded
        assert cost["final"]
    assert whole["final"]
    for part in (*PARTS, "usd"):
        assert Decimal(whole[part]) == sum(Decimal(cost[part]) for cost in costs.values())
    assert {task.started_by for task in tasks} == {f"cloudburst/{report['run']}"}
    assert not any(worker["possibly_running"] for worker in report["workers"])
    notes = Counter(call.note for call in aws.calls if call.operation == "RunTask")
    assert not notes["ConflictException"], "a token was used for two requests"
