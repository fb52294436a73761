"""Who we are to AWS."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import aioboto3
from aiobotocore.credentials import AioCredentialResolver, AioDeferredRefreshableCredentials
from aiobotocore.session import get_session
from botocore.exceptions import PartialCredentialsError
from pydantic import SecretStr

from cloudburst.adapters.aws.redaction import hide
from cloudburst.errors import CloudburstError, CredentialsError, NoAnswerError, ThrottledError
from cloudburst.models.settings import Settings

REGION = "us-east-1"
"""Where neither settings nor profile name one."""

Ask = Callable[..., Awaitable[dict[str, Any]]]
"""`cloudburst.adapters.aws.session.AWS.call`."""


def session_of(settings: Settings) -> aioboto3.Session:
    """A session with the keys or the profile of the settings, or with what boto finds. Blocks.

    Raises botocore's ``PartialCredentialsError`` for half a key, with which boto would sign.
    """
    secret, token = _plain(settings.secret_access_key), _plain(settings.session_token)
    if bool(settings.access_key_id) != bool(secret):
        missing = "AWS_SECRET_ACCESS_KEY" if settings.access_key_id else "AWS_ACCESS_KEY_ID"
        raise PartialCredentialsError(provider="settings", cred_var=missing)
    hide(secret or "", token or "", _plain(settings.auth_key) or "", always=True)
    return aioboto3.Session(
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        profile_name=settings.profile,
        region_name=settings.region,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def wants_role(settings: Settings) -> bool:
    """Whether there is a role that boto does not assume by itself.

    In a pod of EKS the same variable names the role of its web identity, which boto's own chain
    assumes.
    """
    return settings.role_arn is not None and not os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")


def session_as(settings: Settings, ask: Ask) -> aioboto3.Session:
    """A session in the role of the settings, and nothing else where that fails. Blocks.

    Args:
        settings: Name the role.
        ask: Calls AWS with the credentials that may assume it.
    """
    session = get_session()
    role: Any = _Role(settings, ask)
    session.register_component("credential_provider", AioCredentialResolver([role]))
    return aioboto3.Session(botocore_session=session, region_name=settings.region)


class _Role:
    """A provider of credentials, in botocore's sense, that are made anew before they end."""

    METHOD = "assume-role"
    CANONICAL_NAME = None

    def __init__(self, settings: Settings, ask: Ask) -> None:
        self._settings = settings
        self._ask = ask

    async def load(self) -> AioDeferredRefreshableCredentials:
        return AioDeferredRefreshableCredentials(self._assume, self.METHOD)

    async def _assume(self) -> dict[str, Any]:
        role, external_id = self._settings.role_arn, self._settings.external_id
        try:
            answer = await self._ask(
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
        made = answer["Credentials"]
        hide(made["SecretAccessKey"], made["SessionToken"])
        return {
            "access_key": made["AccessKeyId"],
            "secret_key": made["SecretAccessKey"],
            "token": made["SessionToken"],
            "expiry_time": made["Expiration"].isoformat(),
        }
