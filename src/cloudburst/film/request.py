"""Film that a run makes of its videos: checks before the run, the claim of its files, its plan."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Self

from anyio import to_thread

from cloudburst.errors import (
    ConfigurationError,
    FilmError,
    InvalidScenesError,
    OutputExistsError,
    SceneFault,
)
from cloudburst.film.film_client import check_modules, is_up_to_date, make_film
from cloudburst.film.fingerprint import read_fingerprint
from cloudburst.film.plan import FilmPlan, FilmScene, film_files
from cloudburst.models.film import FilmRequest, Transition
from cloudburst.models.locations import local_paths, require_path
from cloudburst.models.scene import (
    CheckedScene,
    Scene,
    Video,
    cover_path,
    fold_name,
    validate_scene_name,
)
from cloudburst.models.subtitles import MAX_SUBTITLE_BYTES
from cloudburst.models.video_format import VideoSize, video_size
from cloudburst.outputs import claim_outputs, file_identity
from cloudburst.ports import FilmMaker, OnProgress
from cloudburst.safe_files import read_regular_file

_LENGTH_TOLERANCE = 0.05
"""Seconds by which a scene may be too short according to the header of its audio, which need not be
exact. The film process checks the exact length."""


class ChapterSource(NamedTuple):
    """Name, chapter title and subtitles of a scene, which the film takes besides the video."""

    name: str
    title: str
    subtitle: Path | None

    @classmethod
    def of(cls, scene: Scene) -> Self:
        """Return what the film takes from a scene; the title is its own one, else its name.

        Raises `ConfigurationError` for subtitles that are not on this machine.
        """
        subtitle = scene.subtitle
        if subtitle is not None:
            subtitle = require_path(subtitle, f"film: subtitles of {scene.name}")
        return cls(scene.name, scene.options.title or scene.name, subtitle)


def film_request(
    film: Path | str | None, transition: Transition, seconds: float
) -> FilmRequest | None:
    """Return the request for a film with an absolute path; ``None`` if no film is requested.

    Raises `ConfigurationError` for invalid values, for a transition without a film, and if the
    extra ``[film]`` is not installed.
    """
    if film is None:
        if transition != "cut":
            msg = f"transition: {transition!r}; expected a film, whose scenes it joins"
            raise ConfigurationError(msg)
        return None
    path = Path(film).absolute()
    request = FilmRequest(path=path, transition=transition, transition_seconds=seconds)
    faults = list(request.faults())
    try:
        validate_scene_name(path.stem)
    except ValueError as exc:
        faults.append(f"film: {path.name!r}; expected {exc}")
    if faults:
        raise ConfigurationError("\n".join(faults))
    check_modules()
    return request


def check_scenes_of_film(
    request: FilmRequest, scenes: Sequence[CheckedScene], folder: Path
) -> None:
    """Check that a film can be made of the scenes, as far as that is known before a run. Blocks.

    Raises:
        ConfigurationError: A file of the film would replace a video or a file of a scene.
        InvalidScenesError: A scene is shorter than its transitions, or scenes have another size or
            frame rate than the first one.
    """
    _check_paths(request.path, scenes, folder)
    faults = [*_short_scenes(request, scenes), *_other_formats(scenes)]
    if faults:
        raise InvalidScenesError(faults=faults)


def _check_paths(film: Path, scenes: Sequence[CheckedScene], folder: Path) -> None:
    # The same folder may have several paths, because of links and letter case.
    film, folder = film.parent.resolve() / film.name, folder.resolve()
    outputs = [folder / f"{scene.scene.name}.mp4" for scene in scenes]
    outputs += [
        cover_path(path) for path, scene in zip(outputs, scenes, strict=True) if scene.options.cover
    ]
    names = {fold_name(str(path)) for path in outputs}
    for path in film_files(film):
        if fold_name(str(path)) in names:
            used = "the video or the cover of a scene"
        elif _is_input(path, scenes):
            used = "an input of a scene"
        else:
            continue
        raise ConfigurationError(f"film: {path} is {used}; expected another name for the film")


def _is_input(path: Path, scenes: Sequence[CheckedScene]) -> bool:
    identity = file_identity(path)
    return identity is not None and any(
        file_identity(file) == identity
        for scene in scenes
        for file in local_paths((scene.scene.files() | scene.options.files()).values())
    )


def _short_scenes(request: FilmRequest, scenes: Sequence[CheckedScene]) -> Iterator[SceneFault]:
    for number, scene in enumerate(scenes):
        ends = (number > 0) + (number < len(scenes) - 1)
        needed = request.least_seconds(ends)
        if scene.audio_seconds + _LENGTH_TOLERANCE < needed:
            found = f"{scene.audio_seconds:.2f} s long"
            expected = f"at least {needed:g} s, for the transitions of the film"
            field = "duration" if scene.scene.audio is None else "audio"
            yield SceneFault(scene.scene.name, field, found, expected)


def _other_formats(scenes: Sequence[CheckedScene]) -> Iterator[SceneFault]:
    """Yield a fault for each scene whose video has another format than that of the first."""
    first, name = scenes[0], scenes[0].scene.name
    for scene in scenes:
        options = scene.options
        if options.fps != first.options.fps:
            expected = f"{first.options.fps}, as in {name}: a film has one frame rate"
            yield SceneFault(scene.scene.name, "options.fps", str(options.fps), expected)
        if _video_size(scene) != _video_size(first):
            field, found, expected = _size_difference(scene, first)
            yield SceneFault(scene.scene.name, field, found, expected)


def _size_difference(scene: CheckedScene, first: CheckedScene) -> tuple[str, str, str]:
    """Return the field that gives a scene another size than the first one, and the two values."""
    reason = f"as in {first.scene.name}: a film has one size"
    for name in ("size", "is_portrait"):
        found, expected = getattr(scene.options, name), getattr(first.options, name)
        if found != expected and None not in {found, expected}:
            return f"options.{name}", str(found), f"{expected}, {reason}"
    found, expected = (f"{size.width}x{size.height}" for size in map(_video_size, (scene, first)))
    expected = f"{expected}, {reason}; set is_portrait or another size for all scenes"
    return "image", f"a picture whose video has {found}", expected


def _video_size(scene: CheckedScene) -> VideoSize:
    """Return the size of the video of a scene."""
    portrait = scene.options.is_portrait
    return video_size(scene.options.size, upright=scene.upright if portrait is None else portrait)


@asynccontextmanager
async def claimed_film(
    request: FilmRequest | None,
    sources: Sequence[ChapterSource],
    *,
    run: str,
    overwrite: bool,
    replace_film: bool = False,
    replace_rest: bool = False,
) -> AsyncGenerator[FilmMaker | None]:
    """Claim the files of a film, and yield the function that makes it; ``None`` for no request.

    Args:
        request: The film.
        sources: Scenes of the film in order.
        run: Name of the run that makes the film.
        overwrite: True to replace existing files.
        replace_film: True to replace a film that this package has made, with its other files.
        replace_rest: True to replace the other files of a film that was removed.

    Raises:
        OutputExistsError: A file of the film exists and must not be replaced.
        OutputClaimedError: Another process writes this film, or a video of this name.
        ConfigurationError: The folder of the film cannot be written to.
    """
    if request is None:
        yield None
        return
    film = request.path
    # No run has such a name, because it has a dot. With `resume`, existing files are left to the
    # check that follows, which knows films.
    async with claim_outputs(
        film.parent, [film.stem], run=f"{run}.film", overwrite=overwrite, resume=True
    ):
        await to_thread.run_sync(_refuse_folders, film)
        if not overwrite:
            await to_thread.run_sync(_refuse_existing, film, replace_film, replace_rest)

        async def make(videos: Sequence[Video], on_progress: OnProgress, /) -> tuple[Path, bool]:
            plan = await to_thread.run_sync(film_plan, request, videos, sources)
            if await to_thread.run_sync(is_up_to_date, plan):
                return film, True
            await make_film(plan, on_progress)
            return film, False

        yield make


def _refuse_existing(film: Path, replace_film: bool, replace_rest: bool) -> None:
    """Raise `OutputExistsError` for files that must not be replaced; see `claimed_film`."""
    there = [path for path in film_files(film) if os.path.lexists(path)]
    ours = replace_rest if film not in there else replace_film and bool(read_fingerprint(film))
    if there and not ours:
        msg = f"files of the film exist: {_listed(there)}; overwrite=True replaces them"
        raise OutputExistsError(msg, paths=there)


def _refuse_folders(film: Path) -> None:
    if folders := [path for path in film_files(film) if path.is_dir()]:
        msg = f"folders have the names of files of the film: {_listed(folders)}; move them away"
        raise OutputExistsError(msg, paths=folders)


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


def film_plan(
    request: FilmRequest, videos: Sequence[Video], sources: Sequence[ChapterSource]
) -> FilmPlan:
    """Return the plan of a film from the finished videos and what else it takes from the scenes.

    Blocks. Raises `FilmError` if the subtitles of a scene cannot be read.
    """
    return FilmPlan(
        path=str(request.path),
        scenes=tuple(map(_film_scene, videos, sources)),
        transition=request.transition,
        transition_seconds=request.transition_seconds,
    )


def _film_scene(video: Video, source: ChapterSource) -> FilmScene:
    digest = ""
    if source.subtitle is not None:
        try:
            data = read_regular_file(source.subtitle, limit=MAX_SUBTITLE_BYTES)
        except OSError as exc:
            text = f"{source.name}: {source.subtitle}: {exc.strerror or exc}"
            raise FilmError(text) from exc
        digest = hashlib.sha256(data).hexdigest()
    return FilmScene(
        name=source.name,
        title=source.title,
        video=str(video.path),
        sha256=video.sha256,
        subtitle=None if source.subtitle is None else str(source.subtitle),
        subtitle_sha256=digest,
    )
