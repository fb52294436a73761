"""Container registry that runs with the emulator: the program ``docker-registry``."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from anyio import fail_after, to_thread

from cloudburst.emulator.config import EmulatedRegistry, EmulatorConfig
from cloudburst.emulator.containers import Containers
from cloudburst.emulator.errors import EmulatorError
from cloudburst.emulator.local_servers import AddressListener
from cloudburst.net.registry.http import Credentials, TransferPolicy

PROGRAM, PASSWORD_PROGRAM = "docker-registry", "htpasswd"
# Packages of Debian and Ubuntu that contain the programs.
PACKAGES = {PROGRAM: "docker-registry", PASSWORD_PROGRAM: "apache2-utils"}
# User name of ECR's logins.
USERNAME = "AWS"
# Limits of the requests to the registry, which is on this machine.
LOCAL_TRANSFERS = TransferPolicy(attempts=2)
START_TIMEOUT = 20.0
PASSWORD_TIMEOUT = 10.0
# Line in the log of the registry that names its port.
LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
# Parameter in the URL of a layer, which needs no login then.
SIGNATURE = "X-Amz-Signature"


@dataclass(slots=True)
class AccountRegistry:
    """Registry of the emulated account."""

    address: EmulatedRegistry
    """The registry without the rules of ECR."""
    url: str = ""
    """URL of the registry with the rules of ECR, which the emulator serves with its API."""
    secret: str = field(default_factory=secrets.token_urlsafe, repr=False)
    """Value of `SIGNATURE` in the URLs of layers."""

    def layer_url(self, path: str) -> str:
        """Return the URL of a layer for which no login is needed, on another host as in ECR."""
        return f"{self.url.replace('127.0.0.1', 'localhost')}{path}?{SIGNATURE}={self.secret}"

    @property
    def token(self) -> str:
        """Login in the form of HTTP's basic authentication."""
        login = f"{self.address.username}:{self.address.password}"
        return base64.b64encode(login.encode()).decode()

    @property
    def credentials(self) -> Credentials:
        """Login of the registry."""
        return Credentials(self.address.username, self.address.password)


async def choose_registry(
    config: EmulatorConfig, containers: Containers, folder: Path
) -> AccountRegistry:
    """Return the configured registry; a started one has a random password and an unused port."""
    if isinstance(config.registry, EmulatedRegistry):
        return AccountRegistry(config.registry)
    folder = folder / "registry"
    missing = [PACKAGES[name] for name in PACKAGES if shutil.which(name) is None]
    if missing:
        raise EmulatorError(f"registry: programs are missing; install {' and '.join(missing)}")
    password = secrets.token_urlsafe(24)
    path = await to_thread.run_sync(_write_files, folder, password)
    process = AddressListener("registry", LISTENING)
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    containers.start("registry", [PROGRAM, "serve", str(path)], environment, process)
    try:
        with fail_after(START_TIMEOUT):
            port = await process.address
    except TimeoutError:
        raise EmulatorError(
            f"registry: {PROGRAM} did not name its port within {START_TIMEOUT:g} s; its last "
            f"lines: {process.last_lines}"
        ) from None
    address = EmulatedRegistry(url=f"http://127.0.0.1:{port}", username=USERNAME, password=password)
    return AccountRegistry(address)


def _write_files(folder: Path, password: str) -> Path:
    folder.mkdir(mode=0o700)
    made = subprocess.run(
        [PASSWORD_PROGRAM, "-niB", USERNAME],
        input=password.encode(),
        capture_output=True,
        timeout=PASSWORD_TIMEOUT,
        check=True,
    )
    (folder / "passwords").write_bytes(made.stdout)
    config = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "images")},
            "delete": {"enabled": True},
        },
        "http": {"addr": "127.0.0.1:0", "secret": secrets.token_hex(16)},
        "auth": {"htpasswd": {"realm": "emulator", "path": str(folder / "passwords")}},
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path
