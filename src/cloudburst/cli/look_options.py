"""Command-line options for the look of videos: one for each render option, as its model has it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, make_dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args, get_origin

from cyclopts import Group, Parameter
from pydantic import BaseModel, ValidationError

from cloudburst.cli.options import TransitionFlags, WholeNumber
from cloudburst.errors import ConfigurationError
from cloudburst.models.options import RenderOptions, describe_option_errors
from cloudburst.models.options.marks import MarkOptions
from cloudburst.models.options.picture import MotionOptions, PictureOptions
from cloudburst.models.options.sound import SoundOptions
from cloudburst.models.options.subtitles import SubtitleOptions
from cloudburst.models.video_format import Effect

_GROUPS: dict[str, type[BaseModel]] = {
    "Picture": PictureOptions,
    "Motion": MotionOptions,
    "Subtitles": SubtitleOptions,
    "Sound": SoundOptions,
    "Marks": MarkOptions,
}
_SEVERAL = {"effects": tuple[Effect, ...] | None, "metadata": tuple[str, ...] | None}
"""Types of the options that may be repeated."""
_NUMBERS: dict[Any, Any] = {int: WholeNumber}
_METAVARS = {"colour": "COLOUR", "path": "FILE", "two numbers": "X,Y", "of seconds": "SECONDS"}
"""Placeholders of values by words in the descriptions of valid values."""
_ZOOM = "Zoom in or out, chosen at random for each scene; or keep still."


def _fields() -> Iterator[tuple[str, Any, Any]]:
    """Yield the name, type and default of each option."""
    for order, (title, model) in enumerate(_GROUPS.items(), 31):
        group = Group(title, sort_key=order)
        names = {"is_portrait": "--portrait"}, {"is_portrait": "--landscape"}
        if title == "Motion":
            zoom = Parameter(name="--zoom", group=group, help=_ZOOM)
            yield "enable_zoom", Annotated[bool | None, zoom], None
        for name, text in _texts(model):
            info = model.model_fields[name]
            words = [word for word in _METAVARS if word in (info.description or "")]
            parameter = Parameter(
                name=names[0].get(name),
                negative=() if name in _SEVERAL else names[1].get(name),
                metavar=_METAVARS[words[0]] if words else None,
                group=group,
                help=text,
            )
            yield name, Annotated[_SEVERAL.get(name, _type(info.annotation)), parameter], None


def _type(annotation: Any) -> Any:
    """Return the type of an option on the command line, where most values are text."""
    kinds = [annotation] if get_origin(annotation) is Literal else get_args(annotation)
    kind, *others = [each for each in kinds or [annotation] if each is not type(None)]
    known = kind in (bool, int, float) or get_origin(kind) is Literal
    return _NUMBERS.get(kind, kind) | None if known and not others else str | None


def _texts(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Yield the name of each option, and the first sentence of its docstring with its default."""
    source = ast.parse(Path(inspect.getfile(model)).read_text("utf-8"))
    classes = [node for node in source.body if isinstance(node, ast.ClassDef)]
    body = next(node.body for node in classes if node.name == model.__name__)
    for statement, comment in pairwise(body):
        match statement, comment:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                text = re.sub(r"[`*]|^True (?:for|to) (?:an? )?", "", " ".join(text.split()))
                text = re.split(r"(?<=\.) |[;,] None|, false for ", text)[0].rstrip(".")
                if type(default := model.model_fields[name].default) in (str, int, float):
                    text += f". Default: {default:{'' if isinstance(default, str) else 'g'}}"
                yield name, f"{text[0].upper()}{text[1:]}."
            case _:
                pass


if TYPE_CHECKING:

    class _Flags:
        """One field for each option; ``None`` if it is not given."""

else:
    _Flags = Parameter(name="*")(make_dataclass("_Flags", _fields(), frozen=True, kw_only=True))
    _Flags.__module__ = __name__


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LookOptions:
    """Command-line options for the look of the videos, with the defaults of `RenderOptions`."""

    flags: _Flags = field(default_factory=_Flags)

    def options(self) -> RenderOptions:
        """Return the render options that these command-line options define."""
        given = {name: value for name, value in vars(self.flags).items() if value is not None}
        if given.keys() >= {"effects", "enable_zoom"}:
            raise ConfigurationError("expected either --effects or --zoom (--no-zoom), not both")
        try:
            return RenderOptions.model_validate(given)
        except ValidationError as exc:
            errors = describe_option_errors(exc, lambda name: f"--{name.replace('_', '-')}")
            raise ConfigurationError("\n".join(errors)) from exc


HiddenLooks: TypeAlias = Annotated[LookOptions | None, Parameter(show=False)]
"""Look options of a command whose help does not list them."""


def looks_command(*, video: LookOptions | None = None, film: TransitionFlags | None = None) -> None:
    """Options for the look of videos and films, of cloudburst render, plan, frame and resume.

    They apply to all scenes; options of a scene in its file replace them.

    $ cloudburst render folder/ --size portrait --caption karaoke --music song.mp3
    $ cloudburst frame scenes.json --at 2s --font-size 40 --box-color '#00000080'
    """
