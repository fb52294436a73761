"""Inputs of the renders that are measured: scenarios, a picture, audio and subtitles."""

from __future__ import annotations

import json
import shutil
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

FPS = 30
SIZE = WIDTH, HEIGHT = 1920, 1080
CUE_SECONDS = 3
CUE_TEXTS = ("很久很久以前，群山之间有一个小小的村庄。", "Every morning a bell rang, far away.")


class Scenario(NamedTuple):
    """Camera effects and subtitles of a scene, and the public image's name for them."""

    name: str
    effects: tuple[str, ...]
    subtitled: bool


SCENARIOS = (
    Scenario("baseline", (), False),
    Scenario("subtitles_only", (), True),
    Scenario("effects_only", ("zoom_in",), False),
    Scenario("full_featured", ("zoom_in",), True),
)
BASELINE, SUBTITLES_ONLY, EFFECTS_ONLY, FULL_FEATURED = SCENARIOS


class Inputs(NamedTuple):
    """Files of one scene, and the length of its audio in seconds."""

    picture: Path
    audio: Path
    subtitle: Path
    seconds: int

    @property
    def frames(self) -> int:
        return self.seconds * FPS


def make_inputs(folder: Path, seconds: int) -> Inputs:
    """Make a picture with grain and fine detail, audio similar to a voice, and subtitles."""
    inputs = Inputs(folder / "image.png", folder / "audio.wav", folder / "subtitle.srt", seconds)
    rng = np.random.default_rng(7)
    detailed_picture(rng).save(inputs.picture)
    make_audio(inputs.audio, seconds, rng)
    make_subtitle(inputs.subtitle, seconds)
    return inputs


def detailed_picture(rng: np.random.Generator) -> Image.Image:
    """Return a picture with grain and fine detail."""
    total = np.full((HEIGHT, WIDTH, 3), 118, np.float32)
    for step, weight in ((256, 34), (96, 22), (32, 14), (12, 8), (4, 5), (2, 3)):
        small = rng.normal(size=(HEIGHT // step + 2, WIDTH // step + 2, 3)).astype(np.float32)
        small = small * 0.4 + small.mean(axis=2, keepdims=True)  # colours vary less than brightness
        layers = (Image.fromarray(small[..., band]) for band in range(3))
        wide = [np.asarray(layer.resize(SIZE, Image.Resampling.BICUBIC)) for layer in layers]
        total += weight * np.stack(wide, axis=-1)
    total += rng.normal(size=(HEIGHT, WIDTH, 1)) * 2.5
    picture = Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y, r = (
            int(rng.integers(low, high)) for low, high in ((0, WIDTH), (0, HEIGHT), (9, 120))
        )
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        draw.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=int(rng.integers(1, 8)))
    return picture


def make_audio(path: Path, seconds: int, rng: np.random.Generator) -> None:
    """Make an audio file that is similar to a voice."""
    time = np.arange(seconds * 44_100) / 44_100
    pitch = np.cumsum(150 + 40 * np.sin(2.1 * time)) / 44_100
    voice = sum(np.sin(2 * np.pi * pitch * n) / n for n in range(1, 9))
    voice *= np.clip(np.sin(2 * np.pi * 3.1 * time) + 0.4, 0, 1)
    voice += rng.normal(size=time.size) * 0.01
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 44_100, 0, "NONE", ""))
        out.writeframes((voice / np.abs(voice).max() * 20_000).astype("<i2").tobytes())


class Cue(NamedTuple):
    """Text of a subtitle, from ``begin`` to ``end`` in seconds."""

    begin: float
    end: float
    text: str


def cues(seconds: int) -> list[Cue]:
    """Return a cue for every three seconds, without the first and the last 0.1 s of them."""
    return [
        Cue(n * CUE_SECONDS + 0.1, n * CUE_SECONDS + 2.9, CUE_TEXTS[n % 2])
        for n in range(max(1, seconds // CUE_SECONDS))
    ]


def make_subtitle(path: Path, seconds: int) -> None:
    entries = (
        f"{n}\n{_timestamp(cue.begin)} --> {_timestamp(cue.end)}\n{cue.text}\n"
        for n, cue in enumerate(cues(seconds), 1)
    )
    path.write_text("\n".join(entries), "utf-8")


def _timestamp(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"00:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"


def put_job(scenario: Scenario, inputs: Inputs, folder: Path, job: Mapping[str, Any]) -> None:
    """Make the folder of a job, from one with the default options of the version that renders."""
    folder.mkdir()
    shutil.copy(inputs.picture, folder / "image")
    shutil.copy(inputs.audio, folder / "audio")
    if scenario.subtitled:
        shutil.copy(inputs.subtitle, folder / "subtitle")
    options = {**job["options"], "effects": scenario.effects}
    (folder / "job.json").write_text(json.dumps({**job, "options": options}))
