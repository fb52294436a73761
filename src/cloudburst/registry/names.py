"""Names of images, as in ``docker pull``: ``host[:port]/name[:tag][@sha256:…]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloudburst.registry.errors import InvalidImageError

DOCKER_HUB = "docker.io"
"""Registry of names without a host."""
DOCKER_HUB_API = "registry-1.docker.io"
"""Host that answers the requests for images of `DOCKER_HUB`."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""Pattern of a digest. Registries may use other algorithms, but none does."""
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""Pattern of a tag (OCI distribution specification 1.1)."""
MAX_NAME_LENGTH = 512
"""Maximum number of characters of a name without tag and digest: 255 are allowed for host and
repository each."""

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
"""Pattern of a repository (OCI distribution specification 1.1)."""
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
)


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
        head, at, _ = text.partition("@")
        if at and not DIGEST.fullmatch(name.digest or ""):
            raise InvalidImageError(_message(text, "the digest is not sha256: and 64 hex digits"))
        if (name.tag is not None or head.endswith(":")) and not TAG.fullmatch(name.tag or ""):
            raise InvalidImageError(_message(text, "the tag has characters that are not allowed"))
        if len(name.registry) + len(name.repository) >= MAX_NAME_LENGTH:
            raise InvalidImageError(_message(text, "it is too long"))
        if not _HOST.fullmatch(name.registry):
            raise InvalidImageError(_message(text, "the host is not valid"))
        if not REPOSITORY.fullmatch(name.repository):
            raise InvalidImageError(_message(text, "the repository is not valid"))
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


def require_digest(text: str) -> str:
    """Return the text if it is a digest, else raise `InvalidImageError`."""
    if not DIGEST.fullmatch(text):
        raise InvalidImageError(
            f"{text!r:.100} is not a digest: expected sha256: and 64 hex digits"
        )
    return text


def require_repository(text: str) -> str:
    """Return the text if it is the name of a repository, else raise `InvalidImageError`."""
    if len(text) > 255 or not REPOSITORY.fullmatch(text):
        raise InvalidImageError(f"{text!r:.300} is not the name of a repository")
    return text


def require_reference(text: str) -> str:
    """Return the text if it is a tag or a digest, else raise `InvalidImageError`."""
    if not (TAG.fullmatch(text) or DIGEST.fullmatch(text)):
        raise InvalidImageError(f"{text!r:.150} is neither a tag nor a digest")
    return text


def _split_host(name: str) -> tuple[str, str]:
    """Return registry and repository of a name without tag and digest."""
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


def _message(text: str, problem: str) -> str:
    return f"{text!r:.300} is not the name of an image: {problem}"
