"""The ECR repository of our image: its creation, its images and their removal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import get_structure, or_none
from cloudburst.aws.setup.changes import USED_UNCHANGED, Change, Resource
from cloudburst.aws.setup.ecr import MAX_IMAGES_PER_CALL, OUR_REPOSITORY, Repository, read_images
from cloudburst.aws.setup.resource_definitions import Tags, has_our_tags, tag_list
from cloudburst.models.task import PROTOCOL_VERSION_LABEL
from cloudburst.text import list_some, printable_line

KEPT_IMAGES = 3
"""Number of images that the lifecycle rule keeps: the one in use and two earlier ones."""
UNTAGGED_DAYS = 14
"""Days after its push for which an image without a tag is kept. A tag moves when another image of
the same version is pushed; task definitions that name the earlier image by its digest should be
registered again by then."""
# Lifecycle policy of our repository. The manifests of the architectures have no tags of their own.
# ECR does not remove them while an index names them: "Considerations on image lifecycle policies",
# Amazon ECR user guide (2026-11).
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
OUR_ANNOTATION = PROTOCOL_VERSION_LABEL
"""Annotation of the index of our image, by which `destroy` recognises it."""


async def read_image_repository(
    aws: AWSClient, name: str = OUR_REPOSITORY, *, to_remove: bool = False
) -> Resource:
    """Return the ECR repository of our image; its policy is not read if it is to be removed."""
    named = {"repositoryName": name}
    answer = await or_none(aws.call("ecr", "describe_repositories", repositoryNames=[name]))
    scan = {**named, "imageScanningConfiguration": {"scanOnPush": True}}
    tags: Tags = ()
    missing: list[Change] = []
    found: Mapping[str, Any] | None = answer["repositories"][0] if answer else None
    if found is None:
        create = {**scan, "tags": tag_list(key="Key", value="Value")}
        missing.append(Change("ecr", "create_repository", create, "scans images on push"))
    else:
        arn = found["repositoryArn"]
        tags = (await aws.call("ecr", "list_tags_for_resource", resourceArn=arn))["tags"]
        if not get_structure(found, "imageScanningConfiguration").get("scanOnPush"):
            detail = "scans images on push"
            missing.append(Change("ecr", "put_image_scanning_configuration", scan, detail))
    exists, ours = found is not None, has_our_tags(tags)
    is_read = ours and not to_remove
    if not exists or (is_read and await _lifecycle_policy(aws, name) != LIFECYCLE_POLICY):
        policy = {**named, "lifecyclePolicyText": json.dumps(LIFECYCLE_POLICY)}
        detail = f"keeps {KEPT_IMAGES} images"
        missing.append(Change("ecr", "put_lifecycle_policy", policy, detail))
    return Resource(
        kind="image repository",
        name=name,
        exists=exists,
        tags=tags,
        missing=missing if ours or not exists else (),
        note="" if ours else USED_UNCHANGED,
    )


async def _lifecycle_policy(aws: AWSClient, name: str) -> object:
    answer = await or_none(aws.call("ecr", "get_lifecycle_policy", repositoryName=name))
    return json.loads(answer["lifecyclePolicyText"]) if answer else None


async def read_repository_to_remove(aws: AWSClient, account: str) -> Resource:
    """Return the repository of our image, with the calls that remove it and its images.

    If it contains an image that ``init`` did not push, it is kept with all images. An index is ours
    if it has our annotation. A manifest without a tag is ours if it has the annotation, which it
    may have before its index is pushed, or if an index of ours names it.
    """
    found = await read_image_repository(aws, to_remove=True)
    if not found.exists:
        return found
    name = found.name
    details = await aws.collect_pages("ecr", "describe_images", "imageDetails", repositoryName=name)
    tags = {str(one["imageDigest"]): list(one.get("imageTags") or ()) for one in details}
    repository = Repository(account=account, region=aws.region, name=name)
    read = await read_images(aws, repository, [{"imageDigest": one} for one in tags])
    annotated = [image for image in read if OUR_ANNOTATION in image.annotations]
    indexes = {image.digest for image in annotated if image.is_index}
    parts = {image.digest for image in annotated}.union(*(image.parts for image in annotated))
    untagged = {one for one in tags if one in parts and not tags[one]} - indexes
    if others := [tags[one][0] if tags[one] else one for one in tags.keys() - untagged - indexes]:
        names = list_some([printable_line(one, 80) for one in sorted(others)], 3)
        return replace(found, kept=f"contains images that init did not push: {names}")
    # ECR deletes no manifest that an index names, so the indexes come first.
    ordered = [{"imageDigest": one} for one in (*sorted(indexes), *sorted(untagged))]
    calls: list[dict[str, Any]] = [
        {"repositoryName": name, "imageIds": ordered[start : start + MAX_IMAGES_PER_CALL]}
        for start in range(0, len(ordered), MAX_IMAGES_PER_CALL)
    ]
    removal = [
        *(Change("ecr", "batch_delete_image", parameters) for parameters in calls),
        Change("ecr", "delete_repository", {"repositoryName": name}),
    ]
    count = f"with {len(indexes)} image{'' if len(indexes) == 1 else 's'}" if indexes else ""
    return replace(found, removal=removal, note=count)
