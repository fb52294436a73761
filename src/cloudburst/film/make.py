"""Making of a film: from a plan to the partial files beside the film."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from av import VideoFrame
from av.error import FFmpegError
from av.video.reformatter import Colorspace
from PIL import Image

from cloudburst.files import open_regular_file
from cloudburst.film.film_file import write_film
from cloudburst.film.pictures import film_pictures
from cloudburst.film.plan import FilmFaultError, FilmPlan, FilmScene, film_files, partial_files
from cloudburst.film.scene_video import SceneVideo, open_video
from cloudburst.film.sound import mixed_sound
from cloudburst.film.timeline import Timeline
from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import MAX_SUBTITLE_BYTES, Cue, read_subtitles
from cloudburst.media.subtitles.subrip_webvtt import to_subrip
from cloudburst.models.film import MAX_FILM_SECONDS
from cloudburst.renderer.gops import JPEG_QUALITY

# Luma, from 0 to 255, below which all pixels of a black frame are.
_BLACK = 24


class MadeFilm(NamedTuple):
    """Properties of a film whose partial files are complete."""

    seconds: float
    frames: int
    width: int
    height: int


def make_film(
    plan: FilmPlan, progress: Callable[[float], None], allow: Callable[[float], None]
) -> MadeFilm:
    """Write the partial files of a film: the film, its cover, and its subtitles if there are any.

    ``allow`` is called with the length of the film in seconds, before it is made.

    Raises:
        FilmFaultError: No film can be made of the videos.
    """
    timeline, size = _measure(plan)
    allow(timeline.seconds(timeline.frames))
    film = Path(plan.path)
    partial = {path: part for part, path in partial_files(film).items()}
    with _reporting_write_errors(film):
        _write(plan, timeline, partial, progress)
    return MadeFilm(timeline.seconds(timeline.frames), timeline.frames, *size)


@contextmanager
def _reporting_write_errors(film: Path) -> Generator[None]:
    try:
        yield
    except MemoryError:
        raise
    except (OSError, FFmpegError) as exc:
        raise FilmFaultError(f"{film}: the film cannot be written: {exc.strerror or exc}") from exc


def _write(
    plan: FilmPlan,
    timeline: Timeline,
    partial: Mapping[Path, Path],
    progress: Callable[[float], None],
) -> None:
    subtitles, cover, film = film_files(Path(plan.path))
    if text := film_subtitles(plan, timeline):
        partial[subtitles].write_text(text, "utf-8")
    with open_video(plan.scenes[0]) as first:
        _write_cover(first, partial[cover])
    with open_video(plan.scenes[0]) as first:
        write_film(
            partial[film],
            template=first.stream,
            timeline=timeline,
            titles=[scene.title for scene in plan.scenes],
            fingerprint=plan.fingerprint,
            pictures=film_pictures(map(open_video, plan.scenes), timeline),
            sound=mixed_sound(plan, timeline),
            progress=lambda frames: progress(frames / timeline.frames),
        )


def _measure(plan: FilmPlan) -> tuple[Timeline, tuple[int, int]]:
    """Return the timeline and the size of a film, after a check that its videos can be joined."""
    lengths: list[int] = []
    with open_video(plan.scenes[0]) as first:
        first.check_ours()
        for scene in plan.scenes:
            with open_video(scene) as video:
                _check_same(first, video)
                lengths.append(video.frames)
    timeline = Timeline(
        lengths, first.fps, plan.transitions, plan.transition_seconds, plan.film_gap
    )
    _check_lengths(plan.scenes, timeline)
    return timeline, first.size


def _check_same(first: SceneVideo, video: SceneVideo) -> None:
    for name, one, other in (
        ("size", "x".join(map(str, first.size)), "x".join(map(str, video.size))),
        ("frames per second", f"{float(first.fps):g}", f"{float(video.fps):g}"),
    ):
        if one != other:
            raise FilmFaultError(
                f"{name}: {one} in {first.scene.name}, {other} in {video.scene.name}; "
                "expected the same in all scenes of a film"
            )
    if video.parameter_sets != first.parameter_sets:
        video.check_ours()


def _check_lengths(scenes: Sequence[FilmScene], timeline: Timeline) -> None:
    for scene, place in zip(scenes, timeline.places, strict=True):
        if place.frames < place.head + place.tail:
            found = f"{timeline.seconds(place.frames):.2f} s long"
            needed = f"{timeline.seconds(place.head + place.tail):.2f} s"
            raise FilmFaultError(f"{scene.name}: {found}; its transitions need {needed}")
        if timeline.has_gaps and place.end < place.frames:
            raise FilmFaultError(f"{scene.name}: a crossfade; expected cut or fade across a gap")
    if timeline.seconds(timeline.frames) > MAX_FILM_SECONDS:
        limit = f"at most {MAX_FILM_SECONDS / 3600:g} hours"
        raise FilmFaultError(f"{timeline.seconds(timeline.frames):.0f} s of film; expected {limit}")


def _write_cover(video: SceneVideo, path: Path) -> None:
    """Write the first frame of a video as a picture; the middle one if the first one is black."""
    gops = video.gops()
    gop = next(gops)
    picture = _picture(next(video.decode(gop)))
    histogram = picture.convert("L").histogram()
    if not any(histogram[_BLACK:]):  # the start of a fade
        middle = video.frames // 2
        while gop.end <= middle:
            gop = next(gops)
        picture = _picture(next(islice(video.decode(gop), middle - gop.first, None)))
    picture.save(path, "JPEG", quality=JPEG_QUALITY)


def _picture(frame: VideoFrame) -> Image.Image:
    plane = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU709).planes[0]
    size = (frame.width, frame.height)
    return Image.frombytes("RGB", size, bytes(plane), "raw", "RGB", plane.line_size)


def film_subtitles(plan: FilmPlan, timeline: Timeline) -> str:
    """Return the content of a film's subtitle file; it is empty if there are no subtitles."""
    cues: list[Cue] = []
    if (whole := plan.files.get("film_subtitle")) is not None:
        end = round(1000 * timeline.seconds(timeline.frames))
        cues += _moved(_read("film_subtitle", whole.path), 0, end)
    for scene, place in zip(plan.scenes, timeline.places, strict=True):
        if scene.subtitle is not None:
            start = round(1000 * timeline.seconds(place.start))
            end = round(1000 * timeline.seconds(place.start + place.frames))
            cues += _moved(_read(scene.name, scene.subtitle), start, end)
    return to_subrip(sorted(cues, key=lambda cue: (cue.start, cue.end)))


def _read(owner: str, path: str) -> list[Cue]:
    try:
        with open_regular_file(Path(path)) as file:
            return read_subtitles(file.read(MAX_SUBTITLE_BYTES + 1)).cues
    except (OSError, InvalidInputError) as exc:
        raise FilmFaultError(f"{owner}: {path}: {exc}") from exc


def _moved(cues: Iterable[Cue], start: int, end: int) -> Iterator[Cue]:
    """Yield the cues of a scene from ``start`` to ``end`` in a film, both in milliseconds."""
    for cue in cues:
        if start + cue.start < end:
            moved_end = min(start + cue.end, end)
            yield cue._replace(start=start + cue.start, end=moved_end)
