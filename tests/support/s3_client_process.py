"""Client in a process of its own, whose run is from S3 to S3 and which can be killed or stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

from support.killable_render import Child
from support.project import TESTS
from support.s3_runs import KEY

_SCRIPT = """
import json, sys, anyio
from cloudburst import Client, Limits, Settings, endpoints
from support.s3_runs import HURRIED, STILL

facts = json.loads(sys.argv[1])

async def main():
    backend = endpoints(facts["address"], key=facts["key"], protocol="native", encoders=2)
    settings, limits = Settings(**facts["settings"]), Limits(workers=1)
    options = {"options": STILL, "limits": limits, "timeouts": HURRIED, "settings": settings}
    async with Client(backend, **options) as client:
        async with client.stream(facts["scenes"], **facts["run"]) as run:
            async for event in run:
                print(event.model_dump_json(), flush=True)

anyio.run(main)
"""


@contextmanager
def rendering(world, scenes, *, name=None, film=None, resume=True, overwrite=False, keys=None):
    """Run a client, and kill it at the end of the block."""
    facts = {
        "address": world.address,
        "key": KEY,
        "settings": {**world.emulator.environment, **(keys or world.keys)},
        "scenes": scenes,
        "run": {
            "to": world.to,
            "name": name,
            "film": film,
            "resume": resume,
            "overwrite": overwrite,
        },
    }
    code = f"import sys; sys.path.insert(0, {str(TESTS)!r})\n{_SCRIPT}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(facts)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    with process:
        child = Child(process)
        try:
            yield child
        finally:
            child.send(signal.SIGKILL)
            child.end()
