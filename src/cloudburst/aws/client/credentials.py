"""Credentials for AWS: from the settings, found by boto, or of an assumed role."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import aioboto3
from aiobotocore.credentials import AioCredentialResolver, AioDeferredRefreshableCredentials
from aiobotocore.session import get_session
from botocore.exceptions import NoCredentialsError, PartialCredentialsError
from pydantic import SecretStr

from cloudburst.errors import (
    CloudburstError,
    ConfigurationError,
    CredentialsError,
    NoAnswerError,
    ThrottledError,
)
from cloudburst.models.settings import Settings
from cloudburst.redaction import SecretOwner, hide_secrets

FALLBACK_REGION = "us-east-1"
"""Region to use if neither the settings nor the profile name one."""

# Fields of `Settings` that are sent to AWS or to workers that AWS names.
_SECRETS = ("access_key_id", "secret_access_key", "session_token", "auth_key")
logger = logging.getLogger(__name__)

CallAWS = Callable[..., Awaitable[dict[str, Any]]]
"""Type of the method `cloudburst.aws.client.client.AWSClient.call`."""


def create_session(settings: Settings) -> aioboto3.Session:
    """Return a session with the settings' keys or profile, or with credentials that boto finds.

    The function blocks the thread while boto reads files.

    Raises:
        PartialCredentialsError: Only one of access key id and secret access key is set. boto itself
            would accept that and sign with it.
    """
    secret, token = _reveal(settings.secret_access_key), _reveal(settings.session_token)
    if bool(settings.access_key_id) != bool(secret):
        missing = "AWS_SECRET_ACCESS_KEY" if settings.access_key_id else "AWS_ACCESS_KEY_ID"
        raise PartialCredentialsError(provider="settings", cred_var=missing)
    hide_secrets(
        secret or "", token or "", _reveal(settings.auth_key) or "", owner=SecretOwner.SETTINGS
    )
    return aioboto3.Session(
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        profile_name=settings.profile,
        region_name=settings.region,
    )


def check_endpoints(settings: Settings, *, own_session: bool) -> None:
    """Log the hosts that ``.env`` names as endpoints, once for each process.

    Raises:
        ConfigurationError: Credentials would be sent to a host that a file names, but are not from
            the same file. The file may be part of a folder from an untrusted source.
    """
    for field in filter(settings.is_from_file, ("endpoint_url", "s3_endpoint_url")):
        if not (named := settings.origin(field)):
            continue
        host = urlsplit(str(getattr(settings, field))).netloc.rpartition("@")[2]
        others = [name for name in _SECRETS if not settings.is_from_file(name)]
        secret = next((origin for origin in map(settings.origin, others) if origin), "")
        if own_session or not (settings.access_key_id or settings.secret_access_key):
            secret = secret or "the credentials of boto"
        if secret:
            msg = (
                f"{named} is {host}, but {secret} is not from that file: a host that a file names "
                "gets no other secrets. If you trust it, set the endpoint in the environment"
            )
            raise ConfigurationError(msg)
        _announce(named, host)


@cache
def _announce(named: str, host: str) -> None:
    logger.warning("%s is %s", named, host)


def _reveal(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def no_credentials_error(session: Any) -> Exception:
    """Return the error for a session without credentials.

    boto 1.40 does not read the credentials of ``aws login``, but those of a ``credential_process``.
    """
    name, config = session.profile_name, session._session.get_scoped_config()  # noqa: SLF001
    if "login_session" not in config:
        return NoCredentialsError()
    new, export = f"{name}-process", f"aws configure export-credentials --profile {name}"
    command = f'aws configure set credential_process "{export} --format process" --profile {new}'
    if region := config.get("region"):
        command = f"aws configure set region {region} --profile {new} && {command}"
    return CredentialsError(
        f"the profile {name} has credentials of aws login, which the installed boto cannot read; "
        f"run {command}, and set AWS_PROFILE={new}"
    )


async def seconds_left(session: Any) -> float:
    """Return the seconds until the credentials of a session expire; infinite if it is not known.

    Credentials that boto can renew are renewed first if they expire soon.
    """
    credentials = await session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    await credentials.get_frozen_credentials()
    ends = getattr(credentials, "_expiry_time", None)  # botocore has no public way
    return math.inf if ends is None else (ends - datetime.now(UTC)).total_seconds()


def needs_role(settings: Settings) -> bool:
    """Return whether the settings name a role that boto does not assume by itself.

    In a pod of EKS, ``AWS_ROLE_ARN`` names the role of the pod's web identity, which boto assumes
    by itself.
    """
    return settings.role_arn is not None and not os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")


def create_role_session(settings: Settings, call: CallAWS) -> aioboto3.Session:
    """Return a session that has the role of the settings as its only credentials."""
    session = get_session()
    role: Any = _RoleProvider(settings, call)
    session.register_component("credential_provider", AioCredentialResolver([role]))
    return aioboto3.Session(botocore_session=session, region_name=settings.region)


class _RoleProvider:
    METHOD = "assume-role"
    CANONICAL_NAME = None

    def __init__(self, settings: Settings, call: CallAWS) -> None:
        self._settings = settings
        self._call = call

    async def load(self) -> AioDeferredRefreshableCredentials:
        return AioDeferredRefreshableCredentials(self._assume_role, self.METHOD)

    async def _assume_role(self) -> dict[str, Any]:
        role, external_id = self._settings.role_arn, self._settings.external_id
        try:
            response = await self._call(
                "sts",
                "assume_role",
                RoleArn=role,
                RoleSessionName=self._settings.role_session_name,
                **({"ExternalId": external_id} if external_id else {}),
            )
        except (NoAnswerError, ThrottledError):
            raise
        except CloudburstError as exc:
            msg = f"the role {role} cannot be assumed: {exc}"
            raise CredentialsError(msg) from exc
        keys = response["Credentials"]
        hide_secrets(keys["SecretAccessKey"], keys["SessionToken"], owner=SecretOwner.ROLE)
        return {
            "access_key": keys["AccessKeyId"],
            "secret_key": keys["SecretAccessKey"],
            "token": keys["SessionToken"],
            "expiry_time": keys["Expiration"].isoformat(),
        }
