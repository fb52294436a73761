"""Folder in S3 as the destination of videos.

The journals of its runs are on this machine, because SQLite needs a disk. A run can be resumed
without its journal, because each object names its run and the fingerprint of its scene.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio.to_thread

from cloudburst.aws.s3.destination_check import check_destination
from cloudburst.aws.s3.object_info import FinishedObject, as_finished, run_of
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.aws.s3.request_waits import repeat_while_busy
from cloudburst.concurrency import for_each
from cloudburst.engine.records import RecoveredState
from cloudburst.errors import (
    CloudburstError,
    ConfigurationError,
    NoAnswerError,
    OutputExistsError,
    SceneFault,
    ThrottledError,
)
from cloudburst.models.fingerprint import HashInputs
from cloudburst.models.journal_entries import JournalState, ResultEntry
from cloudburst.models.locations import MAX_KEY_BYTES, OutputLocation, S3Object, S3Prefix
from cloudburst.models.scene import CheckedScene, Video, cover_path
from cloudburst.outputs.earlier_runs import newest_run_with, recovered_state
from cloudburst.outputs.folder import ClaimMore, claim_outputs
from cloudburst.outputs.journal.reader import is_run_name, journal_folder
from cloudburst.text import list_some

logger = logging.getLogger(__name__)

# Number of objects that are asked about at once.
_MAX_REQUESTS = 32
# Number of objects up to which each is asked about instead of listing the folder: a video and its
# cover.
_MAX_SINGLE_REQUESTS = 2
# Number of existing objects that are asked for their run, if no journal on this machine knows it.
_OBJECTS_THAT_NAME_RUNS = 3


class S3Destination:
    """Folder in S3 for the videos of a run; its journals are on this machine."""

    def __init__(self, prefix: S3Prefix, store: ObjectStore) -> None:
        # Absolute path of the folder on this machine with the journals of its runs.
        self.folder = journal_folder(prefix)
        self._prefix = prefix
        self._store = store

    async def find_faults(self, film: OutputLocation | None = None) -> Sequence[SceneFault]:
        """Return the faults of the folders for videos and film that do not accept objects.

        If objects cannot be deleted, a warning names the one that is left. Raises `ThrottledError`
        or `NoAnswerError` if S3 stays busy.
        """
        folders = {"to": self._prefix}
        if isinstance(film, S3Object) and film.folder != self._prefix:
            folders["film"] = film.folder
        faults = list[SceneFault]()
        for field, folder in folders.items():
            try:
                check = await repeat_while_busy(partial(check_destination, self._store, folder))
            except (NoAnswerError, ThrottledError):
                raise  # it says nothing about the folder
            except CloudburstError as exc:
                expected = "a folder in S3 that can be written to"
                faults.append(SceneFault("", field, str(exc), expected))
                continue
            if check.left:
                logger.warning("%s: %s", folder, check.detail)
        return faults

    @asynccontextmanager
    async def claim(
        self,
        names: Sequence[str],
        *,
        run: str,
        overwrite: bool,
        resume: bool,
        covers: Collection[str],
    ) -> AsyncGenerator[ClaimMore]:
        """Keep other processes on this machine away from the run.

        Processes on other machines, and other runs, are not kept away: conditions of the requests
        that write videos keep them from replacing each other's.

        Raises:
            OutputClaimedError: Another process on this machine works on the run.
            OutputExistsError: A video exists and may not be replaced.
            ConfigurationError: The key of a video would be too long, or the journal cannot be kept.
        """
        claim = partial(self._claim, may_exist=resume or overwrite)
        await anyio.to_thread.run_sync(_make_folder, self.folder)
        async with claim_outputs(self.folder, [], run=run, overwrite=True, resume=resume):
            await claim(names, covers)
            yield claim

    async def _claim(
        self, names: Sequence[str], covers: Collection[str], *, may_exist: bool
    ) -> None:
        videos = [self.video(name) for name in names]
        if too_long := [each for each in videos if len(each.key.encode()) > MAX_KEY_BYTES]:
            msg = (
                f"keys of more than {MAX_KEY_BYTES} bytes: {list_some(too_long)}; choose a folder "
                "with a shorter name"
            )
            raise ConfigurationError(msg)
        if may_exist:
            return
        outputs = {*videos, *(cover_path(self.video(name)) for name in covers)}
        if there := sorted(await self._existing(outputs), key=str):
            msg = f"videos already exist: {list_some(there)}; overwrite=True replaces them"
            raise OutputExistsError(msg, objects=[*map(str, there)])

    async def newest_run_with(self, names: Collection[str] | None) -> str | None:
        """Return the name of the newest run with a scene of one of these names, or ``None``.

        ``names=None`` stands for the newest run whose scenes come from a source. If no journal of
        this machine knows such a run, it is the run that made one of the videos.
        """
        if run := await anyio.to_thread.run_sync(newest_run_with, self.folder, names):
            return run
        there = await self._list()
        if names is None:
            videos = [each for each in there if each.suffix == ".mp4"]
        else:
            videos = [video for name in names if (video := self.video(name)) in there]
        for video in videos[:_OBJECTS_THAT_NAME_RUNS]:
            info = await repeat_while_busy(partial(self._store.find, video))
            # Any program may have written the metadata.
            if info is not None and is_run_name(run := run_of(info)):
                return run
        return None

    async def recover(
        self,
        run: str,
        past: JournalState,
        scenes: Sequence[CheckedScene],
        *,
        overwrite: bool,
        hash_inputs: HashInputs,
    ) -> RecoveredState | None:
        """Return the state that earlier processes of the run left: see `FolderDestination.recover`.

        The processes may have run on other machines.
        """
        outputs = {
            location: scene.scene.name for scene in scenes for location in self._outputs(scene)
        }
        there = await self._existing(outputs)
        found = await self._find(run, {at: outputs[at] for at in there})
        foreign = [location for location, info in found.items() if info is None]
        if foreign and not overwrite:
            reason = f"run {run} has not made them"
            msg = (
                f"videos already exist: {list_some(foreign)} ({reason}); pass overwrite=True to "
                "render and replace them, or choose another folder"
            )
            raise OutputExistsError(msg, objects=[*map(str, foreign)], reason=reason)
        results = {
            scene.scene.name: entry
            for scene in scenes
            if (entry := self._result(scene, past.results.get(scene.scene.name), found)) is not None
        }
        if not past.processes and not results:
            return None
        return await recovered_state(past, scenes, results, hash_inputs)

    async def _existing(self, outputs: Collection[S3Object]) -> list[S3Object]:
        """Return those of the outputs that exist."""
        if len(outputs) > _MAX_SINGLE_REQUESTS:
            there = set(await self._list())
            return [each for each in outputs if each in there]
        return [
            each
            for each in outputs
            if await repeat_while_busy(partial(self._store.find, each)) is not None
        ]

    async def _list(self) -> Sequence[S3Object]:
        return await repeat_while_busy(partial(self._store.list_folder, self._prefix))

    async def _find(
        self, run: str, outputs: Mapping[S3Object, str]
    ) -> dict[S3Object, FinishedObject | None]:
        found = dict[S3Object, FinishedObject | None]()

        async def find(output: tuple[S3Object, str]) -> None:
            location, scene = output
            info = await repeat_while_busy(partial(self._store.find, location))
            found[location] = None if info is None else as_finished(info, run=run, scene=scene)

        await for_each(outputs.items(), find, at_once=_MAX_REQUESTS)
        return found

    def video(self, scene: str) -> S3Object:
        """Return the location of the video of a scene."""
        return self._prefix.object(f"{scene}.mp4")

    def _outputs(self, scene: CheckedScene) -> list[S3Object]:
        video = self.video(scene.scene.name)
        return [video, cover_path(video)] if scene.options.cover else [video]

    def _result(
        self,
        scene: CheckedScene,
        entry: ResultEntry | None,
        found: Mapping[S3Object, FinishedObject | None],
    ) -> ResultEntry | None:
        objects = [found.get(location) for location in self._outputs(scene)]
        there = [info for info in objects if info is not None]
        made_of = {info.fingerprint for info in there}
        if len(there) < len(objects) or len(made_of) != 1 or made_of == {""}:
            return None
        (fingerprint,) = made_of
        video, cover = there[0], there[1] if len(there) > 1 else None
        location = self.video(scene.scene.name)
        if entry is not None and entry.video.sha256 == video.sha256:
            video_here = entry.video.moved_to(location)
            return replace(entry, video=video_here, fingerprint=fingerprint)
        return ResultEntry(
            video=Video(
                scene=scene.scene.name,
                path=location,
                task="",
                size=video.size,
                sha256=video.sha256,
                seconds=scene.audio_seconds,
                cover=None if cover is None else cover_path(location),
                cover_sha256=None if cover is None else cover.sha256,
            ),
            fingerprint=fingerprint,
            attempts=1,
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        msg = (
            f"the journal of the run cannot be kept in {folder} ({exc.strerror}): set "
            "XDG_STATE_HOME to a folder that can be written to"
        )
        raise ConfigurationError(msg) from exc
