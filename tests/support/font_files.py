"""Font files for tests: a real TrueType font, and hostile ones that are made from its tables."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from functools import cache
from itertools import accumulate
from typing import Any, Literal, NamedTuple, cast

from PIL import ImageFont

Tables = dict[str, bytes]


@cache
def latin_font() -> bytes:
    """Return the TrueType font that is part of Pillow: Latin letters, 115 glyphs, 13 KB."""
    return bytes(cast("Any", ImageFont.load_default(20)).font_bytes)


def tables_of(font: bytes, at: int = 0) -> Tables:
    """Return the tables of a face that begins at this byte."""
    (count,) = struct.unpack_from(">H", font, at + 4)
    places = struct.iter_unpack(">4s4xII", font[at + 12 : at + 12 + 16 * count])
    return {tag.decode("latin-1"): font[place : place + size] for tag, place, size in places}


def font_of(tables: Mapping[str, bytes], start: bytes = b"\0\1\0\0") -> bytes:
    """Return a font file with these tables."""
    head = start + struct.pack(">4H", len(tables), 0, 0, 0)
    at = len(head) + 16 * len(tables)
    places, body = b"", b""
    for name, data in tables.items():
        places += struct.pack(">4s3I", name.encode("latin-1"), 0, at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    return head + places + body


def changed(*removed: str, start: bytes = b"\0\1\0\0", **tables: bytes) -> bytes:
    """Return the Latin font without the removed tables and with other ones.

    In the names of tables, ``_`` stands for a space or a slash.
    """
    kept = {name: data for name, data in tables_of(latin_font()).items() if name not in removed}
    names = {"OS_2": "OS/2", "CFF_": "CFF "}
    return font_of(kept | {names.get(name, name): data for name, data in tables.items()}, start)


def patched(table: str, at: int, kind: str, *values: int) -> bytes:
    """Return the Latin font with other numbers in a table; ``kind`` is that of `struct`."""
    tables = tables_of(latin_font())
    content = bytearray(tables[table])
    struct.pack_into(f">{kind}", content, at, *values)
    return font_of(tables | {table: bytes(content)})


def collection(*offsets: int, fonts: bytes = b"") -> bytes:
    """Return a collection with faces at these bytes."""
    return struct.pack(f">4sII{len(offsets)}I", b"ttcf", 0x10000, len(offsets), *offsets) + fonts


def flipped(seed: int, count: int) -> bytes:
    """Return the Latin font with wrong bits at random places after its directory."""
    font, rng = bytearray(latin_font()), random.Random(seed)
    for _ in range(count):
        font[rng.randrange(300, len(font))] ^= 1 << rng.randrange(8)
    return bytes(font)


# Character maps


def character_map(subtable: bytes, platform: int = 3, encoding: int = 10) -> bytes:
    """Return a table ``cmap`` with one subtable."""
    return struct.pack(">2H2HI", 0, 1, platform, encoding, 12) + subtable


def segments(*of: tuple[int, int, int, int]) -> bytes:
    """Return a subtable of format 4; a segment is start, end, delta and offset."""
    starts, ends, deltas, offsets = (
        struct.pack(f">{len(of)}H", *numbers) for numbers in zip(*of, strict=True)
    )
    body = ends + b"\0\0" + starts + deltas + offsets
    size = (14 + len(body)) & 0xFFFF
    return struct.pack(">7H", 4, size, 0, 2 * len(of) & 0xFFFF, 0, 0, 0) + body


def groups(*of: tuple[int, int, int], count: int | None = None) -> bytes:
    """Return a subtable of format 12; a group is first character, last one and first glyph."""
    body = b"".join(struct.pack(">3I", *group) for group in of)
    number = len(of) if count is None else count
    return struct.pack(">2H3I", 12, 0, 16 + len(body), 0, number & 0xFFFFFFFF) + body


# Outlines

_MORE, _WORDS, _XY = 1 << 5, 1, 2


_LETTER = 43
"""Glyph of the letter H. A letter that a font lacks, whose glyph is 0, is never drawn."""


def one_letter(shape: bytes) -> dict[str, bytes]:
    """Return the tables of the Latin font in which only the letter H has a shape."""
    (count,) = struct.unpack_from(">H", tables_of(latin_font())["maxp"], 4)
    shape += bytes(-len(shape) % 4)
    head = bytearray(tables_of(latin_font())["head"])
    struct.pack_into(">h", head, 50, 1)  # long offsets
    places = [0] * (_LETTER + 1) + [len(shape)] * (count - _LETTER)
    return {"head": bytes(head), "glyf": shape, "loca": struct.pack(f">{count + 1}I", *places)}


def with_letter(shape: bytes) -> bytes:
    """Return the Latin font with this shape of the letter H, and no other shapes."""
    return changed(**one_letter(shape))


def outline(points: list[tuple[int, int]], instructions: bytes = b"") -> bytes:
    """Return a glyph with one contour."""
    xs, ys = zip(*points, strict=True)
    head = struct.pack(">5h", 1, min(xs), min(ys), max(xs), max(ys))
    deltas = b""
    for line in (xs, ys):
        before = 0
        for value in line:
            deltas += struct.pack(">h", max(-32768, min(32767, value - before)))
            before = value
    last = struct.pack(">H", len(points) - 1)
    program = struct.pack(">H", len(instructions)) + instructions
    return head + last + program + b"\1" * len(points) + deltas


def components(*glyphs: int) -> bytes:
    """Return a glyph that is composed of other ones."""
    parts = b"".join(
        struct.pack(
            ">4h", _WORDS | _XY | (_MORE if place + 1 < len(glyphs) else 0), glyph, 100, 100
        )
        for place, glyph in enumerate(glyphs)
    )
    return struct.pack(">5h", -1, 0, 0, 500, 500) + parts


def cff(charstring: bytes, subroutines: list[bytes], glyphs: int) -> bytes:
    """Return a table ``CFF`` in which each glyph runs the same charstring."""
    names, strings = _index([b"Hostile"]), _index([])
    globals_ = _index(subroutines)
    charstrings = _index([charstring] * glyphs)

    def top(offset: int) -> bytes:
        number = b"\x1d" + struct.pack(">i", offset)
        return _index([number + b"\x11"])  # operator 17: charstrings

    start = 4 + len(names) + len(top(0)) + len(strings) + len(globals_)
    return b"\1\0\4\4" + names + top(start) + strings + globals_ + charstrings


def _index(items: list[bytes]) -> bytes:
    if not items:
        return b"\0\0"
    places = accumulate(map(len, items), initial=1)
    return (
        struct.pack(">HB", len(items), 4)
        + struct.pack(f">{len(items) + 1}I", *places)
        + b"".join(items)
    )


def cff_font(charstring: bytes, subroutines: list[bytes] | None = None) -> bytes:
    """Return the Latin font with CFF outlines that are all this charstring."""
    (glyphs,) = struct.unpack_from(">H", tables_of(latin_font())["maxp"], 4)
    table = cff(charstring, subroutines or [], glyphs)
    return changed("glyf", "loca", start=b"OTTO", CFF_=table)


# Rules by which glyphs are replaced and moved


def substitutions(*of: tuple[int, ...]) -> bytes:
    """Return a table ``GSUB`` in which each lookup replaces H by a sequence of glyphs."""
    return _rules(b"ccmp", 2, [_sequence(glyphs) for glyphs in of])


def context_loop(count: int) -> bytes:
    """Return a table ``GSUB`` whose lookups each apply the next one twice, the last one the first.

    They do so at every H that another H follows.
    """
    subtables = []
    for lookup in range(count):
        records = struct.pack(">4H", 0, (lookup + 1) % count, 1, (lookup + 1) % count)
        rule = struct.pack(">3H", 2, 2, _LETTER) + records
        rules = struct.pack(">2H", 1, 4) + rule
        head = struct.pack(">4H", 1, 8, 1, 14)
        subtables.append(head + _coverage() + rules)
    return _rules(b"ccmp", 5, subtables)


def adjustment(across: int, advance: int) -> bytes:
    """Return a table ``GPOS`` that moves H, and changes its width, by these units."""
    subtable = struct.pack(">3H2h", 1, 10, 1 | 4, across, advance) + _coverage()
    return _rules(b"kern", 1, [subtable])


def _coverage() -> bytes:
    return struct.pack(">3H", 1, 1, _LETTER)


def _sequence(glyphs: tuple[int, ...]) -> bytes:
    head = struct.pack(">4H", 1, 8, 1, 14) + _coverage()
    return head + struct.pack(f">{len(glyphs) + 1}H", len(glyphs), *glyphs)


def _rules(feature: bytes, kind: int, subtables: list[bytes]) -> bytes:
    count = len(subtables)
    scripts = struct.pack(">H4sH2H4H", 1, b"DFLT", 8, 4, 0, 0, 0xFFFF, 1, 0)
    numbers = struct.pack(f">{count}H", *range(count))
    features = struct.pack(">H4sH2H", 1, feature, 8, 0, count) + numbers
    lookups = [struct.pack(">4H", kind, 0, 1, 8) + subtable for subtable in subtables]
    places = accumulate(map(len, lookups[:-1]), initial=2 + 2 * count)
    listed = struct.pack(f">{count + 1}H", count, *places) + b"".join(lookups)
    at = 10 + len(scripts)
    head = struct.pack(">5H", 1, 0, 10, at, at + len(features))
    return head + scripts + features + listed


_SQUARE = [(0, 0), (0, 700), (700, 700), (700, 0)]


def _table(name: str) -> bytes:
    return tables_of(latin_font())[name]


def _map(subtable: bytes, encoding: int = 10) -> bytes:
    return character_map(subtable, 3, encoding)


def _flat_hhea() -> bytes:
    hhea = bytearray(_table("hhea"))
    struct.pack_into(">2h", hhea, 4, 0, 0)
    return bytes(hhea)


def _with_em(units: int, shape: bytes) -> bytes:
    """Return a font of one shape with this number of units in an em."""
    parts = one_letter(shape)
    head, hhea = bytearray(parts["head"]), bytearray(_table("hhea"))
    struct.pack_into(">H", head, 18, units)
    struct.pack_into(">2h", hhea, 4, units, -units // 4)
    widths = struct.pack(">Hh", units, 0) * (len(_table("hmtx")) // 4)
    return changed("OS/2", **{**parts, "head": bytes(head), "hhea": bytes(hhea), "hmtx": widths})


def doubling() -> bytes:
    """Return a font whose H has two of the next glyph, which has two of the next, and so on."""
    (count,) = struct.unpack_from(">H", _table("maxp"), 4)
    shapes = [outline(_SQUARE)] * count
    for glyph in range(_LETTER, _LETTER + 12):
        shapes[glyph] = components(glyph + 1, glyph + 1)
    shapes = [shape + bytes(-len(shape) % 4) for shape in shapes]
    places = accumulate(map(len, shapes), initial=0)
    head, maxp = bytearray(_table("head")), bytearray(_table("maxp"))
    struct.pack_into(">h", head, 50, 1)
    struct.pack_into(">2H", maxp, 28, 0xFFFF, 0xFFFF)  # components and depth
    return changed(
        head=bytes(head),
        maxp=bytes(maxp),
        glyf=b"".join(shapes),
        loca=struct.pack(f">{count + 1}I", *places),
    )


def cut_cff() -> bytes:
    font = tables_of(cff_font(b"\x0e"))
    return font_of(font | {"CFF ": font["CFF "][:60]}, b"OTTO")


# Cases


class FontCase(NamedTuple):
    """Hostile font, and where it is refused."""

    name: str
    make: Callable[[], bytes]
    ends: Literal["early", "late", "done", "either"]
    """``early``: the check before a run refuses it, and so does the render process; ``late``: only
    the render process does; ``done``: it is rendered; ``either``: rendered or refused."""


def _case(
    name: str, ends: Literal["early", "late", "done", "either"], make: Callable[[], bytes]
) -> FontCase:
    return FontCase(name, make, ends)


def _call(subroutine: int) -> bytes:
    """Return the charstring that calls a global subroutine of less than 1,240."""
    return bytes([139 + subroutine - 107, 29])


def _wide(side: int) -> bytes:
    return outline([(-side, -side), (-side, side), (side, side), (side, -side)])


def _comb(teeth: int) -> bytes:
    """Return a shape of many thin lines from edge to edge."""
    points = [(n * 3 % 1000, 0 if n % 2 else 900) for n in range(teeth)]
    return outline(points)


LOOP = bytes((0xB0, 0, 0xB0, 0, 0x59, 0xB8)) + struct.pack(">h", -3) + bytes((0x1C,))
"""TrueType program: push a distance of -3 and jump back, without end."""

_RANDOM = random.Random(5).randbytes(5000)

FONTS: list[FontCase] = [
    _case("an empty file", "early", bytes),
    _case("text", "early", lambda: b"not a font, only text\n" * 50),
    *(
        _case(f"the first {size} bytes", "early", lambda size=size: latin_font()[:size])
        for size in (4, 11, 60, 251, 1000, 9000, 12_600)
    ),
    _case("WOFF", "early", lambda: b"wOFF" + latin_font()[4:]),
    _case("WOFF2", "early", lambda: b"wOF2" + latin_font()[4:]),
    _case("PostScript", "early", lambda: b"%!PS-AdobeFont-1.0: Hostile\n" + bytes(500)),
    _case("a font of 33 MB", "early", lambda: latin_font() + bytes(33 << 20)),
    _case("a collection without faces", "early", collection),
    _case("a collection whose face is itself", "early", lambda: collection(0, fonts=bytes(99))),
    _case("a collection after its end", "early", lambda: collection(1 << 31)),
    _case("a collection of 4 billion faces", "early", lambda: b"ttcf\0\1\0\0" + b"\xff" * 4),
    _case("65,535 tables", "early", lambda: b"\0\1\0\0\xff\xff" + latin_font()[6:]),
    _case("a table of 4 GB", "early", lambda: latin_font()[:24] + b"\xff" * 4 + latin_font()[28:]),
    *(
        _case(f"without {name}", "early", lambda name=name: changed(name))
        for name in ("cmap", "head", "hhea", "hmtx", "maxp", "glyf", "loca")
    ),
    _case("without OS/2, post and name", "done", lambda: changed("OS/2", "post", "name")),
    _case("bitmaps only", "early", lambda: changed("glyf", "loca", EBDT=b"\0" * 9, EBLC=b"\0" * 9)),
    _case("0 units in an em", "early", lambda: patched("head", 18, "H", 0)),
    _case("1 unit in an em", "early", lambda: patched("head", 18, "H", 1)),
    _case("65,535 units in an em", "early", lambda: patched("head", 18, "H", 65_535)),
    _case("lines of height 0", "early", lambda: changed("OS/2", hhea=_flat_hhea())),
    _case("65,535 widths", "early", lambda: patched("hhea", 34, "H", 65_535)),
    _case("no widths", "early", lambda: patched("hhea", 34, "H", 0)),
    _case("65,535 glyphs", "early", lambda: patched("maxp", 4, "H", 65_535)),
    _case("letters of 65 em", "late", lambda: changed(hmtx=b"\xff" * len(_table("hmtx")))),
    _case("shapes of 2,000 em", "late", lambda: _with_em(16, _wide(16_000))),
    _case("letters without width", "either", lambda: changed(hmtx=bytes(len(_table("hmtx"))))),
    _case(
        "an H that becomes a million",
        "late",
        lambda: changed(GSUB=substitutions(*[(_LETTER,) * 4] * 10)),
    ),
    _case("an H that becomes 9", "done", lambda: changed(GSUB=substitutions((_LETTER,) * 9))),
    _case(
        "an H that becomes 4,000", "late", lambda: changed(GSUB=substitutions((_LETTER,) * 4000))
    ),
    _case("an H that becomes nothing", "either", lambda: changed(GSUB=substitutions(()))),
    _case("rules that apply each other", "either", lambda: changed(GSUB=context_loop(60))),
    _case("an H that is moved by 32 em", "late", lambda: changed(GPOS=adjustment(32767, 0))),
    _case("an H 32 em wide", "late", lambda: changed(GPOS=adjustment(0, 32767))),
    _case("an H that goes back", "either", lambda: changed(GPOS=adjustment(0, -2000))),
    _case("rules of random bytes", "either", lambda: changed(GSUB=b"\0\1\0\0" + _RANDOM)),
    _case("32,767 lines", "either", lambda: with_letter(_comb(32_767))),
    _case("a program without end", "either", lambda: with_letter(outline(_SQUARE, LOOP * 1))),
    _case("a shape made of itself", "either", lambda: with_letter(components(_LETTER))),
    _case("a shape made of 5,000 shapes", "either", doubling),
    _case("a map of 4 billion ranges", "early", lambda: changed(cmap=_map(groups(count=-1)))),
    _case("a map of format 6", "early", lambda: changed(cmap=_map(b"\0\6" + bytes(20)))),
    _case("a map after its end", "early", lambda: changed(cmap=_map(b""))),
    _case("a map of 65,535 subtables", "early", lambda: changed(cmap=b"\0\0\xff\xff" + bytes(99))),
    _case(
        "a map of 32,767 overlapping segments",
        "either",
        lambda: changed(cmap=_map(segments(*[(0, 0xFFFE, 1, 0)] * 32_767), 1)),
    ),
    _case(
        "a map of glyphs that do not exist",
        "either",
        lambda: changed(cmap=_map(groups((0, 0x10FFFF, 0x7FFFFFFF)))),
    ),
    _case("CFF without operators", "either", lambda: cff_font(b"")),
    _case("CFF subroutine of itself", "either", lambda: cff_font(_call(0), [_call(0)])),
    _case(
        "CFF subroutines 9 deep, 10 calls each",
        "either",
        lambda: cff_font(_call(0), [_call(n + 1) * 10 for n in range(8)] + [b"\x8b\x8b\x05" * 99]),
    ),
    _case("CFF of random bytes", "either", lambda: cff_font(random.Random(3).randbytes(3000))),
    _case("an open CFF table", "either", cut_cff),
    *(
        _case(f"{count} wrong bits, seed {seed}", "either", lambda s=seed, c=count: flipped(s, c))
        for seed, count in enumerate((1, 1, 3, 3, 10, 10, 40, 40, 200, 200, 2000, 2000))
    ),
]
"""Hostile fonts; each is made when it is needed."""
