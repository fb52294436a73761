"""The same bad inputs straight to the service, as it stands in a container: 4xx, never 500."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import httpx
import pytest

from support.bad_inputs import EARLY, LATE
from support.once import made_once
from support.sample_media import PICTURES, SOUNDS
from support.video_probe import probe

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

KEY = "k-0b1"
CASES = {name: case[:2] for name, case in {**EARLY, **LATE}.items()}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The service with its own limits; its log must know of no fault of its own."""
    folder = tmp_path_factory.mktemp("service")
    environment = {
        "PATH": "/usr/bin:/bin",
        "AUTHENTICATION_KEY": KEY,
        "CLOUDBURST_HOST": "127.0.0.1",
        "CLOUDBURST_PORT": "0",
        "CLOUDBURST_FOLDER": str(folder),
        "CLOUDBURST_PARENT_FD": "0",
        "CLOUDBURST_RESERVE_BYTES": "0",
        "CLOUDBURST_AUDIO_SECONDS": "60",  # what is longer is decoded up to this length
    }
    command = [sys.executable, "-m", "cloudburst.service"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        address = process.stdout.readline().split()[-1]
        headers = {"X-Authentication-Key": KEY}
        with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as http:
            yield http
        process.terminate()
        process.wait(30)
    told = (folder / "log").read_text()
    assert "Traceback" not in told
    assert "ERROR" not in told
    assert [path.name for path in folder.iterdir()] == ["log"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The bytes of a good scene and of each bad file, made once for all test processes."""
    return made_once(tmp_path_factory, "bad inputs", make_files)[1]


def make_files(folder):
    def read(make):
        path = folder / "file"
        make(path)
        return path.read_bytes()

    good = {"image": read(PICTURES["png"]), "audio": read(SOUNDS["wav"])}
    return good, {name: read(make) for name, (_, make) in CASES.items()}


def put(service, content):
    sha = hashlib.sha256(content).hexdigest()
    assert service.put(f"/files/{sha}", content=content).status_code in {200, 201}
    return sha


def native(service, **changes):
    """The final state of a job."""
    answer = service.post("/jobs", json={"name": "s", "options": {"effects": []}, **changes})
    assert answer.status_code == 201, answer.text
    lines = service.get(answer.headers["Location"] + "/events").text.splitlines()
    return httpx.Response(200, text=lines[-1]).json()


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("name", CASES)
def test_a_bad_file(service, files, name):
    good, bad = files
    field = CASES[name][0]
    contents = {**good, field: bad[name]}
    state = native(service, **{field: put(service, data) for field, data in contents.items()})
    assert state["state"] == "failed", state
    error = state["error"]
    assert (error["field"], bool(error["found"]), bool(error["expected"])) == (field, True, True)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("language", "klingon"),
        ("effects", ["spin"]),
        ("background_opacity", 1.5),
        ("background_opacity", "NaN"),
        ("outline_color", "&H00000000,Bold=1"),
        ("font_size", -3),
        ("is_portrait", "perhaps"),
    ],
)
def test_a_bad_option(service, files, option, value):
    good, _ = files
    hashes = {field: put(service, data) for field, data in good.items()}
    answer = service.post("/jobs", json={"name": "s", "options": {option: value}, **hashes})
    assert answer.status_code == 400, answer.text
    assert option in answer.json()["error"]


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "..", "a\\b", "a\0b", "", "x" * 201])
def test_a_name_that_leaves_the_folder(service, files, name):
    good, _ = files
    hashes = {field: put(service, data) for field, data in good.items()}
    answer = service.post("/jobs", json={"name": name, **hashes})
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == "name"


@pytest.mark.few(7, spread=True)
@pytest.mark.parametrize(
    "path",
    [
        "/files/..%2f..%2f..%2fetc%2fpasswd",
        "/files/../../../etc/passwd",
        "/jobs/..%2f..%2fetc%2fpasswd/video",
        "/jobs/%2e%2e/video",
        "/jobs/%00/video",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_a_path_that_leaves_the_folder(service, path, method):
    # As it is written: httpx would tidy it up.
    url = httpx.URL(service.base_url, raw_path=path.encode())
    answer = service.send(service.build_request(method, url))
    assert 400 <= answer.status_code < 500, answer
    assert "root:" not in answer.text


def test_a_sound_that_lies_about_its_length_is_as_long_as_it_is(service, files, tmp_path):
    good, _ = files
    SOUNDS["mp3-lying-xing"](tmp_path / "sound")
    lying = (tmp_path / "sound").read_bytes()
    state = native(service, image=put(service, good["image"]), audio=put(service, lying))
    assert state["state"] == "done", state
    (tmp_path / "v.mp4").write_bytes(service.get(f"/jobs/{state['id']}/video").content)
    probe(tmp_path / "v.mp4").check(size=(1920, 1080), seconds=1.0, within=0.1)
