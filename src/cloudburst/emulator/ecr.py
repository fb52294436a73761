"""Emulated ECR API: repositories in memory, and their images in the registry on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.ecr_images import RepositoryImages, open_repository_images
from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.image_store import ImageStore

# Repository that the account has if `EmulatorConfig.prepared` is true.
REPOSITORY_NAME = "cloudburst"
NOT_FOUND = {"failureCode": "ImageNotFound", "failureReason": "Requested image not found"}

Operation = Callable[[Mapping[str, Any]], dict[str, Any] | Awaitable[dict[str, Any]]]


@dataclass(slots=True)
class _Repository:
    shown: dict[str, Any]
    """The repository in the format of the API."""
    tags: dict[str, str]
    policy: str | None = None


class ECR:
    """ECR registry of the emulated account. Use it on one event loop only."""

    def __init__(self, config: EmulatorConfig, images: ImageStore) -> None:
        self._account = config.account
        self._host = f"{config.account}.dkr.ecr.{config.region}.amazonaws.com"
        self._arn = f"arn:aws:ecr:{config.region}:{config.account}:repository/"
        self.images = images
        self._registry = images.registry.address
        self._repositories: dict[str, _Repository] = {}
        if config.prepared:
            self._create({"repositoryName": REPOSITORY_NAME})
        self.operations: dict[str, Operation] = {
            "GetAuthorizationToken": self._log_in,
            "CreateRepository": self._create,
            "DescribeRepositories": self._describe,
            "DeleteRepository": self._delete,
            "PutLifecyclePolicy": self._put_policy,
            "GetLifecyclePolicy": self._get_policy,
            "StartLifecyclePolicyPreview": self._start_preview,
            "GetLifecyclePolicyPreview": self._get_preview,
            "PutImageScanningConfiguration": self._set_scanning,
            "ListTagsForResource": self._list_tags,
            "GetDownloadUrlForLayer": self._layer_url,
            "BatchGetImage": self._get_images,
            "DescribeImages": self._describe_images,
            "BatchDeleteImage": self._delete_images,
        }

    async def answer(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Execute an operation and return its response."""
        function = self.operations.get(operation)
        if function is None:
            raise ApiError("UnknownOperationException", f"ecr:{operation} is not emulated")
        answer = function(parameters)
        return answer if isinstance(answer, dict) else await answer

    def _log_in(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        del parameters
        entry = {
            "authorizationToken": self.images.registry.token,
            "proxyEndpoint": self.images.registry.url,
        }
        return {"authorizationData": [entry]}

    def _create(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        name = str(parameters["repositoryName"])
        if name in self._repositories:
            raise ApiError(
                "RepositoryAlreadyExistsException",
                f"The repository with name '{name}' already exists in the registry with id "
                f"'{self._account}'",
            )
        scanning: Mapping[str, Any] = parameters.get("imageScanningConfiguration") or {}
        shown = {
            "repositoryArn": self._arn + name,
            "registryId": self._account,
            "repositoryName": name,
            "repositoryUri": f"{self._host}/{name}",
            "imageScanningConfiguration": {"scanOnPush": bool(scanning.get("scanOnPush"))},
        }
        self._repositories[name] = _Repository(
            shown, {tag["Key"]: tag.get("Value", "") for tag in parameters.get("tags") or ()}
        )
        self.images.repositories.add(name)
        return {"repository": shown}

    def _describe(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        names = parameters.get("repositoryNames") or sorted(self._repositories)
        found = [self._find(str(name)).shown for name in names]
        return {"repositories": found}

    async def _delete(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        name = str(parameters["repositoryName"])
        repository = self._find(name)
        async with self._images_of(name) as images:
            digests = await images.all()
            if digests and not parameters.get("force"):
                raise ApiError(
                    "RepositoryNotEmptyException",
                    f"The repository with name '{name}' in registry with id '{self._account}' "
                    "cannot be deleted because it still contains images",
                )
            for digest in digests:
                await images.delete(digest)
        self._repositories.pop(name, None)
        self.images.repositories.discard(name)
        return {"repository": repository.shown}

    def _put_policy(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        text = str(parameters["lifecyclePolicyText"])
        self._find(str(parameters["repositoryName"])).policy = text
        return {"lifecyclePolicyText": text}

    def _get_policy(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        name = str(parameters["repositoryName"])
        if (text := self._find(name).policy) is None:
            raise ApiError(
                "LifecyclePolicyNotFoundException",
                f"Lifecycle policy does not exist for the repository with name '{name}' in the "
                f"registry with id '{self._account}'",
            )
        return {"lifecyclePolicyText": text}

    def _start_preview(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return self._get_policy(parameters) | {"status": "IN_PROGRESS"}

    def _get_preview(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return a preview in which the policy removes nothing, because none is applied."""
        return self._get_policy(parameters) | {"status": "COMPLETE", "previewResults": []}

    def _set_scanning(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        shown = self._find(str(parameters["repositoryName"])).shown
        scans = bool(parameters["imageScanningConfiguration"].get("scanOnPush"))
        shown["imageScanningConfiguration"] = {"scanOnPush": scans}
        return {"imageScanningConfiguration": {"scanOnPush": scans}}

    def _list_tags(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        tags = self._find(str(parameters["resourceArn"]).removeprefix(self._arn)).tags
        return {"tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def _layer_url(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        name, digest = str(parameters["repositoryName"]), str(parameters["layerDigest"])
        self._find(name)
        url = self.images.registry.layer_url(f"/v2/{name}/blobs/{digest}")
        return {"downloadUrl": url, "layerDigest": digest}

    async def _get_images(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        name = str(parameters["repositoryName"])
        self._find(name)
        images, failures = list[dict[str, Any]](), list[dict[str, Any]]()
        accepted = [str(kind) for kind in parameters.get("acceptedMediaTypes") or ()]
        async with self._images_of(name) as found:
            for ident in parameters.get("imageIds") or ():
                image = await found.find(_reference(ident), accepted)
                if image is None:
                    failures.append({"imageId": ident, **NOT_FOUND})
                    continue
                images.append(
                    {
                        "imageId": {**ident, "imageDigest": image.digest},
                        "imageManifest": image.data.decode(errors="replace"),
                    }
                )
        return {"images": images, "failures": failures}

    async def _describe_images(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        name = str(parameters["repositoryName"])
        self._find(name)
        async with self._images_of(name) as images:
            found = await images.all()
        shown = [
            {
                "imageDigest": digest,
                **({"imageTags": list(image.tags)} if image.tags else {}),
            }
            for digest, image in found.items()
        ]
        return {"imageDetails": shown}

    async def _delete_images(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        name = str(parameters["repositoryName"])
        self._find(name)
        deleted, failures = list[dict[str, Any]](), list[dict[str, Any]]()
        async with self._images_of(name) as images:
            for ident in parameters.get("imageIds") or ():
                image = await images.find(_reference(ident), ())
                if image is None:
                    failures.append({"imageId": ident, **NOT_FOUND})
                elif parent := await images.index_with(image.digest):
                    failures.append(
                        {
                            "imageId": ident,
                            "failureCode": "ImageReferencedByManifestList",
                            "failureReason": "Requested image referenced by manifest list: "
                            f"[{parent}]",
                        }
                    )
                else:
                    await images.delete(image.digest)
                    deleted.append({**ident, "imageDigest": image.digest})
        return {"imageIds": deleted, "failures": failures}

    def _images_of(self, name: str) -> AbstractAsyncContextManager[RepositoryImages]:
        return open_repository_images(self._registry, name)

    def _find(self, name: str) -> _Repository:
        found = self._repositories.get(name)
        if found is None:
            raise ApiError(
                "RepositoryNotFoundException",
                f"The repository with name '{name}' does not exist in the registry with id "
                f"'{self._account}'",
            )
        return found


def _reference(ident: Mapping[str, str]) -> str:
    return ident.get("imageDigest") or ident.get("imageTag") or ""
