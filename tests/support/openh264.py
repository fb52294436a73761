"""Decoders that share no code with FFmpeg: openh264, in a program that is compiled for tests, and
``ldecod`` of the JM reference software where it is on the path."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import av
import pytest

from support.kernel_builds import compilers

SOURCE = Path(__file__).with_name("openh264_decode.c")


@cache
def _program() -> Path | None:
    folder = Path(tempfile.mkdtemp(prefix="openh264-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    native = compilers().get("native")
    if native is None:
        return None
    command = [*native.command, "-o", folder / "decode", SOURCE, "-lopenh264"]
    done = subprocess.run(command, capture_output=True, check=False)
    return None if done.returncode else folder / "decode"


def check_same_frames(stream: Path) -> int:
    """Check that all decoders show the same of a plain H.264 stream; count the frames.

    Skip the test without Debian's libopenh264-dev and a C compiler.
    """
    program = _program()
    if program is None:
        pytest.skip("this machine has no C compiler, or no libopenh264-dev")
    planes = stream.with_suffix(".openh264")
    commands: list[list[str | Path]] = [[program, stream, planes]]
    if reference := shutil.which("ldecod"):
        options = (f"InputFile={stream}", f"OutputFile={stream}.jm", "RefFile=none", "Silent=1")
        commands.append([reference, *(part for option in options for part in ("-p", option))])
    with av.open(str(stream)) as container:
        expected = [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]
    for command, found in zip(commands, (planes, Path(f"{stream}.jm")), strict=False):
        subprocess.run(command, check=True, cwd=stream.parent, stdout=subprocess.DEVNULL)
        assert found.read_bytes() == b"".join(expected), command[0]
    return len(expected)
