"""Login to the private ECR registry of the account: its URL and a password for twelve hours."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import urlsplit

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.setup.images import ecr_host
from cloudburst.errors import ConfigurationError
from cloudburst.net.registry.http import Credentials
from cloudburst.net.registry.names import is_loopback_host
from cloudburst.redaction import SecretOwner, hide_secrets

OUR_REPOSITORY = "cloudburst"
"""Name of the ECR repository of our image, and thus the last part of the image's name."""


def our_image_name(account: str, region: str) -> str:
    """Return the name of our image in an account's ECR registry, without tag and digest."""
    return f"{ecr_host(account, region)}/{OUR_REPOSITORY}"


async def log_in_to_ecr(aws: AWSClient) -> tuple[str, Credentials]:
    """Return the URL of the account's ECR registry, and a login for twelve hours.

    With an emulator, it is a registry on this machine.

    Raises:
        ConfigurationError: The account is emulated on this machine, without a registry.
        CloudburstError: Any error of `AWSClient.call`.
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
