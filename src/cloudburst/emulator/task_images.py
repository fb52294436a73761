"""Images of one task: their pull, and how their programs run in them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from anyio import Lock, to_thread

from cloudburst.emulator.containers import Confinement
from cloudburst.emulator.image_store import ImageStore, PullError, UnpackedImage
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.task_state import ImagePull
from cloudburst.emulator.unpacked_files import UnknownUserError, find_user, make_folder

NOT_STARTED = (
    "CannotStartContainerError: ResourceInitializationError: failed to create new container "
    "runtime task: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: {problem}: unknown"
)
"""Stopped reason of a task whose container cannot be started:
https://github.com/saebyn/glowing-telegram/issues/398 (2025-03)."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Value of ``PATH`` for images that set none, as in Docker."""
ROOT_VOLUME_MODE = 0o755
"""Mode of a volume that the image does not declare; it belongs to root: "Bind mounts" in the ECS
developer guide (2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProgram:
    """Program of a container in its image."""

    command: Sequence[str]
    environment: Mapping[str, str]
    """Environment variables of the image."""
    confinement: Confinement


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
            except (OSError, ValueError, UnknownUserError) as exc:  # ValueError: a path with NUL
                return NOT_STARTED.format(problem=exc)
        return None

    async def remove_files(self) -> None:
        """Remove the volumes of the task, which has stopped, and its changes to images."""
        async with self._lock:  # a pull that was cancelled may still be in a thread
            await self.store.release(self.task)

    @property
    def _folder(self) -> Path:
        return self.store.files_of(self.task)

    def _prepared(self, container: Mapping[str, Any], image: UnpackedImage) -> ImageProgram:
        """Create the folders of a container, and return its program."""
        override = self.spec.override(container["name"])
        user = find_user(image.root, str(container.get("user") or image.config.user))
        command = _command(container, override, image)
        if not command:
            raise OSError("no command specified")
        writable = None if container.get("readonlyRootFilesystem") else self._layer(container)
        return ImageProgram(
            command=command,
            environment={"PATH": DEFAULT_PATH, "HOME": user.home} | dict(image.config.environment),
            confinement=Confinement(
                root=image.root,
                writable=writable,
                volumes=list(self._volumes(container, image)),
                uid=user.uid,
                gid=user.gid,
                folder=str(container.get("workingDirectory") or image.config.working_folder or "/"),
                init=self.spec.has_init(container),
            ),
        )

    def _layer(self, container: Mapping[str, Any]) -> Path:
        """Create the folder for a container's changes to its image."""
        folder = self._folder / "layers" / str(self.spec.containers.index(container))
        for name in ("changes", "work", "root"):
            (folder / name).mkdir(parents=True)
        return folder

    def _volumes(
        self, container: Mapping[str, Any], image: UnpackedImage
    ) -> Sequence[tuple[Path, str, bool]]:
        names = [str(volume.get("name")) for volume in self.spec.definition.get("volumes") or ()]
        volumes = list[tuple[Path, str, bool]]()
        for mount in container.get("mountPoints") or ():
            path, number = str(mount["containerPath"]), names.index(str(mount["sourceVolume"]))
            _check_mount_point(path)
            mode = make_folder(image.root, path)
            folder = self._folder / "volumes" / str(number)
            if not folder.exists():
                folder.mkdir(parents=True)
                folder.chmod(_volume_mode(mode, declared=path in image.config.volumes))
            volumes.append((folder, path.lstrip("/"), bool(mount.get("readOnly"))))
        return volumes


def _check_mount_point(path: str) -> None:
    """Reject the root folder and ``/proc`` as mount points, as Docker and its runtime do."""
    first = next(iter(PurePosixPath(path).parts[1:]), "")
    if not first:
        raise OSError("invalid volume specification: destination can't be '/'")
    if first == "proc":
        raise OSError(f'"{path}" cannot be mounted because it is inside /proc')


def _command(
    container: Mapping[str, Any], override: Mapping[str, Any], image: UnpackedImage
) -> list[str]:
    """Return the command of a container, as Docker combines it.

    An entry point of the definition also replaces the command of the image.
    """
    entry_point = container.get("entryPoint")
    command = override.get("command") or container.get("command")
    if command is None:
        command = () if entry_point else image.config.command
    return [str(word) for word in (*(entry_point or image.config.entrypoint), *command)]


def _volume_mode(mode: int, *, declared: bool) -> int:
    """Return the mode of a volume at a folder of the image with a given mode.

    Volumes and the files of an image belong to root. Without root, they belong to the user of this
    process, who is also the user in the container: he then gets the rights of other users.
    """
    wanted = mode if declared else ROOT_VOLUME_MODE
    if os.geteuid() == 0:
        return wanted
    others = wanted & 0o7
    return others << 6 | others << 3 | others | (0o1000 & wanted)
