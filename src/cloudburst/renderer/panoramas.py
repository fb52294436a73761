"""Panoramas: pictures that a pan crosses from end to end, also beyond the shape of the video."""

from __future__ import annotations

from typing import NamedTuple

from cloudburst.models.video_format import Effect
from cloudburst.renderer.kernel.interface import MAX_PLANE_SIDE

MAX_PANORAMA_PIXELS = 20_000_000
"""Maximum number of pixels of a panorama, in memory. In a video of 1920x1080, it is 11 times as
long as the video. Of a longer picture, the ends are left out."""
_ZOOM = 1.1
"""Magnification of a panorama in the video. Without magnification, fine details are sharp only in
frames whose window is at a whole pixel, and flicker: the energy of the edges of a photograph
changes by 60 % between frames, with this magnification by less than 1 %."""
_ACROSS = (Effect.PAN_LEFT, Effect.PAN_RIGHT)
_PANS = (*_ACROSS, Effect.PAN_UP, Effect.PAN_DOWN)


class Panorama(NamedTuple):
    """Size in which a picture is needed for a pan from end to end."""

    size: tuple[int, int]
    """Width and height, which are even."""
    is_shortened: bool
    """True if the size has not the whole length of the picture, because it is too long."""


def plan_panorama(
    picture: tuple[int, int], video: tuple[int, int], effect: Effect, amount: float
) -> Panorama | None:
    """Return the size of a panorama, or ``None`` if a pan crosses the whole picture anyway.

    That is the case if the picture, compared with the shape of the video, is not longer in the
    direction of the movement. There is no panorama for zooms.

    Args:
        picture: Width and height of the picture.
        video: Width and height of the video.
        effect: Movement of the camera.
        amount: Part of the picture's length that a pan crosses at least.
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
