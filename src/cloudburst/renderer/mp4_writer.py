"""Writer of MP4 files: encoded pictures beside encoded audio, in the order of their times."""

# PyAV's types of `add_stream` and `mux` are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from cloudburst.models.video_format import VideoFormat
from cloudburst.renderer.audio_frames import SAMPLE_RATE
from cloudburst.renderer.audio_track import TrackReader
from cloudburst.renderer.encoder import (
    REORDERED_PICTURES,
    EncodedPicture,
    configure,
    without_settings,
)
from cloudburst.renderer.gops import Gop

# Options of the MP4 format. The index comes first, so that players can begin before they have
# received the whole file. Times of edit lists are exact to a sample of audio.
MP4_OPTIONS = {"movflags": "+faststart", "movie_timescale": str(SAMPLE_RATE)}


class Mp4Writer:
    """Writer of one video. Its memory does not depend on the video's length."""

    def __init__(
        self, container: OutputContainer, video_format: VideoFormat, audio: TrackReader
    ) -> None:
        self._container = container
        self._video = container.add_stream("libx264", video_format.fps)
        self._time_base = Fraction(1, video_format.fps)
        # The encoder gives the parameter sets only.
        configure(self._video.codec_context, video_format)
        self._audio_stream = container.add_stream_from_template(audio.template)
        self._audio = audio
        self._written = 0

    def describe(self, texts: Mapping[str, str]) -> None:
        """Set the texts that the file stores, before anything is written."""
        self._container.metadata.update(texts)
        if language := self._container.metadata.pop("language", None):
            self._audio_stream.metadata["language"] = language

    def write(self, gop: Gop, pictures: Sequence[EncodedPicture]) -> None:
        """Write the pictures of a GOP, which follows the previous one, and the audio beside it."""
        for picture in pictures:
            self._copy(self._audio.packets_before(self._written + 1))
            data = picture.data if self._written == 0 else without_settings(picture.data)
            packet = picture_packet(data, gop.first + picture.position, self._written)
            packet.stream, packet.time_base = self._video, self._time_base
            packet.is_keyframe = picture.position == 0
            self._container.mux(packet)
            self._written += 1

    def finish(self) -> None:
        """Write the rest of the audio."""
        self._copy(self._audio.rest())

    def _copy(self, packets: Iterable[Packet[Stream]]) -> None:
        for packet in packets:
            packet.stream = self._audio_stream
            self._container.mux(packet)


def picture_packet(data: bytes, frame: int, number: int) -> Packet[Stream]:
    """Return the packet of a frame, the ``number``-th in decoding order; times are in frames."""
    packet = Packet(data)
    packet.pts, packet.dts, packet.duration = frame, number - REORDERED_PICTURES, 1
    return packet


@contextmanager
def open_mp4(
    path: Path,
    video_format: VideoFormat,
    audio: TrackReader,
    texts: Mapping[str, str] | None = None,
) -> Generator[Mp4Writer]:
    """Create the file of a video, or replace it; the file is complete after the block.

    ``texts`` describe the video, by the names that FFmpeg uses for MP4 files.
    """
    with av.open(f"file:{path}", "w", format="mp4", options=MP4_OPTIONS) as container:
        writer = Mp4Writer(container, video_format, audio)
        if texts:
            writer.describe(texts)
        yield writer
        writer.finish()
