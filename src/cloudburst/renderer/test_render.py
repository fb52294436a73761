"""Test render: ``python -m cloudburst.renderer.test_render FOLDER``.

It renders the shortest scene that uses all features (camera effect, audio, subtitle). It writes one
JSON object to its output: ``{"found": …}``, or ``{"missing": …}`` with the reason why this machine
cannot render.
"""

from __future__ import annotations

import json
import sys
import wave
from pathlib import Path

from cloudburst.renderer.child_process import start_child

SUBTITLE_TEXT = "1\n00:00:00,000 --> 00:00:01,000\nA 字\n"
TEST_SAMPLE_RATE = 8000
TEST_SAMPLES = 200
"""Length of the test audio in samples: less than one video frame."""


def run_test_render(folder: Path) -> dict[str, str]:
    """Render the test scene in an empty folder; return the versions of what was used.

    Any error of the render is raised.
    """
    # Imported here, because a library that cannot be imported is one of the errors to find.
    import av  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    from cloudburst.models.video_format import Effect  # noqa: PLC0415
    from cloudburst.renderer.job import (  # noqa: PLC0415
        AUDIO,
        IMAGE,
        SUBTITLE,
        JobOptions,
        RenderJob,
    )
    from cloudburst.renderer.kernel.library import load_kernel  # noqa: PLC0415
    from cloudburst.renderer.render import render  # noqa: PLC0415

    Image.new("RGB", (32, 18)).save(folder / IMAGE, "PNG")
    with wave.open(str(folder / AUDIO), "wb") as sound:
        sound.setparams((1, 2, TEST_SAMPLE_RATE, 0, "NONE", ""))
        sound.writeframes(bytes(2 * TEST_SAMPLES))
    (folder / SUBTITLE).write_text(SUBTITLE_TEXT, "utf-8")
    # A video of 1080p would take twice the CPU time, and show nothing more.
    options = JobOptions(size="480x270", effects=(Effect.ZOOM_IN,))
    job = RenderJob(name="probe", options=options)
    render(folder, job, lambda _: None, lambda _: None, lambda _: None)
    version = f"ffmpeg version {av.ffmpeg_version_info}, PyAV {av.__version__}"
    return {"version": version, "kernel": load_kernel().name}


def main(folder: Path) -> None:
    """Run the test render and print its result as JSON."""
    missing = start_child(folder)
    try:
        found: dict[str, object] = {**run_test_render(folder), "missing_layers": missing}
        line: dict[str, object] = {"found": found}
    except (MemoryError, OSError):
        raise  # a state of this machine, not of its libraries
    except Exception as error:  # noqa: BLE001 - any other error of a render is the result
        # Errors of this package are sentences; for others the type is needed to explain the text.
        own = type(error).__module__.startswith("cloudburst.")
        line = {"missing": str(error) if own else f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
