"""Sound of a film: scenes, or one voice, beside one piece of music; encoded once over the film.

An encoder that started again with each scene would begin it with silence of its own. Encoded in one
piece, the sound has neither gap nor click where one scene ends and the next one begins. Everything
is decoded while it is mixed, so that memory does not grow with the length of the film.
"""

# PyAV's types of `decode` and `encode` are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.filter import Graph

from cloudburst.film.plan import FilmFaultError, FilmPlan
from cloudburst.film.scene_video import OpenVideo, SceneVideo, open_video
from cloudburst.film.timeline import Timeline
from cloudburst.models.film import MAX_FILM_SECONDS, FilmFileName
from cloudburst.models.options.sound import MIN_LOOP_SECONDS
from cloudburst.renderer.audio_frames import (
    SAMPLE_FORMAT,
    SAMPLE_RATE,
    STEREO_SOURCE,
    silence,
    silent_frames,
)
from cloudburst.renderer.audio_source import open_source
from cloudburst.renderer.job import InputFaultError
from cloudburst.renderer.sound_mix import (
    MAX_PEAK_DB,
    METER,
    Correction,
    Filter,
    Loudness,
    Mixer,
    Music,
    limiter,
    measured,
)
from cloudburst.renderer.stereo_audio import StereoAudio

# Samples that are passed on at once.
_CHUNK = 8192
# Samples before and after a cut that are replaced: 0.1 ms. In a sine of half the full scale, the
# encoder misses them by 10 % of full scale, and others by 2 %.
_SMOOTHED_BEFORE, _SMOOTHED_AFTER = 3, 2
# Samples by which the sound of a video may be shorter than its pictures. It is less than a frame,
# because the renderer adds silence up to a whole frame.
_MAX_MISSING = SAMPLE_RATE // 10
# Samples by which lengths may differ from those in headers, which need not be exact.
_MAX_CUT = SAMPLE_RATE // 4
# Decoders of formats from whose files FFmpeg drops what is corrupt; their headers have the length.
_DROPPING = {"flac", "opus", "libopus", "vorbis", "libvorbis"}
# Samples over which the end of music that is repeated is crossfaded with its start: 20 ms prevent a
# click, and do not change a rhythm.
_JOIN = SAMPLE_RATE // 50


def mixed_sound(plan: FilmPlan, timeline: Timeline) -> Iterator[AudioFrame]:
    """Return the sound of a film with its own voice, music and loudness, if the plan has them."""
    samples, options = timeline.samples(timeline.frames), plan.sound
    music: Music | None = None
    tail: list[Filter] = []
    if has_music := "film_music" in plan.files:
        length = samples
        if not options.music_loop:
            length = min(samples, sum(frame.samples for frame in _decoded(plan, "film_music")))
        fade = min(round(options.music_fade * SAMPLE_RATE), length // 2)
        music = Music(options.music_volume, length, fade, options.music_ducking)
        tail = [limiter(MAX_PEAK_DB)]

    def mixed(tail: Sequence[Filter]) -> Iterator[AudioFrame]:
        if "film_audio" in plan.files:
            voice = _voice(plan, samples)
        else:
            voice = film_sound(map(open_video, plan.scenes), timeline)
        if not (has_music or tail):
            return voice
        piece: Iterator[AudioFrame] = iter(())
        if has_music:
            piece = _repeated(plan) if options.music_loop else _decoded(plan, "film_music")
        return Mixer(music, tail).frames(voice, piece)

    def measure(tail: Sequence[Filter]) -> Loudness:
        return measured(mixed([*tail, METER]))

    if options.loudness is not None:
        tail = Correction.find(options.loudness, measure, samples).filters(samples)
    return mixed(tail)


def _voice(plan: FilmPlan, samples: int) -> Iterator[AudioFrame]:
    """Yield the voice of a film, and silence from its end to that of the pictures."""
    length = 0
    for frame in _decoded(plan, "film_audio"):
        length += frame.samples
        yield frame
    if length > samples + _MAX_CUT:
        found, expected = (f"{count / SAMPLE_RATE:.2f} s" for count in (length, samples))
        raise FilmFaultError(
            f"film_audio: {found} long; expected at most {expected}, where the pictures end"
        )
    yield from silent_frames(samples - length)


def _repeated(plan: FilmPlan) -> Iterator[AudioFrame]:
    """Yield the music again and again, its end crossfaded with its start."""
    fifo = AudioFifo()
    end: AudioFrame | None = None
    while True:
        length = 0
        for frame in _decoded(plan, "film_music"):
            length += frame.samples
            frame.pts = None  # the music is continuous
            fifo.write(frame)
            if end is not None and fifo.samples >= _JOIN:
                yield from _crossfaded(end, _read(fifo, _JOIN))
                end = None
            if end is None and fifo.samples > _JOIN:
                yield _read(fifo, fifo.samples - _JOIN)
        if length < MIN_LOOP_SECONDS * SAMPLE_RATE:
            expected = f"at least {MIN_LOOP_SECONDS:g} seconds, or music_loop=false"
            raise FilmFaultError(
                f"film_music: {length / SAMPLE_RATE:.2f} seconds; expected {expected}"
            )
        end = _read(fifo, _JOIN)


def _read(fifo: AudioFifo, samples: int) -> AudioFrame:
    found = fifo.read(samples)
    assert found is not None, "as many samples were written"
    return found


def _decoded(plan: FilmPlan, name: FilmFileName) -> Iterator[AudioFrame]:
    """Yield the sound of a file, or raise `FilmFaultError` if it is invalid or partly corrupt."""
    length, path = 0, Path(plan.files[name].path)
    try:
        # The CPU time of the process is limited by the length of the film.
        with open_source(path, MAX_FILM_SECONDS, None, name) as source:
            audio = StereoAudio(source.decoded(), name)
            for frame in audio.frames():
                if audio.replaced:
                    found = f"corrupt data at {length / SAMPLE_RATE:.1f} s"
                    raise FilmFaultError(f"{name}: {found}; expected a whole file")
                length += frame.samples
                yield frame
            stream = source.stream
            if stream.codec_context.name in _DROPPING:
                claimed = float((stream.duration or 0) * (stream.time_base or 0))
                if (length + _MAX_CUT) / SAMPLE_RATE < claimed:
                    found = f"{length / SAMPLE_RATE:.1f} s of sound"
                    raise FilmFaultError(f"{name}: {found}; expected {claimed:.1f} s, its length")
    except InputFaultError as exc:
        raise FilmFaultError(str(exc)) from exc


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
        start = timeline.samples(place.start)
        head_end = timeline.samples(place.start + place.body)
        body_end = timeline.samples(place.start + place.end)
        end = timeline.samples(place.start + place.frames)
        with opening as video:
            sound = _SceneSound(video)
            if tail is not None:
                yield from _crossfaded(tail, sound.read(head_end - written))
                written = head_end
            elif last is not None and written < start:
                gap = silence(start - written)
                _smooth(last, gap)
                yield last
                last, written = gap, start
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
        return _read(self._fifo, samples)

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
