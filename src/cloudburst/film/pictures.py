"""Pictures of a film: those of the scenes, copied, and encoded again only where a transition is.

Frames of a video that was rendered for a film are in groups of pictures of their own where its
transitions are. In other videos, frames that refer to those of a transition are encoded again, too:
up to 15 before the end of a scene, and at its start the rest of the first group of pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import NamedTuple, TypeAlias

from av.video.frame import VideoFrame
from PIL import Image

from cloudburst.film.scene_video import OpenVideo, SceneVideo, StoredGop, length_prefixed
from cloudburst.film.timeline import ScenePlace, Timeline
from cloudburst.models.video_format import VideoFormat
from cloudburst.renderer.encoder import EncodedPicture, GopEncoder, without_settings
from cloudburst.renderer.frames import Frame, plane_images
from cloudburst.renderer.planes import BLACK, Planes, uniform
from cloudburst.renderer.quantizers import STILL_TRIAL_QUANTIZER


def mixed(first: VideoFrame, second: VideoFrame, share: float) -> VideoFrame:
    """Return a mixture of two frames; ``share`` is the share of the second, from 0 to 1."""
    pairs = zip(plane_images(first), plane_images(second), strict=True)
    return _frame(first, [Image.blend(one, other, share) for one, other in pairs])


def darkened(frame: VideoFrame, brightness: float) -> VideoFrame:
    """Return a frame mixed with black; a ``brightness`` of 0 is black, and 1 is the frame."""
    pairs = zip(plane_images(frame), BLACK, strict=True)
    return _frame(
        frame,
        [
            Image.blend(Image.new("L", plane.size, black), plane, brightness)
            for plane, black in pairs
        ],
    )


def _frame(like: VideoFrame, planes: list[Image.Image]) -> VideoFrame:
    target = Frame(like.width, like.height)
    y, u, v = (plane.tobytes() for plane in planes)
    target.fill(Planes(like.width, like.height, y, u, v))
    return target.video


class FilmPicture(NamedTuple):
    """Encoded picture of a film."""

    data: bytes
    """NAL units, each after its length in 4 bytes."""
    frame: int
    """Number of the frame in the film when it is displayed, from 0."""
    is_key: bool


class _DecodedFrame(NamedTuple):
    number: int
    """Number of the frame in its scene, from 0."""
    picture: VideoFrame
    quantizer: int
    """Quantizer of the scene."""


_Piece: TypeAlias = StoredGop | _DecodedFrame


def film_pictures(videos: Iterable[OpenVideo], timeline: Timeline) -> Iterator[FilmPicture]:
    """Yield the pictures of a film in decoding order; each video is opened when it is needed."""
    previous: _PlacedScene | None = None
    with ExitStack() as held:
        for place, opening in zip(timeline.places, videos, strict=True):
            current = ExitStack()
            scene = _PlacedScene(current.enter_context(opening), place)
            if previous is not None:
                yield from _gap(previous, scene)
                yield from _crossfade(previous, scene)
            held.close()  # the previous scene was open until here, to be mixed with this one
            held.push(current)
            yield from scene.body()
            previous = scene


class _PlacedScene:
    def __init__(self, video: SceneVideo, place: ScenePlace) -> None:
        self.place = place
        self.format = VideoFormat(video.size, round(video.fps))
        self._pieces = _pieces(video, place)

    def next_frame(self) -> _DecodedFrame:
        piece = next(self._pieces)
        assert isinstance(piece, _DecodedFrame), "frames of transitions are decoded"
        return piece

    def body(self) -> Iterator[FilmPicture]:
        """Yield the pictures of the scene without the frames that are mixed with other scenes."""
        start, position, end = self.place.start, self.place.body, self.place.end
        gop: _NewGop | None = None
        while position < end:
            piece = next(self._pieces)
            if isinstance(piece, _DecodedFrame):
                gop = gop or _NewGop(start + position, self.format, piece.quantizer)
                gop.add(self._faded(piece))
                position += 1
                continue
            if gop is not None:
                yield from gop.finish()
                gop = None
            for number, picture in enumerate(piece.pictures):
                yield FilmPicture(picture.data, start + picture.frame, is_key=number == 0)
            position = piece.end
        if gop is not None:
            yield from gop.finish()

    def _faded(self, frame: _DecodedFrame) -> VideoFrame:
        """Return a frame of a fade: the frames next to another scene are black."""
        head, tail = self.place.head, self.place.tail
        from_end = self.place.frames - 1 - frame.number
        brightness = min(
            frame.number / head if head else 1.0, from_end / tail if tail else 1.0, 1.0
        )
        return frame.picture if brightness == 1.0 else darkened(frame.picture, brightness)


def _gap(old: _PlacedScene, new: _PlacedScene) -> Iterator[FilmPicture]:
    start = old.place.start + old.place.end
    if start == new.place.start:
        return
    black = Frame(*new.format.size)
    black.fill(uniform(*new.format.size, BLACK))
    gop = _NewGop(start, new.format, STILL_TRIAL_QUANTIZER)
    for _ in range(start, new.place.start):
        gop.add(black.video)
    yield from gop.finish()


def _crossfade(old: _PlacedScene, new: _PlacedScene) -> Iterator[FilmPicture]:
    count = new.place.body
    gop: _NewGop | None = None
    for number in range(count):
        first, second = old.next_frame(), new.next_frame()
        # The higher quantizer of both, because a mixture has less detail than its parts.
        quantizer = max(first.quantizer, second.quantizer)
        gop = gop or _NewGop(new.place.start, new.format, quantizer)
        gop.add(mixed(first.picture, second.picture, (number + 1) / (count + 1)))
    if gop is not None:
        yield from gop.finish()


class _NewGop:
    """Group of pictures that is encoded for the film, from its frame ``first`` on."""

    def __init__(self, first: int, video_format: VideoFormat, quantizer: int) -> None:
        self._first = first
        self._format, self._quantizer = video_format, quantizer
        self._encoder = GopEncoder(video_format, quantizer)
        self._pictures: list[EncodedPicture] = []
        self._only: VideoFrame | None = None
        """First frame, as long as there are no others."""
        self._frames = 0

    def add(self, frame: VideoFrame) -> None:
        """Encode the next frame."""
        self._only = frame if self._frames == 0 else None
        self._frames += 1
        self._pictures += self._encoder.add(frame)

    def finish(self) -> Iterator[FilmPicture]:
        """Yield all pictures in decoding order."""
        if self._only is not None:
            yield FilmPicture(self._second_idr(self._only), self._first, is_key=True)
            return
        for picture in (*self._pictures, *self._encoder.finish()):
            data = length_prefixed(without_settings(picture.data))
            yield FilmPicture(data, self._first + picture.position, is_key=picture.position == 0)

    def _second_idr(self, frame: VideoFrame) -> bytes:
        """Return a frame as an IDR picture that an IDR picture of another encoder may follow."""
        # The ``idr_pic_id`` of two IDR pictures in a row must differ (H.264, section 7.4.3). It is
        # 0 in the first picture of an encoder and 1 in the second one.
        encoder = GopEncoder(self._format, self._quantizer)
        pictures = [*encoder.add_idr(frame), *encoder.add_idr(frame), *encoder.finish()]
        return length_prefixed(without_settings(pictures[1].data))


def _pieces(video: SceneVideo, place: ScenePlace) -> Iterator[_Piece]:
    """Yield a scene in its order: what can be copied as it is stored, and the rest decoded."""
    end = place.frames - place.tail
    quantizer: int | None = None
    for gop in video.gops():
        quantizer = video.quantizer(gop) if quantizer is None else quantizer
        kept = len(gop.pictures)
        if gop.first < place.head:
            kept = 0
        elif gop.end > end:
            kept = gop.closed_prefix(end - gop.first)
        if kept == 1:
            kept = 0  # encoded again, because another IDR picture follows: see `_NewGop`
        if kept:
            yield StoredGop(gop.first, gop.pictures[:kept])
        if kept < len(gop.pictures):
            for number, picture in enumerate(video.decode(gop), gop.first):
                if number >= gop.first + kept:
                    yield _DecodedFrame(number, picture, quantizer)
