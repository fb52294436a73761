"""Loudness and encoding of the spoken phrases, with PyAV."""

# PyAV's types of `add_stream`, `encode` and `mux` are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.error import BlockingIOError as NoFrameYetError
from av.error import EOFError as NoMoreFramesError
from av.filter import Graph

SAMPLE_RATE = 44_100  # of the files but Opus; the filter of loudness works at 192,000
LOUDNESS = "I=-16:TP=-3:LRA=11"
CODECS = {".mp3": "libmp3lame", ".m4a": "aac", ".ogg": "libopus"}
RATES = {".ogg": 48_000}
BIT_RATES = {".ogg": 24_000}
SAME_BYTES = {"fflags": "+bitexact", "flags": "+bitexact"}  # no version of the encoder in the file


def encode(voice: Path, sound: Path) -> None:
    """Write a recording at an even loudness, as mono, in the format of the file name's suffix."""
    with av.open(voice) as source, av.open(sound, "w", container_options=SAME_BYTES) as target:
        codec: Any = CODECS[sound.suffix]  # the types know only some codecs
        rate = RATES.get(sound.suffix, SAMPLE_RATE)
        stream = target.add_stream(codec, rate=rate, layout="mono", options=SAME_BYTES)
        stream.bit_rate = BIT_RATES.get(sound.suffix, 56_000)
        for frame in levelled(source, rate):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def levelled(source: InputContainer, rate: int) -> Iterator[AudioFrame]:
    """Yield the frames of a recording at an even loudness."""
    graph = Graph()
    graph.link_nodes(
        graph.add_abuffer(template=source.streams.audio[0]),
        graph.add("loudnorm", LOUDNESS),
        graph.add("aresample", str(rate)),
        graph.add("abuffersink"),
    ).configure()
    for frame in source.decode(audio=0):
        graph.push(frame)
        yield from ready(graph)
    graph.push(None)
    yield from ready(graph)


def ready(graph: Graph) -> Iterator[AudioFrame]:
    """Yield the frames that a graph has finished."""
    while True:
        try:
            frame = graph.pull()
        except (NoFrameYetError, NoMoreFramesError):
            return
        assert isinstance(frame, AudioFrame)
        yield frame
