"""Render of one scene: the input files in a job's folder become ``video.mp4`` in one encode."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from PIL import Image

from cloudburst.models.camera_effects import Effect
from cloudburst.models.input_error import InvalidInputError
from cloudburst.models.subtitles import MAX_SUBTITLE_BYTES, check_glyph_area, read_cues
from cloudburst.renderer import ass_subtitles, media, process_limits
from cloudburst.renderer import ffmpeg as ff
from cloudburst.renderer.job import (
    AUDIO,
    IMAGE,
    SUBTITLE,
    VIDEO_FILE,
    WATERMARK,
    InputFaultError,
    JobOptions,
    RenderedVideo,
    RenderJob,
    Scenario,
)

Progress = Callable[[float], None]
Announce = Callable[[str], None]

ENCODE_CPU_SECONDS = 20
ENCODE_CPU_SHARE = 2.0
"""CPU seconds that ffmpeg may use for each second of a video, in addition to `ENCODE_CPU_SECONDS`
for each encode. A video with zoom and subtitles takes 0.4; nothing but unusual subtitles
makes it much slower."""

_PIPE_BYTES = 1 << 20
"""Largest pipe size that Linux grants to unprivileged processes by default."""


def render(folder: Path, job: RenderJob, progress: Progress, announce: Announce) -> RenderedVideo:
    """Render the video of a job in its folder, and return the properties of the video.

    ``progress`` is called often, with the finished part from 0 to 1; ``announce`` is called with
    the name of each input before it is read, and with an empty text afterwards. The video
    file gets its final name when it is complete.

    Raises:
        InputFaultError: an input cannot be rendered.
        FfmpegError: ffmpeg fails although the inputs are valid.
        ConfigurationError: there is no ffmpeg or no font.
    """
    ffmpeg = ff.Ffmpeg(job.ffmpeg, "") if job.ffmpeg else ff.find_ffmpeg()
    process_limits.limit_cpu_time(time.process_time() + process_limits.READ_CPU_SECONDS)
    with process_limits.reading_input(AUDIO, announce):
        sound = media.measure_audio(ffmpeg, folder, job.audio_seconds)
    with process_limits.reading_input(IMAGE, announce):
        picture = media.load_picture(folder / IMAGE, job.image_pixels, job.options.is_portrait)
    mark = None
    if (folder / WATERMARK).exists():
        with process_limits.reading_input(WATERMARK, announce):
            mark = media.load_watermark(folder / WATERMARK, job.image_pixels, picture.size)
    effect = job.effect
    scene = ff.EncodeSpec(
        width=picture.width,
        height=picture.height,
        frames=sound.frames,
        moving=effect is not None,
        subtitled=(folder / SUBTITLE).exists(),
        mono=sound.channels == 1,
    )
    if scene.subtitled:
        with process_limits.reading_input(SUBTITLE, announce):
            _write_subtitles(folder, job.options, scene)
    process_limits.lift_cpu_limit()
    if effect is None:
        frames = None
        _write_still(folder, picture, mark)
    else:
        frames = _moving(media.to_planes(picture), mark, effect, scene.frames)
    del picture  # frees 8 MB for the encode
    _encode(ffmpeg, folder, scene, frames, progress)
    return _finished(folder, scene)


def _write_subtitles(folder: Path, options: JobOptions, scene: ff.EncodeSpec) -> None:
    font = ff.find_font()
    # The folder holds only the font, because libass reads every file in it.
    (folder / ff.FONTS_FOLDER).mkdir(exist_ok=True)
    link = folder / ff.FONTS_FOLDER / font.path.name
    link.unlink(missing_ok=True)
    link.symlink_to(font.path)
    look = ass_subtitles.subtitle_style(options, scene.width, scene.height, font.family)
    try:
        with (folder / SUBTITLE).open("rb") as file:
            cues = read_cues(file.read(MAX_SUBTITLE_BYTES + 1))
        check_glyph_area(cues, look.size)
    except InvalidInputError as exc:
        raise InputFaultError(SUBTITLE, exc.found, exc.expected) from exc
    text = ass_subtitles.ass_document(cues, look, scene.width, scene.height, scene.frames / ff.FPS)
    (folder / ff.ASS_FILE).write_text(text, "utf-8", newline="\n")


def _write_still(folder: Path, picture: Image.Image, mark: Image.Image | None) -> None:
    if mark is not None:
        picture.paste(mark, (media.WATERMARK_MARGIN, media.WATERMARK_MARGIN), mark)
    planes = media.to_planes(picture)
    (folder / ff.STILL_FILE).write_bytes(planes.y + planes.u + planes.v)


def _moving(
    picture: media.Planes, mark: Image.Image | None, effect: Effect, frames: int
) -> Iterator[memoryview]:
    os.environ.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # numpy would start an unused thread per core
    from cloudburst.renderer import camera_motion  # noqa: PLC0415 - saves still pictures 0.25 s

    camera = camera_motion.Camera(
        picture, None if mark is None else camera_motion.WatermarkOverlay(mark)
    )
    for window in camera_motion.camera_windows(effect, picture.width, picture.height, frames):
        yield camera.frame(window).data.data


def _encode(
    ffmpeg: ff.Ffmpeg,
    folder: Path,
    scene: ff.EncodeSpec,
    frames: Iterable[memoryview] | None,
    progress: Progress,
) -> None:
    timeout = 120 + 30 * scene.frames / ff.FPS  # a safeguard; the server's deadline is earlier
    arguments = ff.encode_arguments(scene)
    share = ENCODE_CPU_SECONDS + ENCODE_CPU_SHARE * scene.frames / ff.FPS
    with ff.run_ffmpeg(
        ffmpeg,
        arguments,
        folder,
        seconds=timeout,
        processor_seconds=share,
        fed=frames is not None,
    ) as run:
        process = run.process
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
    if scene.subtitled and (fault := run.limit_fault(SUBTITLE)):
        raise InputFaultError(fault.field, fault.found, fault.expected)
    if code != 0:
        msg = f"ffmpeg exited with {code}: {run.last_error_lines()}"
        raise ff.FfmpegError(msg)


class _Feeder(threading.Thread):
    """Thread that draws frames and writes them to ffmpeg; the main thread reads the progress."""

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
            pass  # ffmpeg has exited; its exit code and error output say why
        except Exception as exc:  # noqa: BLE001 - raised again in the main thread
            self.error = exc
            self._process.kill()


def _widen(pipe: IO[bytes]) -> None:
    """Enlarge a pipe to a third of a frame, where supported, for fewer context switches."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _finished(folder: Path, scene: ff.EncodeSpec) -> RenderedVideo:
    partial = folder / ff.PARTIAL_VIDEO_FILE
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = partial.stat().st_size
    partial.replace(folder / VIDEO_FILE)
    (folder / ff.STILL_FILE).unlink(missing_ok=True)
    return RenderedVideo(
        seconds=scene.frames / ff.FPS,
        frames=scene.frames,
        width=scene.width,
        height=scene.height,
        size=size,
        sha256=digest,
        scenario=_scenario(scene),
    )


def _scenario(scene: ff.EncodeSpec) -> Scenario:
    if scene.moving:
        return "full_featured" if scene.subtitled else "effects_only"
    return "subtitles_only" if scene.subtitled else "baseline"
