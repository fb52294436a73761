"""Login to the private ECR registry of the account: its URL and a password for twelve hours."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import not_from_aws
from cloudburst.aws.setup.images import ecr_account_of, ecr_host
from cloudburst.errors import ConfigurationError, NoAnswerError
from cloudburst.redaction import SecretOwner, hide_secrets
from cloudburst.registry import Credentials
from cloudburst.registry.names import is_loopback_host

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
        NoAnswerError: The response does not name the account's registry, or has no login.
        CloudburstError: Any error of `AWSClient.call`.
    """
    account = await aws.account_id()
    response = await aws.call("ecr", "get_authorization_token")
    entries: list[Mapping[str, Any]] = response["authorizationData"]
    if not entries:
        raise _unusable("it names no registry")
    token, endpoint = entries[0]["authorizationToken"], entries[0]["proxyEndpoint"]
    username, password = _login(token)
    # Like the credentials of a role, the login is valid for twelve hours.
    hide_secrets(token, password, owner=SecretOwner.ROLE)
    url = _registry_url(endpoint, (account, aws.region), aws.endpoint_url)
    return url, Credentials(username, password)


def _login(token: str) -> tuple[str, str]:
    """Return the user name and the password in an authorization token."""
    try:
        text = base64.b64decode(token, validate=True).decode("ascii")
    except ValueError:  # not base64, or not ASCII
        raise _unusable("its token is not base64") from None
    username, colon, password = text.partition(":")
    if not (username and colon and password and text.isprintable()):
        raise _unusable("its token has no user name and password")
    return username, password


def _registry_url(endpoint: str, owner: tuple[str, str], api: str | None) -> str:
    """Return the URL of the registry that AWS names, which must be the account's own.

    An emulator on this machine must name a registry on this machine: the login must not be sent
    anywhere else, and images for an emulator not to AWS.

    Args:
        endpoint: URL in AWS's response.
        owner: Account and region of the registry.
        api: Endpoint of the AWS API; ``None`` for AWS's own.
    """
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
        emulated = is_loopback_host(urlsplit(api or "").hostname or "")
    except ValueError:
        raise _unusable("the URL of its registry is not valid") from None
    if emulated:
        if parts.scheme in {"http", "https"} and port and is_loopback_host(host):
            return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        msg = f"the emulator at {api} has no registry: start it with cloudburst emulate --registry"
        raise ConfigurationError(msg)
    if parts.scheme != "https" or parts.netloc != host or ecr_account_of(host) != owner:
        raise _unusable("it names a registry of another account or region")
    return f"https://{host}"


def _unusable(defect: str) -> NoAnswerError:
    return not_from_aws("get_authorization_token", defect)
