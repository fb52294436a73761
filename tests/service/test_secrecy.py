"""What a process that decodes a stranger's file can learn of the service that started it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from cloudburst.service.subprocesses import child_environment
from support.project import TESTS
from support.service_caller import KEY, service_settings

PR_CAPBSET_DROP = 24


def drop_capabilities() -> None:
    """Make what is executed next an ordinary process, even of root: root reads everything."""
    libc = ctypes.CDLL(None)
    for number in range(64):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


@pytest.mark.real
@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_child_cannot_read_the_secrets_of_the_service_in_proc(tmp_path: Path) -> None:
    script = TESTS / "support" / "serve_stand_in.py"
    with subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | service_settings(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=drop_capabilities,  # noqa: PLW1509 - this process has no thread yet
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            for name in ("environ", "mem", "maps"):
                assert spied(url, name, process.pid) == "PermissionError", name
        finally:
            process.terminate()


def spied(url: str, name: str, pid: int) -> str:
    """What a job's child gets when it reads a file of the service's in ``/proc``."""
    todo = json.dumps({"do": "spy", "path": f"/proc/{pid}/{name}"}).encode()
    with httpx.Client(base_url=url, headers={"X-Authentication-Key": KEY}, timeout=20) as http:
        hashes = {"image": todo, "audio": b"sound"}
        for content in hashes.values():
            http.put(f"/files/{hashlib.sha256(content).hexdigest()}", content=content)
        named = {kind: hashlib.sha256(content).hexdigest() for kind, content in hashes.items()}
        job = http.post("/jobs", json={"name": "s", **named}).json()["id"]
        with http.stream("GET", f"/jobs/{job}/events") as lines:
            last = json.loads(list(lines.iter_lines())[-1])
        found: str = last["error"]["found"]
        return found


def test_a_child_gets_what_finds_its_programs_and_nothing_else() -> None:
    needed = {
        "PATH": "/bin",
        "HOME": "/home/a",
        "LANG": "C.UTF-8",
        "LC_ALL": "C",
        "LD_LIBRARY_PATH": "/lib",
        "PYTHONSAFEPATH": "1",
        "TMPDIR": "/tmp",
    }
    others = {
        "AUTHENTICATION_KEY": "k",
        "CLOUDBURST_PRIVATE_KEY": "k",
        "CLOUDBURST_PORT": "5000",
        "AWS_SECRET_ACCESS_KEY": "k",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x",
        "ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/x",
        "CLOUDBURST_FFMPEG": "/bin/ffmpeg",
        "OMP_NUM_THREADS": "1",
        "DATABASE_URL": "postgres://u:p@h/d",
    }
    assert child_environment(needed | others) == needed
