"""Writer of a film's MP4 file: pictures beside sound, chapters, and the index at the start."""

# PyAV's types of `encode`, `mux` and `add_stream_from_template` are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import av
from av.audio.frame import AudioFrame
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from cloudburst.film.pictures import FilmPicture
from cloudburst.film.plan import fingerprint_tag
from cloudburst.film.timeline import Timeline
from cloudburst.renderer.mp4_writer import MP4_OPTIONS, picture_packet
from cloudburst.renderer.sound_encoder import PACKET_SAMPLES, SoundEncoder, sound_packet

if TYPE_CHECKING:
    from av.container.core import Chapter  # a type only

# Number of sound packets that are encoded ahead of the pictures, about 4 s.
_AHEAD = 200

_Item = TypeVar("_Item")


def write_film(
    path: Path,
    *,
    template: VideoStream,
    timeline: Timeline,
    titles: Sequence[str],
    fingerprint: str,
    pictures: Iterable[FilmPicture],
    sound: Iterable[AudioFrame],
    progress: Callable[[int], None],
) -> None:
    """Write the file of a film, or replace it; ``pictures`` are in decoding order."""
    with av.open(f"file:{path}", "w", format="mp4", options=MP4_OPTIONS) as container:
        video = container.add_stream_from_template(template)
        encoder = SoundEncoder(container)
        container.set_chapters(_chapters(timeline, titles))
        container.metadata["comment"] = fingerprint_tag(fingerprint)
        container.start_encoding()
        packets = _ahead(_encoded(encoder, sound, timeline.samples(timeline.frames)))
        late: Packet[Stream] | None = None
        for number, picture in enumerate(pictures):
            shown = timeline.samples(number + 1)
            while late is None or (late.pts or 0) < shown:
                if late is not None:
                    container.mux(late)
                if (late := next(packets, None)) is None:
                    break
                late.stream = encoder.stream
            packet = picture_packet(picture.data, picture.frame, number)
            packet.stream, packet.time_base = video, 1 / timeline.fps
            packet.is_keyframe = picture.is_key
            container.mux(packet)
            progress(number + 1)
        for packet in packets if late is None else (late, *packets):
            packet.stream = encoder.stream
            container.mux(packet)


def _chapters(timeline: Timeline, titles: Sequence[str]) -> list[Chapter]:
    starts = [place.start for place in timeline.places]
    ends = [*starts[1:], timeline.frames]
    return [
        {
            "id": number,
            "start": start,
            "end": end,
            "time_base": 1 / timeline.fps,
            "metadata": {"title": title},
        }
        for number, (start, end, title) in enumerate(zip(starts, ends, titles, strict=True), 1)
    ]


def _encoded(
    encoder: SoundEncoder, sound: Iterable[AudioFrame], samples: int
) -> Iterator[Packet[Stream]]:
    # The last packet is as long as what a player plays of it.
    start = -PACKET_SAMPLES  # FFmpeg's encoder begins with one packet that is not played
    for data in chain.from_iterable(map(encoder.encode, chain(sound, (None,)))):
        if start >= samples:
            return
        yield sound_packet(data, start, min(PACKET_SAMPLES, samples - start))
        start += PACKET_SAMPLES


def _ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield items that a thread takes from an iterator, up to `_AHEAD` in advance."""
    # The thread does not outlast the process, and an error of the iterator is raised here.
    ready: queue.Queue[_Item | BaseException | None] = queue.Queue(_AHEAD)

    def take() -> None:
        try:
            for item in items:
                ready.put(item)
        except BaseException as exc:  # noqa: BLE001 - raised in the other thread
            ready.put(exc)
        else:
            ready.put(None)

    threading.Thread(target=take, daemon=True).start()
    while (item := ready.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item
