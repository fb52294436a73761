"""Cover of a video: a picture that shows what the video is about."""

from __future__ import annotations

from pathlib import Path

from cloudburst.renderer.gops import GopSource
from cloudburst.renderer.job import COVER_FILE, RenderedFile
from cloudburst.renderer.planes import to_picture

JPEG_QUALITY = 90
"""Quality of covers and other pictures as JPEG files, from 1 to 95, as Pillow counts it."""


def write_cover(folder: Path, source: GopSource, frames: int) -> RenderedFile:
    """Write the cover of a video into a job's folder.

    It is the middle frame: the first one may be black because of a fade, and with a zoom it shows
    the whole picture or its smallest part. Subtitles are left out because they would show a part of
    a sentence.

    Args:
        folder: Folder of the job.
        source: Content of the video.
        frames: Length of the video, in frames.
    """
    path = folder / COVER_FILE
    to_picture(source.draw(frames // 2, subtitles=False).read()).save(
        path, "JPEG", quality=JPEG_QUALITY
    )
    return RenderedFile.measure(path)
