"""Inputs of the render service."""

from __future__ import annotations

import math
import sys
import wave
from array import array
from pathlib import Path

RATE = 44_100
_PERIOD = 80


def tone(path: Path, seconds: float, amplitude: int = 9000) -> None:
    """Write a wav file with a mono tone of 551 Hz."""
    period = [round(amplitude * math.sin(math.tau * n / _PERIOD)) for n in range(_PERIOD)]
    count = round(seconds * RATE)
    samples = array("h", period * (count // _PERIOD + 1))[:count]
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes(samples.tobytes())
