"""What the environment says, under the names that AWS and ``cloudburst-fargate`` gave it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cloudburst.models.task import Protocol


def _named(variable: str, name: str, default: Any = None, **more: Any) -> Any:
    return Field(default=default, validation_alias=AliasChoices(variable, name), **more)


Names = Annotated[tuple[str, ...], NoDecode]
"""A comma list."""


class Settings(BaseSettings):
    """Read from the environment. ``Settings(_env_file=".env")`` reads that file as well.

    A subnet is what makes Fargate the default; credentials alone do not.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    # Who we are to AWS. Without keys and profile, boto's own chain decides: SSO, instance roles…
    access_key_id: str | None = _named("AWS_ACCESS_KEY_ID", "access_key_id")
    secret_access_key: SecretStr | None = _named("AWS_SECRET_ACCESS_KEY", "secret_access_key")
    session_token: SecretStr | None = _named("AWS_SESSION_TOKEN", "session_token")
    profile: str | None = _named("AWS_PROFILE", "profile")
    region: str | None = Field(
        default=None,
        validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION", "region"),
    )
    """``None``: that of the profile; us-east-1 where there is none."""
    role_arn: str | None = _named("AWS_ROLE_ARN", "role_arn")
    """A role to assume with those credentials; never anything else when that fails."""
    external_id: str | None = _named("AWS_EXTERNAL_ID", "external_id")
    role_session_name: str = _named("AWS_ROLE_SESSION_NAME", "role_session_name", "cloudburst")
    endpoint_url: str | None = _named("AWS_ENDPOINT_URL", "endpoint_url")
    """In place of AWS: an emulator."""

    # Where tasks run.
    subnets: Names = _named("AWS_SUBNET_ID", "subnets", ())
    """Where tasks get their network interface; a comma list."""
    security_groups: Names = _named("AWS_SECURITY_GROUP_ID", "security_groups", ())
    """A comma list; none: the default group of the VPC."""
    public_address: bool = _named("CLOUDBURST_PUBLIC_ADDRESS", "public_address", True)
    """False: workers are reached inside the VPC, which costs no address and needs no EC2 call."""
    cluster: str = _named("ECS_CLUSTER_NAME", "cluster", "cloudburst-cluster")
    task_definition: str = _named("ECS_TASK_DEFINITION", "task_definition", "cloudburst-task")
    """A family, ``family:revision`` or ARN; it says architecture, image and protocol."""
    capacity: str = _named("CLOUDBURST_CAPACITY", "capacity", "FARGATE")
    """``FARGATE``, ``FARGATE_SPOT``, or a share of each: ``FARGATE_SPOT:3,FARGATE:1``."""
    spot_factor: Decimal | None = _named("CLOUDBURST_SPOT_FACTOR", "spot_factor", gt=0, le=1)
    """What Spot costs, as a part of on demand; ``None``: as the price table says, with its date."""
    ladder: Names = _named("CLOUDBURST_LADDER", "ladder", ("subnet", "on-demand", "size"))
    """What is tried where there is no room, in this order: each ``subnet`` alone, ``on-demand`` in
    place of Spot, and a larger ``size``. A comma list; empty: nothing, only waiting."""
    platform_version: str | None = _named("CLOUDBURST_PLATFORM_VERSION", "platform_version")
    """``None``: AWS's ``LATEST``."""
    ephemeral_storage: int | None = _named(
        "CLOUDBURST_EPHEMERAL_STORAGE", "ephemeral_storage", ge=21, le=200
    )
    """GB; ``None``: the 20 that cost nothing."""

    # What runs there.
    image: str = _named("DOCKER_IMAGE", "image", "betashow/video-generation-api:latest")
    """What ``cloudburst init`` puts into the task definition."""
    protocol: Protocol | None = _named("CLOUDBURST_PROTOCOL", "protocol")
    """What that image speaks; ``None``: onestep, for it is the public one."""
    auth_key: SecretStr | None = _named("VIDEO_API_AUTH_KEY", "auth_key")
    """One key for all workers; ``None``: a fresh one for each."""
    lifetime: float = _named("CLOUDBURST_LIFETIME", "lifetime", 3600.0, gt=0)
    """Seconds after which a task ends by itself, whatever becomes of us."""
    idle: float = _named("CLOUDBURST_IDLE", "idle", 300.0, gt=0)
    """Seconds without a request after which it does, where its image knows how."""
    api_timeout_minutes: float = _named("API_TIMEOUT_MINUTES", "api_timeout_minutes", 15.0, gt=0)
    """For one attempt at a scene: the old client's word for ``Timeouts.scene``."""
    api_request_timeout_seconds: float = _named(
        "API_REQUEST_TIMEOUT_SECONDS", "api_request_timeout_seconds", 300.0, gt=0
    )
    """Until a worker is ready: the old client's word for ``Timeouts.ready``."""

    results: Path | None = _named("RESULTS_DIR", "results")
    """Where videos go when no folder is named."""

    @field_validator("subnets", "security_groups", "ladder", mode="before")
    @classmethod
    def _comma_list(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for raw in value.split(",") if (part := raw.strip()))
        return value
