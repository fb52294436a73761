"""Decoder of a caller's audio file: packets in their order, decoded once, within limits.

The file is untrusted. Only some file formats and decoders are allowed, an error of the decoder
concerns one packet only, and every other error of the libraries is a fault of the file.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard

from cloudburst.media import input_rules
from cloudburst.media.input_error import InvalidInputError
from cloudburst.renderer import process_limits
from cloudburst.renderer.audio_frames import (
    IS_PYAV_18,
    keep_custom_layout,
    open_input,
    shortened,
)
from cloudburst.renderer.job import AUDIO, InputFaultError

# Largest share of packets that may be corrupt. It is the default of the ffmpeg program
# (``-max_error_rate``): with more, the file is more likely of another kind than damaged.
MAX_CORRUPT_SHARE = 2 / 3

_EXPECTED = "mp3, wav, m4a, ogg, flac, aiff or caf"
"""Description of a valid audio file, for the errors."""
_SAMPLES = ("s16", "s24", "s32", "f32", "f64")
# Audio decoders that are allowed. A media file may contain any stream; FFmpeg has hundreds of
# other decoders, and each is code that would process a caller's bytes.
DECODERS = ",".join(
    (
        *("mp3float", "mp3", "mp2float", "mp2", "aac", "aac_latm", "flac", "alac"),
        *("vorbis", "libvorbis", "opus", "libopus", "adpcm_ima_wav", "adpcm_ms"),
        *("pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw"),
        *(f"pcm_{kind}{end}" for kind in _SAMPLES for end in ("le", "be")),
    )
)

# Audio file formats that are allowed. Playlists (HLS, concat, SDP) are not among them, because an
# upload could name other files and addresses in a playlist.
DEMUXERS = "mp3,wav,w64,mov,ogg,flac,aac,matroska,aiff,caf"

# Seconds by which the sum of many lengths may be wrong; less than half a sample.
_LIMIT_TOLERANCE = 1e-5
# Seconds that encoders add to a sound, which decoders leave out again; more than any does.
_MAX_PADDING = 1

_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": DEMUXERS,
    "codec_whitelist": DECODERS,
}
_WAV_HEAD_BYTES = 12
# Description of a file without any decoded audio. The cause may be an index that is too large for
# the memory limit, which FFmpeg does not always report.
_NO_SOUND = (
    f"no sound, or none that can be decoded in {process_limits.MEMORY_BYTES // 10**6} MB of memory"
)


class DecodedPacket(NamedTuple):
    """A packet of audio and the frames decoded from it."""

    packet: Packet[AudioStream]
    frames: list[AudioFrame]
    """Decoded audio; empty for the priming samples of an encoder."""
    corrupt: bool
    """True if the packet cannot be decoded."""
    seconds: Fraction
    """Length that the file claims, else that of the frames. For a corrupt packet, it is the length
    that is missing; without a claim, that of the last valid packet."""


class AudioSource:
    """First audio stream of an open file."""

    def __init__(
        self,
        container: InputContainer,
        limit: float,
        budget: process_limits.DecodeBudget | None,
        field: str,
    ) -> None:
        self._container = container
        self._limit = limit
        self._budget = budget
        self._read = 0.0
        """Seconds of audio that were read; corrupt packets count too."""
        self.field = field
        """Name of the input, for the errors."""
        if not container.streams.audio:
            raise InputFaultError(field, _NO_SOUND, _EXPECTED)
        self.stream = container.streams.audio[0]
        if self.stream.codec_context is None:  # pyright: ignore[reportUnnecessaryComparison]
            # FFmpeg has no decoder for the stream; the types of PyAV leave this case out.
            raise InputFaultError(field, _NO_SOUND, _EXPECTED)
        self.is_mp4 = "mp4" in container.format.name.split(",")
        _discard_others(container, self.stream)

    def check_length(self) -> None:
        """Raise `InputFaultError` if the audio is too long. Afterwards it cannot be decoded.

        Packets of most formats know their length, and to add them up takes a hundredth of the time
        of decoding. Those of MP4, which need not be encoded, are decoded as fast.
        """
        if not self.is_mp4:
            with reporting_faults(self.field):
                length = sum(max(packet.duration or 0, 0) for packet in self._demuxed())
                self._check_limit(length * (self.stream.time_base or 0) - _MAX_PADDING)

    def decoded(self) -> Iterator[DecodedPacket]:
        """Yield the packets of the stream in their order, each decoded.

        Raises `InputFaultError` for invalid or too long audio, or too much CPU time.
        """
        with reporting_faults(self.field):
            packets = corrupt = 0
            has_sound = False
            for packet in self._exact_packets():
                packets += 1
                corrupt += packet.corrupt
                has_sound = has_sound or bool(packet.frames)
                yield packet
            if not has_sound:
                raise InputFaultError(self.field, _NO_SOUND, _EXPECTED)
            if corrupt > MAX_CORRUPT_SHARE * packets:
                found = f"{corrupt:,} of {packets:,} audio packets that cannot be decoded"
                raise InputFaultError(self.field, found, _EXPECTED)

    def _exact_packets(self) -> Iterator[DecodedPacket]:
        # The last packet of an AAC stream contains padding of the encoder. MP4 gives it a shorter
        # duration, or an edit list that ends within it. FFmpeg 8 applies neither.
        if not self.is_mp4:
            yield from self._packets()
            return
        last: DecodedPacket | None = None
        for packet in self._packets():
            if last is not None:
                yield last
            last = packet
        if last is not None:
            seconds = min(last.seconds, self._seconds_in_edit_list(last) or last.seconds)
            yield last._replace(frames=list(_cut(last.frames, seconds)), seconds=seconds)

    def _seconds_in_edit_list(self, packet: DecodedPacket) -> Fraction | None:
        """Return the length of a packet up to the end of the edit list, if it ends within it."""
        start, duration = packet.packet.pts, self.stream.duration
        if start is None or duration is None or self.stream.start_time != 0:
            return None
        # FFmpeg takes the duration of a stream from its edit list, and else from a header that may
        # be wrong. An end before the last packet is not believed.
        seconds = (duration - start) * packet.packet.time_base
        return seconds if seconds > 0 else None

    def _packets(self) -> Iterator[DecodedPacket]:
        context = self.stream.codec_context
        context.options = {"codec_whitelist": DECODERS}
        context.thread_count = 1  # for flac this takes less than half the CPU time of several
        context.open()
        valid = Fraction(0)
        for packet in self._demuxed():
            frames, corrupt = self._decode(packet)
            decoded = _length(frames)
            claimed = _claimed_length(packet)
            if corrupt:
                missing = _missing_length(packet, claimed or valid, context.sample_rate)
                self._count(missing)
                if packet.size:  # the last packet is empty, it only ends the decoder
                    yield DecodedPacket(packet, [], corrupt=True, seconds=missing)
            else:
                valid = decoded or valid
                self._count(decoded)
                if packet.size or frames:
                    yield DecodedPacket(packet, frames, corrupt=False, seconds=claimed or decoded)

    def _demuxed(self) -> Iterator[Packet[AudioStream]]:
        # An unreadable packet is the end of the file, as for the ffmpeg program.
        try:
            yield from self._container.demux(self.stream)
        except MemoryError:
            raise
        except FFmpegError:
            return

    def _decode(self, packet: Packet[AudioStream]) -> tuple[list[AudioFrame], bool]:
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except (FFmpegError, ValueError):
            return [], True
        for frame in frames:
            keep_custom_layout(frame)
        frames = [frame for frame in frames if frame.samples]
        for frame in frames:
            # The parameters may change, and those of the stream must not be read (`audio_frames`).
            input_rules.check_audio_format(frame.layout.nb_channels, frame.sample_rate)
        return frames, False

    def _count(self, seconds: Fraction) -> None:
        self._read += float(seconds)
        self._check_limit(self._read)
        if self._budget is not None:
            self._budget.add(float(seconds))

    def _check_limit(self, seconds: float | Fraction) -> None:
        if seconds > self._limit + _LIMIT_TOLERANCE:
            expected = f"at most {self._limit:g} seconds"
            raise InputFaultError(self.field, f"more than {self._limit:g} seconds", expected)


def _discard_others(container: InputContainer, stream: AudioStream) -> None:
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


@contextmanager
def open_source(
    path: Path, limit: float, budget: process_limits.DecodeBudget | None, field: str = AUDIO
) -> Generator[AudioSource]:
    """Open an audio file of at most ``limit`` seconds; ``field`` is the input that errors name.

    Without a budget, the process has another limit for its CPU time.

    Raises `InputFaultError` for a file that is in none of `DEMUXERS`.
    """
    with reporting_faults(field):
        container = _open(path)
    with container:
        yield AudioSource(container, limit, budget, field)


def _open(path: Path) -> InputContainer:
    with path.open("rb") as file:
        head = file.read(_WAV_HEAD_BYTES)
    # FFmpeg 9 takes a wav file with a steady tone for MPEG-TS if it guesses the format.
    file_format = "wav" if head[:4] in {b"RIFF", b"RF64"} and head[8:] == b"WAVE" else None
    return open_input(path, file_format, _OPTIONS)


@contextmanager
def reporting_faults(field: str = AUDIO) -> Generator[None]:
    """Raise the errors of FFmpeg and PyAV in the block as `InputFaultError`.

    `process_limits.reading_input` reports a `MemoryError`.
    """
    try:
        yield
    except MemoryError:
        raise
    except InvalidInputError as exc:
        raise InputFaultError(field, exc.found, exc.expected) from exc
    except (FFmpegError, ValueError, ArithmeticError, LookupError, OSError) as exc:
        raise InputFaultError(field, _description(exc), _EXPECTED) from exc


def _description(exc: BaseException) -> str:
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return f"a file that cannot be decoded ({text})"


def _length(frames: list[AudioFrame]) -> Fraction:
    return sum((Fraction(frame.samples, frame.sample_rate) for frame in frames), Fraction(0))


def _claimed_length(packet: Packet[AudioStream]) -> Fraction:
    return max(packet.duration or 0, 0) * packet.time_base


def _missing_length(packet: Packet[AudioStream], seconds: Fraction, rate: int) -> Fraction:
    """Return the seconds of silence that must replace a corrupt packet."""
    # Nothing has to replace its priming. The decoder of PyAV 19 (FFmpeg 9), however, then skips as
    # many samples of the next valid packet, so the full length is missing.
    if not IS_PYAV_18:
        return seconds
    if packet.is_discard:
        return Fraction(0)
    skipped = int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[:4], "little")
    return max(Fraction(0), seconds - Fraction(skipped, rate))


def _cut(frames: list[AudioFrame], seconds: Fraction) -> Iterator[AudioFrame]:
    for frame in frames:
        room = round(seconds * frame.sample_rate)
        yield shortened(frame, max(1, room))
        seconds -= Fraction(frame.samples, frame.sample_rate)
        if seconds <= 0:
            return
