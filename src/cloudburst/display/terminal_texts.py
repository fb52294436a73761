"""Texts and tables for terminals, without control characters and markup."""

from __future__ import annotations

import re

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from cloudburst.text import printable

# A word, or a part of a Chinese sentence.
_WORD = re.compile(r"[^\s，。；：]+[，。；：]*\s*|[，。；：]+\s*")


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
