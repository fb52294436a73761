"""What processes that decode callers' files can reach, and what is said without a layer."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx
import pytest

from cloudburst.aws.setup import check_account
from cloudburst.renderer.confinement.decoders import missing_layers
from cloudburst.renderer.confinement.system_calls import (
    ARCHITECTURES,
    DECODER_CALLS,
    LIMITED_CALLS,
)
from support.old_kernel import drop_capabilities, hide_all_layers, hide_landlock
from support.project import TESTS
from support.render_job import lay_job, start_render
from support.service_caller import KEY, service_settings

if sys.platform != "linux":
    pytest.skip("the layers are Linux's", allow_module_level=True)

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

NO_LANDLOCK = "Landlock: Function not implemented"
FILES = frozenset(
    {
        *("command of the client", "credentials", "list of jobs", "list of stored files"),
        *("a file outside", "deletion outside", "files of the system"),
        *("variables of the client", "memory of the client"),
    }
)
"""What only Landlock keeps out of reach."""


@pytest.mark.parametrize(
    ("kernel", "layers", "reached"),
    [
        (drop_capabilities, (), frozenset[str]()),
        pytest.param(hide_landlock, (NO_LANDLOCK,), FILES, marks=pytest.mark.nightly),
    ],
)
def test_a_render_process_reaches_nothing_but_its_job(
    tmp_path: Path, kernel: Callable[[], None], layers: tuple[str, ...], reached: frozenset[str]
) -> None:
    if not layers and missing_layers():
        pytest.skip(f"this kernel lacks {missing_layers()}")
    home, modules = tmp_path / "home", tmp_path / "modules"
    for folder in (home, modules):
        folder.mkdir()
    (home / "credentials").write_text("aws_secret_access_key = a secret")
    shutil.copy(TESTS / "support" / "confinement_probe.py", modules / "sitecustomize.py")
    lay_job(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        name = f"cloudburst-{tmp_path.name}-{os.getpid()}"
        unix.bind("\0" + name)
        unix.listen()
        script = TESTS / "support" / "confined_client.py"
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path), str(tcp.getsockname()[1]), name],
            env=os.environ
            | {"HOME": str(home), "PYTHONPATH": str(modules), "AWS_SECRET_ACCESS_KEY": "a secret"},
            preexec_fn=kernel,
            capture_output=True,
            text=True,
            check=False,
        )
    found = done.stdout.partition("image: ")[2].partition("; expected")[0]
    assert found, done
    assert {*found.split(", ")} - {"nothing"} <= reached


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.skipif(not all(map(Path.exists, HEADERS.values())), reason="no headers of Linux")
@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_of_system_calls_are_those_of_linux(machine: str) -> None:
    text = HEADERS[machine].read_text()
    # The generic names of calls with 64-bit offsets differ by one prefix and one name.
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)
    known = {{"fstatat": "newfstatat"}.get(name, name): number for name, number in found}
    rows = f"{DECODER_CALLS}, {LIMITED_CALLS}".split(",")
    column = 1 + list(ARCHITECTURES).index(machine)
    for name, *numbers in map(str.split, rows):
        assert [name, *numbers][column] == known.get(name, "-")


@pytest.mark.skipif(bool(missing_layers()), reason="this kernel lacks layers")
def test_every_thread_of_a_render_process_is_confined_and_has_no_rights_of_root(
    tmp_path: Path,
) -> None:
    folder = lay_job(tmp_path, effects=["zoom_in"], duration=60)
    with start_render(folder) as process:
        assert process.stdout is not None
        while b"progress" not in process.stdout.readline():
            pass
        threads = [
            dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
            for task in Path(f"/proc/{process.pid}/task").iterdir()
        ]
        process.kill()
    assert len(threads) == 2  # the other one ends it when its server ends
    for status in threads:
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        for kind in ("CapEff", "CapPrm", "CapInh"):
            assert int(status[kind], 16) & ~0b110 == 0  # root reads the files of others


def test_a_service_without_layers_renders_and_says_once_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    log = tmp_path / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "cloudburst.service"],
            env=os.environ | service_settings(folder, parent_fd="0"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=hide_all_layers,  # noqa: PLW1509 - it only makes system calls
        ) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with httpx.Client(base_url=url, headers={"X-Authentication-Key": KEY}, timeout=30) as http:
            while (health := http.get("/health")).status_code == 503:
                pass
            http.get("/health")
        process.terminate()
        process.communicate()
    missing = [NO_LANDLOCK, "seccomp: Function not implemented"]
    assert health.status_code == 200, health.text
    assert health.json()["missing_confinement"] == missing
    text = log.read_text()
    assert [text.count(reason) for reason in missing] == [1, 1]


def test_the_check_of_the_layers_does_not_confine_the_process_that_asks() -> None:
    before = Path("/proc/self/status").read_text()
    assert missing_layers() == missing_layers()
    after = Path("/proc/self/status").read_text()
    for line in ("NoNewPrivs:", "Seccomp:"):
        assert after.partition(line)[2][:3] == before.partition(line)[2][:3]
    assert subprocess.run(["true"], check=False).returncode == 0


def test_doctor_warns_of_layers_that_this_machine_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_account, "missing_layers", lambda: (NO_LANDLOCK,))
    (check,) = anyio.run(dict(check_account.CHECKS)["confinement"], None)
    assert check.status == "warning"
    assert check.found == f"missing on this machine: {NO_LANDLOCK}"


FILM = """
import sys
from pathlib import Path
from cloudburst.film.film_process import _confine
from cloudburst.film.plan import FilmPlan, FilmScene

folder = Path(sys.argv[1])
scene = FilmScene(name="a", title="a", video=str(folder / "a.mp4"), sha256="")
_confine(FilmPlan(path=str(folder / "film.mp4"), scenes=(scene,)))
(folder / "a.mp4").read_bytes()
(folder / "film.mp4.part").write_bytes(b"a film")
(folder / "film.mp4.part").read_bytes()
for act in ((folder / "b.mp4").read_bytes, (folder / "b.mp4").unlink, (folder / "new").touch):
    try:
        print("possible:", act())
    except PermissionError:
        pass
"""


@pytest.mark.skipif(bool(missing_layers()), reason="Landlock keeps the files out of reach")
def test_a_film_process_reaches_its_videos_and_partial_files_only(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"a video")
    (tmp_path / "film.mp4.part").symlink_to("b.mp4")
    with subprocess.Popen(
        [sys.executable, "-c", FILM, str(tmp_path)],
        stdin=subprocess.PIPE,  # it ends when this is closed
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert (tmp_path / "b.mp4").read_bytes() == b"a video"
    assert (tmp_path / "film.mp4.part").read_bytes() == b"a film"
