"""Random mixes of faults of S3, each drawn by a seed, that a run survives."""

from __future__ import annotations

import random

from cloudburst.testing import Fault, s3_fault

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


def drawn(seed: int, scenes: int) -> list[Fault]:
    """Return the mix of a seed for a run of this number of scenes."""
    rng = random.Random(f"S3 {seed}")
    return [
        s3_fault(rng.choice(names), operation, presigned=presigned, skip=rng.randrange(2 * scenes))
        for operation, presigned, names in rng.sample(TARGETS, rng.randint(2, len(TARGETS)))
        for _ in range(rng.randint(1, MAX_FAULTS))
    ]
