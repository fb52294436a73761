"""Check of all scenes before anything is started, which reports every fault at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import AliasChoices, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from cloudburst.errors import FaultCode, InvalidScenesError, SceneFault
from cloudburst.files import URL
from cloudburst.inputs.file_checks import CheckedFile, InputFile, check_files
from cloudburst.inputs.font_search import FontSearch
from cloudburst.inputs.media_checks import (
    EXPECTED_AUDIO,
    EXPECTED_PICTURE,
    EXPECTED_SUBTITLES,
    InputFacts,
)
from cloudburst.inputs.remote_inputs import RemoteInputs, open_remote_inputs
from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import Cue, check_starts
from cloudburst.models.film import FilmRequest, Transition
from cloudburst.models.limits import Limits
from cloudburst.models.locations import AnyLocation, Location, absolute_location
from cloudburst.models.options import RenderOptions, describe_option_error
from cloudburst.models.options.marks import TITLE
from cloudburst.models.options.values import none_if_blank
from cloudburst.models.problems import describe_value, fault_code
from cloudburst.models.scene import (
    DURATION,
    MAX_CARD_CHARACTERS,
    CheckedScene,
    Scene,
    SceneLabels,
    check_duration,
    fold_name,
    voice_part,
)
from cloudburst.models.video_format import video_size
from cloudburst.renderer import missing_glyphs
from cloudburst.renderer.subtitle_style import check_room, subtitle_style
from cloudburst.text import short_repr, shorten

_LOCATION: TypeAdapter[AnyLocation] = TypeAdapter(Location)
_URL_IN_PATH = re.compile(f"(?:^|/)({URL.pattern}.*)", re.DOTALL)
# Names that callers may use for each field of a scene; the name in ``cloudburst-fargate`` is last
_ALIASES = {
    name: tuple(str(choice) for choice in info.validation_alias.choices)
    for name, info in Scene.model_fields.items()
    if isinstance(info.validation_alias, AliasChoices)
}
_EXPECTED = {
    "name": "a name",
    "image": EXPECTED_PICTURE,
    "audio": EXPECTED_AUDIO,
    "subtitle": EXPECTED_SUBTITLES,
}
# Description of a valid value for each field that is not a location
_EXPECTED_TYPES = {
    "name": "a text",
    "title_card": f"a text of at most {MAX_CARD_CHARACTERS} characters",
    "duration": DURATION,
    "title": TITLE,
    "transition": f"one of {', '.join(get_args(Transition))}",
    "until": DURATION,
    "options": "a mapping of options to their values",
}


@dataclass(slots=True)
class _CheckedEntry:
    """Entry of the caller's list of scenes, or the render options, with the faults found in it."""

    label: str
    """Name of the scene, or its position in the list if it has no valid name, such as
    ``scenes[3]``."""
    spelling: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of the fields as the caller wrote them, by the names in `Scene`. A field that is
    missing here is reported under its name in `Scene`."""
    scene: Scene | None = None
    """Scene with absolute paths; ``None`` if its fields are invalid."""
    given: Scene | None = None
    """Scene without the duration of its part of the voice of the film."""
    voice_end: float = 0.0
    """End of this part, in seconds."""
    locations: dict[str, AnyLocation] = field(default_factory=dict[str, AnyLocation])
    """Location of each file of the entry, by field."""
    faults: list[SceneFault] = field(default_factory=list[SceneFault])
    options: RenderOptions = field(default_factory=RenderOptions)
    """Options of the scene's video, with absolute paths."""

    def fault(self, name: str, found: str, expected: str, code: FaultCode) -> None:
        written = self.spelling.get(name, name)
        self.faults.append(SceneFault(self.label, written, found, expected, code))


def parse_scenes(
    scenes: Iterable[Scene | Mapping[str, Any]],
    options: RenderOptions,
    *,
    max_faults: int,
    has_voice: bool = False,
) -> tuple[Scene, ...]:
    """Return scenes with absolute paths. Only their fields are checked, and no file is read.

    Raises `InvalidScenesError` with every fault of every scene; no further scene is read after
    ``max_faults`` of them. ``options`` are those of the run; ``has_voice`` is true for a film with
    ``film_audio``, whose scenes have no audio.
    """
    entries = _parse_entries(scenes, options, max_faults, has_voice=has_voice)
    _raise_faults(entries)
    return tuple(entry.scene for entry in entries if entry.scene is not None)


