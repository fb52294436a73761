"""Headers of HEIF pictures, which are HEIC and AVIF files. Nothing is decoded here."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

from PIL import ExifTags, ImageFile

# First bytes of a file.
HEIF_START = rb"....ftyp(avi|hei|hev|mif|msf)"

# Layout: ISO/IEC 14496-12 (boxes and items), 23008-12 (HEIF). A missing box is a `KeyError`, and
# missing bytes are an `EOFError`: `ImageFile` expects these.

# Maximum size in bytes of the box that describes the items. For a telephone's picture of 48 million
# pixels it has 15 KB. The data of a small picture may be in it, too.
_MAX_META_BYTES = 4 * 2**20
# Maximum number of boxes before the end of that one and of the data; there are usually three.
_MAX_BOXES = 64
_MAX_SIZE = 2**50  # of a box, in bytes
# Brands of files that have a sequence of pictures.
_SEQUENCES = re.compile(b"avis|hevc|hevx|msf1")
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
# EXIF orientations by quarter turns to the left: not mirrored; with top and bottom, or with left
# and right, exchanged after that.
_ORIENTATIONS = ((1, 4, 2), (8, 5, 7), (3, 2, 4), (6, 7, 5))
# Bytes of memory per pixel of the picture, and per pixel of a tile: up to 6 in the decoder, 3 for
# its colours, and 4 for them in Pillow's form.
_PICTURE_BYTES, _TILE_BYTES = 4, 13


class Layer(NamedTuple):
    """Colours or opacity of a picture."""

    tiles: list[int]
    """Numbers of the items, row by row."""
    tile_size: tuple[int, int]
    coefficients: tuple[int, int] | None
    """Matrix, and range (1 or 2), of the values as FFmpeg counts them; ``None`` if only the encoded
    tiles have them."""
    codes: tuple[int, int] | None
    """Codes of the primaries and the transfer function (ITU-T H.273), if the header has them."""


def is_heif(start: bytes) -> bool:
    """Return whether a file, of this start, is a HEIF picture."""
    return re.match(HEIF_START, start, re.DOTALL) is not None


class HeifPicture(ImageFile.ImageFile):
    """Header of a HEIF picture in Pillow's form; a subclass decodes the picture."""

    format = "HEIF"
    format_description = "HEIF picture"
    is_animated = False
    end = 0
    """Size in bytes that the whole file has at least."""
    layers: list[Layer]
    """Colours, and opacity if there is any."""
    decoded_size: tuple[int, int]
    shown: tuple[int, int, int, int]
    """Edges of the part of the decoded picture that is shown."""

    def _open(self) -> None:
        items = _Items(self._read_meta())
        properties = items.properties(items.primary)
        self.decoded_size = items.size(items.primary)
        self.shown = _shown(self.decoded_size, properties.get(b"clap"))
        self._size = self.shown[2] - self.shown[0], self.shown[3] - self.shown[1]
        self.layers = [items.layer(each) for each in (items.primary, *items.alpha()[:1])]
        self._mode = "RGB" if len(self.layers) == 1 else "RGBA"
        whole = math.prod(self.decoded_size)
        tile = max(math.prod(layer.tile_size) for layer in self.layers)
        self.info["decoded_bytes"] = _PICTURE_BYTES * whole + _TILE_BYTES * tile
        if profile := properties.get(b"prof") or properties.get(b"rICC"):
            self.info["icc_profile"] = profile
        else:
            self.info["cicp"] = self.layers[0].codes
        # These properties are what counts. EXIF data repeat them, and are not read.
        turns = properties.get(b"irot", b"\0")[0] & 3
        mirror = 1 + (properties[b"imir"][0] & 1) if b"imir" in properties else 0
        self.getexif()[ExifTags.Base.Orientation] = _ORIENTATIONS[turns][mirror]

    def _read_meta(self) -> bytes:
        """Return the description of the items, and find the end of their data."""
        assert self.fp is not None
        found = dict[bytes, bytes]()
        for _ in range(_MAX_BOXES):
            self.fp.seek(self.end)
            if {b"meta", b"mdat"} <= found.keys() or not (start := self.fp.read(16)):
                break
            kind, head_size, size = _Box(start).head()
            found[kind] = b""
            if kind in {b"ftyp", b"meta"}:
                if size > _MAX_META_BYTES:
                    raise EOFError
                self.fp.seek(self.end + head_size)
                found[kind] = self.fp.read(max(0, size - head_size))
            self.end += size
        self.is_animated = bool(_SEQUENCES.search(found[b"ftyp"]))
        return found[b"meta"]


