"""Conversion of coded colours to sRGB, by the codes of ITU-T H.273. No I/O.

A table depends on the codes only, so it serves the frames of videos as well as pictures.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import cast

from av.filter import Graph
from av.video.frame import VideoFrame

# Brightness of white in a picture without HDR, in cd/m² (ITU-R BT.2408, 2023). It is 1.0 here.
_WHITE = 203
# Colours on each axis of a table, always a square number. One of them is the white of HLG (75 %),
# and one nearly that of PQ (58 %), so that white is exact. A table takes 0.2 s of CPU time.
_LEVEL = 7
_SIZE = _LEVEL**2

# Linear red, green and blue of BT.709, as sums of those of other primaries. 2 is not specified.
_BT_709 = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_BT_2020 = ((1.6605, -0.5876, -0.0729), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1188))
_DISPLAY_P3 = ((1.2249, -0.2249, 0.0), (-0.0421, 1.0421, 0.0), (-0.0196, -0.0786, 1.0982))
_PRIMARIES = {1: _BT_709, 2: _BT_709, 9: _BT_2020, 12: _DISPLAY_P3}


def _srgb_light(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _pq_light(value: float) -> float:
    root = value ** (32 / 2523)
    base = max(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return math.pow(base, 8192 / 1305) * 10_000 / _WHITE


def _hlg_light(value: float) -> float:
    """Return the light of the scene; that of the display depends on all three colours."""
    return value**2 / 3 if value <= 0.5 else (math.exp((value - 0.55991) / 0.17883) + 0.28467) / 12


# Displays show the first ones alike.
_TRANSFERS = dict.fromkeys([1, 2, 6, 13, 14, 15], _srgb_light) | {16: _pq_light, 18: _hlg_light}


def srgb_clut(primaries: int, transfer: int) -> VideoFrame | None:
    """Return the table that converts colours to sRGB; ``None`` if they are those of sRGB.

    It is a picture in the form of FFmpeg's filter ``haldclut``.

    Raises `KeyError` for other codes.
    """
    rows, curve = _PRIMARIES[primaries], _TRANSFERS[transfer]
    if curve is _srgb_light and rows is _BT_709:
        return None
    values = bytearray()
    for blue, green, red in product([curve(at / (_SIZE - 1)) for at in range(_SIZE)], repeat=3):
        linear = [x * red + y * green + z * blue for x, y, z in rows]
        if curve is _hlg_light:  # for a display of 1,000 cd/m² (ITU-R BT.2100)
            luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
            linear = [luma**0.2 * light * 1000 / _WHITE for light in linear]
        # What is brighter than white is dimmed by half, so that it keeps some of its hue. All else
        # is exactly what it is without HDR.
        factor = (1 + 1 / max(1, *linear)) / 2
        values += bytes([*(_encoded(factor * light) for light in linear), 255])
    return VideoFrame.from_bytes(bytes(values), _LEVEL**3, _LEVEL**3).reformat(format="rgb48le")


def _encoded(light: float) -> int:
    light = min(1, max(0, light))
    return round(255 * (12.92 * light if light < 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))


def apply_clut(frame: VideoFrame, clut: VideoFrame) -> VideoFrame:
    """Return a frame in RGB, of any depth, with converted colours; opacity stays as it is."""
    graph = Graph()
    graph.threads = 1
    lookup, sink = graph.add("haldclut", "interp=tetrahedral"), graph.add("buffersink")
    for number, each in enumerate((frame, clut)):
        each.pts = 0
        source = graph.add_buffer(None, each.width, each.height, each.format, time_base=Fraction(1))
        source.link_to(lookup, 0, number)
    lookup.link_to(sink)
    graph.configure()
    for number, each in enumerate((frame, clut)):
        graph.push(each, at=number)
    graph.push(None)
    return cast("VideoFrame", sink.pull())
