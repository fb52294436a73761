"""A real registry on loopback with a password: Debian's program ``docker-registry``.

The fixture ``registry_server`` in ``tests/conftest.py`` starts one for each test process. Only
``nox -s registry`` runs tests with it, which needs the programs below.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

USER, PASSWORD = "cloudburst", "correct horse"
START_TIMEOUT = 20.0
ADDRESS = "127.0.0.1"
_numbers = count()


@dataclass(frozen=True)
class RegistryServer:
    """A running registry. Tests share it: each one uses repositories of its own."""

    port: int
    username: str
    password: str
    storage: Path

    @property
    def host(self):
        return f"{ADDRESS}:{self.port}"

    @property
    def url(self):
        return f"http://{self.host}"

    @property
    def credentials(self):
        from cloudburst.net.registry.http import Credentials

        return Credentials(self.username, self.password)

    @staticmethod
    def new_repository(name="test"):
        """Return the name of a repository that no other test has."""
        return f"{name}-{next(_numbers)}"

    def blob_path(self, digest):
        """Return the file in which the registry keeps a blob; it need not exist."""
        algorithm, _, value = digest.partition(":")
        blobs = self.storage / "docker/registry/v2/blobs"
        return blobs / algorithm / value[:2] / value / "data"


@contextmanager
def running_registry(folder):
    """Start a registry with its storage in this folder, and stop it at the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    # A low cost: the registry checks the password again for each request.
    command = ["htpasswd", "-Bbn", "-C", "4", USER, PASSWORD]
    line = subprocess.run(command, capture_output=True, check=True).stdout
    (folder / "htpasswd").write_bytes(line)
    port = _free_port()
    config = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": True},
        },
        "http": {"addr": f"{ADDRESS}:{port}", "secret": "shared by restarts"},
        "auth": {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}},
    }
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    # It ends with this process, which a test that takes too long ends without a teardown.
    command = ["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([*command, str(folder / "config.yml")], stdout=log, stderr=log) as process,
    ):
        try:
            _wait_until_it_listens(port, process, folder / "log")
            yield RegistryServer(port, USER, PASSWORD, folder / "storage")
        finally:
            process.kill()


def _free_port():
    with socket.socket() as listener:
        listener.bind((ADDRESS, 0))
        return listener.getsockname()[1]


def _wait_until_it_listens(port, process, log):
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(OSError), socket.create_connection((ADDRESS, port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"docker-registry does not listen: {log.read_text()[-2000:]}")