class _Box(BytesIO):
    """Content of a box, read field by field."""

    def number(self, size: int) -> int:
        if len(data := self.read(size)) < size:
            raise EOFError
        return int.from_bytes(data)

    def version(self) -> tuple[int, int]:
        """Return the version and the flags with which most boxes begin."""
        return self.number(1), self.number(3)

    def head(self) -> tuple[bytes, int, int]:
        """Return kind, size of the head and whole size of the box that begins here."""
        size, kind, head_size = self.number(4), self.read(4), 8
        if size == 1:
            size, head_size = self.number(8), 16
        if size and not head_size <= size <= _MAX_SIZE:
            raise EOFError
        return kind, head_size, size

    def boxes(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield kind and content of each box that follows."""
        while self.tell() < self.getbuffer().nbytes:
            kind, head_size, size = self.head()
            yield kind, self.read(size - head_size)  # a size of 0 means the rest


class _Items:
    """Pictures in a file, which are items with numbers, and their properties."""

    def __init__(self, meta: bytes) -> None:
        boxes = dict(_Box(meta[4:]).boxes())
        primary = _Box(boxes[b"pitm"])
        self.primary = primary.number(4 if primary.version()[0] else 2)
        self._references = dict(_references(_Box(boxes.get(b"iref", bytes(4)))))
        tables = [*_Box(boxes[b"iprp"]).boxes()]
        self._properties = [
            (it[:4], it[4:]) if kind == b"colr" else (kind, it)
            for kind, it in _Box(dict(tables)[b"ipco"]).boxes()
        ]
        self._owned = dict[int, list[int]]()
        for kind, content in tables:
            if kind == b"ipma":
                self._owned |= _owned_properties(_Box(content))

    def properties(self, item: int) -> dict[bytes, bytes]:
        """Return the properties of an item by kind; those of its colours by their own kind."""
        # Thousands of items may own the same large property, which must not be copied here.
        return dict(self._properties[number - 1] for number in self._owned.get(item, ()) if number)

    def size(self, item: int) -> tuple[int, int]:
        """Return width and height of a picture."""
        box = _Box(self.properties(item)[b"ispe"][4:])
        size = box.number(4), box.number(4)
        if 0 in size:
            raise EOFError
        return size

    def alpha(self) -> list[int]:
        """Return the pictures with the opacity of the primary one."""
        return [
            item
            for (kind, item), targets in self._references.items()
            if kind == b"auxl"
            and self.primary in targets
            and self.properties(item).get(b"auxC", b"").startswith(_ALPHA, 4)
        ]

    def layer(self, item: int) -> Layer:
        """Return the tiles of a picture: itself, or those of which it is a grid."""
        items = self._references.get((b"dimg", item), [item])
        size, of_tile = self.size(item), self.size(items[0])
        columns, rows = (-(-whole // part) for whole, part in zip(size, of_tile, strict=True))
        if len(items) != columns * rows:
            raise EOFError
        colours = self.properties(item).get(b"nclx") or self.properties(items[0]).get(b"nclx")
        matrix = (colours[5], 1 + (colours[6] >> 7)) if colours else None
        codes = struct.unpack(">2H", colours[:4]) if colours else None
        return Layer(items, of_tile, matrix, codes)


def _shown(size: tuple[int, int], clap: bytes | None) -> tuple[int, int, int, int]:
    """Return the edges of the part of a picture that a property names; its centre is given."""
    if clap is None:
        return (0, 0, *size)
    width, of_width, height, of_height, *offset = struct.unpack(">8i", clap)
    x, of_x, y, of_y = offset
    if min(of_width, of_height, of_x, of_y) < 1:
        raise EOFError
    shown = width // of_width, height // of_height
    left, top = (size[0] - shown[0]) / 2 + x / of_x, (size[1] - shown[1]) / 2 + y / of_y
    edges = round(left), round(top), round(left) + shown[0], round(top) + shown[1]
    if not (0 <= edges[0] < edges[2] <= size[0] and 0 <= edges[1] < edges[3] <= size[1]):
        raise EOFError
    return edges


def _references(box: _Box) -> Iterator[tuple[tuple[bytes, int], list[int]]]:
    """Yield each kind of reference and the item that has it, with the items it refers to."""
    size = 4 if box.version()[0] else 2
    for kind, content in box.boxes():
        entry = _Box(content)
        yield (kind, entry.number(size)), [entry.number(size) for _ in range(entry.number(2))]


def _owned_properties(box: _Box) -> dict[int, list[int]]:
    """Return the numbers of the properties of each item; the first property is 1."""
    version, flags = box.version()
    id_size, size = 4 if version else 2, 1 + (flags & 1)
    essential = 0x80 << 8 * (size - 1)  # a bit of the number
    return {
        box.number(id_size): [box.number(size) & ~essential for _ in range(box.number(1))]
        for _ in range(box.number(4))
    }
