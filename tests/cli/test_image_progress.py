"""The progress of a build and of an upload is shown on a terminal, and nowhere else."""

from __future__ import annotations

import io

from rich.console import Console

from cloudburst.cli.image import image_progress
from cloudburst.image.build import BuildProgress
from cloudburst.net.registry.images import PushProgress

BUILD = BuildProgress(step="compress [red] \x1b[31m packages", done=1, total=4)
UPLOAD = PushProgress(bytes_done=50 * 10**6, bytes_total=10**8, blobs_done=1, blobs_total=4)


def shown(*progress, terminal):
    """What is shown at the end of the block."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=100, color_system=None)
    with image_progress(console) as show:
        for each in progress:
            show(each)
    return file.getvalue()


def test_a_terminal_shows_the_step_of_the_build():
    text = shown(BUILD, terminal=True)
    assert "compress [red] " in text  # no markup
    assert "\x1b[31m" not in text
    assert "MB" not in text


def test_a_terminal_shows_the_bytes_of_the_upload():
    text = shown(BUILD, UPLOAD, terminal=True)
    assert "upload the image" in text
    assert "50.0/100.0 MB" in text
    assert "compress" not in text


def test_a_pipe_shows_nothing():
    assert shown(BUILD, UPLOAD, terminal=False) == ""