def check_scenes(
    scenes: Iterable[Scene | Mapping[str, Any]],
    options: RenderOptions,
    limits: Limits,
    *,
    remote: RemoteInputs | None = None,
    labels: SceneLabels | None = None,
    film: FilmRequest | None = None,
    earlier: Sequence[CheckedScene] = (),
) -> tuple[CheckedScene, ...]:
    """Check the scenes and return them in order, with absolute paths, audio length and image size.

    Relative paths are relative to the current folder. The function blocks while it reads the files:
    call it in a thread. Only the start and the end of a file are read, except for subtitles, WebP
    pictures, and pictures whose end is missing. Of a file in S3 or on a web server, at most 256 kB
    are read. The worker finds the faults in the rest of a file.

    Raises `InvalidScenesError` with every fault of every scene, and of the files that the options
    of the run name.

    Args:
        scenes: Scenes, or mappings with the fields of one.
        options: Options of the run; the options of a scene override them.
        limits: Limits of the files.
        remote: Access to files in S3 and on web servers; ``None``: the access that the settings of
            this machine allow, for this call.
        labels: Labels of the scenes that came earlier from the same source; ``None``: the scenes
            are all of the run, at least one.
        film: Film of the scenes, which `film.request.check_film` has returned.
        earlier: First and last of the scenes that came earlier.
    """
    if remote is None:
        with open_remote_inputs() as opened:
            check = partial(check_scenes, scenes, options, limits, remote=opened)
            return check(labels=labels, film=film, earlier=earlier)
    if film is not None and film.has_own_sound:
        options = options.model_copy(update={"loudness": None})
    has_voice = film is not None and film.film_audio is not None
    entries = _parse_entries(scenes, options, labels=labels, has_voice=has_voice)
    if film is not None and has_voice:
        _add_parts(entries[:-1], film, earlier[-1] if earlier else None)
    for entry in entries:
        _add_value_faults(entry, limits)
    files = _check_files(entries, limits, remote)
    for entry in entries:
        _add_late_fault(entry, files)
    _raise_faults(entries)
    pictures = [
        files["image", entry.locations["image"]].facts.upright
        for entry in entries
        if entry.scene is not None and entry.scene.image is not None
    ]
    upright = next(iter([*(scene.upright for scene in earlier), *pictures]), False)
    search = FontSearch(remote.font_folder)
    return tuple(
        _checked_scene(entry, entry.scene, files, film, search, upright=upright)
        for entry in entries
        if entry.scene is not None
    )


def _parse_entries(
    scenes: Iterable[Scene | Mapping[str, Any]],
    options: RenderOptions,
    max_faults: int | None = None,
    labels: SceneLabels | None = None,
    *,
    has_voice: bool,
) -> list[_CheckedEntry]:
    entries, faults, earlier = list[_CheckedEntry](), 0, labels or {}
    for place, raw in enumerate(scenes, len(earlier)):
        entries.append(_entry_of(raw, f"scenes[{place}]", has_voice=has_voice))
        faults += len(entries[-1].faults)
        if max_faults is not None and faults >= max_faults:
            break
    options = options.with_absolute_files()
    for entry in entries:
        _add_options(entry, options)
    _add_duplicate_faults(entries, earlier)
    is_empty = not entries and labels is None
    rest = _CheckedEntry("" if is_empty else "options")
    if is_empty:
        rest.fault("scenes", "none", "at least one scene", "missing")
    rest.locations = options.files()
    for entry in [*entries, rest]:
        _refuse_urls(entry)
    return [*entries, rest]


def _raise_faults(entries: Iterable[_CheckedEntry]) -> None:
    # Parts of one value may have equal faults.
    if faults := dict.fromkeys(fault for entry in entries for fault in entry.faults):
        raise InvalidScenesError(faults=list(faults))


