"""Film that a worker makes of videos that it has, as a client requests it from the worker.

These are the JSON values of the native protocol: see docs/protocol.md. No I/O.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cloudburst.models.film import (
    MAX_TRANSITION_SECONDS,
    MIN_TRANSITION_SECONDS,
    Transition,
)

MAX_FILM_SCENES = 10_000
"""Maximum number of scenes of a film that a worker makes: more than 4 s each in 12 hours."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]
SceneText = Annotated[str, StringConstraints(max_length=1000)]


class FilmJobScene(BaseModel):
    """Scene of a film. Its files are identified by their SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: SceneText
    """Name of the scene, for errors."""
    title: SceneText
    """Title of the scene's chapter."""
    video: Sha256
    subtitle: Sha256 | None = None


class FilmJobRequest(BaseModel):
    """Body of ``POST /films``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenes: Annotated[tuple[FilmJobScene, ...], Field(min_length=1, max_length=MAX_FILM_SCENES)]
    """Scenes in the order of the film."""
    transition: Transition = "cut"
    transition_seconds: Annotated[
        float, Field(ge=MIN_TRANSITION_SECONDS, le=MAX_TRANSITION_SECONDS, allow_inf_nan=False)
    ] = 0.5
