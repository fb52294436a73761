"""The image of the tasks is looked at where ECR has it: is it there, and for which processor."""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import ClassVar

import httpx
import pytest

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.setup import check_image
from cloudburst.aws.setup.check_account import doctor
from cloudburst.aws.setup.check_image import check_platforms
from cloudburst.aws.setup.checks import CheckContext, CheckStatus
from cloudburst.errors import AccessDeniedError
from cloudburst.models.tier import Tier
from cloudburst.redaction import install_filters
from support.setup_accounts import (
    bare,
    client,
    digest_of,
    here,
    index,
    manifest,
    pushed,
    session,
    set_up,
    settings_of,
)

pytestmark = pytest.mark.anyio

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/cloudburst:1"
DIGEST = "sha256:" + "1" * 64
SINGLE = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": "sha256:" + "0" * 64,
        "size": 2,
    },
    "layers": [],
}


class ECR:
    """ECR and ECS as far as this check asks them."""

    region = "us-east-1"

    def __init__(self, manifest, *, architecture="X86_64", image=IMAGE, denied=(), url=""):
        self.asked = []
        self._manifest = manifest if isinstance(manifest, str) else json.dumps(manifest)
        self._architecture = architecture
        self._image = image
        self._denied = denied
        self._url = url or "https://s3.example/config?X-Amz-Signature=secret"

    async def call(self, service, operation, **parameters):
        self.asked.append((operation, parameters))
        if operation in self._denied:
            raise AccessDeniedError(f"{operation} is denied")
        return {
            "describe_task_definition": {
                "taskDefinition": {
                    "taskDefinitionArn": "arn:aws:ecs:us-east-1:1:task-definition/t:1",
                    "runtimePlatform": {"cpuArchitecture": self._architecture},
                    "containerDefinitions": [
                        {"name": "cloudburst-processor", "image": self._image}
                    ],
                }
            },
            "batch_get_image": {
                "images": [{"imageId": {"imageDigest": DIGEST}, "imageManifest": self._manifest}]
            },
            "get_download_url_for_layer": {"downloadUrl": self._url},
        }[operation]


async def look_at(ecr):
    look = CheckContext(ecr, settings_of(Nothing), tasks=1, tier=Tier.STANDARD)
    found = await check_platforms(look)
    return [(check.status, check.found) for check in found]


def answer_requests(monkeypatch, answer):
    page = partial(check_image.get_page, transport=httpx.MockTransport(answer))
    monkeypatch.setattr(check_image, "get_page", page)


class Nothing:
    """Stands for an emulator of which no setting is needed."""

    environment: ClassVar = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "f6g7h8i9j0"}


def streamed(text, status=200):
    """A response that is read in pieces, as over a network."""

    async def pieces():
        yield text.encode()

    return lambda request: httpx.Response(status, content=pieces())


async def test_an_index_names_its_processors():
    ((state, found),) = await look_at(ECR(index("amd64", "arm64"), architecture="ARM64"))
    assert (state, found) == (CheckStatus.PASSED, "the image is for amd64, arm64")


@pytest.mark.parametrize(("built", "wanted"), [("arm64", "X86_64"), ("amd64", "ARM64")])
async def test_an_image_for_the_other_processor_is_a_failure(built, wanted):
    ((state, found),) = await look_at(ECR(index(built), architecture=wanted))
    assert state is CheckStatus.FAILED
    assert found.startswith(f"the image is for {built}")


async def test_the_configuration_of_a_single_image_names_its_processor(caplog, monkeypatch):
    install_filters()  # as `doctor` does when it opens AWS
    caplog.set_level(logging.DEBUG)

    def answer(request):
        assert request.url == "https://s3.example/config?X-Amz-Signature=secret"
        return streamed('{"architecture": "arm64", "os": "linux", "rootfs": {"diff_ids": []}}')(
            request
        )

    answer_requests(monkeypatch, answer)
    ((state, found),) = await look_at(ECR(SINGLE))
    assert state is CheckStatus.FAILED
    assert "for arm64, the task definition t:1 for amd64" in found
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        streamed("", 403),
        streamed("<xml>"),
        streamed('{"os": "linux"}'),
    ],
)
async def test_a_configuration_that_cannot_be_read_is_a_warning(answer, monkeypatch):
    answer_requests(monkeypatch, answer)
    ((state, found),) = await look_at(ECR(SINGLE))
    assert state is CheckStatus.WARNING
    assert found.startswith("not checked")


