"""Decoding of a caller's pictures with Pillow, in the render process.

Files that are broken, too large or of another type raise `InputFaultError`.
"""

# Pillow's types of `createProfile` are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import av
from av import VideoStream
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation
from PIL import Image, ImageOps

from cloudburst.media import input_rules
from cloudburst.media.heif import HeifPicture, Layer, is_heif
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.video_format import Effect, VideoSize, video_size
from cloudburst.renderer import colours
from cloudburst.renderer.audio_frames import open_input
from cloudburst.renderer.fitting import (
    CENTRE,
    Box,
    Point,
    contained_size,
    crop_box,
    kept_size,
    on_backdrop,
    plan_panorama,
    position_in_box,
    stored_point,
)
from cloudburst.renderer.job import IMAGE, WATERMARK, InputFaultError, JobOptions, RenderJob

# Largest height of a watermark, divided by the height of its visible part.
_MAX_WATERMARK_PARTS = 8
# Number of pixels of a large picture that are converted at once.
_STRIP_PIXELS = 4_000_000

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "HEIF")
# Number of pixels by which the encoded form of a HEIF picture may be wider and taller.
_BLOCK_PIXELS = 64
# Options for the demuxer and the decoders of HEIF pictures.
_DECODERS = {"protocol_whitelist": "file", "codec_whitelist": "hevc,libdav1d"}
_NOT_DECODED = "a HEIC or AVIF picture of which a part cannot be decoded"
# How colours of HEIF pictures are converted, which often have a quarter of the pixels.
_CONVERSION = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_ORIENTATION = 0x0112  # the EXIF tag; values 5 to 8 rotate by 90°
# Name of the result of `_to_srgb` in the information of a picture, which its parts inherit.
_TO_SRGB = "cloudburst_to_srgb"
# Names of the codes of primaries and transfer function, and of those that are unknown.
_CODES, _UNKNOWN_CODES = "cicp", "cloudburst_unknown_codes"
# Those codes in a PNG, which Pillow does not read, and where they are searched: they come early.
_PNG_CODES, _HEAD_BYTES = re.compile(rb"\0\0\0\x04cICP(..)", re.DOTALL), 2**16
# Value of the colour profile of a picture whose profile cannot be read.
_BROKEN_PROFILE = b"broken"
# Exceptions that decoders raise for broken files. Pillow does not document its own.
_BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, struct.error),
    FFmpegError,
)

_Conversion: TypeAlias = Callable[[Image.Image], Image.Image]

Image.MAX_IMAGE_PIXELS = None  # the job's own limit is checked before anything is decoded

# Short side of the video for which margins are given, in pixels.
_SHORT_SIDE = 1080