def _checked_scene(
    entry: _CheckedEntry,
    scene: Scene,
    files: Mapping[InputFile, CheckedFile],
    film: FilmRequest | None,
    search: FontSearch,
    *,
    upright: bool,
) -> CheckedScene:
    image, options = None, entry.options
    if scene.image is not None:
        image = files["image", entry.locations["image"]]
        upright = image.facts.upright
    elif upright and options.is_portrait is None:  # a title card is as the pictures are
        options = options.model_copy(update={"is_portrait": True})
    seconds, known = scene.duration, True
    if seconds is None:
        audio = files["audio", entry.locations["audio"]].facts
        seconds, known = audio.seconds, audio.length_known
    texts = {"title_card": ("", _card_characters(scene))}
    if (subtitle := entry.locations.get("subtitle")) is not None:
        texts["subtitle"] = f": {subtitle}", files["subtitle", subtitle].facts.characters
    if film is not None:
        texts["film_subtitle"] = f": {film.film_subtitle}", film.subtitle_characters
    if options.uppercase:
        texts = {name: (place, letters.upper()) for name, (place, letters) in texts.items()}
    all_characters = "".join(characters for _, characters in texts.values())
    fonts, has_glyph = search.complete(entry.options.fonts().values(), all_characters)
    notes = list[str]()
    for name, (place, characters) in texts.items():
        notes += missing_glyphs.left_out_warnings(
            name, missing_glyphs.left_out(characters, has_glyph)
        )
        try:
            missing_glyphs.check_characters(characters, has_glyph)
            if name == "subtitle" and isinstance(scene.image, Path | None):  # its shape is known
                longest = _facts(entry, name, files).longest
                _check_room(longest, options, upright=upright, seconds=seconds)
        except InvalidInputError as exc:
            label = "" if name == "film_subtitle" else entry.label
            written = entry.spelling.get(name, name)
            found = f"{exc.found}{place}"
            fault = SceneFault(label, written, found, exc.expected, exc.code)
            entry.faults.append(fault)
    return CheckedScene(
        scene=scene,
        given=entry.given,
        voice_end=entry.voice_end,
        audio_seconds=seconds,
        audio_known=known,
        image_bytes=(image and image.size) or 0,
        versions={
            version.path: version
            for file in (scene.files() | entry.options.files()).items()
            if (version := files[file].version) is not None
        }
        | {font.path: font for font in fonts},
        found_fonts=tuple(font.path for font in fonts),
        upright=upright,
        options=options,
        undrawable=tuple(entry.faults),  # others were raised
        notes=tuple(notes),
        cue_starts=_facts(entry, "subtitle", files).cue_starts,
    )


def _check_room(cue: Cue | None, options: RenderOptions, *, upright: bool, seconds: float) -> None:
    """Raise `InvalidInputError` for a cue that is sure to leave the picture."""
    if cue and cue.start < 1000 * seconds and isinstance(options.fonts()["font"], str):
        upright = upright if options.is_portrait is None else options.is_portrait
        size = video_size(options.size, upright=upright)
        check_room(cue, subtitle_style(options, *size), size.height)


def _entry_of(raw: object, place: str, *, has_voice: bool) -> _CheckedEntry:
    if isinstance(raw, Scene):
        return _with_scene(_CheckedEntry(raw.name), raw, has_voice=has_voice)
    if not isinstance(raw, Mapping):
        entry = _CheckedEntry(place)
        expected = "a Scene, or a mapping with the fields of one"
        entry.fault("scene", short_repr(raw), expected, "wrong_type")
        return entry
    fields = {str(key): value for key, value in cast("Mapping[object, object]", raw).items()}
    spelling = _spelling(fields)
    try:
        scene = Scene.model_validate(fields)
    except ValidationError as exc:
        errors = [error for error in exc.errors() if error["loc"]]
        named = all(error["loc"][0] != spelling["name"] for error in errors)
        entry = _CheckedEntry(str(fields[spelling["name"]]) if named else place, spelling)
        for error in errors:
            entry.fault(*_describe_error(error, spelling))
        written = {name: fields.get(spelling.get(name, name)) for name in Scene.model_fields}
        if not _given(entry, written.get, "image", "title_card"):
            entry.fault("image", "nothing", f"{EXPECTED_PICTURE}; or a title_card", "missing")
        _add_length_fault(entry, written.get, has_voice=has_voice)
        bad = {error["loc"][0] for error in errors}
        for name in ("image", "audio", "subtitle"):  # valid fields are checked all the same
            value = fields.get(spelling[name])
            if spelling[name] not in bad and value is not None and value != "":
                entry.locations[name] = absolute_location(_LOCATION.validate_python(value))
        return entry
    return _with_scene(_CheckedEntry(scene.name, spelling), scene, has_voice=has_voice)


def _with_scene(entry: _CheckedEntry, scene: Scene, *, has_voice: bool) -> _CheckedEntry:
    _add_length_fault(entry, partial(getattr, scene), has_voice=has_voice)
    entry.locations = {name: absolute_location(at) for name, at in scene.files().items()}
    entry.scene = scene.model_copy(update=entry.locations)
    return entry


