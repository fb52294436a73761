"""Names of images, as in ``docker pull``: ``host[:port]/name[:tag][@sha256:…]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloudburst.net.registry.errors import InvalidImageError

# Registry of names without a host.
DOCKER_HUB = "docker.io"
# Host that answers the requests for images of DOCKER_HUB.
DOCKER_HUB_API = "registry-1.docker.io"
# Pattern of a digest. Registries may use other algorithms, but none does.
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
_MAX_PORT = 65_535
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
# Pattern of a name with its host (OCI distribution specification 1.1).
_NAME = re.compile(rf"{_HOST}/{_PART}(?:/{_PART})*(?::{_TAG})?(?:@{DIGEST.pattern})?")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """Name of an image: registry, repository, and a tag, a digest or both.

    >>> str(ImageReference.parse("python:3.13-slim"))
    'docker.io/library/python:3.13-slim'
    """

    registry: str
    """Host of the registry, with its port if the name has one."""
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Return the parts of a name.

        Names without a host are those of Docker Hub. A name without tag and digest has neither
        here: `reference` is ``latest`` then. Raises `InvalidImageError` for text that is no name.
        """
        name = cls.split(text)
        port = name.registry.rpartition(":")[2]
        wrong_port = port.isdecimal() and int(port) > _MAX_PORT
        if not _NAME.fullmatch(str(name)) or text.endswith((":", "@")) or wrong_port:
            msg = f"{text!r:.300} is not the name of an image"
            raise InvalidImageError(f"{msg}: expected HOST/NAME:TAG or HOST/NAME@sha256:…")
        return name

    @classmethod
    def split(cls, text: str) -> ImageReference:
        """Return the parts of a text that is used as a name, which may not be valid.

        Use it for names that another program has accepted, such as those in a task definition.
        """
        rest, _, digest = text.partition("@")
        head, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:
            head, tag = rest, ""
        registry, repository = _split_host(head)
        return cls(registry, repository, tag or None, digest or None)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def reference(self) -> str:
        """Digest, or tag if there is no digest, or ``latest``."""
        return self.digest or self.tag or "latest"

    @property
    def url(self) -> str:
        """URL of the registry's API: https, but http for a registry on this machine."""
        host = DOCKER_HUB_API if self.registry == DOCKER_HUB else self.registry
        scheme = "http" if is_loopback_host(_host_name(host)) else "https"
        return f"{scheme}://{host}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def is_loopback_host(host: str) -> bool:
    """Return whether a host name or address, without port and brackets, is this machine."""
    return host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _split_host(name: str) -> tuple[str, str]:
    host, slash, repository = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        if host in {DOCKER_HUB, "index.docker.io"}:
            return DOCKER_HUB, repository if "/" in repository else f"library/{repository}"
        return host, repository
    return DOCKER_HUB, name if slash else f"library/{name}"


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
