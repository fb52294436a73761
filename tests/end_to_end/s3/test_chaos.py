"""Many faults of S3 at once, drawn at random: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import random

import pytest

from cloudburst.testing import s3_fault

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(90)]

SEEDS = range(int(os.environ.get("CLOUDBURST_SEEDS", "1")))
PASSING = ["slow down", "internal error", "truncated", "slow", "lost", "dropped", "conflict"]
EXPIRED = ["url expired", "token expired", "clock skew"]
REFUSED = ["access denied", "no such key"]
TARGETS = [
    ("GetObject", False, PASSING),
    ("GetObject", True, PASSING + EXPIRED),
    ("PutObject", False, [*PASSING, "doubled"]),
    ("PutObject", True, [*PASSING, *EXPIRED, *REFUSED, "doubled"]),
    ("HeadObject", False, PASSING),
    ("HeadBucket", False, PASSING),
    ("ListObjectsV2", False, PASSING),
    ("DeleteObject", False, [*PASSING, "doubled"]),
]
"""Operations, whether their URLs are presigned, and faults that a run survives."""
MAX_FAULTS = 3
"""Number of faults of one target: a call is sent four times."""
SCENES = 5


def drawn(seed):
    rng = random.Random(f"S3 {seed}")
    return [
        s3_fault(rng.choice(names), operation, presigned=presigned, skip=rng.randrange(2 * SCENES))
        for operation, presigned, names in rng.sample(TARGETS, rng.randint(2, len(TARGETS)))
        for _ in range(rng.randint(1, MAX_FAULTS))
    ]


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_goes_wrong(world, seed, told_at_debug):
    faults = drawn(seed)
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
        exc.add_note(f"CLOUDBURST_SEEDS={seed + 1} pytest {__file__} -k '[{seed}]'\n{listed}")
        raise
