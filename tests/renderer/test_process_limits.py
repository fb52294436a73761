"""Limits that the kernel enforces on the processes that read a caller's files."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloudburst.renderer.process_limits import fault_from_exit
from support.render_job import lay_job

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux only"),
]


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"from cloudburst.renderer import process_limits\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
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
    code = """
import resource
process_limits.limit_cpu_time(1)
process_limits.lift_cpu_limit()
print(resource.getrlimit(resource.RLIMIT_CPU)[0] == resource.RLIM_INFINITY, flush=True)
process_limits.limit_cpu_time(1)
while True: pass
"""
    ended = run(code)
    assert (ended.returncode, ended.stdout) == (-signal.SIGXCPU, "True\n")


@pytest.mark.parametrize(
    ("field", "code", "found"),
    [
        ("audio", -signal.SIGXCPU, "a file that takes too much CPU time to read"),
        ("image", -signal.SIGKILL, None),
        ("audio", -signal.SIGTERM, None),
        ("audio", -signal.SIGSEGV, "a file that crashes its decoder (SIGSEGV)"),
        ("audio", 1, None),
        ("", -signal.SIGSEGV, None),
        ("secrets", -signal.SIGSEGV, None),
    ],
)
def test_a_signal_that_a_decoder_causes_is_a_fault_of_the_input_that_was_read(
    field: str, code: int, found: str | None
) -> None:
    fault = fault_from_exit(field, code)
    assert (fault and (fault.field, fault.found)) == (found and (field, found))


ENCODE = """
import sys
from pathlib import Path
from cloudburst.renderer.job import InputFaultError, RenderJob
from cloudburst.renderer.render import render
process_limits.ENCODE_CPU_SECONDS, process_limits.ENCODE_CPU_SHARE = 0.5, 0
folder = Path(sys.argv[1])
try:
    render(folder, RenderJob.from_json((folder / "job.json").read_bytes()), *[lambda _: None] * 3)
except InputFaultError as exc:
    print(exc)
"""


def test_subtitles_that_take_too_long_to_draw_are_a_fault_of_the_subtitles(tmp_path: Path) -> None:
    subtitle = "1\n00:00:00,000 --> 00:01:00,000\nbusy\n"
    folder = lay_job(tmp_path, effects=["zoom_in"], duration=200, subtitle=subtitle)
    ended = run(ENCODE, str(folder))
    assert ended.stdout == (
        "subtitle: a file that takes too much CPU time to read; "
        "expected fewer and shorter subtitles\n"
    )


@pytest.mark.nightly
def test_a_picture_that_takes_too_long_to_encode_ends_the_process(tmp_path: Path) -> None:
    folder = lay_job(tmp_path, effects=["zoom_in"], duration=200)  # 8 s of CPU time
    assert run(ENCODE, str(folder)).returncode == -signal.SIGXCPU


def test_the_limits_of_a_job_are_hard_and_its_cpu_time_ends_by_a_signal_that_is_understood(
    tmp_path: Path,
) -> None:
    code = """
import resource, sys
from pathlib import Path
process_limits.read_job(Path(sys.argv[1]))
for name in ("DATA", "FSIZE", "CPU"):
    soft, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
    print(name, hard - soft, hard == resource.RLIM_INFINITY, flush=True)
process_limits.limit_cpu_time(1)
while True: pass
"""
    ended = run(code, str(lay_job(tmp_path)))
    assert ended.stdout == "DATA 0 False\nFSIZE 0 False\nCPU 2 False\n"
    assert ended.returncode == -signal.SIGXCPU


def test_the_limit_of_file_size_grows_with_the_length_of_the_video(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
process_limits.read_job(Path(sys.argv[1]))
print(resource.getrlimit(resource.RLIMIT_FSIZE)[0])
"""
    sizes: list[int] = []
    for seconds in (1, 101):
        lay_job(tmp_path, duration=seconds)
        sizes.append(int(run(code, str(tmp_path)).stdout))
    assert sizes[1] - sizes[0] == 100 * 25_000_000 // 8
    assert sizes[0] > 256_000_000
