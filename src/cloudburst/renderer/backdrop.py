"""Backdrop of a picture that does not fill the video: one colour, or the picture itself, blurred.

Only renders with the option ``fit`` ``contain`` import this module.
"""

from __future__ import annotations

from PIL import Image, ImageFilter

from cloudburst.models.video_format import VideoSize
from cloudburst.renderer.crop import Point, crop_box

BLUR = "blur"
"""Name of the backdrop that is made of the picture."""
_SMALL_SIDE = 108
"""Shorter side of the picture that is blurred, in pixels. Nothing finer is left after the blur, and
it takes a hundredth of the time of a blur in full size."""
_BLUR_RADIUS = 4.0
"""Standard deviation of the blur in pixels of the small picture: 3.7 % of the shorter side."""
_BRIGHTNESS = 0.65
"""Brightness of the blurred picture relative to the original, so that the picture stands out."""


def on_backdrop(picture: Image.Image, size: VideoSize, backdrop: str, focus: Point) -> Image.Image:
    """Return a frame in RGB with a picture in its centre.

    Args:
        picture: Picture in RGB or RGBA that is not larger than the frame.
        size: Size of the frame.
        backdrop: `BLUR`, or a colour such as ``#ff0000``.
        focus: Point of the picture that the blurred backdrop keeps near its centre.
    """
    mask = picture if picture.mode == "RGBA" else None
    if backdrop == BLUR:
        opaque = picture
        if mask is not None:
            opaque = Image.new("RGB", picture.size)
            opaque.paste(picture, (0, 0), mask)
        canvas = _blurred(opaque, size, focus)
    else:
        canvas = Image.new("RGB", size, backdrop)
    # Even positions are those of chroma samples, so that the edges of the picture stay sharp.
    left, top = ((size.width - picture.width) // 2 & ~1, (size.height - picture.height) // 2 & ~1)
    canvas.paste(picture, (left, top), mask)
    return canvas


def _blurred(picture: Image.Image, size: VideoSize, focus: Point) -> Image.Image:
    """Return a picture in RGB that fills the size, blurred and darkened."""
    scale = _SMALL_SIDE / min(size)
    small = (max(1, round(size.width * scale)), max(1, round(size.height * scale)))
    box = crop_box(picture.size, size, focus)
    filled = picture.resize(small, Image.Resampling.BILINEAR, box, reducing_gap=2.0)
    soft = filled.filter(ImageFilter.GaussianBlur(_BLUR_RADIUS))
    dark = soft.point([round(value * _BRIGHTNESS) for value in range(256)] * 3)
    return dark.resize(size, Image.Resampling.BICUBIC)
