"""Renders one scene on a local worker, for `support.confinement_probe`: the arguments are a folder,
the number of a port of this machine, and the name of a socket. It prints the error of the scene.
"""

import json
import os
import sys
from pathlib import Path

import anyio

from cloudburst import Client, local

folder = Path(sys.argv[1])
asked = {
    "module": "cloudburst.renderer.render_process",
    "client": os.getpid(),
    "credentials": str(Path.home() / "credentials"),
    "outside": str(folder / "outside"),
    "port": int(sys.argv[2]),
    "abstract": sys.argv[3],
}
(folder / "modules" / "probe.json").write_text(json.dumps(asked))


async def main() -> None:
    scene = {"name": "scene", "image": folder / "image", "audio": folder / "audio"}
    async with Client(local(workers=1)) as client:
        report = await client.render_all([scene], to=folder / "videos")
    sys.stdout.write(f"{report.scenes[0].error}\n")


anyio.run(main)
