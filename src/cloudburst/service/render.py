"""One scene: the files of a job's folder become ``video.mp4`` in one encode."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from PIL import Image

from cloudburst.models.options import Effect, RenderOptions
from cloudburst.service import ffmpeg as ff
from cloudburst.service import media, subtitles
from cloudburst.service.job import (
    IMAGE,
    SUBTITLE,
    VIDEO,
    WATERMARK,
    Done,
    RenderJob,
    Scenario,
)

Progress = Callable[[float], None]

_PIPE_BYTES = 1 << 20
"""What Linux lets anybody have."""


def render(folder: Path, job: RenderJob, progress: Progress) -> Done:
    """Make the video. ``progress`` is told parts of 1, often.

    Raises `InputFaultError` for inputs that cannot be rendered, `FfmpegError` when ffmpeg fails on
    good ones, `ConfigurationError` without ffmpeg or font. The video appears under its name when
    it is whole.
    """
    ffmpeg = ff.find_ffmpeg()
    sound = media.measure_sound(ffmpeg, folder, job.audio_seconds)
    picture = media.photo(folder / IMAGE, job.image_pixels, job.options.is_portrait)
    mark = None
    if (folder / WATERMARK).exists():
        mark = media.mark(folder / WATERMARK, job.image_pixels, picture.size)
    effect = job.options.effect_for(job.name)
    scene = ff.Scene(
        width=picture.width,
        height=picture.height,
        frames=sound.frames,
        moving=effect is not None,
        subtitled=(folder / SUBTITLE).exists(),
        mono=sound.channels == 1,
    )
    if scene.subtitled:
        _write_subtitles(folder, job.options, scene)
    if effect is None:
        frames = None
        _write_still(folder, picture, mark)
    else:
        frames = _moving(media.planes(picture), mark, effect, scene.frames)
    del picture  # 8 MB that would lie there during the encode
    _encode(ffmpeg, folder, scene, frames, progress)
    return _finished(folder, scene)


def _write_subtitles(folder: Path, options: RenderOptions, scene: ff.Scene) -> None:
    cues = subtitles.parse(subtitles.decode((folder / SUBTITLE).read_bytes()))
    font = ff.find_font()
    # A folder with nothing but the font: libass reads every file of it.
    (folder / ff.FONTS).mkdir(exist_ok=True)
    link = folder / ff.FONTS / font.path.name
    link.unlink(missing_ok=True)
    link.symlink_to(font.path)
    look = subtitles.look(options, scene.width, scene.height, font.family)
    text = subtitles.ass(cues, look, scene.width, scene.height, scene.frames / ff.FPS)
    (folder / ff.SUBTITLES).write_text(text, "utf-8", newline="\n")


def _write_still(folder: Path, picture: Image.Image, mark: Image.Image | None) -> None:
    if mark is not None:
        picture.paste(mark, (media.MARK_AT, media.MARK_AT), mark)
    planes = media.planes(picture)
    (folder / ff.STILL).write_bytes(planes.y + planes.u + planes.v)


def _moving(
    picture: media.Planes, mark: Image.Image | None, effect: Effect, frames: int
) -> Iterator[memoryview]:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start one a core, unused
    from cloudburst.service import motion  # noqa: PLC0415 - stills go without: a quarter second

    camera = motion.Camera(picture, None if mark is None else motion.Stamp(mark))
    for window in motion.windows(effect, picture.width, picture.height, frames):
        yield camera.frame(window).data.data


def _encode(
    ffmpeg: ff.Ffmpeg,
    folder: Path,
    scene: ff.Scene,
    frames: Iterable[memoryview] | None,
    progress: Progress,
) -> None:
    patience = 120 + 30 * scene.frames / ff.FPS  # ours; the server's deadline comes first
    arguments = ff.encode_arguments(scene)
    with ff.running(ffmpeg, arguments, folder, seconds=patience, fed=frames is not None) as process:
        feeder = _Feeder(process, frames or ())
        feeder.start()
        assert process.stdout is not None
        for line in process.stdout:
            key, _, value = line.decode("ascii", "replace").strip().partition("=")
            if key == "frame" and value.isdecimal():
                progress(min(1.0, int(value) / scene.frames))
        code = process.wait()
        feeder.join()
    if feeder.error is not None:
        raise feeder.error
    if code != 0:
        msg = f"ffmpeg ended with {code}: {ff.last_words(folder)}"
        raise ff.FfmpegError(msg)


class _Feeder(threading.Thread):
    """Draws frames and writes them to ffmpeg, while the main thread reads its progress."""

    def __init__(self, process: subprocess.Popen[bytes], frames: Iterable[memoryview]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._frames = frames
        self.error: Exception | None = None

    def run(self) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        try:
            _widen(pipe)
            with pipe:
                for frame in self._frames:
                    pipe.write(frame)
        except BrokenPipeError:
            pass  # ffmpeg is gone; its exit and last words say why
        except Exception as exc:  # noqa: BLE001 - raised again in the main thread
            self.error = exc
            self._process.kill()


def _widen(pipe: IO[bytes]) -> None:
    """Let a third of a frame wait in the pipe, where that can be said: fewer switches."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _finished(folder: Path, scene: ff.Scene) -> Done:
    partial = folder / ff.PARTIAL
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = partial.stat().st_size
    partial.replace(folder / VIDEO)
    (folder / ff.STILL).unlink(missing_ok=True)
    return Done(
        seconds=scene.frames / ff.FPS,
        frames=scene.frames,
        width=scene.width,
        height=scene.height,
        size=size,
        sha256=digest,
        scenario=_scenario(scene),
    )


def _scenario(scene: ff.Scene) -> Scenario:
    if scene.moving:
        return "full_featured" if scene.subtitled else "effects_only"
    return "subtitles_only" if scene.subtitled else "baseline"
