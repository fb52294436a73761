"""Audio files that would take too much memory or CPU time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cloudburst.renderer import process_limits
from cloudburst.renderer.audio import prepare_audio
from cloudburst.renderer.job import InputFaultError
from support.audio_probe import melody, write_audio
from support.hostile_media import SOUNDS, Case, flac_of_ten_hours, m4a_of_samples, with_video

if sys.platform == "linux":
    import resource

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux only"),
]


_PREPARE = """
import resource, sys
from pathlib import Path
from cloudburst.renderer import process_limits
from cloudburst.renderer.audio import prepare_audio
from cloudburst.renderer.job import InputFaultError
process_limits.limit_memory(process_limits.MEMORY_BYTES)
try:
    with process_limits.reading_input("audio", lambda _: None):
        print("done", prepare_audio(Path(sys.argv[1]), 600).frames)
except InputFaultError as exc:
    print(exc)
status = Path("/proc/self/status").read_text()
(peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
used = resource.getrusage(resource.RUSAGE_SELF)
print(int(peak) * 1024, used.ru_utime + used.ru_stime)
"""


def prepared(folder: Path, seconds: float = 8, size: int = process_limits.MEMORY_BYTES) -> str:
    """Return the result of a process of its own, which keeps the limits."""
    command = [sys.executable, "-c", _PREPARE, str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done
    assert not done.stderr
    result, numbers = done.stdout.splitlines()
    peak, used = numbers.split()
    assert int(peak) < size
    assert float(used) < seconds
    return result


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("case", SOUNDS, ids=lambda case: case.name.replace(" ", "-"))
def test_a_hostile_file_is_refused_or_used_within_the_limits(tmp_path: Path, case: Case) -> None:
    case.make(tmp_path / "audio")
    result = prepared(tmp_path)
    if case.ends == "done":
        assert result.startswith("done")
    elif case.ends in {"early", "late"}:
        assert result.startswith("audio: ")


def test_a_picture_beside_the_audio_is_not_decoded(tmp_path: Path) -> None:
    """FFmpeg decodes it when it opens the file, unless its decoder is forbidden there, too."""
    with_video("png", "8000x4500")(tmp_path / "audio")
    assert prepared(tmp_path, size=100_000_000).startswith("done")


def test_an_index_that_takes_too_much_memory_is_a_fault(tmp_path: Path) -> None:
    m4a_of_samples(40_000_000)(tmp_path / "audio")
    found = "no sound, or none that can be decoded in 700 MB of memory"
    assert prepared(tmp_path).startswith(f"audio: {found}")


def test_sound_that_is_longer_than_a_scene_may_be_is_not_decoded_first(tmp_path: Path) -> None:
    flac_of_ten_hours(tmp_path / "audio")
    assert prepared(tmp_path, seconds=1.5).startswith("audio: more than 600 seconds")


def test_endless_corrupt_packets_are_a_fault(tmp_path: Path) -> None:
    """Their length counts, although nothing is decoded."""
    m4a_of_samples(60_000, codec=b"mp4a", size=1, chunks=60)(tmp_path / "audio")
    assert prepared(tmp_path).startswith("audio: more than 600 seconds")


@pytest.mark.nightly
def test_corrupt_packets_within_the_length_are_a_fault(tmp_path: Path) -> None:
    m4a_of_samples(20_000, codec=b"mp4a", size=1, chunks=20)(tmp_path / "audio")
    assert prepared(tmp_path).startswith("audio: no sound")


@pytest.mark.parametrize("kind", ["wav", "ipod"])
def test_cpu_time_that_is_used_up_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    write_audio(tmp_path / "audio", melody(1), "-f", kind)
    prepare_audio(tmp_path, 60)
    # The kernel's clock may stand still for some milliseconds, so the budget itself shrinks.
    monkeypatch.setattr(process_limits, "DECODE_CPU_SECONDS", 1)
    monkeypatch.setattr(process_limits, "DECODE_CPU_SHARE", -10)
    with pytest.raises(InputFaultError, match="audio: a file that takes too much CPU time"):
        prepare_audio(tmp_path, 60)


def test_a_call_that_does_not_return_ends_the_process() -> None:
    code = """
from cloudburst.renderer import process_limits
process_limits.DECODE_CPU_SECONDS = 0.3
process_limits._CPU_LIMIT_GRACE = 1
with process_limits.decoding_audio():
    while True: pass
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    fault = process_limits.fault_from_exit("audio", done.returncode)
    assert fault is not None
    assert "CPU time" in fault.found


def test_the_limit_of_cpu_time_is_lifted_after_success_and_fault(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_CPU)
    write_audio(tmp_path / "audio", melody(0.2), "-f", "wav")
    prepare_audio(tmp_path, 60)
    assert resource.getrlimit(resource.RLIMIT_CPU) == before
    (tmp_path / "audio").write_bytes(b"no sound")
    with pytest.raises(InputFaultError):
        prepare_audio(tmp_path, 60)
    assert resource.getrlimit(resource.RLIMIT_CPU) == before


def test_a_full_disk_is_not_a_fault_of_the_input(tmp_path: Path) -> None:
    """Only errors of reading the caller's file are faults."""
    write_audio(tmp_path / "audio", melody(0.2), "-f", "wav")
    (tmp_path / "audio.m4a").mkdir()  # cannot be written
    with pytest.raises(IsADirectoryError):
        prepare_audio(tmp_path, 60)
