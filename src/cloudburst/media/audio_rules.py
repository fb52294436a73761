"""Rules for audio: number of channels and sample rate. No I/O."""

from __future__ import annotations

from cloudburst.media.input_error import InvalidInputError

MAX_CHANNELS = 8
"""Maximum number of audio channels: the 8 channels of 7.1 surround sound. A file with more channels
does not define which channel belongs to which loudspeaker."""
MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 384_000
"""Maximum sample rate in Hz. Resampling from a much higher rate takes gigabytes of memory."""


def check_audio_format(channels: int, rate: int) -> None:
    """Raise `InvalidInputError` for audio that cannot be converted to stereo at 48 kHz."""
    if not 1 <= channels <= MAX_CHANNELS:
        raise InvalidInputError(f"audio with {channels} channels", f"1 to {MAX_CHANNELS} channels")
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        found = f"audio with {rate:,} samples per second"
        raise InvalidInputError(
            found, f"{MIN_SAMPLE_RATE:,} to {MAX_SAMPLE_RATE:,} samples per second"
        )
