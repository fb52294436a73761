"""Frames of decoded audio: silence, shortened frames and channel layouts.

PyAV 18 frees the channel map of a custom layout twice, such as "2 channels (FR+FL)" from QuickTime
files, which corrupts its memory (PyAV 19.0.2 does not). `keep_custom_layout` prevents this for a
frame; never read the layout of a codec context.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from errno import EAGAIN
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.error import EOFError as EndOfFileError
from av.error import FFmpegError
from av.filter.context import FilterContext

# Samples per second of a video's audio.
SAMPLE_RATE = 48_000
# Sample format of the AAC encoder: 32-bit floating point, one plane for each channel.
SAMPLE_FORMAT = "fltp"

# Arguments of a source of FFmpeg's filters for the sound of a video.
STEREO_SOURCE = (
    f"sample_rate={SAMPLE_RATE}:sample_fmt={SAMPLE_FORMAT}"
    f":channel_layout=stereo:time_base=1/{SAMPLE_RATE}"
)

IS_PYAV_18 = av.__version__.startswith("18.")

# Samples of silence in one frame.
_MAX_SILENCE = SAMPLE_RATE
# Part of the description of a layout that is a list of channels and has no name.
_UNNAMED_LAYOUT = " channels ("
# Layouts that the ffmpeg program assumes for 1 to 8 channels if a file does not name them
# (``av_channel_layout_default``).
_DEFAULT_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")


def open_input(path: Path, file_format: str | None, options: dict[str, str]) -> InputContainer:
    """Open a media file; without a format, FFmpeg guesses it."""
    name = f"file:{path}"
    if IS_PYAV_18:
        # PyAV 18 raises an error for metadata that is not UTF-8; PyAV 19 has no such option.
        return av.open(name, "r", format=file_format, options=options, metadata_errors="replace")
    return av.open(name, "r", format=file_format, options=options)


def keep_custom_layout(frame: AudioFrame) -> None:
    """Prevent PyAV from freeing the channel map of a frame twice, at the cost of a small object."""
    layout = frame.layout
    if IS_PYAV_18 and _UNNAMED_LAYOUT in layout.name:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))


def layout_name(frame: AudioFrame) -> str:
    """Return the channel layout of a frame in FFmpeg's notation.

    A file that names no loudspeakers gets the usual layout for its 1 to 8 channels.
    """
    name = frame.layout.name
    count = frame.layout.nb_channels
    return _DEFAULT_LAYOUTS[count - 1] if name == f"{count} channels" else name


def shortened(frame: AudioFrame, samples: int) -> AudioFrame:
    """Return a frame with the first samples of a frame, or the frame if its layout is unusual."""
    name = layout_name(frame)
    if _UNNAMED_LAYOUT in name or samples >= frame.samples:
        return frame
    short = AudioFrame(frame.format.name, name, samples)
    short.sample_rate = frame.sample_rate
    for target, source in zip(short.planes, frame.planes, strict=True):
        target.update(bytes(source)[: target.buffer_size])
    return short


def silent_frames(samples: int) -> Iterator[AudioFrame]:
    """Yield silence of a length in samples."""
    for start in range(0, samples, _MAX_SILENCE):
        yield silence(min(_MAX_SILENCE, samples - start))


def silence(samples: int) -> AudioFrame:
    """Return a frame of silence in stereo at `SAMPLE_RATE`."""
    frame = AudioFrame(SAMPLE_FORMAT, "stereo", samples)
    frame.sample_rate = SAMPLE_RATE
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


def available_frames(sink: FilterContext) -> Iterator[AudioFrame]:
    """Yield the frames that a graph of filters has finished so far."""
    while True:
        try:
            frame = sink.pull()
        except EndOfFileError:
            return
        except FFmpegError as exc:
            if exc.errno != EAGAIN:
                raise
            return
        assert isinstance(frame, AudioFrame)
        yield frame
