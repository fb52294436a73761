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

from cloudburst.workers.http.certificates import new_secrets
from support.render_job import lay_job

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

PACKAGES = {"PIL", "av", "cloudburst", "cython_runtime"}
"""Packages that a render imports, beside the standard library. Each of pydantic, anyio and numpy
would take as long as all of them."""
UNNEEDED = {
    *("asyncio", "concurrent.futures", "email", "http", "importlib.metadata"),
    *("importlib.resources", "tempfile", "urllib.request"),
}
"""Modules of the standard library that no render imports."""
MODULES = 235
"""Upper limit for the modules beyond those of a bare interpreter: 221 with Python 3.11, 229
with Python 3.14 and PyAV 19."""

SUBRIP_READER = {
    "cloudburst.media.subtitles.subrip_webvtt",
    "cloudburst.media.subtitles.cue_text",
    "cloudburst.media.subtitles.sentences",
}
"""Modules that read subtitles in SubRip form. Those for other forms are not imported."""

WATCHED = """
import json, runpy, sys
bare = set(sys.modules)
sys.argv = ["child", sys.argv[1]]
try:
    runpy.run_module("cloudburst.renderer.render_process", run_name="__main__")
except SystemExit as end:
    print(json.dumps({"code": end.code, "modules": sorted(set(sys.modules) - bare)}))
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


@pytest.mark.parametrize(
    ("effects", "subtitle"),
    [((), None), (("zoom_in",), "1\n00:00:00,000 --> 00:00:01,000\nA 字\n")],
    ids=["still", "zoom with subtitles"],
)
def test_a_render_imports_two_libraries_and_little_else(tmp_path, effects, subtitle):
    folder = lay_job(tmp_path, effects=effects, subtitle=subtitle, seconds=0.1)
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, str(folder)],
        stdin=subprocess.PIPE,  # its end would end the process
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        lines = process.stdout.read().splitlines()
    said = json.loads(lines[-1])
    assert said["code"] == 0, lines
    modules = said["modules"]
    roots = {module.partition(".")[0] for module in modules}
    # Cython and PyAV (_cyutil) register such modules beside their packages.
    foreign = {root for root in roots - sys.stdlib_module_names if not root.startswith("_cy")}
    assert foreign == PACKAGES | ({"uharfbuzz"} if subtitle else set())
    assert not UNNEEDED.intersection(modules)
    assert len(modules) <= MODULES, modules
    shared = {
        module
        for module in modules
        if module.startswith("cloudburst.") and not module.startswith("cloudburst.renderer")
    }
    assert shared == {
        "cloudburst.errors",
        "cloudburst.models",
        "cloudburst.models.video_format",
        "cloudburst.media",
        "cloudburst.media.font_tables",
        "cloudburst.media.heif",
        "cloudburst.media.input_rules",
        "cloudburst.media.subtitles",
        "cloudburst.media.subtitles.cues",
        "cloudburst.media.subtitles.phrases",
        *(SUBRIP_READER if subtitle else ()),
        "cloudburst.media.input_error",
    }


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
