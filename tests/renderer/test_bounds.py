"""Limits that the kernel enforces on the processes that read a caller's files."""

from __future__ import annotations

import signal
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from cloudburst.renderer import process_limits
from cloudburst.renderer.ffmpeg import Ffmpeg, FfmpegError
from cloudburst.renderer.job import InputFaultError
from cloudburst.renderer.media import measure_audio

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux only"),
]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: PLW1510 - how it ends is what is tested
        [sys.executable, "-c", f"from cloudburst.renderer import process_limits\n{code}"],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_lack_of_memory_is_a_fault_of_the_input_that_is_read() -> None:
    code = """
from PIL import Image
from cloudburst.renderer.job import InputFaultError
said = []
process_limits.limit_memory(300_000_000)
try:
    with process_limits.reading_input("image", said.append):
        Image.new("RGB", (10_000, 10_000), 1)
except InputFaultError as exc:
    print(said, exc)
"""
    assert run(code).stdout == (
        "['image'] image: a file that takes too much memory to read; expected a smaller picture\n"
    )


def test_processor_time_ends_the_process_and_only_while_it_is_limited() -> None:
    spin = "\nimport time\nend = time.process_time() + 1.5\nwhile time.process_time() < end: pass"
    limit = "process_limits.limit_cpu_time(1)"
    assert run(limit + spin).returncode == -signal.SIGXCPU
    assert run(f"{limit}\nprocess_limits.lift_cpu_limit(){spin}").returncode == 0


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Ffmpeg]:
    """A program in place of ffmpeg."""

    def write(body: str) -> Ffmpeg:
        path = tmp_path / "script"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return Ffmpeg(str(path), "script")

    return write


@pytest.mark.parametrize("on_limit", ["", "trap 'exit 255' XCPU;", "trap 'exit 123' XCPU;"])
def test_a_sound_that_keeps_its_decoder_busy_is_a_fault_of_the_sound(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: Callable[[str], Ffmpeg],
    on_limit: str,
) -> None:
    """Processor time without any sound for it; ffmpeg handles the signal that ends others."""
    monkeypatch.setattr(process_limits, "DECODE_CPU_SECONDS", 1)
    (tmp_path / "audio").touch()
    with pytest.raises(InputFaultError, match="audio: a file that takes too much CPU time"):
        measure_audio(script(f"{on_limit} while :; do :; done"), tmp_path, 60)


def test_an_exit_code_of_its_own_is_not_taken_for_the_limit(
    tmp_path: Path, script: Callable[[str], Ffmpeg]
) -> None:
    (tmp_path / "audio").touch()
    with pytest.raises(InputFaultError, match="audio: Operation not permitted"):
        measure_audio(script("echo 'Operation not permitted' >&2; exit 255"), tmp_path, 60)


def test_a_sound_that_crashes_its_decoder_is_a_fault_of_the_sound(
    tmp_path: Path, script: Callable[[str], Ffmpeg]
) -> None:
    (tmp_path / "audio").touch()
    with pytest.raises(
        InputFaultError, match=r"audio: a file that crashes its decoder \(SIGSEGV\)"
    ):
        measure_audio(script("kill -SEGV $$"), tmp_path, 60)
    with pytest.raises(FfmpegError, match="killed"):
        measure_audio(script("kill -KILL $$"), tmp_path, 60)


def test_subtitles_that_keep_the_encoder_busy_are_a_fault_of_the_subtitles(tmp_path: Path) -> None:
    Image.new("RGB", (320, 180), "teal").save(tmp_path / "image", "PNG")
    with wave.open(str(tmp_path / "audio"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(60 * 16_000))
    (tmp_path / "subtitle").write_text("1\n00:00:00,000 --> 00:01:00,000\nbusy\n")
    code = f"""
from pathlib import Path
from cloudburst.models.options import RenderOptions
from cloudburst.renderer import render
from cloudburst.renderer.job import InputFaultError, JobOptions, RenderJob
render.ENCODE_CPU_SECONDS, render.ENCODE_CPU_SHARE = 1, 0
job = RenderJob(name="busy", options=JobOptions.from_options(RenderOptions(effects=())))
try:
    render.render(Path({str(tmp_path)!r}), job, lambda _: None, lambda _: None)
except InputFaultError as exc:
    print(exc)
"""
    assert run(code).stdout == (
        "subtitle: a file that takes too much CPU time to read; "
        "expected fewer and shorter subtitles\n"
    )


def test_what_has_ended_can_be_limited_without_an_error() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
        process_limits.limit_memory(10**9, process.pid)
