"""Names of container images in ECR: repository, and tag or digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cloudburst.aws.setup.resource_definitions import dns_suffix, partition
from cloudburst.models.prices import Architecture
from cloudburst.net.registry.names import ImageReference

SHORT_DIGEST_LENGTH = len("sha256:") + 12
"""Number of characters of a digest in texts for users."""
OCI_ARCHITECTURES: Mapping[Architecture, Literal["amd64", "arm64"]] = {
    "X86_64": "amd64",
    "ARM64": "arm64",
}
"""Names of processor architectures in images, by their names on Fargate."""
_ECR_HOST = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<domain>[a-z0-9.]+)"
)
"""Pattern of the hosts of private ECR registries: "Amazon ECR private registry", ECR user guide
(2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A private ECR repository."""

    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        """ARN of the repository."""
        prefix = f"arn:{partition(self.region)}:ecr"
        return f"{prefix}:{self.region}:{self.account}:repository/{self.name}"


def ecr_host(account: str, region: str) -> str:
    """Return the host of an account's private ECR registry in a region."""
    return f"{account}.dkr.ecr.{region}.{dns_suffix(region)}"


def short_image_name(image: str) -> str:
    """Return an image's name without its registry, with a digest cut to twelve digits."""
    name = ImageReference.split(image)
    tag = f":{name.tag}" if name.tag else ""
    digest = f"@{name.digest[:SHORT_DIGEST_LENGTH]}" if name.digest else ""
    return f"{name.repository.rpartition('/')[2]}{tag}{digest}"


def repository_of(image: str) -> Repository | None:
    """Return the private ECR repository of an image; ``None`` for images in other registries."""
    name = ImageReference.split(image)
    ecr = _ECR_HOST.fullmatch(name.registry)
    if ecr is None or ecr["domain"] not in {dns_suffix(ecr["region"]), "on.aws"}:
        return None
    return Repository(account=ecr["account"], region=ecr["region"], name=name.repository)


def image_id(image: str) -> dict[str, str]:
    """Return the tag or digest in an image's name as an ``imageIds`` entry of ECR's API."""
    name = ImageReference.split(image)
    if name.digest:
        return {"imageDigest": name.digest}
    return {"imageTag": name.tag or "latest"}
