"""Which images in our repository are ours: destroy removes those and no others."""

from __future__ import annotations

import json
from functools import partial

import pytest

from cloudburst.aws.setup.changes import AccountChanges
from cloudburst.aws.setup.ecr_repository import (
    LIFECYCLE_POLICY,
    read_repository_to_remove,
)
from cloudburst.aws.setup.resource_definitions import tag_list
from support.aws_answers import answering
from support.setup_accounts import digest_of

pytestmark = pytest.mark.anyio

KIND = "application/vnd.oci.image"
OURS = {"cloudburst.protocol-version": "1"}


class Images:
    """Images of a repository, by a name of the test."""

    def __init__(self):
        self._texts, self._tags = {}, {}

    def single(self, name, *, tags=(), annotations=None):
        config = {"mediaType": f"{KIND}.config.v1+json", "digest": digest_of(name), "size": 1}
        document = {"config": config, "layers": []}
        return self._add(name, "manifest", document, tags, annotations)

    def index(self, name, *parts, tags=(), annotations=None):
        entries = [
            {"mediaType": f"{KIND}.manifest.v1+json", "digest": self[part], "size": 1}
            for part in parts
        ]
        return self._add(name, "index", {"manifests": entries}, tags, annotations)

    def _add(self, name, kind, document, tags, annotations):
        head = {"schemaVersion": 2, "mediaType": f"{KIND}.{kind}.v1+json"}
        self._texts[name] = json.dumps({**head, **document, "annotations": annotations or {}})
        self._tags[name] = list(tags)

    def __getitem__(self, name):
        return digest_of(self._texts[name])

    def names(self, digests):
        return [name for name in self._texts if self[name] in digests]

    @property
    def answers(self):
        arn = "arn:aws:ecr:us-east-1:123456789012:repository/cloudburst"
        repository = {"repositoryName": "cloudburst", "repositoryArn": arn}
        policy = json.dumps(LIFECYCLE_POLICY)
        return {
            "describe_repositories": {"repositories": [repository]},
            "list_tags_for_resource": {"tags": tag_list(key="Key", value="Value")},
            "get_lifecycle_policy": {
                "repositoryName": "cloudburst",
                "lifecyclePolicyText": policy,
            },
            "describe_images": {
                "imageDetails": [
                    {"imageDigest": self[name], "imageTags": self._tags[name]}
                    for name in self._texts
                ]
            },
            "batch_get_image": {
                "images": [
                    {"imageId": {"imageDigest": self[name]}, "imageManifest": text}
                    for name, text in self._texts.items()
                ]
            },
            "batch_delete_image": {"imageIds": [], "failures": []},
            "delete_repository": {"repository": repository},
        }


@pytest.fixture
def images():
    """Three pushes of ours: the last one, an earlier one of the same version, and one that was
    cut before its index. And images of others."""
    images = Images()
    images.single("x86", annotations=OURS)
    images.single("arm")  # as an earlier version has pushed it
    images.index("ours", "x86", "arm", tags=["1.0"], annotations=OURS)
    images.single("earlier part", annotations=OURS)
    images.index("earlier", "earlier part", annotations=OURS)
    images.single("cut", annotations=OURS)
    return images


async def removed(images):
    """The step of the removal, the names of the images that it deletes, and its calls."""
    async with answering(images.answers) as answers:
        changes = AccountChanges(answers.aws)
        read = partial(read_repository_to_remove, answers.aws, "123456789012")
        resource = await read()
        answers.calls.clear()
        await changes.remove("image repository", "cloudburst", read)
        (step,) = changes.steps
        ids = [one.parameters.get("imageIds", ()) for one in resource.removal]
        digests = [one["imageDigest"] for each in ids for one in each]
        return step, images.names(digests), answers.calls[4:]


async def test_all_that_init_has_pushed_is_removed_with_the_repository(images):
    step, names, calls = await removed(images)
    assert (step.outcome, step.detail) == ("removed", "with 2 images")
    assert set(names) == {"ours", "earlier", "x86", "arm", "earlier part", "cut"}
    assert calls == ["batch_delete_image", "delete_repository"]


@pytest.mark.parametrize("other", ["tagged", "untagged", "our content", "index"])
async def test_repository_with_an_image_of_others_is_kept_with_all_images(images, other):
    if other == "tagged":
        images.single("theirs", tags=["mine", "latest"])
    elif other == "untagged":
        images.single("theirs")
    elif other == "our content":
        images.single("theirs", tags=["copy"], annotations=OURS)
    else:
        images.index("theirs", "x86", tags=["both"])
    step, names, calls = await removed(images)
    assert (step.outcome, names, calls) == ("kept", [], [])
    assert step.detail.startswith("contains images that init did not push: ")


@pytest.mark.parametrize("manifest", ["", json.dumps({"manifests": [{"digest": 1}]}), "[]"])
async def test_an_image_that_is_none_is_not_ours(images, manifest):
    answers = images.answers
    digest = answers["describe_images"]["imageDetails"][0]["imageDigest"]
    answers["describe_images"]["imageDetails"] = [{"imageDigest": digest}]
    image = {"imageId": {"imageDigest": digest}, "imageManifest": manifest}
    answers["batch_get_image"]["images"] = [image]
    async with answering(answers) as found:
        resource = await read_repository_to_remove(found.aws, "123456789012")
    assert resource.kept == f"contains images that init did not push: {digest}"
    assert resource.removal == ()
