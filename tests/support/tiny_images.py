"""Small images of programs of this machine, pushed to a real registry.

The image has a shell, some programs of coreutils, and Python with the modules of the stub worker.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path

import anyio

from cloudburst.emulator.containers import PROGRAMS
from cloudburst.emulator.roles import execution_role_name
from cloudburst.net.registry.client import open_registry
from cloudburst.net.registry.images import push_image
from support.emulator_calls import MAIN, client

TOOLS = ("sh", "cat", "chmod", "id", "ls", "mkdir", "sleep", "touch", "unshare")
LIST_MODULES = """
import sys, encodings.idna, encodings.latin_1, urllib.request
sys.path.insert(0, sys.argv[1])
import stub_worker
files = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
print(*sorted(filter(None, files)), sep="\\n")
"""
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
OTHER_ARCHITECTURE = {"amd64": "arm64", "arm64": "amd64"}[ARCHITECTURE]
ECS_ARCHITECTURE = {"amd64": "X86_64", "arm64": "ARM64"}
LOGS = {
    "logDriver": "awslogs",
    "options": {
        "awslogs-group": "/ecs/cloudburst",
        "awslogs-region": "us-east-1",
        "awslogs-stream-prefix": "ecs",
    },
}
PYTHON = "/usr/bin/python"
WORKER = (PYTHON, "-B", "-S", "-E", "/opt/stub_worker.py")


@cache
def tools():
    """Files of the shell and of other programs: content by path."""
    files = {}
    for tool in TOOLS:
        found = shutil.which(tool, path="/usr/bin:/bin")
        files[f"usr/bin/{tool}"] = Path(found).resolve()
    return with_libraries(files)


@cache
def worker():
    """Files of Python and the stub worker."""
    files = {}
    files["usr/bin/python"] = Path(sys.executable).resolve()
    home = Path(sys.base_prefix)
    listing = subprocess.run(
        [sys.executable, "-S", "-E", "-c", LIST_MODULES, str(PROGRAMS)],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listing.stdout.split():
        module = Path(name)
        if module.is_relative_to(home):
            files[f"usr/{module.relative_to(home)}"] = module
    # The landmark by which Python finds its folder.
    files.setdefault(
        f"usr/lib/python{sys.version_info.major}.{sys.version_info.minor}/os.py", Path(os.__file__)
    )
    files["opt/stub_worker.py"] = PROGRAMS / "stub_worker.py"
    return with_libraries(files)


def with_libraries(files):
    """Contents of files, and of the libraries that they need."""
    linked = [path for path in files.values() if path.suffix not in {".py", ".pyc"}]
    for path in linked:
        answer = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)
        for library in re.findall(r"(/\S+) \(0x", answer.stdout):
            place = library.lstrip("/")
            if not place.startswith(("lib", "usr/lib")):  # the linker finds it there, too
                place = f"usr/lib/{Path(library).name}"
            files[place] = Path(library).resolve()
    return {name: path.read_bytes() for name, path in files.items()}


@lru_cache(maxsize=4)
def compressed(tar):
    return gzip.compress(tar, 1, mtime=0)


@dataclass(frozen=True)
class TinyImage:
    """An image to push; the fields are what tests change."""

    entrypoint: tuple = WORKER
    command: tuple = ()
    environment: dict = field(default_factory=dict)
    user: str = "10001"
    folder: str = "/"
    volumes: tuple = ("/tmp",)
    architectures: tuple = (ARCHITECTURE,)
    index: bool = True
    python: bool = True
    """True if the image has Python and the stub worker."""
    without: str = ""
    """Pattern of files that are left out."""
    files: dict = field(default_factory=dict)
    links: dict = field(default_factory=dict)
    folders: dict = field(
        default_factory=lambda: {"tmp": 0o1777, "open": 0o1777, "etc": 0o755, "root": 0o700}
    )

    def but(self, **changes):
        return replace(self, **changes)

    def layer(self):
        """The tar of the files, not compressed."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, mode in self.folders.items():
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode = tarfile.DIRTYPE, mode
                tar.addfile(entry)
            for name, target in {"bin": "usr/bin", **self.links}.items():
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                tar.addfile(entry)
            for name, content in self.contents().items():
                if self.without and re.search(self.without, name):
                    continue
                entry = tarfile.TarInfo(name)
                entry.mode, entry.size = 0o755, len(content)
                tar.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()

    def contents(self):
        return {**tools(), **(worker() if self.python else {}), **self.files}

    def config(self, architecture, diff_id):
        process = {
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.command),
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "User": self.user,
            "WorkingDir": self.folder,
            "Volumes": {path: {} for path in self.volumes},
        }
        return {
            "architecture": architecture,
            "os": "linux",
            "config": process,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }

    def write(self, folder):
        """Write an OCI image layout."""
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)

        def blob(data, kind, **more):
            value = hashlib.sha256(data).hexdigest()
            (blobs / value).write_bytes(data)
            kind = f"application/vnd.oci.image.{kind}"
            return {"mediaType": kind, "digest": f"sha256:{value}", "size": len(data), **more}

        tar = self.layer()
        packed = compressed(tar)
        layer = blob(packed, "layer.v1.tar+gzip")
        diff_id = f"sha256:{hashlib.sha256(tar).hexdigest()}"
        manifests = []
        for architecture in self.architectures:
            config = blob(json.dumps(self.config(architecture, diff_id)).encode(), "config.v1+json")
            manifest = {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config,
                "layers": [layer],
            }
            manifests.append(
                blob(
                    json.dumps(manifest).encode(),
                    "manifest.v1+json",
                    platform={"architecture": architecture, "os": "linux"},
                )
            )
        entry = manifests[0]
        if self.index:
            index = {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": manifests,
            }
            entry = blob(json.dumps(index).encode(), "index.v1+json")
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


