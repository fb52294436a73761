"""Inputs of a run: what the caller passes to `Client.stream`, checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from anyio import CancelScope, create_task_group, sleep_forever, to_thread
from anyio.from_thread import BlockingPortal
from anyio.lowlevel import checkpoint

from cloudburst.concurrency import collapse_single
from cloudburst.errors import (
    CloudburstError,
    InvalidScenesError,
    NoAnswerError,
    SceneFault,
    ThrottledError,
)
from cloudburst.files import file_identity
from cloudburst.film.folder_film import ChapterSource
from cloudburst.film.request import check_place_of_film, check_scenes_of_film
from cloudburst.inputs.remote_inputs import CheckStoppedError, RemoteInputs
from cloudburst.models.film import FilmRequest
from cloudburst.models.limits import Limits
from cloudburst.models.locations import OutputLocation, RemoteLocation, local_paths
from cloudburst.models.options import RenderOptions
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.scene import CheckedScene, Scene, cover_path
from cloudburst.outputs.destinations import Destination, FolderDestination

if TYPE_CHECKING:
    from cloudburst.outputs.s3_destination import S3Destination

AnyScene: TypeAlias = Scene | Mapping[str, Any]
"""`Scene`, or a dictionary with the fields of a scene."""
# Types that are rejected as a list of scenes although their values may be iterable
_NOT_LISTS = (str, bytes, os.PathLike, Mapping, Scene)

_NEW_FOLDER = "another folder for the videos, so that no cover replaces an input"
_NEW_FOLDER_IN_S3 = "another folder for the videos, so that no input is replaced"


class RunInputs(NamedTuple):
    """Inputs of a run, of which the starts and ends of files are checked."""

    scenes: tuple[CheckedScene, ...]
    options: RenderOptions
    """Options with absolute paths of files, so that other processes find the files."""
    film: FilmRequest | None
    remote_files: Mapping[RemoteLocation, RemoteFile]
    bytes_checked: int
    """Number of bytes of remote files that the check has read."""

    @property
    def chapters(self) -> list[ChapterSource]:
        """What the film takes from the scenes besides their videos; nothing without a film."""
        return [] if self.film is None else [ChapterSource.of(one.scene) for one in self.scenes]

    @property
    def names(self) -> list[str]:
        """Names of all scenes."""
        return [scene.scene.name for scene in self.scenes]

    @property
    def covers(self) -> list[str]:
        """Names of the scenes whose videos have a cover."""
        return [scene.scene.name for scene in self.scenes if scene.options.cover]


async def check_inputs(
    scenes: object,
    *,
    destination: Destination,
    options: RenderOptions,
    limits: Limits,
    film: FilmRequest | None,
    remote: RemoteInputs,
) -> RunInputs:
    """Check the inputs of a run; of most files, only the start and the end are read.

    Raises `InvalidScenesError` with every fault, `ConfigurationError` for a misplaced film, and
    `ThrottledError` or `NoAnswerError` if S3 stays busy.
    """
    if film is not None:
        in_s3 = not isinstance(destination, FolderDestination)
        check_place_of_film(film.path, videos_in_s3=in_s3)
    check = partial(
        _check,
        scene_list(scenes),
        destination=destination,
        options=options.with_absolute_files(),
        limits=limits,
        film=film,
        remote=remote,
    )
    faults: list[SceneFault] = []
    unanswered: list[CloudburstError] = []
    inputs: RunInputs | None = None

    async def find_faults_of(folder: S3Destination) -> None:
        try:
            faults.extend(await folder.find_faults(None if film is None else film.path))
        except (NoAnswerError, ThrottledError) as exc:
            unanswered.append(exc)  # the faults of the scenes are more useful

    with collapse_single():
        async with create_task_group() as background:
            background.start_soon(_stop_when_cancelled, remote)
            async with create_task_group() as tasks:
                # A folder on this machine is checked when its videos are claimed.
                if not isinstance(destination, FolderDestination):
                    tasks.start_soon(find_faults_of, destination)
                try:
                    inputs = await _in_thread(check, remote)
                except InvalidScenesError as exc:
                    faults[:0] = exc.faults
                except CheckStoppedError:
                    await checkpoint()  # raises the cancellation
                    raise
            background.cancel_scope.cancel()
    if inputs is None or faults:
        raise InvalidScenesError(faults=faults)
    if unanswered:
        raise unanswered[0]
    return inputs


def scene_list(scenes: object) -> list[AnyScene]:
    """Return the scenes as a list; refuse a text, a path or a single scene."""
    name = type(scenes).__name__
    if isinstance(scenes, Iterable) and not isinstance(scenes, _NOT_LISTS):
        return list(cast("Iterable[AnyScene]", scenes))
    found = "None" if scenes is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
    hint = "; read_scenes(path) reads a file" if isinstance(scenes, str | os.PathLike) else ""
    raise InvalidScenesError(faults=[SceneFault("", "scenes", found, f"a list of scenes{hint}")])


async def _in_thread(check: Callable[[], RunInputs], remote: RemoteInputs) -> RunInputs:
    """Call the check in a thread, and read S3 on this event loop meanwhile."""
    # After a cancellation, `_stop_when_cancelled` ends the requests, and the thread closes what it
    # has opened.
    with collapse_single(), CancelScope(shield=True):
        async with BlockingPortal() as remote.s3_portal:
            return await to_thread.run_sync(check)
    raise AssertionError("unreachable: the scope is not cancelled")


async def _stop_when_cancelled(remote: RemoteInputs) -> None:
    try:
        await sleep_forever()
    finally:
        remote.stop()


def _check(
    scenes: Sequence[AnyScene],
    *,
    destination: Destination,
    options: RenderOptions,
    limits: Limits,
    film: FilmRequest | None,
    remote: RemoteInputs,
) -> RunInputs:
    # Imported here, in a thread: importing Pillow is slow, and not every program renders.
    from cloudburst.inputs.preflight import check_scenes  # noqa: PLC0415

    with remote:
        checked = check_scenes(scenes, options, limits, remote=remote)
    if isinstance(destination, FolderDestination):
        check_covers(checked, destination.folder)
    else:
        check_objects(checked, destination.video)
    if film is not None:
        check_scenes_of_film(film, checked, destination.video)
    return RunInputs(checked, options, film, remote.files, remote.bytes_read)


def check_covers(scenes: Sequence[CheckedScene], folder: Path) -> None:
    """Check that no cover would replace an input of the run."""
    covers = {
        scene.scene.name: cover_path(folder / f"{scene.scene.name}.mp4")
        for scene in scenes
        if scene.options.cover
    }
    files = {name: identity for name, path in covers.items() if (identity := file_identity(path))}
    inputs = {
        file_identity(path)
        for scene in scenes
        if files
        for path in local_paths((scene.scene.files() | scene.options.files()).values())
    }
    faults = [
        SceneFault(name, "options.cover", f"an input at its place: {covers[name]}", _NEW_FOLDER)
        for name, identity in files.items()
        if identity in inputs
    ]
    if faults:
        raise InvalidScenesError(faults=faults)


def check_objects(scenes: Sequence[CheckedScene], video: Callable[[str], OutputLocation]) -> None:
    """Check that no video and no cover in S3 would do so."""
    inputs = {
        location
        for scene in scenes
        for location in (scene.scene.files() | scene.options.files()).values()
    }
    faults: list[SceneFault] = []
    for scene in scenes:
        name = scene.scene.name
        outputs = {"name": video(name)}
        if scene.options.cover:
            outputs["options.cover"] = cover_path(video(name))
        faults += [
            SceneFault(name, field, f"an input at its place: {location}", _NEW_FOLDER_IN_S3)
            for field, location in outputs.items()
            if location in inputs
        ]
    if faults:
        raise InvalidScenesError(faults=faults)
