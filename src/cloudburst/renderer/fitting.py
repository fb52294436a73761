"""Fitting of a picture into a video: what is cropped, and what is behind it. Pure functions."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from PIL import Image, ImageFilter

from cloudburst.models.video_format import Effect, VideoSize
from cloudburst.renderer.kernel.interface import MAX_PLANE_SIDE, MIN_ZOOM

# Position in a picture as shares of its width and height, from 0 to 1.
Point: TypeAlias = tuple[float, float]
CENTRE: Point = (0.5, 0.5)
# Left, top, right and bottom edge of a part of a picture, in pixels.
Box: TypeAlias = tuple[float, float, float, float]

# Maximum number of pixels of a panorama, in memory. In a video of 1920x1080, it is 11 times as
# long as the video. Of a longer picture, the ends are left out.
MAX_PANORAMA_PIXELS = 20_000_000
# Magnification of a panorama in the video. Without magnification, fine details are sharp only in
# frames whose window is at a whole pixel, and flicker: the energy of the edges of a photograph
# changes by 60 % between frames, with this magnification by less than 1 %.
_ZOOM = 1.1
# Size of a picture that is kept for a movement, relative to what its largest magnification needs.
# At 1.0, frames at whole pixels would be sharper than others, by up to 6 % of the energy of the
# edges; with it, a frame differs from the one before by less than 0.4 %.
_SURPLUS = 1.03
_ACROSS = (Effect.PAN_LEFT, Effect.PAN_RIGHT)
_PANS = (*_ACROSS, Effect.PAN_UP, Effect.PAN_DOWN)
# Name of the backdrop that is made of the picture.
BLUR = "blur"
# Shorter side of the picture that is blurred, in pixels. Nothing finer is left after the blur, and
# it takes a hundredth of the time of a blur in full size.
_SMALL_SIDE = 108
# Standard deviation of the blur in pixels of the small picture: 3.7 % of the shorter side.
_BLUR_RADIUS = 4.0
# Brightness of the blurred picture relative to the original, so that the picture stands out.
_BRIGHTNESS = 0.65


def crop_box(size: tuple[int, int], shape: tuple[int, int], focus: Point) -> Box:
    """Return the largest part of a picture with the proportions of ``shape``, near ``focus``."""
    (width, height), ratio = size, shape[0] / shape[1]
    across, down = min(width, height * ratio), min(height, width / ratio)
    left = min(max(0.0, width * focus[0] - across / 2), width - across)
    top = min(max(0.0, height * focus[1] - down / 2), height - down)
    return left, top, left + across, top + down


def contained_size(size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a picture that is scaled to touch two edges of a frame."""
    scale = min(frame[0] / size[0], frame[1] / size[1])
    width, height = (max(1, round(side * scale)) for side in size)
    return min(width, frame[0]), min(height, frame[1])


def position_in_box(point: Point, size: tuple[int, int], box: Box) -> Point:
    """Return the position of a point of a picture within a part of it, or the nearest one."""
    left, top, right, bottom = box
    across = (size[0] * point[0] - left) / (right - left)
    down = (size[1] * point[1] - top) / (bottom - top)
    return min(1.0, max(0.0, across)), min(1.0, max(0.0, down))


def stored_point(point: Point, orientation: int) -> Point:
    """Return a point of a picture, as it is seen, before the rotation of an EXIF orientation."""
    x, y = point
    turned: dict[int, Point] = {
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (y, 1 - x),
        7: (1 - y, 1 - x),
        8: (1 - y, x),
    }
    return turned.get(orientation, point)


def kept_size(
    picture: tuple[int, int], video: VideoSize, effect: Effect, amount: float, *, contain: bool
) -> VideoSize:
    """Return the size in which a picture is kept for a movement over the whole of it.

    It is that of the video, or larger by up to the largest magnification if the picture is.
    """
    own = (max if contain else min)(
        inner / outer for inner, outer in zip(picture, video, strict=True)
    )
    if effect in _PANS:
        scale = _kept_for_pan(own, 1 / (1 - amount))
    else:
        scale = min(own, _SURPLUS * (1 + amount))
    height = 2 * int(video.height * max(1.0, min(scale, 1 / MIN_ZOOM)) / 2)
    return VideoSize(2 * round(video.width * height / video.height / 2), height)


def _kept_for_pan(own: float, magnification: float) -> float:
    # A magnification of almost 1 would flicker, see `_ZOOM`.
    for scale in (magnification * _SURPLUS, magnification / _ZOOM):
        if scale <= min(own, 1 / MIN_ZOOM):
            return scale
    return own


class Panorama(NamedTuple):
    """Size in which a picture is needed for a pan from end to end."""

    size: tuple[int, int]
    """Width and height, which are even."""
    is_shortened: bool
    """True if the picture is too long, so that its ends are left out."""


def plan_panorama(
    picture: tuple[int, int], video: tuple[int, int], effect: Effect, amount: float
) -> Panorama | None:
    """Return the size of a panorama, or ``None`` if a pan crosses the whole picture anyway.

    That is so for zooms, and if the picture, compared with the video, is not longer in the
    direction of the movement. ``amount`` is the part of its length that a pan crosses at least.
    """
    if effect not in _PANS:
        return None
    across = effect in _ACROSS
    length, side = picture if across else picture[::-1]
    video_length, video_side = video if across else video[::-1]
    ratio = length * video_side / (side * video_length)
    if ratio <= 1:
        return None
    # A picture that is hardly longer is magnified more, because the pan shows a part of its length.
    scale = min(1.0, max(1.0, 1 / ratio / (1 - amount)) / _ZOOM)
    planned_side = 2 * round(video_side * scale / 2)
    planned_length = 2 * round(length * planned_side / side / 2)
    limit = min(MAX_PLANE_SIDE, MAX_PANORAMA_PIXELS // planned_side) & ~1
    kept = min(planned_length, limit)
    size = (kept, planned_side) if across else (planned_side, kept)
    return Panorama(size, planned_length > limit)


def on_backdrop(picture: Image.Image, size: VideoSize, backdrop: str, focus: Point) -> Image.Image:
    """Return a frame in RGB with a picture, which is not larger, in its centre.

    ``backdrop`` is `BLUR` or a colour; a blurred one keeps ``focus`` near its centre.
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
    scale = _SMALL_SIDE / min(size)
    small = (max(1, round(size.width * scale)), max(1, round(size.height * scale)))
    box = crop_box(picture.size, size, focus)
    filled = picture.resize(small, Image.Resampling.BILINEAR, box, reducing_gap=2.0)
    soft = filled.filter(ImageFilter.GaussianBlur(_BLUR_RADIUS))
    dark = soft.point([round(value * _BRIGHTNESS) for value in range(256)] * 3)
    return dark.resize(size, Image.Resampling.BICUBIC)
