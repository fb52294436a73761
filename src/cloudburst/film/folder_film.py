"""Film on this machine: the claim of its files, its plan, and the process that makes it."""

from __future__ import annotations

import asyncio
import filecmp
import hashlib
import importlib.util
import json
import math
import os
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from anyio import to_thread

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import ConfigurationError, FilmError, OutputExistsError
from cloudburst.files import open_regular_file
from cloudburst.film.plan import (
    FilmFile,
    FilmPlan,
    FilmScene,
    film_files,
    partial_files,
    read_fingerprint,
)
from cloudburst.models.film import FilmRequest, Transition
from cloudburst.models.locations import AnyLocation
from cloudburst.models.scene import Scene, Video
from cloudburst.outputs.folder import claim_outputs
from cloudburst.ports.outputs import OnWorker
from cloudburst.ports.renderer import OnProgress
from cloudburst.service.subprocesses import Subprocesses
from cloudburst.text import list_some
from cloudburst.workers.temporary_folders import temporary_folder

# Command that makes the film of a plan file, which is appended as its argument. ``-P``: never
# import modules from the current folder.
COMMAND = (sys.executable, "-P", "-m", "cloudburst.film.film_process")
# Modules of the extra ``cloudburst-sdk[film]``.
REQUIRED_MODULES = ("av", "PIL")
# Seconds by which lengths may differ from those in headers of audio, which need not be exact. The
# film process checks the exact length.
LENGTH_TOLERANCE = 0.05
# Seconds for the removal of the partial files of a film.
REMOVE_TIMEOUT = 10.0


class ChapterSource(NamedTuple):
    """What a film takes from a scene besides its video; ``title`` is that of the chapter."""

    name: str
    title: str
    subtitle: AnyLocation | None
    transition: Transition | None = None
    voice_end: float = math.inf
    """End of the scene in the voice of the film, in seconds, if that is known."""

    @classmethod
    def of(cls, scene: Scene, voice_end: float = math.inf) -> Self:
        """Return what the film takes from a scene."""
        title = scene.title or scene.options.title or scene.name
        return cls(scene.name, title, scene.subtitle, scene.transition, voice_end)


@asynccontextmanager
async def claimed_film(
    request: FilmRequest,
    sources: Sequence[ChapterSource],
    *,
    run: str,
    overwrite: bool,
    replace_film: bool = False,
) -> AsyncGenerator[FolderFilm]:
    """Claim the files of a film on this machine, and yield its maker.

    With ``replace_film``, a film that this package has made is replaced, also if only its other
    files are left.

    Raises:
        OutputExistsError: A file of the film exists and must not be replaced.
        OutputClaimedError: Another process writes this film, or a video of this name.
        ConfigurationError: The folder of the film cannot be written to.
    """
    film = request.path
    assert isinstance(film, Path), "films in S3 are claimed in S3"
    # No run has such a name, because it has a dot. With `resume`, existing files are left to the
    # check that follows, which knows films.
    async with claim_outputs(
        film.parent, [film.stem], run=f"{run}.film", overwrite=overwrite, resume=True
    ):
        await to_thread.run_sync(_refuse_folders, film)
        if not overwrite:
            await to_thread.run_sync(_refuse_existing, film, replace_film)

        yield FolderFilm(request, film, sources, overwrite)


@dataclass(frozen=True, slots=True)
class FolderFilm:
    """Maker of a film on this machine: `cloudburst.ports.outputs.FilmMaker`."""

    request: FilmRequest
    path: Path
    sources: Sequence[ChapterSource]
    overwrite: bool

    @property
    def needs_worker(self) -> bool:
        """Always false: a process on this machine makes the film."""
        return False

    async def make(
        self,
        videos: Sequence[Video],
        on_progress: OnProgress,
        on_worker: OnWorker | None = None,  # noqa: ARG002
    ) -> tuple[Path, bool]:
        """Make the film unless it is up to date: see `FilmMaker.make`."""
        plan = await to_thread.run_sync(film_plan, self.request, videos, self.sources)
        if await to_thread.run_sync(is_up_to_date, plan):
            return self.path, True
        await make_film(plan, on_progress, overwrite=self.overwrite)
        return self.path, False


def _refuse_existing(film: Path, replace_film: bool) -> None:
    there = [path for path in film_files(film) if os.path.lexists(path)]
    ours = replace_film and (film not in there or bool(read_fingerprint(film)))
    if there and not ours:
        msg = f"files of the film exist: {list_some(there)}; overwrite=True replaces them"
        raise OutputExistsError(msg, paths=there)


def _refuse_folders(film: Path) -> None:
    if folders := [path for path in film_files(film) if path.is_dir()]:
        msg = f"folders have the names of files of the film: {list_some(folders)}; move them away"
        raise OutputExistsError(msg, paths=folders)


def file_digest(name: str, path: AnyLocation) -> str:
    """Return the SHA-256 of a file of the film or of scene ``name``, or raise `FilmError`."""
    assert isinstance(path, Path), "checked before the run"
    try:
        with open_regular_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise FilmError(f"{name}: {path}: {exc.strerror or exc}") from exc


