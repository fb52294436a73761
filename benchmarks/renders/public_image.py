"""The public image's own code: PyPI ``video-generation-api``, unmodified."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from renders.environments import ISOLATED, environment
from renders.frames import IdealSettings
from renders.inputs import Inputs, Scenario
from renders.processes import Cost, measured

# Its imageio-ffmpeg imports pkg_resources, which setuptools 81 no longer has.
PACKAGES = ("video-generation-api==1.0.1", "setuptools<81")
PYTHON = "3.11"
"""Its pinned packages have wheels for Python 3.12 at most."""

SETTINGS = IdealSettings(centre_offset=0.5)
"""Settings of its ideal frames. Its matrix for zooms counts from the centres of pixels."""

RENDER_PROGRAM = """
import base64, json, shutil, sys
from pathlib import Path
from video_generation_api.app import app
scene = json.loads(sys.argv[1])
body = scene["options"]
for key, path in scene["files"].items():
    body[key] = base64.b64encode(Path(path).read_bytes()).decode()
response = app.test_client().post("/create_video_onestep", json=body).get_json()
if "file_id" not in response:
    sys.exit(str(response))
shutil.copy("outputs/" + response["file_id"] + ".mp4", scene["video"])
"""


@dataclass(frozen=True)
class PublicImage:
    """Code of the public image, called through its ``/create_video_onestep``."""

    python: Path
    name: str = "public image"
    ideal_settings: IdealSettings = SETTINGS

    def run(self, scenario: Scenario, inputs: Inputs, folder: Path) -> Cost:
        """Render one scene with a new process; imports and the whole call are counted."""
        folder.mkdir()
        files = {"input_image": inputs.picture, "input_audio": inputs.audio}
        if scenario.subtitled:
            files["subtitle"] = inputs.subtitle
        scene = {
            "files": {key: str(path) for key, path in files.items()},
            "options": {"effects": scenario.effects, "language": "chinese"},
            "video": str(folder / "video.mp4"),
        }
        command: list[str | Path] = [self.python, "-c", RENDER_PROGRAM, json.dumps(scene)]
        return measured(command, folder, folder / "video.mp4", ISOLATED)


def public_image() -> PublicImage:
    return PublicImage(environment("peer", PACKAGES, PYTHON))
