"""Rules of plain English for the texts of the package, the benchmarks and the documentation.

Ruff's D rules check the form of docstrings, and D401 the imperative mood of functions. The rules
here check what ruff cannot: that a sentence names what it is about, in words that everyone knows.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from support.doc_pages import PAGES, ROOT

MIN_DOCSTRINGS = {"src/cloudburst": 500, "benchmarks": 100}
"""Folders of code, and numbers of docstrings and of attribute texts that each has at least."""
_DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

FRAGMENTS = {
    "of": "begin with what it is: 'Language of the run.'",
    "as": "write a verb or a noun first: 'Return the text as JSON.'",
    "that|those|these|this": "name the thing: 'Workers that have room.'",
    "none": "write what is missing: 'Raise an error if there are no scenes.'",
    "who|whose|what|which": "name the thing: 'Names of the missing files.'",
    "whether": "'Return whether …' for functions, 'True if …' for attributes and properties",
    "when|where|how|if|why": "name the value: 'Seconds until the next attempt.'",
    "so many|so much": "'Number of …', 'Amount of …'",
    "all": "name the things: 'Workers of the run.'",
    "one": "write a noun: 'Encoder slot of a simulation.'",
    "each|every": "write a noun in the plural: 'Scenes of the run.'",
}
"""First words of a docstring that do not say what it is about, and what to write instead."""
MAX_FRAGMENTS = 0.01
"""Share of docstrings that may begin so. A few such sentences are clear by themselves."""

FORBIDDEN = {
    "shall": "'must', or the present tense",
    "whence|wherefrom": "'from which'",
    "who(?:so)?ever|whatever": "name the person or thing",
    "anew|afresh": "'again'",
    "so many|so much": "'this number of', 'as many as'",
    "mends?|mended|mending": "'fix'",
    "tells?|told|telling": "'report', 'print', 'pass'",
    "in vain": "'without result'",
    "of old": "'of `cloudburst-fargate`', 'old'",
    "nobody|somebody": "name the client, user or process",
    "com(?:e|es|ing) to nothing": "'fail', 'have no effect'",
    "lives|dies|died|dead": "processes run, stop or exit",
    "gives? back|given back|gave back": "'return', 'stop', 'release'",
    "is wanted|are wanted": "'is needed', 'must'",
    "unwell": "name the failure",
    "hears?|heard": "'receive'",
}
"""Words that non-native readers misunderstand or that give machines a life, and plain ones."""
ALLOWED = {"dead letter": "the term of message queues such as Amazon SQS"}
"""Terms and texts of others that contain such a word, and their source."""


class Text(NamedTuple):
    """A text in a source file."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {' '.join(self.text.split())[:90]}"


@cache
def sources(folder: str) -> tuple[tuple[Path, ast.Module], ...]:
    """Return path and syntax tree of each module in a folder of the project."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return tuple((path, ast.parse(path.read_text("utf-8"))) for path in paths)


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and the statements below it, which have all definitions."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from statements(child)


def docstrings(folder: str) -> Iterator[Text]:
    """Yield the docstrings of modules, classes and functions."""
    for path, tree in sources(folder):
        for node in statements(tree):
            if isinstance(node, _DEFINITIONS) and (text := ast.get_docstring(node)):
                yield Text(path, getattr(node, "lineno", 1), text)


def attribute_texts(folder: str) -> Iterator[Text]:
    """Yield the strings below attributes and constants."""
    for path, tree in sources(folder):
        for node in statements(tree):
            if not isinstance(node, (ast.Module, ast.ClassDef)):
                continue
            for before, after in pairwise(node.body):
                match before, after:
                    case (
                        ast.Assign() | ast.AnnAssign(),
                        ast.Expr(value=ast.Constant(value=str(text), lineno=line)),
                    ):
                        yield Text(path, line, text)


def suspect_texts(folder: str, pattern: str) -> Iterator[Text]:
    """Yield the strings and comments of the modules in which a pattern is, be it in their code."""
    anywhere = re.compile(rf"\b(?:{pattern.replace(' ', '[^a-z]+')})\b", re.IGNORECASE)
    for path in sorted((ROOT / folder).rglob("*.py")):
        source = path.read_text("utf-8")
        if not anywhere.search(source):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield Text(path, node.lineno, node.value)
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield Text(path, token.start[0], token.string)


def containing(pattern: str, candidates: Iterable[Text]) -> list[Text]:
    wanted = re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE)
    return [
        one
        for one in candidates
        if wanted.search(one.text) and not any(quote in one.text for quote in ALLOWED)
    ]


def by_package(hits: list[Text]) -> str:
    """Return the number of hits in each package, and the first of them."""
    packages = Counter("/".join(hit.path.relative_to(ROOT).parts[:-1][:4]) for hit in hits)
    return "\n".join([str(dict(packages)), *map(str, hits[:60])])


@pytest.mark.parametrize("folder", MIN_DOCSTRINGS)
def test_docstrings_begin_with_a_verb_or_the_thing(folder):
    """A reader of one line in an editor's tooltip needs the subject first."""
    first = re.compile(rf"(?:{'|'.join(FRAGMENTS)})\b", re.IGNORECASE)
    for definitions in (docstrings, attribute_texts):
        everything = list(definitions(folder))
        hits = [one for one in everything if first.match(one.text)]
        assert len(everything) > MIN_DOCSTRINGS[folder], "the search finds what it should"
        share = len(hits) / len(everything)
        assert share <= MAX_FRAGMENTS, f"{len(hits)} of {len(everything)}:\n{by_package(hits)}"


@pytest.mark.parametrize("folder", MIN_DOCSTRINGS)
def test_no_text_of_the_code_has_such_a_word(folder):
    pattern = "|".join(FORBIDDEN)  # most texts have none of them
    texts = containing(pattern, suspect_texts(folder, pattern))
    found = {word: hits for word in FORBIDDEN if (hits := containing(word, texts))}
    assert not found, "\n".join(
        f"write {FORBIDDEN[word]}:\n{by_package(hits)}" for word, hits in found.items()
    )


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_no_page_has_such_a_word(page):
    lines = (ROOT / page).read_text("utf-8").splitlines()
    numbered = [Text(ROOT / page, number, line) for number, line in enumerate(lines, 1)]
    hits = {word: [str(hit) for hit in containing(word, numbered)] for word in FORBIDDEN}
    assert {word: lines for word, lines in hits.items() if lines} == {}


def test_the_rules_find_what_they_forbid():
    """A rule that finds nothing would keep nothing out."""
    bad, good = (Text(ROOT, 1, f"It {word} it.") for word in ("Tells", "intellect"))
    assert containing("|".join(FORBIDDEN), [bad, good]) == [bad]
