"""Configuration of the render service from environment variables."""

from __future__ import annotations

import os
from typing import Self

from pydantic import (
    BaseModel,
    ConfigDict,
    DirectoryPath,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from cloudburst.models.tier import encoder_slots
from cloudburst.models.video_format import MAX_SCENE_SECONDS
from cloudburst.service.cpu import usable_cores
from cloudburst.service.subprocesses import hide_process

# Placeholder for the key in the public image. That image treats it as no key, and so does this
# service.
PLACEHOLDER_KEY = "your-authentication-key-placeholder-uuid-here"

# Environment variables with secrets, which are removed from the environment after they were read.
SECRETS = ("AUTHENTICATION_KEY", "CLOUDBURST_CERTIFICATE", "CLOUDBURST_PRIVATE_KEY")

MiB = 1024 * 1024


class ServiceSettings(BaseModel):
    """Settings of the render service.

    Times are in seconds, sizes in bytes.
    """

    # Not a model of pydantic-settings, whose import takes a fifth of the start of the service.
    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_by_name=True, validate_default=True
    )

    key: SecretStr | None = Field(default=None, validation_alias="AUTHENTICATION_KEY")
    """Key that callers send in ``X-Authentication-Key``. Without a key, all requests but health
    checks are rejected."""

    certificate: str | None = Field(default=None, repr=False)
    """Certificate in PEM; with it the service accepts only TLS. ``None``: plain HTTP."""
    private_key: SecretStr | None = None
    """Private key of the certificate, in PEM."""

    host: str = "0.0.0.0"  # noqa: S104 - in a container other addresses cannot be reached
    port: int = Field(default=5000, ge=0, le=65535)
    """TCP port; 0: the system chooses an unused port."""
    parent_fd: int | None = Field(default=None, ge=0)
    """File descriptor of a pipe whose other end the parent process holds. The service and its
    children end when the pipe is closed. ``None``: they do not depend on a parent process."""
    folder: DirectoryPath | None = None
    """Folder in which the service creates its own folder; ``None``: the system's temporary
    folder."""

    test_render: bool = True
    """Whether the service is healthy only after a test render. A client that starts the service on
    its own machine does without: there, the first scene shows what is missing."""

    encoders: int = Field(default_factory=lambda: encoder_slots(usable_cores()), ge=1, le=256)
    """Number of encoder slots: scenes that are encoded at the same time."""
    waiting: int = Field(default=100, ge=0)
    """Maximum number of jobs that wait for an encoder slot; further jobs are rejected with status
    429."""

    body_bytes: int = Field(default=512 * MiB, ge=1)
    """Largest size of one uploaded file, in bytes."""
    image_pixels: int = Field(default=100_000_000, ge=1)
    audio_seconds: float = Field(default=MAX_SCENE_SECONDS, gt=0)
    reserve_bytes: int = Field(default=256 * MiB, ge=0)
    """Disk space in bytes that uploads leave free for the videos."""

    scene_seconds: float = Field(default=900.0, gt=0)
    """Seconds without progress after which a render fails and its processes are killed."""
    head_seconds: float = Field(default=10.0, gt=0)
    """Seconds after which a connection is closed if no authorised request has begun on it."""
    stall_seconds: float = Field(default=60.0, gt=0)
    """Seconds without data after which a transfer fails: an upload whose caller sends nothing, or
    a download whose caller reads nothing."""
    keep_seconds: float = Field(default=3600.0, gt=0)
    """Seconds for which files and videos are kept after they were last requested."""
    heartbeat_seconds: float = Field(default=10.0, gt=0)
    """Maximum number of seconds between two lines of an event stream."""

    lifetime_seconds: float = Field(default=0.0, ge=0)
    """Seconds after which the service stops as if it had received SIGTERM; 0: no limit."""
    idle_seconds: float = Field(default=0.0, ge=0)
    """Seconds without a job and without a request after which the service stops; 0: no limit.
    Health checks do not count as requests."""
    stop_seconds: float = Field(default=25.0, ge=0)
    """Maximum number of seconds from SIGTERM to the end of the process. ECS sends SIGKILL after 30
    s by default."""

    @classmethod
    def from_environment(cls) -> Self:
        """Read each field from ``CLOUDBURST_<NAME>``, and the key from ``AUTHENTICATION_KEY``.

        Raises:
            pydantic.ValidationError: a value is invalid.
        """
        variables = {name.upper(): value for name, value in os.environ.items()}
        found = {
            name: variables.get(_variable(name, field.validation_alias))
            for name, field in cls.model_fields.items()
        }
        return cls.model_validate({name: text for name, text in found.items() if text is not None})

    @field_validator("key")
    @classmethod
    def _no_key_is_none(cls, key: SecretStr | None) -> SecretStr | None:
        value = key.get_secret_value() if key else ""
        return None if value in {"", PLACEHOLDER_KEY} else key

    @field_validator("certificate", "private_key", mode="before")
    @classmethod
    def _empty_is_none(cls, text: object) -> object:
        return None if text == "" else text

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            msg = "CLOUDBURST_CERTIFICATE and CLOUDBURST_PRIVATE_KEY: one is set; expected both"
            raise ValueError(msg)
        return self


def _variable(field: str, alias: object) -> str:
    return alias if isinstance(alias, str) else f"CLOUDBURST_{field.upper()}"


def load_settings() -> ServiceSettings:
    """Return the settings from the environment, and hide the secrets from other processes.

    The secrets are removed from the environment that child processes inherit, and ``/proc`` no
    longer shows the environment that this process was started with.

    Raises:
        pydantic.ValidationError: a setting is invalid.
    """
    hide_process()
    try:
        return ServiceSettings.from_environment()
    finally:
        for name in SECRETS:
            os.environ.pop(name, None)