def _add_options(entry: _CheckedEntry, options: RenderOptions) -> None:
    if entry.scene is None:
        return
    own = entry.scene.options.with_absolute_files()
    try:
        entry.options = options.overridden_by(own)
    except ValidationError as exc:
        for error in exc.errors():
            name, found, expected, code = describe_option_error(error)
            if code == "contradiction":
                found, expected = _orientation_fault(found, own)
            entry.fault(_option_field(name), found, expected, code)
    if entry.scene.title_card is not None:
        entry.options = entry.options.model_copy(update={"effects": ()})
    entry.scene = entry.scene.model_copy(update={"options": own})
    entry.locations |= own.files()


def _orientation_fault(found: str, own: RenderOptions) -> tuple[str, str]:
    """Return what is found and expected if a scene's orientation contradicts that of the run."""
    place = "is in the file or the options of this scene"
    if own.is_portrait is None:
        expected = "another size there, or no is_portrait (--portrait, --landscape) for the run"
        return f"{found}; size {place}", expected
    instead = "False (--landscape)" if own.is_portrait else "True (--portrait)"
    expected = f"no is_portrait there, or is_portrait={instead} in place of size for the run"
    return f"{found}; is_portrait {place}", expected


def _given(entry: _CheckedEntry, value_of: Callable[[str], object], *names: str) -> list[str]:
    """Return the fields that are given, of which more than one is a fault."""
    # `Scene` has the same rule, but applies it only if every field is valid.
    given = [name for name in names if none_if_blank(value_of(name)) is not None]
    if len(given) > 1:
        found = " and ".join(entry.spelling.get(name, name) for name in given)
        entry.fault(given[1], found, "one of them", "contradiction")
    return given


def _card_characters(scene: Scene) -> str:
    return missing_glyphs.characters_of([Cue(0, 0, scene.title_card or "")])


def _add_length_fault(
    entry: _CheckedEntry, value_of: Callable[[str], object], *, has_voice: bool
) -> None:
    given = _given(entry, value_of, "audio", "duration", "until")
    if has_voice and given == ["audio"]:
        found = "audio of a scene and of the film"
        entry.fault("audio", found, "until or duration", "contradiction")
    elif not has_voice and given == ["until"]:
        expected = 'film_audio="voice.m4a" (--film-audio) for the film, or a duration'
        entry.fault("until", "a film without film_audio", expected, "contradiction")
    elif not (has_voice or given):
        expected = f"{EXPECTED_AUDIO}; or a duration in seconds"
        entry.fault("audio", "nothing", expected, "missing")


def _add_parts(
    entries: Sequence[_CheckedEntry], film: FilmRequest, before: CheckedScene | None
) -> None:
    """Give each entry its part of the voice of the film; ``before`` is the scene before them."""
    position = before.voice_end if before else 0.0
    if before is not None and _lasts_to_end(before.given):
        found = f"a scene after {before.scene.name}, which has neither until nor duration"
        entries[0].fault("until", found, "no scene after it", "contradiction")
        return
    for entry in entries:
        if entry is not entries[-1] and _lasts_to_end(entry.scene):
            expected = "until or duration: only the last scene may have neither"
            entry.fault("until", "nothing", expected, "missing")
        else:
            position = _add_part(entry, film, position)


def _lasts_to_end(scene: Scene | None) -> bool:
    return scene is not None and {scene.audio, scene.duration, scene.until} == {None}


def _add_part(entry: _CheckedEntry, film: FilmRequest, start: float) -> float:
    """Give an entry its part of the voice of the film, and return the end of the part."""
    entry.voice_end = start
    if entry.scene is not None and entry.scene.audio is None:
        try:
            part, entry.voice_end = voice_part(film, start, entry.scene, entry.options.fps)
        except InvalidInputError as exc:
            name = "duration" if entry.scene.until is None else "until"
            entry.fault(name, exc.found, exc.expected, exc.code)
        else:
            entry.given, entry.scene = entry.scene, part
    return entry.voice_end


def _add_value_faults(entry: _CheckedEntry, limits: Limits) -> None:
    if entry.scene is None:
        return
    if entry.scene.title_card is not None and not _card_characters(entry.scene).strip():
        found = short_repr(entry.scene.title_card)
        entry.fault("title_card", found, "a text that can be seen", "missing")
    try:
        check_duration(entry.scene.duration, limits.audio_seconds)
    except InvalidInputError as exc:
        entry.fault("duration", exc.found, exc.expected, exc.code)


def _option_field(name: str) -> str:
    return f"options.{name}" if name else "options"


