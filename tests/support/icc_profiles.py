"""Colour profiles for tests: version 2 of the ICC format, with curves and primaries."""

from __future__ import annotations

import struct

ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""X, Y and Z of red, green and blue of Adobe RGB (1998), for white D50."""
DISPLAY_P3 = (
    *((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189)),
    (0.15710, 0.06657, 0.78407),
)


def profile(
    primaries: tuple[tuple[float, float, float], ...],
    *,
    gamma: float = 563 / 256,
    name: bytes = b"Test",
    space: bytes = b"RGB ",
) -> bytes:
    """Return a profile with these primaries, or of grey with one curve."""

    def xyz(values: tuple[float, ...]) -> bytes:
        return struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65536) for value in values))

    text = name + b"\0"
    tags = {
        b"desc": struct.pack(">4s4xI", b"desc", len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
    }
    curve = struct.pack(">4s4xIH", b"curv", 1, round(gamma * 256))
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {
            f"{band}XYZ".encode(): xyz(one) for band, one in zip("rgb", primaries, strict=True)
        }
        tags |= {f"{band}TRC".encode(): curve for band in "rgb"}
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    table = struct.pack(">I", len(tags)) + table
    head = struct.pack(
        ">I4sI4s4s4s12s4s",
        128 + len(table) + len(body),
        b"lcms",
        0x02100000,
        b"mntr",
        space,
        b"XYZ ",
        b"",
        b"acsp",
    )
    white = struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    return (head + bytes(28) + white).ljust(128, b"\0") + table + body