@pytest.mark.parametrize("url", ["http://[x", "ftp://s3.example/config", "https://s3\n"])
async def test_a_configuration_at_no_address_is_a_warning(url):
    assert (await look_at(ECR(SINGLE, url=url)))[0][0] is CheckStatus.WARNING


async def test_names_of_processors_are_shown_in_one_line():
    ((_, found),) = await look_at(ECR(index("x\n" * 7000)))
    assert len(found) < 200
    assert found.isprintable()


async def test_a_denied_configuration_is_a_warning():
    ecr = ECR(SINGLE, denied={"get_download_url_for_layer"})
    assert (await look_at(ecr))[0][0] is CheckStatus.WARNING


@pytest.mark.parametrize("manifest", ["", "no json", "[]", {"manifests": [1, {}, {"platform": 2}]}])
async def test_a_strange_manifest_is_a_warning(manifest):
    assert (await look_at(ECR(manifest)))[0][0] is CheckStatus.WARNING


async def test_an_image_elsewhere_is_not_asked_for():
    ecr = ECR(SINGLE, image="betashow/video-generation-api:latest")
    assert await look_at(ecr) == []
    assert [operation for operation, _ in ecr.asked] == ["describe_task_definition"]


async def test_the_registry_of_another_region_and_account_is_asked():
    far = "210987654321.dkr.ecr.eu-west-1.amazonaws.com/team/x@sha256:ff"
    ecr = ECR(index("amd64"), image=far)
    await look_at(ecr)
    asked = next(parameters for name, parameters in ecr.asked if name == "batch_get_image")
    assert asked["in_region"] == "eu-west-1"
    assert asked["registryId"] == "210987654321"
    assert asked["repositoryName"] == "team/x"
    assert asked["imageIds"] == [{"imageDigest": "sha256:ff"}]


async def test_an_image_that_was_never_pushed_is_a_failure(emulator, monkeypatch):
    _, settings = await set_up(emulator, changes={"DOCKER_IMAGE": IMAGE})

    async def seen():
        async with open_aws(settings, session=session()) as aws:
            look = CheckContext(aws, settings, tasks=1, tier=Tier.STANDARD)
            (check,) = await check_platforms(look)
        return check

    check = await seen()
    assert check.status is CheckStatus.WARNING  # tasks of an emulator without a registry start
    assert check.found.endswith("is not in ECR, which only an emulator with --registry needs")
    monkeypatch.setattr("cloudburst.aws.setup.check_image.is_emulated", lambda settings: False)
    check = await seen()  # no repository
    assert check.status is CheckStatus.FAILED
    assert "is not in ECR" in check.found
    assert "push an image for linux/amd64 under that name, or use our own" in check.fix
    with pushed(emulator, "cloudburst:2", "amd64"):
        assert (await seen()).status is CheckStatus.FAILED  # no such tag
    with pushed(emulator, "cloudburst:1", "amd64", "arm64"):
        check = await seen()
        assert (check.status, check.found) == (CheckStatus.PASSED, "the image is for amd64, arm64")
    with pushed(emulator, "cloudburst:1", "amd64", "arm64", there=("arm64",)):
        check = await seen()
        assert check.status is CheckStatus.FAILED
        missing = digest_of(manifest("amd64"))
        assert check.found.startswith(f"{missing}, the image of cloudburst-render:")
        assert check.found.endswith(" for amd64, is not in ECR: tasks cannot pull it")


async def test_a_denied_call_of_ecr_names_the_permission():
    with bare(moto=False, prepared=True, denied=frozenset({"ecr:*"})) as emulator:
        ecs = client(emulator, "ecs")
        ecs.register_task_definition(
            family="cloudburst-task",
            containerDefinitions=[{"name": "cloudburst-processor", "image": IMAGE}],
        )
        diagnosis = await doctor(
            settings_of(emulator), tasks=1, find_address=here, session=session()
        )
    (check,) = [check for check in diagnosis.checks if check.name == "platforms"]
    assert check.status is CheckStatus.WARNING
    assert check.found.startswith("not checked: ")
    assert check.fix.endswith("cloudburst init --policy doctor")
