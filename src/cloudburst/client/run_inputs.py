"""Inputs of a run: what the caller passes to `Client.stream`, checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, cast

import anyio
from anyio import CancelScope, create_task_group
from anyio.abc import TaskGroup

from cloudburst.client.resources import RemoteAccess
from cloudburst.concurrency import collapse_single
from cloudburst.engine.open_run import iterating
from cloudburst.engine.run import ClaimedScenes
from cloudburst.errors import (
    CloudburstError,
    InvalidScenesError,
    NoAnswerError,
    SceneFault,
    ThrottledError,
)
from cloudburst.files import file_identity
from cloudburst.film.folder_film import ChapterSource
from cloudburst.film.request import (
    check_place_of_film,
    check_scenes_and_film,
    check_scenes_of_film,
)
from cloudburst.inputs.remote_inputs import RemoteInputs
from cloudburst.models.film import FilmRequest
from cloudburst.models.fingerprint import HashInputs
from cloudburst.models.journal_entries import JournalState
from cloudburst.models.limits import Limits
from cloudburst.models.locations import OutputLocation, RemoteLocation, local_paths
from cloudburst.models.options import RenderOptions
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.scene import AnyScene, CheckedScene, Scene, SceneLabels, cover_path
from cloudburst.outputs.destinations import Destination, FolderDestination
from cloudburst.outputs.folder import ClaimMore

if TYPE_CHECKING:
    from cloudburst.outputs.s3_destination import S3Destination

# Types that are rejected as a list of scenes although their values may be iterable
_NOT_LISTS = (str, bytes, os.PathLike, Mapping, Scene)

_INPUT = "an input at its place: "
_NEW_FOLDER = "another folder for the videos, so that no cover replaces an input"
_NEW_FOLDER_IN_S3 = "another folder for the videos, so that no input is replaced"


@dataclass(slots=True)
class RunInputs:
    """Inputs of a run, of which the starts and ends of files are checked."""

    scenes: list[CheckedScene]
    """Scenes so far: further ones may come."""
    options: RenderOptions
    """Options with absolute paths of files, so that other processes find the files."""
    film: FilmRequest | None
    chapters: list[ChapterSource]
    """What a film takes from the scenes besides their videos."""
    remote_files: dict[RemoteLocation, RemoteFile]
    bytes_checked: int
    """Number of bytes of remote files that the check has read."""

    @property
    def names(self) -> list[str]:
        """Names of all scenes."""
        return [scene.scene.name for scene in self.scenes]

    @property
    def covers(self) -> list[str]:
        """Names of the scenes whose videos have a cover."""
        return [scene.scene.name for scene in self.scenes if scene.options.cover]


@dataclass(slots=True, kw_only=True)
class SceneIntake:
    """Checks and claims of the scenes that come while a run is open: `engine.open_run.Intake`."""

    inputs: RunInputs
    destination: Destination
    access: RemoteAccess
    limits: Limits
    run: str
    past: JournalState
    hash_inputs: HashInputs
    claim_more: ClaimMore
    overwrite: bool
    resume: bool

    async def check(self, scene: object, labels: SceneLabels) -> CheckedScene:
        """Check a scene: see `Intake.check`."""
        inputs, remote = self.inputs, self.access.inputs()
        check = partial(
            _check,
            scene_list([scene]),
            destination=self.destination,
            options=inputs.options,
            limits=self.limits,
            film=inputs.film,
            remote=remote,
            labels=labels,
            # A film has the format of its first scene, and a transition from the last one.
            earlier=[*inputs.scenes[:1], *inputs.scenes[1:][-1:]],
        )
        found = await remote.call_in_thread(check)
        inputs.remote_files |= found.remote_files
        inputs.bytes_checked += found.bytes_checked
        return found.scenes[0]

    async def claim(self, scene: CheckedScene) -> ClaimedScenes:
        """Claim the video of a checked scene: see `Intake.claim`."""
        name = scene.scene.name
        await self.claim_more([name], [name] if scene.options.cover else [])
        claimed = await self.look_up([scene])
        self.inputs.scenes.append(scene)
        self.inputs.chapters.append(_chapter(scene))
        return claimed

    async def look_up(self, scenes: Sequence[CheckedScene]) -> ClaimedScenes:
        """Return what is known of scenes whose videos are claimed.

        Raises `OutputExistsError` in a resumed run for videos that are not of the run.
        """
        earlier = None
        if self.resume:
            earlier = await self.destination.recover(
                self.run,
                self.past,
                scenes,
                overwrite=self.overwrite,
                hash_inputs=self.hash_inputs,
            )
        remote = await self.access.files(
            self.run,
            self.inputs.remote_files,
            self.destination,
            overwrite=self.overwrite,
            max_input_bytes=self.limits.file_bytes,
        )
        checked, self.inputs.bytes_checked = self.inputs.bytes_checked, 0
        return ClaimedScenes(earlier, remote, checked)


async def check_inputs(
    scenes: object,
    *,
    destination: Destination,
    options: RenderOptions,
    limits: Limits,
    film: FilmRequest | None,
    remote: RemoteInputs,
    labels: SceneLabels | None = None,
) -> RunInputs:
    """Check the inputs of a run; of most files, only the start and the end are read.

    ``labels`` are those of the scenes that came before from a source; ``None``: the scenes are all
    of the run.

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
        labels=labels,
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
        async with create_task_group() as tasks:
            # A folder on this machine is checked when its videos are claimed.
            if not isinstance(destination, FolderDestination):
                tasks.start_soon(find_faults_of, destination)
            try:
                inputs = await remote.call_in_thread(check)
            except InvalidScenesError as exc:
                faults[:0] = exc.faults
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
    if isinstance(scenes, FunctionType | MethodType):
        hint = f" or an asynchronous iterable: {scenes.__name__}()"
    fault = SceneFault("", "scenes", found, f"a list of scenes{hint}", "wrong_type")
    raise InvalidScenesError(faults=[fault])


