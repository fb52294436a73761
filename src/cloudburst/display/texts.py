"""Texts of durations, sizes, amounts, paths and failures, for people."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

from cloudburst.display.language import is_chinese, say, translate
from cloudburst.models.locations import AnyLocation, S3Prefix
from cloudburst.text import printable, shorten

_MAX_TEXT = 1000
"""Maximum number of characters that are printed of a failure's message."""


def format_duration(seconds: float) -> str:
    """Return a duration as a text such as ``7 s``, ``3 min``, ``3 min 05 s`` or ``2 h 00 min``."""
    whole = round(seconds)
    if whole < 60:
        return say("{} s", whole)
    if whole < 3600 and whole % 60 == 0:
        return say("{} min", whole // 60)
    if whole < 3600:
        return say("{} min {:02} s", whole // 60, whole % 60)
    return say("{} h {:02} min", whole // 3600, whole % 3600 // 60)


def format_range(low: float, high: float) -> str:
    """Return a range of durations as a short text such as ``3–6 min``; empty if it is narrow."""
    unit, name = (1, "s") if high < 90 else (60, "min") if high < 5400 else (3600, "h")
    digits = 1 if name == "h" else 0
    first, last = f"{low / unit:.{digits}f}", f"{high / unit:.{digits}f}"
    return "" if first == last else f"{first}–{last} {say(name)}"


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


def format_limit(amount: Decimal) -> str:
    """Return a limit in USD as text, with the decimals that it has: ``$0.50``."""
    return f"${amount:,.2f}" if amount == round(amount, 2) else f"${amount:,f}"


def estimated_usd(amount: Decimal) -> str:
    """Return an amount in USD that was predicted, with two significant digits."""
    if amount >= 1:
        return f"${amount:,.0f}" if amount >= 10 else f"${amount:.2f}"
    return f"${amount:.{1 - amount.adjusted()}f}" if amount else "$0"


def short_path(path: AnyLocation | S3Prefix) -> str:
    """Return a location in printable characters.

    A path inside the current folder is relative to it.
    """
    text = str(path)
    if isinstance(path, Path) and not (relative := os.path.relpath(path)).startswith(os.pardir):
        text = relative
    # A line break in a name would start a line that looks like one of ours.
    return printable(text)


def first_line(text: str) -> str:
    """Return the first non-blank line of a message, translated, of at most 1,000 characters."""
    first = next((line for line in text.splitlines() if line.strip()), "").strip()
    return shorten(translate(first), _MAX_TEXT)


def pluralize(number: int, word: str) -> str:
    """Return a number with a word in the right form: ``1 scene``, ``2 scenes``."""
    return say(f"{{}} {word}{'' if number == 1 or is_chinese() else 's'}", number)
