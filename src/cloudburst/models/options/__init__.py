"""Render options: the appearance of videos, for a run or for one scene."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Self, get_args

from pydantic import (
    AliasChoices,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails

from cloudburst.errors import ConfigurationError, FaultCode, SceneFault
from cloudburst.models.locations import LOCATION_TYPES, AnyLocation, absolute_location
from cloudburst.models.options.marks import MarkOptions
from cloudburst.models.options.picture import MotionOptions, PictureOptions
from cloudburst.models.options.sound import SoundOptions
from cloudburst.models.options.subtitles import (
    DEFAULT_FAMILY,
    FontFamily,
    Language,
    SubtitleOptions,
    font_roles,
    is_font_path,
    split_fonts,
)
from cloudburst.models.problems import check_arguments, describe_value, fault_code, name_like
from cloudburst.text import short_repr, shorten

__all__ = [
    "OPTION_FILES",
    "OPTION_NAMES",
    "Language",
    "RenderOptions",
    "describe_field",
    "describe_option_error",
    "describe_option_errors",
    "given_options",
    "is_option_file",
    "split_fonts",
]

# Maximum number of characters of an invalid value that an error quotes.
_MAX_VALUE_CHARS = 100
# Maximum number of characters of the name of an unknown option that an error quotes.
_MAX_NAME_CHARS = 40
# Options that are, or may be, locations of files. Each file is an input of a video, in the role
# of the same name; the second of several fonts has the role ``font-2``.
OPTION_FILES = ("watermark", "music", "font")


class RenderOptions(PictureOptions, MotionOptions, SubtitleOptions, SoundOptions, MarkOptions):
    """Appearance of the videos of a run; a scene can override some of them (`Scene.options`).

    ``enable_zoom=True``, from ``cloudburst-fargate``, means ``effects=("zoom_in", "zoom_out")``,
    and ``enable_zoom=False`` means ``effects=()``. Values may be text, as in CSV files: ``"true"``,
    ``"0.5"``, ``"zoom_in, pan_left"``.
    """

    # Inputs may be URLs whose queries are secrets.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, hide_input_in_errors=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_boolean_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Raise an error for true or false as a number, which pydantic converts to 1 or 0."""
        if isinstance(value, bool) and info.field_name in _NUMBERS:
            msg = f"expected {_FIELDS[info.field_name].description}"
            raise ValueError(msg)
        return value

    def given(self) -> dict[str, Any]:
        """Return the options that were given, without the defaults of the others."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}

    def overridden_by(self, options: RenderOptions) -> RenderOptions:
        """Return these options with those that were given in other ones.

        Raises ``pydantic.ValidationError`` if options contradict each other.
        """
        given = options.given()
        return RenderOptions.model_validate(self.given() | given) if given else self

    def fonts(self) -> dict[str, FontFamily | AnyLocation]:
        """Return the fonts in order, by their roles. One of them is a family of the package."""
        font = self.font or DEFAULT_FAMILY
        fonts: list[FontFamily | AnyLocation] = [*font] if isinstance(font, tuple) else [font]
        if not any(isinstance(font, str) for font in fonts):
            fonts.append(DEFAULT_FAMILY)
        return font_roles(fonts)

    def files(self) -> dict[str, AnyLocation]:
        """Return the location of each file that the options name, by its role."""
        values = {"watermark": self.watermark, "music": self.music, **self.fonts()}
        return {name: value for name, value in values.items() if isinstance(value, LOCATION_TYPES)}

    def with_absolute_files(self) -> Self:
        """Return the options with absolute paths; relative ones begin at the current folder."""
        font = self.font
        absolute = {
            "watermark": absolute_location(self.watermark),
            "music": absolute_location(self.music),
            "font": tuple(map(absolute_location, font))
            if isinstance(font, tuple)
            else absolute_location(font),
        }
        return self.model_copy(update={name: at for name, at in absolute.items() if at is not None})


check_arguments(
    RenderOptions, lambda exc, _: ConfigurationError("; ".join(describe_option_errors(exc)))
)
_FIELDS = RenderOptions.model_fields
# Options whose value is one number.
_NUMBERS = frozenset(
    name
    for name, info in _FIELDS.items()
    if {int, float} & {info.annotation, *get_args(info.annotation)}
)
# Field of each name that an option may have.
_FIELD_OF_NAME = {name: name for name in _FIELDS} | {
    str(choice): name
    for name, info in _FIELDS.items()
    if isinstance(info.validation_alias, AliasChoices)
    for choice in info.validation_alias.choices
}

# All names of all options.
OPTION_NAMES = (*_FIELD_OF_NAME, "enable_zoom")


def given_options(options: object, default: RenderOptions) -> RenderOptions:
    """Return the options that a caller has passed, or the default ones if there are none.

    Raises `ConfigurationError` for any other value, such as a mapping.
    """
    if isinstance(options, RenderOptions | None):
        return options or default
    found = f"options: a {type(options).__name__}"
    raise ConfigurationError(f'{found}; expected RenderOptions(size="480x270")')


def is_option_file(name: str, value: object) -> bool:
    """Return whether the value of an option is the location of a file, as text.

    The name may be any of the names of the option.
    """
    field = _FIELD_OF_NAME.get(name)
    if field not in OPTION_FILES or not isinstance(value, str) or not value:
        return False
    return field != "font" or is_font_path(value)


def describe_option_error(error: ErrorDetails) -> tuple[str, str, str, FaultCode]:
    """Return the option, the found value, the expected one and the code of an invalid option.

    The option is empty if the error concerns several options.
    """
    name, code = str(error["loc"][0]) if error["loc"] else "", fault_code(error)
    if error["type"] == "extra_forbidden":
        expected = name_like(name, sorted(_FIELDS), 0.85)
        return shorten(name, _MAX_NAME_CHARS), "not an option", expected, code
    info = _FIELDS.get(_FIELD_OF_NAME.get(name, name))
    found, expected = describe_value(error)
    if info is not None and info.description and "; expected " not in error["msg"]:
        return name, short_repr(error["input"], _MAX_VALUE_CHARS), info.description, code
    return name, found, expected, code


def describe_field(error: ErrorDetails, names: Collection[str]) -> SceneFault:
    """Return the fault in a field of a scene or a job, one of which is ``options``."""
    field, code = ".".join(map(str, error["loc"])), fault_code(error)
    found, expected = describe_value(error, names)
    if field.startswith("options."):
        option, found, expected, code = describe_option_error({**error, "loc": error["loc"][1:]})
        field = f"options.{option}"
    return SceneFault("", field, found, expected, code)


def describe_option_errors(
    error: ValidationError, field_name: Callable[[str], str] = str
) -> Iterator[str]:
    """Yield a message for each invalid option.

    A message calls an option by the name that ``field_name`` returns for its field.
    """
    for name, found, expected, _ in dict.fromkeys(map(describe_option_error, error.errors())):
        subject = f"{field_name(name)} is {found}" if name else found
        yield f"{subject}; expected {expected}" if expected else subject
