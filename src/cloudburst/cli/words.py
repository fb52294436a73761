"""Texts for people: safe to print whatever is in them, and short."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

from rich.text import Text


def shown(text: str, style: str = "") -> Text:
    """The text without markup or control characters: names and messages come from anywhere."""
    return Text("".join(c if c.isprintable() or c == "\n" else "�" for c in text), style)


def clock(seconds: float) -> str:
    """``7 s``, ``3 min 05 s`` or ``2 h 00 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size(count: int) -> str:
    """Bytes as a person reads them."""
    if count < 1_000_000:
        return f"{max(count / 1000, 0.1):.1f} kB"
    return f"{count / 1_000_000:.1f} MB" if count < 10**9 else f"{count / 10**9:.2f} GB"


def usd(amount: Decimal) -> str:
    """Cents and what of a cent matters."""
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"


def short_path(path: Path) -> str:
    """The path from the current folder, where that is below it."""
    here = os.path.relpath(path)
    return str(path) if here.startswith(os.pardir) else here


def first_line(text: str, most: int = 300) -> str:
    """The first line that says something."""
    line = next((line for line in text.splitlines() if line.strip()), "").strip()
    return line if len(line) <= most else f"{line[: most - 1]}…"


def count(number: int, word: str) -> str:
    """``1 scene``, ``2 scenes``."""
    return f"{number} {word}{'' if number == 1 else 's'}"
