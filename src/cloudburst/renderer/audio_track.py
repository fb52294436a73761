"""File with the finished audio of a video: AAC-LC packets at 48 kHz in stereo.

The writer of the video reads packet by packet, so memory does not grow with the length, apart from
the index of the file (about 70 bytes for a packet).
"""

# PyAV's types of `add_stream`, `encode` and `mux` are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from cloudburst.models.video_format import DEFAULT_FPS
from cloudburst.renderer.audio_frames import SAMPLE_RATE, silent_frames
from cloudburst.renderer.sound_encoder import PACKET_SAMPLES, SoundEncoder, sound_packet

_FORMAT = "ipod"  # FFmpeg's name for m4a


class AudioTrack(NamedTuple):
    """Finished audio of a video."""

    path: Path
    frames: int
    copied: bool
    """True if the packets are those of the input."""
    replaced_seconds: float
    """Seconds of silence in place of corrupt packets."""
    samples: int
    """Length at `SAMPLE_RATE`. Encoded audio is exactly as long as `frames`."""
    priming: int
    """Samples at the start that a player does not play. The first packet has the time ``-priming``.
    """
    notes: tuple[str, ...] = ()
    """Warnings about the music and the loudness."""
    fps: int = DEFAULT_FPS

    @property
    def packets(self) -> int:
        """Number of packets that the video needs."""
        return -(-(self.samples + self.priming) // PACKET_SAMPLES)


def samples_per_frame(fps: int) -> int:
    """Return the samples at `SAMPLE_RATE` of a frame; all frame rates have whole ones."""
    return SAMPLE_RATE // fps


def whole_frames(samples: int, fps: int) -> int:
    """Return the length in frames of a video with this number of samples, rounded up."""
    return -(-samples // samples_per_frame(fps))


class TrackWriter:
    """Writer of an audio track's file: of frames to encode, or of packets to copy."""

    def __init__(self, container: OutputContainer) -> None:
        self._container = container
        self._encoder = SoundEncoder(container)
        self._packets = 0
        self.samples = 0
        """Length of the frames that were encoded."""

    def encode(self, frame: AudioFrame) -> None:
        """Encode stereo audio at `SAMPLE_RATE`."""
        self.samples += frame.samples
        self._add(self._encoder.encode(frame))

    def encode_silence(self, end: int) -> None:
        """Encode silence up to a length of ``end`` samples."""
        for frame in silent_frames(end - self.samples):
            self.encode(frame)

    def finish_encoding(self) -> int:
        """Encode the rest, and return the priming of the encoder in samples."""
        self._add(self._encoder.encode(None))
        return PACKET_SAMPLES  # FFmpeg's encoder begins with one packet of priming

    def copy(self, data: bytes, number: int) -> None:
        """Add the packet of a number, from 0."""
        packet = sound_packet(data, number * PACKET_SAMPLES, PACKET_SAMPLES)
        packet.stream = self._encoder.stream
        self._container.mux(packet)

    def _add(self, packets: Iterable[bytes]) -> None:
        for data in packets:
            self.copy(data, self._packets)
            self._packets += 1


@contextmanager
def open_writer(path: Path) -> Generator[TrackWriter]:
    """Create the file of an audio track, or replace it."""
    with av.open(f"file:{path}", "w", format=_FORMAT) as container:
        yield TrackWriter(container)


class TrackReader:
    """Reader of a finished audio track, for the writer of the video."""

    def __init__(self, container: InputContainer, track: AudioTrack) -> None:
        self._track = track
        self._frame_samples = samples_per_frame(track.fps)
        self.template = container.streams.audio[0]
        """Stream for `av.container.OutputContainer.add_stream_from_template`."""
        self._packets = self._read(container)
        self._next = next(self._packets, None)

    def packets_before(self, frame: int) -> Iterator[Packet[Stream]]:
        """Yield the next packets that start before a frame of the video, from 0, is shown.

        Their time base is 1/48000 s; their stream is not set.
        """
        while self._next is not None and (self._next.pts or 0) < frame * self._frame_samples:
            packet = self._next
            self._next = next(self._packets, None)
            yield packet

    def rest(self) -> Iterator[Packet[Stream]]:
        """Yield the packets that were not yielded before."""
        return self.packets_before(self._track.frames + 1)

    def _read(self, container: InputContainer) -> Iterator[Packet[Stream]]:
        # The last packet is as long as what a player plays of it.
        demuxed = container.demux(self.template)
        for number, packet in zip(range(self._track.packets), demuxed, strict=False):
            start = number * PACKET_SAMPLES - self._track.priming
            yield sound_packet(
                bytes(packet), start, min(PACKET_SAMPLES, self._track.samples - start)
            )


@contextmanager
def open_track(track: AudioTrack) -> Generator[TrackReader]:
    """Open the file of a finished audio track."""
    options = {"protocol_whitelist": "file", "ignore_editlist": "1"}
    with av.open(f"file:{track.path}", "r", format="mov", options=options) as container:
        yield TrackReader(container, track)
