"""Subtitles of a film in SubRip form: those of all scenes, moved to the time of their scene."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cloudburst.film.plan import FilmFaultError, FilmScene
from cloudburst.film.timeline import Timeline
from cloudburst.models.input_error import InvalidInputError
from cloudburst.models.subtitles import BOTTOM, MAX_SUBTITLE_BYTES, Cue, read_cues
from cloudburst.safe_files import open_regular_file

_BLANK_LINES = re.compile(r"\n\s*\n")


def film_subtitles(scenes: Sequence[FilmScene], timeline: Timeline) -> str:
    """Return the content of a film's subtitle file; it is empty if no scene has subtitles.

    Raises:
        FilmFaultError: The subtitles of a scene cannot be read.
    """
    cues: list[Cue] = []
    for scene, place in zip(scenes, timeline.places, strict=True):
        if scene.subtitle is not None:
            start = round(1000 * timeline.seconds(place.start))
            end = round(1000 * timeline.seconds(place.start + place.frames))
            cues += _moved(_read(scene), start, end)
    return to_subrip(cues)


def to_subrip(cues: Iterable[Cue]) -> str:
    """Return cues in SubRip form, with their tags, sorted by their start."""
    ordered = sorted(cues, key=lambda cue: (cue.start, cue.end))
    return "\n".join(_block(number, cue) for number, cue in enumerate(ordered, 1))


def _read(scene: FilmScene) -> list[Cue]:
    assert scene.subtitle is not None
    try:
        with open_regular_file(Path(scene.subtitle)) as file:
            return read_cues(file.read(MAX_SUBTITLE_BYTES + 1))
    except (OSError, InvalidInputError) as exc:
        raise FilmFaultError(f"{scene.name}: {scene.subtitle}: {exc}") from exc


def _moved(cues: Iterable[Cue], start: int, end: int) -> Iterator[Cue]:
    """Yield the cues of a scene from ``start`` to ``end`` in a film, both in milliseconds."""
    for cue in cues:
        if start + cue.start < end:
            moved_end = min(start + cue.end, end)
            yield cue._replace(start=start + cue.start, end=moved_end)


def _block(number: int, cue: Cue) -> str:
    text = _BLANK_LINES.sub("\n", cue.text)  # a blank line would end the cue
    position = "" if cue.position == BOTTOM else f"{{\\an{cue.position}}}"
    return f"{number}\n{_clock(cue.start)} --> {_clock(cue.end)}\n{position}{text}\n"


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{rest:03d}"
