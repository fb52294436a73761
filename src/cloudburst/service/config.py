"""What the environment says to the render service."""

from __future__ import annotations

import os
from typing import Self

from pydantic import DirectoryPath, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cloudburst.models.tier import encoder_slots
from cloudburst.service.cores import usable_cores

PLACEHOLDER_KEY = "your-authentication-key-placeholder-uuid-here"
"""What the public image ships as its key, and takes for none."""

SECRETS = ("AUTHENTICATION_KEY", "CLOUDBURST_CERTIFICATE", "CLOUDBURST_PRIVATE_KEY")
"""Variables that no child of the service gets."""

MiB = 1024 * 1024


class ServiceSettings(BaseSettings):
    """``CLOUDBURST_<NAME>`` for each field, but for the key. Limits of 0 mean no limit."""

    model_config = SettingsConfigDict(
        env_prefix="CLOUDBURST_", frozen=True, extra="ignore", validate_by_name=True
    )

    key: SecretStr | None = Field(default=None, validation_alias="AUTHENTICATION_KEY")
    """What callers send in ``X-Authentication-Key``. Without it onestep is open and native shut."""

    certificate: str | None = Field(default=None, repr=False)
    """PEM. With it the service speaks TLS, and nothing else."""
    private_key: SecretStr | None = None
    """PEM, of that certificate."""

    host: str = "0.0.0.0"  # noqa: S104 - in a container this is the only address that is reached
    port: int = Field(default=5000, ge=0, le=65535)
    """0 takes any free port."""
    parent_fd: int | None = Field(default=None, ge=0)
    """A pipe whose other end the parent holds: at its end of file everything here ends."""
    folder: DirectoryPath | None = None
    """Where a folder for the files is made; ``None`` is the system's place for temporary ones."""

    encoders: int = Field(default_factory=lambda: encoder_slots(usable_cores()), ge=1, le=256)
    """Scenes that encode at once."""
    waiting: int = Field(default=100, ge=0)
    """Jobs that may wait for an encoder; further ones are refused with 429."""

    body_bytes: int = Field(default=512 * MiB, ge=1)
    """Of one file, or of the body of a onestep call."""
    image_pixels: int = Field(default=100_000_000, ge=1)
    audio_seconds: float = Field(default=3600.0, gt=0)
    reserve_bytes: int = Field(default=256 * MiB, ge=0)
    """Disk that uploads leave free for the videos."""

    scene_seconds: float = Field(default=900.0, gt=0)
    """One render; at its end the job's processes are killed."""
    stall_seconds: float = Field(default=60.0, gt=0)
    """A body of which nothing arrives, or a reader who takes nothing, for so long is given up."""
    keep_seconds: float = Field(default=3600.0, gt=0)
    """Contents and videos that nobody asked for in this time are deleted."""
    heartbeat_seconds: float = Field(default=10.0, gt=0)
    """The longest silence of an event stream."""

    lifetime_seconds: float = Field(default=0.0, ge=0)
    """Then the service stops as at SIGTERM."""
    idle_seconds: float = Field(default=0.0, ge=0)
    """It stops too when it had no job and no request (health checks do not count) for so long."""
    stop_seconds: float = Field(default=25.0, ge=0)
    """From SIGTERM to the end of the process. ECS kills after 30 s unless told otherwise."""

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
            msg = "CLOUDBURST_CERTIFICATE and CLOUDBURST_PRIVATE_KEY belong together: both or none"
            raise ValueError(msg)
        return self

    @field_validator("parent_fd")
    @classmethod
    def _parent_is_open(cls, fd: int | None) -> int | None:
        if fd is not None:
            try:
                os.fstat(fd)
            except OSError as error:
                msg = f"descriptor {fd} is not open"
                raise ValueError(msg) from error
        return fd


def taken_settings() -> ServiceSettings:
    """The settings of the environment, from which secrets are then gone: children inherit it.

    Raises:
        pydantic.ValidationError: they are not right.
    """
    try:
        return ServiceSettings()
    finally:
        for name in SECRETS:
            os.environ.pop(name, None)
