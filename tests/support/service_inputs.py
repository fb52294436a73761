"""Inputs of the render service."""

from __future__ import annotations

import wave

import numpy as np

RATE = 44_100


def tone(path, seconds, amplitude=9000):
    count = round(seconds * RATE)
    wave_ = np.rint(amplitude * np.sin(np.arange(count) / 12)).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes(wave_.tobytes())
