"""Validation of a render process's output, for use by the server."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from cloudburst.renderer.job import InputFault, RenderedVideo


class ChildLine(BaseModel):
    """Line in the output of a render process, with exactly one of its fields set.

    It is validated like a caller's input, because the render process decodes a caller's files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reading: str | None = None
    """Name of the input that is read from now on; empty if no input is read."""
    progress: float | None = Field(default=None, ge=0, le=1)
    gops: int | None = Field(default=None, ge=2, le=100_000)
    """Number of parts of the video that other processes may help to encode from now on."""
    done: RenderedVideo | None = None
    fault: InputFault | None = None
