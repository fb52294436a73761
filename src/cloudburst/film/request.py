"""Request for the film of a run: its values, and the checks before the run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cloudburst.errors import ConfigurationError, InvalidScenesError, SceneFault
from cloudburst.files import file_identity
from cloudburst.film.folder_film import LENGTH_TOLERANCE, check_modules
from cloudburst.film.plan import film_files
from cloudburst.inputs.remote_inputs import RemoteInputs
from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import check_starts
from cloudburst.models.film import (
    FILM_FILES,
    MAX_FILM_SECONDS,
    FilmOptions,
    FilmRequest,
    transition_frames,
)
from cloudburst.models.limits import Limits
from cloudburst.models.locations import (
    AnyLocation,
    OutputLocation,
    S3Object,
    absolute_location,
    is_path_of_s3,
    is_s3,
    local_paths,
    parse_s3_object,
    require_path,
)
from cloudburst.models.options import RenderOptions
from cloudburst.models.options.sound import MIN_LOOP_SECONDS, SoundOptions
from cloudburst.models.options.values import OptionalLocation
from cloudburst.models.problems import describe_value
from cloudburst.models.scene import (
    COVER_SUFFIX,
    AnyScene,
    CheckedScene,
    SceneLabels,
    fold_name,
    validate_scene_name,
)
from cloudburst.models.video_format import VideoSize, video_size

_FILE: TypeAdapter[AnyLocation | None] = TypeAdapter(OptionalLocation)


def film_request(film: OutputLocation | str | None = None, **how: Any) -> FilmRequest | None:
    """Return the request for a film at an absolute location; ``None`` if no film is requested.

    The arguments are those of `FilmOptions`.

    Raises:
        InvalidScenesError: Values are invalid, or are given without a film, or this machine makes
            the film, and files of the film are elsewhere.
        ConfigurationError: A file has no valid location, or the extra ``[film]`` is not installed.
        TypeError: An argument has an unknown name.
    """
    if unknown := sorted(how.keys() - FilmOptions.__annotations__.keys()):
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}")
    default = FilmRequest(path=Path())
    if film is None:
        expected = "a film, to which it belongs: set film (--film)"
        given = [(name, value) for name, value in how.items() if value != getattr(default, name)]
        if faults := [
            SceneFault("", name, repr(value), expected, "contradiction") for name, value in given
        ]:
            raise InvalidScenesError(faults=faults)
        return None
    path = _location(film)
    request = replace(default, path=path, **how | _absolute_files(how))
    faults = list(request.faults())
    try:
        validate_scene_name(PurePosixPath(path.name).stem)
    except ValueError as exc:
        faults.append(SceneFault("", "film", repr(path.name), str(exc), "bad_name"))
    if faults:
        raise InvalidScenesError(faults=faults)
    if isinstance(path, Path):
        check_modules()
    return request


def _absolute_files(how: Mapping[str, Any]) -> dict[str, Any]:
    files = dict[str, Any]()
    for name in FILM_FILES:
        try:
            files[name] = absolute_location(_FILE.validate_python(how.get(name)))
        except ValidationError as exc:
            found, valid = describe_value(exc.errors()[0])
            raise ConfigurationError(f"{name}: {found}; expected {valid}") from exc
    return files


def _location(film: OutputLocation | str) -> OutputLocation:
    if isinstance(film, S3Object):
        return film
    if is_s3(film):
        try:
            return parse_s3_object(str(film))
        except ValueError as exc:
            raise ConfigurationError(f"film: {exc}") from exc
    if is_path_of_s3(film):
        msg = f"film: the path {film}; expected the text s3://bucket/film.mp4, which is not a path"
        raise ConfigurationError(msg)
    return Path(film).absolute()


def check_place_of_film(film: OutputLocation, *, videos_in_s3: bool) -> None:
    """Raise `ConfigurationError` unless a film is where its videos are: on this machine, or in S3.

    A worker makes the film of videos in S3. It cannot write to this machine.
    """
    if videos_in_s3 == isinstance(film, S3Object):
        return
    if videos_in_s3:
        expected = "an object in S3 such as s3://bucket/film.mp4, because the videos are in S3"
    else:
        expected = "a path on this machine, because the videos are there"
    raise ConfigurationError(f"film: {film}; expected {expected}")


def check_film(
    film: FilmRequest, options: RenderOptions, limits: Limits, remote: RemoteInputs
) -> FilmRequest:
    """Check the files of the whole film, and return it with its sound. Blocks.

    Raises `InvalidScenesError` for an invalid file, and for other music in the ``options`` of the
    run.
    """
    # Imported here, in a thread: importing Pillow is slow, and not every program renders.
    from cloudburst.inputs.file_checks import check_files  # noqa: PLC0415

    if film.has_own_sound:
        if options.music is not None:
            expected = "film_music in its place"
            fault = SceneFault("", "music", str(options.music), expected, "contradiction")
            raise InvalidScenesError(faults=[fault])
        values = {name: getattr(options, name) for name in SoundOptions.model_fields}
        film = replace(film, sound=SoundOptions(**values))
    limits = replace(limits, audio_seconds=MAX_FILM_SECONDS)
    for (name, location), file in check_files(film.files.items(), limits, remote).items():
        try:
            if isinstance(file, InvalidInputError):
                raise file
            if name == "film_music" and film.sound.music_loop and file.facts.length_known:
                _check_repeated(file.facts.seconds)
            if name == "film_subtitle" and film.film_audio is not None:
                check_starts(file.facts.cue_starts, film.voice_seconds)
                film = replace(
                    film,
                    subtitle_version=file.version,
                    subtitle_characters=file.facts.characters,
                )
        except InvalidInputError as exc:
            fault = SceneFault("", name, f"{exc.found}: {location}", exc.expected, exc.code)
            raise InvalidScenesError(faults=[fault]) from exc
        if name == "film_audio" and file.facts.length_known:
            film = replace(film, voice_seconds=file.facts.seconds)
    return film


def check_scenes_and_film(
    scenes: Iterable[AnyScene],
    options: RenderOptions,
    limits: Limits,
    *,
    remote: RemoteInputs,
    film: FilmRequest | None,
    labels: SceneLabels | None = None,
    earlier: Sequence[CheckedScene] | None = None,
) -> tuple[tuple[CheckedScene, ...], FilmRequest | None]:
    """Check scenes, and the files of their film; return both, with what they know of each other.

    ``earlier`` are the neighbours in the film of further scenes, whose film was checked before. For
    the other arguments, and errors, see `check_scenes` and `check_film`. Blocks.
    """
    # Imported here, in a thread: importing Pillow is slow, and not every program renders.
    from cloudburst.inputs.preflight import check_scenes  # noqa: PLC0415

    if film is not None and earlier is None:
        film = check_film(film, options, limits, remote)
    earlier = earlier or ()
    given = options, limits
    checked = check_scenes(scenes, *given, remote=remote, labels=labels, film=film, earlier=earlier)
    if film is not None and checked:
        before = earlier[-1] if earlier else None
        checked = scenes_in_film(film, checked, before, all_known=labels is None)
    return checked, film


def _check_repeated(seconds: float) -> None:
    if seconds < MIN_LOOP_SECONDS:
        expected = f"at least {MIN_LOOP_SECONDS:g} seconds, or music_loop=false"
        raise InvalidInputError(f"{seconds:.2f} seconds", expected, "out_of_range")


def scenes_in_film(
    request: FilmRequest,
    scenes: Sequence[CheckedScene],
    before: CheckedScene | None,
    *,
    all_known: bool,
) -> tuple[CheckedScene, ...]:
    """Return scenes that know how many of their frames the transitions of the film change.

    Those of a film with one voice have its subtitles as theirs. ``before`` is the scene before the
    first one. ``all_known`` is false if further scenes may come.
    """
    seams = [
        transition_frames(
            each.scene.transition or request.transition,
            request.transition_seconds,
            each.options.fps,
        )
        for each in (*([before] if before else ()), *scenes)
    ]
    if all_known:
        seams[-1] = 0
    ends = pairwise(seams if before else (0, *seams))
    starts = before.voice_end if before else 0.0, *(scene.voice_end for scene in scenes[:-1])
    return tuple(
        scene.model_copy(update={"seams": seam} | _subtitles(request, scene, start))
        for scene, seam, start in zip(scenes, ends, starts, strict=True)
    )


def _subtitles(request: FilmRequest, scene: CheckedScene, start: float) -> dict[str, Any]:
    """Return the fields of a scene with the film's subtitles, which begins at ``start`` seconds."""
    # Without one voice, the positions of scenes are known only from their finished videos.
    if request.film_audio is None or request.film_subtitle is None:
        return {}
    version = request.subtitle_version
    known = {} if version is None else {version.path: version}
    return {
        "scene": scene.scene.model_copy(update={"subtitle": request.film_subtitle}),
        "subtitle_frame": round(start * scene.options.fps),
        "versions": {**scene.versions, **known},
    }


