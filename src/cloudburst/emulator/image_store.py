"""Images that tasks pull from the registry on this machine, unpacked once for each digest."""

from __future__ import annotations

import platform as machine
import shutil
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from anyio import Lock, to_thread

from cloudburst.emulator.config import PUBLIC_IMAGE_PATTERN, EmulatorConfig
from cloudburst.emulator.local_registry import LOCAL_TRANSFERS, AccountRegistry
from cloudburst.emulator.start_checks import DOCKER_PLATFORMS, NO_IMAGE, NO_PLATFORM, NO_REGISTRY
from cloudburst.emulator.task_state import ImagePull
from cloudburst.net.registry.client import RegistryClient, open_registry
from cloudburst.net.registry.documents import (
    INDEX_TYPES,
    Descriptor,
    ImageConfig,
    Platform,
    parse_index,
)
from cloudburst.net.registry.errors import (
    NotInRegistryError,
    RegistryError,
    RegistryUnavailableError,
)
from cloudburst.net.registry.images import pull_image
from cloudburst.net.registry.names import ImageReference
from cloudburst.net.registry.unpack import unpack_layers

# Architectures of ECS by the name that Linux has for them.
ARCHITECTURES = {"x86_64": "X86_64", "amd64": "X86_64", "aarch64": "ARM64", "arm64": "ARM64"}
# Stopped reason of a task whose image is damaged, or whose registry refuses the pull.
PULL_FAILED = (
    "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve "
    "ref {image}: {problem}"
)
# Stopped reason of a task for a processor that this machine does not have. On AWS it would run.
OTHER_PROCESSOR = (
    "CannotStartContainerError: exec format error: the image exists for {platform}, but this "
    "machine runs {own} only; use a task definition for {own} with the emulator"
)


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

    def __init__(
        self, config: EmulatorConfig, folder: Path, registry: AccountRegistry, *, runs: bool
    ) -> None:
        self.folder = folder
        """Folder for the files of images and tasks."""
        self.registry = registry
        """Registry that has the images."""
        self._runs = runs
        self.repositories = set[str]()
        """Names of the account's repositories."""
        self._host = f"{config.account}.dkr.ecr.{config.region}.amazonaws.com"
        self._lock = Lock()
        self._unpacked: dict[str, UnpackedImage] = {}
        """Unpacked images by digest. They are kept until the emulator ends."""

    def is_pulled(self, image: str) -> bool:
        """Return whether an image is pulled from a registry.

        All images are, except the public image: `pull` fails for images of other registries.
        """
        return not fnmatchcase(image, PUBLIC_IMAGE_PATTERN)

    async def pull(self, image: str, architecture: str) -> UnpackedImage | None:
        """Pull and unpack an image; return ``None`` if tasks do not run their image."""
        platform = DOCKER_PLATFORMS[architecture]
        reference = self._reference(image)
        try:
            async with open_registry(
                self.registry.url, self.registry.credentials, policy=LOCAL_TRANSFERS
            ) as client:
                descriptor = await self._manifest(client, reference, platform)
                if not self._runs:
                    return None
                if ARCHITECTURES.get(machine.machine()) != architecture:
                    own = DOCKER_PLATFORMS.get(ARCHITECTURES.get(machine.machine(), ""), "other")
                    raise PullError(OTHER_PROCESSOR.format(platform=platform, own=own))
                async with self._lock:
                    if descriptor.digest not in self._unpacked:
                        unpacked = await self._unpack(client, reference, descriptor, platform)
                        self._unpacked[descriptor.digest] = unpacked
                    return self._unpacked[descriptor.digest]
        except NotInRegistryError as exc:
            raise PullError(NO_IMAGE.format(image=image)) from exc
        except RegistryUnavailableError as exc:
            raise PullError(NO_REGISTRY.format(image=image, registry=self._host)) from exc
        except (RegistryError, OSError) as exc:
            raise PullError(PULL_FAILED.format(image=image, problem=exc)) from exc

    def _reference(self, image: str) -> ImageReference:
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
        blobs, wanted = self.folder / "blobs", _platform(platform)
        try:
            image = await pull_image(client, reference.repository, descriptor.digest, wanted, blobs)
        except NotInRegistryError as exc:
            if exc.status:  # removed from the registry in the meantime
                raise RegistryError(str(exc)) from exc
            # The configuration of the image names another platform.
            raise PullError(NO_PLATFORM.format(platform=platform)) from exc
        root = self.folder / "roots" / descriptor.digest.removeprefix("sha256:")
        # A pull that was cancelled may have left the folder.
        await to_thread.run_sync(shutil.rmtree, root, True)
        await unpack_layers(image.layer_paths, root)
        size = sum(layer.size for layer in image.manifest.layers)
        pulled = ImagePull(digest=descriptor.digest, compressed_bytes=size)
        return UnpackedImage(root=root, config=image.config, pulled=pulled)


def _platform(text: str) -> Platform:
    system, _, architecture = text.partition("/")
    return Platform(architecture, system)
