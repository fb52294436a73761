"""Makes the HEIC files beside it: ``pip install pillow-heif``, then ``python make.py``."""

import sys
from io import BytesIO
from pathlib import Path

import pillow_heif
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.hdr_colours import in_pq, sky, with_codes
from support.icc_profiles import ADOBE_RGB, profile
from support.sample_media import quadrants

FOLDER = Path(__file__).parent
pillow_heif.register_heif_opener()
exif = Image.Exif()
exif[0x0112] = 6
shown = quadrants(200, 300)
stored = shown.transpose(Image.Transpose.ROTATE_90)
stored.save(FOLDER / "grid_turned.heic", tile_size=128, exif=exif.tobytes(), quality=90)
see_through = quadrants(320, 180, "RGBA")
see_through.paste((0, 0, 0, 0), (160, 0, 320, 90))
see_through.save(FOLDER / "opacity.heic", quality=90)
adobe = profile(ADOBE_RGB)
Image.new("RGB", (320, 180), (200, 150, 122)).save(
    FOLDER / "adobe_rgb.heic", icc_profile=adobe, chroma=444, quality=95
)
deep = quadrants(320, 180).convert("RGB")
raw = b"".join((value * 257).to_bytes(2, "little") for value in deep.tobytes())
pillow_heif.encode("RGB;16", (320, 180), raw, (FOLDER / "ten_bits.heic").open("wb"), quality=90)
quadrants(60, 100).save(
    FOLDER / "cropped.heic", quality=90
)  # 64 pixels wide, of which 60 are shown


def hdr_sky() -> bytes:
    """A sky, in PQ with ten bits."""
    stored = b"".join(
        round(65535 * value).to_bytes(2, "little")
        for row in range(180)
        for value in in_pq(sky(row)) * 240
    )
    file = BytesIO()
    pillow_heif.encode("RGB;16", (240, 180), stored, file, quality=100, chroma=444)
    return with_codes(file.getvalue(), 9, 16)


(FOLDER / "hdr_sky.heic").write_bytes(hdr_sky())
