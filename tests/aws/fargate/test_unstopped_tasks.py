"""A process that ends before its tasks are stopped says so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cloudburst.aws.fargate.run_registry import unstopped_tasks_message

PROGRAM = """
import sys, anyio
from cloudburst.aws.fargate.run_registry import open_run_registry, count_unstopped_tasks

async def main():
    async with open_run_registry(region="r", cluster="c", endpoint_url=None) as runs:
        for number in range(3):
            await runs.record_request("run", f"token {number}")
        runs.record_launch("token 0", "task 0")
        runs.record_launch("token 1", "task 1")
        assert count_unstopped_tasks() == 3, "a launch without an answer counts too"
        await runs.record_refusal("token 2")
        await runs.record_stop("task 1")
        if sys.argv[1] == "none":
            await runs.record_stop("task 0")

anyio.run(main)
"""


@pytest.mark.few(1)
@pytest.mark.parametrize("left", ["one", "none"])
def test_a_program_says_at_its_end_which_tasks_may_run(left, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, left],
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ("" if left == "none" else f"{unstopped_tasks_message(1)}\n")
    assert "1 Fargate task may still run. Stop them: cloudburst cleanup" in unstopped_tasks_message(
        1
    )
