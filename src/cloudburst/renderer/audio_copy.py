"""Copy of AAC packets that need not be encoded again.

Packets are copied only if they play exactly as in the input: AAC-LC, 48 kHz, stereo from an MP4
file, no corrupt packet, no gap, and priming that the edit list can express. Only decoding them
shows that they are valid and have 1,024 samples each.
"""

from __future__ import annotations

from pathlib import Path

from cloudburst.renderer.audio_frames import SAMPLE_RATE
from cloudburst.renderer.audio_source import AudioSource, DecodedPacket
from cloudburst.renderer.audio_track import AudioTrack, TrackWriter, open_writer, whole_frames
from cloudburst.renderer.sound_encoder import PACKET_SAMPLES, TIME_BASE

# Largest mean bit rate of copied packets, in bits per second. It bounds the size of a video: audio
# with more is encoded with 128 kbit/s.
MAX_BIT_RATE = 320_000
# Largest AAC packet in stereo: 6,144 bits for each channel (ISO/IEC 14496-3).
MAX_PACKET_BYTES = 1536
# Largest priming that is copied, in samples. Encoders have 1,024 (FFmpeg) to 2,112 (Apple).
MAX_PRIMING = 4 * PACKET_SAMPLES

# Configurations of a decoder (AudioSpecificConfig) for AAC-LC, 48 kHz, stereo. The second one says
# in addition that there is no spectral band replication, as in HE-AAC.
_AAC_LC_STEREO_48K = (b"\x11\x90", b"\x11\x90\x56\xe5\x00")


def copy_packets(source: AudioSource, path: Path, fps: int) -> AudioTrack | None:
    """Copy the packets of a source to a track's file; return ``None`` if they do not fit.

    The source must then be opened again. Raises `InputFaultError` if it is invalid or too long.
    """
    if not _has_known_configuration(source):
        return None
    with open_writer(path) as writer:
        copier = _Copier(writer)
        if not all(map(copier.take, source.decoded())):
            return None
    return copier.track(path, fps)


def _has_known_configuration(source: AudioSource) -> bool:
    return (
        source.is_mp4
        and source.stream.codec_context.name == "aac"
        and source.stream.codec_context.extradata in _AAC_LC_STEREO_48K
        and source.stream.time_base == TIME_BASE
    )


class _Copier:
    def __init__(self, writer: TrackWriter) -> None:
        self._writer = writer
        self._priming = 0
        self._packets = 0
        self._bytes = 0
        self._decoded = 0
        # End of the last packet, in samples.
        self._end = 0

    def take(self, packet: DecodedPacket) -> bool:
        start = packet.packet.pts
        if start is None:
            return False
        if not self._packets:
            self._priming = -start
            self._end = start
        expected = self._packets * PACKET_SAMPLES - self._priming
        if not start == expected == self._end or not self._is_decoded(packet):
            return False
        self._end += round(packet.seconds * SAMPLE_RATE)
        self._writer.copy(bytes(packet.packet), self._packets)
        self._packets += 1
        self._bytes += packet.packet.size
        return 0 < packet.packet.size <= MAX_PACKET_BYTES

    def _is_decoded(self, packet: DecodedPacket) -> bool:
        frames = packet.frames
        self._decoded += sum(frame.samples for frame in frames)
        return not packet.corrupt and all(
            frame.sample_rate == SAMPLE_RATE and frame.layout.name == "stereo" for frame in frames
        )

    def track(self, path: Path, fps: int) -> AudioTrack | None:
        samples = self._end
        fits = (
            0 <= self._priming <= MAX_PRIMING
            and samples > 0
            and self._decoded == samples
            and self._bytes * 8 * SAMPLE_RATE <= MAX_BIT_RATE * self._packets * PACKET_SAMPLES
        )
        if not fits:
            return None
        return AudioTrack(
            path=path,
            frames=whole_frames(samples, fps),
            copied=True,
            replaced_seconds=0.0,
            samples=samples,
            priming=self._priming,
            fps=fps,
        )
