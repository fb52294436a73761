"""Colours of drawn areas: from the text of an option to the samples of a frame."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Yuv: TypeAlias = tuple[int, int, int]
"""Y, U and V in limited range of 8 bits, BT.709."""
BLACK: Yuv = (16, 128, 128)


class Rgba(NamedTuple):
    """Red, green, blue and opacity, from 0 to 255."""

    red: int
    green: int
    blue: int
    alpha: int = 255

    @classmethod
    def parse(cls, text: str) -> Rgba:
        """Return the colour of a validated ``#rrggbb`` or ``#rrggbbaa``."""
        return cls(*bytes.fromhex(text.removeprefix("#")))

    @property
    def yuv(self) -> Yuv:
        """The colour without its opacity, for frames."""
        return bt709(self.red, self.green, self.blue)


def bt709(red: int, green: int, blue: int) -> Yuv:
    """Return a colour of 8 bits per channel as Y, U, V of ITU-R BT.709-6 in limited range."""
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (
        round(16 + luma * 219 / 255),
        round(128 + (blue - luma) / 1.8556 * 224 / 255),
        round(128 + (red - luma) / 1.5748 * 224 / 255),
    )
