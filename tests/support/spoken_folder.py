"""Folder with pictures, sounds and the times of their words, as the page about voices makes it."""

from __future__ import annotations

import json
from pathlib import Path

from support.audio_probe import tone_samples, write_audio
from support.sample_media import PICTURES
from support.speech_files import ENGLISH, edge_tts

LINES = ("Hello world", "This lighthouse counted the boats one by one")
"""Cues of the scenes: edge-tts reports no punctuation."""


def spoken_folder(folder: Path, *, seconds: float = 4.0) -> dict[str, bytes]:
    """Write the two files and the words' times of the scenes 01 and 02; return them by name."""
    folder.mkdir()
    for place, name in enumerate(("01", "02")):
        PICTURES["jpg"](folder / f"{name}.jpg")
        write_audio(folder / f"{name}.mp3", tone_samples(seconds, 0.2))
        words = json.dumps(edge_tts(ENGLISH[place : place + 1]))
        (folder / f"{name}.json").write_text(words, "utf-8")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
