"""Pages of ``--help``, with the content that cyclopts collects, without boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

_METAVARS = {"STR": "TEXT", "INT": "N", "FLOAT": "N", "DECIMAL": "USD", "PATH": "FILE"}
"""Placeholders of values by those that cyclopts derives from types."""
_BRIEF = {"Picture", "Motion", "Subtitles", "Sound", "Marks", "Film"}
"""Groups of options for the look, which are too many for the page of a command."""
_BRIEF_WIDTH = max(map(len, _BRIEF))
_NAMES_WIDTH = 26
"""Width in which names of an option are beside each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpPages:
    """Formatter of pages of help, as cyclopts calls it.

    Paragraphs of a docstring that begin with ``$`` are examples.
    """

    whole: bool = False
    """False to list only the names of the options for the look."""

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:  # noqa: ARG002
        """Print the line with the form of the command."""
        console.print(Text(f"Usage: {usage}", "bold"))

    def render_description(
        self,
        console: Console,
        options: ConsoleOptions,  # noqa: ARG002
        description: Any,
    ) -> None:
        """Print a docstring: its text in the width of the terminal, its examples as they are."""
        for paragraph in _plain(description).strip().split("\n\n"):
            if paragraph.startswith("$ "):
                console.print(Text(paragraph, "green", no_wrap=True, overflow="ignore"), crop=False)
            else:
                console.print(Text(" ".join(paragraph.split())))
            console.print()

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:  # noqa: ARG002
        """Print a group of options or commands."""
        if not panel.entries:
            return
        title, brief = str(panel.title), panel.title in _BRIEF and not self.whole
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, style="cyan")
        if brief:
            names = "  ".join(entry.names[0] for entry in panel.entries)
            grid.add_row(Text(f"{title:{_BRIEF_WIDTH}}", "default bold"), names)
        else:
            console.print(Text(title, "bold"))
            for entry in panel.entries:
                grid.add_row(_names(entry), Text.assemble(*_parts(entry)))
        console.print(grid)
        if not brief:
            console.print()


def _names(entry: HelpEntry) -> str:
    metavar = (entry.metavar or "").removesuffix("...")
    metavar = _METAVARS.get(metavar, metavar)
    names = entry.copy(metavar=metavar).display_labels_with_metavar
    separator = " " if len(" ".join(names)) <= _NAMES_WIDTH else "\n    "
    return f"  {separator.join(names)}"


def _parts(entry: HelpEntry) -> Iterator[str | tuple[str, str]]:
    yield " ".join(_plain(entry.description).split())
    for head, values in (("choices", entry.choices), ("environment", entry.env_var)):
        if values:
            yield f" [{head}: {', '.join(values)}]", "dim"
    if entry.required:
        yield " [required]", "dim"


def _plain(text: Any) -> str:
    """Return the characters of a text in the wrapping that cyclopts gives it."""
    inner = getattr(text, "primary_renderable", text)
    return inner.plain if isinstance(inner, Text) else ""
