"""Colours of sRGB in HDR and in Display P3, and files that say so."""

from __future__ import annotations

import math
import struct
import zlib

Colour = tuple[float, ...]

# BT.709 in the primaries of BT.2020 (ITU-R BT.2087) and of Display P3.
TO_BT_2020 = ((0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956))
TO_P3 = ((0.8225, 0.1774, 0.0), (0.0332, 0.9669, 0.0), (0.0171, 0.0724, 0.9108))
WHITE = 203
"""White of a picture without HDR, in cd/m²."""


def linear(colour: Colour) -> Colour:
    return tuple(
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (one / 255 for one in colour)
    )


def mixed(rows: tuple[Colour, ...], light: Colour) -> Colour:
    return tuple(sum(a * b for a, b in zip(row, light, strict=True)) for row in rows)


def in_pq(colour: Colour, rows: tuple[Colour, ...] = TO_BT_2020, brightness: float = 1) -> Colour:
    """SMPTE ST 2084, of a colour of sRGB whose white has 203 cd/m²."""
    powers = (
        (v * brightness * WHITE / 10_000) ** 0.1593017578 for v in mixed(rows, linear(colour))
    )
    return tuple(((0.8359375 + 18.8515625 * p) / (1 + 18.6875 * p)) ** 78.84375 for p in powers)


def in_hlg(colour: Colour, rows: tuple[Colour, ...] = TO_BT_2020) -> Colour:
    """ARIB STD-B67, as a display of 1,000 cd/m² shows it."""
    shown = [v * WHITE / 1000 for v in mixed(rows, linear(colour))]
    luma = sum(a * b for a, b in zip((0.2627, 0.678, 0.0593), shown, strict=True))
    scene = (v * luma ** (1 / 1.2 - 1) if luma else 0.0 for v in shown)
    return tuple(
        math.sqrt(3 * v) if v <= 1 / 12 else 0.17883277 * math.log(12 * v - 0.28466892) + 0.55991073
        for v in scene
    )


def in_p3(colour: Colour) -> Colour:
    return tuple(
        12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055
        for v in mixed(TO_P3, linear(colour))
    )


def sky(row: int) -> Colour:
    """A colour of a sky of 180 rows; the next row differs by less than one."""
    return 60 + row / 3, 110 + row / 3, 180 + row / 5


def with_codes(data: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF or HEIC file with other codes of its colours."""
    at = data.index(b"nclx") + 4
    return data[:at] + struct.pack(">2H", primaries, transfer) + data[at + 4 :]


def chunk(name: bytes, data: bytes) -> bytes:
    whole = name + data
    return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))


def with_cicp(data: bytes, primaries: int, transfer: int) -> bytes:
    """A PNG with the codes of its colours, before its other chunks."""
    return data[:33] + chunk(b"cICP", bytes((primaries, transfer, 0, 1))) + data[33:]
