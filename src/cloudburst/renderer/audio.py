"""Preparation of a job's audio: the caller's file becomes the audio track of the video.

The file is decoded once. Its packets are copied if they are what the encoder would produce;
otherwise the audio is encoded while it is decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cloudburst.models.video_format import DEFAULT_FPS
from cloudburst.renderer import process_limits
from cloudburst.renderer.audio_copy import copy_packets
from cloudburst.renderer.audio_source import AudioSource, open_source
from cloudburst.renderer.audio_track import (
    AudioTrack,
    open_writer,
    samples_per_frame,
    whole_frames,
)
from cloudburst.renderer.job import AUDIO, RenderJob
from cloudburst.renderer.stereo_audio import StereoAudio

# Name of the finished audio, which the renderer adds to a job's folder.
TRACK_FILE = "audio.m4a"


def prepare_audio(folder: Path, limit: float, fps: int = DEFAULT_FPS) -> AudioTrack:
    """Convert the audio in a job's folder to an audio track of at most ``limit`` seconds.

    Corrupt packets become silence of the same length. Raises `InputFaultError` for audio that is
    invalid, too long, too corrupt or too costly.
    """
    # Only decoding finds the length: headers may be wrong, most of all that of an mp3. The memory
    # of the process is limited during the call, and its CPU time no longer afterwards.
    path = folder / TRACK_FILE
    with process_limits.decoding_audio() as budget:
        with open_source(folder / AUDIO, limit, budget) as source:
            if track := copy_packets(source, path, fps):
                return track
            source.check_length()
        with open_source(folder / AUDIO, limit, budget) as source:
            return _encode(source, path, fps)


class Voice(NamedTuple):
    """Measured voice of a video."""

    frames: int
    replaced: float
    """Seconds of silence in place of corrupt packets."""


def measure_voice(folder: Path, job: RenderJob, announce: Callable[[str], None]) -> Voice:
    """Decode the voice of a job to find the length of the video, but do not encode it."""
    # Nothing less is exact: headers may be wrong, and decoders leave out the silence that encoders
    # add.
    fps = job.options.fps
    if job.duration is not None:
        return Voice(duration_frames(job.duration, fps), 0.0)
    with (
        process_limits.reading_input(AUDIO, announce),
        process_limits.decoding_audio() as budget,
    ):
        with open_source(folder / AUDIO, job.audio_seconds, budget) as source:
            source.check_length()
        with open_source(folder / AUDIO, job.audio_seconds, budget) as source:
            audio = StereoAudio(source.decoded(), source.field)
            for _ in audio.frames():
                pass
    return Voice(whole_frames(audio.samples, fps), float(audio.replaced))


def silent_track(folder: Path, seconds: float, fps: int = DEFAULT_FPS) -> AudioTrack:
    """Write a silent audio track for a video without sound, which can be joined with others."""
    frames = duration_frames(seconds, fps)
    path = folder / TRACK_FILE
    with open_writer(path) as writer:
        writer.encode_silence(frames * samples_per_frame(fps))
        return encoded_track(path, frames, writer.finish_encoding(), fps)


def duration_frames(seconds: float, fps: int) -> int:
    """Return the length in frames of a video without a voice."""
    return max(1, round(seconds * fps))


def encoded_track(path: Path, frames: int, priming: int, fps: int) -> AudioTrack:
    """Return the track of a file with encoded audio."""
    return AudioTrack(
        path=path,
        frames=frames,
        copied=False,
        replaced_seconds=0.0,
        samples=frames * samples_per_frame(fps),
        priming=priming,
        fps=fps,
    )


def _encode(source: AudioSource, path: Path, fps: int) -> AudioTrack:
    audio = StereoAudio(source.decoded(), source.field)
    with open_writer(path) as writer:
        for frame in audio.frames():
            writer.encode(frame)
        frames = whole_frames(audio.samples, fps)
        writer.encode_silence(frames * samples_per_frame(fps))
        priming = writer.finish_encoding()
    track = encoded_track(path, frames, priming, fps)
    return track._replace(replaced_seconds=float(audio.replaced))
