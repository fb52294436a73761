"""Our image in the account's ECR registry: built on this machine, and pushed if ECR lacks it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from anyio import to_thread

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.setup.changes import AccountChanges, StepOutcome
from cloudburst.aws.setup.ecr import (
    OUR_REPOSITORY,
    SHORT_DIGEST_LENGTH,
    EcrImage,
    Repository,
    our_image_name,
    read_images,
)
from cloudburst.aws.setup.ecr_push import (
    open_ecr_registry,
    push_to_ecr,
    translated_registry_errors,
)
from cloudburst.aws.setup.ecr_repository import read_image_repository
from cloudburst.image.build import BuildProgress, build_image
from cloudburst.image.built_image import BuiltImage
from cloudburst.image.options import ImageOptions
from cloudburst.image.own_package import SOURCES_ANNOTATION, sources_hash
from cloudburst.image.version import PACKAGE_VERSION
from cloudburst.net.registry.errors import InvalidImageError
from cloudburst.net.registry.images import PushProgress
from cloudburst.net.registry.names import ImageReference

BuildImage: TypeAlias = Callable[
    [ImageOptions, Callable[[BuildProgress], None] | None], Awaitable[BuiltImage]
]
"""Function that builds our image, such as `cloudburst.image.build_image`."""
ImageProgress: TypeAlias = BuildProgress | PushProgress
"""Progress of the build of the image, or of its upload."""
EXPECTED_MB = 110
"""Maximum compressed size of the image for one architecture, in MB."""
_RESOURCE = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnImage:
    """State of our image before ``init`` changes anything."""

    name: str
    """Name of the image in ECR, without tag and digest."""
    known: EcrImage | None
    """Image that ECR has for this version; ``None`` if it has none."""
    built: BuiltImage | None
    """Image of this installation; ``None`` if ECR has it, and in a dry run, which builds
    nothing."""
    is_in_ecr: bool
    """True if ECR has the image of this installation under the tag of its version."""

    @property
    def reference(self) -> str:
        """Name of the image with its digest; with its tag as long as the digest is not known."""
        if self.built is not None:
            return f"{self.name}@{self.built.digest}"
        if self.known is not None and self.is_in_ecr:
            return f"{self.name}@{self.known.digest}"
        return f"{self.name}:{PACKAGE_VERSION}"


async def prepare_own_image(
    aws: AWSClient,
    options: ImageOptions,
    *,
    dry_run: bool,
    build: BuildImage | None = None,
    on_progress: Callable[[ImageProgress], None] | None = None,
) -> OwnImage:
    """Build our image unless ECR has it, without changing the account.

    ECR has it if the image with the tag of this version was built from the same sources and base
    name, for all architectures, and with bytecode: another machine may have built it from an
    earlier base.

    Raises:
        ImageError: The image cannot be built.
    """
    account = await aws.account_id()
    repository = Repository(account=account, region=aws.region, name=OUR_REPOSITORY)
    images = await read_images(aws, repository, [{"imageTag": PACKAGE_VERSION}])
    known = images[0] if images else None
    found = OwnImage(
        name=our_image_name(account, aws.region),
        known=known,
        built=None,
        is_in_ecr=known is not None and await to_thread.run_sync(_is_current, known, options),
    )
    if found.is_in_ecr or dry_run:
        return found
    built = await (build or build_image)(options, on_progress)
    if known is not None and known.digest == built.digest:
        return replace(found, built=built, is_in_ecr=True)
    with translated_registry_errors():
        async with open_ecr_registry(aws):  # a login that fails does so before any change
            pass
    return replace(found, built=built)


def _is_current(known: EcrImage, options: ImageOptions) -> bool:
    """Return whether an image is the one that this installation would build; blocks."""
    try:
        base = ImageReference.parse(options.base)
    except InvalidImageError:
        return False  # the build says what is wrong with it
    name = str(ImageReference(base.registry, base.repository, base.tag))
    required = {
        SOURCES_ANNOTATION: sources_hash(),
        "org.opencontainers.image.base.name": name,
        **({"org.opencontainers.image.base.digest": base.digest} if base.digest else {}),
    }
    return (
        all(known.annotations.get(key) == value for key, value in required.items())
        and known.annotations.get("cloudburst.bytecode", "none") != "none"
        and set(options.architectures) <= set(known.platforms)
    )


def announce_upload(changes: AccountChanges, image: OwnImage) -> None:
    """Announce what is uploaded at most."""
    if image.built is None or image.is_in_ecr:
        return
    for note in image.built.notes:
        changes.announce_wait(note)
    layers = {one.digest: one.size for each in image.built.platforms for one in each.layers}
    total = sum(layers.values())
    changes.announce_wait(f"image {image.built.version}: at most {_megabytes(total)} to upload")


async def push_own_image(
    changes: AccountChanges,
    image: OwnImage,
    on_progress: Callable[[ImageProgress], None] | None = None,
) -> None:
    """Create the repository, and push the image unless ECR has it.

    Layers that ECR has are not sent. The tag is moved last, so that it never names an incomplete
    image.

    Raises:
        AccessDeniedError: ECR does not allow the push.
        NoAnswerError: The registry does not answer.
        CloudburstError: Any other refusal of the registry, or any error of `AWSClient.call`.
    """
    await changes.ensure(partial(read_image_repository, changes.aws))
    name = f"{OUR_REPOSITORY}:{PACKAGE_VERSION}"
    outcome = StepOutcome.CREATED if image.known is None else StepOutcome.UPDATED
    if image.is_in_ecr:
        digest = ImageReference.split(image.reference).digest or ""
        found = f"in ECR as {digest[:SHORT_DIGEST_LENGTH]}"
        changes.record(_RESOURCE, name, StepOutcome.FOUND, found)
        return
    if image.built is None:
        detail = f"built here, at most {EXPECTED_MB} MB to upload for each architecture"
        changes.record(_RESOURCE, name, outcome, detail)
        return
    report = await push_to_ecr(changes.aws, image.built, on_progress=on_progress)
    sent = f"{_megabytes(report.bytes_sent)} pushed in {report.seconds:.0f} s"
    present = f", {_megabytes(report.bytes_present)} were there" if report.bytes_present else ""
    changes.record(_RESOURCE, name, outcome, f"{sent}{present}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
