"""Push of an image to the account's ECR registry, with a login that AWS issues."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.setup.ecr import OUR_REPOSITORY, log_in_to_ecr
from cloudburst.errors import (
    AccessDeniedError,
    ImageError,
    NoAnswerError,
    ResourceMissingError,
)
from cloudburst.image.built_image import BuiltImage
from cloudburst.net.registry.client import RegistryClient, open_registry
from cloudburst.net.registry.errors import (
    LoginError,
    NotInRegistryError,
    RegistryError,
    RegistryUnavailableError,
)
from cloudburst.net.registry.images import PushProgress, PushReport, push_image


async def push_to_ecr(
    aws: AWSClient,
    image: BuiltImage,
    *,
    repository: str = OUR_REPOSITORY,
    on_progress: Callable[[PushProgress], object] | None = None,
) -> PushReport:
    """Push an image under the tag of its version.

    Raises:
        AccessDeniedError: ECR does not allow the push.
        NoAnswerError: The registry does not answer.
        ResourceMissingError: The repository does not exist.
        ImageError: Any other refusal of the registry, or the image is damaged.
    """
    with translated_registry_errors():
        async with open_ecr_registry(aws) as client:
            return await push_image(
                client, image.folder, repository, image.version, on_progress=on_progress
            )


@asynccontextmanager
async def open_ecr_registry(aws: AWSClient) -> AsyncGenerator[RegistryClient]:
    """Yield a client of the account's registry with a new login; errors are not translated."""
    async with open_registry(*await log_in_to_ecr(aws)) as client:
        yield client


@contextmanager
def translated_registry_errors() -> Generator[None]:
    """Raise errors of this package in place of `RegistryError`."""
    try:
        yield
    except LoginError as exc:
        msg = f"ECR refuses the image: {exc}: allow the actions of: cloudburst init --policy init"
        raise AccessDeniedError(msg) from exc
    except RegistryUnavailableError as exc:
        msg = (
            f"{exc}: run the command again, which sends only the layers that did not arrive; if "
            "it fails again, look for an incident of ECR: https://health.aws.amazon.com"
        )
        raise NoAnswerError(msg) from exc
    except NotInRegistryError as exc:
        raise ResourceMissingError(f"{exc}: cloudburst init creates the repository") from exc
    except RegistryError as exc:
        raise ImageError(f"the image was not pushed: {exc}") from exc
