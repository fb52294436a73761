"""The time limit for refusals of a new execution role, in virtual time."""

from __future__ import annotations

import anyio

from cloudburst.aws.fargate.launch_failures import RolePropagation
from cloudburst.errors import Remedy
from cloudburst.models.failures import ROLE_NOT_READY_AT_START
from cloudburst.testing import VirtualClockLoop


def test_a_refusal_long_after_the_last_one_is_the_first_again():
    async def refused():
        role = RolePropagation()
        for pause in (0, 50, 3600, 50):
            await anyio.sleep(pause)
            assert role.failure_of(ROLE_NOT_READY_AT_START) is ROLE_NOT_READY_AT_START
        await anyio.sleep(50)
        assert role.failure_of(ROLE_NOT_READY_AT_START).remedy is Remedy.FIX_SETUP

    anyio.run(refused, backend_options={"loop_factory": VirtualClockLoop})