def _refuse_urls(entry: _CheckedEntry) -> None:
    """Add a fault for each path that was made of a URL and the current folder."""
    for name, path in list(entry.locations.items()):
        if not isinstance(path, Path):
            continue
        if (found := _URL_IN_PATH.search(path.as_posix())) and not os.path.lexists(path):
            url = found[1].replace(":/", "://", 1).partition("?")[0]
            found_text = f"a URL in a path: {shorten(url, 1000)}"
            entry.fault(name, found_text, "a URL as text, or the path of a file", "wrong_type")
            del entry.locations[name]


def _spelling(fields: Mapping[str, object]) -> dict[str, str]:
    """Return the name of each field of a scene as the caller writes it."""
    # A missing field gets its name in ``cloudburst-fargate`` if the caller uses such names.
    old = any(key in fields for known in _ALIASES.values() for key in known[1:])
    return {
        name: next((key for key in known if key in fields), known[-1 if old else 0])
        for name, known in _ALIASES.items()
    }


def _describe_error(
    error: ErrorDetails, spelling: Mapping[str, str]
) -> tuple[str, str, str, FaultCode]:
    written = shorten(str(error["loc"][0]), 40)
    name = next((name for name, known in _ALIASES.items() if written in known), written)
    code = "bad_name" if name == "name" and error["type"] == "value_error" else fault_code(error)
    match error["type"]:
        case _ if written == "options" and (error["loc"][1:] or error["type"] == "value_error"):
            inner: ErrorDetails = {**error, "loc": error["loc"][1:]}
            option, found, expected, code = describe_option_error(inner)
            return _option_field(option), found, expected, code
        case "missing":
            return name, "nothing", _EXPECTED[name], code
        case "extra_forbidden" if name in spelling:
            return written, "the field twice", f"{spelling[name]} only", "contradiction"
        case "extra_forbidden":
            known = (*spelling.values(), *(each for each in _EXPECTED_TYPES if each != "name"))
            return written, *describe_value(error, known), code
        case "value_error":
            return name, *describe_value(error), code
        case _:
            expected = _EXPECTED_TYPES.get(name) or f"the path or URL of {_EXPECTED[name]}"
            return name, short_repr(error["input"]), expected, code


def _add_duplicate_faults(entries: Sequence[_CheckedEntry], earlier: SceneLabels) -> None:
    """Add a fault to each scene that has the name of an earlier one, for some file system."""
    labels = dict[str, tuple[int, str]]()
    for place, entry in enumerate(entries, len(earlier)):
        key = fold_name(entry.label)
        first, label = earlier.get(key) or labels.setdefault(key, (place, entry.label))
        if first != place:
            found = f"scenes[{first}] and scenes[{place}] both have the name {entry.label!r}"
            if label != entry.label:
                found = (
                    f"scenes[{place}] has the name {entry.label!r} and scenes[{first}] "
                    f"{label!r}, which are the same file on some systems"
                )
            entry.fault("name", found, "a unique name", "duplicate_name")


def _facts(entry: _CheckedEntry, name: str, files: Mapping[InputFile, CheckedFile]) -> InputFacts:
    """Return what is known of a file of an entry, which may be missing or invalid."""
    location = entry.locations.get(name)
    file = None if location is None else files.get((name, location))
    return InputFacts() if file is None else file.facts


def _add_late_fault(entry: _CheckedEntry, files: Mapping[InputFile, CheckedFile]) -> None:
    """Add a fault if every cue begins after the end of the scene, whose length is known."""
    if entry.scene is None:
        return
    sound = _facts(entry, "audio", files)
    seconds = entry.scene.duration or (sound.seconds if sound.length_known else None)
    try:
        check_starts(_facts(entry, "subtitle", files).cue_starts, seconds)
    except InvalidInputError as exc:
        found = f"{exc.found}: {entry.locations['subtitle']}"
        entry.fault("subtitle", found, exc.expected, exc.code)


def _check_files(
    entries: Sequence[_CheckedEntry], limits: Limits, remote: RemoteInputs
) -> dict[InputFile, CheckedFile]:
    files = dict.fromkeys(pair for entry in entries for pair in entry.locations.items())
    found = check_files(files, limits, remote)
    for entry in entries:
        for name, location in entry.locations.items():
            if isinstance(unfit := found[name, location], InvalidInputError):
                found_file = f"{unfit.found}: {shorten(str(location), 1000)}"
                entry.fault(name, found_file, unfit.expected, unfit.code)
    return {pair: file for pair, file in found.items() if isinstance(file, CheckedFile)}
