"""Post-mortem of a failed task: a page in Markdown that explains the failure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from cloudburst.models.failures.failure import Failure
from cloudburst.text import printable

_shown = partial(printable, keep="\t")
# Maximum number of lines of the task's output on the page; the last lines are kept.
MAX_OUTPUT_LINES = 100


def file_name(task: str) -> str:
    """Return the name of the file for the post-mortem of a task."""
    return f"post-mortem-{re.sub(r'[^A-Za-z0-9._-]+', '_', task.rpartition('/')[2])}.md"


def build_page(
    task: str,
    *,
    failure: Failure | None,
    facts: Mapping[str, object],
    lines: Sequence[str] | str,
    more: Mapping[str, str] | None = None,
) -> str:
    """Return the post-mortem page of a task in Markdown, the most important facts first."""
    parts = [f"# Task {task} failed"]
    if failure is not None:
        parts.append(f"**{_sentence(failure.meaning)}**")
        if failure.action:
            parts.append(f"What to do: {failure.action}.")
    known = (f"- {name}: {_shown(str(fact))}" for name, fact in facts.items() if fact)
    parts.append("\n".join(known))
    parts.append("## Last lines")
    parts.append(lines if isinstance(lines, str) else _block("\n".join(lines)))
    for heading, text in (more or {}).items():
        parts += [f"## {heading}", _block(text)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _block(text: str) -> str:
    # The block is indented, not fenced, so that no line of the text can end it.
    return "\n".join(f"    {_shown(line)}" for line in text.splitlines())