class _DecodableHeif(HeifPicture):
    """HEIF picture that FFmpeg decodes, tile by tile."""

    clut: VideoFrame | None = None
    """Table that converts colours to sRGB as long as they have all their bits, often ten."""

    def load(self) -> Any:
        if self._im is None:
            picture, *opacity = map(self._decoded, self.layers)
            for layer in opacity:
                picture.putalpha(layer.getchannel("G"))
            self.im = picture.im
        return super().load()

    def _decoded(self, layer: Layer) -> Image.Image:
        picture, missing = Image.new("RGB", self.decoded_size), {*layer.tiles}
        width, height = layer.tile_size
        columns = -(-picture.width // width)
        with open_input(Path(str(self.filename)), "mov", _DECODERS) as container:
            for packet in container.demux(container.streams.video):
                if packet.size and packet.stream.id in missing:
                    clut = self.clut if layer is self.layers[0] else None
                    tile = _decoded_tile(packet, layer, clut)
                    missing.remove(packet.stream.id)
                    for place, item in enumerate(layer.tiles):
                        if item == packet.stream.id:
                            row, column = divmod(place, columns)
                            picture.paste(tile, (column * width, row * height))
        if missing:
            raise ValueError(_NOT_DECODED)
        return picture if picture.size == self.size else picture.crop(self.shown)


def _decoded_tile(
    packet: av.Packet[VideoStream], layer: Layer, clut: VideoFrame | None
) -> Image.Image:
    width, height = size = layer.tile_size
    # A decoder for each tile: together, those of 200 tiles would take 170 MB.
    stored = packet.stream.codec_context
    decoder = av.CodecContext.create(stored.name, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata, decoder.thread_count = stored.extradata, 1
    # The encoded picture may be larger by what fills its blocks.
    pixels = str((width + _BLOCK_PIXELS) * (height + _BLOCK_PIXELS))
    decoder.options = {**_DECODERS, "err_detect": "explode", "max_pixels": pixels}
    frame = next(iter([*decoder.decode(av.Packet(bytes(packet))), *decoder.decode(None)]), None)
    if frame is None or frame.width < width or frame.height < height:
        raise ValueError(_NOT_DECODED)
    if layer.coefficients is not None:
        frame.colorspace, frame.color_range = layer.coefficients
    full, pixels = ColorRange.JPEG, "rgb48le" if clut else "rgb24"
    frame = frame.reformat(
        format=pixels, dst_color_range=full, interpolation=_CONVERSION, threads=1
    )
    del decoder  # frees its frame
    if clut:
        frame = colours.apply_clut(frame, clut)
        frame = frame.reformat(format="rgb24", threads=1)
    plane = frame.planes[0]
    whole, data = (frame.width, frame.height), cast("bytes", plane)
    picture = Image.frombuffer("RGB", whole, data, "raw", "RGB", plane.line_size, 1)
    return picture if whole == size else picture.crop((0, 0, *size))


Image.register_open("HEIF", _DecodableHeif, is_heif)


class FittedPicture(NamedTuple):
    """Picture in RGB, rotated by EXIF and fitted to the video.

    It is larger than the video if it is a panorama, or if a camera magnifies it.
    """

    image: Image.Image
    size: VideoSize
    """Size of the video."""
    focus: Point
    """Position of the focus in the fitted picture."""
    notes: tuple[str, ...] = ()
    """Warnings of what differs from the picture."""


def load_picture(
    path: Path, pixels: int, options: JobOptions, effect: Effect | None = None
) -> FittedPicture:
    """Return the picture, fitted to the video and to the movement of the camera over it."""
    # If no option decides the orientation, the shape of the picture does; a square one becomes
    # landscape. Transparent parts become black if the picture fills the video; otherwise they show
    # the backdrop.
    with _opened(path, IMAGE, pixels) as picture:
        notes = tuple(_notes(picture))
        orientation = _orientation(picture)
        lies = orientation in range(5, 9)
        shown = (picture.height, picture.width) if lies else picture.size
        upright = shown[0] < shown[1] if options.is_portrait is None else options.is_portrait
        size = video_size(options.size, upright=upright)
        panorama = None
        if options.panorama and effect is not None:
            panorama = plan_panorama(shown, size, effect, options.motion_amount)
        contain = options.fit == "contain" and panorama is None
        kept = size
        if panorama is not None:
            kept = VideoSize(*panorama.size)
        elif effect is not None:
            kept = kept_size(shown, size, effect, options.motion_amount, contain=contain)
        placed = contained_size(shown, kept) if contain else kept
        stored = (placed[1], placed[0]) if lies else placed
        picture.draft("RGB", stored)  # decodes a large JPEG at a smaller size, not below this
        focus = stored_point(options.focus, orientation)
        box = _whole(picture) if contain else crop_box(picture.size, stored, focus)
        filled = (_resized if panorama is None else _resized_in_parts)(picture, stored, box)
    del picture  # up to 400 MB, which closing does not free
    filled.getexif()[_ORIENTATION] = orientation
    turned = ImageOps.exif_transpose(filled)
    if contain:
        whole = on_backdrop(turned, kept, options.backdrop, options.focus)
        return FittedPicture(whole, size, _focus(options, placed, _around(placed, kept)), notes)
    if turned.mode == "RGBA":
        black = Image.new("RGBA", turned.size, (0, 0, 0, 255))
        turned = Image.alpha_composite(black, turned)
    point = _focus(options, shown, crop_box(shown, kept, options.focus))
    if panorama is not None and panorama.is_shortened:
        notes = (*notes, "image: too long for a panorama; its ends are left out")
    return FittedPicture(turned.convert("RGB"), size, point, notes)


def _focus(options: JobOptions, size: tuple[int, int], box: Box) -> Point:
    if options.focus == CENTRE:
        return CENTRE  # exactly; sums of fractions would not be
    return position_in_box(options.focus, size, box)


def _around(size: tuple[int, int], frame: tuple[int, int]) -> Box:
    """Return the edges of a frame around a centred picture, in pixels of the picture."""
    left, top = ((outer - inner) / 2 for outer, inner in zip(frame, size, strict=True))
    return -left, -top, size[0] + left, size[1] + top


def _whole(picture: Image.Image) -> Box:
    return 0.0, 0.0, float(picture.width), float(picture.height)


def _resized(picture: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    # A large picture is converted and reduced in strips, because a converted copy of 100 million
    # pixels would take 400 MB. The reduced picture is still at least twice as large as the result,
    # so resampling it well looks the same as resampling the whole.
    picture.load()
    scale = min((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1])
    factor = max(1, int(scale / 2))
    margin = math.ceil(3 * max(1, scale))  # pixels that the kernel reads beyond the box
    if factor == 1 and picture.mode == _mode(picture) == "RGB" and not picture.info[_TO_SRGB]:
        return picture.resize(size, Image.Resampling.LANCZOS, box)  # needs no copy
    left, top = max(0, math.floor(box[0]) - margin), max(0, math.floor(box[1]) - margin)
    right = min(picture.width, math.ceil(box[2]) + margin)
    bottom = min(picture.height, math.ceil(box[3]) + margin)
    rows = factor * max(1, _STRIP_PIXELS // ((right - left) * factor))
    small: Image.Image | None = None
    for row in range(top, bottom, rows):
        strip = _colours(picture.crop((left, row, right, min(row + rows, bottom))))
        strip = strip.convert("RGBa") if strip.mode == "RGBA" else strip
        strip = strip.reduce(factor)
        if small is None:
            small = Image.new(strip.mode, (strip.width, -(-(bottom - top) // factor)))
        small.paste(strip, (0, (row - top) // factor))
    assert small is not None
    within = (
        (box[0] - left) / factor,
        (box[1] - top) / factor,
        min((box[2] - left) / factor, small.width),
        min((box[3] - top) / factor, small.height),
    )
    resized = small.resize(size, Image.Resampling.LANCZOS, within)
    return resized.convert("RGBA") if resized.mode == "RGBa" else resized


def _resized_in_parts(picture: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    """Return the same as `_resized`, part by part, so that a long one takes no more memory."""
    axis = 0 if size[0] >= size[1] else 1
    step = max(1, _STRIP_PIXELS // size[1 - axis])
    scale = (box[2 + axis] - box[axis]) / size[axis]
    whole: Image.Image | None = None
    for start in range(0, size[axis], step):
        end = min(start + step, size[axis])
        low, high = box[axis] + start * scale, min(box[axis] + end * scale, box[2 + axis])
        if axis == 0:
            part = _resized(picture, (end - start, size[1]), (low, box[1], high, box[3]))
        else:
            part = _resized(picture, (size[0], end - start), (box[0], low, box[2], high))
        if whole is None:
            whole = Image.new(part.mode, size)
        whole.paste(part, (start, 0) if axis == 0 else (0, start))
    assert whole is not None
    return whole


def _orientation(picture: Image.Image) -> int:
    # PNG: otherwise getexif loads it, and a second load hides the error. TIFF: loading rotates it.
    if picture.format in {"PNG", "TIFF"}:
        picture.load()
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except (*_BROKEN, TypeError):
        return 1  # the picture itself may be valid


def scaled_watermark(path: Path, pixels: int, width: int, max_height: int) -> Image.Image:
    """Return the watermark in RGBA, scaled to a width in pixels.

    One that is taller than ``max_height`` is cropped at the bottom, an extremely tall one is a
    fault.
    """
    with _opened(path, WATERMARK, pixels) as picture:
        height = max(1, round(picture.height * width / picture.width))
        if height > max_height * _MAX_WATERMARK_PARTS:
            raise InputFaultError(
                WATERMARK,
                f"{picture.width}x{picture.height}",
                "a picture that is less tall in relation to its width",
            )
        visible = min(height, max_height)
        box = (0.0, 0.0, float(picture.width), picture.height * visible / height)
        return _resized(picture, (width, visible), box).convert("RGBA")


def _notes(picture: Image.Image) -> Iterator[str]:
    if picture.info.get("icc_profile") == _BROKEN_PROFILE:
        yield "image: its colour profile cannot be read; its colours are taken for sRGB"
    if codes := picture.info.get(_UNKNOWN_CODES):
        yield f"image: the codes {codes} of its colours are unknown; its colours are taken for sRGB"
    # Others, such as the JPEGs of telephones, have more pictures than their first for other uses.
    if picture.format in {"GIF", "PNG", "WEBP", "HEIF"}:
        with suppress(*_BROKEN):
            if getattr(picture, "is_animated", False):
                yield "image: only the first picture of the animation is shown"


def _mode(picture: Image.Image) -> str:
    return "RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB"


def _to_srgb(picture: Image.Image) -> _Conversion | None:
    """Return the conversion of the colours of a picture; ``None`` if they need none."""
    if codes := picture.info.get(_CODES):
        return _from_codes(picture, codes)
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode.startswith("I"):  # 16 bits
        return None
    from PIL import ImageCms  # noqa: PLC0415 - few renders need it

    mode = _mode(picture)
    given = picture.mode if picture.mode in {"L", "CMYK"} and mode == "RGB" else mode
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        to_srgb = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), given, mode)
    except (ImageCms.PyCMSError, *_BROKEN, TypeError):
        picture.info["icc_profile"] = _BROKEN_PROFILE
        return None
    return lambda part: to_srgb.apply(part if part.mode == given else part.convert(given))


def _from_codes(picture: Image.Image, codes: tuple[int, int]) -> _Conversion | None:
    try:
        clut = colours.srgb_clut(*codes)
    except KeyError:
        picture.info[_UNKNOWN_CODES] = codes
        return None
    if isinstance(picture, _DecodableHeif):
        picture.clut = clut
        return None
    return None if clut is None else lambda part: _looked_up(_plain(part), clut)


def _looked_up(part: Image.Image, clut: VideoFrame) -> Image.Image:
    frame = VideoFrame.from_bytes(part.convert("RGBA").tobytes(), *part.size)
    plane = colours.apply_clut(frame, clut).planes[0]
    data = cast("bytes", plane)
    shown = Image.frombuffer("RGBA", part.size, data, "raw", "RGBA", plane.line_size, 1)
    return shown.convert(part.mode)


def _colours(picture: Image.Image) -> Image.Image:
    to_srgb: _Conversion = picture.info[_TO_SRGB] or _plain
    return to_srgb(picture)


def _plain(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits of grey, even if the mode names another number
        return picture.convert("I").point(lambda value: value / 257).convert("L").convert("RGB")
    mode = _mode(picture)
    return picture if picture.mode == mode else picture.convert(mode)  # no needless copy


@contextmanager
def _opened(path: Path, field: str, pixels: int) -> Generator[Image.Image]:
    """Check a picture, and yield it before it is decoded.

    Errors of the check, and of the decoder within the block, become `InputFaultError`.
    """
    expected = f"a picture ({', '.join(_FORMATS)}) of at most {pixels:,} pixels"
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        input_rules.check_webp(head, pixels)
        with Image.open(path, formats=_FORMATS) as probe:
            input_rules.check_picture(probe, pixels)
            probe.verify()
        del probe  # an open picture keeps memory: for WebP 8 bytes per pixel
        with Image.open(path, formats=_FORMATS) as picture:
            if picture.format == "PNG" and (codes := _PNG_CODES.search(head)):
                picture.info[_CODES] = tuple(codes[1])
            picture.info[_TO_SRGB] = _to_srgb(picture)
            yield picture
    except InvalidInputError as exc:
        raise InputFaultError(field, exc.found, exc.expected) from exc
    except MemoryError:  # may also be one of FFmpeg
        raise
    except _BROKEN as exc:
        raise InputFaultError(field, _complaint(path, exc), expected) from exc


def _complaint(path: Path, exc: BaseException) -> str:
    if path.stat().st_size == 0:
        return "an empty file"
    text = getattr(exc, "strerror", None) or str(exc)
    return text.replace(f"{str(path)!r}", "the file") or type(exc).__name__


class Watermark(NamedTuple):
    """Picture that stays in place over the picture of a video, and lies within it."""

    picture: Image.Image
    """The picture in RGBA."""
    x: int
    y: int

    def paste(self, picture: Image.Image) -> None:
        """Draw the watermark over the picture of a video without camera motion."""
        picture.paste(self.picture, (self.x, self.y), self.picture)


def load_watermark(folder: Path, job: RenderJob, size: VideoSize) -> Watermark:
    """Read the watermark in a job's folder and place it in a video of this size."""
    options = job.options
    margin = round(options.watermark_margin * min(size) / _SHORT_SIDE)
    width = max(1, min(round(options.watermark_width * size.width), size.width - 2 * margin))
    picture = scaled_watermark(folder / WATERMARK, job.image_pixels, width, size.height - margin)
    return Watermark(_with_opacity(picture, options), *_place(picture, options, size, margin))


def _with_opacity(picture: Image.Image, options: JobOptions) -> Image.Image:
    if options.watermark_opacity < 1:
        opacities = [round(value * options.watermark_opacity) for value in range(256)]
        picture.putalpha(picture.getchannel("A").point(opacities))
    return picture


def _place(
    picture: Image.Image, options: JobOptions, size: VideoSize, margin: int
) -> tuple[int, int]:
    down, _, across = options.watermark_position.rpartition("-")
    room_across, room_down = size.width - picture.width, size.height - picture.height
    x = {"left": margin, "right": room_across - margin}.get(across, room_across // 2)
    y = {"top": margin, "bottom": room_down - margin}.get(down or across, room_down // 2)
    return x, y
