"""Images of one task: their pull, and how their programs run in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyio import Lock, to_thread

from cloudburst.emulator.bubblewrap import Sandbox, User, find_problem, find_user
from cloudburst.emulator.image_store import ImageStore, PullError, UnpackedImage
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.task_state import ImagePull

# Stopped reason of a task whose container cannot be started:
# https://github.com/saebyn/glowing-telegram/issues/398 (2025-03).
NOT_STARTED = (
    "CannotStartContainerError: ResourceInitializationError: failed to create new container "
    "runtime task: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: {problem}: unknown"
)
# Value of `PATH` for images that set none, as in Docker.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProgram:
    """Program of a container in its image."""

    sandbox: Sandbox
    command: Sequence[str]
    environment: Mapping[str, str]
    """Environment variables of the image."""


@dataclass(slots=True, kw_only=True)
class TaskImages:
    """Images of a task that are in the account's registry. Use it on one event loop only."""

    task: str
    """Id of the task."""
    spec: LaunchSpec
    store: ImageStore
    pulled: dict[str, ImagePull] = field(default_factory=dict[str, ImagePull])
    """Pulled images by name of their container."""
    programs: dict[str, ImageProgram] = field(default_factory=dict[str, ImageProgram])
    """Programs by name of the container; none for containers that run a program of this machine."""
    _lock: Lock = field(default_factory=Lock)

    async def pull(self) -> str | None:
        """Pull the images; return the reason why the task cannot start, or ``None``."""
        async with self._lock:
            return await self._pull()

    async def _pull(self) -> str | None:
        for container in self.spec.containers:
            name, image = str(container["name"]), str(container.get("image", ""))
            if not self.store.is_pulled(image):
                continue
            try:
                unpacked = await self.store.pull(image, self.spec.architecture)
                if unpacked:
                    program = await to_thread.run_sync(self._prepared, container, unpacked)
                    self.programs[name], self.pulled[name] = program, unpacked.pulled
            except PullError as exc:
                return str(exc)
            except (OSError, ValueError) as exc:
                return NOT_STARTED.format(problem=exc)
        return None

    async def remove_files(self) -> None:
        """Remove the volumes of the task, which has stopped."""
        async with self._lock:  # a pull that was cancelled may still be in a thread
            await to_thread.run_sync(shutil.rmtree, self._folder, True)

    @property
    def _folder(self) -> Path:
        return self.store.folder / "tasks" / self.task

    def _prepared(self, container: Mapping[str, Any], image: UnpackedImage) -> ImageProgram:
        override = self.spec.override(container["name"])
        user = find_user(image.root, str(container.get("user") or image.config.user))
        environment = {"PATH": DEFAULT_PATH, "HOME": user.home} | dict(image.config.environment)
        command = _command(container, override, image)
        folder = str(container.get("workingDirectory") or image.config.working_folder or "/")
        if problem := find_problem(image.root, command, environment["PATH"], folder):
            raise ValueError(problem)
        sandbox = Sandbox(
            root=image.root,
            user=user,
            folder=folder,
            read_only=bool(container.get("readonlyRootFilesystem")),
            volumes=list(self._volumes(container, image, user)),
            has_init=self.spec.has_init(container),
        )
        return ImageProgram(sandbox=sandbox, command=command, environment=environment)

    def _volumes(
        self, container: Mapping[str, Any], image: UnpackedImage, user: User
    ) -> Iterator[tuple[Path, str, bool]]:
        names = [str(volume.get("name")) for volume in self.spec.definition.get("volumes") or ()]
        for mount in container.get("mountPoints") or ():
            path, number = str(mount["containerPath"]), names.index(str(mount["sourceVolume"]))
            folder = self._folder / str(number)
            if not folder.exists():
                folder.mkdir(parents=True)
                folder.chmod(_volume_mode(image, path, user))
            yield folder, path, bool(mount.get("readOnly"))


def _command(
    container: Mapping[str, Any], override: Mapping[str, Any], image: UnpackedImage
) -> list[str]:
    """Return the command of a container: its entry point also replaces the image's command."""
    entry_point = container.get("entryPoint")
    command = override.get("command") or container.get("command")
    if command is None:
        command = () if entry_point else image.config.command
    return [str(word) for word in (*(entry_point or image.config.entrypoint), *command)]


def _volume_mode(image: UnpackedImage, path: str, user: User) -> int:
    """Return the mode of a volume: that of the image's folder, else 755."""
    folder = image.root / path.lstrip("/")
    declared = path in image.config.volumes and folder.is_dir()
    mode = folder.stat().st_mode if declared else 0o755
    return (0o7 if user.uid == 0 else mode & 0o7) << 6
