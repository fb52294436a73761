"""Conversion of decoded audio to the format of a video's audio: 48 kHz, stereo, floating point."""

from __future__ import annotations

from errno import EAGAIN
from itertools import pairwise

from av.audio.frame import AudioFrame
from av.error import EOFError as EndOfFileError
from av.error import FFmpegError
from av.filter import Graph

from cloudburst.renderer.audio_frames import SAMPLE_FORMAT, SAMPLE_RATE, layout_name


class StereoConverter:
    """Converter for frames with the sample format, channels and sample rate of its first frame.

    Mono is copied to both channels at full level; FFmpeg's own conversion would lower it by 3 dB.
    More than two channels are mixed as by the ffmpeg program. Floating-point samples are limited to
    full scale, which makes the conversion 5 % slower.
    """

    def __init__(self, frame: AudioFrame) -> None:
        self._parameters = _parameters(frame)
        sample_format, layout, rate = self._parameters
        graph = Graph()
        filters = [
            graph.add(
                "abuffer",
                sample_rate=str(rate),
                sample_fmt=sample_format,
                channel_layout=layout,
                time_base=f"1/{rate}",
            )
        ]
        if frame.layout.nb_channels == 1:
            filters.append(graph.add("pan", "stereo|c0=c0|c1=c0"))
        filters.append(
            graph.add(
                "aformat",
                sample_rates=str(SAMPLE_RATE),
                sample_fmts=SAMPLE_FORMAT,
                channel_layouts="stereo",
            )
        )
        if sample_format.startswith(("flt", "dbl")):
            # The encoder stops at samples that are not finite or huge. Integers limit them.
            filters += (graph.add("aformat", sample_fmts=name) for name in ("s32p", SAMPLE_FORMAT))
        self._sink = graph.add("abuffersink")
        for source, target in pairwise((*filters, self._sink)):
            source.link_to(target)
        graph.configure()
        self._graph = graph

    def accepts(self, frame: AudioFrame) -> bool:
        """Return whether the frame has the parameters of the first frame."""
        return _parameters(frame) == self._parameters

    def convert(self, frame: AudioFrame | None) -> list[AudioFrame]:
        """Return the converted audio that is available after a frame.

        ``None`` ends the audio: the result is the rest, and the converter cannot be used again.
        """
        if frame is not None:
            frame.pts = None  # the audio is continuous; the times in the file are ignored
        self._graph.push(frame)
        converted: list[AudioFrame] = []
        while True:
            try:
                pulled = self._sink.pull()
            except EndOfFileError:
                return converted
            except FFmpegError as exc:
                if exc.errno != EAGAIN:
                    raise
                return converted
            assert isinstance(pulled, AudioFrame)
            converted.append(pulled)


def _parameters(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, layout_name(frame), frame.sample_rate
