"""Finished video of a scene, opened to be joined with others.

The file is untrusted: only MP4 with H.264 and AAC is read, every property that joining relies on is
checked, and a file that differs is a `FilmFaultError`.
"""

# PyAV's types of `decode` are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeAlias

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from cloudburst.files import require_regular_file
from cloudburst.film.plan import FilmFaultError, FilmScene
from cloudburst.models.video_format import FRAME_RATES, MAX_SIDE, VideoFormat, VideoSize
from cloudburst.renderer.audio_frames import SAMPLE_RATE, open_input
from cloudburst.renderer.encoder import MAX_GOP_BYTES, configure

# Types of NAL units (H.264, table 7-1).
IDR, SPS, PPS = 5, 7, 8
_START_CODE = re.compile(b"\0*\0\0\1")
# ``AV_CODEC_FLAG_GLOBAL_HEADER``: parameter sets are stored in ``extradata``.
_GLOBAL_HEADER = 1 << 22

# Quantizer for parts of a video that are encoded again, if the video does not name its own.
_DEFAULT_QUANTIZER = 21
# Pattern of the settings that libx264 writes into the first picture of a video.
_QUANTIZER = re.compile(rb"x264 .{0,2000}? qp=(\d{1,2}) ", re.DOTALL)
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov",
    "codec_whitelist": "h264,aac",
}
_OURS = "expected a video that this version of cloudburst has rendered"


def length_prefixed(data: bytes) -> bytes:
    """Return a picture of the encoder in the form of MP4: lengths of 4 bytes, no start codes."""
    units = _START_CODE.split(data)
    return b"".join(len(unit).to_bytes(4) + unit for unit in units if unit)


def is_idr(data: bytes) -> bool:
    """Return whether a picture of an MP4 file, with lengths of 4 bytes, is an IDR picture."""
    position = 0
    while position + 4 < len(data):
        if data[position + 4] & 0x1F == IDR:
            return True
        position += 4 + int.from_bytes(data[position : position + 4])
    return False


def stored_sets(configuration: bytes) -> list[bytes] | None:
    """Return the parameter sets in the decoder configuration record of an MP4 file.

    Return ``None`` for another record, and for one whose pictures have lengths of other than 4
    bytes.
    """
    if len(configuration) < 7 or configuration[0] != 1 or configuration[4] & 3 != 3:
        return None
    units: list[bytes] = []
    position = 5
    for mask in (0x1F, 0xFF):
        count, position = configuration[position : position + 1], position + 1
        for _ in range(count[0] & mask if count else 0):
            size = int.from_bytes(configuration[position : position + 2])
            units.append(configuration[position + 2 : position + 2 + size])
            position += 2 + size
    return units


def our_sets(size: VideoSize, fps: Fraction) -> list[bytes] | None:
    """Return the parameter sets of this package's videos of a size and frame rate.

    Return ``None`` if this package makes no videos of this kind.
    """
    if fps not in FRAME_RATES or any(side % 2 or side > MAX_SIDE for side in size):
        return None
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, VideoCodecContext)
    configure(context, VideoFormat(size, int(fps)))
    context.flags |= _GLOBAL_HEADER
    context.open()
    units = _START_CODE.split(context.extradata or b"")
    return [unit for unit in units if unit and unit[0] & 0x1F in (SPS, PPS)]


class StoredPicture(NamedTuple):
    """Encoded picture of a file."""

    data: bytes
    """NAL units, each after its length in 4 bytes."""
    frame: int
    """Number of the frame in its video when it is displayed, from 0."""


class StoredGop(NamedTuple):
    """Group of pictures that refers to no others."""

    first: int
    """Number of its first frame in the video, from 0."""
    pictures: list[StoredPicture]
    """Pictures in decoding order."""

    @property
    def end(self) -> int:
        """Number of the frame after its last one."""
        return self.first + len(self.pictures)

    def closed_prefix(self, frames: int) -> int:
        """Return how many of the first pictures can be shown without the rest.

        They show the frames from the first one on without a gap, and at most ``frames``.
        """
        kept, last = 0, -1
        for count, picture in enumerate(self.pictures[: max(0, frames)], 1):
            last = max(last, picture.frame - self.first)
            if last == count - 1:
                kept = count
        return kept


