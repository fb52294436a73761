"""Work of a scene, by which the encode times of scenes are compared."""

# The unit is the second of a video in 1080p at 30 frames per second, all of whose pictures are
# encoded by libx264. All constants were measured on our own render service with
# ``benchmarks/plan.py --work`` (table in ``benchmarks/README.md``): such a second takes 0.17 CPU
# seconds.

from __future__ import annotations

import math
from collections.abc import Iterable

from cloudburst.models.scene import CheckedScene
from cloudburst.models.video_format import DEFAULT_AMOUNT, DEFAULT_FPS, VideoFormat, video_size

# Work of every scene in addition to its length, for the start of a process and the reading of the
# files.
BASE_WORK = 1.8
# Part of `BASE_WORK` in proportion to the pixels of a frame; the whole is for 1920x1080.
FRAME_WORK = 1.1
# Work for each second of a scene with camera motion, most of whose pictures follow from the
# camera: of its first 30 s, and of all others. In longer scenes the camera is slower.
MOTION_WORK_PER_SECOND, LONG_MOTION_WORK_PER_SECOND = 0.34, 0.18
LONG_MOTION_SECONDS = 30
# Exponent of the pixels per second in that work.
MOTION_EXPONENT = 0.8
# Work of text or a watermark over a movement by `DEFAULT_AMOUNT`. It needs more pictures of
# libx264, whose number depends on how far the picture moves, and not on the length.
TEXT_OVER_MOTION_WORK = 1.3
# Work for each second of a scene without camera motion and subtitles. Its video repeats a few
# encoded frames, so this is nearly all for the audio.
STILL_WORK_PER_SECOND = 0.04
# Work for each second of a scene with subtitles and without camera motion. A few frames are
# encoded at each change of the subtitles; one cue every 3 s was measured.
STILL_SUBTITLE_WORK_PER_SECOND = 0.125
# Work for each second of a scene with music. To decode the voice once more and to mix it with the
# music takes a third to half as long as to encode it.
MUSIC_WORK_PER_SECOND = 0.02
# Work for each second of a scene with a wanted loudness. The sound is decoded and measured before
# it is encoded, which takes 0.8 times as long as to encode it.
LOUDNESS_WORK_PER_SECOND = 0.03
# Work for each megabyte of the picture's file. It depends more on the size of the file than on
# the number of pixels, because a JPEG can be decoded at a smaller size.
WORK_PER_MEGABYTE = 0.18

# Work from which a scene is assumed to be encoded by several slots: the render service shares
# videos of at least six GOPs of 5 s. It shares none without camera motion and subtitles, and
# such a scene has as much work only if it is 4 minutes long. Longer ones are predicted too short,
# by up to a half with two slots.
MIN_SHARED_WORK = BASE_WORK + 25 * MOTION_WORK_PER_SECOND
# Work for which an idle slot is busy, or waits, in shared encoding without shortening it: the
# slot must be idle for half a second (about `BASE_WORK`) before it is used, the process starts
# and reads the files (`BASE_WORK`), and in the mean it ends half a GOP before or after the other
# slots.
SHARED_START_WORK = 2 * BASE_WORK + 2.5 * MOTION_WORK_PER_SECOND
# Least work in a row of a shared scene, for any number of slots: the start of the render process,
# the start of shared encoding, and one GOP of 5 s.
SHORTEST_SHARED_WORK = 3 * BASE_WORK + 5 * MOTION_WORK_PER_SECOND


# Work for each second of a film, nearly all for its sound: 0.014 CPU seconds.
FILM_WORK_PER_SECOND = 0.08
# Work for each transition of a film: 0.3 CPU seconds for half a second in 1080p, rounded up.
TRANSITION_WORK = 2.0


def film_work(seconds: float, transitions: int) -> float:
    """Return the work of a film, in seconds."""
    return BASE_WORK + FILM_WORK_PER_SECOND * seconds + TRANSITION_WORK * transitions


def scene_work(scene: CheckedScene) -> float:
    """Return the work of a scene, in seconds."""
    seconds, options = scene.audio_seconds, scene.options
    size = video_size(options.size, upright=False)  # portrait videos have as many pixels
    area = VideoFormat(size).pixel_rate
    # The pixels of each second decide the work of frames that are all encoded, and the pixels of a
    # frame that of others; the rest is for the audio.
    moving = STILL_WORK_PER_SECOND + (1 - STILL_WORK_PER_SECOND) * area * options.fps / DEFAULT_FPS
    captions = (STILL_SUBTITLE_WORK_PER_SECOND - STILL_WORK_PER_SECOND) * area
    fading = min(options.fade_in + options.fade_out, seconds)  # all frames are encoded
    if options.effect_for(scene.scene.name) is not None:
        video = moving * (seconds - fading)
        if not options.motion_search:
            video = min(video, _motion_work(scene, seconds - fading, area))
        video += moving * fading
    elif scene.scene.subtitle is not None:
        video = moving * fading + (STILL_WORK_PER_SECOND + captions) * (seconds - fading)
    else:
        video = moving * fading + STILL_WORK_PER_SECOND * (seconds - fading)
    if options.music is not None:
        video += MUSIC_WORK_PER_SECOND * seconds
    if options.loudness is not None:
        video += LOUDNESS_WORK_PER_SECOND * seconds
    video += BASE_WORK + FRAME_WORK * (area - 1)
    return video + WORK_PER_MEGABYTE * scene.image_bytes / 1e6


def _motion_work(scene: CheckedScene, seconds: float, area: float) -> float:
    options = scene.options
    first = min(seconds, LONG_MOTION_SECONDS * DEFAULT_FPS / options.fps)
    length = first * MOTION_WORK_PER_SECOND + (seconds - first) * LONG_MOTION_WORK_PER_SECOND
    work = length * math.pow(area * options.fps / DEFAULT_FPS, MOTION_EXPONENT)
    if scene.scene.subtitle is None and options.watermark is None:
        return work
    return work + TEXT_OVER_MOTION_WORK * area * options.motion_amount / DEFAULT_AMOUNT


def total_upload_size(scenes: Iterable[CheckedScene]) -> int:
    """Return how many bytes are sent for scenes, of which each file counts once."""
    sizes = {path: file.size for scene in scenes for path, file in scene.versions.items()}
    return sum(sizes.values())
