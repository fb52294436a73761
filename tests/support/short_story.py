"""The story of the examples with the start of its sounds, for documentation that renders it."""

from __future__ import annotations

import shutil
from pathlib import Path

import av

from support.project import ROOT


def short_story(folder: Path, *names: str, seconds: float = 0.4) -> Path:
    """Copy the scenes of these names, or all of them, to ``examples/story`` below the folder.

    Their first cues begin after 0.35 s.
    """
    story, whole = folder / "examples" / "story", ROOT / "examples" / "story"
    story.mkdir(parents=True)
    for path in whole.iterdir():
        if names and path.stem not in names:
            continue
        if path.suffix in {".mp3", ".m4a"}:
            _copy_start(path, story / path.name, seconds)
        else:
            shutil.copy(path, story)
    return story


def _copy_start(source: Path, target: Path, seconds: float) -> None:
    """Copy the start of a sound, without encoding it again."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as start:
        sound = whole.streams.audio[0]
        copied = start.add_stream_from_template(sound)
        for packet in whole.demux(sound):
            if packet.dts is None or packet.dts * packet.time_base >= seconds:
                break
            packet.stream = copied
            start.mux(packet)
