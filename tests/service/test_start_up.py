"""What the processes import that are started for each scene, and for each health check.

It is paid for with every scene, and every few seconds beside the renders.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
from PIL import Image

from cloudburst.adapters.http.certificates import new_secrets
from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import JobOptions, RenderJob
from support.service_inputs import tone

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

FOREIGN = {
    "aioboto3",
    "anyio",
    "asyncio",
    "boto3",
    "cryptography",
    "httpx",
    "pydantic",
    "pydantic_core",
    "pydantic_settings",
    "rich",
    "starlette",
    "tinytag",
    "uvicorn",
}
"""What no render needs."""
MOTION = {"cv2", "numpy"}
"""What only a moving picture needs."""

MODULES = 200
"""More than the 150 to 175 that a still takes, fewer than any of the libraries above would add."""

WATCHED = """
import json, runpy, sys
sys.argv = ["child", sys.argv[1]]
try:
    runpy.run_module("cloudburst.renderer.render_process", run_name="__main__")
except SystemExit as end:
    print(json.dumps({"code": end.code, "modules": sorted(sys.modules)}))
"""


HEALTH_MODULES = 50
"""More than the 30 beyond those of a bare interpreter that a health check takes, 36 with TLS; fewer
than an HTTP client of the standard library would add."""
HEALTH_FOREIGN = {"asyncio", "concurrent", "email", "http", "subprocess", "urllib"}
"""What no health check needs, of the standard library."""

WATCHED_HEALTH = """
import json, runpy, sys
bare = set(sys.modules)
try:
    runpy.run_module("cloudburst.service.health", run_name="__main__")
except SystemExit as end:
    print(json.dumps({"code": end.code, "modules": sorted(set(sys.modules) - bare)}))
"""


def modules_after_rendering(folder, effects):
    Image.new("RGB", (32, 18)).save(folder / "image", "PNG")
    tone(folder / "audio", 0.1)
    options = JobOptions.from_options(RenderOptions(effects=effects))
    (folder / "job.json").write_text(RenderJob(name="scene", options=options).to_json())
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, str(folder)],
        stdin=subprocess.PIPE,  # its end would end the child
        stdout=subprocess.PIPE,
        env=os.environ,
        start_new_session=True,
    ) as process:
        lines = process.stdout.read().splitlines()
    said = json.loads(lines[-1])
    assert said["code"] == 0, lines
    return said["modules"]


def test_a_still_imports_pillow_and_little_else(tmp_path):
    modules = modules_after_rendering(tmp_path, ())
    roots = {module.partition(".")[0] for module in modules}
    assert "PIL" in roots
    assert not roots & (FOREIGN | MOTION)
    assert len(modules) <= MODULES, modules
    shared = {
        module
        for module in modules
        if module.startswith("cloudburst.") and not module.startswith("cloudburst.service")
    }
    assert shared == {
        "cloudburst.errors",
        "cloudburst.models",
        "cloudburst.models.camera_effects",
        "cloudburst.models.picture_rules",
        "cloudburst.models.audio_rules",
        "cloudburst.models.subtitles",
        "cloudburst.models.input_error",
    }


def test_a_moving_picture_imports_opencv_and_numpy_beside(tmp_path):
    modules = modules_after_rendering(tmp_path, ("zoom_in",))
    roots = {module.partition(".")[0] for module in modules}
    assert roots >= MOTION
    assert not roots & FOREIGN


@pytest.mark.parametrize("tls", [False, True])
def test_a_health_check_imports_sockets_and_little_else(tls):
    """Its processor time, beyond that of the interpreter, is that of its imports."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment = {
            **os.environ,
            "CLOUDBURST_PORT": str(listener.getsockname()[1]),
            "CLOUDBURST_CERTIFICATE": new_secrets().certificate if tls else "",
        }
        with subprocess.Popen(
            [sys.executable, "-c", WATCHED_HEALTH], stdout=subprocess.PIPE, env=environment
        ) as process:
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            said = json.loads(process.stdout.read())
    assert bool(said["code"]) == tls, "no TLS is spoken here"
    modules = set(said["modules"])
    roots = {module.partition(".")[0] for module in modules}
    assert roots - sys.stdlib_module_names == {"cloudburst"}
    assert ("ssl" in roots) == tls
    assert not roots & HEALTH_FOREIGN
    assert len(modules) <= HEALTH_MODULES, modules
    assert {module for module in modules if module.startswith("cloudburst")} == {
        "cloudburst",
        "cloudburst.service",
    }
