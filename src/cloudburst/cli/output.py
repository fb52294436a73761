"""Formatting and printing of text for people, without control characters and markup."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import re
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from itertools import groupby
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cloudburst.errors import (
    CloudburstError,
    InvalidScenesError,
    OutputExistsError,
    SceneFault,
)
from cloudburst.models.locations import AnyLocation, S3Prefix
from cloudburst.text import printable

"""Replacement for a character that a terminal might interpret instead of showing it."""
_MAX_ERRORS_SHOWN = 100
"""Maximum number of scene faults, or of paths of existing videos, that are printed."""
_MAX_TEXT = 1000
"""Maximum number of characters that are printed of a failure's message."""
_WORD = re.compile(r"\S+\s*")
_COMMAND = re.compile(r"\baws .* --")
"""Pattern that matches a command of AWS's command line with options, which people copy."""
_error_console: ContextVar[Console] = ContextVar("error_console")
_IDENTIFIER = re.compile(r"arn:\S+|\b(?:[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?)?[0-9a-f]{12}\b")
"""Pattern that matches ARNs, task ids and request ids."""


class WordWrapped:
    """Text that is wrapped between words only, so that paths and addresses stay whole."""

    def __init__(self, *parts: str | Text | tuple[str, str]) -> None:
        self._text = Text.assemble(*parts)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for paragraph in self._text.split("\n", allow_blank=True):
            starts, column = list[int](), 0
            for word in _WORD.finditer(paragraph.plain):
                if column and column + cell_len(word[0].rstrip()) > options.max_width:
                    starts.append(word.start())
                    column = 0
                column += cell_len(word[0])
            for line in paragraph.divide(starts):
                line.rstrip()
                yield unwrapped(line)


class OutputConsole(Console):
    """Console that reports a closed pipe as an ordinary error."""

    def on_broken_pipe(self) -> None:
        """Raise `BrokenPipeError`, once.

        rich's own method raises ``SystemExit``: for a log record, it would end the event loop while
        its tasks still run.
        """
        self.quiet = True
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@contextmanager
def shared_error_console() -> Generator[Console]:
    """Create the console for standard error that `error_console` returns in the context."""
    console = OutputConsole(stderr=True, emoji=False)
    token = _error_console.set(console)
    try:
        yield console
    finally:
        _error_console.reset(token)


def error_console() -> Console:
    """Return the console for standard error.

    Log records and live views must use the same console: it prints the records above a live view.
    """
    return _error_console.get(None) or OutputConsole(stderr=True)


def print_output(*renderables: RenderableType) -> None:
    """Print renderables to standard output, each in lines of its own."""
    _print(renderables, OutputConsole(highlight=False, emoji=False))


def print_error(renderable: RenderableType, console: Console) -> None:
    """Print an error to a console for standard error."""
    _print((renderable,), console)


def _print(renderables: Iterable[RenderableType], console: Console) -> None:
    # A group, because rich joins texts and forgets which of them are never wrapped. Not cropped,
    # because these may be longer than the width.
    console.print(Group(*renderables), crop=False)


def write_line(text: str) -> None:
    """Write a line to the standard output and flush it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_json(document: object) -> None:
    """Write a document to the standard output as one line of JSON."""
    write_line(json.dumps(document, default=_to_json))


def _to_json(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def plain_table() -> Table:
    """Return an empty table with a line below its header and no other lines."""
    return Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", border_style="dim"
    )


def safe_text(text: str, style: str = "") -> Text:
    """Return text whose markup is not interpreted and whose control characters are replaced.

    Names and messages may contain both.
    """
    return Text(printable(text, keep="\n"), style)


def unwrapped(*parts: str | Text | tuple[str, str]) -> Text:
    """Return a line that is never wrapped, for commands and paths that people copy."""
    return Text.assemble(*parts, no_wrap=True, overflow="ignore")


def advice_text(text: str, style: str = "") -> Text:
    """Return advice, which is not wrapped if it contains a command of AWS's command line."""
    advice = safe_text(text, style)
    return unwrapped(advice) if "aws " in text else advice


