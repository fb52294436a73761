"""Many faults of S3 at once, drawn at random: nothing is lost, nothing is there twice."""

from __future__ import annotations

import pytest

from support.s3_fault_mixes import drawn

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(90)]

SEEDS = range(100)
SCENES = 5


@pytest.mark.nightly
@pytest.mark.parametrize("seed", SEEDS)
async def test_random_faults_of_s3_lose_no_video(world, seed, told_at_debug):
    faults = drawn(seed, SCENES)
    large = "scene 7MB" if seed % 3 == 0 else "scene"
    scenes = world.scenes(0, large, *[f"scene {number}" for number in range(1, SCENES)])
    names = [scene["scene_name"] for scene in scenes]
    for fault in faults:
        world.emulator.add_fault(fault)
    try:
        told = await world.run(scenes)
        world.clear_faults()
        world.hold(told, names)
        world.hold_secrets(told_at_debug(), told.report.model_dump_json(), repr(told))
    except BaseException as exc:
        listed = "\n".join(map(str, faults))
        exc.add_note(listed)
        raise
