"""Options that commands share, and what they mean to the client."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number
from pydantic import ValidationError
from rich.console import Console

from cloudburst.cli.displays import OpenDisplay, as_json, in_lines, on_screen, silently
from cloudburst.errors import ConfigurationError
from cloudburst.models.options import Effect, Language, RenderOptions, faults_of
from cloudburst.models.policy import Limits

LOOK = Group("Look", sort_key=1)
RUN = Group("Run", sort_key=2)


@Parameter(name="*", group=LOOK)
@dataclass(frozen=True, kw_only=True)
class Look:
    """How the videos shall look; what is not given keeps the default of `RenderOptions`."""

    language: Annotated[Language | None, Parameter(help="Chinese subtitles are bold.")] = None
    enable_zoom: Annotated[
        bool | None,
        Parameter(name="--zoom", help="Zoom in or out, as drawn for each scene; or keep still."),
    ] = None
    effects: Annotated[
        tuple[Effect, ...] | None,
        Parameter(
            negative=(), help="A movement to draw from in place of zooms; repeat it for several."
        ),
    ] = None
    watermark: Annotated[Path | None, Parameter(help="A picture for the top left corner.")] = None
    is_portrait: Annotated[
        bool | None,
        Parameter(
            name="--portrait", negative="--landscape", help="Else by the picture of each scene."
        ),
    ] = None
    background_box: Annotated[bool | None, Parameter(help="A box behind the subtitles.")] = None
    background_opacity: Annotated[
        float | None, Parameter(help="Of that box, from 0 (black) to 1 (none).")
    ] = None
    font_size: Annotated[int | None, Parameter(help="Of the subtitles, 8 to 120; 20 is usual.")] = (
        None
    )
    outline_color: Annotated[
        str | None, Parameter(help="Of the letters, as &HAABBGGRR (AA = 00 is opaque).")
    ] = None

    def options(self) -> RenderOptions:
        """As the client takes them. Raises `ConfigurationError` for values out of range."""
        if self.effects is not None and self.enable_zoom is not None:
            raise ConfigurationError("say either --effects or --zoom (--no-zoom), not both")
        given = {name: value for name, value in asdict(self).items() if value is not None}
        try:
            return RenderOptions.model_validate(given)
        except ValidationError as exc:
            raise ConfigurationError("\n".join(faults_of(exc, _flag))) from exc


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class Running:
    """How the run goes and what it tells."""

    workers: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=1), help="Workers at once; else one for each core, up to 4."
        ),
    ] = None
    json: Annotated[
        bool, Parameter(negative=(), help="Events as lines of JSON, and the report as the last.")
    ] = False
    quiet: Annotated[bool, Parameter(negative=(), help="Only say what went wrong.")] = False

    def limits(self) -> Limits:
        """As the client takes them."""
        return Limits() if self.workers is None else Limits(workers=self.workers)

    def display(self, console: Console) -> OpenDisplay:
        """Where to tell the run while it goes on."""
        if self.json:
            return as_json
        if self.quiet:
            return silently
        moves = console.is_terminal and not console.is_dumb_terminal
        return partial(on_screen if moves else in_lines, console=console)


def _flag(name: str) -> str:
    """The option as it was written."""
    return f"--{name.replace('_', '-')}"
