"""Parts of the documentation pages: code, headings, tables, quoted texts."""

from __future__ import annotations

import ast
import re
from functools import cache

from support.project import ROOT

READMES = ("README.md", "README_CN.md")
PAGES = (
    *READMES,
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
)
FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def prose_of(page: str) -> str:
    """Return the text of the page without its blocks of code."""
    return FENCE.sub("", text_of(page))


def blocks(page: str, *languages: str) -> list[str]:
    """Return the blocks of code in these languages; without languages, all blocks."""
    found = FENCE.findall(text_of(page))
    return [code for language, code in found if not languages or language in languages]


def headings(page: str) -> list[str]:
    return re.findall(r"(?m)^#+ .*$", prose_of(page))


def tables(page: str) -> list[list[list[str]]]:
    """Return each table as rows of cells; the first row is its head."""
    found = re.findall(r"(?m)(?:^\|.*\n)+", prose_of(page))
    split = [[_cells(line) for line in table.splitlines()] for table in found]
    return [[head, *rows] for head, _line, *rows in split]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def table_of(page: str, first: str) -> list[list[str]]:
    """Return the rows, without the head, of the one table whose first cell starts with a text."""
    (found,) = [rows for _, *rows in tables(page) if rows[0][0].startswith(first)]
    return found


def quoted(text: str) -> list[str]:
    """Return the texts between backticks."""
    return re.findall(r"`([^`]+)`", text)


def without_comments(code: str) -> str:
    return re.sub(r"[ ]+#.*$", "", code, flags=re.MULTILINE)


@cache
def sources_of_the_package() -> tuple[str, ...]:
    return tuple(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))


@cache
def strings_of(source: str) -> frozenset[str]:
    """Return all strings of a module, with an ellipsis in place of each replacement field."""
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
            found.add("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return frozenset(found)


def is_said_by_the_package(text: str) -> bool:
    """Return whether the text, with ellipses for anything, is part of a string in the source."""
    wanted = re.compile(".*".join(map(re.escape, text.replace("…", "\0").split("\0"))))
    words = re.findall(r"\w+", text)  # of all modules, the strings take a second to find
    modules = (one for one in sources_of_the_package() if all(word in one for word in words))
    return any(wanted.search(known) for module in modules for known in strings_of(module))
