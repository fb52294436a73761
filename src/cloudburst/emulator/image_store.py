"""Images that tasks pull from the registry on this machine, unpacked once for each digest."""

from __future__ import annotations

import fcntl
import os
import platform as machine
import stat
import tempfile
import time
from collections.abc import AsyncGenerator, Collection, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from anyio import CancelScope, Lock, to_thread

from cloudburst.emulator.config import PUBLIC_IMAGE_PATTERN, EmulatedRegistry, EmulatorConfig
from cloudburst.emulator.containers import OUTER_USER
from cloudburst.emulator.images import DOCKER_PLATFORMS, NO_PLATFORM, NO_REGISTRY
from cloudburst.emulator.start_checks import NO_IMAGE
from cloudburst.emulator.task_state import ImagePull
from cloudburst.emulator.unpacked_files import make_folder
from cloudburst.registry import (
    Credentials,
    Descriptor,
    ImageConfig,
    ImageReference,
    NotInRegistryError,
    Platform,
    RegistryClient,
    RegistryError,
    RegistryUnavailableError,
    TransferPolicy,
    open_registry,
    parse_index,
    pull_image,
    unpack_layers,
)
from cloudburst.registry.documents import INDEX_TYPES
from cloudburst.registry.folders import remove_folder

ARCHITECTURES = {"x86_64": "X86_64", "amd64": "X86_64", "aarch64": "ARM64", "arm64": "ARM64"}
"""Architectures of ECS by the name that Linux has for them."""
FOLDER_PREFIX, LOCK_NAME = "cloudburst-emulator-", "lock"
LOCAL_TRANSFERS = TransferPolicy(attempts=2)
"""Limits of the requests to the registry, which is on this machine."""
SYSTEM_FOLDERS = ("proc", "dev")
"""Folders that each container needs as mount points."""
PULL_FAILED = (
    "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve "
    "ref {image}: {problem}"
)
"""Stopped reason of a task whose image is damaged, or whose registry refuses the pull."""
OTHER_PROCESSOR = (
    "CannotStartContainerError: exec format error: the image exists for {platform}, but this "
    "machine runs {own} only; use a task definition for {own} with the emulator"
)
"""Stopped reason of a task for a processor that this machine does not have. On AWS it would run."""