def format_duration(seconds: float) -> str:
    """Return a duration as a text such as ``7 s``, ``3 min 05 s`` or ``2 h 00 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def format_size(count: int) -> str:
    """Return a number of bytes as a text in kB, MB or GB."""
    if count == 0:
        return "0 bytes"
    if count < 1_000_000:
        return f"{max(count / 1000, 0.1):.1f} kB"
    return f"{count / 1_000_000:.1f} MB" if count < 10**9 else f"{count / 10**9:.2f} GB"


def format_usd(amount: Decimal) -> str:
    """Return an amount in USD as text, with two decimals, or with four below one dollar."""
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"


def short_path(path: AnyLocation | S3Prefix) -> str:
    """Return a location in printable characters.

    A path inside the current folder is relative to it.
    """
    text = str(path)
    if isinstance(path, Path) and not (relative := os.path.relpath(path)).startswith(os.pardir):
        text = relative
    # A line break in a name would start a line that looks like one of ours.
    return printable(text)


def first_line(text: str, limit: int = _MAX_TEXT) -> str:
    """Return the first non-blank line of a text, shortened to ``limit`` characters."""
    line = next((line for line in text.splitlines() if line.strip()), "").strip()
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def pluralize(number: int, word: str) -> str:
    """Return a number with a word in the right form: ``1 scene``, ``2 scenes``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def failure_key(text: str, scene: str = "") -> str:
    """Return the text of a failure without ids and without the name of its scene.

    Failures of several scenes with the same cause have the same key.
    """
    key = _IDENTIFIER.sub("…", text)
    return key.replace(f"scene {scene}", "scene …") if scene else key


def describe_error(error: CloudburstError) -> RenderableType:
    """Return an error formatted for a terminal, with a line for each scene fault or path in it."""
    match error:
        case InvalidScenesError(faults=faults) if faults:
            return _describe_faults(faults)
        case OutputExistsError(paths=paths, objects=objects, reason=reason) if paths or objects:
            files = [*map(short_path, paths), *objects]
            pronoun = "it" if len(files) == 1 else "them"
            videos = all(file.endswith(".mp4") for file in files)
            number = pluralize(len(files), "video" if videos else "file")
            head = f"{number} there already; --overwrite replaces {pronoun}:"
            listed = [unwrapped(safe_text(f"  {file}")) for file in files[:_MAX_ERRORS_SHOWN]]
            reasons = [safe_text(f"Reason: {reason}.")] if reason else []
            notes = [unwrapped(safe_text(note)) for note in getattr(error, "__notes__", ())]
            return Group(Text(head, "red"), *listed, *_more(len(files)), *reasons, *notes)
        case _:
            text = safe_text(str(error), "red")
            return unwrapped(text) if _COMMAND.search(text.plain) else WordWrapped(text)


def _describe_faults(faults: tuple[SceneFault, ...]) -> Group:
    lines: list[RenderableType] = []
    for scene, group in groupby(faults[:_MAX_ERRORS_SHOWN], key=lambda fault: fault.scene):
        if scene:
            lines += [safe_text(scene, "bold"), Padding.indent(_fault_table(group), 2)]
        else:  # a fault of the whole run
            lines.append(_fault_table(group))
    total = f"{pluralize(len(faults), 'fault')}; nothing was started."
    return Group(*lines, *_more(len(faults)), Text(total, "red"))


def _fault_table(faults: Iterable[SceneFault]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for fault in faults:
        grid.add_row(safe_text(fault.field, "cyan"), safe_text(fault.found, "red"))
        grid.add_row("", Text.assemble(("expected ", "dim"), safe_text(fault.expected)))
    return grid


def _more(number: int) -> Iterator[Text]:
    if number > _MAX_ERRORS_SHOWN:
        yield Text(f"… and {number - _MAX_ERRORS_SHOWN} more", "dim")
