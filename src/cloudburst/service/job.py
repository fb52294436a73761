"""What the server and its render child tell each other: a job, its outcome, a fault of its inputs.

A job is a folder with fixed names; the child is started as
``python -m cloudburst.service.child FOLDER`` and writes one JSON object a line to its output.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from cloudburst.models.options import RenderOptions

IMAGE = "image"
AUDIO = "audio"
SUBTITLE = "subtitle"
WATERMARK = "watermark"
JOB = "job.json"
VIDEO = "video.mp4"
"""Names in a job's folder; subtitle and watermark are optional, the video is there when whole."""

FAULT_EXIT = 2
"""How the child exits when an input is bad; any other way that is not 0 is the service's fault."""

Scenario: TypeAlias = Literal["baseline", "subtitles_only", "effects_only", "full_featured"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RenderJob(_Value):
    """What to render, beside the files."""

    name: str
    """Of the scene: it draws the effect."""
    options: RenderOptions = RenderOptions()
    """How it looks; the watermark is a file in the folder, never a path from outside."""
    image_pixels: int = Field(default=100_000_000, ge=1)
    """Limit for the picture and for the watermark, each."""
    audio_seconds: float = Field(default=3600.0, gt=0)
    """Limit for the decoded sound."""


class Done(_Value):
    """A finished video."""

    seconds: float
    """Length of the video: its frames at 30 a second."""
    frames: int
    width: int
    height: int
    size: int
    """Bytes."""
    sha256: str
    scenario: Scenario


class InputFault(_Value):
    """What is wrong with one input."""

    field: str
    """``image``, ``audio``, ``subtitle`` or ``watermark``."""
    found: str
    expected: str


class InputFaultError(Exception):
    """An input cannot be rendered; the same inputs will fail again anywhere."""

    def __init__(self, field: str = "", found: str = "", expected: str = "") -> None:
        super().__init__(field, found, expected)
        self.fault = InputFault(field=field, found=found, expected=expected)

    def __str__(self) -> str:
        return f"{self.fault.field}: {self.fault.found}; expected {self.fault.expected}"


class ChildLine(_Value):
    """One line of the child's output: exactly one of the three is set."""

    progress: float | None = Field(default=None, ge=0, le=1)
    done: Done | None = None
    fault: InputFault | None = None

    def json_line(self) -> str:
        """As it is written, newline included."""
        return self.model_dump_json(exclude_none=True) + "\n"
