"""Audio track of a video with music, or with a wanted loudness.

The music ends with the voice, and loudness is that of the whole. The inputs are therefore decoded
two to four times, which takes less CPU time than to encode the track, and no space.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from av.audio.frame import AudioFrame

from cloudburst.models.options.sound import MIN_LOOP_SECONDS
from cloudburst.renderer.audio import TRACK_FILE, encoded_track, measure_voice
from cloudburst.renderer.audio_frames import SAMPLE_RATE, silent_frames
from cloudburst.renderer.audio_source import (
    DecodedPacket,
    open_source,
    reporting_faults,
)
from cloudburst.renderer.audio_track import AudioTrack, open_writer, samples_per_frame
from cloudburst.renderer.job import AUDIO, MUSIC, InputFaultError, RenderJob
from cloudburst.renderer.process_limits import DecodeBudget, decoding_audio, reading_input
from cloudburst.renderer.scene import Announce
from cloudburst.renderer.sound_mix import (
    MAX_PEAK_DB,
    METER,
    Correction,
    Filter,
    Loudness,
    Meter,
    Mixer,
    Music,
    limiter,
    measured,
)
from cloudburst.renderer.stereo_audio import StereoAudio


def mixed_track(folder: Path, job: RenderJob, announce: Announce) -> AudioTrack:
    """Write the audio track of a job that has music or a wanted loudness.

    Raises `InputFaultError` as `cloudburst.renderer.audio.prepare_audio`, also for the music.
    """
    voice = measure_voice(folder, job, announce)
    samples = voice.frames * samples_per_frame(job.options.fps)
    music = None
    notes: list[str] = []
    if (folder / MUSIC).exists():
        music, replaced = _read_music(folder, job, samples, announce)
        if replaced:
            notes.append(f"music: {replaced:.2f} s of corrupt data were replaced by silence")
    field = AUDIO if music is None else MUSIC
    with (
        reading_input(field, announce),
        decoding_audio(field) as budget,
        reporting_faults(field),
    ):
        sound = _Sound(folder, job, samples, music, budget)
        priming, warnings = sound.write(folder / TRACK_FILE)
    track = encoded_track(folder / TRACK_FILE, voice.frames, priming, job.options.fps)
    return track._replace(replaced_seconds=voice.replaced, notes=(*notes, *warnings))


def _read_music(
    folder: Path, job: RenderJob, samples: int, announce: Announce
) -> tuple[Music, float]:
    """Return how the music is mixed, and the seconds of silence in place of corrupt packets."""
    # The music is decoded once, as far as a video of ``samples`` needs it.
    options, length = job.options, 0
    with (
        reading_input(MUSIC, announce),
        decoding_audio(MUSIC) as budget,
        open_source(folder / MUSIC, job.audio_seconds, budget, MUSIC) as source,
    ):
        audio = StereoAudio(source.decoded(), source.field)
        with closing(audio.frames()) as frames:
            for frame in frames:
                length += frame.samples
                if length >= samples:
                    break
    length = min(length, samples)
    if options.music_loop:
        if length < min(samples, MIN_LOOP_SECONDS * SAMPLE_RATE):
            expected = f"at least {MIN_LOOP_SECONDS:g} seconds of music, or music_loop=false"
            raise InputFaultError(MUSIC, f"{length / SAMPLE_RATE:.2f} seconds", expected)
        length = samples
    fade = min(round(options.music_fade * SAMPLE_RATE), length // 2)
    music = Music(options.music_volume, length, fade, options.music_ducking)
    return music, float(audio.replaced)


def _repeated(path: Path, limit: float, budget: DecodeBudget) -> Iterator[DecodedPacket]:
    while True:
        with open_source(path, limit, budget, MUSIC) as source:
            yield from source.decoded()


class _Sound(NamedTuple):
    folder: Path
    job: RenderJob
    samples: int
    music: Music | None
    budget: DecodeBudget

    def write(self, path: Path) -> tuple[int, list[str]]:
        """Write the track's file; return its priming in samples, and warnings."""
        correction = None
        tail = [] if self.music is None else [limiter(MAX_PEAK_DB)]
        if self.job.options.loudness is not None:
            correction = Correction.find(self.job.options.loudness, self._measure, self.samples)
            tail = [*correction.filters(self.samples), METER]
        meter = Meter()
        with open_writer(path) as writer:
            for frame in meter.watch(self._frames(tail)):
                writer.encode(frame)
            priming = writer.finish_encoding()
        return priming, [] if correction is None else list(correction.warnings(meter.loudness))

    def _measure(self, tail: Sequence[Filter]) -> Loudness:
        return measured(self._frames([*tail, METER]))

    def _frames(self, tail: Sequence[Filter]) -> Iterator[AudioFrame]:
        mixer = Mixer(self.music, tail)
        with closing(self._voice_frames()) as voice, closing(self._music_frames()) as music:
            for frame in mixer.frames(voice, music):
                self.budget.add(frame.samples / SAMPLE_RATE)
                yield frame

    def _voice_frames(self) -> Generator[AudioFrame]:
        length = 0
        if self.job.duration is None:
            limit = self.job.audio_seconds
            with open_source(self.folder / AUDIO, limit, self.budget) as source:
                audio = StereoAudio(source.decoded(), source.field)
                yield from audio.frames()
            length = audio.samples
        yield from silent_frames(self.samples - length)

    def _music_frames(self) -> Generator[AudioFrame]:
        path, limit = self.folder / MUSIC, self.job.audio_seconds
        if self.job.options.music_loop:
            packets = _repeated(path, limit, self.budget)
            yield from StereoAudio(packets, MUSIC).frames()
            return
        with open_source(path, limit, self.budget, MUSIC) as source:
            yield from StereoAudio(source.decoded(), source.field).frames()
