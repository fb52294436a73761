"""Plan of a film: what the client sends to the film process, and what that process answers.

The film process writes one JSON object per line to its output: ``{"progress": 0.5}``, and at the
end ``{"done": {...}}`` or ``{"fault": "..."}``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self, TypeVar

from pydantic import BaseModel

from cloudburst.files import open_regular_file
from cloudburst.models.film import FilmFileName, Transition
from cloudburst.models.locations import S3Object
from cloudburst.models.options.sound import SoundOptions

_P = TypeVar("_P", Path, S3Object)

# Exit code of the film process for videos of which no film can be made; other codes except 0 mean
# a defect.
FAULT_EXIT_CODE = 2
# Number that changes if the same videos make another film with a new version of the package.
_VERSION = 1

# Start of the comment in the metadata of a film; the fingerprint follows.
_TAG = "cloudburst film "
_FINGERPRINT = re.compile(rb"cloudburst film ([0-9a-f]{64})")
# Bytes at the end of a film's index in which the metadata are: titles of chapters, and the
# comment.
_END_BYTES = 512 * 1024
# Number of boxes at the start of a film among which the index is: ``ftyp``, ``moov``, ``mdat``.
_MAX_BOXES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmScene:
    """Scene of a film."""

    name: str
    """Name of the scene, for errors."""
    title: str
    """Title of the scene's chapter."""
    video: str
    """Path of the finished video."""
    sha256: str
    """SHA-256 of the finished video."""
    subtitle: str | None = None
    """Path of the scene's subtitles; ``None`` if it has none."""
    subtitle_sha256: str = ""
    """SHA-256 of the subtitles, in hexadecimal; empty if there are none."""
    transition: Transition | None = None
    """Transition to the next scene; ``None``: that of the film."""


class FilmFile(NamedTuple):
    """File of the whole film, on the machine that makes it."""

    path: str
    sha256: str
    """SHA-256 of the file, or another text that stands for its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmPlan:
    """Everything that the film process needs to make a film."""

    path: str
    """Path of the film; the process writes ``.part`` files beside it."""
    scenes: tuple[FilmScene, ...]
    """Scenes in the order of the film, at least one."""
    transition: Transition = "cut"
    transition_seconds: float = 0.5
    """Length of a transition, in seconds. A ``fade`` takes half of it from each scene."""
    film_gap: float = 0.0
    """Length of black and silence between two scenes, in seconds."""
    files: Mapping[FilmFileName, FilmFile] = field(default_factory=dict[FilmFileName, FilmFile])
    """Files of the whole film, by their names."""
    sound: SoundOptions = field(default_factory=SoundOptions)
    """Options for the mix with the music, and for the loudness of the whole film."""

    @property
    def transitions(self) -> list[Transition]:
        """Transition from each scene, except the last one, to the next."""
        return [scene.transition or self.transition for scene in self.scenes[:-1]]

    @property
    def has_subtitles(self) -> bool:
        """True if a file with subtitles is beside the film."""
        return "film_subtitle" in self.files or any(scene.subtitle for scene in self.scenes)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that determines the film; equal plans make equal films."""
        scenes = [(scene.title, scene.sha256, scene.subtitle_sha256) for scene in self.scenes]
        how = self.transitions, self.transition_seconds, self.film_gap
        content: list[object] = [_VERSION, scenes, how]
        if self.files:
            hashes = {name: file.sha256 for name, file in self.files.items()}
            content += [hashes, self.sound.model_dump()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the plan as one line of JSON."""
        return json.dumps(asdict(self), default=BaseModel.model_dump)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the plan of a line of JSON."""
        values: dict[str, Any] = json.loads(text)
        values["scenes"] = tuple(FilmScene(**scene) for scene in values["scenes"])
        values["files"] = {name: FilmFile(*file) for name, file in values.get("files", {}).items()}
        values["sound"] = SoundOptions(**values.get("sound", {}))
        return cls(**values)


class FilmFaultError(Exception):
    """Error for a video of which no film can be made; the text names the scene and the reason."""


def partial_files(film: Path) -> dict[Path, Path]:
    """Return the final path of each partial file of a film; the film itself is the last one."""
    return {path.with_name(f"{path.name}.part"): path for path in film_files(film)}


def film_files(film: _P) -> tuple[_P, _P, _P]:
    """Return the subtitles of a film, its cover picture, and the film itself."""
    return film.with_suffix(".srt"), film.with_suffix(".jpg"), film


def fingerprint_tag(fingerprint: str) -> str:
    """Return the comment that stores a fingerprint in the metadata of a film."""
    return f"{_TAG}{fingerprint}"


def read_fingerprint(path: Path) -> str | None:
    """Return the fingerprint of a film that this package has made, else ``None``. Blocks."""
    try:
        with open_regular_file(path) as file:
            index = _end_of_index(file, os.fstat(file.fileno()).st_size)
    except OSError:
        return None
    found = _FINGERPRINT.findall(index)
    return found[-1].decode("ascii") if found else None


def _end_of_index(file: BinaryIO, size: int) -> bytes:
    """Return the last bytes of the box ``moov``; nothing if a box extends beyond the file."""
    # A box begins with its length in four bytes, or in eight after its type (ISO/IEC 14496-12,
    # 4.2).
    start, found = 0, b""
    for _ in range(_MAX_BOXES):
        file.seek(start)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16])
        end = start + length
        if length < 8 or end > size:
            return b""
        if kind == b"moov":
            file.seek(max(start, end - _END_BYTES))
            found = file.read(end - file.tell())
        if end == size:
            return found
        start = end
    return b""