def check_scenes_of_film(
    request: FilmRequest,
    scenes: Sequence[CheckedScene],
    video: Callable[[str], OutputLocation],
    *,
    all_known: bool = True,
) -> None:
    """Check that a film can be made of the scenes, as far as that is known before a run. Blocks.

    The scenes are those of `scenes_in_film`. ``video`` returns the location of a scene's video.
    ``all_known`` is false if further scenes may come.

    Raises:
        ConfigurationError: A file of the film would replace a video or a file of a scene; or this
            machine makes the film, and subtitles are not on it.
        InvalidScenesError: A scene is shorter than its transitions; scenes have another size or
            frame rate than the first one, or sounds that the film has; or the last scene ends
            before the voice of the film.
    """
    outputs = [video(scene.scene.name) for scene in scenes]
    outputs += [
        path.with_suffix(COVER_SUFFIX)
        for path, scene in zip(outputs, scenes, strict=True)
        if scene.options.cover
    ]
    inputs = set(request.files.values())
    for scene in scenes:
        inputs |= {*scene.scene.files().values(), *scene.options.files().values()}
    if isinstance(request.path, S3Object):
        _check_objects(request.path, inputs, outputs)
    else:
        for scene in scenes:
            if (subtitle := scene.scene.subtitle) is not None:
                require_path(subtitle, f"film: subtitles of {scene.scene.name}")
        _check_paths(request.path, inputs, [path for path in outputs if isinstance(path, Path)])
    faults = [
        *_own_sounds(request, scenes),
        *_overlaps_with_gap(request, scenes),
        *_short_scenes(scenes),
        *_other_formats(scenes),
    ]
    length = (all_known and request.voice_seconds) or 0.0
    if scenes[-1].voice_end + LENGTH_TOLERANCE < length:
        found, end = f"an end at {scenes[-1].voice_end:.2f} s", f"{length:.2f} s"
        expected = f"nothing, or {end}, which is the end of film_audio, for the last scene"
        faults.append(SceneFault(scenes[-1].scene.name, "until", found, expected, "out_of_range"))
    if faults:
        raise InvalidScenesError(faults=faults)


