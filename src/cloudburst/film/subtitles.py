"""Subtitles of a film in SubRip form: those of all scenes, moved to the time of their scene."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cloudburst.files import open_regular_file
from cloudburst.film.plan import FilmFaultError, FilmScene
from cloudburst.film.timeline import Timeline
from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import MAX_SUBTITLE_BYTES, Cue, read_subtitles
from cloudburst.media.subtitles.subrip_writer import to_subrip


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
    return to_subrip(sorted(cues, key=lambda cue: (cue.start, cue.end)))


def _read(scene: FilmScene) -> list[Cue]:
    assert scene.subtitle is not None
    try:
        with open_regular_file(Path(scene.subtitle)) as file:
            return read_subtitles(file.read(MAX_SUBTITLE_BYTES + 1)).cues
    except (OSError, InvalidInputError) as exc:
        raise FilmFaultError(f"{scene.name}: {scene.subtitle}: {exc}") from exc


def _moved(cues: Iterable[Cue], start: int, end: int) -> Iterator[Cue]:
    """Yield the cues of a scene from ``start`` to ``end`` in a film, both in milliseconds."""
    for cue in cues:
        if start + cue.start < end:
            moved_end = min(start + cue.end, end)
            yield cue._replace(start=start + cue.start, end=moved_end)
