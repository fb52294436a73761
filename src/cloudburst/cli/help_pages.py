"""Pages of ``--help``, with the content that cyclopts collects, without boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_METAVARS = {"STR": "TEXT", "INT": "N", "FLOAT": "N", "DECIMAL": "USD", "PATH": "FILE"}
"""Placeholders of values by those that cyclopts derives from types."""
_BRIEF = {"Picture", "Motion", "Subtitles", "Sound", "Marks", "Film"}
"""Groups of options for the look, which are too many for the page of a command."""
_NAMES_WIDTH = 26
"""Width in which names of an option are beside each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpPages:
    """Formatter of pages of help, as cyclopts calls it.

    Paragraphs of a docstring that begin with ``$`` are examples.
    """

    whole: bool = False
    """False to list only the names of the options for the look."""

    def render_usage(self, console: Console, _options: object, usage: object) -> None:
        """Print the line with the form of the command."""
        # cyclopts does not name optional arguments; the only one is the name of a run.
        form = f"{usage}".replace("[ARGS]", "[RUN]")
        console.print(Text(f"Usage: {form}", "bold"))

    def render_description(self, console: Console, _options: object, description: object) -> None:
        """Print a docstring: its text in the width of the terminal, its examples as they are."""
        for paragraph in _plain(description).strip().split("\n\n"):
            example = paragraph.startswith("$ ")
            text = Text(paragraph, "green") if example else Text(" ".join(paragraph.split()))
            console.print(text, soft_wrap=example, end="\n\n")

    def __call__(self, console: Console, options: object, panel: Any) -> None:  # noqa: ARG002
        """Print a group of options or commands."""
        if not panel.entries:
            return
        brief = panel.title in _BRIEF and not self.whole
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, style="bold" if brief else "cyan")
        if brief:
            names = "  ".join(entry.names[0] for entry in panel.entries)
            grid.add_row(f"{panel.title:{max(map(len, _BRIEF))}}", names)
            console.print(grid)
        else:
            console.print(Text(panel.title, "bold"))
            for entry in panel.entries:
                grid.add_row(*_cells(entry))
            console.print(grid, "")


def _cells(entry: Any) -> tuple[str, Text]:
    metavar = (entry.metavar or "").removesuffix("...")
    names = entry.copy(metavar=_METAVARS.get(metavar, metavar)).display_labels_with_metavar
    separator = " " if len(" ".join(names)) <= _NAMES_WIDTH else "\n    "
    # The completion of PowerShell, which cyclopts offers too, is not tested.
    choices = [choice for choice in entry.choices or () if choice != "powershell"]
    notes = {"choices": choices, "environment": entry.env_var}
    text = "".join(f" [{note}: {', '.join(values)}]" for note, values in notes.items() if values)
    text += " [required]" if entry.required else ""
    description = " ".join(_plain(entry.description).split())
    return f"  {separator.join(names)}", Text.assemble(description, (text, "dim"))


def _plain(text: object) -> str:
    """Return the characters of a text in the wrapping that cyclopts gives it."""
    inner = getattr(text, "primary_renderable", text)
    return inner.plain if isinstance(inner, Text) else ""
