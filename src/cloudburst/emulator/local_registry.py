"""Container registry that runs with the emulator: the program ``docker-registry``."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

from anyio import fail_after, to_thread

from cloudburst.emulator.config import EmulatedRegistry, EmulatorConfig
from cloudburst.emulator.containers import Containers
from cloudburst.emulator.errors import EmulatorError
from cloudburst.emulator.port_listener import PortListener

PROGRAM, PASSWORD_PROGRAM = "docker-registry", "htpasswd"
PACKAGES = {PROGRAM: "docker-registry", PASSWORD_PROGRAM: "apache2-utils"}
"""Packages of Debian and Ubuntu that contain the programs."""
USERNAME = "AWS"
"""User name of ECR's logins."""
START_TIMEOUT = 20.0
PASSWORD_TIMEOUT = 10.0
LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
"""Line in the log of the registry that names its port."""


async def choose_registry(
    config: EmulatorConfig, containers: Containers, folder: Path
) -> EmulatedRegistry:
    """Return the registry of the configuration, which is started if the configuration says so.

    Raises:
        EmulatorError: the registry cannot be started.
    """
    if isinstance(config.registry, EmulatedRegistry):
        return config.registry
    return await start_registry(containers, folder / "registry")


async def start_registry(containers: Containers, folder: Path) -> EmulatedRegistry:
    """Start a registry with a random password on an unused port; it ends with the containers.

    Args:
        containers: Processes of the emulator.
        folder: New folder for the images.

    Raises:
        EmulatorError: a program is missing, or the registry does not start.
    """
    missing = [PACKAGES[name] for name in PACKAGES if shutil.which(name) is None]
    if missing:
        raise EmulatorError(f"registry: programs are missing; install {' and '.join(missing)}")
    password = secrets.token_urlsafe(24)
    config = await to_thread.run_sync(_write_files, folder, password)
    listener = PortListener("registry", LISTENING)
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    containers.start("registry", [PROGRAM, "serve", str(config)], environment, listener)
    try:
        with fail_after(START_TIMEOUT):
            port = await listener.port
    except TimeoutError:
        raise EmulatorError(f"registry: no answer for {START_TIMEOUT:g} s") from None
    return EmulatedRegistry(url=f"http://127.0.0.1:{port}", username=USERNAME, password=password)


def _write_files(folder: Path, password: str) -> Path:
    """Write the password file and the configuration; return the path of the configuration."""
    folder.mkdir(mode=0o700)
    try:
        made = subprocess.run(
            [PASSWORD_PROGRAM, "-niB", USERNAME],
            input=password.encode(),
            capture_output=True,
            timeout=PASSWORD_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise EmulatorError(f"registry: {PASSWORD_PROGRAM} failed: {exc}") from exc
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