def film_plan(
    request: FilmRequest,
    videos: Sequence[Video],
    sources: Sequence[ChapterSource],
    digest: Callable[[str, AnyLocation], str] = file_digest,
) -> FilmPlan:
    """Return the plan of a film of finished videos. Blocks.

    ``digest`` returns the SHA-256 of a file, or another text that stands for its content: see
    `file_digest`. Raises `FilmError` if the scenes end before the voice of the film.
    """
    end, length = sources[-1].voice_end, request.voice_seconds or 0.0
    if end + LENGTH_TOLERANCE < length:
        expected = f"{length:.2f} s, where the voice ends"
        raise FilmError(f"film_audio: the scenes end at {end:.2f} s; expected {expected}")
    scenes = [
        FilmScene(
            name=source.name,
            title=source.title,
            video=str(video.path),
            sha256=video.sha256,
            subtitle=str(source.subtitle) if source.subtitle else None,
            subtitle_sha256=digest(source.name, source.subtitle) if source.subtitle else "",
            transition=source.transition,
        )
        for video, source in zip(videos, sources, strict=True)
    ]
    return FilmPlan(
        path=str(request.path),
        scenes=tuple(scenes),
        transition=request.transition,
        transition_seconds=request.transition_seconds,
        film_gap=request.film_gap,
        files={name: FilmFile(str(at), digest(name, at)) for name, at in request.files.items()},
        sound=request.sound,
    )


def check_modules() -> None:
    """Raise `ConfigurationError` if a module is missing without which no film can be made."""
    missing = [name for name in REQUIRED_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        msg = f"a film needs {', '.join(missing)}: pip install 'cloudburst-sdk[film]'"
        raise ConfigurationError(msg)


def is_up_to_date(plan: FilmPlan) -> bool:
    """Return whether the film of a plan exists with its other files, made of the same videos."""
    subtitles, cover, film = film_files(Path(plan.path))
    return (
        cover.is_file()
        and subtitles.is_file() == plan.has_subtitles
        and read_fingerprint(film) == plan.fingerprint
    )


async def make_film(
    plan: FilmPlan, on_progress: Callable[[float], None], *, overwrite: bool = False
) -> float:
    """Make a film in a process of its own, and return its length in seconds.

    The files get their final names when all of them are complete; an earlier film is replaced. If
    this call is cancelled or fails, nothing is left of the film. With ``overwrite``, subtitles and
    a cover that are not those of an earlier film are replaced.

    Raises:
        FilmError: No film can be made of the videos, or it cannot be written.
    """
    film = Path(plan.path)
    on_progress(0.0)
    try:
        done = await _run(plan, on_progress)
        await to_thread.run_sync(_rename, film, overwrite)
    except OSError as exc:
        raise FilmError(f"{film}: {exc.strerror or exc}") from exc
    finally:
        with suppress(TimeoutError):
            await finish_despite_cancel(
                lambda: to_thread.run_sync(_remove_partial, film), seconds=REMOVE_TIMEOUT
            )
    return float(done["seconds"])


async def _run(plan: FilmPlan, on_progress: Callable[[float], None]) -> dict[str, Any]:
    last, reports = dict[str, Any](), list[asyncio.Task[None]]()

    async def report(progress: float) -> None:
        on_progress(progress)

    def on_line(text: bytes) -> None:
        line = json.loads(text)
        if "progress" in line:  # in a task: in a callback of asyncio.run, anyio finds no event loop
            reports.append(asyncio.create_task(report(line["progress"])))
        last.update(line)

    async with temporary_folder() as folder:
        file = folder / "plan.json"
        await to_thread.run_sync(file.write_text, plan.to_json(), "utf-8")
        ended = await Subprocesses().run([*COMMAND, str(file)], on_line)
    if "fault" in last:
        raise FilmError(last["fault"])
    if "done" not in last or ended.code != 0:
        raise FilmError(f"the film process ended with {ended.code}: {ended.errors}")
    done: dict[str, Any] = last["done"]
    return done


def _rename(film: Path, overwrite: bool) -> None:
    """Give the partial files their final names, the film last; remove earlier subtitles."""
    files = partial_files(film)
    if not overwrite:
        made_at = film.stat().st_mtime_ns if read_fingerprint(film) else 0
        for partial, path in files.items():
            if path != film and _is_foreign(path, partial, made_at):
                msg = f"{path} is not from an earlier film, or was changed since: move it away, or "
                raise FilmError(f"{msg}overwrite=True (--overwrite) replaces it")
    for partial, path in files.items():
        if partial.stat().st_size:
            partial.replace(path)
        else:
            path.unlink(missing_ok=True)


def _is_foreign(path: Path, partial: Path, made_at: int) -> bool:
    newer = os.path.lexists(path) and path.lstat().st_mtime_ns > made_at
    return newer and not filecmp.cmp(partial, path, shallow=False)


def _remove_partial(film: Path) -> None:
    for partial in partial_files(film):
        with suppress(OSError):
            partial.unlink()
