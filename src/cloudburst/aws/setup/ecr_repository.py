"""The ECR repository of our image: its creation, its images and their removal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cloudburst.aws.client.responses import not_from_aws
from cloudburst.aws.setup.changes import AccountChanges, StepOutcome
from cloudburst.aws.setup.ecr_images import (
    MAX_IMAGES_PER_CALL,
    is_missing,
    read_images,
)
from cloudburst.aws.setup.ecr_login import OUR_REPOSITORY
from cloudburst.aws.setup.images import Repository
from cloudburst.aws.setup.resource_definitions import Tags, has_our_tags, tag_list
from cloudburst.errors import AWSError, CloudburstError
from cloudburst.models.task import PROTOCOL_VERSION_LABEL
from cloudburst.text import list_some, printable_line

KEPT_IMAGES = 3
"""Number of images that the lifecycle rule keeps: the one in use and two earlier ones."""
UNTAGGED_DAYS = 14
"""Days after its push for which an image without a tag is kept. A tag moves when another image of
the same version is pushed; task definitions that name the earlier image by its digest should be
registered again by then."""
LIFECYCLE_POLICY: Mapping[str, Any] = {
    "rules": [
        {
            "rulePriority": 1,
            "description": f"keep {KEPT_IMAGES} images",
            "selection": {
                "tagStatus": "tagged",
                "tagPatternList": ["*"],
                "countType": "imageCountMoreThan",
                "countNumber": KEPT_IMAGES,
            },
            "action": {"type": "expire"},
        },
        {
            "rulePriority": 2,
            "description": "remove images without a tag",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": UNTAGGED_DAYS,
            },
            "action": {"type": "expire"},
        },
    ]
}
"""Lifecycle policy of our repository. The manifests of the architectures have no tags of their own.
ECR does not remove them while an index names them: "Considerations on image lifecycle policies",
Amazon ECR user guide (2026-11)."""
OUR_ANNOTATION = PROTOCOL_VERSION_LABEL
"""Annotation of the index of our image, by which `list_images` recognises it."""
_RESOURCE = "image repository"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRepository:
    """An existing ECR repository."""

    name: str
    arn: str
    tags: Tags
    scans_on_push: bool

    @property
    def created_by_init(self) -> bool:
        """True if the repository carries the tags with which ``init`` marks its resources."""
        return has_our_tags(self.tags)


async def describe_repository(
    changes: AccountChanges, name: str = OUR_REPOSITORY
) -> ImageRepository | None:
    """Return a repository of the account's registry; ``None`` if it does not exist.

    Raises the errors of `AWSClient.call`.
    """
    try:
        response = await changes.read("ecr", "describe_repositories", repositoryNames=[name])
    except CloudburstError as exc:
        if is_missing(exc):
            return None
        raise
    found: Mapping[str, Any] | None = next(
        (one for one in response["repositories"] if one["repositoryName"] == name), None
    )
    if found is None:
        raise not_from_aws("describe_repositories", f"it does not describe {name}")
    arn = str(found["repositoryArn"])
    tags = await changes.read("ecr", "list_tags_for_resource", resourceArn=arn)
    scanning: Mapping[str, Any] = found.get("imageScanningConfiguration") or {}
    return ImageRepository(
        name=name,
        arn=arn,
        tags=tags["tags"],
        scans_on_push=bool(scanning.get("scanOnPush")),
    )


async def ensure_repository(
    changes: AccountChanges, found: ImageRepository | None, name: str = OUR_REPOSITORY
) -> None:
    """Create the repository, or correct one that ``init`` created.

    Raises the errors of `AWSClient.call`.
    """
    policy = {"repositoryName": name, "lifecyclePolicyText": json.dumps(LIFECYCLE_POLICY)}
    put_policy = partial(changes.change, "ecr", "put_lifecycle_policy", **policy)
    if found is None:
        await changes.change(
            "ecr",
            "create_repository",
            repositoryName=name,
            imageScanningConfiguration={"scanOnPush": True},
            tags=tag_list(key="Key", value="Value"),
        )
        await put_policy()
        detail = f"scans images on push, keeps {KEPT_IMAGES} images"
        changes.record(_RESOURCE, name, StepOutcome.CREATED, detail)
        return
    if not found.created_by_init:
        changes.record(_RESOURCE, name, StepOutcome.FOUND, "not created by init, used unchanged")
        return
    corrections: list[str] = []
    if not found.scans_on_push:
        await changes.change(
            "ecr",
            "put_image_scanning_configuration",
            repositoryName=name,
            imageScanningConfiguration={"scanOnPush": True},
        )
        corrections.append("scans images on push")
    if await _lifecycle_policy(changes, name) != LIFECYCLE_POLICY:
        await put_policy()
        corrections.append(f"keeps {KEPT_IMAGES} images")
    outcome = StepOutcome.UPDATED if corrections else StepOutcome.FOUND
    changes.record(_RESOURCE, name, outcome, ", ".join(corrections))


async def _lifecycle_policy(changes: AccountChanges, name: str) -> object:
    """Return the lifecycle policy of a repository; ``None`` if it has none, or not a valid one."""
    try:
        response = await changes.read("ecr", "get_lifecycle_policy", repositoryName=name)
    except CloudburstError as exc:
        if is_missing(exc):
            return None
        raise
    try:
        policy: object = json.loads(response["lifecyclePolicyText"])
    except (ValueError, RecursionError):
        return None
    return policy


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryImages:
    """Images in our repository."""

    indexes: Sequence[str]
    """Digests of our images."""
    parts: Sequence[str]
    """Digests of the manifests of our images, one for each architecture and each statement, that
    belong to no image of others."""
    others: Sequence[str]
    """Names of the images that ``init`` did not push: their tag, or their digest without one."""

    @property
    def outcome(self) -> tuple[StepOutcome, str]:
        """Outcome of `remove_repository`, and its details for the user."""
        if not self.others:
            return StepOutcome.REMOVED, f"with {_count(self.indexes)}" if self.indexes else ""
        removed = f"{_count(self.indexes)} of ours removed; " if self.indexes else ""
        names = list_some([printable_line(name, 80) for name in self.others], 3)
        return StepOutcome.KEPT, f"{removed}contains images that init did not push: {names}"


async def list_images(changes: AccountChanges, name: str, account: str) -> RepositoryImages:
    """Return the images in our repository. Raises the errors of `AWSClient.call`.

    An index is ours if it has our annotation. A manifest without a tag is ours if it has the
    annotation, which it may have before its index is pushed, or if an index of ours names it.
    """
    repository = Repository(account=account, region=changes.aws.region, name=name)
    details: list[Mapping[str, Any]] = await changes.aws.collect_pages(
        "ecr", "describe_images", "imageDetails", repositoryName=name
    )
    tags = {str(one["imageDigest"]): list(one.get("imageTags") or ()) for one in details}
    read = await read_images(changes.aws, repository, [{"imageDigest": one} for one in tags])
    annotated = [image for image in read if OUR_ANNOTATION in image.annotations]
    indexes = {image.digest for image in annotated if image.is_index}
    parts = {image.digest for image in annotated}.union(*(image.parts for image in annotated))
    # A manifest with a tag, or in an index that is not ours, may be used by others.
    ours = indexes | {one for one in tags if one in parts and not tags[one]}
    used = {part for image in read if image.digest not in ours for part in image.parts}
    return RepositoryImages(
        indexes=sorted(indexes),
        parts=sorted(ours - indexes - used),
        others=[
            tags[one][0] if tags[one] else one
            for one in tags
            if one not in ours and (tags[one] or one not in used)
        ],
    )


async def remove_repository(changes: AccountChanges, name: str, images: RepositoryImages) -> None:
    """Delete our images, and the repository that ``init`` created if no other image is in it.

    Raises:
        CloudburstError: AWS refuses a deletion, such as that of the repository because an image was
            pushed to it meanwhile; or any other error of `AWSClient.call`.
    """
    # ECR deletes no manifest that an index names, so the indexes come first.
    await _delete_images(changes, name, images.indexes)
    await _delete_images(changes, name, images.parts)
    if not images.others:
        await changes.change("ecr", "delete_repository", repositoryName=name)


async def _delete_images(changes: AccountChanges, name: str, digests: Sequence[str]) -> None:
    for start in range(0, len(digests), MAX_IMAGES_PER_CALL):
        part = digests[start : start + MAX_IMAGES_PER_CALL]
        response = await changes.change(
            "ecr",
            "batch_delete_image",
            repositoryName=name,
            imageIds=[{"imageDigest": digest} for digest in part],
        )
        failures: list[Mapping[str, Any]] = (response or {}).get("failures") or []
        refused = [one for one in failures if one.get("failureCode") != "ImageNotFound"]
        if refused:
            code = str(refused[0].get("failureCode"))
            reason = printable_line(str(refused[0].get("failureReason")))
            raise AWSError(f"batch_delete_image: {code}: {reason}", code=code)


def _count(digests: Sequence[str]) -> str:
    return f"{len(digests)} image{'' if len(digests) == 1 else 's'}"
