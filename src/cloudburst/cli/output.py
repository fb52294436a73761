"""Consoles of the commands, and the output of errors."""

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
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cloudburst.display.language import say, translate
from cloudburst.display.terminal_texts import WordWrapped, safe_text, unwrapped
from cloudburst.display.texts import pluralize, short_path
from cloudburst.errors import (
    CloudburstError,
    InvalidScenesError,
    OutputExistsError,
    SceneFault,
    without_repeats,
)
from cloudburst.models.problems import fix_of

_MAX_ERRORS_SHOWN = 100
"""Maximum number of scene faults, or of paths of existing videos, that are printed."""
_COMMAND = re.compile(r"\baws .* --")
"""Pattern that matches a command of AWS's command line with options, which people copy."""
_error_console: ContextVar[Console] = ContextVar("error_console")


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
    print_error(Group(*renderables), OutputConsole(highlight=False, emoji=False))


def print_error(renderable: RenderableType, console: Console) -> None:
    """Print an error to a console for standard error."""
    # A group, because rich joins texts and forgets which of them are never wrapped. Not cropped,
    # because these may be longer than the width.
    console.print(Group(renderable), crop=False)


def write_line(text: str) -> None:
    """Write a line to the standard output and flush it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_json(document: object) -> None:
    """Write a document to the standard output as one line of JSON."""
    write_line(json.dumps(document, default=_to_json))


def _to_json(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def describe_error(error: CloudburstError) -> RenderableType:
    """Return an error formatted for a terminal, with a line for each scene fault or path in it."""
    match error:
        case InvalidScenesError(faults=faults) if faults:
            return _describe_faults(faults)
        case OutputExistsError(paths=paths, objects=objects, reason=reason) if paths or objects:
            files = [*map(short_path, paths), *objects]
            videos = all(file.endswith(".mp4") for file in files)
            number = pluralize(len(files), "video" if videos else "file")
            pronoun = say("it" if len(files) == 1 else "them")
            head = say("{} there already; --overwrite replaces {}:", number, pronoun)
            listed = [unwrapped(safe_text(f"  {file}")) for file in files[:_MAX_ERRORS_SHOWN]]
            reasons = [safe_text(say("Reason: {}.", translate(reason)))] if reason else []
            notes = [unwrapped(safe_text(note)) for note in getattr(error, "__notes__", ())]
            return Group(Text(head, "red"), *listed, *_more(len(files)), *reasons, *notes)
        case _:
            text, fix = safe_text(translate(str(error)), "red"), fix_of(type(error).__name__)
            if _COMMAND.search(text.plain):
                return unwrapped(text)
            if fix and fix not in text.plain:
                text.append(f"\n{say('What to do: {}.', say(fix))}", "default")
            return WordWrapped(text)


def _describe_faults(faults: tuple[SceneFault, ...]) -> Group:
    lines, shown = list[RenderableType](), without_repeats(faults[:_MAX_ERRORS_SHOWN])
    for scene, group in groupby(shown, key=lambda fault: fault.scene):
        if scene:
            lines += [safe_text(scene, "bold"), Padding.indent(_fault_table(group), 2)]
        else:  # a fault of the whole run
            lines.append(_fault_table(group))
    total = say("{}; nothing was started.", pluralize(len(faults), "fault"))
    return Group(*lines, *_more(len(faults)), Text(total, "red"))


def _fault_table(faults: Iterable[SceneFault]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for fault in faults:
        grid.add_row(safe_text(fault.field, "cyan"), safe_text(translate(fault.found), "red"))
        expected = safe_text(translate(fault.expected))
        grid.add_row("", Text.assemble((say("expected "), "dim"), expected))
    return grid


def _more(number: int) -> Iterator[Text]:
    if number > _MAX_ERRORS_SHOWN:
        yield Text(say("… and {} more", number - _MAX_ERRORS_SHOWN), "dim")
