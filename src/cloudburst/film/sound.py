"""Sound of a film: the sound of all scenes, decoded and encoded once over the whole film.

An encoder that started again with each scene would begin it with silence of its own. Encoded in one
piece, the sound has neither gap nor click where one scene ends and the next one begins.
"""

# PyAV's types of `decode` and `encode` are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable, Iterator

from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.filter import Graph

from cloudburst.film.plan import FilmFaultError
from cloudburst.film.scene_video import OpenVideo, SceneVideo
from cloudburst.film.timeline import Timeline
from cloudburst.renderer.audio_frames import SAMPLE_FORMAT, SAMPLE_RATE, STEREO_SOURCE, silence

# Samples that are passed on at once.
_CHUNK = 8192
# Samples before and after a cut that are replaced: 0.1 ms. In a sine of half the full scale, the
# encoder misses them by 10 % of full scale, and others by 2 %.
_SMOOTHED_BEFORE, _SMOOTHED_AFTER = 3, 2
# Samples by which the sound of a video may be shorter than its pictures. It is less than a frame,
# because the renderer adds silence up to a whole frame.
_MAX_MISSING = SAMPLE_RATE // 10


def film_sound(videos: Iterable[OpenVideo], timeline: Timeline) -> Iterator[AudioFrame]:
    """Yield the sound of a film, exactly as long as its pictures: stereo at `SAMPLE_RATE`.

    Args:
        videos: Videos of the scenes, in order; each is opened when it is needed.
        timeline: Places of the scenes.
    """
    tail: AudioFrame | None = None
    last: AudioFrame | None = None
    """Last frame of the previous scene, before a cut."""
    written = 0
    for place, opening in zip(timeline.places, videos, strict=True):
        head_end = timeline.samples(place.start + place.head)
        tail_start = timeline.samples(place.start + place.frames - place.tail)
        end = timeline.samples(place.start + place.frames)
        with opening as video:
            sound = _SceneSound(video)
            if tail is not None:
                yield from _crossfaded(tail, sound.read(head_end - written))
                written = head_end
            body_end = tail_start if timeline.overlaps else end
            while written < body_end:
                frame = sound.read(min(_CHUNK, body_end - written))
                written += frame.samples
                if last is not None:
                    _smooth(last, frame)
                    yield last
                    last = None
                if written < end:
                    yield frame
                else:
                    last = frame
            tail = sound.read(end - written) if body_end < end else None
    if last is not None:
        yield last


def _smooth(before: AudioFrame, after: AudioFrame) -> None:
    """Replace the samples at a cut, which encoders reproduce the least exactly, by a line."""
    if before.samples <= _SMOOTHED_BEFORE or after.samples <= _SMOOTHED_AFTER:
        return
    steps = _SMOOTHED_BEFORE + _SMOOTHED_AFTER + 1
    first = before.samples - _SMOOTHED_BEFORE
    for one, other in zip(before.planes, after.planes, strict=True):
        left, right = (memoryview(plane).cast("f") for plane in (one, other))
        start, end = left[first - 1], right[_SMOOTHED_AFTER]
        line = [start + (end - start) * step / steps for step in range(1, steps)]
        for place, value in enumerate(line[:_SMOOTHED_BEFORE], first):
            left[place] = value
        for place, value in enumerate(line[_SMOOTHED_BEFORE:]):
            right[place] = value


class _SceneSound:
    def __init__(self, video: SceneVideo) -> None:
        self._video = video
        self._frames = self._decoded()
        self._fifo = AudioFifo()
        self._missing = 0

    def read(self, samples: int) -> AudioFrame:
        """Return the next samples as one frame."""
        while self._fifo.samples < samples:
            frame = next(self._frames, None)
            if frame is None:
                frame = silence(samples - self._fifo.samples)
                self._missing += frame.samples
                if self._missing > _MAX_MISSING:
                    raise self._video.fault("a sound that ends before the picture")
            frame.pts = None  # the sound is continuous
            self._fifo.write(frame)
        found = self._fifo.read(samples)
        assert found is not None
        return found

    def _decoded(self) -> Iterator[AudioFrame]:
        stream = self._video.container.streams.audio[0]
        stream.codec_context.thread_count = 1
        with self._video.reporting_faults("a sound that cannot be decoded"):
            for packet in self._video.container.demux(stream):
                for frame in packet.decode():
                    kind = (frame.format.name, frame.layout.name, frame.sample_rate)
                    if kind != (SAMPLE_FORMAT, "stereo", SAMPLE_RATE):
                        raise self._video.fault("not stereo sound")
                    yield frame


def _crossfaded(old: AudioFrame, new: AudioFrame) -> Iterator[AudioFrame]:
    """Yield two frames, faded out and in linearly: a sound in both scenes keeps its level."""
    graph = Graph()
    mix = graph.add("acrossfade", nb_samples=str(old.samples), curve1="tri", curve2="tri")
    sink = graph.add("abuffersink")
    mix.link_to(sink)
    sources = [graph.add("abuffer", STEREO_SOURCE) for _ in (old, new)]
    for place, source in enumerate(sources):
        source.link_to(mix, 0, place)
    graph.configure()
    for source, frame in zip(sources, (old, new), strict=True):
        frame.pts = 0
        source.push(frame)
        source.push(None)
    missing = old.samples
    while missing > 0:
        mixed = sink.pull()
        assert isinstance(mixed, AudioFrame)
        mixed.pts = None
        missing -= mixed.samples
        yield mixed
    if missing < 0:
        raise FilmFaultError("a crossfade of another length than its parts")
