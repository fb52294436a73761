"""Limits for memory and CPU time of processes that read a caller's files.

They are for files that the rules for inputs do not reject. The kernel enforces them, so a file that
overloads a decoder fails only its own job. Those of a whole job are hard limits, which this process
cannot raise. On Linux only.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from cloudburst.models.video_format import VideoFormat, video_size
from cloudburst.renderer.h264_levels import max_second_bytes
from cloudburst.renderer.job import (
    AUDIO,
    FONT,
    IMAGE,
    JOB_FILE,
    MUSIC,
    SUBTITLE,
    WATERMARK,
    InputFault,
    InputFaultError,
    RenderJob,
)

if sys.platform == "linux":
    import resource

# Memory limit in bytes for a process that reads a caller's files: 600 MB for a decoded picture, 60
# MB for Python and PyAV, and 20 MB for the picture in smaller sizes. Audio takes 5 to 30 MB, but a
# media file of 2 KB can make a demuxer build an index of gigabytes.
MEMORY_BYTES = 700_000_000
# Further memory allowed for each pixel that a frame has more than 1920x1080, in bytes. The encoder
# and the frames take 32; the rest is for pictures that are read, fades and subtitles. The limit is
# 1.1 GB for 4k and 1.6 GB for 4096x4096, less than the 2 GB for each encoder slot on Fargate.
FRAME_MEMORY_BYTES = 60
# Size in bytes that any file of a job may have in addition to its video: a frame, or its sound.
FILE_BYTES = 256_000_000
# CPU seconds allowed for reading the pictures and the subtitles. 100 million pixels take 1 to 5 s.
READ_CPU_SECONDS = 20
# CPU seconds allowed for decoding audio, in addition to `DECODE_CPU_SHARE` for each second of
# audio that was already decoded.
DECODE_CPU_SECONDS = 10
# CPU seconds allowed for each second of decoded audio. flac takes up to 0.05, other formats 0.003.
DECODE_CPU_SHARE = 0.1

ENCODE_CPU_SECONDS = 20
# CPU seconds allowed for each second of a video of 1920x1080 at 30 frames per second, in addition
# to `ENCODE_CPU_SECONDS`. With zoom and subtitles it takes 0.3; unusual subtitles and noise take
# more. More pixels per second are allowed more CPU time; fewer are not allowed less, because the
# time for subtitles depends on the text, too.
ENCODE_CPU_SHARE = 2.0
# CPU seconds that no phase of a process can exceed, for each second of the longest sound of a job
# and in addition. Sound with music is decoded, measured and mixed up to four times.
_ALL_CPU_SHARE, _ALL_CPU_SECONDS = 2.0, 120
# CPU seconds between the limit that `DecodeBudget` checks and the one that the kernel enforces, and
# between SIGXCPU and SIGKILL. The kernel's limit ends the process; it is needed only if a single
# call of a decoder does not return.
_CPU_LIMIT_GRACE = 2

_SMALLER_AUDIO = "audio that decodes in ordinary time and memory"
_SMALLER = {
    IMAGE: "a smaller picture",
    WATERMARK: "a smaller picture",
    AUDIO: _SMALLER_AUDIO,
    MUSIC: _SMALLER_AUDIO,
    SUBTITLE: "fewer and shorter subtitles",
    FONT: "a font that is drawn in ordinary time and memory",
}
_TOO_MUCH_CPU_TIME = "a file that takes too much CPU time to read"
_TOO_MUCH_MEMORY = "a file that takes too much memory to read"
# Signals that other programs or the kernel's OOM killer send. They say nothing about the file that
# was being read: too much memory raises a `MemoryError` instead.
_SENT_FROM_OUTSIDE = {"SIGHUP", "SIGINT", "SIGKILL", "SIGTERM"}


def read_job(folder: Path) -> RenderJob:
    """Read the job in a folder, and limit private memory and files of this process by its video."""
    limit_memory(MEMORY_BYTES)
    job = RenderJob.from_json((folder / JOB_FILE).read_bytes())
    # The orientation is not known yet, but the number of pixels does not depend on it.
    size = video_size(job.options.size, upright=False)
    larger = FRAME_MEMORY_BYTES * max(0, math.prod(size) - 1920 * 1080)
    limit_memory(MEMORY_BYTES + larger, for_good=True)
    seconds, video = job.duration or job.audio_seconds, VideoFormat(size, job.options.fps)
    size_limit = FILE_BYTES + max_second_bytes(video) * math.ceil(seconds)
    _limit("RLIMIT_FSIZE", size_limit, size_limit)
    share = _ALL_CPU_SHARE + ENCODE_CPU_SHARE * max(1.0, video.pixel_rate)
    limit_cpu_time(_ALL_CPU_SECONDS + share * seconds, for_good=True)
    return job


def limit_memory(size: int, *, for_good: bool = False) -> None:
    """Limit the private memory of this process to ``size`` bytes, ``for_good`` or until changed."""
    _limit("RLIMIT_DATA", size, size if for_good else None)


def limit_cpu_time(seconds: float, *, for_good: bool = False) -> None:
    """Limit the CPU time of this process, in all, to ``seconds``; then comes SIGXCPU."""
    whole = max(1, round(seconds))
    _limit("RLIMIT_CPU", whole, whole + _CPU_LIMIT_GRACE if for_good else None)


def _limit(name: str, soft: int, hard: int | None) -> None:
    if sys.platform == "linux":
        which = getattr(resource, name)
        _, most = resource.getrlimit(which)
        limits = (soft, most if hard is None else hard)
        if most != resource.RLIM_INFINITY:
            limits = (min(soft, most), min(limits[1], most))
        resource.setrlimit(which, limits)


def lift_cpu_limit() -> None:
    """Remove the CPU time limit that was set for this process."""
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def limit_encode_time(frames: int, video_format: VideoFormat, field: str = "") -> None:
    """Limit the CPU time that this process may use from now on to encode frames of a video.

    When it is used up, an `InputFaultError` for the input ``field`` is raised in the main thread;
    without a name, the kernel kills the process.
    """
    seconds = frames / video_format.fps * max(1.0, video_format.pixel_rate)

    def raise_fault(_signal: int, _frame: object) -> NoReturn:
        lift_cpu_limit()  # otherwise the signal comes again, while the fault is reported
        raise InputFaultError(field, _TOO_MUCH_CPU_TIME, _SMALLER[field])

    if field and sys.platform == "linux":
        signal.signal(signal.SIGXCPU, raise_fault)
    limit_cpu_time(time.process_time() + ENCODE_CPU_SECONDS + ENCODE_CPU_SHARE * seconds)


class DecodeBudget:
    """CPU time for decoding audio in this process, from the creation of the object."""

    def __init__(self, field: str = AUDIO) -> None:
        self._field = field
        self._seconds = 0.0
        self._start = time.process_time()
        self._kernel_limit = -math.inf
        self.add(0)

    def add(self, seconds: float) -> None:
        """Allow CPU time for further ``seconds`` of audio.

        Raises:
            InputFaultError: The CPU time is used up.
        """
        self._seconds += seconds
        allowed = self._start + DECODE_CPU_SECONDS + DECODE_CPU_SHARE * self._seconds
        if time.process_time() > allowed:
            raise InputFaultError(self._field, _TOO_MUCH_CPU_TIME, _SMALLER[self._field])
        if allowed >= self._kernel_limit + 1:  # the kernel counts whole seconds
            self._kernel_limit = allowed
            limit_cpu_time(allowed + _CPU_LIMIT_GRACE)


@contextmanager
def decoding_audio(field: str = AUDIO) -> Generator[DecodeBudget]:
    """Limit the CPU time of this process while the block decodes audio."""
    try:
        yield DecodeBudget(field)
    finally:
        lift_cpu_limit()


@contextmanager
def reading_input(field: str, announce: Callable[[str], None]) -> Generator[None]:
    """Announce the input that the block reads; raise a `MemoryError` as a fault of that input."""
    # A process that the kernel kills cannot report which input it was reading.
    announce(field)
    try:
        yield
    except MemoryError as exc:
        raise InputFaultError(field, _TOO_MUCH_MEMORY, _SMALLER[field]) from exc
    announce("")


def fault_from_exit(field: str, code: int) -> InputFault | None:
    """Return the fault of the input that was being read when a signal ended the process.

    ``code`` is the exit code, negative for a signal. The result is ``None`` without an input,
    without a signal, and for a signal from outside.
    """
    if field not in _SMALLER or code >= 0:
        return None
    with suppress(ValueError):
        name = signal.Signals(-code).name
        if name in _SENT_FROM_OUTSIDE:
            return None
        crash = f"a file that crashes its decoder ({name})"
        found = _TOO_MUCH_CPU_TIME if name == "SIGXCPU" else crash
        return InputFault(field=field, found=found, expected=_SMALLER[field])
    return None
