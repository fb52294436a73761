"""The ECR repository of our image: its creation, its images and their removal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.aws.setup.changes import AccountChanges, StepOutcome
from cloudburst.aws.setup.ecr_images import (
    MAX_IMAGES_PER_CALL,
    EcrImage,
    as_dict,
    as_list,
    is_missing,
    parse_object,
    read_images,
)
from cloudburst.aws.setup.ecr_login import OUR_REPOSITORY
from cloudburst.aws.setup.images import Repository
from cloudburst.aws.setup.resource_definitions import has_our_tags, tag_list
from cloudburst.errors import AWSError, CloudburstError
from cloudburst.models.task import PROTOCOL_VERSION_LABEL
from cloudburst.registry.documents import INDEX_TYPES
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
    created_by_init: bool
    """True if the repository carries the tags with which ``init`` marks its resources."""
    scans_on_push: bool


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
        return None
    arn = str(found["repositoryArn"])
    tags = await changes.read("ecr", "list_tags_for_resource", resourceArn=arn)
    scanning: Mapping[str, Any] = found.get("imageScanningConfiguration") or {}
    return ImageRepository(
        name=name,
        arn=arn,
        created_by_init=has_our_tags(tags["tags"]),
        scans_on_push=bool(scanning.get("scanOnPush")),
    )


async def ensure_repository(
    changes: AccountChanges, found: ImageRepository | None, name: str = OUR_REPOSITORY
) -> None:
    """Create the repository, or correct one that ``init`` created.

    Raises the errors of `AWSClient.call`.
    """
    policy = json.dumps(LIFECYCLE_POLICY)
    if found is None:
        await changes.change(
            "ecr",
            "create_repository",
            repositoryName=name,
            imageScanningConfiguration={"scanOnPush": True},
            tags=tag_list(key="Key", value="Value"),
        )
        await changes.change(
            "ecr", "put_lifecycle_policy", repositoryName=name, lifecyclePolicyText=policy
        )
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
        await changes.change(
            "ecr", "put_lifecycle_policy", repositoryName=name, lifecyclePolicyText=policy
        )
        corrections.append(f"keeps {KEPT_IMAGES} images")
    outcome = StepOutcome.UPDATED if corrections else StepOutcome.FOUND
    changes.record(_RESOURCE, name, outcome, ", ".join(corrections))


async def _lifecycle_policy(changes: AccountChanges, name: str) -> Mapping[str, object] | None:
    try:
        response = await changes.read("ecr", "get_lifecycle_policy", repositoryName=name)
    except CloudburstError as exc:
        if is_missing(exc):
            return None
        raise
    return parse_object(response["lifecyclePolicyText"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryImages:
    """Images in our repository."""

    indexes: Sequence[str]
    """Digests of our images."""
    parts: Sequence[str]
    """Digests of the images without a tag that belong to no image of others: the architectures of
    our images."""
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
    """Return the images in our repository. Raises the errors of `AWSClient.call`."""
    repository = Repository(account=account, region=changes.aws.region, name=name)
    details: list[Mapping[str, Any]] = await changes.aws.collect_pages(
        "ecr", "describe_images", "imageDetails", repositoryName=name
    )
    tags = {str(one["imageDigest"]): list(one.get("imageTags") or ()) for one in details}
    indexes = {
        one["imageDigest"] for one in details if one.get("imageManifestMediaType") in INDEX_TYPES
    }
    wanted = [digest for digest in tags if tags[digest] or digest in indexes]
    read = await read_images(changes.aws, repository, [{"imageDigest": one} for one in wanted])
    ours = {image.digest for image in read if OUR_ANNOTATION in image.annotations}
    others = [digest for digest in wanted if digest not in ours]
    kept = {part for image in read if image.digest in others for part in _parts(image)}
    return RepositoryImages(
        indexes=sorted(ours),
        parts=[one for one in tags if one not in wanted and one not in kept],
        others=[tags[digest][0] if tags[digest] else digest for digest in others],
    )


async def remove_repository(changes: AccountChanges, name: str, images: RepositoryImages) -> None:
    """Delete a repository that ``init`` created, with our images in it.

    If it has images that ``init`` did not push, only ours are deleted.

    Raises:
        CloudburstError: AWS refuses a deletion; or any other error of `AWSClient.call`.
    """
    if not images.others:
        await changes.change("ecr", "delete_repository", repositoryName=name, force=True)
        return
    # ECR deletes no manifest that an index names, so the indexes come first.
    await _delete_images(changes, name, images.indexes)
    await _delete_images(changes, name, images.parts)


def _parts(index: EcrImage) -> list[str]:
    """Return the digests of all manifests that an index names."""
    entries = map(as_dict, as_list(index.manifest.get("manifests")))
    return [str(entry.get("digest")) for entry in entries]


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
