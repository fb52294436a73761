"""Encoder of the sound of a video: AAC-LC, which checks what it has encoded."""

# PyAV's types of `encode` and `decode` are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from cloudburst.renderer.audio_frames import SAMPLE_FORMAT, SAMPLE_RATE

# Samples of an AAC-LC packet.
PACKET_SAMPLES = 1024
# Bits per second of encoded audio.
BIT_RATE = 128_000
TIME_BASE = Fraction(1, SAMPLE_RATE)

# Options of the encoder. For noise and voices, ``fast`` takes a third of the CPU time of
# ``twoloop``, and its signal-to-noise ratio is 1 to 3 dB higher. It makes loud single tones (a
# beep, a flute, a bass) quieter by 1 to 4 dB, at a ratio of 7 to 15 dB, where ``twoloop`` has 13
# to 51.
_CODER, _EXACT_CODER = {"aac_coder": "fast"}, {"aac_coder": "twoloop"}

# Packets that are checked together: a second.
_BLOCK = 47
# Packets that are encoded before those that replace others, so that they fit to their neighbours:
# whether windows are long or short depends on the sound before, and not on the coder.
_WARM_UP = 8
# Packets after a block that are encoded before the block is checked; the last ones of a sound are
# encoded differently.
_AHEAD = 3
# Distance of the samples that are compared.
_STEP = 7
# Power of a packet that may be encoded wrongly: -15 dB of full scale.
_LOUD = 0.03 * 2 * PACKET_SAMPLES / _STEP
# Part of the power of loud sound that is left after encoding, if it is right: -0.5 dB. Pink noise
# has -0.3 dB, wrong tones -0.7 to -4 dB.
_MIN_POWER = 0.89


class SoundEncoder:
    """Encoder of stereo sound at `SAMPLE_RATE`, for a new stream of a file."""

    # A loud second is decoded again, and encoded with the slower coder if it has become quieter.

    def __init__(self, container: OutputContainer) -> None:
        self.stream = stream = container.add_stream("aac", SAMPLE_RATE, options=_CODER)
        stream.layout, stream.format = "stereo", SAMPLE_FORMAT
        stream.bit_rate, stream.time_base = BIT_RATE, TIME_BASE
        self._fifo = AudioFifo()
        # Sound of packets: first `_before` ones that were yielded, then those of `_packets`.
        self._frames: list[AudioFrame] = []
        self._before = 0
        self._packets: list[bytes] = []
        self._length = 0

    def encode(self, frame: AudioFrame | None) -> Iterator[bytes]:
        """Encode a frame, and yield finished packets; ``None`` ends the sound."""
        if frame is not None:
            frame.pts = None  # the sound is continuous
            self._fifo.write(frame)
        while part := self._fifo.read(PACKET_SAMPLES, partial=frame is None):
            self._frames.append(part)
            self._packets += _encoded(self.stream, [part], self._length)
            self._length += part.samples
            if len(self._packets) >= _BLOCK + _AHEAD:
                yield from self._checked(_BLOCK)
        if frame is None:
            self._packets += map(bytes, self.stream.encode(None))
            while self._packets:
                yield from self._checked(_BLOCK)

    @cached_property
    def _decoder(self) -> AudioCodecContext:
        decoder = AudioCodecContext.create("aac", "r")
        decoder.extradata = self.stream.codec_context.extradata
        return decoder

    def _checked(self, count: int) -> Sequence[bytes]:
        packets = self._packets[:count]
        del self._packets[:count]
        end = self._before + len(packets)
        given = self._frames[max(0, self._before - 1) : end - 1]  # decoders are one packet late
        power = sum(map(_power, given))
        if power > max(_LOUD * len(packets), sum(map(_hiss, given))):
            decoded = (frame for data in packets for frame in self._decoder.decode(av.Packet(data)))
            if sum(map(_power, decoded)) < _MIN_POWER * power:
                packets = self._encoded_again()[self._before : end]
        del self._frames[: max(0, end - _WARM_UP)]
        self._before = min(end, _WARM_UP)
        return packets

    def _encoded_again(self) -> list[bytes]:
        encoder = AudioCodecContext.create("aac", "w")
        encoder.sample_rate, encoder.layout, encoder.format = SAMPLE_RATE, "stereo", SAMPLE_FORMAT
        encoder.bit_rate, encoder.options = BIT_RATE, _EXACT_CODER
        return [*_encoded(encoder, self._frames, 0), *map(bytes, encoder.encode(None))]


def sound_packet(data: bytes, start: int, duration: int) -> Packet[Stream]:
    """Return a packet with times in samples; its stream is not set."""
    packet = Packet(data)
    packet.time_base = TIME_BASE
    packet.pts = packet.dts = start
    packet.duration = duration
    packet.is_keyframe = True
    return packet


def _encoded(
    encoder: AudioStream | AudioCodecContext, frames: Sequence[AudioFrame], start: int
) -> Iterator[bytes]:
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = start + number * PACKET_SAMPLES, TIME_BASE
        yield from map(bytes, encoder.encode(frame))


def _power(frame: AudioFrame) -> float:
    return sum(math.hypot(*samples[::_STEP]) ** 2 for samples in _samples(frame))


def _hiss(frame: AudioFrame) -> float:
    """Return the sum of the squares of differences between neighbours of the same samples."""
    # It is larger than the power of sounds above 8 kHz, such as white noise, which the encoder
    # leaves out in part.
    planes = _samples(frame)
    return sum(math.dist(each[:-1:_STEP], each[1::_STEP]) ** 2 for each in planes)


def _samples(frame: AudioFrame) -> Iterator[memoryview[float]]:
    return (memoryview(plane).cast("f")[: frame.samples] for plane in frame.planes)
