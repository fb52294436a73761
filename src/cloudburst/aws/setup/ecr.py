"""Images in private ECR repositories: their names, their descriptions, and the login."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import or_none
from cloudburst.aws.setup.resource_definitions import dns_suffix, partition
from cloudburst.errors import ConfigurationError
from cloudburst.models.prices import Architecture
from cloudburst.net.registry.documents import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Index,
    Manifest,
    parse_index,
    parse_manifest,
)
from cloudburst.net.registry.errors import InvalidImageError
from cloudburst.net.registry.http import Credentials
from cloudburst.net.registry.names import ImageReference, is_loopback_host
from cloudburst.redaction import SecretOwner, hide_secrets

SHORT_DIGEST_LENGTH = len("sha256:") + 12
"""Number of characters of a digest in texts for users."""
OCI_ARCHITECTURES: Mapping[Architecture, Literal["amd64", "arm64"]] = {
    "X86_64": "amd64",
    "ARM64": "arm64",
}
"""Names of processor architectures in images, by their names on Fargate."""
# Pattern of the hosts of private ECR registries: "Amazon ECR private registry", ECR user guide
# (2026-11).
_ECR_HOST = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<domain>[a-z0-9.]+)"
)
MAX_IMAGES_PER_CALL = 100
"""Maximum number of images in one call of BatchGetImage and BatchDeleteImage (ECR API reference,
2026-11)."""
UNKNOWN_ARCHITECTURE = "unknown"
"""Architecture of the entries of an index that are records of the build ("attestations")."""
OUR_REPOSITORY = "cloudburst"
"""Name of the ECR repository of our image, and thus the last part of the image's name."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrImage:
    """An image in ECR: an index of several architectures, or a single image."""

    digest: str
    """Digest of the index or manifest."""
    document: Index | Manifest | None
    """Index or manifest; ``None`` if it is not valid."""

    @property
    def annotations(self) -> Mapping[str, str]:
        """Annotations of the index or manifest."""
        return {} if self.document is None else self.document.annotations

    @property
    def is_index(self) -> bool:
        """True for an index of several architectures."""
        return isinstance(self.document, Index)

    @property
    def parts(self) -> Sequence[str]:
        """Digests of all manifests that an index names; none for a single image."""
        found = self.document.manifests if isinstance(self.document, Index) else ()
        return [entry.digest for entry in found]

    @property
    def platforms(self) -> Mapping[str, str]:
        """Digests of the images in an index by architecture, such as ``amd64``.

        Empty for a single image. Entries with an unknown architecture are left out.
        """
        found: dict[str, str] = {}
        for entry in self.document.manifests if isinstance(self.document, Index) else ():
            if entry.platform and entry.platform.architecture != UNKNOWN_ARCHITECTURE:
                found.setdefault(entry.platform.architecture, entry.digest)
        return found


async def read_images(
    aws: AWSClient, repository: Repository, image_ids: Sequence[Mapping[str, str]]
) -> list[EcrImage]:
    """Return those of the images that exist."""
    found: list[EcrImage] = []
    for start in range(0, len(image_ids), MAX_IMAGES_PER_CALL):
        call = aws.call(
            "ecr",
            "batch_get_image",
            in_region=repository.region,
            registryId=repository.account,
            repositoryName=repository.name,
            imageIds=[dict(each) for each in image_ids[start : start + MAX_IMAGES_PER_CALL]],
            acceptedMediaTypes=[*INDEX_TYPES, *MANIFEST_TYPES],
        )
        if (response := await or_none(call)) is None:
            return []
        found += [
            EcrImage(digest=one["imageId"]["imageDigest"], document=_document(one["imageManifest"]))
            for one in response["images"]
        ]
    return found


def _document(text: str) -> Index | Manifest | None:
    # An index without a media type differs from a manifest in that it has no configuration.
    data = text.encode(errors="surrogatepass")
    for parse in (parse_manifest, parse_index):
        try:
            return parse(data)
        except InvalidImageError:
            continue
    return None


def our_image_name(account: str, region: str) -> str:
    """Return the name of our image in an account's ECR registry, without tag and digest."""
    return f"{ecr_host(account, region)}/{OUR_REPOSITORY}"


async def log_in_to_ecr(aws: AWSClient) -> tuple[str, Credentials]:
    """Return the URL of the account's ECR registry, and a login for twelve hours.

    With an emulator, it is a registry on this machine.

    Raises:
        ConfigurationError: The account is emulated on this machine, without a registry.
    """
    response = await aws.call("ecr", "get_authorization_token")
    entry: Mapping[str, str] = response["authorizationData"][0]
    username, _, password = base64.b64decode(entry["authorizationToken"]).decode().partition(":")
    # Like the credentials of a role, the login is valid for twelve hours.
    hide_secrets(entry["authorizationToken"], password, owner=SecretOwner.ROLE)
    url = entry["proxyEndpoint"]
    api = urlsplit(aws.endpoint_url or "").hostname or ""
    # Images for an emulator, and a login that it has made up, are not sent to AWS.
    if is_loopback_host(api) and not is_loopback_host(urlsplit(url).hostname or ""):
        msg = f"the emulator at {aws.endpoint_url} has no registry: start it with"
        raise ConfigurationError(f"{msg} cloudburst emulate --registry")
    return url, Credentials(username, password)
