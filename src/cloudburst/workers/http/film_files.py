"""Files of a film that one native worker gets before it makes the film."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from cloudburst.concurrency import for_each
from cloudburst.errors import UploadError
from cloudburst.models.film import FilmPart, WorkerFilm
from cloudburst.models.film_jobs import FilmJobRequest, FilmJobScene
from cloudburst.models.locations import AnyLocation
from cloudburst.ports.renderer import UploadedScene

MAX_FILES = 8
"""Number of files that a worker gets at once, as many as the render service fetches."""

_VIDEO, _SUBTITLES = "video", "subtitles"

GiveFile = Callable[[str, AnyLocation], Awaitable[tuple[str, int]]]
"""Function that gives the worker a file: called with the use of the file and its location, it
returns the file's SHA-256 and the number of bytes that were sent from here."""


async def give_film(
    film: WorkerFilm, give_file: GiveFile, on_file: Callable[[], None]
) -> UploadedScene:
    """Give a worker the videos and subtitles of a film.

    Args:
        film: The film.
        give_file: Function that gives the worker one file.
        on_file: Function that is called after each file.

    Raises:
        UploadError: A file cannot be read or got, or a video is not the one that was rendered.
        WorkerError: The worker has stopped, refuses the key, or its disk is full.
    """
    hashes: dict[tuple[str, str], str] = {}
    bytes_sent = 0

    async def give(file: tuple[FilmPart, str, AnyLocation]) -> None:
        nonlocal bytes_sent
        part, field, location = file
        sha256, sent = await give_file(f"{field} of {part.name}", location)
        if field == _VIDEO and sha256 != part.sha256:
            msg = f"{location} is not the video that was rendered; resume the run to render it"
            raise UploadError(msg, scene=film.name)
        hashes[part.name, field] = sha256
        bytes_sent += sent
        on_file()

    await for_each(_files(film), give, at_once=MAX_FILES)
    scenes = [
        FilmJobScene(
            name=part.name,
            title=part.title,
            video=hashes[part.name, _VIDEO],
            subtitle=hashes.get((part.name, _SUBTITLES)),
        )
        for part in film.parts
    ]
    request = FilmJobRequest(
        scenes=tuple(scenes),
        transition=film.transition,
        transition_seconds=film.transition_seconds,
    )
    return UploadedScene(
        scene=film.name,
        reference=request.model_dump_json(exclude_defaults=True),
        sent=bytes_sent,
        needs_cover=True,
        is_film=True,
    )


def _files(film: WorkerFilm) -> Iterator[tuple[FilmPart, str, AnyLocation]]:
    """Yield each file of a film with its scene and use."""
    for part in film.parts:
        yield part, _VIDEO, part.video
        if part.subtitle is not None:
            yield part, _SUBTITLES, part.subtitle
