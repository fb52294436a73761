"""The ECR API: repositories of the account, and the images in its registry."""

from __future__ import annotations

import base64
import json

import httpx
import pytest

from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.emulator_calls import client, refused
from support.tiny_images import SHELL, push, registry_of

pytestmark = pytest.mark.real
EMPTY = SHELL.but(architectures=("amd64", "arm64"), without=".", folders={"tmp": 0o1777})
POLICY = json.dumps({"rules": [{"rulePriority": 1, "description": "x" * 80}]})
MISSING = f"sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def emulator(registry_server):
    registry = registry_of(registry_server)
    config = EmulatorConfig.quick(
        registry=registry, moto=False, denied=frozenset({"ecr:BatchDeleteImage"})
    )
    with FargateEmulator(config) as emulator:
        yield emulator


@pytest.fixture
def ecr(emulator):
    return client(emulator, "ecr")


@pytest.fixture
def name(registry_server, ecr):
    name = registry_server.new_repository("api")
    ecr.create_repository(
        repositoryName=name,
        imageScanningConfiguration={"scanOnPush": True},
        tags=[{"Key": "Project", "Value": "CloudBurst"}],
    )
    return name


def test_a_prepared_account_has_our_repository(ecr):
    assert ecr.describe_repositories(repositoryNames=["cloudburst"])["repositories"]


def test_repositories_are_created_described_and_deleted(ecr, name):
    [found] = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    assert found["repositoryArn"] == f"arn:aws:ecr:us-east-1:123456789012:repository/{name}"
    assert found["repositoryUri"] == f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{name}"
    assert found["imageScanningConfiguration"] == {"scanOnPush": True}
    ecr.put_image_scanning_configuration(
        repositoryName=name, imageScanningConfiguration={"scanOnPush": False}
    )
    [found] = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    assert found["imageScanningConfiguration"] == {"scanOnPush": False}
    with refused("RepositoryAlreadyExistsException"):
        ecr.create_repository(repositoryName=name)
    ecr.delete_repository(repositoryName=name)
    with refused("RepositoryNotFoundException"):
        ecr.describe_repositories(repositoryNames=[name])
    with refused("RepositoryNotFoundException"):
        ecr.describe_images(repositoryName=name)


def test_policies_and_tags(ecr, name):
    with refused("LifecyclePolicyNotFoundException"):
        ecr.get_lifecycle_policy(repositoryName=name)
    ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=POLICY)
    assert ecr.get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"] == POLICY
    assert ecr.start_lifecycle_policy_preview(repositoryName=name)["status"] == "IN_PROGRESS"
    preview = ecr.get_lifecycle_policy_preview(repositoryName=name)
    assert (preview["status"], preview["previewResults"]) == ("COMPLETE", [])
    arn = f"arn:aws:ecr:us-east-1:123456789012:repository/{name}"
    tags = ecr.list_tags_for_resource(resourceArn=arn)["tags"]
    assert tags == [{"Key": "Project", "Value": "CloudBurst"}]


def test_the_login_is_that_of_the_registry(ecr, emulator, registry_server):
    [entry] = ecr.get_authorization_token()["authorizationData"]
    login = base64.b64decode(entry["authorizationToken"]).decode()
    assert login == f"{registry_server.username}:{registry_server.password}"
    assert entry["proxyEndpoint"] == emulator.registry.url == emulator.url


def test_images_are_those_of_the_registry(ecr, name, registry_server):
    digest = push(registry_server, name, EMPTY, tag="one").digest
    push(registry_server, name, EMPTY, tag="two")
    [index, *parts] = ecr.describe_images(repositoryName=name)["imageDetails"]
    assert (index["imageDigest"], sorted(index["imageTags"])) == (digest, ["one", "two"])
    assert len(parts) == 2
    assert all("imageTags" not in part for part in parts)
    got = ecr.batch_get_image(
        repositoryName=name,
        imageIds=[{"imageTag": "one"}, {"imageDigest": MISSING}],
        acceptedMediaTypes=["application/vnd.oci.image.index.v1+json"],
    )
    [image], [failure] = got["images"], got["failures"]
    assert image["imageId"] == {"imageDigest": digest, "imageTag": "one"}
    manifests = json.loads(image["imageManifest"])["manifests"]
    assert {entry["platform"]["architecture"] for entry in manifests} == {"amd64", "arm64"}
    assert failure["failureCode"] == "ImageNotFound"


def test_a_layer_can_be_downloaded_by_its_url(ecr, name, registry_server):
    digest = push(registry_server, name, EMPTY.but(index=False)).digest
    [image] = ecr.batch_get_image(repositoryName=name, imageIds=[{"imageDigest": digest}])["images"]
    config = json.loads(image["imageManifest"])["config"]["digest"]
    url = ecr.get_download_url_for_layer(repositoryName=name, layerDigest=config)["downloadUrl"]
    with httpx.Client(trust_env=False) as plain:
        assert plain.get(url).json()["architecture"] == "amd64"


def test_a_repository_with_images_is_deleted_only_by_force(ecr, name, registry_server):
    push(registry_server, name, EMPTY)
    with refused("RepositoryNotEmptyException"):
        ecr.delete_repository(repositoryName=name)
    ecr.delete_repository(repositoryName=name, force=True)
    ecr.create_repository(repositoryName=name)
    assert ecr.describe_images(repositoryName=name)["imageDetails"] == []
    push(registry_server, name, EMPTY)
    assert len(ecr.describe_images(repositoryName=name)["imageDetails"]) == 3


def test_images_are_deleted_after_the_index_that_names_them(registry_server):
    name = registry_server.new_repository("api")
    config = EmulatorConfig.quick(registry=registry_of(registry_server), moto=False, confined=False)
    with FargateEmulator(config) as emulator:
        ecr = client(emulator, "ecr")
        ecr.create_repository(repositoryName=name)
        index = push(registry_server, name, EMPTY).digest
        details = ecr.describe_images(repositoryName=name)["imageDetails"]
        parts = [
            {"imageDigest": one["imageDigest"]} for one in details if one["imageDigest"] != index
        ]
        answer = ecr.batch_delete_image(repositoryName=name, imageIds=parts)
        assert {one["failureCode"] for one in answer["failures"]} == {
            "ImageReferencedByManifestList"
        }
        ids = [{"imageDigest": index}, *parts, {"imageDigest": MISSING}]
        answer = ecr.batch_delete_image(repositoryName=name, imageIds=ids)
        assert len(answer["imageIds"]) == 3
        assert [one["failureCode"] for one in answer["failures"]] == ["ImageNotFound"]
        assert ecr.describe_images(repositoryName=name)["imageDetails"] == []


def test_denied_actions_are_denied(ecr, name):
    with refused("AccessDeniedException"):
        ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "x"}])


def test_other_operations_are_rejected(ecr):
    with refused("UnknownOperationException"):
        ecr.describe_registry()


def test_without_a_registry_moto_answers(emulate):
    with refused("UnknownOperationException"):
        client(emulate(moto=False), "ecr").describe_repositories()
