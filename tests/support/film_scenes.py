"""Videos of scenes for films: rendered from a picture, a sound and subtitles."""

from __future__ import annotations

import hashlib
import math
import wave
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from PIL import Image

from cloudburst.film.make import MadeFilm, make_film
from cloudburst.film.plan import FilmPlan, FilmScene, partial_files
from support.render_job import make_job, render_here

RATE = 48_000
"""Samples per second of every sound here, which is that of the videos: nothing is resampled."""


def write_sound(path: Path, samples: Sequence[float]) -> None:
    """Write samples from -1 to 1 as a mono wav file."""
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes(np.rint(32_000 * np.asarray(samples)).astype("<i2").tobytes())


def sine(first: int, count: int, hertz: float = 440.0, level: float = 0.5) -> list[float]:
    """Return samples of a sine; ``first`` is the number of the first sample."""
    step = math.tau * hertz / RATE
    samples: list[float] = (level * np.sin(step * np.arange(first, first + count))).tolist()
    return samples


def clicks(count: int, at: Sequence[int], level: float = 0.9) -> list[float]:
    """Return silence with a click of eight samples at each of these samples."""
    samples = [0.0] * count
    for start in at:
        samples[start : start + 8] = [level, -level] * 4
    return samples


def labelled(video: Path) -> list[int]:
    """Return the numbers of the frames of a video with white letters."""
    with av.open(str(video)) as container:
        pictures = [np.asarray(frame.to_image()) for frame in container.decode(video=0)]
    return [number for number, one in enumerate(pictures) if (one.min(2) > 200).any()]


def scene_video(
    folder: Path, picture: Image.Image, sound: Sequence[float], **options: Any
) -> FilmScene:
    """Render a scene into a folder, whose name is that of the scene; return it with its video."""
    make_job(folder, picture, 0.1, **options)
    write_sound(folder / "audio", sound)
    render_here(folder)
    return as_scene(folder / "video.mp4", folder)


def as_scene(video: Path, folder: Path) -> FilmScene:
    subtitle = folder / "subtitle"
    data = subtitle.read_bytes() if subtitle.exists() else b""
    return FilmScene(
        name=folder.name,
        title=folder.name,
        video=str(video),
        sha256=hashlib.sha256(video.read_bytes()).hexdigest(),
        subtitle=str(subtitle) if data else None,
        subtitle_sha256=hashlib.sha256(data).hexdigest() if data else "",
    )


def film_of(folder: Path, scenes: Sequence[FilmScene], **how: Any) -> tuple[Path, MadeFilm]:
    """Make a film in this process, and return its path."""
    film = folder / "film.mp4"
    plan = FilmPlan(path=str(film), scenes=tuple(scenes), **how)
    made = make_film(plan, lambda _: None, lambda _: None)
    for partial, path in partial_files(film).items():
        if partial.exists():
            partial.replace(path)
    return film, made


def heard(path: Path) -> array[float]:
    """Return the samples of the left channel that a player plays."""
    samples = array("f")
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            assert isinstance(frame, AudioFrame)
            samples.frombytes(bytes(frame.planes[0])[: 4 * frame.samples])
    return samples


def key_frames(path: Path) -> list[int]:
    """Return the numbers of the frames at which a player can start."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [
            round(packet.pts * packet.time_base * stream.average_rate)
            for packet in container.demux(stream)
            if packet.is_keyframe and packet.size
        ]
