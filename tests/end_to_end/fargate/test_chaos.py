"""Many faults at once, drawn at random: every video comes, nothing is left, the bill is right."""

from __future__ import annotations

from pprint import pformat

import pytest

from cloudburst import Limits, Timeouts
from cloudburst.events import SceneCopied, SceneEncoding, SceneFailed
from support.fault_mixes import ATTEMPTS, HARMFUL, TASKS, drawn, lost_tasks
from support.run_invariants import hold, tried

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.chaos,
    pytest.mark.timeout(150),
    pytest.mark.usefixtures("by_the_second"),
]

SEEDS = range(200)
"""200 are enough to meet each fault in company of each other one."""
TIMEOUTS = Timeouts(call=4, launch=90, ready=15, scene=30, silence=5, stop=30, settle=40)


@pytest.mark.long(20)
@pytest.mark.few(1)
@pytest.mark.parametrize("seed", SEEDS)
async def test_random_faults_lose_no_video(seed, account, scenes, out):
    mix = drawn(seed)
    try:
        with account(**mix.config) as aws:
            for fault in mix.calls:
                aws.add_fault(fault)
            trial = await tried(
                aws,
                scenes(mix.scenes),
                out,
                limits=Limits(workers=mix.workers, attempts=ATTEMPTS),
                timeouts=TIMEOUTS,
                settings=mix.settings,
            )
            hold(trial, failed=set_aside(trial, mix), resumed=mix.resumed)
    except BaseException as exc:
        exc.add_note(pformat(mix))
        raise


def test_two_hundred_mixes_meet_lost_interfaces():
    mixes = [mix for mix in map(drawn, range(200)) if mix.config.get("lost_interfaces")]
    assert len(mixes) > 30
    for mix in mixes:
        lost = lost_tasks(mix.config["seed"], mix.config["lost_interfaces"], TASKS)
        assert lost
        assert len(lost) + len(mix.tasks) <= HARMFUL


def set_aside(trial, mix):
    """Scenes under which two tasks crashed: nobody can know that they are innocent."""
    killers = {task.arn for task in trial.tasks if task.number in mix.crashing}
    failed = [event for event in trial.told(SceneFailed) if event.kind == "PoisonedSceneError"]
    suspects = {event.scene: set() for event in failed}
    for event in (*trial.told(SceneEncoding), *trial.told(SceneCopied)):
        suspects.get(event.scene, set()).update({event.task} & killers)
    return {scene for scene, tasks in suspects.items() if len(tasks) > 1}