@asynccontextmanager
async def looking_ahead(
    source: AsyncIterable[object], tasks: TaskGroup
) -> AsyncGenerator[tuple[list[str], AsyncIterable[object]]]:
    """Ask a source for its first scene; yield the scene's name, if there is one, and all."""
    scope, ended, errors = CancelScope(), anyio.Event(), list[BaseException]()
    asking, asked = anyio.create_memory_object_stream[None]()
    giving, given = anyio.create_memory_object_stream[object]()

    async def ask() -> None:  # in one task, because generators may have cancel scopes
        try:
            with asked, giving, scope:
                async with iterating(source) as scenes:
                    async for scene in scenes:
                        await giving.send(scene)
                        await asked.receive()
        except (Exception, anyio.get_cancelled_exc_class()) as exc:  # noqa: BLE001 - the run raises it
            errors.append(exc)
        finally:
            ended.set()

    async def all_scenes() -> AsyncGenerator[object]:
        for scene in first:
            yield scene
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await asking.send(None)
                    yield await given.receive()
        if errors:
            raise errors[0]

    with asking, given:
        tasks.start_soon(ask, name="cloudburst source of scenes")
        try:
            first = list[object]()
            with suppress(anyio.EndOfStream):
                first.append(await given.receive())
            yield [*map(name_of, first)], all_scenes()
        finally:
            scope.cancel()
            with CancelScope(shield=True):
                await ended.wait()


def name_of(scene: object) -> str:
    """Return the name of a scene that is not checked yet; empty if it has none."""
    if isinstance(scene, Scene):
        return scene.name
    if not isinstance(scene, Mapping):
        return ""
    fields = cast("Mapping[object, object]", scene)
    name = fields.get("name", fields.get("scene_name"))
    return name if isinstance(name, str) else ""


def _check(
    scenes: Sequence[AnyScene],
    *,
    destination: Destination,
    options: RenderOptions,
    limits: Limits,
    film: FilmRequest | None,
    remote: RemoteInputs,
    labels: SceneLabels | None,
    earlier: Sequence[CheckedScene] | None = None,
) -> RunInputs:
    """Check the scenes; ``earlier`` are the neighbours of a further scene in the film, if any."""
    checked, film = check_scenes_and_film(
        *(scenes, options, limits), remote=remote, film=film, labels=labels, earlier=earlier
    )
    if isinstance(destination, FolderDestination):
        check_covers(checked, destination.folder)
    else:
        check_objects(checked, destination.video)
    if film is not None and checked:
        scenes_so_far = [*(earlier or ()), *checked]
        check_scenes_of_film(film, scenes_so_far, destination.video, all_known=labels is None)
    chapters = [*map(_chapter, checked)]
    return RunInputs([*checked], options, film, chapters, remote.files, remote.bytes_read)


def _chapter(scene: CheckedScene) -> ChapterSource:
    return ChapterSource.of(scene.given or scene.scene, scene.voice_end)


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
        for path in local_paths(scene.files().values())
    }
    faults = [
        SceneFault(name, "options.cover", f"{_INPUT}{covers[name]}", _NEW_FOLDER, "contradiction")
        for name, identity in files.items()
        if identity in inputs
    ]
    if faults:
        raise InvalidScenesError(faults=faults)


def check_objects(scenes: Sequence[CheckedScene], video: Callable[[str], OutputLocation]) -> None:
    """Check that no video and no cover in S3 would do so."""
    inputs = {location for scene in scenes for location in scene.files().values()}
    faults: list[SceneFault] = []
    for scene in scenes:
        name = scene.scene.name
        outputs = {"name": video(name)}
        if scene.options.cover:
            outputs["options.cover"] = cover_path(video(name))
        faults += [
            SceneFault(name, field, f"{_INPUT}{location}", _NEW_FOLDER_IN_S3, "contradiction")
            for field, location in outputs.items()
            if location in inputs
        ]
    if faults:
        raise InvalidScenesError(faults=faults)
