"""Files that cost a worker too much, straight to the service and past the check before a run."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from PIL import Image

from cloudburst import Client, Limits, RenderOptions, local
from cloudburst.errors import InvalidScenesError
from cloudburst.inputs.preflight import check_scenes
from support.hostile_media import HEAVY, LIGHT, Case, mka_of_channels, silence
from support.resource_gauge import Gauge
from support.service_caller import KEY, service_settings

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

log = logging.getLogger(__name__)

MAX_BYTES = 700_000_000
"""Resident memory of all processes of one job together."""
MAX_PROCESSOR_SECONDS = 60
CHECK_SECONDS = 5
"""Processor time of the check before a run, for one file."""
GATE = {"png of 10000 a side, not there", "gif of many frames", "64 channels in matroska"}
"""Cases that are not nightly: they are refused late or not at all, and cost little."""


class Service:
    """A service of its own in a process, with the limits that it has in a container."""

    def __init__(self, process: subprocess.Popen[str], http: httpx.Client) -> None:
        self.pid = process.pid
        self.http = http

    def put(self, path: Path) -> str:
        content = path.read_bytes()
        sha = hashlib.sha256(content).hexdigest()
        answer = self.http.put(f"/files/{sha}", content=content)
        assert answer.status_code in {200, 201}, answer.text
        return sha

    def rendered(self, files: dict[str, Path]) -> dict[str, Any]:
        """The final state of a job."""
        hashes = {field: self.put(path) for field, path in files.items()}
        body = {"name": "scene", "options": {"effects": ["zoom_in"]}, **hashes}
        answer = self.http.post("/jobs", json=body)
        assert answer.status_code == 201, answer.text
        lines = self.http.get(f"{answer.headers['Location']}/events").text.splitlines()
        self.http.delete(answer.headers["Location"])
        state: dict[str, Any] = httpx.Response(200, text=lines[-1]).json()
        return state


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    folder = tmp_path_factory.mktemp("service")
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
        **service_settings(folder, encoders="1", parent_fd="0", test_render="false"),
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "cloudburst.service"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        headers = {"X-Authentication-Key": KEY}
        with httpx.Client(base_url=address, headers=headers, timeout=250, trust_env=False) as http:
            yield Service(process, http)
        process.terminate()
        process.wait(30)
    said = (folder / "log").read_text()
    assert "Traceback" not in said
    assert "ERROR" not in said
    assert [path.name for path in folder.iterdir()] == ["log"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A good scene of a second."""
    Image.new("RGB", (1280, 720), (90, 120, 150)).save(tmp_path / "image.png")
    silence(1, "-f", "wav", rate=44_100)(tmp_path / "audio.wav")
    return {"image": tmp_path / "image.png", "audio": tmp_path / "audio.wav"}


def checked(files: dict[str, Path]) -> str | None:
    """The field that the check before a run complains of."""
    paths = {field: path for field, path in files.items() if field != "watermark"}
    options = RenderOptions(watermark=files.get("watermark"))
    try:
        (scene,) = check_scenes([{"name": "scene", **paths}], options, Limits())
    except InvalidScenesError as exc:
        (fault,) = exc.faults
        assert fault.scene
        assert fault.found
        assert fault.expected
        return fault.field
    return scene.undrawable[0].field if scene.undrawable else None


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns of broken EXIF
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=() if case.name in GATE else pytest.mark.nightly)
        for case in (*HEAVY, *LIGHT)
    ],
    ids=lambda case: case.name.replace(" ", "-"),
)
def test_a_hostile_file_costs_its_own_scene_and_no_more(
    service: Service, files: dict[str, Path], tmp_path: Path, case: Case
) -> None:
    path = tmp_path / "hostile"
    case.make(path)
    files[case.field] = path

    began = time.process_time()
    complaint = checked(files)
    assert time.process_time() - began < CHECK_SECONDS
    assert complaint in {None, case.field}
    if case.ends != "either":
        assert (complaint is not None) == (case.ends == "early")

    with Gauge(service.pid) as gauge:
        state = service.rendered(files)
    megabytes, seconds = gauge.peak_bytes / 1e6, gauge.processor_seconds
    log.info("%s: %.0f MB, %.1f s, %s", case.name, megabytes, seconds, state["error"] or "done")
    assert gauge.peak_bytes <= MAX_BYTES
    assert gauge.processor_seconds <= MAX_PROCESSOR_SECONDS
    if case.ends == "done":
        assert state["state"] == "done"
    elif case.ends in {"early", "late"}:
        assert state["state"] == "failed"
    if state["state"] != "done":
        # A fault of an input, which no other worker would do better with.
        assert state["error"]["field"] == case.field
        assert state["error"]["found"]
        assert state["error"]["expected"]
    assert service.http.get("/health").json()["status"] == "healthy"


def test_a_good_scene_is_rendered_after_all_of_them(
    service: Service, files: dict[str, Path]
) -> None:
    with Gauge(service.pid) as gauge:
        assert service.rendered(files)["state"] == "done"
    assert 50_000_000 < gauge.peak_bytes <= MAX_BYTES  # it sees the process


@pytest.mark.nightly
def test_a_file_that_only_a_worker_can_refuse_is_tried_once(
    files: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "hostile"
    mka_of_channels(64)(path)
    scene = {"name": "scene", **files, "audio": path}

    async def render() -> Any:
        async with Client(local(workers=1)) as client:
            return await client.render_all([scene], to=tmp_path / "out")

    (outcome,) = anyio.run(render).scenes
    assert outcome.attempts == 1
    assert "audio: audio with 64 channels; expected 1 to 8 channels" in str(outcome.error)