TINY = TinyImage()
SHELL = TinyImage(entrypoint=("/bin/sh", "-c"), command=("exec sleep 60",), python=False)


def push(server, repository, image, tag="latest"):
    """Push an image with our own client; returns the report."""

    async def send(folder):
        async with open_registry(server.url, server.credentials) as client:
            return await push_image(client, folder, repository, tag)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "layout"
        folder.mkdir()
        image.write(folder)
        return anyio.run(send, folder)


def registry_of(server):
    """The registry as a setting of the emulator."""
    from cloudburst.testing import EmulatedRegistry

    return EmulatedRegistry(url=server.url, username=server.username, password=server.password)


def define(
    emulator,
    image,
    *,
    family="tiny",
    cpu="256",
    memory="512",
    architecture=None,
    volumes=("scratch",),
    containers=(),
    **container,
):
    """Register a task definition with the main container and others; returns its name."""
    mounts = [{"sourceVolume": name, "containerPath": "/tmp"} for name in volumes]
    client(emulator, "ecs").register_task_definition(
        family=family,
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu=cpu,
        memory=memory,
        executionRoleArn=(
            f"arn:aws:iam::{emulator.config.account}:role/"
            f"{execution_role_name(emulator.config.region)}"
        ),
        runtimePlatform={"cpuArchitecture": architecture or ECS_ARCHITECTURE[ARCHITECTURE]},
        volumes=[{"name": name} for name in volumes],
        containerDefinitions=[
            {
                "name": MAIN,
                "image": image,
                "user": "10001",
                "readonlyRootFilesystem": True,
                "mountPoints": mounts,
                "portMappings": [{"containerPort": 5000, "protocol": "tcp"}],
                "dockerLabels": {"cloudburst.protocol": "onestep"},
                "stopTimeout": 20,
                "logConfiguration": LOGS,
                **container,
            },
            *containers,
        ],
    )
    return family


def lines_of(emulator, task, container=MAIN):
    """Output of a container."""
    events = client(emulator, "logs").get_log_events(
        logGroupName="/ecs/cloudburst", logStreamName=f"ecs/{container}/{task.id}"
    )
    return [event["message"] for event in events["events"]]
