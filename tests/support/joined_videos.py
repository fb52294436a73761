"""Videos that the ffmpeg program joins without encoding them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from support.video_probe import ffmpeg

_AUDIO = re.compile(r"stream 1|stream 0:1|0:a|\baost#0:1")


def joined(videos: Sequence[Path], path: Path) -> list[str]:
    """Join videos without encoding them; return the warnings that are not about audio.

    Packets of AAC are longer than the rest of a frame, so those of two videos overlap.
    """
    listed = path.with_suffix(".txt")
    listed.write_text("".join(f"file '{video}'\n" for video in videos))
    source = ("-f", "concat", "-safe", "0", "-i", listed)
    done = ffmpeg("-v", "warning", *source, "-c", "copy", "-map", "0:v", "-map", "0:a", path)
    return [line for line in done.stderr.decode().splitlines() if not _AUDIO.search(line)]