class PullError(Exception):
    """Failure of an image pull; the text is the stopped reason of the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackedImage:
    """Image whose layers are unpacked on this machine."""

    root: Path
    config: ImageConfig
    pulled: ImagePull


class ImageStore:
    """Images of the account's ECR registry. Use it on one event loop only."""

    def __init__(self, config: EmulatorConfig, folder: Path) -> None:
        self.folder = folder
        self.registry = EmulatedRegistry(url="", username="", password="")
        """Registry of the images. `run_emulator` sets it."""
        self.repositories: Collection[str] = ()
        """Names of the repositories of the account."""
        self.confined = False
        """True if tasks run the program of their image."""
        self._host = f"{config.account}.dkr.ecr.{config.region}.amazonaws.com"
        self._lock = Lock()
        self._unpacked: dict[str, UnpackedImage] = {}

    def is_pulled(self, image: str) -> bool:
        """Return whether an image is pulled from a registry.

        All images are, except the public image: `pull` fails for images of other registries.
        """
        return not fnmatchcase(image, PUBLIC_IMAGE_PATTERN)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[RegistryClient]:
        """Open a client of the registry.

        Raises:
            RegistryError: the URL of the registry is not valid.
        """
        login = Credentials(self.registry.username, self.registry.password)
        async with open_registry(self.registry.url, login, policy=LOCAL_TRANSFERS) as client:
            yield client

    async def pull(self, image: str, architecture: str) -> UnpackedImage | None:
        """Pull and unpack an image; return ``None`` if tasks do not run their image.

        Args:
            image: Name of the image.
            architecture: Architecture of the task, ``X86_64`` or ``ARM64``.

        Raises:
            PullError: the image does not exist, or not for the architecture; it is damaged; or this
                machine has another processor.
        """
        platform = DOCKER_PLATFORMS[architecture]
        reference = self._reference(image)
        try:
            async with self.client() as client:
                descriptor = await self._manifest(client, reference, platform)
                if not self.confined:
                    return None
                if ARCHITECTURES.get(machine.machine()) != architecture:
                    own = DOCKER_PLATFORMS.get(ARCHITECTURES.get(machine.machine(), ""), "other")
                    raise PullError(OTHER_PROCESSOR.format(platform=platform, own=own))
                return await self._unpack(client, reference, descriptor, platform)
        except NotInRegistryError as exc:
            raise PullError(NO_IMAGE.format(image=image)) from exc
        except RegistryUnavailableError as exc:
            raise PullError(NO_REGISTRY.format(image=image, registry=self._host)) from exc
        except (RegistryError, OSError) as exc:
            raise PullError(PULL_FAILED.format(image=image, problem=exc)) from exc

    def _reference(self, image: str) -> ImageReference:
        """Return the parts of an image's name, if it is in a repository of the account."""
        try:
            reference = ImageReference.parse(image)
        except RegistryError as exc:
            raise PullError(PULL_FAILED.format(image=image, problem=exc)) from exc
        if reference.registry != self._host:
            raise PullError(NO_REGISTRY.format(image=image, registry=reference.registry))
        if reference.repository not in self.repositories:
            raise PullError(NO_IMAGE.format(image=image))
        return reference

    async def _manifest(
        self, client: RegistryClient, reference: ImageReference, platform: str
    ) -> Descriptor:
        """Return the descriptor of the manifest for a platform."""
        descriptor, data = await client.resolve(reference.repository, reference.reference)
        if descriptor.media_type not in INDEX_TYPES:
            return descriptor
        try:
            return parse_index(data).select(_platform(platform))
        except NotInRegistryError as exc:
            raise PullError(NO_PLATFORM.format(platform=platform)) from exc

    async def _unpack(
        self,
        client: RegistryClient,
        reference: ImageReference,
        descriptor: Descriptor,
        platform: str,
    ) -> UnpackedImage:
        async with self._lock:
            if known := self._unpacked.get(descriptor.digest):
                return known
            blobs, began = self.folder / "blobs", time.monotonic()
            before = await to_thread.run_sync(_size, blobs)
            try:
                image = await pull_image(
                    client, reference.repository, descriptor.digest, _platform(platform), blobs
                )
            except NotInRegistryError as exc:  # its configuration names another platform
                raise PullError(NO_PLATFORM.format(platform=platform)) from exc
            downloaded, root = time.monotonic(), self.folder / "roots" / descriptor.digest[7:]
            # A pull that was cancelled after its last layer has left the folder.
            await to_thread.run_sync(remove_folder, root)
            await unpack_layers(image.layer_paths, root, diff_ids=image.config.diff_ids)
            await to_thread.run_sync(_make_mount_points, root)
            self._unpacked[descriptor.digest] = unpacked = UnpackedImage(
                root=root,
                config=image.config,
                pulled=ImagePull(
                    digest=descriptor.digest,
                    compressed_bytes=sum(layer.size for layer in image.manifest.layers),
                    downloaded_bytes=await to_thread.run_sync(_size, blobs) - before,
                    download_seconds=downloaded - began,
                    unpack_seconds=time.monotonic() - downloaded,
                ),
            )
            return unpacked


@asynccontextmanager
async def open_image_store(config: EmulatorConfig) -> AsyncGenerator[ImageStore | None]:
    """Yield the store of images, if the account has a registry, and remove its files at the end."""
    if config.registry is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    try:
        with _locked(folder):
            await to_thread.run_sync(_prepare, folder)
            yield ImageStore(config, folder)
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(remove_folder, folder)


def _prepare(folder: Path) -> None:
    """Create the folders of the store, and remove those of emulators that were killed."""
    for name in ("blobs/sha256", "roots", "tasks"):
        (folder / name).mkdir(parents=True)
    if os.geteuid() == 0:
        # The containers of root run as another user, who must be able to open known paths. Further
        # users must not: folders of images and volumes can be writable for all users.
        with suppress(OSError):  # in a user namespace without this user no container can start
            os.chown(folder, -1, OUTER_USER)
            folder.chmod(0o710)
    for other in folder.parent.glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):
            _remove_unused(other)


def _remove_unused(folder: Path) -> None:
    """Remove the folder of an emulator of this user that does not run any more.

    Raises:
        OSError: the emulator is running, or the folder has no lock.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_folder(folder)
    finally:
        os.close(lock)


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Hold a lock on a folder, by which other emulators see that it is in use."""
    with (folder / "new-lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "new-lock").rename(folder / LOCK_NAME)
        yield


def _make_mount_points(root: Path) -> None:
    for name in SYSTEM_FOLDERS:
        make_folder(root, name)


def _size(blobs: Path) -> int:
    return sum(entry.stat().st_size for entry in blobs.rglob("*") if entry.is_file())


def _platform(text: str) -> Platform:
    system, _, architecture = text.partition("/")
    return Platform(architecture, system)