def _check_objects(
    film: S3Object, inputs: Collection[AnyLocation], outputs: Collection[OutputLocation]
) -> None:
    for location in film_files(film):
        if location in outputs:
            raise _used(location, "the video or the cover of a scene")
        if location in inputs:
            raise _used(location, "an input of the run")


def _check_paths(film: Path, inputs: Iterable[AnyLocation], outputs: Iterable[Path]) -> None:
    # The same folder may have several paths, because of links and letter case.
    film = film.parent.resolve() / film.name
    names = {fold_name(str(path.parent.resolve() / path.name)) for path in outputs}
    for path in film_files(film):
        if fold_name(str(path)) in names:
            raise _used(path, "the video or the cover of a scene")
        identity = file_identity(path)
        if identity and identity in map(file_identity, local_paths(inputs)):
            raise _used(path, "an input of the run")


def _used(file: OutputLocation, used: str) -> ConfigurationError:
    return ConfigurationError(f"film: {file} is {used}; expected another name for the film")


def _own_sounds(request: FilmRequest, scenes: Sequence[CheckedScene]) -> Iterator[SceneFault]:
    for scene in scenes:
        if request.has_own_sound and scene.options.music is not None:
            found = "music of a scene and of the film"
            yield _contradiction(scene, "options.music", found, "one of them")
        if request.film_subtitle is not None and (scene.given or scene.scene).subtitle is not None:
            found = "subtitles of a scene and of the film"
            yield _contradiction(scene, "subtitle", found, "one of them")


def _overlaps_with_gap(
    request: FilmRequest, scenes: Sequence[CheckedScene]
) -> Iterator[SceneFault]:
    for scene in scenes if request.film_gap else ():
        if scene.scene.transition == "crossfade":
            expected = "cut or fade, because the film has a gap (film_gap)"
            yield _contradiction(scene, "transition", "crossfade", expected)


def _short_scenes(scenes: Sequence[CheckedScene]) -> Iterator[SceneFault]:
    for scene in scenes:
        needed = sum(scene.seams) / scene.options.fps
        if scene.audio_seconds + LENGTH_TOLERANCE < needed:
            found = f"{scene.audio_seconds:.2f} s long"
            expected = f"at least {needed:g} s, for the transitions of the film"
            field = "duration" if scene.scene.audio is None else "audio"
            yield SceneFault(scene.scene.name, field, found, expected, "out_of_range")


def _other_formats(scenes: Sequence[CheckedScene]) -> Iterator[SceneFault]:
    first, name = scenes[0], scenes[0].scene.name
    for scene in scenes:
        options = scene.options
        if options.fps != first.options.fps:
            expected = f"{first.options.fps}, as in {name}: a film has one frame rate"
            yield _contradiction(scene, "options.fps", str(options.fps), expected)
        if _video_size(scene) != _video_size(first):
            field, found, expected = _size_difference(scene, first)
            yield _contradiction(scene, field, found, expected)


def _contradiction(scene: CheckedScene, field: str, found: str, expected: str) -> SceneFault:
    return SceneFault(scene.scene.name, field, found, expected, "contradiction")


def _size_difference(scene: CheckedScene, first: CheckedScene) -> tuple[str, str, str]:
    reason = f"as in {first.scene.name}: a film has one size"
    for name in ("size", "is_portrait"):
        found, expected = getattr(scene.options, name), getattr(first.options, name)
        if found != expected and None not in {found, expected}:
            return f"options.{name}", str(found), f"{expected}, {reason}"
    found, expected = (f"{size.width}x{size.height}" for size in map(_video_size, (scene, first)))
    choices = "is_portrait=False (--landscape) or is_portrait=True (--portrait)"
    expected = f"{expected}, {reason}; set {choices}, or another size, for all scenes"
    if scene.scene.title_card is not None:
        return "title_card", f"a card whose video has {found}", expected
    return "image", f"a picture whose video has {found}", expected


def _video_size(scene: CheckedScene) -> VideoSize:
    portrait = scene.options.is_portrait
    return video_size(scene.options.size, upright=scene.upright if portrait is None else portrait)
