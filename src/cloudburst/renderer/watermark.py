"""Watermark of a video: its size, its place and its opacity."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from PIL import Image

from cloudburst.models.video_format import VideoSize
from cloudburst.renderer import pictures
from cloudburst.renderer.job import WATERMARK, JobOptions, RenderJob

_SHORT_SIDE = 1080
"""Short side of the video for which margins are given, in pixels."""


class Watermark(NamedTuple):
    """Picture that stays in place over the picture of a video, and lies within it."""

    picture: Image.Image
    """The picture in RGBA."""
    x: int
    """Distance of the picture from the left edge of the video, in pixels."""
    y: int
    """Distance of the picture from the top edge of the video, in pixels."""

    def paste(self, picture: Image.Image) -> None:
        """Draw the watermark over the picture of a video without camera motion."""
        picture.paste(self.picture, (self.x, self.y), self.picture)


def load_watermark(folder: Path, job: RenderJob, size: VideoSize) -> Watermark:
    """Read the watermark in a job's folder and place it in a video of this size.

    Raises:
        InputFaultError: The file is not a picture that can be rendered.
    """
    options = job.options
    margin = round(options.watermark_margin * min(size) / _SHORT_SIDE)
    width = max(1, min(round(options.watermark_width * size.width), size.width - 2 * margin))
    picture = pictures.load_watermark(
        folder / WATERMARK, job.image_pixels, width, size.height - margin
    )
    return Watermark(_with_opacity(picture, options), *_place(picture, options, size, margin))


def _with_opacity(picture: Image.Image, options: JobOptions) -> Image.Image:
    if options.watermark_opacity < 1:
        opacities = [round(value * options.watermark_opacity) for value in range(256)]
        picture.putalpha(picture.getchannel("A").point(opacities))
    return picture


def _place(
    picture: Image.Image, options: JobOptions, size: VideoSize, margin: int
) -> tuple[int, int]:
    position = options.watermark_position
    room_across, room_down = size.width - picture.width, size.height - picture.height
    x, y = room_across // 2, room_down // 2
    if position.endswith("left"):
        x = margin
    elif position.endswith("right"):
        x = room_across - margin
    if position.startswith("top"):
        y = margin
    elif position.startswith("bottom"):
        y = room_down - margin
    return x, y
