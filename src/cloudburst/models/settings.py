"""What the environment says, under the names that AWS and ``cloudburst-fargate`` gave it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Read from the environment. ``Settings(_env_file=".env")`` reads that file as well.

    A subnet is what makes Fargate the default; credentials alone do not.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    subnets: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), validation_alias=AliasChoices("AWS_SUBNET_ID", "subnets")
    )
    """Where tasks get their network interface; a comma list."""
    results: Path | None = Field(
        default=None, validation_alias=AliasChoices("RESULTS_DIR", "results")
    )
    """Where videos go when no folder is named."""

    @field_validator("subnets", mode="before")
    @classmethod
    def _comma_list(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for raw in value.split(",") if (part := raw.strip()))
        return value