class SceneVideo:
    """Finished video of one scene, opened for reading."""

    def __init__(self, scene: FilmScene, container: InputContainer) -> None:
        self.scene = scene
        self.container = container
        if len(container.streams.video) != 1 or len(container.streams.audio) != 1:
            raise self.fault("not one picture and one sound")
        self.stream = container.streams.video[0]
        context = self.stream.codec_context
        self.size = VideoSize(context.width, context.height)
        # PyAV 19, which Python 3.12 and later install, returns a type of its own without ``int()``.
        self.fps = Fraction(self.stream.average_rate or 0)
        self.frames = self.stream.frames
        """Length of the video, in frames."""
        if context.name != "h264" or self.fps <= 0 or self.frames <= 0:
            raise self.fault("not H.264 with a constant frame rate")
        sound = container.streams.audio[0].codec_context
        if (sound.name, sound.sample_rate) != ("aac", SAMPLE_RATE):
            raise self.fault(f"not AAC with {SAMPLE_RATE} samples per second")
        self.parameter_sets = stored_sets(context.extradata or b"")

    def fault(self, found: str) -> FilmFaultError:
        """Return an error for the video: it cannot be joined."""
        return FilmFaultError(f"{self.scene.name}: {self.scene.video}: {found}; {_OURS}")

    def check_ours(self) -> None:
        """Raise `FilmFaultError` unless the video has the parameter sets of our encoder."""
        if self.parameter_sets != our_sets(self.size, self.fps):
            raise self.fault("H.264 of another encoder, or with other settings")

    def gops(self) -> Iterator[StoredGop]:
        """Yield the groups of pictures in their order; each is checked."""
        pictures: list[StoredPicture] = []
        size = first = 0
        with self.reporting_faults():
            for packet in self.container.demux(self.stream):
                if not packet.size or packet.pts is None:
                    continue  # the last packet is empty
                if packet.is_keyframe and pictures:
                    yield self._checked(StoredGop(first, pictures))
                    first += len(pictures)
                    pictures, size = [], 0
                at = packet.pts * packet.time_base * self.fps
                pictures.append(StoredPicture(bytes(packet), round(at)))
                size += packet.size
                if size > MAX_GOP_BYTES:
                    raise self.fault(f"more than {MAX_GOP_BYTES // 10**6} MB between key frames")
                if at.denominator != 1:
                    raise self.fault("pictures at times between frames")
        if pictures:
            yield self._checked(StoredGop(first, pictures))
            first += len(pictures)
        if first != self.frames:
            raise self.fault(f"{first} pictures, {self.frames} according to its index")

    def decode(self, gop: StoredGop) -> Iterator[VideoFrame]:
        """Yield the frames of a group of pictures, in the order of display."""
        context = av.CodecContext.create("h264", "r")
        assert isinstance(context, VideoCodecContext)
        context.extradata = self.stream.codec_context.extradata
        context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        context.thread_count = 1
        count = 0
        with self.reporting_faults():
            for picture in (*gop.pictures, None):
                packet = None if picture is None else av.Packet(picture.data)
                if packet is not None and picture is not None:
                    packet.pts = picture.frame
                for frame in context.decode(packet):
                    count += 1
                    yield frame
        if count != len(gop.pictures):
            raise self.fault("pictures that cannot be decoded")

    def _checked(self, gop: StoredGop) -> StoredGop:
        frames = sorted(picture.frame for picture in gop.pictures)
        if frames != list(range(gop.first, gop.end)) or not is_idr(gop.pictures[0].data):
            raise self.fault("groups of pictures that refer to each other")
        return gop

    def quantizer(self, first: StoredGop) -> int:
        """Return the quantizer of the video, which its first group of pictures names."""
        found = _QUANTIZER.search(first.pictures[0].data[:4096])
        return int(found[1]) if found else _DEFAULT_QUANTIZER

    @contextmanager
    def reporting_faults(self, found: str = "damaged") -> Generator[None]:
        """Raise `FilmFaultError` for errors of the block that the content of the video causes."""
        try:
            yield
        except MemoryError:
            raise
        except (FFmpegError, ValueError, ArithmeticError, LookupError) as exc:
            text = getattr(exc, "strerror", None) or str(exc)
            raise self.fault(f"{found} ({text})") from exc


# Video that is opened on entry and closed on exit; see `open_video`.
OpenVideo: TypeAlias = AbstractContextManager[SceneVideo]


@contextmanager
def open_video(scene: FilmScene) -> Generator[SceneVideo]:
    """Open the finished video of a scene, and close it after the block.

    Raises:
        FilmFaultError: The file cannot be read, or is not an MP4 with H.264 and AAC.
    """
    try:
        path = Path(scene.video)
        require_regular_file(path.stat(), path)
        container = open_input(path, "mov", _OPTIONS)
    except MemoryError:
        raise
    except (OSError, FFmpegError, ValueError) as exc:
        text = getattr(exc, "strerror", None) or str(exc)
        raise FilmFaultError(f"{scene.name}: {scene.video}: {text}; {_OURS}") from exc
    with container:
        yield SceneVideo(scene, container)
