"""Files of a film that one native worker gets before it makes the film."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from cloudburst.concurrency import collapse_single
from cloudburst.errors import UploadError
from cloudburst.models.film import FilmPart, WorkerFilm
from cloudburst.models.film_jobs import FilmJobRequest, FilmJobScene
from cloudburst.models.locations import AnyLocation
from cloudburst.ports import UploadedScene

MAX_FILES = 8
"""Number of files that a worker gets at once, as many as the render service fetches."""

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
    scenes: dict[int, FilmJobScene] = {}
    bytes_sent = 0
    limiter = anyio.CapacityLimiter(MAX_FILES)

    async def give(field: str, location: AnyLocation) -> str:
        nonlocal bytes_sent
        async with limiter:
            sha256, sent = await give_file(field, location)
        bytes_sent += sent
        on_file()
        return sha256

    async def give_part(number: int, part: FilmPart) -> None:
        video = await give(f"video of {part.name}", part.video)
        if video != part.sha256:
            msg = f"{part.video} is not the video that was rendered; resume the run to render it"
            raise UploadError(msg, scene=film.name)
        subtitle = None
        if part.subtitle is not None:
            subtitle = await give(f"subtitles of {part.name}", part.subtitle)
        scenes[number] = FilmJobScene(
            name=part.name, title=part.title, video=video, subtitle=subtitle
        )

    with collapse_single():
        async with anyio.create_task_group() as tasks:
            for number, part in enumerate(film.parts):
                tasks.start_soon(give_part, number, part)
    request = FilmJobRequest(
        scenes=tuple(scenes[number] for number in range(len(film.parts))),
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
