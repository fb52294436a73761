"""Program that renders scenes with our client: ``python run_our_client.py JOB``.

JOB is a JSON file with ``scenes``, ``to``, ``workers`` and ``result``, which is the path of the
file for the figures. Environment variables select the AWS account.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))
# httpx and httpcore import these if they are installed. They belong to the tests and to the command
# line, and the environment of the old client does not have them either.
for package in ("click", "pygments", "rich", "trio"):
    sys.modules[package] = None  # type: ignore[assignment]
# The old client imports the AWS libraries at its import, outside the measured time. Ours would
# import them when it is opened.
import cloudburst.aws.fargate.backend  # noqa: E402, F401
from cloud.metrics import cpu_seconds, measure_delays, measure_pauses, peak_megabytes  # noqa: E402
from cloudburst import Client, Limits, fargate  # noqa: E402


async def main(job: dict[str, Any]) -> dict[str, Any]:
    began, cpu = time.time(), cpu_seconds()
    with measure_pauses(asyncio.get_running_loop()) as pauses:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(measure_delays, pauses)
            async with Client(fargate(), limits=Limits(workers=job["workers"])) as client:
                report = await client.render_all(job["scenes"], to=job["to"])
                returned = time.time()
            tasks.cancel_scope.cancel()
    return {
        "began": began,
        "returned": returned,
        "cpu": cpu_seconds() - cpu,
        "memory": peak_megabytes(),
        "status": report.status,
        "errors": [scene.error for scene in report.scenes if scene.error],
        "attempts": sum(scene.attempts for scene in report.scenes),
        "pauses": asdict(pauses),
    }


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    Path(job["result"]).write_text(json.dumps(anyio.run(main, job)), "utf-8")
