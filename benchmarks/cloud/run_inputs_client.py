"""Program that checks inputs with our client: ``python run_inputs_client.py KIND JOB``.

KIND is ``preflight``, ``command``, ``program`` or ``resume``: see ``benchmarks/inputs.py``. JOB is
the file that `cloud.account.run_client` writes.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))
from cloud.metrics import cpu_seconds
from cloudburst.concurrency import for_each

START = """
import sys
from cloudburst.cli import main
sys.exit(main(sys.argv[1:]))
"""


def check(scenes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the seconds of the check of all inputs, and of hashing all of them."""
    from cloudburst.inputs.preflight import check_scenes  # noqa: PLC0415
    from cloudburst.inputs.scene_fingerprints import InputHashes  # noqa: PLC0415
    from cloudburst.models.limits import Limits  # noqa: PLC0415
    from cloudburst.models.options import RenderOptions  # noqa: PLC0415

    began, cpu = time.time(), cpu_seconds()
    checked = check_scenes(scenes, RenderOptions(), Limits())
    wall, check_cpu = time.time() - began, cpu_seconds() - cpu

    async def hash_all() -> None:
        hashes = InputHashes({})
        await for_each(checked, hashes.hash_inputs, at_once=20)

    anyio.run(hash_all)
    hash_cpu = cpu_seconds() - cpu - check_cpu
    return {"began": began, "wall": wall, "cpu": check_cpu, "hash_cpu": hash_cpu}


def command(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return when ``cloudburst render`` was started; end it once a task was launched."""
    scenes = folder / "scenes.json"
    scenes.write_text(json.dumps(job["scenes"]), "utf-8")
    words = ["render", str(scenes), "--to", job["to"], "--backend", "fargate", "--json"]
    began = time.time()
    with subprocess.Popen(
        [sys.executable, "-c", START, *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"worker.launched"' in line:
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
    return {"began": began}


async def program(job: dict[str, Any], *, resume: bool) -> dict[str, Any]:
    """Return when a client was called; end its run once a task was launched."""
    import cloudburst.aws.fargate.backend  # noqa: PLC0415
    import cloudburst.inputs.preflight  # noqa: F401, PLC0415
    from cloudburst import Client, Limits, fargate  # noqa: PLC0415
    from cloudburst.events import WorkerLaunched  # noqa: PLC0415
    from cloudburst.models.file_versions import KNOWN_HASHES  # noqa: PLC0415

    async def launch(client: Client, *, again: bool) -> float:
        began = time.time()
        async with client.stream(job["scenes"], to=job["to"], name="bench", resume=again) as run:
            async for event in run:
                if isinstance(event, WorkerLaunched):
                    break
        return began

    limits = Limits(workers=job["workers"])
    async with Client(fargate(), limits=limits) as client:
        began = await launch(client, again=False)
        if resume:
            began = await launch(client, again=True)
        return {"began": began, "hashed": len(KNOWN_HASHES)}


def main() -> None:
    kind, path = sys.argv[1], Path(sys.argv[2])
    job = json.loads(path.read_text("utf-8"))
    match kind:
        case "preflight":
            figures = check(job["scenes"])
        case "command":
            figures = command(job, path.parent)
        case _:
            figures = anyio.run(lambda: program(job, resume=kind == "resume"))
    figures["returned"] = time.time()
    Path(job["result"]).write_text(json.dumps(figures), "utf-8")


if __name__ == "__main__":
    main()
