"""Limits for memory and CPU time of processes that read a caller's files.

The rules for pictures, audio and subtitles reject files that are known to be too large. These
limits are for the rest: the kernel enforces them, so a file that overloads a decoder fails only its
own job, not the worker or other scenes on it. The limits have an effect on Linux only.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from cloudburst.renderer.job import AUDIO, IMAGE, SUBTITLE, WATERMARK, InputFault, InputFaultError

if sys.platform == "linux":
    import resource

READ_MEMORY_BYTES = 680_000_000
"""Memory limit in bytes for a process that reads pictures and subtitles: 600 MB for a decoded
picture, and Python itself."""
ENCODE_MEMORY_BYTES = 900_000_000
"""Memory limit in bytes for the ffmpeg that encodes. It uses 300 MB, plus the audio index that
`DECODE_MEMORY_BYTES` allowed. The stacks of its threads count in full although little of them is
used."""
DECODE_MEMORY_BYTES = 200_000_000
"""Memory limit in bytes for the ffmpeg that only decodes audio. It uses 60 to 85 MB. A media file
of 2 KB can make it build an index of gigabytes, which the encode would build again."""
READ_CPU_SECONDS = 20
"""CPU seconds allowed for reading the pictures and the subtitles. 100 million pixels take 1 to 5
s."""
DECODE_CPU_SECONDS = 10
"""CPU seconds allowed for decoding audio, in addition to `DECODE_CPU_SHARE` for each second of
audio that was already decoded."""
DECODE_CPU_SHARE = 0.1
"""CPU seconds allowed for each second of decoded audio. flac takes up to 0.05, other formats
0.003."""

_CPU_LIMIT_GRACE = 2
"""CPU seconds between the limit that `DecodeBudget` checks and the one that the kernel enforces.
The kernel's limit ends the process; it is needed only if a single call of a decoder does not
return."""

_SMALLER = {
    IMAGE: "a smaller picture",
    WATERMARK: "a smaller picture",
    AUDIO: "audio that decodes in ordinary time and memory",
    SUBTITLE: "fewer and shorter subtitles",
}
_FOUND = {
    "SIGXCPU": "a file that takes too much CPU time to read",
    "SIGKILL": "a file that takes too much memory to read",
}


def limit_memory(size: int, pid: int = 0) -> None:
    """Limit the private memory of a process to ``size`` bytes.

    ``pid`` 0 means this process. Child processes that are started afterwards inherit the limit.
    """
    _limit("RLIMIT_DATA", size, pid)


def limit_cpu_time(seconds: float, pid: int = 0) -> None:
    """Limit the CPU time of a process to ``seconds``; the kernel then kills it with SIGXCPU.

    ``pid`` 0 means this process.
    """
    _limit("RLIMIT_CPU", max(1, round(seconds)), pid)


def _limit(name: str, value: int, pid: int) -> None:
    if sys.platform == "linux":
        which = getattr(resource, name)
        with suppress(ProcessLookupError):  # it has already ended
            _, hard = resource.prlimit(pid, which)
            soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(pid, which, (soft, hard))


def lift_cpu_limit() -> None:
    """Remove the CPU time limit that was set for this process."""
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


class DecodeBudget:
    """CPU time that decoding audio in this process may use, from the creation of the object."""

    def __init__(self) -> None:
        self._start = time.process_time()
        self._kernel_limit = 0.0
        self.check(0)

    def check(self, seconds: float) -> None:
        """Raise an error if decoding ``seconds`` of audio took more CPU time than is allowed.

        Raises:
            InputFaultError: the CPU time is used up.
        """
        allowed = self._start + DECODE_CPU_SECONDS + DECODE_CPU_SHARE * seconds
        if time.process_time() > allowed:
            raise InputFaultError(AUDIO, _FOUND["SIGXCPU"], _SMALLER[AUDIO])
        if allowed >= self._kernel_limit + 1:  # the kernel counts whole seconds
            self._kernel_limit = allowed
            limit_cpu_time(allowed + _CPU_LIMIT_GRACE)


@contextmanager
def decoding_audio() -> Generator[DecodeBudget]:
    """Limit the memory and the CPU time of this process while the block decodes audio.

    The block may use `DECODE_MEMORY_BYTES` in addition to the memory that the process already has.
    Afterwards the earlier memory limit applies again, and there is no limit of CPU time.

    Raises:
        InputFaultError: the block raised a `MemoryError`, or `DecodeBudget.check` an error.
    """
    earlier = _memory_limit()
    grown = _private_memory() + DECODE_MEMORY_BYTES
    limit_memory(grown if earlier is None else min(grown, earlier))
    try:
        yield DecodeBudget()
    except MemoryError as exc:
        raise InputFaultError(AUDIO, _FOUND["SIGKILL"], _SMALLER[AUDIO]) from exc
    finally:
        _restore_memory_limit(earlier)
        lift_cpu_limit()


def _private_memory() -> int:
    """Return the memory of this process that counts for `limit_memory`, in bytes."""
    if sys.platform != "linux":
        return 0
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    return pages * os.sysconf("SC_PAGESIZE")


def _memory_limit() -> int | None:
    """Return the limit that `limit_memory` has set; ``None`` if there is none."""
    if sys.platform != "linux":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if soft == resource.RLIM_INFINITY else soft


def _restore_memory_limit(earlier: int | None) -> None:
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard if earlier is None else earlier, hard))


def children_cpu_seconds() -> float:
    """Return the CPU time of all child processes that have ended, in seconds.

    The result is 0 on systems other than Linux.
    """
    if sys.platform != "linux":
        return 0.0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def reading_input(field: str, announce: Callable[[str], None]) -> Generator[None]:
    """Announce the input that the block reads; raise a `MemoryError` as a fault of that input.

    The process that watches this one needs the announcement: a process that the kernel kills cannot
    report which input it was reading.
    """
    announce(field)
    try:
        yield
    except MemoryError as exc:
        raise InputFaultError(field, _FOUND["SIGKILL"], _SMALLER[field]) from exc
    announce("")


def fault_from_exit(field: str, code: int) -> InputFault | None:
    """Return the fault of the input that was being read when a signal ended the process.

    ``code`` is the exit code, negative for a signal. The result is ``None`` if no input was being
    read, or if the process exited without a signal.
    """
    if field not in _SMALLER or code >= 0:
        return None
    with suppress(ValueError):
        name = signal.Signals(-code).name
        found = _FOUND.get(name, f"a file that crashes its decoder ({name})")
        return InputFault(field=field, found=found, expected=_SMALLER[field])
    return None
