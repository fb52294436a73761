"""Render of one scene: the input files in a job's folder become ``video.mp4``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from cloudburst.renderer import process_limits
from cloudburst.renderer.audio import prepare_audio, silent_track
from cloudburst.renderer.audio_track import AudioTrack, open_track
from cloudburst.renderer.gops import write_cover
from cloudburst.renderer.h264_levels import (
    BitrateError,
    BitrateMeter,
    higher_quantizer,
    max_second_bytes,
)
from cloudburst.renderer.job import (
    AUDIO,
    MUSIC,
    SUBTITLE,
    VIDEO_FILE,
    RenderedFile,
    RenderedVideo,
    RenderJob,
)
from cloudburst.renderer.mp4_writer import open_mp4
from cloudburst.renderer.scene import Announce, LoadedScene, load_scene
from cloudburst.renderer.shared_encoding import MIN_SHARED_GOPS, GopEncoding, GopPlan

# Function that is called with the finished part of a render, from 0 to 1.
RenderProgress: TypeAlias = Callable[[float], None]
# Function that is called with the number of GOPs when other processes can encode some of them.
Share: TypeAlias = Callable[[int], None]

# Name of the incomplete video in a job's folder.
PARTIAL_VIDEO_FILE = "video.mp4.part"


def render(
    folder: Path, job: RenderJob, progress: RenderProgress, announce: Announce, share: Share
) -> RenderedVideo:
    """Render the video of a job in its folder, and return the properties of the video.

    The video file gets its final name when it is complete.

    Raises:
        InputFaultError: An input cannot be rendered.
        ConfigurationError: There is no font.
    """
    audio = _prepare_audio(folder, job, announce)
    process_limits.limit_cpu_time(time.process_time() + process_limits.READ_CPU_SECONDS)
    scene = load_scene(folder, job, audio.frames, announce)
    # Only subtitles are drawn while the video is encoded; the other inputs have been read.
    drawn = SUBTITLE if (folder / SUBTITLE).exists() else ""
    process_limits.limit_encode_time(audio.frames, scene.format, drawn)
    chosen = quantizer = scene.source.choose_quantizer()
    while True:
        plan = GopPlan(audio.frames, quantizer, *job.seams)
        encoding = _start_encoding(folder, scene, plan, progress, share)
        try:
            _write(folder / PARTIAL_VIDEO_FILE, scene, audio, encoding, _texts(job))
        except BitrateError as error:
            quantizer = higher_quantizer(quantizer, error)
        else:
            cover = write_cover(folder, scene.source, audio.frames) if job.options.cover else None
            return _finished(folder, scene, audio, cover, less_detail=quantizer > chosen)


def _prepare_audio(folder: Path, job: RenderJob, announce: Announce) -> AudioTrack:
    if (folder / MUSIC).exists() or (job.options.loudness is not None and job.duration is None):
        # Imported here, because most videos do not need it.
        from cloudburst.renderer.mixed_audio import mixed_track  # noqa: PLC0415

        return mixed_track(folder, job, announce)
    if job.duration is not None:
        return silent_track(folder, job.duration, job.options.fps)
    with process_limits.reading_input(AUDIO, announce):
        return prepare_audio(folder, job.audio_seconds, job.options.fps)


def _start_encoding(
    folder: Path, scene: LoadedScene, plan: GopPlan, progress: RenderProgress, share: Share
) -> GopEncoding:
    exchange = None
    # Seams do not count: their groups of pictures are short.
    if scene.costly and len(scene.source.gops(plan.frames)) >= MIN_SHARED_GOPS:
        exchange = plan.exchange(folder)
        plan.write(folder)
        share(len(plan.gops(scene.source)))
    return GopEncoding(scene.source, plan, exchange, lambda done: progress(done / plan.frames))


def _texts(job: RenderJob) -> dict[str, str]:
    title = {} if job.options.title is None else {"title": job.options.title}
    return title | dict(job.options.metadata)


def _write(
    path: Path,
    scene: LoadedScene,
    audio: AudioTrack,
    encoding: GopEncoding,
    texts: Mapping[str, str],
) -> None:
    """Encode the video; raise `BitrateError` if it needs a higher quantizer."""
    meter = BitrateMeter(scene.format, encoding.quantizer)
    with open_track(audio) as track, open_mp4(path, scene.format, track, texts) as video:
        for gop, pictures in encoding.in_order():
            meter.add(len(picture.data) for picture in pictures)
            video.write(gop, pictures)


def _finished(
    folder: Path,
    scene: LoadedScene,
    audio: AudioTrack,
    cover: RenderedFile | None,
    *,
    less_detail: bool,
) -> RenderedVideo:
    partial = folder / PARTIAL_VIDEO_FILE
    video = RenderedFile.measure(partial)
    partial.replace(folder / VIDEO_FILE)
    return RenderedVideo(
        seconds=audio.frames / scene.format.fps,
        frames=audio.frames,
        width=scene.format.size.width,
        height=scene.format.size.height,
        size=video.size,
        sha256=video.sha256,
        warnings=tuple(_warnings(scene, audio, less_detail=less_detail)),
        cover=cover,
    )


def _warnings(scene: LoadedScene, audio: AudioTrack, *, less_detail: bool) -> Iterator[str]:
    yield from scene.warnings
    if audio.replaced_seconds:
        yield f"audio: {audio.replaced_seconds:.2f} s of corrupt data were replaced by silence"
    yield from audio.notes
    if less_detail:
        limit = max_second_bytes(scene.format) * 8 / 1e6
        yield f"image: encoded with less detail, to stay below {limit:.0f} Mbit/s"
