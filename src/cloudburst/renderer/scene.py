"""Scene of a job: its picture, watermark and subtitles, read and ready to be encoded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, TypeAlias

from PIL import Image

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import MAX_SUBTITLE_BYTES, Cue, read_subtitles
from cloudburst.media.subtitles.cues import with_capitals
from cloudburst.models.video_format import Effect, VideoFormat, video_size
from cloudburst.renderer import pictures, process_limits
from cloudburst.renderer.fades import FadedStillVideo, FadedTrack, Fades, plan_fades
from cloudburst.renderer.fitting import BLUR, CENTRE
from cloudburst.renderer.fonts import Font, load_font
from cloudburst.renderer.frames import Frame
from cloudburst.renderer.gops import GopSource
from cloudburst.renderer.job import (
    FONT,
    IMAGE,
    SUBTITLE,
    WATERMARK,
    InputFaultError,
    JobOptions,
    RenderJob,
)
from cloudburst.renderer.letters import Letters
from cloudburst.renderer.missing_glyphs import left_out_warnings
from cloudburst.renderer.motion import Camera
from cloudburst.renderer.motion_video import MotionVideo
from cloudburst.renderer.pictures import FittedPicture, Watermark, load_watermark
from cloudburst.renderer.planes import (
    Planes,
    Rgba,
    to_picture,
    to_picture_layer,
    to_planes,
    uniform,
)
from cloudburst.renderer.still_video import RepetitionError, StillVideo
from cloudburst.renderer.subtitle_painter import CueArea, SubtitlePainter
from cloudburst.renderer.subtitle_style import SubtitleStyle, subtitle_style
from cloudburst.renderer.subtitle_track import SubtitleTrack, subtitle_states
from cloudburst.renderer.text_layout import layout, line_breaks, plain_text

log = logging.getLogger("cloudburst.renderer")

# Colour of a title card if the option ``backdrop`` names none, a dark blue.
_CARD_COLOUR = "#14213d"
# Largest height of the letters of a title card, relative to those of subtitles, and the factor by
# which it is reduced until the text fits into `_CARD_SHARE` of the height of the video.
_MAX_CARD_SCALE, _CARD_STEP, _CARD_SHARE = 2.0, 0.95, 0.8
# Smallest height of letters to which a title card is reduced so that no word is broken.
_WHOLE_WORDS_SCALE = 0.7
# Number of ignored features of the subtitles that a warning names.
MAX_NAMED_FEATURES = 12
# Centre of the picture as a position of a cue.
_CENTRE = 5

# Function that is called with the name of an input before it is read, and with an empty text
# afterwards.
Announce: TypeAlias = Callable[[str], None]


class LoadedScene(NamedTuple):
    """Scene whose files have been read, except its audio."""

    format: VideoFormat
    source: GopSource
    costly: bool
    """True if its GOPs take enough CPU time to be worth sharing."""
    warnings: tuple[str, ...]
    """Differences from the picture and the subtitles, as texts."""


def load_scene(
    folder: Path, job: RenderJob, frames: int, announce: Announce, *, encodes: bool = True
) -> LoadedScene:
    """Read the picture, the watermark, the fonts and the subtitles of a job.

    ``encodes`` is false only to draw frames, which takes less preparation.

    Raises:
        InputFaultError: An input cannot be rendered.
        ConfigurationError: There is no font.
    """
    if job.title_card is None:
        with process_limits.reading_input(IMAGE, announce):
            fitted = pictures.load_picture(
                folder / IMAGE, job.image_pixels, job.options, job.effect
            )
    else:
        fonts = _load_fonts(folder, job, announce)
        with process_limits.reading_input(FONT, announce):
            fitted = _draw_title_card(job.title_card, job.options, fonts)
    picture, video_format = fitted.image, VideoFormat(fitted.size, job.options.fps)
    mark = None
    if (folder / WATERMARK).exists():
        with process_limits.reading_input(WATERMARK, announce):
            mark = load_watermark(folder, job, video_format.size)
    subtitled = (folder / SUBTITLE).exists()
    track, warnings = SubtitleTrack(), fitted.notes
    if subtitled:
        track, of_subtitles = _load_subtitles(
            folder, job, video_format, frames, announce, mark=mark
        )
        warnings = (*of_subtitles, *warnings)
    effect, options = job.effect, job.options
    fades = plan_fades(options.fade_in, options.fade_out, frames, options.fps)
    source: GopSource
    if effect is None:
        source = _still_video(
            picture, mark, frames, track, fades, fps=video_format.fps, encodes=encodes
        )
    else:
        source = MotionVideo(
            to_planes(picture),
            frames,
            _camera(effect, fitted, job),
            None if mark is None else to_picture_layer(*mark),
            _with_fades(track, fades, video_format.size),
            fps=video_format.fps,
            search=options.motion_search,
        )
    costly = effect is not None or subtitled
    return LoadedScene(video_format, source, costly, warnings)


def _load_fonts(folder: Path, job: RenderJob, announce: Announce) -> list[Font]:
    with process_limits.reading_input(FONT, announce):
        return [load_font(folder, name) for name in job.options.font]


def _draw_title_card(text: str, options: JobOptions, fonts: Sequence[Font]) -> FittedPicture:
    size = video_size(options.size, upright=bool(options.is_portrait))
    text = text.upper() if options.uppercase else text
    outline = options.outline_width or 0.0
    plain = replace(
        options,
        background_box=False,
        outline_width=outline,
        subtitle_lines=0,
        words_at_once=0,
        highlight="none",
    )
    style = subtitle_style(plain, *size)
    scale = _card_scale(text, style, Letters(fonts, style.size), size.height)
    style = style._replace(
        size=style.size * scale,
        outline=style.outline * scale,
        shadow=style.shadow * scale,
        shadow_blur=style.shadow_blur * scale,
    )
    painter = SubtitlePainter([Cue(0, 1, text, _CENTRE)], style, fonts, *size)
    try:
        missing = painter.left_out()
    except InvalidInputError as exc:
        raise InputFaultError("title_card", exc.found, exc.expected) from exc
    if any(font.is_input for font in fonts):
        painter.check_font()
    colour = _CARD_COLOUR if options.backdrop == BLUR else options.backdrop
    canvas = Frame(*size)
    canvas.fill(uniform(*size, Rgba.parse(colour).yuv))
    for layer in painter.paint([0]):
        canvas.blend(layer)
    notes = tuple(left_out_warnings("title_card", missing))
    return FittedPicture(to_picture(canvas.read()), size, CENTRE, notes)


def _card_scale(text: str, style: SubtitleStyle, letters: Letters, height: int) -> float:
    """Return the height of the letters of a title card, relative to those of subtitles."""
    plain = plain_text(text)
    ends = pairwise((0, *line_breaks(plain), len(plain)))
    words = (letters.shape(plain[start:end].rstrip()) for start, end in ends)
    widest = max(sum(glyph.advance for glyph in word) for word in words)
    scale = _MAX_CARD_SCALE
    while True:
        room = style.room / scale
        lines = layout(text, bold=style.bold, room=room, letters=letters)
        fits = len(lines) * style.size * scale <= _CARD_SHARE * height
        if fits and (widest <= room or scale < _WHOLE_WORDS_SCALE):
            return scale
        scale *= _CARD_STEP


def _load_subtitles(
    folder: Path,
    job: RenderJob,
    video_format: VideoFormat,
    frames: int,
    announce: Announce,
    *,
    mark: Watermark | None,
) -> tuple[SubtitleTrack, tuple[str, ...]]:
    # Each letter of a job's font is drawn once, to find errors of the font.
    fonts = _load_fonts(folder, job, announce)
    with process_limits.reading_input(SUBTITLE, announce):
        track, notes = _read_subtitles(
            folder / SUBTITLE, job, video_format, frames, fonts, mark=mark
        )
    if any(font.is_input for font in fonts):
        with process_limits.reading_input(FONT, announce):
            track.check_font()
    return track, notes


def _read_subtitles(
    path: Path,
    job: RenderJob,
    video_format: VideoFormat,
    frames: int,
    fonts: Sequence[Font],
    *,
    mark: Watermark | None,
) -> tuple[SubtitleTrack, tuple[str, ...]]:
    size = video_format.size
    style = subtitle_style(job.options, *size)
    ends = job.subtitle_frame, job.subtitle_frame + frames
    try:
        with path.open("rb") as file:
            cues, ignored, _ = read_subtitles(file.read(MAX_SUBTITLE_BYTES + 1))
        if job.options.uppercase:
            cues = [*map(with_capitals, cues)]
        start, end = (1000 * frame // video_format.fps for frame in ends)
        drawn = [cue for cue in cues if cue.end > start and cue.start < end]
        # The place of a cue depends on those that were shown when it appeared, and their places on
        # earlier ones.
        first = start
        for cue in sorted(cues, key=attrgetter("end"), reverse=True):
            if cue.start < first < cue.end:
                first = cue.start
        near = [cue for cue in cues if cue.end > first and cue.start < end]
        painter = SubtitlePainter(near, style, fonts, *size, drawn=drawn, mark=_visible_area(mark))
        left_out = painter.left_out()
    except InvalidInputError as exc:
        raise InputFaultError(SUBTITLE, exc.found, exc.expected) from exc
    highlighted = style.highlight is not None
    if highlighted and not any(cue.words for cue in cues):
        ignored = ("highlight (also part of caption), because no word has a time", *ignored)
    states = [
        state._replace(first_frame=state.first_frame - ends[0])
        for state in subtitle_states(
            painter.cues, ends[1], video_format.fps, with_words=highlighted, pops=style.pops
        )
    ]
    warnings = left_out_warnings(SUBTITLE, left_out)
    if ignored:
        more = len(ignored) - MAX_NAMED_FEATURES
        names = ", ".join(ignored[:MAX_NAMED_FEATURES])
        warnings.append(f"{SUBTITLE}: ignored {names}" + (f" and {more} more" if more > 0 else ""))
    return SubtitleTrack(states, painter), tuple(warnings)


def _visible_area(mark: Watermark | None) -> CueArea | None:
    edges = None if mark is None else mark.picture.getchannel("A").getbbox()
    if mark is None or edges is None:
        return None
    left, top, right, bottom = edges
    return CueArea(mark.x + left, mark.y + top, mark.x + right, mark.y + bottom)


def _with_fades(
    subtitles: SubtitleTrack, fades: Fades | None, size: tuple[int, int]
) -> SubtitleTrack:
    return subtitles if fades is None else FadedTrack(subtitles, fades, size)


def _still_video(
    picture: Image.Image,
    mark: Watermark | None,
    frames: int,
    subtitles: SubtitleTrack,
    fades: Fades | None,
    *,
    fps: int,
    encodes: bool,
) -> GopSource:
    if mark is not None:
        mark.paste(picture)
    planes = to_planes(picture)
    try:
        if not encodes:
            return _motionless_video(planes, frames, subtitles, fades, fps=fps)
        if fades is None:
            return StillVideo(planes, subtitles, fps=fps)
        return FadedStillVideo(planes, frames, subtitles, fades, fps=fps)
    except RepetitionError as error:
        log.warning("every frame of the picture is encoded: %s", error)
        return _motionless_video(planes, frames, subtitles, fades, fps=fps)


def _motionless_video(
    planes: Planes, frames: int, subtitles: SubtitleTrack, fades: Fades | None, *, fps: int
) -> MotionVideo:
    faded = _with_fades(subtitles, fades, (planes.width, planes.height))
    return MotionVideo(planes, frames, None, None, faded, fps=fps, search=True)


def _camera(effect: Effect, fitted: FittedPicture, job: RenderJob) -> Camera:
    return Camera(
        effect,
        fitted.size,
        job.options.motion_amount,
        job.options.motion_easing,
        fitted.focus,
        fitted.image.size,
    )
