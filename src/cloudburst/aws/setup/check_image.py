"""Check of the image that tasks pull: it exists and is built for the tasks' processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import httpx

from cloudburst.aws.client.public_ip import is_emulated
from cloudburst.aws.fargate.task_definition import TaskDefinition
from cloudburst.aws.setup.checks import (
    INIT,
    Check,
    CheckContext,
    failed,
    passed,
    warning,
)
from cloudburst.aws.setup.ecr import (
    OCI_ARCHITECTURES,
    EcrImage,
    Repository,
    image_id,
    read_images,
    repository_of,
)
from cloudburst.aws.setup.resource_definitions import is_our_image
from cloudburst.errors import CloudburstError
from cloudburst.models.prices import Architecture
from cloudburst.models.settings import OWN_IMAGE
from cloudburst.net.registry.documents import Manifest, parse_config
from cloudburst.net.registry.errors import InvalidImageError
from cloudburst.net.session import get_page
from cloudburst.text import list_some, printable_line

CONFIGURATION_TIMEOUT = 10.0
"""Maximum seconds for reading the configuration of an image."""
_NAME = "platforms"


async def check_platforms(context: CheckContext) -> list[Check]:
    """Check that an image in ECR exists and runs on the processor of its task definition.

    Images in other registries are not checked: each registry has its own way to sign in.
    """
    definition = await context.definition()
    if definition is None or (repository := repository_of(definition.image)) is None:
        return []
    image = definition.image
    images = await read_images(context.aws, repository, [image_id(image)])
    if not images:
        fix = _fix(context, definition)
        if is_emulated(context.settings):
            text = f"{image} is not in ECR, which only an emulator with --registry needs"
            return [warning(_NAME, text, fix)]
        return [failed(_NAME, f"{image} is not in ECR: tasks cannot pull it", fix)]
    platforms = images[0].platforms or dict.fromkeys(
        await _image_platform(context, repository, images[0]), ""
    )
    if not platforms:
        return [warning(_NAME, f"not checked: ECR does not show the processor of {image}")]
    return [await _check_platform(context, definition, repository, platforms)]


async def _check_platform(
    context: CheckContext,
    definition: TaskDefinition,
    repository: Repository,
    platforms: Mapping[str, str],
) -> Check:
    needed = _needed(definition)
    names = list_some([printable_line(name, 40) for name in sorted(platforms)])
    revision, fix = definition.arn.rpartition("/")[2], _fix(context, definition)
    if needed not in platforms:
        text = f"the image is for {names}, the task definition {revision} for {needed}"
        return failed(_NAME, f"{text}: tasks cannot start", fix)
    digest = platforms[needed]
    if digest and not await read_images(context.aws, repository, [{"imageDigest": digest}]):
        text = f"{digest}, the image of {revision} for {needed}, is not in ECR"
        return failed(_NAME, f"{text}: tasks cannot pull it", fix)
    return passed(_NAME, f"the image is for {names}")


def _needed(definition: TaskDefinition) -> str:
    architecture = definition.architecture
    return OCI_ARCHITECTURES.get(cast("Architecture", architecture), architecture)


def _fix(context: CheckContext, definition: TaskDefinition) -> str:
    if is_our_image(definition.image) and context.settings.image == OWN_IMAGE:
        return f"{INIT} pushes it for both processors"
    return (
        f"push an image for linux/{_needed(definition)} under that name, or use our own: "
        f"DOCKER_IMAGE={OWN_IMAGE}, then {INIT}"
    )


async def _image_platform(
    context: CheckContext, repository: Repository, image: EcrImage
) -> set[str]:
    if not isinstance(image.document, Manifest):
        return set()
    try:
        response = await context.aws.call(
            "ecr",
            "get_download_url_for_layer",
            in_region=repository.region,
            registryId=repository.account,
            repositoryName=repository.name,
            layerDigest=image.document.config.digest,
        )
        url = str(response["downloadUrl"])
        data = await get_page(url, seconds=CONFIGURATION_TIMEOUT)
        return {parse_config(data).platform.architecture}
    except (CloudburstError, InvalidImageError, httpx.HTTPError, httpx.InvalidURL):
        return set()
