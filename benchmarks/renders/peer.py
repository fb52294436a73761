"""The public image's own code: PyPI ``video-generation-api``, unmodified."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from renders.environments import ISOLATED, environment
from renders.frames import Look
from renders.inputs import Inputs, Scenario
from renders.processes import Cost, measured

# Its imageio-ffmpeg imports pkg_resources, which setuptools 81 no longer has.
PACKAGES = ("video-generation-api==1.0.1", "setuptools<81")
PYTHON = "3.11"
"""Its pinned packages have wheels for Python 3.12 at most."""

PEER_LOOK = Look(aside=0.5)
"""Its matrix for zooms counts from the centres of pixels."""

PEER = """
import base64, json, shutil, sys
from pathlib import Path
from video_generation_api.app import app
said = json.loads(sys.argv[1])
body = said["options"]
for key, path in said["files"].items():
    body[key] = base64.b64encode(Path(path).read_bytes()).decode()
answer = app.test_client().post("/create_video_onestep", json=body).get_json()
if "file_id" not in answer:
    sys.exit(str(answer))
shutil.copy("outputs/" + answer["file_id"] + ".mp4", said["video"])
"""


@dataclass(frozen=True)
class Peer:
    """Public image's code, asked through its ``/create_video_onestep``."""

    python: Path
    name: str = "peer"
    look: Look = PEER_LOOK

    def run(self, scenario: Scenario, inputs: Inputs, folder: Path) -> Cost:
        """Render one scene with a new process; its whole call is counted."""
        folder.mkdir()
        files = {"input_image": inputs.picture, "input_audio": inputs.audio}
        if scenario.subtitled:
            files["subtitle"] = inputs.subtitle
        said = {
            "files": {key: str(path) for key, path in files.items()},
            "options": {"effects": scenario.effects, "language": "chinese"},
            "video": str(folder / "video.mp4"),
        }
        command: list[str | Path] = [self.python, "-c", PEER, json.dumps(said)]
        return measured(command, folder, folder / "video.mp4", ISOLATED)


def peer() -> Peer:
    return Peer(environment("peer", PACKAGES, PYTHON))
